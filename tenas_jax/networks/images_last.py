"""Reads a network as feature maps (c, h, w, b), images last: the patterns of thin networks on small patches.

A thin network on patches of a few pixels is a chain of tiny matrices applied to many images. With the images last, every
operation runs along them: statistics of a batch norm are sums of rows, a convolution of a few positions is one product
with a matrix (channels and positions out, channels and positions in), and patterns are packed a word an image. For the
same parameters the feature maps are those of `finite.py` up to rounding.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from tenas_jax.networks.custom_layer import open_layer
from tenas_jax.networks.feature_reading import FeatureReading, hard_sigmoid
from tenas_jax.spaces.operators import EPSILON

FEW_POSITIONS = 16  # up to which a convolution is one product with a matrix
WORD = 32


class Pattern(NamedTuple):
    """The side that each image is on of the neurons of one ReLU.

    Attributes:
        words: 32 neurons a word, dead ones off.
        copies: how many ReLUs have this pattern: operators that begin with a ReLU share that of the node they leave.
    """

    words: UInt32[Array, "words b"]
    copies: Any


class Geometry(NamedTuple):
    """What a convolution is applied to, from which its matrix is made of its weights."""

    side: tuple[int, int]
    stride: int
    dilation: int
    depthwise: bool


class ImagesLastReading(FeatureReading):
    """Feature maps (c, h, w, b) flow through the network.

    Attributes:
        patterns: of every ReLU, in the order in which the network meets them.
        geometry: of every convolution that is done as one product, by the name of its weights.
    """

    def __init__(self, parameters: Mapping[str, Array] | None, matrices: Mapping[str, Array] | None = None):
        """Reads with given parameters, and the matrices of its convolutions from `matrices`."""
        super().__init__(parameters)
        self._matrices = matrices
        self._entered: tuple[Any, Any] | None = None  # a node's value, and behind a ReLU
        self._uses: Any = 0
        self.patterns: list[Pattern] = []
        self.geometry: dict[str, Geometry] = {}

    def convolution(self, name, x, channels, *, kernel=1, stride=1, dilation=1):
        """See `operators.Reading`."""
        weights = self.parameter(f"{name}.kernel", (kernel, kernel, len(x), channels), "weight", x.dtype)
        return self._convolved(f"{name}.kernel", x, weights, Geometry(x.shape[1:3], stride, dilation, False))

    @staticmethod
    def _by_channel(values):
        return _channels(values)

    def depthwise_convolution(self, name, x, *, kernel, stride=1, dilation=1):
        """See `operators.Reading`."""
        weights = self.parameter(f"{name}.kernel", (kernel, kernel, 1, len(x)), "weight", x.dtype)
        return self._convolved(f"{name}.kernel", x, weights, Geometry(x.shape[1:3], stride, dilation, True))

    def _convolved(self, name: str, x, weights, geometry: Geometry):
        channels = weights.shape[-1]
        height, width = (-(-side // geometry.stride) for side in geometry.side)
        if geometry.side[0] * geometry.side[1] <= FEW_POSITIONS:
            self.geometry[name] = geometry
            if self._matrices is None:
                return jnp.zeros((channels, height, width, x.shape[-1]), x.dtype)
            matrix = self._matrices[name]
            flat = jnp.dot(matrix, x.reshape(-1, x.shape[-1]), precision="highest")
            return flat.reshape(channels, height, width, -1)
        pad = geometry.dilation * (weights.shape[0] - 1) // 2
        seen = _windows(x, weights.shape[0], geometry.stride, pad, geometry.dilation)
        taps = weights.reshape(-1, *weights.shape[2:])
        if geometry.depthwise:
            return jnp.asarray(self.add([t[0, :, None, None, None] * s for t, s in zip(taps, seen, strict=True)]))
        return jnp.einsum("kio,kihwb->ohwb", taps, jnp.stack(seen), precision="highest")

    def batch_norm(self, name, x):
        """See `operators.Reading`."""
        scale = self.parameter(f"{name}.scale", (len(x),), "scale", x.dtype)
        bias = self.parameter(f"{name}.bias", (len(x),), "bias", x.dtype)
        centred = x - _channels(_means(x))
        factor = scale * jax.lax.rsqrt(_means(jnp.square(centred)) + EPSILON)
        return centred * _channels(factor) + _channels(bias)

    def relu(self, x):
        """See `operators.Reading`; notes which neurons are on."""
        if self._entered is not None and x is self._entered[0]:
            self._uses = self._uses + 1
            return self._entered[1]
        self.patterns.append(Pattern(packed(x), jnp.int32(1)))
        return jnp.maximum(x, 0)

    def average_pool(self, x, *, window, stride, padding):
        """See `operators.Reading`."""
        counts = self.add(_windows(np.ones((1, *x.shape[1:3], 1), x.dtype), window, stride, padding))
        return self.add(_windows(x, window, stride, padding)) * (1 / counts)

    def max_pool(self, x, *, window, stride, padding):
        """See `operators.Reading`."""
        seen = _windows(x, window, stride, padding, fill=-jnp.inf)
        return jnp.stack(seen).max(0)

    def crop(self, x, *, offset, stride):
        """See `operators.Reading`."""
        padded = jnp.pad(x, ((0, 0), (0, offset), (0, offset), (0, 0)))
        return padded[:, offset::stride, offset::stride]

    def zero(self, x, *, stride, channels=None):
        """See `operators.Reading`."""
        if channels in (None, len(x)):
            return jnp.zeros_like(x[:, ::stride, ::stride])
        return jnp.zeros((channels, *x[:, ::stride, ::stride].shape[1:]), x.dtype)

    def concatenate(self, values):
        """See `operators.Reading`."""
        return jnp.concatenate(values, axis=0)

    def truncate(self, x, channels):
        """See `operators.Reading`."""
        return x[:channels]

    def edges(self, x, weights, operators: Sequence[Any], names: Sequence[str]):
        """See `operators.Reading`, of a single architecture; the ReLU of the node that edges leave is taken once."""
        entered = x, jnp.maximum(x, 0)
        found = [
            self._edge(entered, row, [partial(operator, name) for operator in operators])
            for row, name in zip(weights, names, strict=True)
        ]
        uses = self.add([jnp.asarray(uses, jnp.int32) for _, uses in found])
        self.patterns.append(Pattern(packed(x), uses))
        return [value for value, _ in found]

    def _edge(self, entered, row, operators):
        taken = [partial(self._taken, operator) for operator in operators]
        if isinstance(row, np.ndarray):
            found = [branch(*entered) for branch, weight in zip(taken, row, strict=True) if weight > 0]
            self.patterns += [pattern for _, (_, noted) in found for pattern in noted]
            return self.add([value for value, _ in found]), self.add([uses for _, (uses, _) in found])
        # Only what is alive is computed; operators that are not taken have patterns too, in which nothing is on.
        shapes = [jax.eval_shape(branch, *entered)[1][1] for branch in taken]

        def alone(place: int, *entered):
            value, (uses, noted) = taken[place](*entered)
            noted = [noted if other == place else _off(shape) for other, shape in enumerate(shapes)]
            return value, uses, noted

        branches = [partial(alone, place) for place in range(len(operators))]
        value, uses, noted = jax.lax.switch(jnp.argmax(row), branches, *entered)
        self.patterns += [pattern for patterns in noted for pattern in patterns]
        return value, uses

    def _taken(self, operator, x, rectified):
        """The output of an operator, how often it took the node's own ReLU, and its other patterns."""
        outside = self._entered, self._uses, self.patterns
        self._entered, self._uses, self.patterns = (x, rectified), jnp.int32(0), []
        value = operator(x)
        noted = self._uses, self.patterns
        self._entered, self._uses, self.patterns = outside
        return value, noted

    def choose(self, name, x, weights, operators, channels):
        """See `operators.Reading`; an operator of a cell knows its ways."""
        (alive,) = np.flatnonzero(weights)
        return operators[alive](name, x)

    def squeeze_excite(self, name, x, channels):
        """See `operators.Reading`."""
        squeezed = self.relu(self._linear(f"{name}.squeeze", x.mean((1, 2)).T, channels).T)
        gates = hard_sigmoid(self._linear(f"{name}.excite", squeezed.T, len(x)).T)
        return x * gates[:, None, None]

    def head(self, name, x, classes):
        """See `operators.Reading`."""
        weights = self.parameter(f"{name}.kernel", (len(x), classes), "weight", x.dtype)
        bias = self.parameter(f"{name}.bias", (classes,), "bias", x.dtype)
        return jnp.dot(weights.T, x.mean((1, 2)), precision="highest") + bias[:, None]

    def custom(self, name, x, layer):
        """See `operators.Reading`."""
        x = jnp.moveaxis(x, -1, 0).transpose(0, 2, 3, 1)
        opened = open_layer(name, layer, x)
        values = {
            path: self.parameter(f"{name}.{path}", shape, "custom", x.dtype, initial)
            for path, (shape, initial) in opened.parameters.items()
        }
        return opened.apply(values, x).transpose(3, 1, 2, 0)


