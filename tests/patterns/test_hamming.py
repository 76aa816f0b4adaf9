"""The Hamming kernel of activation patterns."""

import jax.numpy as jnp
import numpy as np
import pytest

import tenas_jax
from tenas_jax.ntk.spectrum import log_determinants
from tenas_jax.patterns.hamming import (
    effective_regions,
    hamming_kernel,
    independent_patterns,
    regularised_log_determinant,
)


def test_kernel_counts_agreements(rng):
    patterns = rng.random((7, 33)) > 0.4
    counted = [[sum(x == y for x, y in zip(a, b, strict=True)) for b in patterns] for a in patterns]
    assert np.array_equal(hamming_kernel(jnp.asarray(patterns)), counted)


def test_dead_neurons_are_left_out(rng):
    patterns = rng.random((7, 33)) > 0.4
    padded = np.concatenate([patterns, np.zeros((7, 20), bool)], axis=1)
    assert np.array_equal(hamming_kernel(jnp.asarray(padded), neurons=33), hamming_kernel(jnp.asarray(patterns)))


def test_log_determinants_are_numpys(rng):
    kernels = np.stack([np.asarray(hamming_kernel(jnp.asarray(rng.random((9, 50)) > 0.5))) for _ in range(3)])
    values, health = log_determinants(kernels)
    np.testing.assert_allclose(values, np.linalg.slogdet(kernels)[1], rtol=1e-12)
    assert (health == "full rank").all()


def test_equal_patterns_are_the_worst(rng):
    patterns = rng.random((6, 40)) > 0.5
    patterns[1] = patterns[4]
    value, health = log_determinants(hamming_kernel(jnp.asarray(patterns)))
    assert value == -np.inf
    assert health == "rank-deficient"


def test_effective_regions_of_far_patterns_are_the_exponential_of_their_entropy(rng):
    patterns = rng.random((4, 400)) > 0.5  # about 200 neurons apart
    copies = np.repeat(patterns, [1, 2, 3, 6], axis=0)
    shares = np.array([1, 2, 3, 6]) / 12
    np.testing.assert_allclose(effective_regions(jnp.asarray(copies)), np.prod(shares**-shares), rtol=1e-12)


def test_effective_regions_by_hand(rng):
    patterns = rng.random((5, 3)) > 0.5
    distance = (patterns[:, None] != patterns[None]).sum(-1)
    expected = np.exp(-np.mean([np.log(np.mean([np.exp(-d) for d in row])) for row in distance]))
    found = float(effective_regions(jnp.asarray(patterns)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert 1 <= found <= len(np.unique(patterns, axis=0))


def test_what_is_not_a_pattern_is_refused():
    for wrong in (np.ones(3, bool), np.ones((3, 4)), np.ones((0, 4), bool)):
        with pytest.raises(tenas_jax.InputError, match="`patterns` must be bool"):
            hamming_kernel(jnp.asarray(wrong))


def test_regularised_log_determinant_is_a_sum_over_eigenvalues(rng):
    patterns = rng.random((9, 50)) > 0.5
    signs = np.where(patterns, 1.0, -1.0)
    eigenvalues = np.linalg.eigvalsh((50 + signs @ signs.T) / 2)
    value = regularised_log_determinant(hamming_kernel(jnp.asarray(patterns)))
    np.testing.assert_allclose(value, np.log1p(eigenvalues).sum(), rtol=1e-12)


def test_an_input_of_a_known_pattern_adds_little(rng):
    """By the Schur complement: log(1 + k_00 - k_0 (K + I)^-1 k_0), below log 2."""
    patterns = rng.random((8, 40)) > 0.5
    repeated = np.concatenate([patterns, patterns[:1]])
    new = np.concatenate([patterns, rng.random((1, 40)) > 0.5])
    kernels = [hamming_kernel(jnp.asarray(rows)) for rows in (patterns, repeated, new)]
    base, again, more = (float(regularised_log_determinant(kernel)) for kernel in kernels)
    kernel = np.asarray(kernels[0])
    row = kernel[0]
    np.testing.assert_allclose(again - base, np.log(1 + row[0] - row @ np.linalg.solve(kernel + np.eye(8), row)))
    assert 0 < again - base < np.log(2) < more - base


def test_independent_patterns_are_the_participation_ratio_of_eigenvalues(rng):
    layers = [rng.random((6, 40)) < share for share in (0.2, 0.5, 0.9)]
    ratios = []
    for bits in layers:
        eigenvalues = np.linalg.eigvalsh(np.cov(bits.astype(float), rowvar=False))
        ratios.append(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
    expected = np.exp(np.log(ratios).mean())
    dead = np.zeros((6, 10), bool)
    assert np.isclose(float(independent_patterns([jnp.asarray(bits) for bits in (*layers, dead)])), expected)
    # Channels that are off for all change nothing either.
    assert np.isclose(float(independent_patterns([jnp.asarray(np.hstack([bits, dead])) for bits in layers])), expected)
    assert float(independent_patterns([jnp.asarray(dead)])) == 0
