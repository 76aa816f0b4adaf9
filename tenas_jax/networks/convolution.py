"""Convolutions for networks that are a few channels wide, where the general routine of a CPU is far from its best.

TE-NAS's networks have 1 to 12 channels. A CPU's general convolution pays its set-up for each of them; a sum of shifted
multiply-adds fuses into one loop. Accelerators get the general routine. Both give the same numbers up to rounding.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tenas_jax.networks.windows import windows


def _padding(kernel: int, dilation: int) -> int:
    return dilation * (kernel - 1) // 2


def _taps(x, weights, stride: int, dilation: int):
    """The input as seen through each tap of the kernel."""
    kernel = weights.shape[0]
    return windows(x, kernel, stride=stride, padding=_padding(kernel, dilation), dilation=dilation)


def general_convolution(x, weights, *, stride: int, dilation: int, depthwise: bool, precision: str | None = "highest"):
    """The general routine of JAX; `precision` None is the device's own. Shapes are those of `convolve`."""
    pad = _padding(weights.shape[0], dilation)
    return jax.lax.conv_general_dilated(
        x,
        weights,
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] if depthwise else 1,
        precision=precision,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_taps(x, weights, stride: int, dilation: int):
    """A depthwise convolution as a loop over the kernel's rows, with the shapes of `convolve`.

    It ends in an array: one large sum would be computed again by all that reads it.

    Args:
        x: (b, h, w, c) feature maps.
        weights: (k, k, 1, c).
        stride: step in both directions.
        dilation: distance between taps.
    """
    kernel, pad = weights.shape[0], _padding(weights.shape[0], dilation)
    height, width = (-(-side // stride) for side in x.shape[1:3])
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    filters = weights.reshape(kernel, kernel, 1, 1, 1, -1)

    def row(i, total):
        rows = jax.lax.dynamic_slice_in_dim(padded, i * dilation, stride * (height - 1) + 1, axis=1)[:, ::stride]
        taps = jax.lax.dynamic_index_in_dim(filters, i, keepdims=False)
        for j in range(kernel):
            total += taps[j] * rows[:, :, j * dilation : j * dilation + stride * (width - 1) + 1 : stride]
        return total

    return jax.lax.fori_loop(0, kernel, row, jnp.zeros((x.shape[0], height, width, x.shape[3]), x.dtype))


def _depthwise_forward(x, weights, stride, dilation):
    return depthwise_taps(x, weights, stride, dilation), (x, weights)


def depthwise_gradient_by_input(routine, x, weights, gradient, stride: int, dilation: int):
    """The gradient, spread out by the stride, through the flipped kernel.

    Args:
        routine: a depthwise convolution, with the arguments of `depthwise_taps`.
        x: (b, h, w, c), the input.
        weights: (k, k, 1, c).
        gradient: (b, h2, w2, c), by the output.
        stride: of the convolution.
        dilation: of the convolution.

    Returns:
        (b, h, w, c).
    """
    borders = [
        (0, size - stride * (small - 1) - 1, stride - 1)
        for size, small in zip(x.shape[1:3], gradient.shape[1:3], strict=True)
    ]
    spread = jax.lax.pad(gradient, jnp.zeros((), x.dtype), [(0, 0, 0), *borders, (0, 0, 0)])
    return routine(spread, weights[::-1, ::-1], 1, dilation)


def _depthwise_backward(stride, dilation, residuals, gradient):
    """By the weights: one product."""
    x, weights = residuals
    by_input = depthwise_gradient_by_input(depthwise_taps, x, weights, gradient, stride, dilation)
    taps = jnp.stack(_taps(x, weights, stride, dilation))
    by_weights = jnp.einsum("tnhwc,nhwc->tc", taps, gradient, precision="highest")
    return by_input, by_weights.reshape(weights.shape)


depthwise_taps.defvjp(_depthwise_forward, _depthwise_backward)


def _dense_taps(x, weights, stride: int, dilation: int):
    columns = jnp.concatenate(_taps(x, weights, stride, dilation), axis=-1)
    return jnp.einsum("nhwi,io->nhwo", columns, weights.reshape(-1, weights.shape[-1]), precision="highest")


def convolve(
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
    return _convolve(x, weights, stride, dilation, depthwise)


# Operation by operation, a loop over rows would be compiled at every call; within a program it is a part of that program.
@partial(jax.jit, static_argnums=(2, 3, 4), inline=True)
def _convolve(x, weights, stride: int, dilation: int, depthwise: bool):
    taps = depthwise_taps if depthwise else _dense_taps
    return jax.lax.platform_dependent(
        x,
        weights,
        cpu=partial(taps, stride=stride, dilation=dilation),
        default=partial(general_convolution, stride=stride, dilation=dilation, depthwise=depthwise),
    )
