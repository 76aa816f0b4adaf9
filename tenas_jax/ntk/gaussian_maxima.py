"""Max pooling of Gaussian fields in closed form, up to Clark's approximation: maxima two by two, by their moments.

The maximum of u and v with D = u - v is (u + v + |D|) / 2. Its mean and variance, and its covariance with anything else,
are Clark's (The greatest of a finite set of random variables, Operations Research 1961); what |D| adds to the covariance of
two maxima beyond the part that is linear in D follows the correlation rho of their D by

    (sqrt(1 - rho^2) + rho arcsin rho - 1) / (pi / 2 - 1),

which is exact where u and v have equal means. A maximum is then taken for a Gaussian, and the next position of the window
follows. How far that is from drawn maxima is measured by `benchmarks/ntk_max_pooling.py`.
"""

import math
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
    kernels, mean = max_pooled_about(mean, kernels, batch, side, window, stride, padding)
    return kernels._replace(nngp=kernels.nngp + batch.products(mean))


def max_pooled_about(
    mean: Float[Array, "groups p images"],
    kernels: Kernels,
    batch: Batch,
    side: int,
    window: int,
    stride: int,
    padding: int,
) -> tuple[Kernels, Float[Array, "groups r images"]]:
    """Kernels about the mean, and the mean, behind a max pooling; T is that of what is the largest.

    Rows and columns are pooled one after the other.

    Args:
        mean: in front of it.
        kernels: in front of it, K about the mean.
        batch: of images.
        side: height and width.
        window: side of the window.
        stride: step.
        padding: of the border, with minus infinity.
    """
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
    return kernels, mean


def _pooled(shape: list[int], axis: int, length: int) -> list[int]:
    return [length, shape[1]] if axis == 0 else [shape[0], length]


class _Contest(NamedTuple):
    """Who wins, y or x, at every position of every image; arrays (groups, positions, images).

    Attributes:
        wins: the probability that y is the larger.
        mean: of the maximum.
        inverse: 1 / standard deviation of D = y - x; 1 where it has none.
        bent: standard deviation of the part of |D| / 2 that is not linear in D.
        undecided: standard deviation of the event that y wins.
    """

    wins: Array
    mean: Array
    inverse: Array
    bent: Array
    undecided: Array


def _contest(mean_y: Array, mean_x: Array, variance: Array, scale: Array, known: np.ndarray, inside: np.ndarray):
    """Clark's moments of the maximum of two.

    Args:
        mean_y: (groups, positions, images).
        mean_x: likewise.
        variance: of D = y - x.
        scale: standard deviation of x: a D below its rounding is none.
        known: (positions,), whether there is a y.
        inside: (positions,), whether there is an x.
    """
    deviation = jnp.sqrt(jnp.maximum(variance, 0))
    both = jnp.asarray(known & inside)[None, :, None] & (deviation > 1e-5 * scale)
    inverse = 1 / jnp.where(both, deviation, 1)
    deviation = jnp.where(both, deviation, 0)
    lead = jnp.where(both, (mean_y - mean_x) * inverse, 0)
    # Where one of the two is missing the other is the maximum; of two that are equal either is.
    alone = jnp.asarray(np.where(known & inside, 0.5, known), mean_y.dtype)[None, :, None]
    wins = jnp.where(both, ndtr(lead), alone)
    density = jnp.where(both, jnp.exp(-jnp.square(lead) / 2) / math.sqrt(2 * math.pi), 0)
    absolute = 2 * density + lead * (2 * wins - 1)  # E|D|, in deviations of D
    # The variance of |D| less that of its linear part.
    beyond = 1 + jnp.square(lead) - jnp.square(absolute) - jnp.square(2 * wins - 1)
    return _Contest(
        wins,
        mean_y * wins + mean_x * (1 - wins) + deviation * density,
        inverse,
        deviation * jnp.sqrt(jnp.maximum(beyond, 0)) / 2,
        jnp.where(both, jnp.sqrt(wins * (1 - wins)), 0),
    )


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
    yx, xy = moments.left.map(lambda k: k[:, :, taken]), moments.right.map(lambda k: k[:, taken])

    def of_difference(yy, yx, xy, xx):
        return yy - yx - xy + xx

    difference = Kernels(*map(of_difference, moments.own, yx, xy, new.own))
    scale = jnp.sqrt(batch.diagonal(new.own.nngp))
    found = _contest(moments.mean, new.mean, batch.diagonal(difference.nngp), scale, moments.known, inside)

    def times(values):
        left, right = batch.spread(values)
        return left * right

    rho = jnp.clip(difference.nngp * times(found.inverse), -1, 1)
    cosine, arcsine = angles(rho)
    bent = times(found.bent) * (cosine + rho * arcsine - 1) / (np.pi / 2 - 1)
    together = times(found.undecided) * arcsine * (2 / np.pi)  # covariance of who wins here and who wins there
    mine, theirs = batch.spread(found.wins)

    def own(yy, yx, xy, xx):
        return mine * (theirs * yy + (1 - theirs) * yx) + (1 - mine) * (theirs * xy + (1 - theirs) * xx)

    linear = Kernels(*map(own, moments.own, yx, xy, new.own))
    return _Moments(
        found.mean,
        Kernels(linear.nngp + bent, linear.ntk + together * difference.ntk),
        Kernels(*(mine * y + (1 - mine) * x for y, x in zip(moments.left, new.left, strict=True))),
        Kernels(*(theirs * y + (1 - theirs) * x for y, x in zip(moments.right, new.right, strict=True))),
        moments.known | inside,
    )
