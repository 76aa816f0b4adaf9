"""What a page shows of a pruning search: the way of the indicators, every round, and why each operator went."""

import math
from typing import Any

import numpy as np

from tenas_jax.report.cells import edge_name
from tenas_jax.report.directions import direction, score_of, told
from tenas_jax.report.listing import column, number, plain
from tenas_jax.report.paints import heat
from tenas_jax.report.plots import Plot, Series, lines, path
from tenas_jax.report.run_files import Run, numbers
from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.score import Kernel, Patterns

TOSS = 1.0  # standard errors: below, what went is no better than a toss of a coin
MOST_MAPS = 4000  # cells of all heat maps of a page


def scores_named(run: Run) -> list[str]:
    """The indicators of a search.

    Args:
        run: with its rounds.
    """
    return list(next((c["scores"] for record in run.rounds for c in record["candidates"]), {}))


def is_completion(run: Run) -> bool:
    """Whether candidates are scored by architectures that hold them, and not by the supernet without them.

    Args:
        run: of a pruning search.
    """
    settings = run.config.get("settings") or run.result.get("config", {}).get("settings") or {}
    rule = settings.get("rule") or run.result.get("config", {}).get("rule")
    return rule != "removal"


def real(run: Run, name: str, values: np.ndarray) -> np.ndarray:
    """Scores of candidates as they are: records hold logarithms of what is averaged by its logarithms.

    Args:
        run: of a pruning search.
        name: of the score.
        values: as recorded.
    """
    score = score_of(run.space, name)
    if is_completion(run) and score and score.geometric:
        with np.errstate(over="ignore"):
            return np.exp(values)
    return values


def trajectory(run: Run) -> list[Plot]:
    """What is alive, round by round: medians over the candidates, and from the lowest to the highest of them.

    Args:
        run: of a pruning search.
    """
    rounds = [record for record in run.rounds if record["candidates"]]
    if not rounds:
        return []
    found = {}
    for name in scores_named(run):
        values = [real(run, name, numbers(c["scores"][name] for c in record["candidates"])) for record in rounds]
        middle, low, high = (np.array([f(v) for v in values]) for f in (np.median, np.min, np.max))
        found[name] = Series(told(name), middle, "op1", (), low, high)
    steps = [f"round {record['round']}" for record in rounds]
    x, plots = numbers(record["round"] for record in rounds), []
    if both := _trainability_and_expressivity(run, list(found)):
        first, second = (f"{told(name)} ({direction(run.space, name)})" for name in both)
        plots.append(path(found[both[1]], found[both[0]], second, first, steps))
    for name in found:
        plots.append(lines(x, [found[name]], "round", f"{told(name)} ({direction(run.space, name)})"))
    return plots


def _trainability_and_expressivity(run: Run, names: list[str]) -> tuple[str, str] | None:
    """The first score of a kernel and the first of activation patterns, as of TE-NAS's figure 3; else the first two."""
    kinds = {name: type(score.work) for name in names if (score := score_of(run.space, name))}
    kernels = [name for name in names if kinds.get(name) is Kernel]
    patterns = [name for name in names if kinds.get(name) is Patterns]
    if kernels and patterns:
        return kernels[0], patterns[0]
    return (names[0], names[1]) if len(names) > 1 else None


