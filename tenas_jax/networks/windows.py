"""Sliding windows over feature maps, as shifted slices: sums and maxima of them fuse, and so do their gradients."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def windows(
    x: Float[Array, "b h w c"], size: int, *, stride: int, padding: int, dilation: int = 1, fill: float = 0.0
) -> list[Float[Array, "b h2 w2 c"]]:
    """The input as seen through each place of a window, row by row.

    Args:
        x: (b, h, w, c) feature maps.
        size: places of a window along a side.
        stride: step in both directions.
        padding: of every border.
        dilation: distance between places.
        fill: what the padded positions hold.

    Returns:
        `size ** 2` arrays (b, (h + 2 padding - dilation (size - 1) - 1) // stride + 1, ..., c).
    """
    reach = dilation * (size - 1)
    height, width = ((side + 2 * padding - reach - 1) // stride for side in x.shape[1:3])
    border = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(x, border, constant_values=fill)
    return [
        padded[:, top : top + stride * height + 1 : stride, left : left + stride * width + 1 : stride]
        for top in range(0, reach + 1, dilation)
        for left in range(0, reach + 1, dilation)
    ]
