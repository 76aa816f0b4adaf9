"""Max pooling of Gaussian fields in closed form, up to Clark's approximation: maxima two by two, by their moments.

The maximum of u and v with D = u - v is (u + v + |D|) / 2. Its mean and variance, and its covariance with anything else,
are Clark's (The greatest of a finite set of random variables, Operations Research 1961); what |D| adds to the covariance of
two maxima beyond the part that is linear in D follows the correlation rho of their D by

    (sqrt(1 - rho^2) + rho arcsin rho - 1) / (pi / 2 - 1),

which is exact where u and v have equal means. A maximum is then taken for a Gaussian, and the next position of the window
follows. How far that is from drawn maxima is measured by `benchmarks/ntk_max_pooling.py`.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from tenas_jax.ntk.gaussian_kernels import Batch, Kernels, angles


class _Moments(NamedTuple):
    """Of two fields, of their maximum so far (y) and of what is pooled (x).

    Attributes:
        mean: of y, (groups, positions, images).
        own: covariance and NTK of y with y, (groups, positions, positions, pairs).
        left: of y at the first image of a pair with x at the second.
        right: of x at the first with y at the second.
        known: (positions,), where a window has begun.
    """

    mean: Float[Array, "groups p images"]
    own: Kernels
    left: Kernels
    right: Kernels
    known: np.ndarray


def max_pooled(kernels: Kernels, batch: Batch, side: int, window: int, stride: int, padding: int) -> Kernels:
    """Kernels behind a max pooling: K with the mean, as E[max max'], and T of what is the largest.

    Rows and columns are pooled one after the other.

    Args:
        kernels: in front of it, of a field without a mean.
        batch: of images.
        side: height and width.
        window: side of the window.
        stride: step.
        padding: of the border, with minus infinity.
    """
    groups, positions, _, _ = kernels.nngp.shape
    mean = jnp.zeros((groups, positions, batch.size), kernels.nngp.dtype)
    shape = [side, side]
    for axis in (0, 1):
        places = np.arange(shape[0] * shape[1]).reshape(shape)
        starts = np.arange(0, side + 2 * padding - window + 1, stride) - padding
        # The ends of a window first: they are the least alike, so the most is said before a maximum passes for Gaussian.
        offsets = sorted(range(window), key=lambda offset: -abs(offset - (window - 1) / 2))
        moments = None
        for offset in offsets:
            line = starts + offset
            inside = (line >= 0) & (line < side)
            shaped = np.broadcast_to(inside[:, None] if axis == 0 else inside, _pooled(shape, axis, len(starts)))
            taken = np.take(places, np.clip(line, 0, side - 1), axis).ravel()
            moments = _with(moments, mean, kernels, batch, taken, shaped.ravel())
        assert moments is not None
        shape = _pooled(shape, axis, len(starts))
        mean, kernels = moments.mean, moments.own
    left, right = batch.spread(mean)
    return kernels._replace(nngp=kernels.nngp + left * right)


def _pooled(shape: list[int], axis: int, length: int) -> list[int]:
    return [length, shape[1]] if axis == 0 else [shape[0], length]


def _with(
    moments: _Moments | None, mean: Array, kernels: Kernels, batch: Batch, taken: np.ndarray, inside: np.ndarray
) -> _Moments:
    """The maximum of what has been seen of every window and of one more position of it.

    Args:
        moments: of what has been seen; None at first.
        mean: of the field.
        kernels: of the field.
        batch: of images.
        taken: (windows,), the position that joins each.
        inside: (windows,), whether it lies within the border.
    """
    rows, columns = kernels.map(lambda k: k[:, taken]), kernels.map(lambda k: k[:, :, taken])
    new = _Moments(mean[:, taken], rows.map(lambda k: k[:, :, taken]), rows, columns, inside)
    if moments is None:
        return new
    # With y the maximum so far and x the new position: y with x, and x with y.
    yx, xy = moments.left.map(lambda k: k[:, :, taken]), moments.right.map(lambda k: k[:, taken])
    difference = moments.own.nngp - yx.nngp - xy.nngp + new.own.nngp
    deviation = jnp.sqrt(jnp.maximum(batch.diagonal(difference), 0))
    scale = jnp.sqrt(batch.diagonal(new.own.nngp))
    both = (moments.known & inside)[:, None] & (deviation > 1e-5 * scale)
    safe = jnp.where(both, deviation, 1)
    deviation = jnp.where(both, deviation, 0)
    lead = jnp.where(both, (moments.mean - new.mean) / safe, 0)
    # Where one of the two is missing the other is the maximum; of two that are equal either is.
    alone = jnp.asarray(np.where(moments.known & inside, 0.5, moments.known)[:, None], mean.dtype)
    wins = jnp.where(both, ndtr(lead), alone)
    density = jnp.where(both, jnp.exp(-(lead**2) / 2) / np.sqrt(2 * np.pi), 0)
    absolute = deviation * (2 * density + lead * (2 * wins - 1))  # E|D|
    maximum = moments.mean * wins + new.mean * (1 - wins) + deviation * density
    beyond = (
        deviation**2 * (1 + lead**2 - (2 * wins - 1) ** 2) - absolute**2
    )  # of var |D|, what no linear part explains
    spread = jnp.sqrt(jnp.maximum(beyond, 0)) / 2

    left, right = batch.spread(1 / safe)
    rho = jnp.clip(difference * left * right, -1, 1)
    cosine_of_arcsine, arcsine = angles(rho)
    left, right = batch.spread(spread)
    bent = left * right * (cosine_of_arcsine + rho * arcsine - 1) / (np.pi / 2 - 1)
    left, right = batch.spread(jnp.where(both, jnp.sqrt(wins * (1 - wins)), 0))
    together = left * right * (2 / np.pi) * arcsine  # covariance of who wins here and who wins there

    mine, theirs = batch.spread(wins)

    def mixed(yy, yx, xy, xx):
        return mine * (theirs * yy + (1 - theirs) * yx) + (1 - mine) * (theirs * xy + (1 - theirs) * xx)

    own = Kernels(*map(mixed, moments.own, yx, xy, new.own))
    own = Kernels(own.nngp + bent, own.ntk + together * (moments.own.ntk - yx.ntk - xy.ntk + new.own.ntk))
    return _Moments(
        maximum,
        own,
        Kernels(*(mine * y + (1 - mine) * x for y, x in zip(moments.left, new.left, strict=True))),
        Kernels(*(theirs * y + (1 - theirs) * x for y, x in zip(moments.right, new.right, strict=True))),
        moments.known | inside,
    )