def rounds_shown(run: Run) -> list[dict[str, Any]]:
    """Every round as the page's slider shows it.

    Args:
        run: of a pruning search, of a known space.
    """
    assert run.space is not None
    size = len(run.space.edges) * len(run.space.operators) * len(run.space.cells)
    # Of very many rounds, every so many.
    step = max(1, -(-len(run.rounds) * size // (MOST_MAPS * 10)))
    return [_shown(run, run.space, record) for record in run.rounds[::step]]


def _shown(run: Run, space: CellGraph, record: dict[str, Any]) -> dict[str, Any]:
    alive = np.array(record["alive"], bool)
    left = alive[..., space.carriers].sum(-1)
    labels = {
        f"{cell}.{edge}": _left(space, alive[cell, edge], int(left[cell, edge]))
        for cell in range(len(space.cells))
        for edge in range(len(space.edges))
    }
    whole = np.maximum(space.supernet()[..., space.carriers].sum(-1), 1)
    places = {key: tuple(map(int, key.split("."))) for key in labels}
    shares = {key: round(float(left[place]) / int(whole[place]), 3) for key, place in places.items()}
    return {
        "number": record["round"],
        "labels": labels,
        "shares": shares,
        "maps": [_map(space, record, cell) for cell in range(len(space.cells))],
        "why": why(run, record),
        "health": [
            (told(name), ", ".join(f"{s} {n}" for s, n in states.items())) for name, states in record["health"].items()
        ],
        "evaluations": record["evaluations"],
        "seconds": record["seconds"],
    }


def _left(space: CellGraph, alive: np.ndarray, left: int) -> list[str]:
    if left == 1:
        return [space.operators[int(np.flatnonzero(alive & np.isin(np.arange(len(alive)), space.carriers))[0])]]
    return [str(left), "left"] if left else ["none"]


def _map(space: CellGraph, record: dict[str, Any], cell: int) -> dict[str, Any]:
    """Edges by operators, coloured by the number that decided."""
    here = {(c["edge"], c["operator"]): c for c in record["candidates"] if c["cell"] == space.cells[cell]}
    totals = numbers(c["total"] for c in record["candidates"])
    totals = totals[np.isfinite(totals)]
    low, high = (float(totals.min()), float(totals.max())) if len(totals) else (0.0, 0.0)
    alive, rows = np.array(record["alive"], bool)[cell], []
    carriers = space.carriers.tolist()
    for edge, (source, target) in enumerate(space.edges):
        cells = []
        for operator in carriers:
            candidate = here.get((edge, space.operators[operator]))
            if candidate is None:
                cells.append({"text": "stays" if alive[edge, operator] else "·", "colour": "", "gone": False})
                continue
            total = float(candidate["total"])
            share = (total - low) / (high - low) if math.isfinite(total) and high > low else 0.0
            cells.append({"text": number(total), "colour": heat(share), "gone": candidate["pruned"]})
        rows.append({"edge": edge_name(space, source, target), "key": f"{cell}.{edge}", "cells": cells})
    return {"name": space.cells[cell], "operators": [space.operators[o] for o in carriers], "rows": rows}


def why(run: Run, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Why each operator of a round went: what its indicators say, who came next, and by how much.

    Args:
        run: of a pruning search, of a known space.
        record: of the round.
    """
    space = run.space
    assert space is not None
    say = _standing if is_completion(run) else _change
    found = []
    for cell, edge, operator in record["unaffordable"]:
        where = _where(space, space.cells[cell], *space.edges[edge])
        valid = "" if space.validity is None else "is valid and "
        reasons = [f"no architecture with it {valid}meets the limits on cost"]
        found.append({"operator": space.operators[operator], "where": where, "reasons": reasons, "margin": ""})
    for candidate in record["candidates"]:
        if candidate["pruned"]:
            reasons = [f"{told(name)}: {say(float(change))}" for name, change in candidate["changes"].items()]
            where = _where(space, candidate["cell"], candidate["source"], candidate["target"])
            margin = _margin(run, record, candidate)
            found.append({"operator": candidate["operator"], "where": where, "reasons": reasons, "margin": margin})
    return found


def _where(space: CellGraph, cell: str, source: int, target: int) -> str:
    return edge_name(space, source, target) + (f" of the {cell} cell" if len(space.cells) > 1 else "")


def _standing(change: float) -> str:
    """A difference of mean log ranks as a factor between places."""
    factor = math.exp(min(abs(change), 50))
    return f"ranks {factor:.2f} times {'worse' if change < 0 else 'better'} than the edge's mean"


def _change(change: float) -> str:
    return f"{change:+.1%} without it" if math.isfinite(change) else f"{change} without it"


def _margin(run: Run, record: dict[str, Any], gone: dict[str, Any]) -> str:
    """The one that would have gone next, and the distance to it in units of its noise."""
    stayed = [c for c in record["candidates"] if not c["pruned"] and math.isfinite(float(c["total"]))]
    if not _one_of_all(run):
        stayed = [c for c in stayed if (c["cell"], c["edge"]) == (gone["cell"], gone["edge"])]
    if not stayed or not math.isfinite(float(gone["total"])):
        return "Nothing else could have gone in its place."
    next_one = min(stayed, key=lambda c: float(c["total"]))
    margin = float(next_one["total"]) - float(gone["total"])
    assert run.space is not None
    where = _where(run.space, next_one["cell"], next_one["source"], next_one["target"])
    text = f"Next would have been {next_one['operator']} on {where}, {number(margin)} behind"
    noise = math.hypot(*(float(c.get("noise", "nan")) for c in (gone, next_one)))
    if margin == 0:
        return text + ": a coin toss."
    if not math.isfinite(noise) or noise == 0:
        return text + "; how noisy that is was not recorded."
    ratio = margin / noise
    return f"{text}: {ratio:.1f} standard errors{', hardly more than a coin toss' if ratio < TOSS else ''}."


def _one_of_all(run: Run) -> bool:
    """Whether all operators compete, and not only those of an edge."""
    settings = run.config.get("settings") or {}
    return is_completion(run) and settings.get("prune_number") is None


def candidates_table(run: Run) -> dict[str, Any]:
    """Every candidate of every round with its scores as they are.

    Args:
        run: of a pruning search, of a known space.
    """
    names = scores_named(run)
    heads = [{"name": n, "label": n, "note": "", "title": ""} for n in ("round", "edge", "operator")]
    heads += [column(run.space, name) for name in names]
    heads += [
        {"name": f"lead_{name}", "label": f"lead by {told(name)}", "note": "smallest goes", "title": ""}
        for name in names
    ]
    heads += [{"name": "total", "label": "total", "note": "smallest goes", "title": "what the decision was made by"}]
    heads += [{"name": "went", "label": "went", "note": "", "title": ""}]
    rows, keys, space = [], [], run.space
    assert space is not None
    for record in run.rounds:
        for c in record["candidates"]:
            scores = [plain(real(run, name, numbers([c["scores"][name]]))[0]) for name in names]
            leads = [plain(float(c["changes"][name])) for name in names]
            where = _where(space, c["cell"], c["source"], c["target"])
            went = "went" if c["pruned"] else ""
            rows.append([record["round"], where, c["operator"], *scores, *leads, plain(float(c["total"])), went])
            keys.append(f"{space.cells.index(c['cell'])}.{c['edge']}")
    values = [list(column_of) for column_of in zip(*rows, strict=True)]
    return {
        "columns": heads,
        "values": values or [[] for _ in heads],
        "marks": {},
        "template": "",
        "of": len(rows),
        "shown": len(rows),
        "keys": keys,
    }
