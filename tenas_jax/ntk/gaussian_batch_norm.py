"""Batch norm of Gaussian-process kernels: by the variance averaged over channels, or by every channel's own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tenas_jax.ntk.gaussian_kernels import Batch, Kernels, Settings, square
from tenas_jax.spaces.operators import EPSILON


def normalise(kernels: Kernels, batch: Batch, settings: Settings) -> Kernels:
    """Kernels behind a batch norm. Its scale and shift are constants here: `docs/analytic_ntk.md` says why."""
    if settings.batch_norm == "none":
        return kernels
    if settings.batch_norm == "exact":
        # Channel groups, the first axis, are normalised one by one.
        return Kernels(*jax.vmap(partial(_exact, batch=batch, settings=settings))(kernels))
    return _mean_field(kernels, batch, settings)


def _mean_field(kernels, batch, settings):
    nngp = _centre(kernels.nngp, batch)
    ntk = _centre(kernels.ntk, batch) if settings.statistics == "mean-coupled" else kernels.ntk
    variance = batch.diagonal(nngp).mean((1, 2))[:, None, None, None] + EPSILON
    return Kernels(nngp / variance, ntk / variance)


# Nodes in log t for the integrals over t of the exact batch norm, in units of 1 / trace(P K P).
_NODES = np.linspace(np.log(1e-7), np.log(1e6), 48)


def _exact(kernels, *, batch, settings):
    """Every channel's own variance: E[z z^T / (z.z / N)] for z ~ N(0, P K P), by its Laplace transform (Yang et al. 2019).

    With `z = V x`, independent `x_i ~ N(0, lam_i)`: 1 / (z.z / N + eps) = N integral over t > 0 of
    exp(-t z.z - t N eps), and the expectation of the exponential is `pi(t) = prod_j (1 + 2 lam_j t)^(-1/2)`.
    """
    count = batch.size * kernels[0].shape[-2]
    nngp, ntk = kernels
    lam, vectors = jnp.linalg.eigh(square(_centre(nngp[None], batch)[0], batch))
    lam = jnp.maximum(lam, 0)
    # The unit of t; a field that is constant over the batch has none.
    unit = jnp.where(lam.sum() > 0, lam.sum(), 1)
    t = jnp.asarray(np.exp(_NODES), lam.dtype)[:, None] / unit
    step = float(_NODES[1] - _NODES[0]) * t[:, 0]  # dt = t d(log t)
    pi = jnp.exp(-0.5 * jnp.log1p(2 * lam[None] * t).sum(1) - t[:, 0] * count * EPSILON) * step
    r = lam[None] / (1 + 2 * lam[None] * t)
    a = pi.sum()
    dot = partial(jnp.dot, precision="highest")
    outer = _pairs(dot(vectors * (count * dot(pi, r))[None], vectors.T), batch)
    if settings.statistics == "frozen":
        return outer, count * a * ntk
    centred = _centre(ntk[None], batch)[0]
    if settings.statistics == "mean-coupled":
        return outer, count * a * centred
    # Through the variance too: with q_ij = integral of t^2/2 (1 + 2 [i = j]) r_i r_j pi and b_i = integral of t r_i pi.
    b = dot(pi * t[:, 0], r)
    q = dot((r * (pi * t[:, 0] ** 2 / 2)[:, None]).T, r)
    rotated = dot(dot(vectors.T, square(centred, batch)), vectors)
    diagonal = jnp.diagonal(rotated)
    off = rotated * (a - b[:, None] - b[None, :] + 2 * q)
    on = diagonal * (a - 2 * b) + dot(q, diagonal) + 2 * jnp.diagonal(q) * diagonal
    coupled = off - jnp.diag(jnp.diagonal(off)) + jnp.diag(on)
    return outer, _pairs(count * dot(dot(vectors, coupled), vectors.T), batch)


def _pairs(square: Float[Array, "np nq"], batch: Batch) -> Float[Array, "p q pairs"]:
    """The stored pairs of a symmetric matrix over (image, position)."""
    positions = len(square) // batch.size
    stacked = square.reshape(batch.size, positions, batch.size, positions).transpose(1, 3, 0, 2)
    return stacked[:, :, batch.first, batch.second]


def _centre(kernel: Float[Array, "groups p q pairs"], batch: Batch) -> Float[Array, "groups p q pairs"]:
    """`P K P`, where P removes the mean over images and positions."""
    images = np.arange(batch.size)[:, None]
    once = np.equal(images, batch.first).astype(kernel.dtype)
    mirrored = (np.equal(images, batch.second) & (batch.first < batch.second)).astype(once.dtype)
    rows = jnp.einsum("ai,gpi->gpa", once, kernel.sum(2), precision="highest")
    rows = rows + jnp.einsum("ai,gpi->gpa", mirrored, kernel.sum(1), precision="highest")
    rows = rows / (batch.size * kernel.shape[-2])
    mean = rows.mean((-2, -1))[:, None, None, None]
    left, right = batch.spread(rows)
    return kernel - left - right + mean
