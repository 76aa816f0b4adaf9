"""Convolutions for networks that are a few channels wide, where the general routine of a CPU is far from its best.

TE-NAS's networks have 1 to 12 channels. A CPU's general convolution pays its set-up for each of them; a sum of shifted
multiply-adds fuses into one loop. Accelerators get the general routine. Both give the same numbers up to rounding.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def _padding(kernel: int, dilation: int) -> int:
    return dilation * (kernel - 1) // 2


def _shifted(x, kernel: int, stride: int, dilation: int):
    """Yields ((i, j), window): the input as seen through each tap of the kernel."""
    pad = _padding(kernel, dilation)
    height, width = (-(-side // stride) for side in x.shape[1:3])
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    for i in range(kernel):
        for j in range(kernel):
            top, left = i * dilation, j * dilation
            yield (
                (i, j),
                padded[
                    :, top : top + stride * (height - 1) + 1 : stride, left : left + stride * (width - 1) + 1 : stride
                ],
            )


def _general(x, weights, *, stride: int, dilation: int, depthwise: bool):
    pad = _padding(weights.shape[0], dilation)
    return jax.lax.conv_general_dilated(
        x,
        weights,
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] if depthwise else 1,
        precision="highest",
    )


def _depthwise_taps(x, weights, *, stride: int, dilation: int):
    filters = weights.reshape(*weights.shape[:2], 1, 1, 1, -1)
    terms = [filters[i, j] * window for (i, j), window in _shifted(x, weights.shape[0], stride, dilation)]
    return sum(terms[1:], start=terms[0])


def _dense_taps(x, weights, *, stride: int, dilation: int):
    windows = [window for _, window in _shifted(x, weights.shape[0], stride, dilation)]
    columns = jnp.concatenate(windows, axis=-1)
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
    taps = _depthwise_taps if depthwise else _dense_taps
    return jax.lax.platform_dependent(
        x,
        weights,
        cpu=partial(taps, stride=stride, dilation=dilation),
        default=partial(_general, stride=stride, dilation=dilation, depthwise=depthwise),
    )
