"""NAS-Bench-201 with the accuracies of a table, and random architectures of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.halves import halves
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.spaces.equal_cells import representatives
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.space import SearchSpace


class Space(NamedTuple):
    """The whole space, and what its architectures reach.

    Attributes:
        masks: (m, cells, edges, operators).
        connected: (m,), whether anything reaches the output.
        accuracy: (m,), trained.
        parts: rows of the whole space and of its halves, by name.
    """

    masks: np.ndarray
    connected: np.ndarray
    accuracy: np.ndarray
    parts: dict[str, np.ndarray]


def read_space(path: Path) -> Space:
    """All architectures, with the accuracies of a table."""
    table = read_table(path)
    masks = np.stack(list(NAS_BENCH_201.enumerate()))
    names = [NAS_BENCH_201.format(mask) for mask in masks]
    return Space(
        masks,
        np.array([NAS_BENCH_201.is_connected(mask) for mask in masks]),
        np.array([table.accuracies[name] for name in names]),
        halves(names, NAS_BENCH_201),
    )


def random_architectures(count: int) -> np.ndarray:
    """Different connected architectures, all equally likely, (count, cells, edges, operators)."""
    connected = np.array([mask for mask in NAS_BENCH_201.enumerate() if NAS_BENCH_201.is_connected(mask)])
    return connected[np.random.default_rng(0).permutation(len(connected))[:count]]


def distinct(space: SearchSpace, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One of all architectures that are equal, and the place of every mask's among them.

    Args:
        space: the search space.
        masks: (m, cells, edges, operators).
    """
    flat = representatives(space, masks).reshape(len(masks), -1)
    flat, places = np.unique(flat, axis=0, return_inverse=True)
    return flat.reshape(-1, *space.mask_shape), places.ravel()
