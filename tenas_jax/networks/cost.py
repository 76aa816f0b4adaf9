"""Reads the network of a space as costs: parameters, multiply-adds and neurons. Plain integers, nothing is computed.

A cost is a sum over the operators that are alive, whether or not a signal reaches them: like the tables of
NAS-Bench-201 it counts dead branches too.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import Bool, Int

from tenas_jax.errors import InputError
from tenas_jax.networks.custom_layer import open_layer
from tenas_jax.networks.jaxpr import bodies
from tenas_jax.spaces.network import network
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace


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
            convention, in which batch norm, ReLU, pooling and additions are free. A space's family can leave the bias out.
        neurons: outputs of all ReLUs.
        convolutions: layers with weights: convolutions, depthwise ones too, and linear layers.
        spatial_convolutions: those that look at more than one position.
    """

    parameters: Any
    flops: Any
    neurons: Any
    convolutions: Any
    spatial_convolutions: Any


class CostReading:
    """Shapes flow through the network, and every operation adds to its bill. See `operators.Reading`."""

    def __init__(self, counts_bias: bool = True) -> None:
        """Starts with an empty bill.

        Args:
            counts_bias: whether the linear layer's bias counts among the multiply-adds.
        """
        self._bias = int(counts_bias)
        self.cost = Cost(0, 0, 0, 0, 0)

    def _pay(self, **paid: int) -> None:
        self.cost = self.cost._replace(**{name: getattr(self.cost, name) + value for name, value in paid.items()})

    def convolution(self, name, x, channels, *, kernel=1, stride=1, dilation=1):
        """`k^2 in out` weights, each used at every output position."""
        side, weights = -(-x.side // stride), kernel**2 * x.channels * channels
        self._pay(parameters=weights, flops=weights * side**2, convolutions=1, spatial_convolutions=int(kernel > 1))
        return Shape(side, channels)

    def convolution_to(self, name, x, widths, weights, *, kernel=1, stride=1):
        """As a convolution to the widest."""
        return self.convolution(name, x, max(widths), kernel=kernel, stride=stride)

    def depthwise_convolution(self, name, x, *, kernel, stride=1, dilation=1):
        """`k^2 channels` weights, each used at every output position."""
        side, weights = -(-x.side // stride), kernel**2 * x.channels
        self._pay(parameters=weights, flops=weights * side**2, convolutions=1, spatial_convolutions=int(kernel > 1))
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

    def zero(self, x, *, stride, channels=None):
        """Free."""
        return Shape(-(-x.side // stride), channels or x.channels)

    def concatenate(self, values):
        """Free."""
        return Shape(values[0].side, sum(value.channels for value in values))

    def truncate(self, x, channels):
        """Free."""
        return Shape(x.side, channels)

    def add(self, values):
        """Free."""
        return values[0]

    def cell_inputs(self, values):
        """Nothing to do."""
        return values

    def custom(self, name, x, layer):
        """Its parameters, and the multiply-adds of convolutions and matrix products in its program."""
        images = jax.ShapeDtypeStruct((1, x.side, x.side, x.channels), np.dtype(np.float32))
        opened = open_layer(name, layer, images)
        values = {path: jax.ShapeDtypeStruct(shape, images.dtype) for path, (shape, _) in opened.parameters.items()}
        program = jax.make_jaxpr(opened.apply)(values, images)
        self._pay(
            parameters=sum(math.prod(v.shape) for v in values.values()),
            flops=multiply_adds(program),
            **_layers(program),
        )
        shapes = [output.shape for output in program.out_avals]
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] != 1 or shapes[0][1] != shapes[0][2]:
            raise InputError(f"the layer of {name} must turn (1, h, h, c) into (1, h', h', c'); it makes {shapes}.")
        return Shape(shapes[0][1], shapes[0][3])

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

    def choose(self, name, x, weights, operators, channels):
        """Pays for what is alive; the shape is that of the first that is, or of the first of all."""
        outside = self.cost
        shape = operators[int(np.argmax(weights))](name, x)
        self.cost = outside
        for weight, operator in zip(weights, operators, strict=True):
            if weight > 0:
                operator(name, x)
        return shape

    def squeeze_excite(self, name, x, channels):
        """Two linear layers on the channels' means; multiplications by gates are free, as additions are."""
        weights = 2 * x.channels * channels
        bias = self._bias * (x.channels + channels)
        self._pay(parameters=weights + x.channels + channels, flops=weights + bias, neurons=channels, convolutions=2)
        return x

    def head(self, name, x, classes):
        """The linear layer; global pooling is free."""
        self._pay(parameters=(x.channels + 1) * classes, flops=(x.channels + self._bias) * classes, convolutions=1)
        return Shape(1, classes)


def multiply_adds(program: ClosedJaxpr) -> int:
    """Multiply-adds of the convolutions and matrix products in a program.

    Of a `cond` the most expensive branch counts, of a while loop one turn.

    Args:
        program: from `jax.make_jaxpr`.
    """
    total = 0
    for equation in program.jaxpr.eqns:
        inner = [multiply_adds(body) for body in bodies(equation)]
        name, params = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            weights, outputs = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
            out_channels = weights[params["dimension_numbers"].rhs_spec[0]]
            total += math.prod(outputs) * math.prod(weights) // out_channels
        elif name == "dot_general":
            left, outputs = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            total += math.prod(outputs) * math.prod(left[axis] for axis in params["dimension_numbers"][0][0])
        elif name == "cond":
            total += max(inner)
        else:
            total += sum(inner) * params.get("length", 1) if name == "scan" else sum(inner)
    return total


def _layers(program: ClosedJaxpr) -> dict[str, int]:
    """How many convolutions and matrix products a program holds, those of a loop's body once."""
    found = {"convolutions": 0, "spatial_convolutions": 0}
    for equation in program.jaxpr.eqns:
        parts = [_layers(body) for body in bodies(equation)]
        if equation.primitive.name == "dot_general":
            parts.append({"convolutions": 1, "spatial_convolutions": 0})
        elif equation.primitive.name == "conv_general_dilated":
            weights = equation.invars[1].aval.shape
            window = [weights[axis] for axis in equation.params["dimension_numbers"].rhs_spec[2:]]
            parts.append({"convolutions": 1, "spatial_convolutions": int(max(window, default=1) > 1)})
        found = {name: number + sum(part[name] for part in parts) for name, number in found.items()}
    return found


@lru_cache
def prices(space: SearchSpace, skeleton: Skeleton, side: int) -> tuple[Cost, Cost]:
    """What every network pays, and what each operator on each edge adds.

    Args:
        space: the search space.
        skeleton: how cells are stacked.
        side: of the images.

    Returns:
        Integers, and int arrays (cells, edges, operators).
    """

    def total(mask):
        read: Any = CostReading(space.family.counts_bias)
        network(read, space, mask, Shape(side, 3), skeleton)
        return read.cost

    nothing = np.zeros(space.mask_shape, bool)
    base = total(nothing)
    eye = np.eye(nothing.size, dtype=bool).reshape(-1, *space.mask_shape)
    # What a decision cannot be has no price.
    possible = space.alternatives().ravel() if space.decisions else np.ones(nothing.size, bool)
    with_one = [total(one) if here else base for one, here in zip(eye, possible, strict=True)]
    shares = Cost(*(np.reshape(column, space.mask_shape) for column in zip(*with_one, strict=True)))
    return base, Cost(*(share - fixed for share, fixed in zip(shares, base, strict=True)))


@lru_cache(maxsize=2**16)
def _of_one(space: SearchSpace, skeleton: Skeleton, side: int, mask: bytes) -> Cost:
    """Of a network whose operators cost more or less beside others."""
    read: Any = CostReading(space.family.counts_bias)
    network(read, space, np.frombuffer(mask, bool).reshape(space.mask_shape), Shape(side, 3), skeleton)
    return read.cost


def costs(
    space: SearchSpace,
    mask: Bool[Any, "... cells edges ops"],
    *,
    skeleton: Skeleton | None = None,
    side: int | None = None,
) -> Cost:
    """All costs of one network or of a stack.

    Args:
        space: the search space.
        mask: alive operators, one mask or many.
        skeleton: how cells are stacked; by default as in the networks that are trained, see `SearchSpace.skeleton`.
        side: of the images; by default that of the images that its networks are trained on.

    Returns:
        Integers (...).

    Raises:
        InputError: for a mask of another shape or type.

    Examples:
        The smallest and the largest architecture of NAS-Bench-201, in millions as its table has them:

        >>> from tenas_jax import NAS_BENCH_201
        >>> masks = NAS_BENCH_201.one_hot(np.array([[[0] * 6], [[3] * 6]]))
        >>> (costs(NAS_BENCH_201, masks).flops / 1e6).tolist()
        [7.78305, 220.11969]
    """
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape[-3:] != space.mask_shape:
        raise InputError(
            f"`mask` must be bool (..., {str(space.mask_shape)[1:]} (cells, edges, operators) for {space.name}; it is "
            f"{mask.dtype} {mask.shape}. Take `parse(...)`, `one_hot(...)` or `sample(...)` of the space."
        )
    skeleton, side = skeleton or space.skeleton("trained"), side or space.family.side
    if space.family.counts is not None:
        found = space.family.counts(space, mask.reshape(-1, *space.mask_shape), skeleton, side)
        return Cost(*(np.reshape(found[name], mask.shape[:-3]) for name in Cost._fields))
    if not space.family.costs_add_up:
        each = [_of_one(space, skeleton, side, one.tobytes()) for one in mask.reshape(-1, *space.mask_shape)]
        return Cost(*(np.reshape(np.array(column, np.int64), mask.shape[:-3]) for column in zip(*each, strict=True)))
    flat = mask.reshape(*mask.shape[:-3], -1).astype(np.int64)
    base, shares = prices(space, skeleton, side)
    return Cost(*(fixed + flat @ share.ravel() for fixed, share in zip(base, shares, strict=True)))


def neurons_as_scored(
    space: SearchSpace, masks: Bool[np.ndarray, "m cells edges ops"], skeleton: Skeleton, side: int
) -> Int[np.ndarray, " m"]:
    """Outputs of all ReLUs of the networks that are scored, which need not be those that are trained.

    Args:
        space: the search space.
        masks: (m, cells, edges, operators).
        skeleton: how cells are stacked.
        side: of the images.
    """
    if space.family.counts is None:
        return costs(space, masks, skeleton=skeleton, side=side).neurons
    return np.array([_of_one(space, skeleton, side, one.tobytes()).neurons for one in masks], np.int64)


def parameters(
    space: SearchSpace,
    mask: Bool[Any, "... cells edges ops"],
    *,
    skeleton: Skeleton | None = None,
    side: int | None = None,
) -> Int[np.ndarray, "..."]:
    """The number of parameters of one network or of a stack; see `costs`.

    Args:
        space: the search space.
        mask: alive operators, one mask or many.
        skeleton: how cells are stacked; by default as in the networks that are trained.
        side: of the images.

    Returns:
        (...).

    Examples:
        >>> from tenas_jax import NAS_BENCH_201
        >>> mask = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|")
        >>> int(parameters(NAS_BENCH_201, mask))
        344346
    """
    return costs(space, mask, skeleton=skeleton, side=side).parameters


def flops(
    space: SearchSpace,
    mask: Bool[Any, "... cells edges ops"],
    *,
    skeleton: Skeleton | None = None,
    side: int | None = None,
) -> Int[np.ndarray, "..."]:
    """The number of multiply-adds for one image, of one network or of a stack; see `Cost`.

    Args:
        space: the search space.
        mask: alive operators, one mask or many.
        skeleton: how cells are stacked; by default as in the networks that are trained.
        side: of the images.

    Returns:
        (...).

    Examples:
        >>> from tenas_jax import NAS_BENCH_201
        >>> mask = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|")
        >>> int(flops(NAS_BENCH_201, mask))
        47104650
    """
    return costs(space, mask, skeleton=skeleton, side=side).flops
