"""A ranking, resolved: every option checked, everything opened. What runs it sees no command line any more."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from tenas_jax.command_line import check_devices, say
from tenas_jax.data import ImageSource, open_images
from tenas_jax.errors import InputError
from tenas_jax.rank import architectures, cluster
from tenas_jax.rank.benchmark_table import BenchmarkTable, read_table
from tenas_jax.rank.config import RankConfig
from tenas_jax.rank.ranking_files import check_output
from tenas_jax.rank.score_table import identity
from tenas_jax.scores.catalogue import chosen_scores, readable_scores
from tenas_jax.scores.presets import check_kernel
from tenas_jax.spaces.registry import find_space
from tenas_jax.spaces.score import Score
from tenas_jax.spaces.space import SearchSpace


@dataclass(frozen=True)
class Job:
    """All that a ranking is made of.

    Attributes:
        space: the search space.
        masks: (m, cells, edges, operators), all different.
        scores: by name.
        source: of images.
        repeats: draws of images and weights over which a score is averaged.
        seed: random seed for images, weights and sampling.
        table: of trained accuracies, to correlate with; takes no part in the scores.
        ray: from `cluster.connect`, or None.
        output: of the csv.
        identity: everything that decides the ranking; plain JSON values.
        labels: what the record repeats of the command line.
    """

    space: SearchSpace
    masks: Bool[np.ndarray, "m cells edges ops"]
    scores: Mapping[str, Score]
    source: ImageSource
    repeats: int
    seed: int
    table: BenchmarkTable | None
    ray: Any
    output: Path
    identity: dict[str, Any]
    labels: dict[str, Any]


def resolve(config: RankConfig) -> Job:
    """Checks and opens everything that a ranking needs.

    Args:
        config: as the command line names it, after `options.check_shared`.

    Raises:
        InputError: for bad input, in one sentence.
    """
    check_output(config.output)
    table = read_table(config.benchmark, config.benchmark_column) if config.benchmark else None
    space = find_space(config.space)
    check_kernel(config.ntk)
    names = _score_names(config.scores, space)
    chosen_scores(space, names)
    architectures.check_number(space, config.architectures)
    # Ray forks, which a process must not do once JAX has started its threads.
    ray = cluster.connect(config.ray) if config.ray else None
    check_devices()
    scores = readable_scores(space, names, config.ntk, config.ntk_engine)  # pyright: ignore[reportArgumentType]
    listing = architectures.choose(space, config.architectures, jax.random.key(config.seed))
    if listing.duplicates:
        say(f"{listing.duplicates} architectures came twice and are listed once")
    source = open_images(config.dataset, config.data, seed=config.seed, side=config.side)
    if table:
        _check_overlap(space, listing.masks, table)
    return Job(
        space, listing.masks, scores, source, config.repeats, config.seed, table, ray, config.output,
        identity=identity(space, listing.masks, scores, source, seed=config.seed, repeats=config.repeats),
        labels={"space": config.space, "ntk": config.ntk, "ntk_engine": config.ntk_engine, "dataset": source.name},
    )  # fmt: skip


def _score_names(asked: str | None, space: SearchSpace) -> tuple[str, ...]:
    if asked is None:
        return space.family.default_scores
    return tuple(name.strip() for name in asked.split(",") if name.strip())


def _check_overlap(space: SearchSpace, masks: np.ndarray, table: BenchmarkTable) -> None:
    """Refuses, before any work, a table that nothing could be correlated with."""
    held = sum(space.format(mask) in table.accuracies for mask in masks)
    if held < 2:
        raise InputError(f"{table.path} holds {held} of the architectures; at least 2 are needed.")
