"""How a run gets from a search space to one architecture, recorded round by round in its folder so that it can resume.

- "prune" goes from the supernet to one architecture, operator by operator (`pruner.py`).
- "evolve" lets a population of architectures mutate (`evolution.py`): for spaces that are too large to go through.
- "exhaustive" scores every architecture of a small space and takes the first (`score_table.py`).

The last two go by the scores of a ranking and their sum of log ranks (`Family.default_scores`).
"""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from tenas_jax.command_line import say
from tenas_jax.data import ImageSource
from tenas_jax.errors import InputError
from tenas_jax.rank.score_table import averages, score_architectures
from tenas_jax.records.files import write_csv
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.scores.indicators import Indicator
from tenas_jax.scores.presets import Preset
from tenas_jax.scores.ranks import log_rank_sum
from tenas_jax.scores.scorer import Scorer
from tenas_jax.scores.views import Ntk, scores_of
from tenas_jax.search import evolution, pruner
from tenas_jax.search.budget import Budget
from tenas_jax.search.evolution import Evolution
from tenas_jax.search.pruner import Info
from tenas_jax.spaces.space import SearchSpace


def prune_in_folder(
    seed: int,
    space: SearchSpace,
    indicators: list[Indicator],
    settings: Preset,
    folder: RunFolder,
    limits: Budget | None = None,
) -> str:
    """Runs a search, or what is left of it, and records every round.

    Args:
        seed: of everything random.
        space: the search space.
        indicators: from `build_indicators`.
        settings: the preset.
        folder: with the rounds that have been taken.
        limits: on what the network may cost.

    Returns:
        The architecture's string.
    """
    from tqdm import tqdm

    state = pruner.init(space)
    for record in folder.rounds:
        mask = pruner.without(state.mask, _gone(record), space)
        state = pruner.State(mask, record["round"] + 1)
    key = jax.random.key(seed)
    left = pruner.surplus(state.mask, space)
    total = pruner.surplus(space.supernet(), space)
    quiet = not sys.stderr.isatty()
    with tqdm(total=total, initial=total - left, desc="pruned", disable=quiet, file=sys.stderr) as bar:
        while not pruner.is_done(state, space):
            start = time.perf_counter()
            mask = state.mask
            state, info = pruner.step(
                key, state, space=space, indicators=indicators, rule=settings.rule, paths=settings.paths,
                fresh=settings.fresh, prune_number=settings.prune_number, limits=limits,
            )  # fmt: skip
            seconds = time.perf_counter() - start
            folder.append(_round_record(space, state.round - 1, mask, info, seconds))
            bar.update(len(info.pruned) + len(info.unaffordable))
            if quiet:
                say(f"round {state.round - 1}: pruned {_names(space, info)} ({seconds:.1f} s)")
    return space.format(state.mask)


def _gone(record: dict[str, Any]) -> np.ndarray:
    """All operators that a round has pruned (k, 3)."""
    return np.array(record["unaffordable"] + record["pruned"], int).reshape(-1, 3)


