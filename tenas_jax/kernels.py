"""What operators do to Gaussian-process kernels: K, the covariance of a feature map, and T, its neural tangent kernel.

Formulas and their derivations: `docs/analytic_ntk.md`. Kernels are symmetric under (image a, position p) <-> (image b,
position q), so only the pairs a <= b are stored.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

EPSILON = 1e-5  # batch norm, as in finite.py

Kernels = Float[Array, "2 groups pairs positions positions"]  # [0] is K, [1] is T


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
    """Which pairs of images are stored: `first[i] <= second[i]`, NumPy constants of a trace."""

    size: int
    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(cls, size: int) -> "Batch":
        """All pairs of a batch."""
        return cls(size, *np.triu_indices(size))

    @property
    def diagonal(self) -> np.ndarray:
        """Where the pairs (a, a) are stored."""
        return np.flatnonzero(self.first == self.second)


def total(terms: Sequence[Array]) -> Array:
    """The sum of at least one array.

    Args:
        terms: arrays that broadcast.
    """
    return sum(terms[1:], start=terms[0])


def congruence(matrix: Float[Array, "p q"], kernels: Kernels) -> Kernels:
    """`L K L^T` for every pair of images."""
    half = jnp.einsum("kgiab,pa->kgipb", kernels, matrix, precision="highest")
    return jnp.einsum("kgipb,qb->kgipq", half, matrix, precision="highest")


def window_means(kernels: Kernels, side: int, kernel: int, stride: int, dilation: int) -> Kernels:
    """(1 / k^2) sum over offsets o of K[.., p + o, q + o], first along rows, then along columns."""
    if kernel == 1 and stride == 1:
        return kernels
    lead = kernels.shape[:3]
    out = -(-side // stride)
    grid: Array = kernels.reshape(*lead, side, side, side, side)
    for axis in (3, 4):
        grid = _diagonal_mean(grid, axis, kernel, stride, dilation, out)
    return grid.reshape(*lead, out**2, out**2)


def _diagonal_mean(grid: Array, axis: int, kernel: int, stride: int, dilation: int, out: int) -> Array:
    pad = dilation * (kernel - 1) // 2
    widths = [(pad, pad) if a in (axis, axis + 2) else (0, 0) for a in range(grid.ndim)]
    padded = jnp.pad(grid, widths)
    terms = []
    for i in range(kernel):
        window = slice(i * dilation, i * dilation + stride * (out - 1) + 1, stride)
        terms.append(padded[tuple(window if a in (axis, axis + 2) else slice(None) for a in range(grid.ndim))])
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
    deviation = jnp.sqrt(jnp.maximum(jnp.diagonal(nngp[:, batch.diagonal], axis1=-2, axis2=-1), 0))
    outer = deviation[:, batch.first, :, None] * deviation[:, batch.second, None, :]
    # A position of variance zero has correlation zero with everything; its products vanish anyhow.
    cosine = jnp.where(outer > 0, nngp / jnp.where(outer > 0, outer, 1), 0)
    cosine = jnp.clip(cosine, -1, 1)
    # pi - t is the arc cosine of -c; sin t is the square root of (1 - c)(1 + c), accurate near both ends.
    supplement = jnp.arccos(-cosine)
    rectified = outer * (jnp.sqrt((1 - cosine) * (1 + cosine)) + supplement * cosine) / (2 * np.pi)
    steps = supplement / (2 * np.pi)
    # A position with itself, or its like in an identical image: exactly, not by an arc cosine at its branch point.
    same = (batch.first == batch.second)[None, :, None, None] & np.eye(nngp.shape[-1], dtype=bool)
    same = same | (cosine > 1 - 8 * jnp.finfo(nngp.dtype).eps)
    return jnp.stack([jnp.where(same, nngp / 2, rectified), ntk * jnp.where(same, 0.5, steps)])


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
    variance = jnp.diagonal(nngp[:, batch.diagonal], axis1=-2, axis2=-1).mean((1, 2))[:, None, None, None] + EPSILON
    return nngp / variance, centred[1] / variance


# Nodes in log t for the integrals over t of the exact batch norm, in units of 1 / trace(P K P).
_NODES = np.linspace(np.log(1e-7), np.log(1e6), 48)


def _exact(kernels, *, batch, settings):
    """Every channel's own variance: E[z z^T / (z.z / N)] for z ~ N(0, P K P), by its Laplace transform (Yang et al. 2019).

    With `z = V x`, independent `x_i ~ N(0, lam_i)`: 1 / (z.z / N + eps) = N integral over t > 0 of
    exp(-t z.z - t N eps), and the expectation of the exponential is `pi(t) = prod_j (1 + 2 lam_j t)^(-1/2)`.
    """
    count = batch.size * kernels.shape[-1]
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


def square(kernel: Float[Array, "pairs p q"], batch: Batch) -> Float[Array, "np nq"]:
    """The whole symmetric matrix over (image, position)."""
    full = jnp.zeros((batch.size, batch.size, *kernel.shape[1:]), kernel.dtype)
    full = full.at[batch.second, batch.first].set(kernel.swapaxes(1, 2)).at[batch.first, batch.second].set(kernel)
    return full.transpose(0, 2, 1, 3).reshape(batch.size * kernel.shape[1], -1)


def _pairs(square: Float[Array, "np nq"], batch: Batch) -> Float[Array, "pairs p q"]:
    """The stored pairs of a symmetric matrix over (image, position)."""
    positions = len(square) // batch.size
    return square.reshape(batch.size, positions, batch.size, positions).transpose(0, 2, 1, 3)[batch.first, batch.second]


def _centre(kernels: Kernels, batch: Batch) -> Kernels:
    """`P K P`, where P removes the mean over images and positions."""
    once = np.equal(np.arange(batch.size)[:, None], batch.first).astype(kernels.dtype)
    mirrored = (np.equal(np.arange(batch.size)[:, None], batch.second) & (batch.first < batch.second)).astype(
        once.dtype
    )
    count = batch.size * kernels.shape[-1]
    rows = jnp.einsum("ai,kgip->kgap", once, kernels.sum(-1), precision="highest")
    rows = (rows + jnp.einsum("ai,kgip->kgap", mirrored, kernels.sum(-2), precision="highest")) / count
    mean = rows.mean((-2, -1))[:, :, None, None, None]
    return kernels - rows[:, :, batch.first, :, None] - rows[:, :, batch.second, None, :] + mean


def input_kernels(images: Float[Array, "n h w c"], batch: Batch) -> Kernels:
    """K is the mean over channels of products of pixels; nothing has been trained yet, so T is zero."""
    flat = images.reshape(images.shape[0], -1, images.shape[-1])
    nngp = jnp.einsum("ipc,iqc->ipq", flat[batch.first], flat[batch.second], precision="highest") / images.shape[-1]
    return jnp.stack([nngp, jnp.zeros_like(nngp)])[:, None]
