"""The cell networks, written once against the operations of a `Reading`.

They are those of NAS-Bench-201 (Dong and Yang 2020, section 2) and DARTS (Liu et al. 2019, section 3), as TE-NAS (Chen et
al. 2021) uses them; a space of one's own is stacked like one of the two, or brings a network function of its own.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from tenas_jax.spaces.operators import OPERATORS as OPERATORS
from tenas_jax.spaces.operators import Operator, Reading, Value, factorized_reduce, relu_conv_bn
from tenas_jax.spaces.skeleton import Skeleton as Skeleton
from tenas_jax.spaces.space import SearchSpace


def edge_weights(mask):
    """Weights of the operators on every edge: alive ones share one unit equally.

    Args:
        mask: bool or float (..., operators), which operators are alive.

    Returns:
        The weights, same shape; an edge with nothing alive gets zeros.
    """
    alive = mask.astype(float)
    total = alive.sum(axis=-1, keepdims=True)
    return alive / (total + (total == 0).astype(float))


class BoundOperator(NamedTuple):
    """An operator of an edge: `operator(path, x)`.

    Attributes:
        name: of the operator.
        read: the reading.
        definition: what it does.
        channels: of the edge's value.
        stride: of the edge.
    """

    name: str
    read: Any
    definition: Operator
    channels: int
    stride: int

    def __call__(self, path: str, x: Any) -> Any:
        """The operator's output; its weights are found under its name behind the path.

        Args:
            path: of the edge.
            x: what enters.
        """
        return self.definition(self.read, f"{path}.{self.name}", x, self.channels, self.stride)


def bound_operators(read: Reading[Value], space: SearchSpace, channels: int, stride: int) -> list[BoundOperator]:
    """The operators of an edge, as `Reading.edges` takes them.

    Args:
        read: the reading.
        space: the search space.
        channels: of the edge's value.
        stride: of the edge.
    """
    return [BoundOperator(name, read, space.operator(name), channels, stride) for name in space.operators]


def cell(
    read: Reading[Value],
    space: SearchSpace,
    name: str,
    weights,
    inputs: Sequence[Value],
    channels: int,
    *,
    reduce: bool = False,
) -> list[Value]:
    """One cell: every node sums its incoming edges.

    Args:
        read: the reading.
        space: the search space, for nodes, edges and operators.
        name: path of the cell.
        weights: (edges, operators) from `edge_weights`.
        inputs: the `space.inputs` input nodes.
        channels: channels of every node.
        reduce: edges that leave an input node have stride 2.

    Returns:
        The values of all nodes, inputs first.
    """
    nodes = list(read.cell_inputs(inputs))
    incoming: dict[int, list[Value]] = {target: [] for _, target in space.edges}
    for source in range(max(incoming)):
        if source >= space.inputs:
            nodes.append(read.add(incoming[source]))
        stride = 2 if reduce and source < space.inputs else 1
        leaving = [e for e, (start, _) in enumerate(space.edges) if start == source]
        if not leaving:
            continue
        operators = bound_operators(read, space, channels, stride)
        names = [f"{name}.edge{e}" for e in leaving]
        for e, value in zip(leaving, read.edges(nodes[source], weights[leaving, :], operators, names), strict=True):
            incoming[space.edges[e][1]].append(value)
    nodes.append(read.add(incoming[max(incoming)]))
    return nodes


def residual_block(read: Reading[Value], name: str, x: Value, channels: int) -> Value:
    """NAS-Bench-201's reduction: two 3x3 blocks, the first of stride 2, beside an average-pool shortcut."""
    main = relu_conv_bn(read, f"{name}.first", x, channels, 2, kernel=3)
    main = relu_conv_bn(read, f"{name}.second", main, channels, 1, kernel=3)
    pooled = read.average_pool(x, window=2, stride=2, padding=0)
    return read.add([read.convolution(f"{name}.shortcut", pooled, channels), main])


def nas_bench_201(
    read: Reading[Value], space: SearchSpace, weights, images: Value, skeleton: Skeleton, cell=cell
) -> Value:
    """The network of NAS-Bench-201: a stem, stages of equal cells with residual reductions between, and a head."""
    x, channels = images, skeleton.channels
    if skeleton.stem:
        x = read.batch_norm("stem.norm", read.convolution("stem.conv", x, channels, kernel=3))
    for stage in range(skeleton.stages):
        if stage > 0:
            channels *= 2
            x = residual_block(read, f"stage{stage}.reduction", x, channels)
        for n in range(skeleton.cells):
            x = cell(read, space, f"stage{stage}.cell{n}", weights[0], [x], channels)[-1]
    return finish(read, x, skeleton)


def darts_reductions(skeleton: Skeleton) -> set[int]:
    """Which cells of a DARTS network reduce: those at one and two thirds; of one or two cells the second.

    Args:
        skeleton: how cells are stacked.
    """
    return {skeleton.cells // 3, 2 * skeleton.cells // 3} if skeleton.cells > 2 else {1} & set(range(skeleton.cells))


def darts(read: Reading[Value], space: SearchSpace, weights, images: Value, skeleton: Skeleton, cell=cell) -> Value:
    """The network of DARTS: every cell sees its two predecessors; reduction cells double the channels."""
    x, channels = images, skeleton.channels
    if skeleton.stem:
        x = read.convolution("stem.conv", x, skeleton.stem_multiplier * channels, kernel=3)
        x = read.batch_norm("stem.norm", x)
    before, now, before_is_larger = x, x, False
    for n in range(skeleton.cells):
        reduce = n in darts_reductions(skeleton)
        channels *= 2 if reduce else 1
        # A predecessor from before a reduction has twice the side: it is reduced on the way in.
        first = factorized_reduce if before_is_larger else partial(relu_conv_bn, kernel=1)
        inputs = [
            first(read, f"cell{n}.preprocess0", before, channels, 2 if before_is_larger else 1),
            relu_conv_bn(read, f"cell{n}.preprocess1", now, channels, 1, kernel=1),
        ]
        nodes = cell(read, space, f"cell{n}", weights[int(reduce)], inputs, channels, reduce=reduce)
        before, now, before_is_larger = now, read.concatenate(nodes[space.inputs :]), reduce
    return finish(read, now, skeleton)


def finish(read: Reading[Value], x: Value, skeleton: Skeleton) -> Value:
    """Batch norm and ReLU; then, where there are classes, global average pooling and the linear layer."""
    x = read.relu(read.batch_norm("head.norm", x))
    return read.head("head.linear", x, skeleton.classes) if skeleton.classes else x


def reductions(space: SearchSpace, skeleton: Skeleton) -> int:
    """How often the network of a space halves the sides of its images; 0 for a network function of the space's own.

    Args:
        space: the search space.
        skeleton: how cells are stacked.
    """
    if space.network is not None:
        return 0
    return skeleton.stages - 1 if space.family == "nasbench201" else len(darts_reductions(skeleton))


def network(read: Reading[Value], space: SearchSpace, mask, images: Value, skeleton: Skeleton, cell=cell) -> Value:
    """Reads the network of a search space.

    Args:
        read: the reading.
        space: the search space.
        mask: (cells, edges, operators) alive operators; may be traced.
        images: the input, of the reading's kind.
        skeleton: how cells are stacked.
        cell: how a cell is put together, with the arguments and result of `cell`.

    Returns:
        The output of the head, of the reading's kind; without a head, the last cell's output.
    """
    stack = space.network or (nas_bench_201 if space.family == "nasbench201" else darts)
    return stack(read, space, edge_weights(mask), images, skeleton, cell)
