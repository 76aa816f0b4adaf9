"""Finite networks whose empirical NTK approaches the analytic one as their width grows.

In the NTK parametrisation (Jacot et al. 2018) weights from N(0, 1), times sqrt(s / fan_in), s = 2 behind a ReLU, else 1;
in the standard one weights from N(0, s / fan_in). Batch norm divides by the variance averaged over channels ("mean-field")
or by every channel's own ("exact"), and its gradient sees the statistics as the settings say; or it is left out ("none").
The scale and shift are constants.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tenas_jax.networks.feature_reading import FeatureReading
from tenas_jax.ntk.empirical import empirical_ntk
from tenas_jax.ntk.gaussian_kernels import Batch, Settings, input_kernels
from tenas_jax.ntk.gaussian_maps import gaussian_field, realise
from tenas_jax.ntk.kernel_reading import KernelReading
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.network import network
from tenas_jax.spaces.operators import EPSILON, OPERATORS
from tenas_jax.spaces.single_input import residual_block
from tenas_jax.spaces.skeleton import Skeleton

# (reading, images, width) -> the output of a head
Network = Callable[[Any, Any, int], Any]


class TwinReading(FeatureReading):
    """Feature maps of such a network."""

    def __init__(self, parameters, settings: Settings):
        """Reads with given parameters, or with zeros of the declared shapes."""
        super().__init__(parameters)
        self._settings = settings
        self._rectified: list[Any] = []
        # sqrt(s / fan_in), by weight
        self.deviations: dict[str, float] = {}

    def relu(self, x):
        """See `network.Reading`; remembers that a ReLU was the last to act."""
        self._rectified.append(super().relu(x))
        return self._rectified[-1]

    def crop(self, x, *, offset, stride):
        """See `network.Reading`."""
        y = super().crop(x, offset=offset, stride=stride)
        if self._is_rectified(x):
            self._rectified.append(y)
        return y

    def add(self, values):
        """See `network.Reading`."""
        return self._noted(super().add(values), values)

    def concatenate(self, values):
        """See `network.Reading`."""
        return self._noted(super().concatenate(values), values)

    def truncate(self, x, channels):
        """See `network.Reading`."""
        return self._noted(super().truncate(x, channels), [x])

    def max_pool(self, x, *, window, stride, padding):
        """See `network.Reading`."""
        return self._noted(super().max_pool(x, window=window, stride=stride, padding=padding), [x])

    def _weighted(self, weight, operator, x):
        y = operator(x)
        return self._noted(y * weight, [y])

    def _noted(self, y, values):
        """Sums, pools and weighted parts of what comes out of ReLUs are nowhere negative either."""
        if all(map(self._is_rectified, values)):
            self._rectified.append(y)
        return y

    def _is_rectified(self, x) -> bool:
        return any(x is value for value in self._rectified)

    def _scaled(self, name: str, x, gain: int, fan_in: int):
        self.deviations[f"{name}.kernel"] = (gain / fan_in) ** 0.5
        # In the standard parametrisation the weights themselves are that small.
        return x if self._settings.parametrisation == "standard" else x * self.deviations[f"{name}.kernel"]

    def _gain(self, x) -> int:
        return 2 if self._is_rectified(x) else 1

    def convolution(self, name, x, channels, *, kernel=1, stride=1, dilation=1):
        """See `network.Reading`."""
        x = self._scaled(name, x, self._gain(x), kernel**2 * x.shape[-1])
        return super().convolution(name, x, channels, kernel=kernel, stride=stride, dilation=dilation)

    def depthwise_convolution(self, name, x, *, kernel, stride=1, dilation=1):
        """See `network.Reading`."""
        x = self._scaled(name, x, self._gain(x), kernel**2)
        return super().depthwise_convolution(name, x, kernel=kernel, stride=stride, dilation=dilation)

    def batch_norm(self, name, x):
        """See `network.Reading`; the variance is shared by all channels in the mean-field form."""
        if self._settings.batch_norm == "none":
            return x
        mean = x.mean((0, 1, 2), keepdims=True)
        if self._settings.statistics == "frozen":
            mean = jax.lax.stop_gradient(mean)
        centred = x - mean
        axes = (0, 1, 2, 3) if self._settings.batch_norm == "mean-field" else (0, 1, 2)
        variance = jnp.square(centred).mean(axes, keepdims=True)
        if self._settings.statistics != "coupled":
            variance = jax.lax.stop_gradient(variance)
        return centred * jax.lax.rsqrt(variance + EPSILON)

    def head(self, name, x, classes):
        """See `network.Reading`; without bias."""
        weights = self.parameter(f"{name}.kernel", (x.shape[-1], classes), "weight", x.dtype)
        return jnp.dot(self._scaled(name, x.mean((1, 2)), 1, x.shape[-1]), weights, precision="highest")


def draw_kernels(build: Network, images, width: int, seeds: int, settings: Settings = Settings()) -> np.ndarray:
    """Empirical NTKs of finite networks with random weights.

    Args:
        build: the network, with a head of one output.
        images: (n, h, w, c).
        width: channels.
        seeds: how many draws.
        settings: which network.

    Returns:
        (seeds, n, n).
    """
    compiled = _program(build, images.shape, images.dtype, width, settings)
    return np.stack([compiled(jax.random.key(seed), images) for seed in range(seeds)])


@lru_cache(maxsize=8)
def _program(build: Network, shape, dtype, width: int, settings: Settings):
    declaring = TwinReading(None, settings)
    jax.eval_shape(lambda images: build(declaring, images, width), jax.ShapeDtypeStruct(shape, dtype))

    def scale(name):
        return declaring.deviations[name] if settings.parametrisation == "standard" else 1.0

    def kernel(key, images):
        keys = jax.random.split(key, len(declaring.declared))
        parameters = {
            name: jax.random.normal(key, declaration.shape, dtype) * scale(name)
            for key, (name, declaration) in zip(keys, declaring.declared.items(), strict=True)
        }
        return empirical_ntk(
            lambda parameters, images: build(TwinReading(parameters, settings), images, width),
            parameters,
            images,
            batch_stats="coupled",
        )

    # It is drawn from a few times in milliseconds: to optimise the machine code takes longer than what that saves.
    return jax.jit(kernel, compiler_options={"xla_backend_optimization_level": 0})


def limit_kernel(build: Network, images, settings: Settings = Settings(), width: int = 2) -> np.ndarray:
    """The analytic NTK of the same network.

    Args:
        build: the network, with a head.
        images: (n, h, w, c).
        settings: which limit is taken.
        width: channels: in the standard parametrisation wide layers weigh more. In the other they do not matter; 2 lets a
            factorized reduction halve them.

    Returns:
        (n, n).
    """
    batch = Batch.of(len(images))
    x = gaussian_field(input_kernels(images, batch), images.shape[1], images.shape[-1])
    ntk = realise(build(KernelReading(batch, settings), x, width)).ntk[0, 0, 0]
    kernel = np.zeros((len(images), len(images)))
    kernel[batch.first, batch.second] = kernel[batch.second, batch.first] = ntk
    return kernel


def operator_network(operator: str, stride: int = 1) -> Network:
    """Stem, batch norm, one operator, ReLU, head."""

    def build(read, images, width):
        x = read.batch_norm("norm", read.convolution("stem", images, width, kernel=3))
        (x,) = read.cell_inputs([x])
        return read.head("head", read.relu(OPERATORS[operator](read, operator, x, width, stride)), 1)

    return build


def residual_network(read, images, width: int):
    """Stem, batch norm, NAS-Bench-201's residual block, ReLU, head."""
    x = read.batch_norm("norm", read.convolution("stem", images, width, kernel=3))
    return read.head("head", read.relu(residual_block(read, "block", x, width)), 1)


def cell_network(mask, stages: int = 1) -> Network:
    """NAS-Bench-201's network with one cell a stage."""

    def build(read, images, width):
        skeleton = Skeleton(channels=width, cells=1, stages=stages, classes=1)
        return network(read, NAS_BENCH_201, mask, images, skeleton)

    return build


def genotype_network(mask, cells: int = 2) -> Network:
    """DARTS's network: preprocessing, concatenation, and a reduction cell among two."""

    def build(read, images, width):
        return network(read, DARTS, mask, images, Skeleton(channels=width, cells=cells, classes=1))

    return build


def chain_network(depth: int, relu: bool = True) -> Network:
    """Convolutions with batch norm and ReLU, then a head; or with another convolution in the place of every ReLU."""

    def build(read, images, width):
        x = images
        for layer in range(depth):
            x = read.convolution(f"conv{layer}", x, width, kernel=3)
            x = read.batch_norm(f"norm{layer}", x)
            x = read.relu(x) if relu else read.convolution(f"after{layer}", x, width, kernel=3)
        return read.head("head", x, 1)

    return build
