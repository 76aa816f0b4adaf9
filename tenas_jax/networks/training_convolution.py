"""Convolutions of networks that are trained: tens of channels, gradients by input and weights.

Those that mix channels take the general routine on every device, at the device's own precision: gradients are noisy by
more than TF32 takes away. Depthwise ones have no routine of their own on a CPU, where shifted multiply-adds are faster at
any width (`benchmarks/results/train_speed.json`).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tenas_jax.networks.convolution import general_convolution
from tenas_jax.networks.depthwise import unrolled_depthwise


def train_convolve(
    x: Float[Array, "b h w c"],
    weights: Float[Array, "k k i o"],
    *,
    stride: int = 1,
    dilation: int = 1,
    depthwise: bool = False,
) -> Float[Array, "b h2 w2 o"]:
    """A convolution with odd kernel, zero padded by `dilation (k - 1) / 2`, without bias.

    Args:
        x: (b, h, w, c) feature maps.
        weights: (k, k, c, o), or (k, k, 1, c) for a depthwise convolution.
        stride: step in both directions.
        dilation: distance between taps.
        depthwise: one filter a channel.

    Returns:
        (b, ceil(h / stride), ceil(w / stride), o).
    """
    if weights.shape[:2] == (1, 1) and not depthwise:
        return _pointwise(x[:, ::stride, ::stride], weights[0, 0])
    general = partial(general_convolution, stride=stride, dilation=dilation, depthwise=depthwise, precision=None)
    if not depthwise or x.dtype.itemsize < 4:  # sums of shifted products would be rounded to half precision, one by one
        return general(x, weights)
    return jax.lax.platform_dependent(
        x, weights, cpu=lambda x, weights: unrolled_depthwise(x, weights, stride, dilation), default=general
    )


@jax.custom_vjp
def _pointwise(x, weights):
    """A 1 x 1 convolution is a product of matrices: positions by channels, and channels by channels."""
    return jnp.einsum("bhwi,io->bhwo", x, weights)


def _forward(x, weights):
    return _pointwise(x, weights), (x, weights)


def _backward(residuals, gradient):
    """What JAX would do, but by the weights without transposing the gradient, which takes longer than the product."""
    x, weights = residuals
    flat, ours = gradient.reshape(-1, gradient.shape[-1]), x.reshape(-1, x.shape[-1])
    by_weights = jax.lax.dot_general(ours, flat, (((0,), (0,)), ((), ())))
    return jnp.einsum("bhwo,io->bhwi", gradient, weights), by_weights


_pointwise.defvjp(_forward, _backward)
