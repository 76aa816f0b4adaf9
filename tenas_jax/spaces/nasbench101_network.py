"""The networks of NAS-Bench-101 (Ying et al. 2019, section 2), written against the operations of a `Reading`.

Networks that are scored are one program for all cells: edges and operators are weights. A finite one therefore has equally
many channels at every vertex, and concatenates all five inner vertices with zeros for those that do not enter the output.
It weighs the others so that their channels count as much as those of the narrower vertices that the benchmark trains. The
network that is trained is that of one cell, with the benchmark's channels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from tenas_jax.errors import InputError
from tenas_jax.spaces.inverted_residual import conv_bn_relu
from tenas_jax.spaces.nasbench101_cells import INNER, OPERATORS, VERTICES, Cells, vertex_channels
from tenas_jax.spaces.operators import Reading, Value
from tenas_jax.spaces.skeleton import Skeleton

LAST = VERTICES - 1
NO_PATH = "no vertex of a cell leads to its output; a cell needs a path from input to output."


def vertex_operators(read: Reading[Value], channels: int) -> list[Any]:
    """The operators of a vertex, as `Reading.edges` takes them and in the order of `nasbench101_cells.OPERATORS`.

    Args:
        read: the reading.
        channels: of the vertex.
    """

    def convolution(path, x, kernel):
        return conv_bn_relu(read, f"{path}.conv{kernel}x{kernel}", x, channels, 1, kernel=kernel)

    def pooling(path, x):
        del path
        return read.max_pool(x, window=3, stride=1, padding=1)

    return [partial(convolution, kernel=3), partial(convolution, kernel=1), pooling]


def read_cell(read: Reading[Value], name: str, x: Value, edges, operators, channels: int) -> Value:
    """One cell.

    Args:
        read: the reading.
        name: path of the cell.
        x: its input.
        edges: (7, 7) weights, from row to column.
        operators: (5, 3) weights of the inner vertices' operators.
        channels: of every vertex.

    Raises:
        InputError: where no edge is known to lead to the output.
    """

    def projection(path, x):
        return conv_bn_relu(read, path, x, channels, 1, kernel=1)

    ending, projected = _slots(edges)
    entering: dict[int, list[Value]] = {vertex: [] for vertex in range(1, LAST)}
    slots: list[list[Value]] = [[] for _ in range(INNER)]

    def leave(x, weights, operator, source, parts):
        """Edges to later inner vertices, and to parts of the output."""
        ends = [entering[vertex] for vertex in range(source + 1, LAST)] + parts
        names = [f"{name}.from{source}.to{place}" for place in range(source + 1, source + 1 + len(ends))]
        alive = [place for place, w in enumerate(weights) if not (isinstance(w, np.floating) and w == 0)]
        if alive:
            found = read.edges(x, weights[np.array(alive), None], [operator], [names[place] for place in alive])
            for place, value in zip(alive, found, strict=True):
                ends[place].append(value)

    stack = np if isinstance(edges, np.ndarray) else jnp
    leave(x, stack.concatenate([edges[0, 1:LAST], projected]), projection, 0, slots)
    for vertex in range(1, LAST):
        if entering[vertex]:
            value = read.add(entering[vertex])
            names = [f"{name}.vertex{vertex}"]
            (value,) = read.edges(value, operators[vertex - 1][None], vertex_operators(read, channels), names)
            weights = stack.concatenate([edges[vertex, vertex + 1 : LAST], ending[vertex - 1 : vertex]])
            leave(value, weights, lambda _, x: x, vertex, [slots[vertex - 1]])
    parts = [read.add(values) for values in slots if values]
    if not parts:
        raise InputError(NO_PATH)
    return read.concatenate(parts)


def _slots(edges):
    """(5,) weights of the inner vertices, and of the input's projections, in the parts of the concatenated output.

    Where k vertices enter the output they share its channels. Of P parts each of theirs weighs sqrt(P / k), so that the
    mean of squares over channels is that of the benchmark's cell. The projection of the input is added to each of them;
    alone it is all of the output. Parts that are known to be dead are left out.
    """
    known = isinstance(edges, np.ndarray)
    stack = np if known else jnp
    ends = edges[1:LAST, LAST]
    count = ends.sum()
    parts = max((ends > 0).sum(), 1) if known else INNER
    shares = stack.sqrt(parts * ends / stack.where(count > 0, count, 1))
    alone = (np.arange(INNER) < parts).astype(edges.dtype)
    return shares, edges[0, LAST] * stack.where(count > 0, shares, alone)


def read_trained_cell(read: Reading[Value], name: str, x: Value, cell: Cells, channels: int) -> Value:
    """One cell as the benchmark trains it, with the channels that `nasbench101_cells.vertex_channels` gives its vertices.

    A vertex takes the first channels of what is wider (Ying et al. 2019, as released).

    Args:
        read: the reading.
        name: path of the cell.
        x: its input.
        cell: one pruned cell.
        channels: of its output.

    Raises:
        InputError: where no path leads to the output.
    """
    (edges,), (operators,) = cell
    widths = vertex_channels(cell.edges, channels)[0].tolist()

    def entering(vertex):
        before = [source for source in range(1, vertex) if edges[source, vertex]]
        taken = [read.truncate(values[source], widths[vertex]) for source in before]
        return [*taken, projected(vertex)] if edges[0, vertex] else taken

    def projected(vertex):
        return conv_bn_relu(read, f"{name}.from0.to{vertex}", x, widths[vertex], kernel=1)

    values: dict[int, Value] = {}
    for vertex in np.flatnonzero(edges.any(0))[:-1].tolist():
        row = np.eye(len(OPERATORS))[operators[vertex - 1]]
        ways = vertex_operators(read, widths[vertex])
        (values[vertex],) = read.edges(read.add(entering(vertex)), row[None], ways, [f"{name}.vertex{vertex}"])
    parts = [values[vertex] for vertex in np.flatnonzero(edges[:LAST, LAST]).tolist() if vertex > 0]
    output = [read.concatenate(parts)] if parts else []
    if edges[0, LAST]:
        output.append(projected(LAST))
    if not output:
        raise InputError(NO_PATH)
    return read.add(output)


def stacked_cells(
    read: Reading[Value], images: Value, skeleton: Skeleton, one: Callable[[str, Value, int], Value]
) -> Value:
    """The whole network: a stem, stages of equal cells with maxima between, and a head.

    Args:
        read: the reading.
        images: the input.
        skeleton: how cells are stacked.
        one: reads a cell of a path, an input and a number of channels.
    """
    x, channels = images, skeleton.channels
    if skeleton.stem:
        x = conv_bn_relu(read, "stem", x, channels, 1, kernel=3)
    for stage in range(skeleton.stages):
        if stage > 0:
            x, channels = read.max_pool(x, window=2, stride=2, padding=0), 2 * channels
        for n in range(skeleton.cells):
            x = one(f"stage{stage}.cell{n}", x, channels)
    return read.head("head.linear", x, skeleton.classes) if skeleton.classes else x
