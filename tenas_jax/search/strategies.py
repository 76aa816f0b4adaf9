"""How a search gets from a space to one architecture, recorded round by round in its run's folder so that it can resume.

- "prune" goes from the supernet to one architecture, operator by operator (`pruner.py`).
- "evolve" lets a population of architectures mutate (`evolution.py`): for spaces that are too large to go through.
- "exhaustive" scores every architecture of a small space and takes the first (`rank/score_table.py`).

The last two go by the scores of a ranking and their sum of log ranks (`Family.default_scores`).
"""

import time
from typing import Any

import jax
import numpy as np

from tenas_jax.command_line import use_compilation_cache
from tenas_jax.errors import InputError
from tenas_jax.rank.score_table import averages, draws_of, score_architectures
from tenas_jax.records.environment import fingerprint
from tenas_jax.records.files import remove_tree, sha256_of, write_csv
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.report.run_files import read_run
from tenas_jax.scores.indicators import Indicator, indicators
from tenas_jax.scores.scorer import Scorer, prepare
from tenas_jax.search import contest, evolution, pruner
from tenas_jax.search.beside import keep, kernels_beside, scores_beside
from tenas_jax.search.evolution import Evolution, History
from tenas_jax.search.job import Job
from tenas_jax.search.pareto import connected_costs
from tenas_jax.search.pruner import Info
from tenas_jax.spaces.cell_graph import Mask
from tenas_jax.spaces.preset import Preset
from tenas_jax.spaces.space import Masks, SearchSpace
from tenas_jax.terminal import Progress, doing


def search(job: Job, folder: RunFolder) -> Mask:
    """Runs a job's strategy, or what is left of it.

    Args:
        job: the search.
        folder: with the rounds that have been taken.

    Returns:
        The mask of one architecture.

    Raises:
        InputError: where the folder cannot be written.
    """
    use_compilation_cache()
    doing("preparing the scores")
    found = {"prune": prune, "evolve": evolve, "exhaustive": exhaust}[job.strategy](job, folder)
    if job.strategy != "prune":
        keep(folder, _kernels(job, found))
    return found


def prune(job: Job, folder: RunFolder) -> Mask:
    """Prunes, or goes on with it, and records every round.

    Args:
        job: the search.
        folder: with the rounds that have been taken.

    Returns:
        The mask of one architecture.
    """
    by = indicators(job.space, job.source, job.scores, repeats=job.repeats)
    folder.spent.watch(lambda: sum(indicator.compile_seconds for indicator in by))
    found = prune_in_folder(job.seed, job.space, by, job.settings, folder, job.budget)
    keep(folder, scores_beside(job.space, by, found, job.seed) | _kernels(job, found))
    return found


def _kernels(job: Job, found: Mask) -> dict[str, Any]:
    doing("drawing kernels for the report")
    return kernels_beside(job.space, job.source, job.scores, found, job.seed)


def prune_in_folder(
    seed: int,
    space: SearchSpace,
    by: list[Indicator],
    settings: Preset,
    folder: RunFolder,
    budget: Any = None,
) -> Mask:
    """Prunes by any indicators, or goes on with it, and records every round.

    Args:
        seed: random seed for images, weights and sampling.
        space: the search space.
        by: the indicators.
        settings: the preset.
        folder: with the rounds that have been taken.
        budget: on what the network may cost, a `budget.Budget`.

    Returns:
        The mask of one architecture.
    """
    state = pruner.init(space)
    for record in folder.rounds:
        state = pruner.State(contest.without(state.mask, _gone(record), space), record["round"] + 1)
    total, left = contest.surplus(space.supernet(), space), contest.surplus(state.mask, space)
    steps = pruner.steps(
        jax.random.key(seed), state, space=space, indicators=by, rule=settings.rule, paths=settings.paths,
        fresh=settings.fresh, prune_number=settings.prune_number, budget=budget,
    )  # fmt: skip
    with Progress(total, total - left, "operators") as progress:
        start, mask = time.perf_counter(), state.mask
        for state, info in steps:
            seconds = time.perf_counter() - start
            folder.append(_round_record(space, state.round - 1, mask, info, seconds))
            line = f"round {state.round - 1}: pruned {_names(space, info)} ({seconds:.1f} s)"
            progress.advance(len(info.pruned) + len(info.unaffordable), line, _panel(space, state.mask, info))
            start, mask = time.perf_counter(), state.mask
    return state.mask


