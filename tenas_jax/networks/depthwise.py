"""Depthwise convolutions of networks that are trained, as sums of shifted slices: a CPU has no routine of its own for them.

Every part is one loop over long rows of numbers: a sum over the taps, by the input the same through the flipped kernel, and
by the weights, tap by tap, a sum over rows of a map first, which runs along whole rows, and only then over what is left.
Such programs are many times as fast as the loop over a kernel's rows in `convolution.py`, and take several times as long to
compile: right for one network over thousands of steps, wrong for a program of all operators that scores each once.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tenas_jax.networks.convolution import depthwise_gradient_by_input
from tenas_jax.networks.windows import windows

# Parts of a map whose products are added in one loop, before the routine that sums gets them: measured from 1 to 32.
MOST_PARTS = 8


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def unrolled_depthwise(
    x: Float[Array, "b h w c"], weights: Float[Array, "k k 1 c"], stride: int, dilation: int
) -> Float[Array, "b h2 w2 c"]:
    """A depthwise convolution with odd kernel, zero padded by `dilation (k - 1) / 2`, without bias.

    Args:
        x: (b, h, w, c) feature maps.
        weights: (k, k, 1, c).
        stride: step in both directions.
        dilation: distance between taps.

    Returns:
        (b, ceil(h / stride), ceil(w / stride), c).
    """
    kernel = weights.shape[0]
    seen = windows(x, kernel, stride=stride, padding=dilation * (kernel - 1) // 2, dilation=dilation)
    filters = weights.reshape(kernel**2, 1, 1, 1, -1)
    return sum((tap * view for tap, view in zip(filters[1:], seen[1:], strict=True)), start=filters[0] * seen[0])


def _forward(x, weights, stride, dilation):
    return unrolled_depthwise(x, weights, stride, dilation), (x, weights)


def _backward(stride, dilation, residuals, gradient):
    x, weights = residuals
    by_input = depthwise_gradient_by_input(unrolled_depthwise, x, weights, gradient, stride, dilation)
    return by_input, _by_weights(x, gradient, weights.shape[0], stride, dilation).reshape(weights.shape)


def _by_weights(x, gradient, kernel: int, stride: int, dilation: int):
    """Of every tap the sum over images and positions of the gradient times what the tap has seen, (k * k, c)."""
    images, height, width, channels = gradient.shape
    parts = max(part for part in range(1, MOST_PARTS + 1) if height % part == 0)
    rows = height // parts
    pad = dilation * (kernel - 1) // 2
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    # Positions and channels of a row become one axis, along which a tap is a shift; of a stride, every phase by itself.
    phases = [padded[:, :, phase::stride] for phase in range(stride)]
    phases = [phase.reshape(*phase.shape[:2], -1) for phase in phases]
    flat = gradient.reshape(images, height, -1)

    def products(top: int, left: int, part: int):
        """Of a tap on a part of the rows."""
        first, start = top + stride * rows * part, left // stride * channels
        view = phases[left % stride][:, first : first + stride * (rows - 1) + 1 : stride]
        return view[..., start : start + width * channels] * flat[:, rows * part : rows * (part + 1)]

    shifts = range(0, dilation * kernel, dilation)
    sums = [sum(products(top, left, part) for part in range(parts)) for top in shifts for left in shifts]
    return jnp.stack(sums).reshape(kernel**2, -1, channels).sum(1)


unrolled_depthwise.defvjp(_forward, _backward)
