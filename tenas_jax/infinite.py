"""Reads `network.py` as Gaussian-process kernels: the analytic NTK.

With infinitely many channels a feature map is a Gaussian process, one independent copy a channel. Its covariance (NNGP
kernel) K and its neural tangent kernel T go through every operator in closed form: no weights, no seeds, no backward pass.
`docs/analytic_ntk.md` derives every formula used here.

Kernels are symmetric under (image a, position p) <-> (image b, position q), so only the pairs a <= b are stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from tenas_jax.errors import InputError
from tenas_jax.network import Macro, network
from tenas_jax.space import SearchSpace

EPSILON = 1e-5  # batch norm, as in finite.py

Kernels = Float[Array, "2 groups pairs positions positions"]  # [0] is K, [1] is T


class Settings(NamedTuple):
    """Which limit is taken.

    Attributes:
        parametrisation: "ntk": every layer's gradient counts alike. "standard": a weight's gradient is not scaled down by
            its fan-in, so that larger kernels and wider layers weigh more (Sohl-Dickstein et al. 2020).
        batch_norm: "mean-field" divides by the variance averaged over channels; "exact" treats every channel's own
            variance (Yang et al. 2019).
        statistics: how gradients see the batch statistics: "frozen" as constants, "mean-coupled" through the mean,
            "coupled" through mean and variance (exact form only).
        train_scale: whether the scale of a batch norm counts as a parameter of the NTK.
    """

    parametrisation: Literal["ntk", "standard"] = "ntk"
    batch_norm: Literal["mean-field", "exact"] = "mean-field"
    statistics: Literal["frozen", "mean-coupled", "coupled"] = "mean-coupled"
    train_scale: bool = True


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


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["maps", "sources", "fresh", "rectified"],
    meta_fields=["side", "channels", "after_relu"],
)
@dataclass(frozen=True)
class Field:
    """A random feature map, `sum_s maps[s] @ sources[s] + fresh`, with independent terms.

    The sources are what a cell's values are linear in: its inputs, and at every node what fresh weights added there. Two
    paths that reach a node through skips and pools share their sources, so their correlation is exact.

    Attributes:
        maps: (positions, positions of the source) matrices, by source.
        sources: kernels of the sources.
        fresh: kernels of what fresh weights added, independent of the sources.
        rectified: the kernels of this field's ReLU where they have been computed already.
        side: height and width.
        channels: number of channels (for the standard parametrisation).
        after_relu: whether a ReLU was the last to act, so that a following weight has variance 2 / fan_in.
    """

    maps: dict[int, Array]
    sources: dict[int, Kernels]
    fresh: Kernels | None
    rectified: Kernels | None
    side: int
    channels: int
    after_relu: bool = False


def _field(kernels: Kernels, side: int, channels: int, after_relu: bool = False) -> Field:
    return Field({}, {}, kernels, None, side, channels, after_relu)


class KernelReading:
    """Fields flow through the network. See `network.Reading` for the operations."""

    def __init__(self, batch: Batch, settings: Settings):
        """Reads for a batch of images, in the limit that the settings name."""
        self._batch = batch
        self._settings = settings
        self._sources = 0

    def _sealed(self, kernels: Kernels, x: Field, maps, sources) -> Field:
        """A field in which `kernels` have become a source, for values that several edges are going to share."""
        self._sources += 1
        identity = jnp.eye(x.side**2, dtype=kernels.dtype)
        return replace(
            x, maps={**maps, self._sources: identity}, sources={**sources, self._sources: kernels}, fresh=None
        )

    def cell_inputs(self, values):
        """A cell's inputs are its first sources; with what came before there is nothing to be correlated."""
        return [self._sealed(realise(x), x, {}, {}) for x in values]

    # Operators that bring fresh weights.

    def convolution(self, name, x, channels, *, kernel=1, stride=1, dilation=1):
        """K' = (s / k^2) sum_o K[p + o, q + o] averaged over channel groups, T' = the same of T + g K'."""
        kernels = _window_means(realise(x).mean(1, keepdims=True), x.side, kernel, stride, dilation)
        return self._weighted(kernels, x, kernel**2 * x.channels, -(-x.side // stride), channels)

    def depthwise_convolution(self, name, x, *, kernel, stride=1, dilation=1):
        """As a convolution, group by group. Not Gaussian, but the pointwise convolution that follows is."""
        kernels = _window_means(realise(x), x.side, kernel, stride, dilation)
        return self._weighted(kernels, x, kernel**2, -(-x.side // stride), x.channels)

    def _weighted(self, kernels, x, fan_in: int, side: int, channels: int):
        gain = 2.0 if x.after_relu else 1.0
        gradient = 1.0 if self._settings.parametrisation == "ntk" else fan_in / gain
        nngp, ntk = gain * kernels
        return _field(jnp.stack([nngp, ntk + gradient * nngp]), side, channels)

    def head(self, name, x, classes):
        """Global average pooling and a linear layer: kernels of one position."""
        pooled = realise(x).mean((1, 3, 4))[:, None, :, None, None]
        return self._weighted(pooled, replace(x, after_relu=False), x.channels, 1, classes)

    # Operators that act on a field pointwise or normalise it.

    def relu(self, x):
        """The arc-cosine kernel of order 1, and of order 0 for the gradient (Cho and Saul 2009)."""
        kernels = x.rectified if x.rectified is not None else relu_kernels(realise(x), self._batch)
        return _field(kernels, x.side, x.channels, after_relu=True)

    def batch_norm(self, name, x):
        """Batch norm over images and positions, group by group."""
        kernels = normalise(realise(x), self._batch, self._settings)
        return _field(kernels, x.side, x.channels)

    # Operators that are linear in positions.

    def average_pool(self, x, *, window, stride, padding):
        """A linear map on positions."""
        return self._mapped(x, pooling_matrix(x.side, window, stride, padding))

    def crop(self, x, *, offset, stride):
        """A selection of positions."""
        return self._mapped(x, crop_matrix(x.side, offset, stride))

    def zero(self, x, *, stride):
        """The zero map."""
        return self._mapped(x, np.zeros(((-(-x.side // stride)) ** 2, x.side**2)))

    def _mapped(self, x, matrix):
        side = round(len(matrix) ** 0.5)
        if x.fresh is not None:  # outside a cell: nothing that follows is correlated with it
            kernels = realise(x)
            return _field(congruence(jnp.asarray(matrix, kernels.dtype), kernels), side, x.channels, x.after_relu)
        maps = {s: jnp.dot(jnp.asarray(matrix, m.dtype), m, precision="highest") for s, m in x.maps.items()}
        return Field(maps, x.sources, None, None, side, x.channels)

    def concatenate(self, values):
        """Channel groups side by side; repeated where their numbers differ, so that all stand for equally many channels."""
        kernels = [realise(value) for value in values]
        groups = max(k.shape[1] for k in kernels)
        kernels = [jnp.repeat(k, groups // k.shape[1], axis=1) for k in kernels]
        channels = sum(value.channels for value in values)
        return _field(jnp.concatenate(kernels, axis=1), values[0].side, channels, values[0].after_relu)

    def add(self, values: Sequence[Field]) -> Field:
        """Adds maps source by source, and the kernels of fresh terms, which are independent."""
        sources = {s: kernels for value in values for s, kernels in value.sources.items()}
        maps = {s: _sum([value.maps[s] for value in values if s in value.maps]) for s in sources}
        fresh = [value.fresh for value in values if value.fresh is not None]
        return replace(values[0], maps=maps, sources=sources, fresh=_sum(fresh) if fresh else None, rectified=None)

    def edges(self, x, weights, operators, names):
        """Every operator is computed once for all edges, which differ by their weights and are independent copies."""
        if x.fresh is not None:
            x = self._sealed(x.fresh, x, x.maps, x.sources)
        branches = [partial(operator, "") for operator in operators]
        shapes = [jax.eval_shape(branch, x) for branch in branches]
        random = [o for o, shape in enumerate(shapes) if shape.fresh is not None]
        x = replace(x, rectified=_when(_any(weights[:, random]), lambda: relu_kernels(realise(x), self._batch)))
        outputs = [
            _when(_any(weights[:, o]), partial(branch, x)) if o in random else branch(x)
            for o, branch in enumerate(branches)
        ]
        return [self.add([_scaled(y, w) for y, w in zip(outputs, row, strict=True)]) for row in weights]


def _any(weights):
    return (weights > 0).any()


def _when(condition, compute):
    """`compute()`, or zeros of the same shape where the condition does not hold."""
    if isinstance(condition, np.bool_):
        return compute() if condition else _zeros(compute)
    return jax.lax.cond(condition, compute, partial(_zeros, compute))


def _zeros(compute):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(compute))


def _sum(terms: Sequence[Array]) -> Array:
    return sum(terms[1:], start=terms[0])


def _scaled(x: Field, weight) -> Field:
    weight = jnp.asarray(weight, jax.tree.leaves(x)[0].dtype)
    maps = {s: weight * matrix for s, matrix in x.maps.items()}
    return replace(x, maps=maps, fresh=None if x.fresh is None else weight**2 * x.fresh, rectified=None)


def congruence(matrix: Float[Array, "p q"], kernels: Kernels) -> Kernels:
    """`L K L^T` for every pair of images."""
    half = jnp.einsum("kgiab,pa->kgipb", kernels, matrix, precision="highest")
    return jnp.einsum("kgipb,qb->kgipq", half, matrix, precision="highest")


def realise(x: Field) -> Kernels:
    """The kernels of a field: `sum_s L_s K_s L_s^T` plus the fresh term's."""
    terms = [congruence(x.maps[s], kernels) for s, kernels in x.sources.items()]
    return _sum(terms if x.fresh is None else [*terms, x.fresh])


def _window_means(kernels: Kernels, side: int, kernel: int, stride: int, dilation: int) -> Kernels:
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
    return _sum(terms) / kernel


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
    # A position with itself: exactly, not through an arc cosine at its branch point.
    same = (batch.first == batch.second)[None, :, None, None] & np.eye(nngp.shape[-1], dtype=bool)
    return jnp.stack([jnp.where(same, nngp / 2, rectified), ntk * jnp.where(same, 0.5, steps)])


def normalise(kernels: Kernels, batch: Batch, settings: Settings) -> Kernels:
    """Kernels behind a batch norm, the scale's own gradient included where it counts."""
    if settings.batch_norm == "exact":
        # Channel groups are normalised one by one.
        exact = jax.vmap(partial(_exact, batch=batch, settings=settings), in_axes=1)
        nngp, ntk = exact(kernels)
    else:
        nngp, ntk = _mean_field(kernels, batch, settings)
    return jnp.stack([nngp, ntk + nngp if settings.train_scale else ntk])


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
    lam, vectors = jnp.linalg.eigh(_square(_centre(nngp[None, None], batch)[0, 0], batch))
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
    rotated = product(product(vectors.T, _square(centred, batch)), vectors)
    diagonal = jnp.diagonal(rotated)
    off = rotated * (a - b[:, None] - b[None, :] + 2 * q)
    on = diagonal * (a - 2 * b) + product(q, diagonal) + 2 * jnp.diagonal(q) * diagonal
    coupled = off - jnp.diag(jnp.diagonal(off)) + jnp.diag(on)
    return outer, _pairs(count * product(product(vectors, coupled), vectors.T), batch)


def _square(kernel: Float[Array, "pairs p q"], batch: Batch) -> Float[Array, "np nq"]:
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


def analytic_ntk(
    space: SearchSpace,
    mask: Bool[Any, "cells edges ops"],
    images: Float[Array, "n h w c"],
    *,
    macro: Macro | None = None,
    settings: Settings = Settings(),
) -> Float[Array, "n n"]:
    """The NTK of a cell network in the limit of infinitely many channels, with respect to one output.

    A pure function, to be jitted and mapped at will; nothing in it is random. The mask is data: one compilation serves
    single architectures, half-pruned networks and supernets.

    Args:
        space: the search space.
        mask: alive operators; a NumPy array is checked, and leaves dead operators out of the program.
        images: (n, h, w, c), n at least 2; what it costs grows with n^2 (h w)^2, so pool images to a few pixels first.
        macro: how cells are stacked; by default one cell a stage of 16 channels (NAS-Bench-201), a normal and a reduction
            cell (DARTS).
        settings: which limit is taken.

    Returns:
        (n, n), symmetric, in the dtype of the images.

    Raises:
        InputError: for integer images, fewer than two, images too small for the network's strides, or a bad NumPy mask.
    """
    macro = macro or DEFAULT_MACROS[space.name]
    _check(space, mask, images, macro, settings)
    batch = Batch.of(images.shape[0])
    x = _field(input_kernels(images, batch), images.shape[1], images.shape[-1])
    output = network(KernelReading(batch, settings), space, mask, x, macro)
    ntk = realise(output)[1, 0, :, 0, 0]
    kernel = jnp.zeros((batch.size, batch.size), ntk.dtype).at[batch.first, batch.second].set(ntk)
    return kernel.at[batch.second, batch.first].set(ntk)


DEFAULT_MACROS = {"nasbench201": Macro(channels=16, cells=1), "darts": Macro(channels=16, cells=2)}


def _check(space, mask, images, macro, settings) -> None:
    if images.ndim != 4 or images.shape[0] < 2 or not jnp.issubdtype(images.dtype, jnp.floating):
        raise InputError(
            f"`images` must be floating-point (n, h, w, c) with n at least 2; they are {images.dtype} {images.shape}. "
            "Normalise a batch with `tenas_jax.data.image_batch`."
        )
    reductions = (
        macro.stages - 1 if space.name == "nasbench201" else max(1, len({macro.cells // 3, 2 * macro.cells // 3}))
    )
    side = images.shape[1]
    if images.shape[2] != side or side % 2**reductions:
        raise InputError(
            f"the network halves the sides of its images {reductions} times, so they must be square with a side that is a "
            f"multiple of {2**reductions}; they are {side} x {images.shape[2]}. Pool or crop them."
        )
    if settings.statistics == "coupled" and settings.batch_norm != "exact":
        raise InputError(
            'statistics="coupled" needs batch_norm="exact": the mean-field form has one variance for all channels, whose '
            'gradient vanishes. Use "mean-coupled" or the exact form.'
        )
    if isinstance(mask, np.ndarray):
        space.check(mask)
