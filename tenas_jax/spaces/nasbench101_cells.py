"""The cells of NAS-Bench-101 (Ying et al. 2019): what is dead in them, their channels, their hash and their costs.

A cell is a graph of at most 7 vertices and 9 edges; the first vertex is its input, the last its output, and every one
between is an operator. Cells are kept as arrays of one size, so that thousands are read at once: a cell of fewer vertices
has its inner ones first, then some without edges, and its output at the end.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

VERTICES, MOST_EDGES = 7, 9
INNER = VERTICES - 2
OPERATORS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
KERNELS = (3, 1, 0)  # sides of the operators' weights; a pooling has none


class Cells(NamedTuple):
    """Some cells.

    Attributes:
        edges: (cells, 7, 7), from row to column, above the diagonal.
        operators: (cells, 5) numbers in `OPERATORS`, of the vertices 1 to 5.
    """

    edges: Bool[np.ndarray, "m v v"]
    operators: Int[np.ndarray, "m inner"]


def alive(edges: Bool[np.ndarray, "m v v"]) -> Bool[np.ndarray, "m v"]:
    """The vertices that lie on a path from input to output; none where there is no path.

    Args:
        edges: of the cells.
    """
    reached, leading = np.zeros((2, *edges.shape[:2]), bool)
    reached[:, 0] = leading[:, -1] = True
    for vertex in range(1, VERTICES):
        reached[:, vertex] = (edges[:, :, vertex] & reached).any(1)
    for vertex in reversed(range(VERTICES - 1)):
        leading[:, vertex] = (edges[:, vertex] & leading).any(1)
    return reached & leading


def pruned(cells: Cells) -> Cells:
    """The cells without what lies on no path from input to output, as the benchmark trains them.

    What is left comes first, in its order; vertices without edges get the first operator, so that equal arrays are
    the same pruned cell.

    Args:
        cells: the cells.
    """
    live = alive(cells.edges)
    edges = cells.edges & live[:, :, None] & live[:, None]
    order = np.argsort(~live[:, 1:-1], axis=1, kind="stable")
    ends = np.zeros((len(order), 1), int)
    places = np.concatenate([ends, order + 1, ends + VERTICES - 1], 1)
    edges = np.take_along_axis(np.take_along_axis(edges, places[:, :, None], 1), places[:, None], 2)
    inner = np.take_along_axis(live[:, 1:-1], order, 1)
    return Cells(edges, np.where(inner, np.take_along_axis(cells.operators, order, 1), 0))


def valid(cells: Cells) -> Bool[np.ndarray, " m"]:
    """Whether the benchmark holds a cell: a path from input to output, and at most 9 edges when it is pruned.

    Args:
        cells: the cells, pruned or not.
    """
    live = alive(cells.edges)
    edges = (cells.edges & live[:, :, None] & live[:, None]).sum((1, 2))
    return live[:, 0] & (edges <= MOST_EDGES)


def smallest(cells: Cells) -> Iterator[tuple[list[list[int]], list[int]]]:
    """Each cell as the benchmark writes it: the adjacency of its n vertices, and the operators of the inner ones.

    Args:
        cells: the cells.
    """
    short = pruned(cells)
    counts = alive(short.edges)[:, 1:-1].sum(1)
    for edges, operators, count in zip(short.edges, short.operators, counts, strict=True):
        kept = [*range(count + 1), VERTICES - 1]
        yield edges[np.ix_(kept, kept)].astype(int).tolist(), operators[:count].tolist()


def graph_hashes(cells: Cells) -> list[str]:
    """The benchmark's hash of each cell, equal for cells that differ in the order of their vertices alone.

    Every vertex starts with its degrees and its label; then, as often as there are vertices, it takes in those of its
    neighbours (Ying 2019, "Enumerating unique computational graphs via an iterative graph invariant").

    Args:
        cells: the cells; pruned first.
    """
    return [_hash(matrix, [-1, *operators, -2]) for matrix, operators in smallest(cells)]


def _hash(matrix: list[list[int]], labels: list[int]) -> str:
    numbers = range(len(labels))
    into = [[w for w in numbers if matrix[w][v]] for v in numbers]
    out = [[w for w in numbers if matrix[v][w]] for v in numbers]
    hashes = [_md5(str((len(out[v]), len(into[v]), labels[v]))) for v in numbers]
    for _ in numbers:
        hashes = [
            _md5("|".join(["".join(sorted(hashes[w] for w in near)) for near in (into[v], out[v])] + [hashes[v]]))
            for v in numbers
        ]
    return _md5(str(sorted(hashes)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def vertex_channels(edges: Bool[np.ndarray, "m v v"], channels: int) -> Int[np.ndarray, "m v"]:
    """How many channels the vertices have: an output's are divided among the inner vertices that enter it.

    The first of them get one more each where that leaves a rest; any other has as many as the widest that it enters.

    Args:
        edges: of pruned cells.
        channels: of the output.

    Returns:
        Of the input 0: it has those of the cell before.
    """
    ends = edges[:, 1:-1, -1]
    count = np.maximum(ends.sum(1, keepdims=True), 1)
    share = channels // count + (np.cumsum(ends, 1) <= channels % count)
    found = np.zeros(edges.shape[:2], int)
    found[:, -1] = channels
    found[:, 1:-1] = ends * share
    for vertex in reversed(range(1, VERTICES - 2)):
        widest = np.where(edges[:, vertex, :-1], found[:, :-1], 0).max(1)
        found[:, vertex] = np.where(ends[:, vertex - 1], found[:, vertex], widest)
    return found


class CellCosts(NamedTuple):
    """Sizes of networks, each (cells,).

    Attributes:
        parameters: weights of convolutions and of the linear layer, its bias, scales and shifts of batch norms.
        multiply_adds: of convolutions and of the linear layer for one image, its bias counting one a class.
        neurons: outputs of all ReLUs.
        convolutions: layers with weights.
        spatial_convolutions: those that are 3x3.
    """

    parameters: Int[np.ndarray, " m"]
    multiply_adds: Int[np.ndarray, " m"]
    neurons: Int[np.ndarray, " m"]
    convolutions: Int[np.ndarray, " m"]
    spatial_convolutions: Int[np.ndarray, " m"]


def cell_costs(
    cells: Cells, *, channels: int = 128, repeats: int = 3, stages: int = 3, classes: int = 10, side: int = 32
) -> CellCosts:
    """What the networks of cells cost, to the number.

    Args:
        cells: the cells; pruned first, and those without a path cost what is around them.
        channels: of the stem and of the first stage.
        repeats: cells a stage.
        stages: between two of them the side halves and channels double.
        classes: outputs of the linear layer; 0 for none.
        side: of the images.
    """
    cells = pruned(cells)
    layers = [np.broadcast_to(np.array(_layer(3, channels, 3, side)), (len(cells.edges), 5))]
    before, width = channels, channels
    for stage in range(stages):
        width = width if stage == 0 else 2 * width
        side = side if stage == 0 else side // 2
        for _ in range(repeats):
            layers.append(_cell_layers(cells, before, width, side))
            before = width
    total = sum(layers[1:], start=layers[0])
    head = (before + 1) * classes
    return CellCosts(*(total + np.array([head, head, 0, int(classes > 0), 0])).T)


def _layer(inputs, outputs, kernel, side):
    """The costs of a convolution with batch norm and ReLU; nothing where it has no outputs."""
    weights, there = kernel**2 * inputs * outputs, (outputs > 0) & (kernel > 0)
    return (
        (weights + 2 * outputs) * there,
        weights * side**2 * there,
        outputs * side**2 * there,
        1 * there,
        1 * (there & (kernel > 1)),
    )


def _cell_layers(cells: Cells, before: int, channels: int, side: int) -> np.ndarray:
    """(cells, 5): costs of the vertices' convolutions, and of the 1x1 projections of the input to what it enters."""
    widths = vertex_channels(cells.edges, channels)
    operators = _layer(widths[:, 1:-1], widths[:, 1:-1], np.array(KERNELS)[cells.operators], side)
    projections = _layer(before, widths[:, 1:] * cells.edges[:, 0, 1:], np.array(1), side)
    return np.stack([a.sum(1) + b.sum(1) for a, b in zip(operators, projections, strict=True)], 1)


