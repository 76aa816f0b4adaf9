"""What operators do to Gaussian-process kernels: K, the covariance of a feature map, and T, its neural tangent kernel.

Formulas and their derivations: `docs/analytic_ntk.md`. Kernels are symmetric under (image a, position p) <-> (image b,
position q), so only the pairs a <= b are stored.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Kernels(NamedTuple):
    """The kernels of a feature map. Pairs of images come last: every operator does the same to all of them.

    Attributes:
        nngp: K, by channel group.
        ntk: T.
    """

    nngp: Float[Array, "groups positions positions pairs"]
    ntk: Float[Array, "groups positions positions pairs"]

    def map(self, function: Callable[[Array], Array]) -> "Kernels":
        """The same linear map of both.

        Args:
            function: of one array.
        """
        return Kernels(function(self.nngp), function(self.ntk))

    @classmethod
    def total(cls, terms: "Sequence[Kernels]") -> "Kernels":
        """Those of a sum of at least one field, independent of each other.

        Args:
            terms: of the fields.
        """
        return cls(total([term.nngp for term in terms]), total([term.ntk for term in terms]))


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
        maxima: how a max pooling is taken, which has no closed form: "sampled" draws channels with a fixed key; "moments"
            takes maxima two by two for Gaussians (`gaussian_maxima.py`), at a fraction of the cost.
    """

    parametrisation: Literal["ntk", "standard"] = "ntk"
    batch_norm: Literal["mean-field", "exact", "none"] = "mean-field"
    statistics: Literal["frozen", "mean-coupled", "coupled"] = "mean-coupled"
    maxima: Literal["sampled", "moments"] = "sampled"


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

    def diagonal(self, kernel: Float[Array, "groups p p pairs"]) -> Float[Array, "groups p images"]:
        """The variances: of every position of every image with itself."""
        groups, positions = kernel.shape[:2]
        return kernel.reshape(groups, positions**2, -1)[:, :: positions + 1, : self.size]

    def spread(self, values: Float[Array, "groups p images"]) -> tuple[Array, Array]:
        """Values of images as they meet pairs: of the first image by p, of the second by q.

        As a product with zeros and ones, which is exact: what a gather picks comes in an order that slows down its users.
        """
        images = np.arange(self.size)[:, None]
        first, second = (
            jnp.dot(values, jnp.asarray(images == which, values.dtype), precision="highest")
            for which in (self.first, self.second)
        )
        return first[:, :, None], second[:, None]

    def products(self, values: Float[Array, "groups p images"]) -> Float[Array, "groups p p pairs"]:
        """Products of a value of the first image of each pair with one of the second: what a mean adds to K."""
        left, right = self.spread(values)
        return left * right


