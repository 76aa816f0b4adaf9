"""Reads a network as one that is trained: running statistics, drop path, an auxiliary head.

It differs from the reading that indicators take in what training needs: batch norms note the moments that running
statistics are made of, operators are dropped at random for single images, and an edge that carries nothing is left out of
a node's sum.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from tenas_jax.errors import InputError
from tenas_jax.networks.feature_reading import FeatureReading, Statistics
from tenas_jax.networks.initial_weights import Parameters
from tenas_jax.networks.training_convolution import train_convolve
from tenas_jax.spaces.operators import EPSILON
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.stacking import cell as plain_cell

Auxiliary = Literal["small", "imagenet"]
AUXILIARY_CHANNELS = 128, 768  # Liu et al. 2019, as released


class Nothing(NamedTuple):
    """What an edge with the operator "none" carries; a node that gets nothing else makes zeros of it.

    Attributes:
        shape: of the zeros.
        dtype: of the zeros.
    """

    shape: tuple[int, ...]
    dtype: Any


class DropPath(NamedTuple):
    """Operators that are left out at random, image by image (Larsson et al. 2017; as in DARTS's released training).

    Attributes:
        key: decides which.
        rate: how often; may be traced.
    """

    key: Array
    rate: Any


def auxiliary_cell(skeleton: Skeleton) -> str:
    """The cell whose output the auxiliary head reads: the one at two thirds (Liu et al. 2019, as released).

    Args:
        skeleton: how cells are stacked.
    """
    return f"cell{2 * skeleton.cells // 3}"


def auxiliary_head(read: Any, x: Any, classes: int, kind: Auxiliary) -> Any:
    """The auxiliary classifier of DARTS's released training code, for maps of 8 x 8 or, on ImageNet, 7 x 7.

    Args:
        read: the reading.
        x: a cell's output.
        classes: outputs.
        kind: for small images, or for ImageNet, whose pooling has stride 2 and whose second batch norm is left out.

    Returns:
        Logits.
    """
    narrow, wide = AUXILIARY_CHANNELS
    x = read.average_pool(read.relu(x), window=5, stride=3 if kind == "small" else 2, padding=0)
    x = read.relu(read.batch_norm("auxiliary.first_norm", read.convolution("auxiliary.first", x, narrow)))
    x = read.inner_convolution("auxiliary.second", x, wide, kernel=2)
    x = read.batch_norm("auxiliary.second_norm", x) if kind == "small" else x
    return read.head("auxiliary.linear", read.relu(x), classes)


class StandAloneReading(FeatureReading):
    """Feature maps (b, h, w, c) flow through the network of one architecture.

    Attributes:
        auxiliary: output of the cell that the auxiliary head reads, once the network has come by.
    """

    convolve = staticmethod(train_convolve)

    def __init__(
        self,
        parameters: Parameters | None,
        statistics: Statistics | None = None,
        *,
        drop: DropPath | None = None,
        tap: str | None = None,
    ):
        """Reads with given parameters.

        Args:
            parameters: by name; None declares them.
            statistics: of batch norms, by name; None: those of the batch.
            drop: which operators are dropped.
            tap: name of the cell whose output is kept in `auxiliary`.
        """
        super().__init__(parameters, statistics)
        self._drop, self._tap, self._dropped = drop, tap, 0
        self.auxiliary: Any = None

    def cell(self, read, space, name, weights, inputs, channels, *, reduce=False):  # pyright: ignore[reportIncompatibleVariableOverride]
        """A cell as everywhere; the tapped one's output is kept."""
        nodes = plain_cell(read, space, name, weights, inputs, channels, reduce=reduce)
        if name == self._tap:
            self.auxiliary = self.concatenate(nodes[space.inputs :])
        return nodes

    def parameter(self, name, shape, kind, dtype, initial=None):
        """As the base's; weights in the type of what they meet, so that bfloat16 images make a bfloat16 network."""
        value = super().parameter(name, shape, kind, jnp.float32, initial)
        return value if kind in ("scale", "bias") else value.astype(dtype)

    def inner_convolution(self, name, x, channels, *, kernel):
        """A convolution without padding.

        Args:
            name: of its weights.
            x: (b, h, w, c).
            channels: outputs.
            kernel: its side.

        Raises:
            InputError: where the maps are smaller.
        """
        if min(x.shape[1:3]) < kernel:
            raise InputError(
                f"images are too small for {name.rpartition('.')[0]}: maps have {x.shape[1]} x {x.shape[2]} "
                f"positions after pooling, and {kernel} x {kernel} are needed. Give larger images, or take --auxiliary 0."
            )
        weights = self.parameter(f"{name}.kernel", (kernel, kernel, x.shape[-1], channels), "weight", x.dtype)
        return jax.lax.conv_general_dilated(x, weights, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def batch_norm(self, name, x):
        """See `operators.Reading`; in single precision or better whatever comes in."""
        scale = self.parameter(f"{name}.scale", x.shape[-1:], "scale", jnp.float32)
        bias = self.parameter(f"{name}.bias", x.shape[-1:], "bias", jnp.float32)
        wide = _wide(x)
        if self._statistics is not None:
            mean, variance = self._statistics[name]
        else:
            mean = wide.mean((0, 1, 2))
            variance = jnp.square(wide - mean[None, None, None]).mean((0, 1, 2))
            count = math.prod(x.shape[:3])
            # PyTorch stores the unbiased variance and normalises by the biased one.
            self.moments[name] = mean, variance * (count / max(count - 1, 1))
        factor = scale * jax.lax.rsqrt(variance + EPSILON)
        return ((wide - mean[None, None, None]) * factor[None, None, None] + bias[None, None, None]).astype(x.dtype)

    def relu(self, x):
        """See `operators.Reading`; its derivative at zero is zero."""
        return jax.nn.relu(x)

    def zero(self, x, *, stride, channels=None) -> Any:
        """Nothing, in the shape of the strided input."""
        shape = x.shape[0], -(-x.shape[1] // stride), -(-x.shape[2] // stride), channels or x.shape[3]
        return Nothing(shape, x.dtype)

    def add(self, values) -> Any:
        """The sum of what carries something."""
        carrying = [value for value in values if not isinstance(value, Nothing)]
        return sum(carrying[1:], start=carrying[0]) if carrying else jnp.zeros(*values[0])

    def edges(self, x, weights, operators: Sequence[Callable[[str, Any], Any]], names: Sequence[str]) -> Any:
        """See `operators.Reading`; of every edge the one operator that it holds."""
        return [self._edge(x, row, operators, name) for row, name in zip(weights, names, strict=True)]

    def _edge(self, x, row, operators, name: str):
        (held,) = (operator for operator, weight in zip(operators, row, strict=True) if weight > 0)
        y = held(name, x)
        # The identity is never dropped: what is left of a cell is its shortest paths.
        return y if self._drop is None or y is x or isinstance(y, Nothing) else self._dropped_out(self._drop, y)

    def _dropped_out(self, drop: DropPath, y):
        """Whole feature maps of single images are zeroed, what stays is scaled up to the same mean."""
        key = jax.random.fold_in(drop.key, self._dropped)
        self._dropped += 1
        keep = jnp.asarray(1 - drop.rate, jnp.float32)
        kept = jax.random.bernoulli(key, keep, (len(y), 1, 1, 1))
        return y * (kept.astype(jnp.float32) / keep).astype(y.dtype)

    def head(self, name, x, classes):
        """See `operators.Reading`; logits in the precision of the weights."""
        bias = self.parameter(f"{name}.bias", (classes,), "bias", jnp.float32)
        pooled = _wide(x).mean((1, 2))
        weights = self.parameter(f"{name}.kernel", (x.shape[-1], classes), "weight", pooled.dtype)
        return jnp.dot(pooled, weights) + bias[None].astype(pooled.dtype)


def _wide(x):
    """In single precision or better: sums over images and positions lose digits in half of it."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x
