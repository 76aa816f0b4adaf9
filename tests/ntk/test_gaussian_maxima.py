"""Maxima of Gaussian fields by their moments, against drawn fields and where they are exact."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.errors import NotAnalyticError
from tenas_jax.ntk.gaussian_kernels import Batch, Kernels, Settings, pooling_matrix, square
from tenas_jax.ntk.gaussian_maps import gaussian_field
from tenas_jax.ntk.gaussian_maxima import max_pooled
from tenas_jax.ntk.kernel_reading import KernelReading

IMAGES, SIDE, DRAWS = 3, 4, 30_000
BATCH = Batch.of(IMAGES)
MOMENTS = Settings(maxima="moments")


def fields(rng, side=SIDE):
    """Two random covariances (images * positions, the same) of fields whose neighbours are alike."""
    found = []
    for _ in range(2):
        factors = rng.normal(size=(IMAGES, side, side, 40))
        factors = factors + 0.7 * np.roll(factors, 1, 1) + 0.7 * np.roll(factors, 1, 2)
        flat = factors.reshape(IMAGES * side**2, -1)
        found.append(flat @ flat.T / 40)
    return found


def stored(matrix):
    """As pairs of images."""
    positions = len(matrix) // IMAGES
    blocks = matrix.reshape(IMAGES, positions, IMAGES, positions)
    pairs = [blocks[a, :, b] for a, b in zip(BATCH.first, BATCH.second, strict=True)]
    return jnp.asarray(np.stack(pairs, -1))[None]


def pooled(nngp, ntk, side, window=3, stride=1, padding=1):
    kernels = max_pooled(Kernels(stored(nngp), stored(ntk)), BATCH, side, window, stride, padding)
    return [np.asarray(square(kernel[0], BATCH)) for kernel in kernels]


def drawn(rng, nngp, ntk, side, window=3, stride=1, padding=1):
    """K and T of maxima of drawn fields: T of a second field, at the positions that are the largest."""
    values, tangents = (
        np.pad(
            (rng.normal(size=(DRAWS, len(matrix))) @ np.linalg.cholesky(matrix + 1e-9 * np.eye(len(matrix))).T).reshape(
                DRAWS * IMAGES, side, side
            ),
            ((0, 0), (padding, padding), (padding, padding)),
            constant_values=outside,
        )
        for matrix, outside in ((nngp, -np.inf), (ntk, 0.0))
    )
    values, tangents = (
        np.lib.stride_tricks.sliding_window_view(one, (window, window), (1, 2))[:, ::stride, ::stride].reshape(
            DRAWS, -1, window**2
        )
        for one in (values, tangents)
    )
    largest = values.argmax(-1)[..., None]
    maximum, passed = (np.take_along_axis(one, largest, -1)[..., 0] for one in (values, tangents))
    return maximum.T @ maximum / DRAWS, passed.T @ passed / DRAWS


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_the_maximum_of_two_is_exact(rng):
    """Windows of two rows on images whose columns are equal: of equal values the maximum is the value."""
    nngp, ntk = fields(rng, side=2)
    first_column = np.kron(np.eye(IMAGES), np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]))
    nngp, ntk = (first_column @ matrix @ first_column.T for matrix in (nngp, ntk))
    found = pooled(nngp, ntk, 2, window=2, padding=0)
    for one, expected in zip(found, drawn(rng, nngp, ntk, 2, window=2, padding=0), strict=True):
        np.testing.assert_allclose(one, expected, rtol=0.03, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("stride", [1, 2])
def test_maxima_of_windows_are_near_drawn_ones(rng, stride):
    """Far nearer than averages, which stand for maxima elsewhere."""
    nngp, ntk = fields(rng)
    found = pooled(nngp, ntk, SIDE, stride=stride)
    expected = drawn(rng, nngp, ntk, SIDE, stride=stride)
    average = np.kron(np.eye(IMAGES), pooling_matrix(SIDE, 3, stride, 1))
    averages = [average @ matrix @ average.T for matrix in (nngp, ntk)]
    errors, of_averages = ([relative(*both) for both in zip(k, expected, strict=True)] for k in (found, averages))
    assert errors[0] < 0.08
    assert errors[0] < of_averages[0] / 5
    assert errors[1] < 0.4
    assert errors[1] < 0.8 * of_averages[1]
    for one in found:
        np.testing.assert_allclose(one, one.T, rtol=1e-9)


def test_the_maximum_of_equal_values_is_the_value(rng):
    constant = np.kron(np.cov(rng.normal(size=(IMAGES, 9))), np.ones((SIDE**2, SIDE**2)))
    for found in pooled(constant, 2 * constant, SIDE):
        assert relative(found, constant) < 1e-9 or relative(found, 2 * constant) < 1e-9


def reading(rng):
    read = KernelReading(BATCH, MOMENTS)
    return read, gaussian_field(Kernels(*map(stored, fields(rng))), SIDE, 4)


def test_one_maximum_on_several_edges_is_one_field(rng):
    """Pooled once, added twice: the covariance of two times the maximum, and not of two independent ones."""
    read, x = reading(rng)
    kernels = x.fresh
    operators = [partial(max_pool, read), lambda _, x: x]
    both = read.edges(x, np.array([[1.0, 0.0], [1.0, 0.0]]), operators, ["", ""])
    twice = read._realise(read.add(both))
    expected = max_pooled(kernels, BATCH, SIDE, 3, 1, 1)
    for one, wanted in zip(twice, expected, strict=True):
        np.testing.assert_allclose(one, 4 * wanted, rtol=1e-9, atol=1e-9)


def test_a_maximum_beside_a_skip(rng):
    """They share their source: K and T of the sum are near those of drawn channels."""
    read, x = reading(rng)
    operators = [partial(max_pool, read), lambda _, x: x]
    (found,) = read.edges(x, np.array([[1.0, 1.0]]), operators, ["", ""])
    by_draws = KernelReading(BATCH, Settings())
    operators = [partial(max_pool, by_draws), lambda _, x: x]
    (sampled,) = by_draws.edges(x, np.array([[1.0, 1.0]]), operators, ["", ""])
    expected = by_draws._realise(sampled)
    for one, wanted, most in zip(read._realise(found), expected, (0.12, 0.25), strict=True):
        assert relative(one, wanted) < most


@pytest.mark.parametrize("alive", [False, True])
def test_dead_maxima_leave_the_closed_form_to_the_bit(rng, alive):
    read, x = reading(rng)
    operators = [partial(max_pool, read), lambda _, x: x]

    def of(weights):
        (found,) = read.edges(x, weights, operators, ["", ""])
        return read._realise(found)

    at_run_time = jax.jit(of)(jnp.asarray([[float(alive), 1.0]]))
    known = jax.jit(lambda: of(np.array([[float(alive), 1.0]])))()
    for one, wanted in zip(at_run_time, known, strict=True):
        (np.testing.assert_allclose if alive else np.testing.assert_array_equal)(one, wanted)


def test_maxima_behind_weights_of_an_operator_are_refused(rng):
    read, x = reading(rng)

    def operator(_, x):
        return max_pool(read, _, read.convolution("", read.relu(x), 4, kernel=3))

    with pytest.raises(NotAnalyticError, match="it takes maxima behind fresh weights"):
        read.edges(x, np.array([[1.0]]), [operator], [""])


def max_pool(read, _, x):
    return read.max_pool(x, window=3, stride=1, padding=1)