def total(terms: Sequence[Array]) -> Array:
    """The sum of at least one array.

    Args:
        terms: arrays that broadcast; first axes of 2 and 3 channel groups, each of equally many channels, become 6.
    """
    counts = {len(term) for term in terms} - {1}
    if len(counts) > 1:
        groups = math.lcm(*counts)
        terms = [jnp.repeat(term, groups // len(term), axis=0) for term in terms]
    return sum(terms[1:], start=terms[0])


def congruence(matrix: Float[Array, "p q"], kernels: Kernels) -> Kernels:
    """`L K L^T` for every pair of images; where L is a multiple of the identity, as behind a skip, by one product."""

    def scaled():
        return kernels.map(lambda kernel: jnp.square(matrix[0, 0]) * kernel)

    def mapped():
        return kernels.map(partial(_congruent, matrix))

    if matrix.shape[0] != matrix.shape[1]:
        return mapped()
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    return jax.lax.cond((matrix == matrix[:1, :1] * identity).all(), scaled, mapped)


def _congruent(matrix, kernel):
    """As batches of products whose columns are the pairs: a pair's roundings then do not depend on how many there are."""
    groups, positions = kernel.shape[:2]
    matrices = jnp.broadcast_to(matrix, (groups, positions, *matrix.shape))
    half = jnp.einsum("gbpa,gabi->gpbi", matrices, kernel, precision="highest")
    matrices = jnp.broadcast_to(matrix, (groups, len(matrix), *matrix.shape))
    return jnp.einsum("gpqb,gpbi->gpqi", matrices, half, precision="highest")


def window_means(kernels: Kernels, side: int, kernel: int, stride: int, dilation: int) -> Kernels:
    """(1 / k^2) sum over offsets o of K[.., p + o, q + o]."""
    if kernel == 1 and stride == 1:
        return kernels
    if stride == 1:
        return kernels.map(partial(_window_means, side=side, kernel=kernel, dilation=dilation))
    return kernels.map(partial(_strided_window_means, side=side, kernel=kernel, stride=stride, dilation=dilation))


def _window_means(values, *, side: int, kernel: int, dilation: int):
    """With (p, q) as one axis the same offset on both sides is one shift, and what lies outside is masked: one pass."""
    groups, positions, _, pairs = values.shape
    row, column = np.divmod(np.arange(positions), side)
    reach = dilation * (kernel - 1) // 2
    shifts = []
    for down, right in product(range(-reach, reach + 1, dilation), repeat=2):
        inside = (row + down >= 0) & (row + down < side) & (column + right >= 0) & (column + right < side)
        if inside.any():
            shifts.append(((down * side + right) * (positions + 1), np.outer(inside, inside).reshape(-1, 1)))
    border = max(shift for shift, _ in shifts)
    flat = jnp.pad(values.reshape(groups, positions**2, pairs), ((0, 0), (border, border), (0, 0)))
    terms = [jnp.where(inside, flat[:, border + shift : border + shift + positions**2], 0) for shift, inside in shifts]
    return (total(terms) / kernel**2).reshape(values.shape)


def _strided_window_means(values, *, side: int, kernel: int, stride: int, dilation: int):
    """Only where a window stands: with a stride of 2 a sixteenth of all pairs of positions.

    What a tap does not find beyond the border is added to the few values that it does find: a border around all values
    would be larger than they are.
    """
    groups, pairs = values.shape[0], values.shape[-1]
    reach, out = dilation * (kernel - 1) // 2, -(-side // stride)
    field = values.reshape(groups, side, side, side, side, pairs)
    taps = []
    for offset in range(-reach, reach + 1, dilation):
        inside = [place for place in range(out) if 0 <= place * stride + offset < side]
        if inside:
            first, last = inside[0], inside[-1]
            taps.append((slice(first * stride + offset, last * stride + offset + 1, stride), (first, out - 1 - last)))
    terms = []
    for (down, above), (right, beside) in product(taps, repeat=2):
        found = field[:, down, right, down, right]
        terms.append(jnp.pad(found, ((0, 0), above, beside, above, beside, (0, 0))))
    return (total(terms) / kernel**2).reshape(groups, out**2, out**2, pairs)


def pooling_matrix(side: int, window: int, stride: int, padding: int) -> np.ndarray:
    """(positions out, positions in): each row averages over a window; padded positions do not count."""
    out = (side + 2 * padding - window) // stride + 1
    line = np.zeros((out, side))
    for i in range(out):
        line[i, max(0, i * stride - padding) : i * stride - padding + window] = 1
    line /= line.sum(1, keepdims=True)
    return np.kron(line, line)


def block_means(
    kernel: Float[Array, "groups p q pairs"], *, side: int, window: int
) -> Float[Array, "groups r s pairs"]:
    """`L K L^T` where L averages over windows that do not overlap: sums of slices, much faster than small products.

    Args:
        kernel: K or T.
        side: of the field, a multiple of the window.
        window: side of a window, and the step.
    """
    groups, pairs, out = len(kernel), kernel.shape[-1], side // window
    field = kernel.reshape(groups, side, side, side, side, pairs)
    steps = [slice(start, None, window) for start in range(window)]
    terms = [field[:, a, b, c, d] for a, b, c, d in product(steps, repeat=4)]
    return (total(terms) / window**4).reshape(groups, out**2, out**2, pairs)


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
    left, right = batch.spread(inverse)
    cosine = nngp * (left * right)
    # A position with itself, or its like in an identical image: exactly, not by an arc cosine at its branch point.
    cosine = jnp.where(cosine > 1 - 8 * jnp.finfo(nngp.dtype).eps, 1, jnp.maximum(cosine, -1))
    sine, supplement = _sine_and_supplement(cosine)
    steps = supplement / (2 * np.pi)
    left, right = batch.spread(deviation)
    rectified = left * right * (sine / (2 * np.pi) + steps * cosine)
    return Kernels(rectified, ntk * steps)


def relu_mean(rectified: Kernels, batch: Batch) -> Float[Array, "groups p images"]:
    """The mean of a ReLU of a Gaussian without a mean, sqrt(K / (2 pi)).

    Args:
        rectified: from `relu_kernels`; its variances about zero are K / 2.
        batch: of images.
    """
    return jnp.sqrt(jnp.maximum(batch.diagonal(rectified.nngp), 0) / np.pi)


@lru_cache
def _arc_cosine_coefficients(degree: int) -> tuple[float, ...]:
    """Of a polynomial in |c| for arccos |c| / sqrt(1 - |c|), which is analytic up to c = -1 (a Chebyshev interpolation)."""

    def quotient(c):
        return np.where(c < 1, np.arccos(c) / np.sqrt(np.where(c < 1, 1 - c, 1)), 2**0.5)

    fitted = np.polynomial.Chebyshev.interpolate(quotient, degree, [0, 1])
    return tuple(np.asarray(fitted.convert(kind=np.polynomial.Polynomial).coef).tolist())


def _sine_and_supplement(cosine: Array) -> tuple[Array, Array]:
    """Sin t and pi - t of the angle t with this cosine, to its rounding; a library's arccos takes ten times as long.

    pi - t is the arc cosine of -c; sin t is the square root of (1 - c)(1 + c), accurate near both ends.
    """
    size = jnp.abs(cosine)
    coefficients = _arc_cosine_coefficients(9 if cosine.dtype == jnp.float32 else 22)
    polynomial = jnp.full_like(size, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        polynomial = polynomial * size + coefficient
    # With the root taken last, XLA evaluates the polynomial once; a product it would write into everything that uses it.
    angle = jnp.sqrt((1 - size) * jnp.square(polynomial))  # the arc cosine of |c|
    return jnp.sqrt((1 - size) * (1 + size)), jnp.where(cosine < 0, angle, np.pi - angle)


def angles(correlation: Array) -> tuple[Array, Array]:
    """sqrt(1 - rho^2) and arcsin rho of correlations, to their rounding.

    Args:
        correlation: between -1 and 1.
    """
    sine, supplement = _sine_and_supplement(correlation)
    return sine, supplement - np.pi / 2


def square(kernel: Float[Array, "p q pairs"], batch: Batch) -> Float[Array, "np nq"]:
    """The whole symmetric matrix over (image, position)."""
    positions = len(kernel)
    full = jnp.zeros((batch.size, batch.size, positions, positions), kernel.dtype)
    full = full.at[batch.second, batch.first].set(kernel.transpose(2, 1, 0))
    full = full.at[batch.first, batch.second].set(kernel.transpose(2, 0, 1))
    return full.transpose(0, 2, 1, 3).reshape(batch.size * positions, -1)


def input_kernels(images: Float[Array, "n h w c"], batch: Batch) -> Kernels:
    """K is the mean over channels of products of pixels; nothing has been trained yet, so T is zero."""
    flat = images.reshape(images.shape[0], -1, images.shape[-1])
    nngp = jnp.einsum("ipc,iqc->pqi", flat[batch.first], flat[batch.second], precision="highest") / images.shape[-1]
    return Kernels(nngp[None], jnp.zeros_like(nngp)[None])
