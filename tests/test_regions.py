"""Linear regions: exact against sets of rows, and against the breakpoints of a one-dimensional network."""

import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.errors import InputError
from tenas_jax.regions import count_linear_regions


@pytest.mark.parametrize(("samples", "bits"), [(1, 3), (500, 4), (1000, 40), (2000, 300)])
def test_equals_a_set_of_rows(rng, samples, bits):
    patterns = rng.random((samples, bits)) > 0.5
    patterns[samples // 2 :] = patterns[: samples - samples // 2]  # every pattern twice
    result = count_linear_regions(jnp.asarray(patterns))
    assert result.count == len({row.tobytes() for row in patterns})
    assert result.samples == samples


def test_neighbours_differ(rng):
    """Patterns that differ in one or two bits: what a careless hash confuses."""
    base = rng.random(60) > 0.5
    pairs = [base ^ (np.arange(60) == i) ^ (np.arange(60) == j) for i in range(60) for j in range(i)]
    assert count_linear_regions(jnp.asarray(pairs)).count == len(pairs)


def test_one_dimensional_network(rng):
    """ReLUs at known breakpoints cut an interval into one region more than they are."""
    breakpoints = np.sort(rng.uniform(-1, 1, 12))
    x = np.linspace(-1.1, 1.1, 20_001)
    patterns = x[:, None] > breakpoints
    assert count_linear_regions(jnp.asarray(patterns)).count == 13


def test_saturation():
    assert count_linear_regions(jnp.eye(50, dtype=bool)).saturated
    assert not count_linear_regions(jnp.zeros((50, 4), bool)).saturated


def test_bad_input():
    for patterns in (jnp.zeros((3, 4)), jnp.zeros(4, bool), jnp.zeros((0, 4), bool)):
        with pytest.raises(InputError, match="`patterns` must be bool"):
            count_linear_regions(patterns)
