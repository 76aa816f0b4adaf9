"""Scores of many architectures: evaluated in shards, averaged over repeats, put in order, written as csv."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tenas_jax.command_line import say
from tenas_jax.data import ImageSource
from tenas_jax.rank.cluster import evaluate_on_ray
from tenas_jax.records.shards import Shards, Table
from tenas_jax.records.spent import Spent
from tenas_jax.scores.catalogue import costs_of, definitions_of
from tenas_jax.scores.neighbours import smoothed
from tenas_jax.scores.ranks import dense_rank, log_rank_sum, rank_sum
from tenas_jax.scores.scorer import Scorer, prepare
from tenas_jax.spaces import equal_cells
from tenas_jax.spaces.registry import identity_of
from tenas_jax.spaces.score import REPEATS, Score
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.terminal import Progress, doing

Masks = Bool[np.ndarray, "m cells edges ops"]
SAYING_SECONDS = 4  # between two lines of progress where there is no bar


class ScoreTable(NamedTuple):
    """Architectures and their scores, the best by `smoothed` first.

    Attributes:
        masks: (m, cells, edges, operators).
        columns: by name (m,): the sums of ranks, every score and its health.
        distinct: how many of the architectures are different functions.
        evaluated: how many of those were evaluated now, and in how many seconds.
        compile_seconds: spent on compiling.
    """

    masks: Masks
    columns: dict[str, np.ndarray]
    distinct: int
    evaluated: dict[str, float]
    compile_seconds: float


def score_architectures(
    space: SearchSpace,
    masks: Masks,
    scores: Mapping[str, Score],
    source: ImageSource,
    folder: Path,
    *,
    seed: int = 0,
    repeats: int = REPEATS,
    ray: Any = None,
    environment: dict[str, str] | None = None,
    spent: Spent | None = None,
) -> ScoreTable:
    """Scores architectures, equal ones once. What a folder holds of an interrupted run is not computed again.

    Args:
        space: the search space.
        masks: (m, cells, edges, operators), single architectures.
        scores: by name, see `catalogue.chosen_scores`.
        source: of images.
        folder: for the shards; the caller removes it when the result is safe.
        seed: random seed for images and weights.
        repeats: draws of images and weights over which a score is averaged.
        ray: from `cluster.connect`, to hand the shards out.
        environment: from `environment.fingerprint` of whoever computes; what is half finished must not change it.
        spent: of the command; learns what earlier sessions have spent.

    Raises:
        InputError: for unfit images, a folder of another ranking, or of another process, or that cannot be written.
    """
    # Both take half a second of the whole of NAS-Bench-201, and NumPy lets another thread work meanwhile.
    with ThreadPoolExecutor(1) as beside:
        representatives = beside.submit(equal_cells.representatives, space, masks)
        scorer = prepare(space, scores, source, seed=seed, repeats=repeats)
        equal = representatives.result()
    packed = np.packbits(equal.reshape(len(equal), -1), axis=1)
    _, first, places = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_index=True, return_inverse=True)
    distinct = equal[first]
    wanted = identity(space, distinct, scores, source, seed=seed, repeats=repeats) | {"shard_size": scorer.shard_size}
    with Shards(folder, wanted, environment, spent) as shards:
        shards.spent.watch(lambda: scorer.compile_seconds)
        found, evaluated = _evaluate(scorer, distinct, shards, ray, environment)
    draws = draws_of(space, scores, masks, found, places.ravel())
    columns = averages(scores, draws, found, places.ravel())
    columns = aggregates(space, scores, masks, draws, columns) | columns
    order = np.argsort(-columns["smoothed"], kind="stable")
    sorted_columns = {name: values[order] for name, values in columns.items()}
    return ScoreTable(masks[order], sorted_columns, len(distinct), evaluated, shards.spent.compiling)


def identity(
    space: SearchSpace, masks: Masks, scores: Mapping[str, Score], source: ImageSource, *, seed: int, repeats: int
) -> dict[str, Any]:
    """Everything that decides the scores of architectures but versions and the machine; plain JSON values.

    Args:
        space: the search space.
        masks: (m, cells, edges, operators), single architectures.
        scores: by name.
        source: of images.
        seed: random seed for images and weights.
        repeats: draws over which a score is averaged.
    """
    return {
        "space": identity_of(space),
        "architectures_sha256": hashlib.sha256(np.packbits(masks).tobytes()).hexdigest(),
        "scores": definitions_of(scores),
        **source.identity,
        "repeats": repeats,
        "seed": seed,
    }


def _evaluate(
    scorer: Scorer, distinct: Masks, shards: Shards, ray: Any, environment: dict[str, str] | None
) -> tuple[Table, dict[str, float]]:
    """All shards' tables as one, and how fast those went that were not finished yet."""
    size = scorer.shard_size
    pieces = {n: distinct[n * size : (n + 1) * size] for n in range(-(-len(distinct) // size))}
    found = {
        number: shards.load(number, names=tuple(scorer.scores), shape=(scorer.repeats, len(masks)))
        for number, masks in pieces.items()
    }
    finished = {number: table for number, table in found.items() if table is not None}
    waiting = {number: masks for number, masks in pieces.items() if number not in finished}
    if finished:
        say(f"{sum(len(pieces[n]) for n in finished)} of {len(distinct)} distinct architectures were finished before")

    def here() -> Iterator[tuple[int, Table]]:
        for number, masks in waiting.items():
            yield number, scorer(masks)

    start, total = time.perf_counter(), sum(map(len, waiting.values()))
    pace = _Pace(total)
    doing("scoring architectures")
    with Progress(len(distinct), len(distinct) - total, "architectures") as progress:
        for number, table in evaluate_on_ray(ray, scorer, waiting, environment=environment) if ray else here():
            shards.save(number, table)
            finished[number] = table
            line = pace.line(len(waiting[number]))
            progress.advance(len(waiting[number]), None if progress.is_live else line)
    seconds = time.perf_counter() - start
    return _joined_tables(finished, scorer), {"distinct_architectures": total, "seconds": round(seconds, 3)}


class _Pace:
    """How far an evaluation is and how fast, said every few seconds where there is no bar."""

    def __init__(self, total: int):
        self._total, self._done = total, 0
        self._start = self._said = time.perf_counter()

    def line(self, count: int) -> str | None:
        """What is to be said once so many more are done; None for nothing."""
        self._done += count
        now = time.perf_counter()
        if now - self._said <= SAYING_SECONDS and self._done < self._total:
            return None
        self._said, rate = now, self._done / (now - self._start)
        left = (self._total - self._done) / rate
        return f"{self._done} of {self._total} distinct architectures, {rate:.0f} a second, {left:.0f} s left"


def _joined_tables(finished: Mapping[int, Table], scorer: Scorer) -> Table:
    """One table of the shards' tables, in the order of their numbers."""
    tables = [finished[number] for number in sorted(finished)]
    return Table(
        *(
            {name: np.concatenate([part[name] for part in parts], axis=1) for name in scorer.scores}
            for parts in zip(*tables, strict=True)
        )
    )


def draws_of(
    space: SearchSpace, scores: Mapping[str, Score], masks: Masks, found: Table, places: np.ndarray
) -> dict[str, np.ndarray]:
    """Every score of every architecture, draw by draw.

    Args:
        space: the search space.
        scores: by name.
        masks: (m, cells, edges, operators).
        found: of the distinct architectures.
        places: (m,), which of them each architecture is.

    Returns:
        By name (draws, m), in the order of the scores: NaN where no input reaches the output; costs have one draw.
    """
    totals = costs_of(space, scores, masks)
    return {name: totals[name][None] if name in totals else found.values[name][:, places] for name in scores}


def averages(
    scores: Mapping[str, Score], draws: Mapping[str, np.ndarray], found: Table, places: np.ndarray
) -> dict[str, np.ndarray]:
    """Every score of every architecture, averaged over draws, and its health.

    Args:
        scores: by name.
        draws: from `draws_of`.
        found: of the distinct architectures.
        places: (m,), which of them each architecture is.

    Returns:
        By name (m,): NaN where no input reaches the output; costs have no health.
    """
    columns = {}
    for name, score in scores.items():
        if score.work is None:
            columns[name] = draws[name][0]
        else:
            columns[name] = _mean(draws[name], score.geometric)
            columns[f"{name}_health"] = _joined(found.health[name])[places]
    return columns


def aggregates(
    space: SearchSpace,
    scores: Mapping[str, Score],
    masks: Masks,
    draws: Mapping[str, np.ndarray],
    columns: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Sums of ranks among the architectures at hand.

    Args:
        space: the search space.
        scores: by name.
        masks: (m, cells, edges, operators), all different.
        draws: from `draws_of`.
        columns: from `averages`.

    Returns:
        By name (m,): `smoothed`, what is ordered by: the sum of log ranks, and the mean of those of the architectures that
        are one operator away; `log_rank_sum`, larger is better, every draw ranked by itself (after AZ-NAS); `rank_sum`, of
        the averages, smaller is better (TE-NAS).
    """
    lower = {name: score.lower_is_better for name, score in scores.items()}
    log_ranks = log_rank_sum({name: draws[name] for name in scores}, lower)
    return {
        "smoothed": smoothed(log_ranks, masks.argmax(-1), space),
        "log_rank_sum": log_ranks,
        "rank_sum": rank_sum([dense_rank(columns[name], descending=not lower[name]) for name in scores]),
    }


def _mean(values: Float[np.ndarray, "repeats m"], geometric: bool) -> Float[np.ndarray, " m"]:
    """Over repeats; infinite where one is, NaN where one is."""
    if not geometric:
        return values.mean(0)
    with np.errstate(divide="ignore"):
        return np.exp(np.log(values).mean(0))


def _joined(health: np.ndarray) -> np.ndarray:
    """One health for all repeats: theirs where they agree, otherwise how many said what."""
    joined = health[0].astype("U64")
    for place in np.flatnonzero((health != health[0]).any(0)):
        states, counts = np.unique(health[:, place], return_counts=True)
        joined[place] = ", ".join(f"{state} in {count}" for state, count in zip(states, counts, strict=True))
    return joined
