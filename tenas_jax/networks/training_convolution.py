"""Convolutions of networks that are trained: tens of channels, gradients by input and weights.

Which form a CPU runs fastest was measured (`benchmarks/train_speed.py`): an ordinary convolution by the general routine, a
depthwise one as shifted multiply-adds, since the general routine runs it channel by channel. Accelerators get the general
routine at their own precision: gradients are noisy by more than TF32 takes away.
"""

from functools import partial

import jax
from jaxtyping import Array, Float

from tenas_jax.networks.convolution import convolve


def _general(x, weights, *, stride: int, dilation: int, groups: int):
    pad = dilation * (weights.shape[0] - 1) // 2
    return jax.lax.conv_general_dilated(
        x,
        weights,
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


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
    general = partial(_general, stride=stride, dilation=dilation, groups=x.shape[-1] if depthwise else 1)
    if not depthwise:
        return general(x, weights)
    shifted = partial(convolve, stride=stride, dilation=dilation, depthwise=True)
    return jax.lax.platform_dependent(x, weights, cpu=shifted, default=general)