class CellCounts(NamedTuple):
    """Counts on paths from input to output, each (cells,); nothing of a network is needed for them.

    Attributes:
        edges: of the pruned cell.
        vertices: of the pruned cell, input and output too.
        longest_path: edges on it.
        spatial_convolutions: vertices that are 3x3 convolutions.
        path_convolutions: convolutions summed over all paths, projections of the input among them.
        path_spatial_convolutions: 3x3 convolutions summed over all paths.
        depth: convolutions on the longest path, projections among them.
    """

    edges: Int[np.ndarray, " m"]
    vertices: Int[np.ndarray, " m"]
    longest_path: Int[np.ndarray, " m"]
    spatial_convolutions: Int[np.ndarray, " m"]
    path_convolutions: Int[np.ndarray, " m"]
    path_spatial_convolutions: Int[np.ndarray, " m"]
    depth: Int[np.ndarray, " m"]


def cell_counts(cells: Cells) -> CellCounts:
    """What can be counted in cells, dead vertices left out.

    Args:
        cells: the cells.
    """
    cells = pruned(cells)
    live = alive(cells.edges)
    kernels = np.array(KERNELS)[cells.operators] * live[:, 1:-1]
    spatial = kernels > 1
    no_weights = np.zeros((*live.shape, VERTICES), int)
    projections = no_weights.copy()
    projections[:, 0, 1:] = 1
    convolutions = projections.copy()
    convolutions[:, :, 1:-1] += (kernels > 0)[:, None]
    large = no_weights.copy()
    large[:, :, 1:-1] += spatial[:, None]
    return CellCounts(
        edges=cells.edges.sum((1, 2)),
        vertices=live.sum(1),
        longest_path=_longest(cells.edges, no_weights + 1),
        spatial_convolutions=spatial.sum(1),
        path_convolutions=_over_paths(cells.edges, convolutions),
        path_spatial_convolutions=_over_paths(cells.edges, large),
        depth=_longest(cells.edges, convolutions),
    )


def _longest(edges: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The largest sum of weights (cells, from, to) along a path to the output."""
    found = np.zeros(edges.shape[:2], int)
    for vertex in range(1, VERTICES):
        found[:, vertex] = np.where(edges[:, :, vertex], found + weights[:, :, vertex], 0).max(1)
    return found[:, -1]


def _over_paths(edges: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums of weights along paths to the output, summed over paths."""
    paths, found = np.zeros((2, *edges.shape[:2]), int)
    paths[:, 0] = 1
    for vertex in range(1, VERTICES):
        entering = edges[:, :, vertex]
        paths[:, vertex] = (entering * paths).sum(1)
        found[:, vertex] = (entering * (found + paths * weights[:, :, vertex])).sum(1)
    return found[:, -1]
