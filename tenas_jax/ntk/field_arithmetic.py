"""Weights, maps and concatenations of fields and of their means, and maxima of what comes out of ReLUs."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tenas_jax.errors import NotAnalyticError
from tenas_jax.ntk.gaussian_kernels import Batch, Kernels, pooling_matrix
from tenas_jax.ntk.gaussian_maps import Field
from tenas_jax.ntk.gaussian_maxima import max_pooled_about

MOST_GROUPS = 64  # of channels, where parts of unlike sizes are concatenated


def scaled(x: Field, weight) -> Field:
    """A field times a weight.

    Args:
        x: the field.
        weight: not below zero; may be traced.
    """
    weight = jnp.asarray(weight, jax.tree.leaves(x)[0].dtype)
    maps = {s: weight * matrix for s, matrix in x.maps.items()}
    pooled = tuple(replace(t, after=weight * t.after) for t in x.pooled)
    fresh = None if x.fresh is None else x.fresh.map(lambda kernel: weight**2 * kernel)
    mean = None if x.mean is None else weight * x.mean
    return replace(x, maps=maps, fresh=fresh, rectified=None, pooled=pooled, mean=mean)


def product(matrix, other: Array) -> Array:
    """A product in the precision and type of the second factor.

    Args:
        matrix: a constant.
        other: what it is applied to.
    """
    return jnp.dot(jnp.asarray(matrix, other.dtype), other, precision="highest")


def mapped_mean(matrix, x: Field) -> Array | None:
    """The mean of a field behind a linear map of positions; None where it has none.

    Args:
        matrix: (positions out, positions in).
        x: the field.
    """
    return None if x.mean is None else _positions_mapped(matrix, x.mean)


def _positions_mapped(matrix, mean: Array) -> Array:
    return jnp.einsum("pq,gqi->gpi", jnp.asarray(matrix, mean.dtype), mean, precision="highest")


def stacked_means(kernels: Sequence[Kernels], values: Sequence[Field], channels: Sequence[int], batch: Batch):
    """The mean of concatenated fields; None where none of them has one.

    Args:
        kernels: of the fields.
        values: the fields.
        channels: of each.
        batch: of images.
    """
    if all(value.mean is None for value in values):
        return None
    means = [
        jnp.zeros((len(k.nngp), k.nngp.shape[1], batch.size), k.nngp.dtype)
        if value.mean is None
        else jnp.repeat(value.mean, len(k.nngp) // len(value.mean), axis=0)
        for k, value in zip(kernels, values, strict=True)
    ]
    return stacked([Kernels(mean, mean) for mean in means], channels).nngp


def stacked(kernels: Sequence[Kernels], channels: Sequence[int]) -> Kernels:
    """Kernels of concatenated fields, of which each has so many channels; every group stands for equally many.

    Args:
        kernels: of the fields.
        channels: of each.

    Raises:
        NotAnalyticError: where that needs too many groups.
    """
    sizes = [Fraction(count, len(k.nngp)) for k, count in zip(kernels, channels, strict=True)]
    common = math.lcm(*(size.denominator for size in sizes))
    whole = [int(size * common) for size in sizes]
    times = [size // math.gcd(*whole) for size in whole]
    if sum(len(k.nngp) * count for k, count in zip(kernels, times, strict=True)) > MOST_GROUPS:
        parts = ", ".join(map(str, channels))
        raise NotAnalyticError(
            "concatenate", f"parts of {parts} channels make more than {MOST_GROUPS} groups of one size; make them alike"
        )

    def joined(*values):
        return jnp.concatenate([jnp.repeat(v, count, axis=0) for v, count in zip(values, times, strict=True)])

    return jax.tree.map(joined, *kernels)


def maxima_behind_relus(
    x: Field, kernels: Kernels, batch: Batch, window: int, stride: int, padding: int
) -> tuple[Kernels, Float[Array, "groups r images"]]:
    """Kernels about the mean, and the mean, behind a max pooling of a sum of ReLUs.

    T is more than on average: where a sum is large, more of its ReLUs are on. By linear regression each of them is on with
    probability (1 + (s / m - 1) / (pi - 1)) / 2 where the sum is s and its mean m, however many there are.

    Args:
        x: the field, with its mean.
        kernels: of it, about the mean.
        batch: of images.
        window: side of the window.
        stride: step.
        padding: of the border, with minus infinity.
    """
    assert x.mean is not None
    maxima, mean = max_pooled_about(x.mean, kernels, batch, x.side, window, stride, padding)
    usual = _positions_mapped(pooling_matrix(x.side, window, stride, padding), x.mean)
    lead = jnp.where(usual > 0, mean / jnp.where(usual > 0, usual, 1) - 1, 0) / (np.pi - 1)
    on = batch.products(jnp.sqrt(jnp.clip(1 + lead, 1, 2)))
    return maxima._replace(ntk=on * maxima.ntk), mean


def needs_gaussian(name: str, x: Field, what: str) -> None:
    """Refuses what is only Gaussian given something else.

    Args:
        name: of the operation.
        x: what enters it.
        what: the operation, in words.

    Raises:
        NotAnalyticError: behind a depthwise convolution.
    """
    if x.is_depthwise:
        raise NotAnalyticError(
            name, f"{what} comes behind a depthwise convolution, whose channels are Gaussian only given their filters"
        )


def when(condition, compute, shape=None):
    """`compute()`, or zeros of the same shape if the condition does not hold.

    Args:
        condition: of NumPy, or traced.
        compute: without arguments.
        shape: of its result, where that is known.
    """
    shape = jax.eval_shape(compute) if shape is None else shape

    def zeros():
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)

    if isinstance(condition, np.bool_):
        return compute() if condition else zeros()
    return jax.lax.cond(condition, compute, zeros)
