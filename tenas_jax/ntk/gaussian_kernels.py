"""What operators do to Gaussian-process kernels: K, the covariance of a feature map, and T, its neural tangent kernel.

Formulas and their derivations: `docs/analytic_ntk.md`. Kernels are symmetric under (image a, position p) <-> (image b,
position q), so only the pairs a <= b are stored.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

EPSILON = 1e-5  # batch norm, as in finite.py

# [0] is K, [1] is T. Pairs of images come last: every operator does the same to all of them.
Kernels = Float[Array, "2 groups positions positions pairs"]


class Settings(NamedTuple):
    """Which limit is taken.

    Attributes:
        parametrisation: "ntk": every layer's gradient counts alike. "standard": a weight's gradient is not scaled down by
            its fan-in, so that larger kernels and wider layers weigh more (Sohl-Dickstein et al. 2020).
        batch_norm: "mean-field" divides by the variance averaged over channels; "exact" treats every channel's own
            variance (Yang et al. 2019); "none" leaves batch norm out, so that sums of branches add their variances, and
            the kernel of two images depends on no third.
        statistics: how gradients see the batch statistics: "frozen" as constants, "mean-coupled" through the mean,
            "coupled" through mean and variance (exact form only). Without batch norm there are none.
    """

    parametrisation: Literal["ntk", "standard"] = "ntk"
    batch_norm: Literal["mean-field", "exact", "none"] = "mean-field"
    statistics: Literal["frozen", "mean-coupled", "coupled"] = "mean-coupled"


class Batch(NamedTuple):
    """Which pairs of images are stored: the pairs (a, a) first, then those with a < b. NumPy constants of a trace."""

    size: int
    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(cls, size: int) -> "Batch":
        """All pairs of a batch."""
        first, second = np.triu_indices(size, 1)
        return cls(size, np.concatenate([np.arange(size), first]), np.concatenate([np.arange(size), second]))

    def diagonal(self, kernel: Float[Array, "... p p pairs"]) -> Float[Array, "... p images"]:
        """The variances: of every position of every image with itself."""
        places = np.arange(kernel.shape[-2])
        return kernel[..., places, places, : self.size]


def total(terms: Sequence[Array]) -> Array:
    """The sum of at least one array.

    Args:
        terms: arrays that broadcast.
    """
    return sum(terms[1:], start=terms[0])


def congruence(matrix: Float[Array, "p q"], kernels: Kernels) -> Kernels:
    """`L K L^T` for every pair of images; where L is a multiple of the identity, as behind a skip, by one product."""

    def scaled():
        return jnp.square(matrix[0, 0]) * kernels

    def mapped():
        half = jnp.einsum("kgabi,pa->kgpbi", kernels, matrix, precision="highest")
        return jnp.einsum("kgpbi,qb->kgpqi", half, matrix, precision="highest")

    if matrix.shape[0] != matrix.shape[1]:
        return mapped()
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    return jax.lax.cond((matrix == matrix[:1, :1] * identity).all(), scaled, mapped)


def window_means(kernels: Kernels, side: int, kernel: int, stride: int, dilation: int) -> Kernels:
    """(1 / k^2) sum over offsets o of K[p + o, q + o], first along rows, then along columns."""
    if kernel == 1 and stride == 1:
        return kernels
    out = -(-side // stride)
    grid: Array = kernels.reshape(*kernels.shape[:2], side, side, side, side, -1)
    for axis in (2, 3):
        grid = _diagonal_mean(grid, axis, kernel, stride, dilation, out)
    return grid.reshape(*kernels.shape[:2], out**2, out**2, -1)


def _diagonal_mean(grid: Array, axis: int, kernel: int, stride: int, dilation: int, out: int) -> Array:
    side, pad = grid.shape[axis], dilation * (kernel - 1) // 2
    terms = []
    for offset in range(-pad, pad + 1, dilation):
        # Positions of the output whose tap lies inside.
        first = -(-max(0, -offset) // stride)
        last = min(out - 1, (side - 1 - offset) // stride)
        if last < first:
            continue
        taken = slice(first * stride + offset, last * stride + offset + 1, stride)
        taps = grid[tuple(taken if a in (axis, axis + 2) else slice(None) for a in range(grid.ndim))]
        widths = [(first, out - 1 - last) if a in (axis, axis + 2) else (0, 0) for a in range(grid.ndim)]
        terms.append(jnp.pad(taps, widths))
    return total(terms) / kernel


def pooling_matrix(side: int, window: int, stride: int, padding: int) -> np.ndarray:
    """(positions out, positions in): each row averages over a window; padded positions do not count."""
    out = (side + 2 * padding - window) // stride + 1
    line = np.zeros((out, side))
    for i in range(out):
        line[i, max(0, i * stride - padding) : i * stride - padding + window] = 1
    line /= line.sum(1, keepdims=True)
    return np.kron(line, line)


def crop_matrix(side: int, offset: int, stride: int) -> np.ndarray:
    """(positions out, positions in): selects every `stride`-th position from `offset`; zeros past the border."""
    line = np.eye(side + offset, side)[offset::stride]
    return np.kron(line, line)


def relu_kernels(kernels: Kernels, batch: Batch) -> Kernels:
    """Kernels behind a ReLU: `E[relu relu]` of K, and `T E[step step]`."""
    nngp, ntk = kernels
    deviation = jnp.sqrt(jnp.maximum(batch.diagonal(nngp), 0))
    # A position of variance zero has correlation zero with everything; its products vanish anyhow.
    inverse = jnp.where(deviation > 0, 1 / jnp.where(deviation > 0, deviation, 1), 0)
    cosine = nngp * _outer(inverse, batch)
    # A position with itself, or its like in an identical image: exactly, not by an arc cosine at its branch point.
    cosine = jnp.where(cosine > 1 - 8 * jnp.finfo(nngp.dtype).eps, 1, jnp.maximum(cosine, -1))
    sine, supplement = _sine_and_supplement(cosine)
    steps = supplement / (2 * np.pi)
    rectified = _outer(deviation, batch) * (sine / (2 * np.pi) + steps * cosine)
    return jnp.stack([rectified, ntk * steps])


def _outer(values: Float[Array, "groups p images"], batch: Batch) -> Float[Array, "groups p q pairs"]:
    return values[:, :, None, batch.first] * values[:, None, :, batch.second]


@lru_cache
def _arc_cosine_coefficients(degree: int) -> tuple[float, ...]:
    """Of a polynomial in |c| for arccos |c| / sqrt(1 - |c|), which is analytic up to c = -1 (a Chebyshev interpolation)."""

    def quotient(c):
        return np.where(c < 1, np.arccos(c) / np.sqrt(np.where(c < 1, 1 - c, 1)), 2**0.5)

    fitted = np.polynomial.Chebyshev.interpolate(quotient, degree, [0, 1])
    return tuple(np.asarray(fitted.convert(kind=np.polynomial.Polynomial).coef).tolist())


def _sine_and_supplement(cosine: Array) -> tuple[Array, Array]:
    """sin t and pi - t of the angle t with this cosine, to the rounding of its dtype; a library's arccos is ten times as dear.

    pi - t is the arc cosine of -c; sin t is the square root of (1 - c)(1 + c), accurate near both ends.
    """
    size = jnp.abs(cosine)
    root = jnp.sqrt(1 - size)
    coefficients = _arc_cosine_coefficients(9 if cosine.dtype == jnp.float32 else 22)
    polynomial = jnp.full_like(size, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        polynomial = polynomial * size + coefficient
    angle = root * polynomial  # the arc cosine of |c|
    return root * jnp.sqrt(1 + size), jnp.where(cosine < 0, angle, np.pi - angle)


def normalise(kernels: Kernels, batch: Batch, settings: Settings) -> Kernels:
    """Kernels behind a batch norm. Its scale and shift are constants here: `docs/analytic_ntk.md` says why."""
    if settings.batch_norm == "none":
        return kernels
    if settings.batch_norm == "exact":
        # Channel groups are normalised one by one.
        exact = jax.vmap(partial(_exact, batch=batch, settings=settings), in_axes=1)
        nngp, ntk = exact(kernels)
    else:
        nngp, ntk = _mean_field(kernels, batch, settings)
    return jnp.stack([nngp, ntk])


def _mean_field(kernels, batch, settings):
    centred = _centre(kernels, batch) if settings.statistics == "mean-coupled" else kernels
    nngp = centred[0] if settings.statistics == "mean-coupled" else _centre(kernels[:1], batch)[0]
    variance = batch.diagonal(nngp).mean((1, 2))[:, None, None, None] + EPSILON
    return nngp / variance, centred[1] / variance


# Nodes in log t for the integrals over t of the exact batch norm, in units of 1 / trace(P K P).
_NODES = np.linspace(np.log(1e-7), np.log(1e6), 48)


def _exact(kernels, *, batch, settings):
    """Every channel's own variance: E[z z^T / (z.z / N)] for z ~ N(0, P K P), by its Laplace transform (Yang et al. 2019).

    With `z = V x`, independent `x_i ~ N(0, lam_i)`: 1 / (z.z / N + eps) = N integral over t > 0 of
    exp(-t z.z - t N eps), and the expectation of the exponential is `pi(t) = prod_j (1 + 2 lam_j t)^(-1/2)`.
    """
    count = batch.size * kernels.shape[-2]
    nngp, ntk = kernels
    lam, vectors = jnp.linalg.eigh(square(_centre(nngp[None, None], batch)[0, 0], batch))
    lam = jnp.maximum(lam, 0)
    # The unit of t; a field that is constant over the batch has none.
    unit = jnp.where(lam.sum() > 0, lam.sum(), 1)
    t = jnp.asarray(np.exp(_NODES), lam.dtype)[:, None] / unit
    step = (_NODES[1] - _NODES[0]) * t[:, 0]  # dt = t d(log t)
    pi = jnp.exp(-0.5 * jnp.log1p(2 * lam[None] * t).sum(1) - t[:, 0] * count * EPSILON) * step
    r = lam[None] / (1 + 2 * lam[None] * t)
    a = pi.sum()
    product = partial(jnp.dot, precision="highest")
    outer = _pairs(product(vectors * (count * product(pi, r))[None], vectors.T), batch)
    if settings.statistics == "frozen":
        return outer, count * a * ntk
    centred = _centre(ntk[None, None], batch)[0, 0]
    if settings.statistics == "mean-coupled":
        return outer, count * a * centred
    # Through the variance too: with q_ij = integral of t^2/2 (1 + 2 [i = j]) r_i r_j pi and b_i = integral of t r_i pi.
    b = product(pi * t[:, 0], r)
    q = product((r * (pi * t[:, 0] ** 2 / 2)[:, None]).T, r)
    rotated = product(product(vectors.T, square(centred, batch)), vectors)
    diagonal = jnp.diagonal(rotated)
    off = rotated * (a - b[:, None] - b[None, :] + 2 * q)
    on = diagonal * (a - 2 * b) + product(q, diagonal) + 2 * jnp.diagonal(q) * diagonal
    coupled = off - jnp.diag(jnp.diagonal(off)) + jnp.diag(on)
    return outer, _pairs(count * product(product(vectors, coupled), vectors.T), batch)


def square(kernel: Float[Array, "p q pairs"], batch: Batch) -> Float[Array, "np nq"]:
    """The whole symmetric matrix over (image, position)."""
    positions = len(kernel)
    full = jnp.zeros((batch.size, batch.size, positions, positions), kernel.dtype)
    full = full.at[batch.second, batch.first].set(kernel.transpose(2, 1, 0))
    full = full.at[batch.first, batch.second].set(kernel.transpose(2, 0, 1))
    return full.transpose(0, 2, 1, 3).reshape(batch.size * positions, -1)


def _pairs(square: Float[Array, "np nq"], batch: Batch) -> Float[Array, "p q pairs"]:
    """The stored pairs of a symmetric matrix over (image, position)."""
    positions = len(square) // batch.size
    return square.reshape(batch.size, positions, batch.size, positions).transpose(1, 3, 0, 2)[
        :, :, batch.first, batch.second
    ]


def _centre(kernels: Kernels, batch: Batch) -> Kernels:
    """`P K P`, where P removes the mean over images and positions."""
    images = np.arange(batch.size)[:, None]
    once = np.equal(images, batch.first).astype(kernels.dtype)
    mirrored = (np.equal(images, batch.second) & (batch.first < batch.second)).astype(once.dtype)
    rows = jnp.einsum("ai,kgpi->kgpa", once, kernels.sum(3), precision="highest")
    rows = rows + jnp.einsum("ai,kgpi->kgpa", mirrored, kernels.sum(2), precision="highest")
    rows = rows / (batch.size * kernels.shape[-2])
    mean = rows.mean((-2, -1))[:, :, None, None, None]
    return kernels - rows[:, :, :, None, batch.first] - rows[:, :, None, :, batch.second] + mean


def input_kernels(images: Float[Array, "n h w c"], batch: Batch) -> Kernels:
    """K is the mean over channels of products of pixels; nothing has been trained yet, so T is zero."""
    flat = images.reshape(images.shape[0], -1, images.shape[-1])
    nngp = jnp.einsum("ipc,iqc->pqi", flat[batch.first], flat[batch.second], precision="highest") / images.shape[-1]
    return jnp.stack([nngp, jnp.zeros_like(nngp)])[:, None]
