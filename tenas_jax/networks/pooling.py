"""Max pooling whose gradient is a sum of shifted slices: a CPU's general routine scatters, one element at a time."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tenas_jax.networks.windows import windows


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: Float[Array, "b h w c"], window: int, stride: int, padding: int) -> Float[Array, "b h2 w2 c"]:
    """Maxima over square windows; padded positions do not count. Of equal maxima the first, row by row, has the gradient.

    Args:
        x: (b, h, w, c) feature maps.
        window: side of a window.
        stride: step in both directions.
        padding: of every border.

    Returns:
        (b, (h + 2 padding - window) // stride + 1, ..., c).
    """
    return _with_places(x, window, stride, padding)[0]


def _with_places(x, window: int, stride: int, padding: int):
    """The maxima, and where in its window each was found."""
    values = windows(x, window, stride=stride, padding=padding, fill=-jnp.inf)
    best, place = values[0], jnp.zeros(values[0].shape, jnp.int32)
    for number, value in enumerate(values[1:], 1):
        place = jnp.where(value > best, number, place)
        best = jnp.maximum(best, value)
    return best, place


def _forward(x, window, stride, padding):
    best, place = _with_places(x, window, stride, padding)
    return best, (place, x.shape[1:3])


def _backward(window, stride, padding, residuals, gradient):
    """Spread out by the stride, then for every position the gradients of the windows that have it as their maximum."""
    place, sides = residuals
    reach = window - 1
    borders = [
        (reach - padding, side + padding - stride * (small - 1) - 1, stride - 1)
        for side, small in zip(sides, place.shape[1:3], strict=True)
    ]
    borders = [(0, 0, 0), *borders, (0, 0, 0)]
    spread = jax.lax.pad(gradient, jnp.zeros((), gradient.dtype), borders)
    place = jax.lax.pad(place, jnp.full((), -1, place.dtype), borders)

    def row(i, total):
        rows = [jax.lax.dynamic_slice_in_dim(values, reach - i, sides[0], axis=1) for values in (spread, place)]
        for j in range(window):
            part, found = (values[:, :, reach - j : reach - j + sides[1]] for values in rows)
            total += jnp.where(found == i * window + j, part, jnp.zeros_like(part))
        return total

    shape = (gradient.shape[0], *sides, gradient.shape[3])
    return (jax.lax.fori_loop(0, window, row, jnp.zeros(shape, gradient.dtype)),)


max_pool.defvjp(_forward, _backward)
