"""NAS-Bench-101 (Ying et al. 2019): cells of at most 7 vertices and 9 edges, 423,624 that differ.

A mask decides of each of the 21 pairs of vertices whether there is an edge, and of each inner vertex which operator it is.
What lies on no path from input to output is dead, and taken out: the cells of the benchmark are those that are left.
"""

import itertools
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.decisions import Decision
from tenas_jax.spaces.nasbench101_cells import (
    INNER,
    VERTICES,
    Cells,
    cell_costs,
    cell_counts,
    pruned,
    valid,
)
from tenas_jax.spaces.nasbench101_network import read_cell, read_trained_cell, stacked_cells
from tenas_jax.spaces.nasbench101_strings import format_cells, parse_cell
from tenas_jax.spaces.operators import Reading, Value
from tenas_jax.spaces.preset import Preset
from tenas_jax.spaces.single_input import SINGLE_INPUT
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import Masks, SearchSpace
from tenas_jax.spaces.stacking import cell

NO_EDGE, EDGE = "no_edge", "edge"
OPTIONS = ("conv3x3", "conv1x1", "maxpool3x3")  # as in `nasbench101_cells.OPERATORS`
PAIRS = tuple(itertools.combinations(range(VERTICES), 2))
_ROWS, _COLUMNS = np.array(PAIRS).T


def cells_of(masks: Masks) -> Cells:
    """The cells of single architectures.

    Args:
        masks: (m, 1, 26, 5).
    """
    choice = masks[:, 0].argmax(-1)
    edges = np.zeros((len(masks), VERTICES, VERTICES), bool)
    edges[:, _ROWS, _COLUMNS] = choice[:, : len(PAIRS)] == 1
    return Cells(edges, np.maximum(choice[:, len(PAIRS) :] - 2, 0))


def masks_of(cells: Cells) -> Masks:
    """The masks of some cells.

    Args:
        cells: the cells.

    Returns:
        (m, 1, 26, 5).
    """
    return np.eye(2 + len(OPTIONS), dtype=bool)[_choices(cells)]


def _choices(cells: Cells) -> Int[np.ndarray, "m 1 decisions"]:
    return np.concatenate([cells.edges[:, _ROWS, _COLUMNS].astype(int), cells.operators + 2], 1)[:, None]


def without_dead_parts(space: CellGraph, masks: Masks) -> Masks:
    """Single architectures without what lies on no path from input to output, see `nasbench101_cells.pruned`.

    Args:
        space: NAS-Bench-101.
        masks: (m, 1, 26, 5).
    """
    del space
    return masks_of(pruned(cells_of(masks)))


def held_by_the_benchmark(space: CellGraph, masks: Masks) -> Bool[np.ndarray, " m"]:
    """Whether the benchmark holds single architectures, once they are pruned.

    Args:
        space: NAS-Bench-101.
        masks: (m, 1, 26, 5).
    """
    del space
    return valid(cells_of(masks))


def in_first_order(space: CellGraph, masks: Masks) -> Masks:
    """Of each architecture the one that comes first among all orders of its vertices, without what is dead.

    It is the same for cells that are equal, which have one hash. Their costs can differ a little: what is left when
    channels are divided goes to the vertices that come first.

    Args:
        space: NAS-Bench-101.
        masks: (m, 1, 26, 5).

    Returns:
        (m, 1, 26, 5).
    """
    del space
    cells = pruned(cells_of(masks))
    best, least = _choices(cells), np.full(len(masks), -1, np.int64)
    for order in itertools.permutations(range(INNER)):
        place = np.array([0, *(np.array(order) + 1), VERTICES - 1])
        moved = Cells(cells.edges[:, place][:, :, place], cells.operators[:, list(order)])
        choice = _choices(moved)
        numbers = _numbers(choice)
        forward = ~np.tril(np.ones((VERTICES,) * 2, bool))[None] | ~moved.edges
        better = forward.all((1, 2)) & ((least < 0) | (numbers < least))
        best[better], least[better] = choice[better], numbers[better]
    return np.eye(2 + len(OPTIONS), dtype=bool)[best]


def _numbers(choice: np.ndarray) -> Int[np.ndarray, " m"]:
    """One number an architecture."""
    sizes = [2] * len(PAIRS) + [len(OPTIONS)] * INNER
    return np.asarray(np.ravel_multi_index(np.where(choice[:, 0] > 1, choice[:, 0] - 2, choice[:, 0]).T, sizes))


