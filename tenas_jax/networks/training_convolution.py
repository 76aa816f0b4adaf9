"""Convolutions of networks that are trained: tens of channels, gradients by input and weights.

Those that mix channels take the general routine on every device, at the device's own precision: gradients are noisy by
more than TF32 takes away. Depthwise ones have no routine of their own on a CPU, where shifted multiply-adds are faster at
any width (`benchmarks/results/train_speed.json`).
"""

from functools import partial

import jax
from jaxtyping import Array, Float

from tenas_jax.networks.convolution import depthwise_taps, general_convolution


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
    general = partial(general_convolution, stride=stride, dilation=dilation, depthwise=depthwise, precision=None)
    if not depthwise or x.dtype.itemsize < 4:  # sums of shifted products would be rounded to half precision, one by one
        return general(x, weights)
    return jax.lax.platform_dependent(
        x, weights, cpu=lambda x, weights: depthwise_taps(x, weights, stride, dilation), default=general
    )
