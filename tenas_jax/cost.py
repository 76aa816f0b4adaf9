"""Reads `network.py` as costs: parameters, multiply-adds and neurons. Plain integers, nothing is computed.

A cost is a sum over the operators that are alive, whether or not a signal reaches them: like the tables of
NAS-Bench-201 it counts dead branches too.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.network import Macro, network
from tenas_jax.space import SearchSpace

# The networks that are trained: NAS-Bench-201's (Dong and Yang 2020, section 2.1) and DARTS's on CIFAR-10 (Liu et al. 2019,
# section 3.2), whose stem has three times the channels.
TRAINED_MACROS = {
    "nasbench201": Macro(channels=16, cells=5),
    "darts": Macro(channels=36, cells=20, stem_multiplier=3),
}


class Shape(NamedTuple):
    """What a cost reading passes from operation to operation.

    Attributes:
        side: height and width of the feature map.
        channels: its channels.
    """

    side: int
    channels: int


class Cost(NamedTuple):
    """Costs of a network, or arrays of them.

    Attributes:
        parameters: weights of convolutions and of the linear layer, its bias, scales and shifts of batch norms.
        flops: multiply-adds of convolutions and of the linear layer, its bias counting one a class: NAS-Bench-201's
            convention, in which batch norm, ReLU, pooling and additions are free.
        neurons: outputs of all ReLUs.
    """

    parameters: Any
    flops: Any
    neurons: Any


class CostReading:
    """Shapes flow through the network, and every operation adds to its bill. See `network.Reading`."""

    def __init__(self) -> None:
        """Starts with an empty bill."""
        self.cost = Cost(0, 0, 0)

    def _pay(self, *, parameters: int = 0, flops: int = 0, neurons: int = 0) -> None:
        have = self.cost
        self.cost = Cost(have.parameters + parameters, have.flops + flops, have.neurons + neurons)

    def convolution(self, name, x, channels, *, kernel=1, stride=1, dilation=1):
        """`k^2 in out` weights, each used at every output position."""
        side, weights = -(-x.side // stride), kernel**2 * x.channels * channels
        self._pay(parameters=weights, flops=weights * side**2)
        return Shape(side, channels)

    def depthwise_convolution(self, name, x, *, kernel, stride=1, dilation=1):
        """`k^2 channels` weights, each used at every output position."""
        side, weights = -(-x.side // stride), kernel**2 * x.channels
        self._pay(parameters=weights, flops=weights * side**2)
        return Shape(side, x.channels)

    def batch_norm(self, name, x):
        """A scale and a shift a channel."""
        self._pay(parameters=2 * x.channels)
        return x

    def relu(self, x):
        """A neuron a value."""
        self._pay(neurons=x.side**2 * x.channels)
        return x

    def average_pool(self, x, *, window, stride, padding):
        """Free."""
        return Shape((x.side + 2 * padding - window) // stride + 1, x.channels)

    max_pool = average_pool

    def crop(self, x, *, offset, stride):
        """Free."""
        return Shape(-(-x.side // stride), x.channels)

    def zero(self, x, *, stride):
        """Free."""
        return Shape(-(-x.side // stride), x.channels)

    def concatenate(self, values):
        """Free."""
        return Shape(values[0].side, sum(value.channels for value in values))

    def add(self, values):
        """Free."""
        return values[0]

    def cell_inputs(self, values):
        """Nothing to do."""
        return values

    def edges(self, x, weights, operators, names):
        """Pays for the operators whose weight is not zero; they all give the same shape, which one of them tells."""
        outside = self.cost
        shape = operators[0]("", x)
        self.cost = outside
        for row, name in zip(weights, names, strict=True):
            for weight, operator in zip(row, operators, strict=True):
                if weight > 0:
                    operator(name, x)
        return [shape] * len(names)

    def head(self, name, x, classes):
        """The linear layer; global pooling is free."""
        self._pay(parameters=(x.channels + 1) * classes, flops=(x.channels + 1) * classes)
        return Shape(1, classes)


@lru_cache
def prices(space: SearchSpace, macro: Macro, side: int) -> tuple[Cost, Cost]:
    """What every network pays, and what each operator on each edge adds.

    Args:
        space: the search space.
        macro: how cells are stacked.
        side: of the images.

    Returns:
        Integers, and int arrays (cells, edges, operators).
    """

    def total(mask):
        read: Any = CostReading()
        network(read, space, mask, Shape(side, 3), macro)
        return read.cost

    nothing = np.zeros(space.mask_shape, bool)
    base = total(nothing)
    with_one = [total(one) for one in np.eye(nothing.size, dtype=bool).reshape(-1, *space.mask_shape)]
    shares = Cost(*(np.reshape(column, space.mask_shape) for column in zip(*with_one, strict=True)))
    return base, Cost(*(share - fixed for share, fixed in zip(shares, base, strict=True)))


def costs(
    space: SearchSpace, mask: Bool[Any, "... cells edges ops"], *, macro: Macro | None = None, side: int = 32
) -> Cost:
    """All costs of one network or of a stack.

    Args:
        space: the search space.
        mask: alive operators, one mask or many.
        macro: how cells are stacked; by default as in the networks that are trained, see `TRAINED_MACROS`.
        side: of the images.

    Returns:
        Integers (...).
    """
    flat = np.asarray(mask).reshape(*np.shape(mask)[:-3], -1).astype(np.int64)
    base, shares = prices(space, macro or TRAINED_MACROS[space.name], side)
    return Cost(*(fixed + flat @ share.ravel() for fixed, share in zip(base, shares, strict=True)))


def parameters(
    space: SearchSpace, mask: Bool[Any, "... cells edges ops"], *, macro: Macro | None = None, side: int = 32
) -> Int[np.ndarray, "..."]:
    """The number of parameters of one network or of a stack; see `costs`.

    Args:
        space: the search space.
        mask: alive operators, one mask or many.
        macro: how cells are stacked; by default as in the networks that are trained.
        side: of the images.

    Returns:
        (...).
    """
    return costs(space, mask, macro=macro, side=side).parameters


def flops(
    space: SearchSpace, mask: Bool[Any, "... cells edges ops"], *, macro: Macro | None = None, side: int = 32
) -> Int[np.ndarray, "..."]:
    """The number of multiply-adds for one image, of one network or of a stack; see `Cost`.

    Args:
        space: the search space.
        mask: alive operators, one mask or many.
        macro: how cells are stacked; by default as in the networks that are trained.
        side: of the images.

    Returns:
        (...).
    """
    return costs(space, mask, macro=macro, side=side).flops