def _off(shapes):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def _means(x):
    """Of every channel; as a product, which is more than twice as fast as a sum that keeps its order."""
    rows = x.reshape(len(x), -1)
    return jnp.dot(rows, np.full(rows.shape[1], 1 / rows.shape[1], rows.dtype), precision="highest")


def _channels(values):
    """(c,) as it meets (c, h, w, b)."""
    return values[:, None, None, None]


def _windows(x, size: int, stride: int, padding: int, dilation: int = 1, fill: float = 0.0) -> list[Any]:
    """As `windows.windows`, of (c, h, w, b)."""
    reach = dilation * (size - 1)
    height, width = ((side + 2 * padding - reach - 1) // stride for side in x.shape[1:3])
    border = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    pad = np.pad if isinstance(x, np.ndarray) else jnp.pad
    padded = pad(x, border, constant_values=fill)
    return [
        padded[:, top : top + stride * height + 1 : stride, left : left + stride * width + 1 : stride]
        for top in range(0, reach + 1, dilation)
        for left in range(0, reach + 1, dilation)
    ]


def packed(x: Float[Array, "c h w b"]) -> UInt32[Array, "words b"]:
    """Which neurons are on, 32 a word.

    Args:
        x: what enters the ReLU.
    """
    on = (x > 0).reshape(-1, x.shape[-1]).astype(jnp.int32)
    places = np.arange(len(on))
    powers = np.zeros((-(-len(on) // WORD), len(on)), np.uint32)
    powers[places // WORD, places] = 2 ** (places % WORD).astype(np.uint64)
    # As a product: written out it would be fused into what is asked of every pair of images, and done anew for each.
    return jnp.dot(powers.view(np.int32), on).astype(jnp.uint32)


def convolution_matrix(weights: Float[Array, "k k i o"], geometry: Geometry) -> Float[Array, "out in"]:
    """A convolution of (c, h, w) as one matrix.

    Args:
        weights: (k, k, i, o), of a depthwise convolution (k, k, 1, c).
        geometry: what it is applied to.
    """
    size, (height, width) = weights.shape[0], geometry.side
    pad = geometry.dilation * (size - 1) // 2
    places = np.eye(height * width, dtype=weights.dtype).reshape(1, height, width, -1)
    seen = np.stack(_windows(places, size, geometry.stride, pad, geometry.dilation))[:, 0]
    seen = jnp.asarray(seen.reshape(len(seen), -1, height * width))  # (taps, positions out, positions in)
    taps = weights.reshape(-1, *weights.shape[2:])
    if geometry.depthwise:
        taps = taps[:, 0, :, None] * jnp.eye(weights.shape[-1], dtype=weights.dtype)[None]
    matrix = jnp.einsum("kio,kqp->oqip", taps, seen, precision="highest")
    return matrix.reshape(matrix.shape[0] * matrix.shape[1], -1)