def _panel(space: SearchSpace, mask: Mask, info: Info) -> dict[str, str]:
    """What the live panel says after a round."""
    facts = {"alive": f"{int(mask[..., space.carriers].sum())} operators on {mask.shape[0] * mask.shape[1]} edges"}
    if len(info.pruned):
        place = int(np.flatnonzero((info.candidates == info.pruned[0]).all(1))[0])
        leads = ", ".join(f"{name.replace('_', ' ')} {values[place]:+.3g}" for name, values in info.changes.items())
        facts |= {"last pruned": _names(space, info), "because": leads}
    return facts


def _gone(record: dict[str, Any]) -> np.ndarray:
    """All operators that a round has pruned (k, 3)."""
    return np.array(record["unaffordable"] + record["pruned"], int).reshape(-1, 3)


def _names(space: SearchSpace, info: Info) -> str:
    """What a round has pruned, for people."""
    why = "over budget" if space.validity is None else "not valid or over budget"
    over_budget = f"{len(info.unaffordable)} {why}, " if len(info.unaffordable) else ""
    if len(info.pruned) > 6:
        return f"{over_budget}{len(info.pruned)} operators of {len(info.candidates)}"
    if space.decisions:
        return over_budget + ", ".join(
            f"{space.operators[o]} from {space.decisions[e].name}" for _, e, o in info.pruned
        )
    cells = [f" of the {space.cells[cell]} cell" if len(space.cells) > 1 else "" for cell in info.pruned[:, 0]]
    return over_budget + ", ".join(
        f"{space.operators[o]} from edge {e}{cell}" for (_, e, o), cell in zip(info.pruned, cells, strict=True)
    )


def _round_record(space: SearchSpace, number: int, mask, info: Info, seconds: float) -> dict[str, Any]:
    """All that a report may want to show of a round."""
    gone = {tuple(candidate) for candidate in info.pruned.tolist()}
    by_candidate = [
        {
            "cell": space.cells[cell],
            "edge": edge,
            "source": space.edges[edge][0],
            "target": space.edges[edge][1],
            "operator": space.operators[operator],
            "scores": {name: _plain(values[place]) for name, values in info.scores.items()},
            "changes": {name: _plain(values[place]) for name, values in info.changes.items()},
            "ranks": {name: int(values[place]) for name, values in info.ranks.items()},
            "total": _plain(info.total[place]),
            **({"noise": _plain(info.noise[place])} if info.noise is not None else {}),
            "pruned": (cell, edge, operator) in gone,
        }
        for place, (cell, edge, operator) in enumerate(info.candidates.tolist())
    ]
    return {
        "round": number,
        "alive": mask.astype(int).tolist(),
        "unaffordable": info.unaffordable.tolist(),
        "pruned": info.pruned.tolist(),
        "candidates": by_candidate,
        "health": info.health,
        "evaluations": info.evaluations,
        "seconds": round(seconds, 3),
    }


def _plain(value: float) -> float | str:
    """JSON has no infinity."""
    return float(value) if abs(value) < float("inf") else str(float(value))


def evolve(job: Job, folder: RunFolder) -> Mask:
    """Evolves, or goes on with it, and records every generation.

    Args:
        job: the search.
        folder: with the generations that have been scored.

    Returns:
        The mask of the best architecture seen, by `evolution.goodness` among all of them.
    """
    space, settings = job.space, Evolution(evaluations=job.evaluations)
    scorer = prepare(space, job.scores, job.source, seed=job.seed, repeats=job.repeats)
    folder.spent.watch(lambda: scorer.compile_seconds)
    lower = _lower_is_better(job)
    before, records = _history(job, folder), []

    def score(masks):
        doing(f"scoring generation {len(folder.rounds)}")
        draws, record = _generation_record(job, scorer, masks)
        records.append(record)
        return draws

    with Progress(settings.evaluations, len(before.choices), "arch") as progress:
        start = time.perf_counter()
        for history in evolution.steps(
            jax.random.key(job.seed), before, space=space, score=score, lower_is_better=lower, settings=settings,
            budget=job.budget, parents_by=lambda history: _parents_by(job, history, settings),
        ):  # fmt: skip
            best, now = space.format(space.one_hot(history.best)), time.perf_counter()
            folder.append({"round": len(folder.rounds), **records[-1], "best": best, "seconds": round(now - start, 3)})
            line = f"generation {len(folder.rounds) - 1}: {len(history.choices)} architectures, the best is {best}"
            progress.advance(len(records[-1]["architectures"]), line, {"best": best})
            start = now
    return space.parse(folder.rounds[-1]["best"])


