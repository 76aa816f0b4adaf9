"""Operators, written once against a small set of operations.

An operator is a function of a *reading*: an object that says what a convolution, a batch norm, a ReLU, ... means for the
kind of value that flows through. `networks/feature_reading.py` reads feature maps with weights, `ntk/kernel_reading.py`
Gaussian-process kernels, `networks/cost.py` parameters and multiply-adds. An operator is therefore written in one place,
and every reading understands it.

Blocks have the order ReLU, convolution, batch norm, as TE-NAS (Chen et al. 2021) uses those of NAS-Bench-201 (Dong and
Yang 2020, section 2) and DARTS (Liu et al. 2019, section 3).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

Value = TypeVar("Value")
EPSILON = 1e-5  # of every batch norm, as in PyTorch

Operator = Callable[["Reading[Value]", str, Value, int, int], Value]


class Reading(Protocol[Value]):
    """What a reading has to define. Names are unique paths within the network: a reading may key its weights by them."""

    def convolution(
        self, name: str, x: Value, channels: int, *, kernel: int = 1, stride: int = 1, dilation: int = 1
    ) -> Value:
        """A `kernel` x `kernel` convolution to `channels` channels, zero padded to keep positions, without bias."""
        ...

    def convolution_to(
        self, name: str, x: Value, widths: Sequence[int], weights: Any, *, kernel: int = 1, stride: int = 1
    ) -> Value:
        """A convolution to one of several numbers of channels: the sum over i of `weights[i]` times its first `widths[i]`.

        What comes out has the channels of the widest, zeros where they are missing, so that one program holds all widths.
        Where the width is known while tracing, a network takes a `convolution` of that width.
        """
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

    def zero(self, x: Value, *, stride: int, channels: int | None = None) -> Value:
        """Zeros of the shape that a convolution of this stride would give; by default of as many channels as come in."""
        ...

    def concatenate(self, values: Sequence[Value]) -> Value:
        """Stacks channels."""
        ...

    def truncate(self, x: Value, channels: int) -> Value:
        """The first `channels` channels."""
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
        separate weights, so a finite reading calls every operator for every edge.
        """
        ...

    def choose(
        self, name: str, x: Value, weights: Any, operators: Sequence[Callable[[str, Value], Value]], channels: int
    ) -> Value:
        """One of several ways on: the sum over o of `weights[o] * operators[o](name, x)`, as of one of the `edges`.

        What comes out may have fewer channels than `channels`: the missing ones are zeros, so that one program holds all
        ways. Where `weights` are known while tracing there are none. Unlike an edge, a way may end in anything.
        """
        ...

    def squeeze_excite(self, name: str, x: Value, channels: int) -> Value:
        """Every channel times a gate (Hu et al. 2018, with the hard sigmoid of Howard et al. 2019).

        The gates are a hard sigmoid of a linear layer of a ReLU of a linear layer to `channels` of the channels' means,
        both with biases.
        """
        ...

    def head(self, name: str, x: Value, classes: int) -> Value:
        """Global average pooling and a linear layer with bias."""
        ...

    def custom(self, name: str, x: Value, layer: Callable[..., Any]) -> Value:
        """What the other operations cannot say: a Flax Linen module, or a function of feature maps without weights.

        It takes feature maps (b, h, w, c) and returns feature maps. No kernel is known for it: the analytic NTK refuses it.
        """
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


def keep(name: str, x: Value) -> Value:
    """The way of `Reading.choose` that changes nothing; a reading need not think about it.

    Args:
        name: path.
        x: the input.
    """
    return x


OPERATORS: dict[str, Operator] = {
    "none": lambda read, name, x, channels, stride: read.zero(x, stride=stride, channels=channels),
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
