"""Reads the network of a space as feature maps with given weights."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from tenas_jax.networks.convolution import convolve
from tenas_jax.networks.custom_layer import Initialiser, open_layer
from tenas_jax.networks.initial_weights import Declaration, Parameters
from tenas_jax.networks.pooling import max_pool
from tenas_jax.networks.windows import windows
from tenas_jax.spaces.operators import EPSILON, keep
from tenas_jax.spaces.stacking import cell

Statistics = Mapping[str, tuple[Array, Array]]


class FeatureReading:
    """Feature maps (b, h, w, c) flow through the network.

    Attributes:
        declared: every parameter that was asked for.
        bits: (b, neurons) arrays, one a ReLU: which neurons are on. A dead operator's bits are all off.
        moments: mean and variance of every batch norm's input, by name.
        cell: how a cell is put together, see `network.network`.
        convolve: the routine of its convolutions.
    """

    cell = staticmethod(cell)
    convolve = staticmethod(convolve)

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
        return self.convolve(x, weights, stride=stride, dilation=dilation)

    def convolution_to(self, name, x, widths, weights, *, kernel=1, stride=1):
        """See `operators.Reading`."""
        y = self.convolution(name, x, max(widths), kernel=kernel, stride=stride)
        held = np.arange(max(widths))[None] < np.array(widths)[:, None]
        return y * self._by_channel(jnp.dot(jnp.asarray(weights, y.dtype), held.astype(y.dtype), precision="highest"))

    @staticmethod
    def _by_channel(values):
        return _channels(values)

    def depthwise_convolution(self, name, x, *, kernel, stride=1, dilation=1):
        """See `operators.Reading`."""
        weights = self.parameter(f"{name}.kernel", (kernel, kernel, 1, x.shape[-1]), "weight", x.dtype)
        return self.convolve(x, weights, stride=stride, dilation=dilation, depthwise=True)

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

    def truncate(self, x, channels):
        """See `operators.Reading`."""
        return x[..., :channels]

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
