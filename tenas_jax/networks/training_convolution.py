"""Convolutions of networks that are trained: tens of channels, gradients by input and weights.

The shifted multiply-adds of `convolution.py` pay for networks of a few channels. Those that are trained take the general
routine on every device, at the device's own precision: gradients are noisy by more than TF32 takes away.
"""

from jaxtyping import Array, Float

from tenas_jax.networks.convolution import general_convolution


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
    return general_convolution(x, weights, stride=stride, dilation=dilation, depthwise=depthwise, precision=None)
