"""The cell networks, written once against a small set of operations.

A network here is a function of a *reading*: an object that says what a convolution, a batch norm, a ReLU, ... means for the
kind of value that flows through. `finite.py` reads feature maps with weights, `infinite.py` reads Gaussian-process kernels.
An operator of a search space is therefore written in one place, in `OPERATORS`, and every reading understands it.

The networks are those of NAS-Bench-201 (Dong and Yang 2020, section 2) and DARTS (Liu et al. 2019, section 3), with the
order ReLU, convolution, batch norm inside every block, as TE-NAS (Chen et al. 2021) uses them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from tenas_jax.space import SearchSpace

Value = TypeVar("Value")
Operator = Callable[["Reading[Value]", str, Value, int, int], Value]


class Reading(Protocol[Value]):
    """What a reading has to define. Names are unique paths within the network: a reading may key its weights by them."""

    def convolution(
        self, name: str, x: Value, channels: int, *, kernel: int = 1, stride: int = 1, dilation: int = 1
    ) -> Value:
        """A `kernel` x `kernel` convolution to `channels` channels, zero padded to keep positions, without bias."""
        ...

    def depthwise_convolution(self, name: str, x: Value, *, kernel: int, stride: int = 1, dilation: int = 1) -> Value:
        """One `kernel` x `kernel` filter a channel, zero padded to keep positions, without bias."""
        ...

    def batch_norm(self, name: str, x: Value) -> Value:
        """Batch norm with a learned scale and shift, in training mode."""
        ...

    def relu(self, x: Value) -> Value:
        """The positive part."""
        ...

    def average_pool(self, x: Value, *, window: int, stride: int, padding: int) -> Value:
        """Averages over windows; padded positions do not count."""
        ...

    def max_pool(self, x: Value, *, window: int, stride: int, padding: int) -> Value:
        """Maxima over windows; padded positions do not count."""
        ...

    def crop(self, x: Value, *, offset: int, stride: int) -> Value:
        """Positions `offset`, `offset + stride`, ... along both sides; past the border there are zeros."""
        ...

    def zero(self, x: Value, *, stride: int) -> Value:
        """A value of the shape that a convolution of this stride would give, and nothing in it."""
        ...

    def concatenate(self, values: Sequence[Value]) -> Value:
        """Stacks channels."""
        ...

    def add(self, values: Sequence[Value]) -> Value:
        """The sum."""
        ...

    def cell_inputs(self, values: Sequence[Value]) -> Sequence[Value]:
        """Marks where a cell begins: fresh weights have just made these values."""
        ...

    def edges(
        self, x: Value, weights: Any, operators: Sequence[Callable[[str, Value], Value]], names: Sequence[str]
    ) -> Sequence[Value]:
        """The edges that leave node `x`: edge e is the sum over o of `weights[e, o] * operators[o](names[e] + ..., x)`.

        `weights` (edges, operators) may be traced; an operator whose weights are zero need not be computed. Edges have
        weights of their own, so a finite reading calls every operator for every edge.
        """
        ...

    def head(self, name: str, x: Value, classes: int) -> Value:
        """Global average pooling and a linear layer with bias."""
        ...


def relu_conv_bn(read, name, x, channels, stride, *, kernel, dilation=1):
    """ReLU, convolution, batch norm: the convolution block of both spaces."""
    x = read.convolution(f"{name}.conv", read.relu(x), channels, kernel=kernel, stride=stride, dilation=dilation)
    return read.batch_norm(f"{name}.norm", x)


def separable(read, name, x, channels, stride, *, kernel, dilation=1):
    """ReLU, depthwise convolution, pointwise convolution, batch norm (DARTS; with `dilation` its `dil_conv`)."""
    x = read.depthwise_convolution(f"{name}.depthwise", read.relu(x), kernel=kernel, stride=stride, dilation=dilation)
    return read.batch_norm(f"{name}.norm", read.convolution(f"{name}.pointwise", x, channels))


def twice_separable(read, name, x, channels, stride, *, kernel):
    """Two separable blocks, the first with the stride (DARTS's `sep_conv`)."""
    x = separable(read, f"{name}.first", x, channels, stride, kernel=kernel)
    return separable(read, f"{name}.second", x, channels, 1, kernel=kernel)


def factorized_reduce(read, name, x, channels, stride):
    """DARTS's skip connection of stride 2: two 1x1 convolutions on grids shifted by one pixel, concatenated."""
    x = read.relu(x)
    halves = [
        read.convolution(f"{name}.{half}", read.crop(x, offset=offset, stride=stride), size)
        for half, offset, size in (("even", 0, channels // 2), ("odd", 1, channels - channels // 2))
    ]
    return read.batch_norm(f"{name}.norm", read.concatenate(halves))


def skip(read, name, x, channels, stride):
    """The identity, or a factorized reduction where the stride is 2."""
    return x if stride == 1 else factorized_reduce(read, name, x, channels, stride)


OPERATORS: dict[str, Operator] = {
    "none": lambda read, name, x, channels, stride: read.zero(x, stride=stride),
    "skip_connect": skip,
    "nor_conv_1x1": partial(relu_conv_bn, kernel=1),
    "nor_conv_3x3": partial(relu_conv_bn, kernel=3),
    "sep_conv_3x3": partial(twice_separable, kernel=3),
    "sep_conv_5x5": partial(twice_separable, kernel=5),
    "dil_conv_3x3": partial(separable, kernel=3, dilation=2),
    "dil_conv_5x5": partial(separable, kernel=5, dilation=2),
    "avg_pool_3x3": lambda read, name, x, channels, stride: read.average_pool(x, window=3, stride=stride, padding=1),
    "max_pool_3x3": lambda read, name, x, channels, stride: read.max_pool(x, window=3, stride=stride, padding=1),
}


class Macro(NamedTuple):
    """How cells are stacked.

    Attributes:
        channels: channels of the first stage.
        cells: NAS-Bench-201: cells a stage (its N). DARTS: cells in all; those at one and two thirds reduce.
        stages: NAS-Bench-201: stages, with a residual block that halves the sides between two of them. DARTS: not used.
        stem: whether a 3x3 convolution and a batch norm come before the first cell.
        classes: outputs of the linear layer; 0 leaves out pooling and linear layer.
        stem_multiplier: DARTS: the stem has `stem_multiplier * channels` channels.
    """

    channels: int
    cells: int
    stages: int = 3
    stem: bool = True
    classes: int = 10
    stem_multiplier: int = 1


# The networks of the released TE-NAS (its protocol for NAS-Bench-201 and DARTS).
NTK_MACROS = {"nasbench201": Macro(channels=3, cells=1), "darts": Macro(channels=1, cells=2)}
REGION_MACROS = {
    "nasbench201": Macro(channels=1, cells=1, stages=1, stem=False, classes=0),
    "darts": Macro(channels=1, cells=2, stem=False, classes=0),
}


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


def bound_operators(
    read: Reading[Value], space: SearchSpace, channels: int, stride: int
) -> list[Callable[[str, Value], Value]]:
    """The operators of an edge, as `Reading.edges` takes them.

    Args:
        read: the reading.
        space: the search space.
        channels: of the edge's value.
        stride: of the edge.
    """
    return [
        lambda path, x, operator=operator: OPERATORS[operator](read, f"{path}.{operator}", x, channels, stride)
        for operator in space.operators
    ]


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


def nas_bench_201(read: Reading[Value], space: SearchSpace, weights, images: Value, macro: Macro, cell=cell) -> Value:
    """The network of NAS-Bench-201: a stem, stages of equal cells with residual reductions between, and a head."""
    x, channels = images, macro.channels
    if macro.stem:
        x = read.batch_norm("stem.norm", read.convolution("stem.conv", x, channels, kernel=3))
    for stage in range(macro.stages):
        if stage > 0:
            channels *= 2
            x = residual_block(read, f"stage{stage}.reduction", x, channels)
        for n in range(macro.cells):
            x = cell(read, space, f"stage{stage}.cell{n}", weights[0], [x], channels)[-1]
    return finish(read, x, macro)


def darts_reductions(macro: Macro) -> set[int]:
    """Which cells of a DARTS network reduce: those at one and two thirds; of one or two cells the second.

    Args:
        macro: how cells are stacked.
    """
    return {macro.cells // 3, 2 * macro.cells // 3} if macro.cells > 2 else {1} & set(range(macro.cells))


def darts(read: Reading[Value], space: SearchSpace, weights, images: Value, macro: Macro, cell=cell) -> Value:
    """The network of DARTS: every cell sees its two predecessors; reduction cells double the channels."""
    x, channels = images, macro.channels
    if macro.stem:
        x = read.convolution("stem.conv", x, macro.stem_multiplier * channels, kernel=3)
        x = read.batch_norm("stem.norm", x)
    before, now, before_is_larger = x, x, False
    for n in range(macro.cells):
        reduce = n in darts_reductions(macro)
        channels *= 2 if reduce else 1
        # A predecessor from before a reduction has twice the side: it is reduced on the way in.
        first = factorized_reduce if before_is_larger else partial(relu_conv_bn, kernel=1)
        inputs = [
            first(read, f"cell{n}.preprocess0", before, channels, 2 if before_is_larger else 1),
            relu_conv_bn(read, f"cell{n}.preprocess1", now, channels, 1, kernel=1),
        ]
        nodes = cell(read, space, f"cell{n}", weights[int(reduce)], inputs, channels, reduce=reduce)
        before, now, before_is_larger = now, read.concatenate(nodes[space.inputs :]), reduce
    return finish(read, now, macro)


def finish(read: Reading[Value], x: Value, macro: Macro) -> Value:
    """Batch norm and ReLU; then, where there are classes, global average pooling and the linear layer."""
    x = read.relu(read.batch_norm("head.norm", x))
    return read.head("head.linear", x, macro.classes) if macro.classes else x


NETWORKS = {"nasbench201": nas_bench_201, "darts": darts}


def network(read: Reading[Value], space: SearchSpace, mask, images: Value, macro: Macro, cell=cell) -> Value:
    """Reads the network of a search space.

    Args:
        read: the reading.
        space: the search space.
        mask: (cells, edges, operators) alive operators; may be traced.
        images: the input, of the reading's kind.
        macro: how cells are stacked.
        cell: how a cell is put together, with the arguments and result of `cell`.

    Returns:
        The output of the head, of the reading's kind; without a head, the last cell's output.
    """
    return NETWORKS[space.name](read, space, edge_weights(mask), images, macro, cell)
