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
    expected = [4.0, 1.0, 8.0, 8.0, 1.75 * np.log(2), 2**1.75]
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
    assert [float(value) for value in zero[:-1]] == [np.inf, 0, 0, np.inf, -np.inf, 0]
    assert zero.health == "rank-deficient"
    broken = statistics(np.full((3, 3), np.inf))
    assert broken.condition_number == broken.trace_over_smallest == np.inf
    assert np.isnan([broken.smallest_eigenvalue, broken.trace, broken.entropy, broken.effective_rank]).all()
    assert broken.health == "not finite"


def test_bad_kernels_are_refused():
    with pytest.raises(InputError, match=r"must be floating-point \(..., n, n\); it is"):
        statistics(np.ones((2, 3)))


# --- kernels at the ends of their range -----------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e200, 9e307, 1.7e308])
def test_scale_changes_no_condition_number(scale, rng):
    """Above 9e307 the sum of two entries overflows."""
    kernel = np.array([[1.0, 0.5], [0.5, 0.75]])
    found = statistics(kernel * scale)
    expected = statistics(kernel)
    tolerance = 1e-12 if scale > 1e-300 else 1e-3  # where numbers have few digits
    np.testing.assert_allclose(found.condition_number, expected.condition_number, rtol=tolerance)
    np.testing.assert_allclose(found.entropy, expected.entropy, rtol=tolerance)
    assert found.health == "full rank"
    assert np.isfinite(found.smallest_eigenvalue)
    assert ntk.condition_number(np.full((3, 3), scale)).health == "rank-deficient"


def test_kernels_that_are_not_symmetric_are_refused(rng):
    left, right = rng.normal(size=(2, 4, 9))
    with pytest.raises(InputError, match=r"must be symmetric; entries \(i, j\) and \(j, i\) differ by"):
        ntk.condition_number(left @ right.T)
    with pytest.raises(InputError, match="pass that of one batch"):
        statistics(np.stack([left @ left.T, left @ right.T]))
    # Rounding is not meant, and what is not finite is said as before.
    kernel = (left @ left.T).astype(np.float32)
    kernel[0, 1] *= np.float32(1 + 1e-5)
    assert ntk.condition_number(kernel).health == "full rank"
    assert ntk.condition_number(np.where(np.eye(4) > 0, np.nan, left @ right.T)).health == "not finite"


def test_half_precision_kernels_are_read(rng):
    import jax.numpy as jnp

    kernel = rotated(np.array([1.0, 2.0, 8.0]), rng)
    for dtype in (jnp.bfloat16, jnp.float16):
        value, health = ntk.condition_number(jnp.asarray(kernel, dtype))
        assert health == "full rank"
        np.testing.assert_allclose(value, 8.0, rtol=0.1)
    assert ntk.condition_number(jnp.ones((3, 3), jnp.bfloat16)).health == "rank-deficient"
