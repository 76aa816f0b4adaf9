"""A run's folder as one page, `report.html`: what was found, and why everything else was not.

One file without scripts or anything to fetch, from the records of `strategies.py`.
"""

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from tenas_jax.records.run_folder import RunFolder
from tenas_jax.spaces.space import SearchSpace

# Of operators, told apart by people who see colours differently (Okabe and Ito 2008), in the order of a space.
COLOURS = ("#999999", "#0072b2", "#e69f00", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b3a100", "#000000")
SHOWN = 20  # architectures of a list

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin-bottom: .3rem; }
code, .mono { font-family: ui-monospace, monospace; font-size: .85em; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid var(--line); padding: .15rem .5rem; text-align: right; font-size: .85rem; }
th { background: var(--soft); font-weight: 600; }
th.name, td.name, caption { text-align: left; }
td.heat { color: #000; min-width: 3.4rem; }
td.gone { outline: 2.5px solid #c00; outline-offset: -2px; font-weight: 700; }
td.dead { color: #8888; text-align: center; }
.wide { overflow-x: auto; }
dl { display: grid; grid-template-columns: auto 1fr; }
dt { font-weight: 600; padding-right: 1rem; }
dd { margin: 0; }
summary { cursor: pointer; }
svg { max-width: 100%; }
svg text { font: 12px system-ui, sans-serif; }
svg text:not([fill]) { fill: currentColor; }
svg text.edge { paint-order: stroke; stroke: Canvas; stroke-width: 4px; }
"""


def report(folder: RunFolder, space: SearchSpace, result: dict[str, Any]) -> str:
    """The page of a finished run.

    Args:
        folder: of the run, with its rounds.
        space: the search space.
        result: as in `result.json`.

    Returns:
        HTML.
    """
    strategy = str(result["strategy"])

    def body() -> str:
        if strategy == "prune":
            return _pruned(folder, space, completion=result["config"]["rule"] == "completion")
        return _evolved(folder) if strategy == "evolve" else _listed(folder)

    title = f"{space.name}: {strategy}"
    damage = "".join(f"<p><strong>{escape(sentence)}</strong></p>" for sentence in folder.damage)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n'
        f"<h1>{escape(title)}</h1>\n{damage}{_part('summary', lambda: _summary(result))}\n<h2>The architecture</h2>\n"
        f"<p><code>{escape(result['architecture'])}</code></p>\n"
        f"{_part('graph', lambda: _cells(space, result['architecture']))}\n{_part('record of the rounds', body)}\n"
        f"{_part('record of settings', lambda: _settings(result))}</body></html>\n"
    )


def _part(name: str, make: Callable[[], str]) -> str:
    """A part of the page; a sentence where the records that it is made of are damaged or of another version."""
    try:
        return make()
    except (LookupError, TypeError, ValueError, AttributeError, OSError, csv.Error):
        return f"<p>The {name} cannot be shown: what it is made of is missing or damaged.</p>"


def _summary(result: dict[str, Any]) -> str:
    facts = {
        "images": result["dataset"],
        "seed": result["seed"],
        "time": f"{result['wall_seconds']:.1f} s, {result['compile_seconds']:.1f} s of them compiling",
        "evaluations": f"{result['evaluations']:,} (networks times batches)",
        "trained network": f"{result['cost']['parameters']:,} parameters, {result['cost']['flops']:,} multiply-adds",
    }
    if result["benchmark"]:
        found = result["benchmark"]
        facts[found["column"]] = (
            f"{found['accuracy']:.2f}, rank {found['rank']:,} of {found['architectures']:,}; the optimum is "
            f"{found['optimum']:.2f}"
        )
    return f"<dl>{''.join(f'<dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd>' for k, v in facts.items())}</dl>"


def _settings(result: dict[str, Any]) -> str:
    shown = {**result["config"], **result["versions"], "device": result["device"]}
    rows = "".join(f"<tr><td class=name>{escape(k)}<td class=name>{escape(str(v))}" for k, v in shown.items())
    return f"<h2>Settings and versions</h2><details><summary>show</summary><table>{rows}</table></details>"


def _colour(space: SearchSpace, operator: int) -> str:
    return COLOURS[operator % len(COLOURS)]


def _cells(space: SearchSpace, architecture: str) -> str:
    """The cells as graphs: nodes on a line, an arc an edge, below it the operators' colours."""
    choice = space.choice(space.parse(architecture))
    none = space.operators.index("none") if "none" in space.operators else -1
    return "".join(_graph(space, name, choice[c], none) for c, name in enumerate(space.cells)) + _legend(space)


def _graph(space: SearchSpace, name: str, choice: np.ndarray, none: int) -> str:
    step, rise = 150, 44  # pixels from node to node, and that an arc rises for each node it passes
    height = rise * (space.nodes - 1) + 60
    base, parts, labels = height - 30, [], []
    for (source, target), operator in zip(space.edges, choice.tolist(), strict=True):
        if operator == none:
            continue
        left, right = 40 + step * source, 40 + step * target
        top = base - rise * (target - source) if target - source > 1 else base
        path = f"M{left + 14} {base} Q{(left + right) / 2} {2 * top - base} {right - 14} {base}"
        label = escape(space.operators[operator])
        colour = _colour(space, operator)
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="3"><title>{label}</title></path>')
        x = (left + right) / 2
        labels.append(f'<text class="edge" x="{x}" y="{top - 6}" text-anchor="middle" fill="{colour}">{label}</text>')
    for node in range(space.nodes):
        x = 40 + step * node
        parts.append(f'<circle cx="{x}" cy="{base}" r="14" fill="none" stroke="currentColor"/>')
        parts.append(
            f'<text x="{x}" y="{base + 4}" text-anchor="middle">{"in" if node < space.inputs else node}</text>'
        )
    width = 80 + step * (space.nodes - 1)
    heading = f"<h3>{escape(name)} cell</h3>" if len(space.cells) > 1 else ""
    label = escape(f"graph of the {name} cell")
    return (
        f'{heading}<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{label}">'
        f"{''.join(parts + labels)}</svg>"
    )


def _legend(space: SearchSpace) -> str:
    shown = [(n, o) for n, o in enumerate(space.operators) if o != "none"]
    marks = "  ".join(f'<span style="color:{_colour(space, n)}">■</span> {escape(o)}' for n, o in shown)
    return f"<p>{marks}. Edges that are not drawn carry nothing.</p>"


def _text(value: Any) -> str:
    """Whatever a record holds, as text: a folder may come from somebody else."""
    return escape(str(value))


def _number(value: Any) -> str:
    """Four digits; records spell infinities and NaN as text."""
    value = float(value)
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def _pruned(folder: RunFolder, space: SearchSpace, *, completion: bool) -> str:
    """What went in which round, in words; then every round as a map of what was left."""
    how = (
        "Single architectures were drawn from what was alive and ranked by each indicator. An operator's number is the "
        "mean log rank on its edge less that of the architectures that hold it, summed over the indicators: below zero, "
        "they stand further down than the edge's others. The lowest went."
        if completion
        else "Each operator was removed from the supernet alone, and the change of every indicator was ranked among all "
        "candidates. Its number is the sum of its ranks. On every edge the lowest went: where the network gains most, or "
        "loses least."
    )
    names = list(next((r["scores"] for record in folder.rounds for r in record["candidates"]), {}))
    head = "".join(f"<th class=name>{escape(name.replace('_', ' '))}" for name in names)
    lines = [line for record in folder.rounds for line in _reasons(space, record, names, completion)]
    reasons = f"<table><tr><th>round<th class=name>edge<th class=name>operator{head}{''.join(lines)}</table>"
    if len(lines) > 2 * SHOWN:
        reasons = f"<details><summary>{len(lines)} operators</summary>{reasons}</details>"
    rounds = "".join(_round(space, record) for record in folder.rounds)
    return (
        f"<h2>Why each operator went</h2><p>{how}</p>{reasons}\n<h2>Round by round</h2>"
        f"<p>Yellow is what would go last, blue what goes first; a red frame marks what went. Every number behind a map is "
        f"in its table, and in <code>rounds.jsonl</code>.</p>{rounds}"
    )


def _reasons(space: SearchSpace, record: dict[str, Any], names: list[str], completion: bool) -> Iterable[str]:
    """A row of words for every operator that went in a round."""

    def row(cell, source, target, operator, because):
        where = f"{source} → {target}" + (f" {cell}" if len(space.cells) > 1 else "")
        return (
            f"<tr><td>{_text(record['round'])}<td class=name>{escape(where)}<td class=name>{escape(operator)}{because}"
        )

    for cell, edge, operator in record["unaffordable"]:
        because = f'<td class=name colspan="{max(len(names), 1)}">no architecture with it meets the limits on cost'
        source, target = space.edges[edge]
        yield row(space.cells[cell], source, target, space.operators[operator], because)
    say = _standing if completion else _change
    for candidate in record["candidates"]:
        if candidate["pruned"]:
            because = "".join(f"<td class=name>{say(float(candidate['changes'][name]))}" for name in names)
            yield row(candidate["cell"], candidate["source"], candidate["target"], candidate["operator"], because)


def _standing(change: float) -> str:
    """A difference of mean log ranks as a factor between places."""
    factor = math.exp(min(abs(change), 50))
    return f"{factor:.2f} times further {'down' if change < 0 else 'up'}"


def _change(change: float) -> str:
    return f"{change:+.1%} without it" if math.isfinite(change) else f"{change} without it"


def _round(space: SearchSpace, record: dict[str, Any]) -> str:
    if not record["candidates"]:
        return ""
    maps = "".join(_map(space, record, cell) for cell in space.cells)
    health = "; ".join(
        f"{escape(name.replace('_', ' '))}: {', '.join(_text(f'{state} {count}') for state, count in states.items())}"
        for name, states in record["health"].items()
    )
    return (
        f"<h3>Round {_text(record['round'])}</h3>"
        f"<p>{_text(record['evaluations'])} evaluations in {record['seconds']:.1f} s. {health}.</p>"
        f"<div class=wide>{maps}</div><details><summary>every number</summary><div class=wide>{_numbers(record)}</div>"
        "</details>"
    )


def _map(space: SearchSpace, record: dict[str, Any], cell: str) -> str:
    """Edges by operators, coloured by the number that decided."""
    here = {(c["edge"], c["operator"]): c for c in record["candidates"] if c["cell"] == cell}
    if not here:
        return ""
    totals = [float(c["total"]) for c in record["candidates"] if math.isfinite(float(c["total"]))] or [0.0]
    low, high = min(totals), max(totals)
    alive = np.array(record["alive"], bool)[space.cells.index(cell)]
    head = "".join(f"<th>{escape(o)}" for o in space.operators if o != "none")
    rows = []
    for edge, (source, target) in enumerate(space.edges):
        cells = []
        for number, operator in enumerate(space.operators):
            if operator == "none":
                continue
            if (edge, operator) in here:
                candidate = here[edge, operator]
                total = float(candidate["total"])
                share = (total - low) / (high - low) if math.isfinite(total) and high > low else 0.0
                mark = " gone" if candidate["pruned"] else ""
                cells.append(f'<td class="heat{mark}" style="background:{_heat(share)}">{_number(total)}')
            else:
                cells.append(f"<td class=dead>{'stays' if alive[edge, number] else '·'}")
        rows.append(f"<tr><th class=name>{source} → {target}{''.join(cells)}")
    name = f"<caption>{escape(cell)} cell</caption>" if len(space.cells) > 1 else ""
    return f"<table>{name}<tr><th class=name>edge{head}{''.join(rows)}</table>"


def _heat(share: float) -> str:
    """Blue to yellow, dark text readable on all of it."""
    low, high = (120, 170, 225), (250, 225, 130)
    return "rgb({})".format(",".join(str(round(a + (b - a) * share)) for a, b in zip(low, high, strict=True)))


def _numbers(record: dict[str, Any]) -> str:
    names = list(record["candidates"][0]["scores"])
    head = "".join(f"<th>{escape(n.replace('_', ' '))}<th>change<th>rank" for n in names)
    rows = []
    for candidate in sorted(record["candidates"], key=lambda c: float(c["total"])):
        cells = "".join(
            f"<td>{_number(candidate['scores'][n])}<td>{_number(candidate['changes'][n])}<td>{_text(candidate['ranks'][n])}"
            for n in names
        )
        where = f"{candidate['cell']} {candidate['source']} → {candidate['target']}"
        rows.append(
            f"<tr><td class=name>{escape(where)}<td class=name>{escape(candidate['operator'])}{cells}"
            f"<td>{_number(candidate['total'])}<td>{'pruned' if candidate['pruned'] else ''}"
        )
    return f"<table><tr><th>edge<th>operator{head}<th>sum<th>{''.join(rows)}</table>"


def _evolved(folder: RunFolder) -> str:
    """The best of every generation, and how the scores moved."""
    names = list(folder.rounds[0]["scores"])
    rows = []
    for record in folder.rounds:
        values = [np.array([float(v) for v in record["scores"][name]]) for name in names]
        medians = "".join(f"<td>{_number(np.nanmedian(v)) if np.isfinite(v).any() else ''}" for v in values)
        new = len(record["architectures"])
        rows.append(f"<tr><td>{_text(record['round'])}<td>{new}{medians}<td class='name mono'>{escape(record['best'])}")
    head = "".join(f"<th>{escape(n.replace('_', ' '))}" for n in names)
    return (
        "<h2>Generation by generation</h2><p>Medians of each generation's scores, and the best architecture seen so far by "
        "the sum of log ranks among all that have been seen.</p><div class=wide><table><tr><th>generation<th>new"
        f"{head}<th class=name>best so far{''.join(rows)}</table></div>"
    )


def _listed(folder: RunFolder) -> str:
    """The first of the list."""
    with (folder.path / "scores.csv").open() as file:
        rows = [row for row, _ in zip(csv.reader(file), range(SHOWN + 1), strict=False)]
    shown = [n for n, name in enumerate(rows[0]) if not name.endswith("_health")]
    record = folder.rounds[-1]
    return (
        f"<h2>The first {len(rows) - 1} of {record['architectures']:,}</h2><p>{record['distinct']:,} of them are different "
        "functions. The whole list is in <code>scores.csv</code>; <code>smoothed</code> decides.</p><div class=wide><table>"
        f"<tr>{''.join(f'<th>{escape(rows[0][n])}' for n in shown)}"
        f"{''.join(_listed_row(row, shown) for row in rows[1:])}</table></div>"
    )


def _listed_row(row: Sequence[str], shown: Sequence[int]) -> str:
    cells = [f'<td class="name mono">{escape(row[n])}' if n == 0 else f"<td>{_number(row[n])}" for n in shown]
    return f"<tr>{''.join(cells)}"