def nas_bench_101(
    read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell
) -> Value:
    """The network of NAS-Bench-101, see `nasbench101_network.stacked_cells`."""
    del cell  # of cells whose edges are operators
    options = weights[0]
    known = isinstance(weights, np.ndarray)
    edges: Any = np.zeros((VERTICES, VERTICES)) if known else jnp.zeros((VERTICES, VERTICES), options.dtype)
    there = options[: len(PAIRS), 1]
    if known:
        edges[_ROWS, _COLUMNS] = there
    else:
        edges = edges.at[_ROWS, _COLUMNS].set(there)
    operators = options[len(PAIRS) :, 2:]
    return stacked_cells(
        read, images, skeleton, lambda name, x, channels: read_cell(read, name, x, edges, operators, channels)
    )


def nas_bench_101_trained(
    read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell
) -> Value:
    """The network that the benchmark trains, of a single architecture, see `nasbench101_network.read_trained_cell`."""
    del cell  # as in `nas_bench_101`
    one = pruned(cells_of(weights[None]))
    return stacked_cells(
        read, images, skeleton, lambda name, x, channels: read_trained_cell(read, name, x, one, channels)
    )


def counts(space: CellGraph, masks: Masks, skeleton: Skeleton, side: int) -> dict[str, Int[np.ndarray, " m"]]:
    """Costs and yardsticks of the networks that the benchmark trains, with the channels that their vertices have.

    Args:
        space: NAS-Bench-101.
        masks: single architectures.
        skeleton: how cells are stacked.
        side: of the images.

    Returns:
        By name, see `networks.cost.Cost` and `networks.yardsticks.Yardsticks`.
    """
    cells = cells_of(masks)
    sizes = cell_costs(
        cells,
        channels=skeleton.channels,
        repeats=skeleton.cells,
        stages=skeleton.stages,
        classes=skeleton.classes,
        side=side,
    )
    counted, repeats = cell_counts(cells), skeleton.cells * skeleton.stages
    return {
        "parameters": sizes.parameters,
        "flops": sizes.multiply_adds,
        "neurons": sizes.neurons,
        "convolutions": sizes.convolutions,
        "spatial_convolutions": sizes.spatial_convolutions,
        "live_parameters": sizes.parameters,
        "live_multiply_adds": sizes.multiply_adds,
        "live_convolutions": sizes.convolutions - int(skeleton.classes > 0) - 1,
        "live_spatial_convolutions": repeats * counted.spatial_convolutions,
        "path_convolutions": repeats * counted.path_convolutions,
        "path_spatial_convolutions": repeats * counted.path_spatial_convolutions,
        "depth": repeats * counted.depth,
    }


def _format(space: CellGraph, choice: np.ndarray) -> str:
    return format_cells(cells_of(space.one_hot(choice)[None]))[0]


def _parse(space: CellGraph, architecture: str) -> Int[np.ndarray, "1 decisions"]:
    return without_dead_parts(space, masks_of(parse_cell(architecture)))[0].argmax(-1)


# `benchmarks/rank_nasbench101.py` says how they were chosen: here kernels say little, and counts much.
DEFAULT_SCORES = ("effective_regions_deep", "live_convolutions", "live_spatial_convolutions")
_PRESETS = {"default": Preset(DEFAULT_SCORES, repeats=1, rule="completion", paths=192)}

NAS_BENCH_101 = SearchSpace(
    name="nasbench101",
    decisions=(
        *(Decision(f"{source} to {target}", (NO_EDGE, EDGE)) for source, target in PAIRS),
        *(Decision(f"vertex {vertex}", OPTIONS) for vertex in range(1, VERTICES - 1)),
    ),
    like=replace(
        SINGLE_INPUT,
        network=nas_bench_101,
        skeletons={**SINGLE_INPUT.skeletons, "trained": Skeleton(channels=128, cells=3)},
        takes_any_channels=True,
        presets=_PRESETS,
        imagenet_presets=_PRESETS,
        default_scores=DEFAULT_SCORES,
        costs_add_up=False,
        counts=counts,
        trained={"small": nas_bench_101_trained},
    ),
    formatter=_format,
    parser=_parse,
    validity=held_by_the_benchmark,
    normal_form=without_dead_parts,
    representatives=in_first_order,
)