def _generation_record(job: Job, scorer: Scorer, masks: Masks) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Every draw of every score of some architectures, and what the record of their generation says of them."""
    scored, places = scorer(masks), np.arange(len(masks))
    draws = draws_of(job.space, job.scores, masks, scored, places)
    found = averages(job.scores, draws, scored, places)
    return draws, {
        "architectures": [job.space.format(mask) for mask in masks],
        "scores": {name: [_plain(value) for value in found[name]] for name in job.scores},
        "draws": {name: [[_plain(v) for v in draw] for draw in draws[name]] for name in job.scores},
        "health": {name: found[f"{name}_health"].tolist() for name in scorer.scores},
        "evaluations": len(masks) * scorer.repeats,
    }


def _lower_is_better(job: Job) -> dict[str, bool]:
    return {name: score.lower_is_better for name, score in job.scores.items()}


def _parents_by(job: Job, history: History, settings: Evolution) -> np.ndarray:
    """What parents are chosen by: goodness or, where a front is sought, how few of the living beat them."""
    if job.asked.pareto is None:
        return history.good
    living = history.choices[-settings.population :]
    costs = np.full(len(history.choices), np.nan)
    costs[-settings.population :] = connected_costs(job.asked.pareto, job.space, living)
    return evolution.least_dominated(history.good, costs, settings)


def scored(job: Job, folder: RunFolder) -> tuple[np.ndarray, np.ndarray]:
    """Everything that a finished evolution or exhaustive search has scored, and what it went by.

    Args:
        job: the search.
        folder: of the run.

    Returns:
        Operator numbers (m, cells, edges), and (m,): larger is better.

    Raises:
        InputError: where the table of an exhaustive search is damaged.
    """
    if job.strategy == "evolve":
        history = _history(job, folder)
        return history.choices, history.good
    table = read_run(folder.path).table
    if table is None or "smoothed" not in table.columns:
        raise InputError(f"{folder.path / 'scores.csv'} is damaged; remove the folder to have it made anew.")
    return np.stack([job.space.choice(job.space.parse(name)) for name in table.strings]), table.columns["smoothed"]


def _history(job: Job, folder: RunFolder) -> History:
    """What the generations that a folder has recorded have scored."""
    space = job.space
    if not folder.rounds:
        return evolution.init(space)
    strings = [string for record in folder.rounds for string in record["architectures"]]
    choices = np.stack([space.choice(space.parse(string)) for string in strings])
    draws = {
        name: np.concatenate([np.array(record["draws"][name], float) for record in folder.rounds], axis=1)
        for name in job.scores  # "inf" is text in JSON
    }
    good = evolution.goodness(draws, _lower_is_better(job), choices, space)
    return History(choices, draws, good, len(folder.rounds))


def exhaust(job: Job, folder: RunFolder) -> Mask:
    """Scores every architecture that meets the limits; the folder also gets their table, `scores.csv`.

    Args:
        job: the search, of a space that is small enough to go through.
        folder: of the run; what it holds of an interrupted one is not computed again.

    Returns:
        The mask of the first architecture.
    """
    space, shards, table = job.space, folder.path / "shards", folder.path / "scores.csv"
    if not folder.rounds:
        start = time.perf_counter()
        masks = space.enumerated()
        masks = masks[job.budget.meet(space, masks)] if job.budget else masks
        found = score_architectures(
            space, masks, job.scores, job.source, shards, seed=job.seed, repeats=job.repeats, environment=fingerprint(),
            spent=folder.spent,
        )  # fmt: skip
        strings = space.formats(found.masks)
        write_csv(table, strings, found.columns)
        folder.append(
            {
                "round": 0,
                "architectures": len(strings),
                "distinct": found.distinct,
                "best": strings[0],
                "evaluations": found.distinct * job.repeats,
                "files": {table.name: sha256_of(table)},
                "seconds": round(time.perf_counter() - start, 3),
            }
        )
    remove_tree(shards)
    return space.parse(folder.rounds[-1]["best"])