def _names(space: SearchSpace, info: Info) -> str:
    """What a round has pruned, for people."""
    dear = f"{len(info.unaffordable)} that cost too much, " if len(info.unaffordable) else ""
    if len(info.pruned) > 6:
        return f"{dear}{len(info.pruned)} operators of {len(info.candidates)}"
    cells = [f" of the {space.cells[cell]} cell" if len(space.cells) > 1 else "" for cell in info.pruned[:, 0]]
    return dear + ", ".join(
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


def evolve_in_folder(
    seed: int,
    space: SearchSpace,
    scores: Sequence[str],
    scorer: Scorer,
    settings: Evolution,
    folder: RunFolder,
    limits: Budget | None = None,
) -> str:
    """Runs an evolution, or what is left of it, and records every generation.

    Args:
        seed: of everything random but what the scorer has drawn.
        space: the search space.
        scores: that it goes by.
        scorer: of those scores.
        settings: of the evolution.
        folder: with the generations that have been scored.
        limits: on what the network may cost.

    Returns:
        The string of the best architecture seen, by the sum of log ranks among all of them.

    Raises:
        InputError: for limits that no architecture meets.
    """
    from tqdm import tqdm

    if limits:
        limits.check(space)
    lower = {name: scores_of(space)[name].lower_is_better for name in scores}
    choices, values = _history(space, scores, folder)
    goodness = log_rank_sum(values, lower)
    key, quiet = jax.random.key(seed), not sys.stderr.isatty()
    with tqdm(total=settings.evaluations, initial=len(choices), unit="arch", disable=quiet, file=sys.stderr) as bar:
        while len(choices) < settings.evaluations:
            start, generation = time.perf_counter(), jax.random.fold_in(key, len(folder.rounds))
            if len(choices):
                young = evolution.next_generation(generation, choices, goodness, space, settings, limits)
            else:
                young = evolution.first_generation(generation, space, settings, limits)
            if not len(young):
                break  # nothing new is left near the population
            masks = space.one_hot(young)
            found = averages(space, scores, masks, scorer(masks), np.arange(len(masks)))
            choices = np.concatenate([choices, young])
            values = {name: np.concatenate([values[name], found[name]]) for name in scores}
            goodness = log_rank_sum(values, lower)
            best = space.format(space.one_hot(choices[np.argmax(goodness)]))
            folder.append(
                {
                    "round": len(folder.rounds),
                    "architectures": [space.format(mask) for mask in masks],
                    "scores": {name: [_plain(value) for value in found[name]] for name in scores},
                    "health": {name: found[f"{name}_health"].tolist() for name in scorer.scores},
                    "best": best,
                    "evaluations": len(young) * len(scorer.drawn[0]),
                    "seconds": round(time.perf_counter() - start, 3),
                }
            )
            bar.update(len(young))
            if quiet:
                say(f"generation {len(folder.rounds) - 1}: {len(choices)} architectures, the best is {best}")
    return folder.rounds[-1]["best"]


def _history(space: SearchSpace, names: Sequence[str], folder: RunFolder) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Operator numbers (m, cells, edges) and scores of all that a folder has recorded, the oldest first."""
    strings = [string for record in folder.rounds for string in record["architectures"]]
    choices = [space.choice(space.parse(string)) for string in strings]
    scores = {name: [float(v) for record in folder.rounds for v in record["scores"][name]] for name in names}
    return (
        np.array(choices, int).reshape(-1, *space.mask_shape[:2]),
        {name: np.array(values, float) for name, values in scores.items()},
    )


def exhaust_in_folder(
    seed: int,
    space: SearchSpace,
    scores: Sequence[str],
    source: ImageSource,
    folder: RunFolder,
    *,
    ntk: Ntk,
    repeats: int,
    limits: Budget | None = None,
) -> tuple[str, float]:
    """Scores every architecture that meets the limits; the folder also gets their table, `scores.csv`.

    Args:
        seed: of everything random.
        space: the search space.
        scores: that it goes by.
        source: of images.
        folder: of the run; what it holds of an interrupted one is not computed again.
        ntk: which kernel.
        repeats: draws over which a score is averaged.
        limits: on what the network may cost.

    Returns:
        The string of the first architecture by the sum of log ranks, and the seconds spent on compiling now.

    Raises:
        InputError: for limits that no architecture meets, or a space that is too large to enumerate.
    """
    if not space.is_enumerable:
        raise InputError(f"{space.name} is too large to go through; take --strategy evolve or --strategy prune.")
    if limits:
        limits.check(space)
    if folder.rounds:
        return folder.rounds[-1]["best"], 0.0
    masks = space.enumerated()
    masks = masks[limits.meet(space, masks)] if limits else masks
    shards = folder.path / "shards"
    start = time.perf_counter()
    found = score_architectures(space, masks, scores, source, shards, ntk=ntk, seed=seed, repeats=repeats)
    strings = space.formats(found.masks)
    write_csv(folder.path / "scores.csv", strings, found.columns)
    folder.append(
        {
            "round": 0,
            "architectures": len(strings),
            "distinct": found.distinct,
            "best": strings[0],
            "evaluations": found.distinct * repeats,
            "seconds": round(time.perf_counter() - start, 3),
        }
    )
    shutil.rmtree(shards, ignore_errors=True)
    return strings[0], found.compile_seconds
