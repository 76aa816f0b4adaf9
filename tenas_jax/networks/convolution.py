"""Convolutions for networks that are a few channels wide, where the general routine of a CPU is far from its best.

TE-NAS's networks have 1 to 12 channels. A CPU's general convolution pays its set-up for each of them; a sum of shifted
multiply-adds fuses into one loop. Accelerators get the general routine. Both give the same numbers up to rounding.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tenas_jax.networks.depthwise import depthwise_taps
from tenas_jax.networks.windows import windows


def _padding(kernel: int, dilation: int) -> int:
    return dilation * (kernel - 1) // 2


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


def _dense_taps(x, weights, stride: int, dilation: int):
    kernel = weights.shape[0]
    seen = windows(x, kernel, stride=stride, padding=_padding(kernel, dilation), dilation=dilation)
    columns = jnp.concatenate(seen, axis=-1)
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
