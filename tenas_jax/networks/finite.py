"""Reads the network of a space as feature maps with weights: the masked supernet and stand-alone networks.

`FeatureReading` runs a network on given weights; `CellNetwork` is the Flax module that owns them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, ClassVar, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from tenas_jax.errors import InputError
from tenas_jax.networks.convolution import convolve
from tenas_jax.networks.custom_layer import Initialiser, open_layer
from tenas_jax.networks.operator_check import check_operators
from tenas_jax.networks.pooling import max_pool
from tenas_jax.networks.windows import windows
from tenas_jax.spaces.network import network
from tenas_jax.spaces.operators import EPSILON, keep
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import cell

Parameters = Mapping[str, Array]
Statistics = Mapping[str, tuple[Array, Array]]
Fan = Literal["fan_in", "fan_out"]


class Declaration(NamedTuple):
    """A parameter that a network needs.

    Attributes:
        shape: its shape; convolutions are (k, k, in, out), depthwise ones (k, k, 1, channels), the linear layer (in, out).
        kind: "weight" for convolutions and the linear layer, "scale" or "bias"; "custom" of a custom layer.
        initial: the custom layer's initialiser, `(key, shape, dtype) -> array`.
    """

    shape: tuple[int, ...]
    kind: Literal["weight", "scale", "bias", "custom"]
    initial: Initialiser | None = None


class FeatureReading:
    """Feature maps (b, h, w, c) flow through the network.

    Attributes:
        declared: every parameter that was asked for.
        bits: (b, neurons) arrays, one a ReLU: which neurons are on. A dead operator's bits are all off.
        moments: mean and variance of every batch norm's input, by name.
        cell: how a cell is put together, see `network.network`.
    """

    cell = staticmethod(cell)

    def __init__(self, parameters: Parameters | None, statistics: Statistics | None = None):
        """Reads with given parameters, or with zeros of the declared shapes; batch norm by given or by batch statistics."""
        self._parameters = parameters
        self._statistics = statistics
        self.declared: dict[str, Declaration] = {}
        self.bits: list[Array] = []
        self.moments: dict[str, tuple[Array, Array]] = {}

    def parameter(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: Literal["weight", "scale", "bias", "custom"],
        dtype,
        initial: Initialiser | None = None,
    ) -> Array:
        """The parameter of that name; zeros while the network is only being declared."""
        self.declared[name] = Declaration(shape, kind, initial)
        return jnp.zeros(shape, dtype) if self._parameters is None else self._parameters[name]

    def convolution(self, name, x, channels, *, kernel=1, stride=1, dilation=1):
        """See `operators.Reading`."""
        weights = self.parameter(f"{name}.kernel", (kernel, kernel, x.shape[-1], channels), "weight", x.dtype)
        return convolve(x, weights, stride=stride, dilation=dilation)

    def depthwise_convolution(self, name, x, *, kernel, stride=1, dilation=1):
        """See `operators.Reading`."""
        weights = self.parameter(f"{name}.kernel", (kernel, kernel, 1, x.shape[-1]), "weight", x.dtype)
        return convolve(x, weights, stride=stride, dilation=dilation, depthwise=True)

    def batch_norm(self, name, x):
        """See `operators.Reading`; the variance is the biased one and is computed in two passes."""
        scale = self.parameter(f"{name}.scale", x.shape[-1:], "scale", x.dtype)
        bias = self.parameter(f"{name}.bias", x.shape[-1:], "bias", x.dtype)
        mean, variance = self._moments(name, x)
        factor = scale * jax.lax.rsqrt(variance + EPSILON)
        return (x - _channels(mean)) * _channels(factor) + _channels(bias)

    def _moments(self, name, x):
        if self._statistics is not None:
            return self._statistics[name]
        mean = x.mean((0, 1, 2))
        self.moments[name] = mean, jnp.square(x - _channels(mean)).mean((0, 1, 2))
        return self.moments[name]

    def relu(self, x):
        """See `operators.Reading`; notes which neurons are on."""
        on = x > 0
        self.bits.append(on.reshape(len(x), -1))
        return jnp.where(on, x, jnp.zeros_like(x))

    def average_pool(self, x, *, window, stride, padding):
        """See `operators.Reading`."""

        def total(x):
            return self.add(windows(x, window, stride=stride, padding=padding))

        return total(x) / total(jnp.ones((1, *x.shape[1:3], 1), x.dtype))

    def max_pool(self, x, *, window, stride, padding):
        """See `operators.Reading`."""
        return max_pool(x, window, stride, padding)

    def crop(self, x, *, offset, stride):
        """See `operators.Reading`."""
        padded = jnp.pad(x, ((0, 0), (0, offset), (0, offset), (0, 0)))
        return padded[:, offset::stride, offset::stride]

    def zero(self, x, *, stride, channels=None):
        """See `operators.Reading`."""
        if channels in (None, x.shape[-1]):
            return jnp.zeros_like(x[:, ::stride, ::stride])
        return jnp.zeros((*x[:, ::stride, ::stride].shape[:-1], channels), x.dtype)

    def concatenate(self, values):
        """See `operators.Reading`."""
        return jnp.concatenate(values, axis=-1)

    def add(self, values):
        """See `operators.Reading`."""
        return sum(values[1:], start=values[0])

    def cell_inputs(self, values):
        """See `operators.Reading`."""
        return values

    def edges(self, x, weights, operators: Sequence[Callable[[str, Any], Any]], names: Sequence[str]):
        """See `operators.Reading`; a dead operator costs nothing, whether its weight is traced or not."""
        return [
            self.add(
                [
                    self._weighted(weight, partial(operator, name), x)
                    for weight, operator in zip(row, operators, strict=True)
                    # A mask that is known while tracing leaves the dead operators out, and their parameters.
                    if not (isinstance(weight, np.floating) and weight == 0)
                ]
            )
            for row, name in zip(weights, names, strict=True)
        ]

    def _weighted(self, weight, operator, x):
        def alive(x):
            y, record = self._recorded(operator, x)
            return y * weight.astype(y.dtype), record

        def dead(x):
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(alive, x))

        if isinstance(weight, np.floating):
            return operator(x) * weight.astype(x.dtype)
        y, (bits, moments) = jax.lax.cond(weight > 0, alive, dead, x)
        self.bits += bits
        self.moments |= moments
        return y

    def _recorded(self, operator, x):
        """Runs an operator and returns what it noted, instead of noting it: a branch may not leak its tracers."""
        outside = self.bits, self.moments
        self.bits, self.moments = [], {}
        y = operator(x)
        record = self.bits, self.moments
        self.bits, self.moments = outside
        return y, record

    def choose(self, name, x, weights, operators, channels):
        """See `operators.Reading`; as of `edges`, what is dead costs nothing."""
        if isinstance(weights, np.ndarray) and (weights > 0).sum() == 1:
            return self.edges(x, weights[None], operators, [name])[0]
        wide = [partial(self._widened, operator, channels) for operator in operators]
        # What changes nothing costs nothing: no branch is compiled for it.
        kept = [place for place, operator in enumerate(operators) if operator is keep]
        rest = np.array([place for place in range(len(operators)) if place not in kept])
        others = self.edges(x, weights[None, rest], [wide[place] for place in rest], [name])
        return self.add([wide[place](name, x) * weights[place].astype(x.dtype) for place in kept] + others)

    @staticmethod
    def _widened(operator, channels, name, x):
        y = operator(name, x)
        return jnp.pad(y, ((0, 0), (0, 0), (0, 0), (0, channels - y.shape[-1])))

    def squeeze_excite(self, name, x, channels):
        """See `operators.Reading`; the ReLU on the way to the gates counts as any other."""
        squeezed = self.relu(self._linear(f"{name}.squeeze", x.mean((1, 2)), channels))
        return x * hard_sigmoid(self._linear(f"{name}.excite", squeezed, x.shape[-1]))[:, None, None]

    def _linear(self, name, x, outputs: int):
        weights = self.parameter(f"{name}.kernel", (x.shape[-1], outputs), "weight", x.dtype)
        bias = self.parameter(f"{name}.bias", (outputs,), "bias", x.dtype)
        return jnp.dot(x, weights, precision="highest") + bias[None]

    def head(self, name, x, classes):
        """See `operators.Reading`."""
        return self._linear(name, x.mean((1, 2)), classes)

    def custom(self, name, x, layer):
        """See `operators.Reading`; a module's parameters are the network's, initialised as the module says."""
        opened = open_layer(name, layer, x)
        values = {
            path: self.parameter(f"{name}.{path}", shape, "custom", x.dtype, initial)
            for path, (shape, initial) in opened.parameters.items()
        }
        return opened.apply(values, x)


def hard_sigmoid(x: Array) -> Array:
    """A sigmoid of three straight lines (Howard et al. 2019, section 5.2).

    Args:
        x: any array.
    """
    return jnp.clip(x + 3, 0, 6) / 6


def _channels(values):
    """(c,) as it meets (b, h, w, c)."""
    return values[None, None, None]


class _Mask(NamedTuple):
    """A mask as a hashable value, for a cache."""

    shape: tuple[int, ...]
    content: bytes


@lru_cache(maxsize=64)
def _declared(
    reading: type[FeatureReading], space: SearchSpace, skeleton: Skeleton, shape: tuple[int, ...], mask: _Mask
) -> dict[str, Declaration]:
    check_operators(space)
    read = reading(None)
    alive = np.frombuffer(mask.content, bool).reshape(mask.shape)
    images = jax.ShapeDtypeStruct(shape, "float32")
    jax.eval_shape(lambda images: network(read, space, alive, images, skeleton, read.cell), images)
    return read.declared


class CellNetwork(nn.Module):
    """A cell network as a Flax module: with a traced mask the supernet, with a NumPy mask a stand-alone network.

    Variables: collection `params` holds every parameter under its path, `batch_stats` the mean and variance that each
    batch norm last saw. With `train=True` batch norm uses the batch's statistics and stores them (where `batch_stats` is
    mutable); with `train=False` it uses the stored ones, so that every image is treated on its own.

    Attributes:
        space: the search space.
        skeleton: how cells are stacked.
        fan: Kaiming normal with the variance 2 / fan_in or 2 / fan_out for every convolution and linear layer
            (He et al. 2015; the released TE-NAS takes fan_out for the NTK and fan_in for linear regions).
    """

    space: SearchSpace
    skeleton: Skeleton
    fan: Fan = "fan_in"
    reading: ClassVar[type[FeatureReading]] = FeatureReading

    def __call__(
        self, images: Float[Array, "b h w c"], mask: Bool[Any, "cells edges ops"], *, train: bool = True
    ) -> Float[Array, "b classes"]:
        """The logits, or the last cell's output where the skeleton has no head.

        Args:
            images: (b, h, w, c).
            mask: alive operators; a NumPy array creates and computes those only.
            train: normalise by the batch's statistics.

        Raises:
            InputError: for a NumPy mask that is none of this space, and for custom operators that share weights.
        """
        output: Any = self._read(images, mask, train)[0]
        return output

    def activation_bits(
        self, images: Float[Array, "b h w c"], mask: Bool[Any, "cells edges ops"]
    ) -> Bool[Array, "b bits"]:
        """Which ReLUs are on, batch norm by the batch's statistics; those of dead operators are off.

        Args:
            images: (b, h, w, c).
            mask: alive operators.

        Returns:
            (b, bits), in the order in which the network meets its ReLUs; a custom layer adds none.

        Raises:
            InputError: where the network has no ReLU.
        """
        bits = self._read(images, mask, True)[1].bits
        if not bits:
            raise InputError(
                f"the network of {self.space.name} has no ReLU, and so no activation patterns; take scores of kernels, or "
                "end it with `network.finish`."
            )
        return jnp.concatenate(bits, axis=1)

    def drawn(self, images: Float[Array, "b h w c"], mask: Bool[Any, "cells edges ops"]) -> None:
        """Variables alone, without what the network makes of them: `net.init(key, images, mask, method="drawn")`.

        Args:
            images: (b, h, w, c).
            mask: alive operators.
        """
        self._read(images, mask, True, run=False)

    def drawn_at_once(self, key: Key[Array, ""], images: Float[Array, "b h w c"]) -> dict[str, dict[str, Any]]:
        """Variables of every option as `init` draws them, but from one array of random numbers.

        A program that draws hundreds of arrays takes longer to compile than the network does.

        Args:
            key: decides them.
            images: (b, h, w, c).
        """
        whole = self.space.whole()
        mask_key = _Mask(whole.shape, whole.tobytes())
        declared = _declared(self.reading, self.space, self.skeleton, images.shape, mask_key)
        custom, weights = jax.random.split(key)
        ends = np.cumsum([0, *(math.prod(d.shape) for d in declared.values() if d.kind == "weight")])
        pool, taken, parameters = jax.random.normal(weights, (int(ends[-1]),), images.dtype), 0, {}
        for number, (name, d) in enumerate(declared.items()):
            if d.kind == "weight":
                part = pool[ends[taken] : ends[taken + 1]].reshape(d.shape)
                parameters[name] = part * jnp.asarray(kaiming_deviation(self.fan, d.shape), images.dtype)
                taken += 1
            elif d.initial is not None:
                parameters[name] = d.initial(jax.random.fold_in(custom, number), d.shape, images.dtype)
            else:
                parameters[name] = _initial(self.fan, d.kind, None, d.shape, images.dtype)
        scales = {name.removesuffix(".scale"): d.shape for name, d in declared.items() if d.kind == "scale"}
        return {
            "params": parameters,
            "batch_stats": {name: _unit(shape, images.dtype) for name, shape in scales.items()},
        }

    @nn.compact
    def _read(self, images, mask, train: bool, run: bool = True):
        static = isinstance(mask, np.ndarray)
        if static:
            self.space.check(mask)
        listed = mask if static else self.space.whole()
        mask_key = _Mask(listed.shape, listed.tobytes())
        declared = _declared(self.reading, self.space, self.skeleton, images.shape, mask_key)
        parameters = self._parameters(declared, images.dtype)
        stored = {
            name.removesuffix(".scale"): self.variable(
                "batch_stats", name.removesuffix(".scale"), _unit, d.shape, images.dtype
            )
            for name, d in declared.items()
            if d.kind == "scale"
        }
        read = self.reading(parameters, None if train else {name: v.value for name, v in stored.items()})
        if not run:
            return None, read
        output = network(read, self.space, mask, images, self.skeleton, read.cell)
        if train and self.is_mutable_collection("batch_stats") and not self.is_initializing():
            for name, moments in read.moments.items():
                stored[name].value = moments
        return output, read

    def _parameters(self, declared: Mapping[str, Declaration], dtype) -> Parameters:
        return {
            name: self.param(name, d.initial or partial(_initial, self.fan, d.kind), d.shape, dtype)
            for name, d in declared.items()
        }


def _unit(shape, dtype):
    return jnp.zeros(shape, dtype), jnp.ones(shape, dtype)


def kaiming_deviation(fan: Fan, shape: tuple[int, ...]) -> float:
    """The standard deviation `(2 / fan) ** 0.5` of initial weights (He et al. 2015).

    Args:
        fan: which fan.
        shape: (..., k, k, in, out) of a convolution, or (in, out). A depthwise kernel is (k, k, 1, c): one input an output,
            and PyTorch counts k^2 c as its fan_out.
    """
    return (2 / (math.prod(shape[-4:-2]) * shape[-2 if fan == "fan_in" else -1])) ** 0.5


def _initial(fan: Fan, kind: str, key, shape, dtype):
    if kind != "weight":
        return jnp.full(shape, 1.0 if kind == "scale" else 0.0, dtype)
    return jax.random.normal(key, shape, dtype) * jnp.asarray(kaiming_deviation(fan, shape), dtype)
