"""Statistics of spectra against closed forms and against routes without eigenvalues."""

import numpy as np
import pytest
from scipy.linalg import logm

import tenas_jax.ntk.spectrum as ntk
from tenas_jax.errors import InputError
from tenas_jax.ntk.spectrum import KernelStatistics, statistics


def rotated(eigenvalues, rng):
    basis = np.linalg.qr(rng.normal(size=(len(eigenvalues),) * 2))[0]
    return (basis * eigenvalues) @ basis.T


def test_statistics_of_known_eigenvalues(rng):
    eigenvalues = np.array([1.0, 1.0, 2.0, 4.0])
    found = statistics(rotated(eigenvalues, rng))
    # Shares 1/8, 1/8, 1/4, 1/2: entropy (3/8 + 3/8 + 2/4 + 1/2) log 2.
    expected = [4.0, 1.0, 8.0, 1.75 * np.log(2), 2**1.75]
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-12)
    assert found.health == "full rank"


def test_entropy_is_that_of_the_density_matrix(rng):
    """-trace(P log P) by a matrix logarithm, the trace from the diagonal, the rest from NumPy's norms."""
    factor = rng.normal(size=(6, 9))
    kernel = factor @ factor.T
    found = statistics(kernel)
    density = kernel / np.trace(kernel)
    np.testing.assert_allclose(found.entropy, -np.trace(density @ logm(density)), rtol=1e-10)
    np.testing.assert_allclose(found.trace, np.diagonal(kernel).sum(), rtol=1e-12)
    np.testing.assert_allclose(found.condition_number, np.linalg.cond(kernel), rtol=1e-9)
    np.testing.assert_allclose(1 / found.smallest_eigenvalue, np.linalg.norm(np.linalg.inv(kernel), 2), rtol=1e-9)
    np.testing.assert_allclose(found.effective_rank, np.exp(found.entropy), rtol=1e-12)


def test_effective_rank_counts_equal_directions(rng):
    for rank in (1, 3, 5):
        kernel = rotated(np.r_[np.zeros(5 - rank), np.full(rank, 7.0)], rng)
        found = statistics(kernel)
        np.testing.assert_allclose(found.effective_rank, rank, rtol=1e-10)
        assert found.health == ("full rank" if rank == 5 else "rank-deficient")
        assert np.isfinite(found.condition_number) == (rank == 5)


def test_stacks_are_treated_one_by_one(rng):
    kernels = np.stack([rotated(np.array([1.0, 2.0, 8.0]), rng), np.ones((3, 3)), np.full((3, 3), np.nan)])
    stack = statistics(kernels.reshape(3, 1, 3, 3))
    assert [field.shape for field in stack] == [(3, 1)] * len(KernelStatistics._fields)
    for index, kernel in enumerate(kernels):
        for whole, alone in zip(stack, statistics(kernel), strict=True):
            np.testing.assert_array_equal(whole[index, 0], alone)
    values, health = ntk.condition_numbers(kernels)
    np.testing.assert_array_equal(stack.condition_number[:, 0], values)
    np.testing.assert_array_equal(stack.health[:, 0], health)


def test_what_is_worst_says_so():
    zero = statistics(np.zeros((3, 3)))
    assert [float(value) for value in zero[:-1]] == [np.inf, 0, 0, -np.inf, 0]
    assert zero.health == "rank-deficient"
    broken = statistics(np.full((3, 3), np.inf))
    assert broken.condition_number == np.inf
    assert np.isnan(broken[1:-1]).all()
    assert broken.health == "not finite"


def test_bad_kernels_are_refused():
    with pytest.raises(InputError, match=r"must be floating-point \(..., n, n\); it is"):
        statistics(np.ones((2, 3)))
