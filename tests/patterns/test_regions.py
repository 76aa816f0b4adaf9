"""Linear regions: exact against sets of rows, and against the breakpoints of a one-dimensional network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from tenas_jax.errors import InputError
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.patterns.regions import SATURATED, count_hashes, count_linear_regions, hash_patterns
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.registry import SPACES


def rows(patterns):
    return len({row.tobytes() for row in np.asarray(patterns)})


@pytest.mark.parametrize(("samples", "bits"), [(1, 3), (500, 4), (1000, 40), (2000, 300)])
def test_equals_a_set_of_rows(rng, samples, bits):
    patterns = rng.random((samples, bits)) > 0.5
    patterns[samples // 2 :] = patterns[: samples - samples // 2]  # every pattern twice
    result = count_linear_regions(jnp.asarray(patterns))
    assert result.count == rows(patterns)
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


@settings(max_examples=100, deadline=None)
@given(patterns=arrays.arrays(bool, (12, 3)))
def test_any_patterns(patterns):
    assert count_linear_regions(jnp.asarray(patterns)).count == rows(patterns)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_patterns_of_the_thin_cell(rng, channels, seed):
    """Real patterns: of the supernet, of a path, and of a cell without a convolution."""
    skeleton = SPACES["nasbench201"].skeleton("regions")._replace(channels=channels)
    net = CellNetwork(NAS_BENCH_201, skeleton)
    patches = jnp.asarray(rng.normal(size=(3, 3, channels)) + 0.05 * rng.normal(size=(600, 3, 3, channels)))
    full = np.ones(NAS_BENCH_201.mask_shape, bool)
    variables = net.initial(jax.random.key(seed), patches.shape, patches.dtype, full)
    path = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|"
    skips = "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"
    counts = []
    for mask in (NAS_BENCH_201.supernet(), NAS_BENCH_201.parse(path), NAS_BENCH_201.parse(skips)):
        bits = net.apply(variables, patches, mask, method="activation_bits")
        result = count_linear_regions(bits)
        assert result.count == rows(bits)
        assert result.saturated == (result.count > SATURATED * 600)
        counts.append(result.count)
    assert len(set(counts)) == 3


def test_batches_are_counted_together(rng):
    """Hashes of two batches may be concatenated: a pattern that both show counts once."""
    patterns = rng.random((400, 6)) > 0.5
    words = [hash_patterns(jnp.asarray(part)) for part in np.split(patterns, 4)]
    assert int(jax.jit(count_hashes)(jnp.concatenate(words))) == rows(patterns)


@pytest.mark.parametrize("seed", range(5))
def test_two_layers_in_one_dimension(seed):
    """A pattern changes exactly where a neuron crosses zero. The first layer's crossings are known; between two of
    them the second layer is linear, so that its own follow from the values at both ends."""
    rng = np.random.default_rng(seed)
    first, shift, second, offset = (rng.normal(size=shape) for shape in ((8,), (8,), (8, 6), (6,)))

    def layers(x):
        hidden = np.maximum(x[:, None] * first + shift, 0)
        return x[:, None] * first + shift, hidden @ second + offset

    ends = np.sort([-3, 3, *(b for b in -shift / first if abs(b) < 3)])
    left, right = layers(ends)[1][:-1], layers(ends)[1][1:]
    piece, neuron = np.nonzero(left * right < 0)
    fall = left[piece, neuron] / (left - right)[piece, neuron]
    crossings = np.sort([*ends, *(ends[piece] + fall * (ends[piece + 1] - ends[piece]))])
    # One sample in every interval between neighbouring crossings, and one more: a twin.
    x = np.repeat((crossings[1:] + crossings[:-1]) / 2, 2)
    patterns = np.concatenate(layers(x), axis=1) > 0
    expected = rows(patterns)
    assert count_linear_regions(jnp.asarray(patterns)).count == expected
    # Neighbouring intervals always differ; only intervals that are apart may share a pattern.
    assert (patterns[1:-1:2] != patterns[2::2]).any(1).all()
    assert expected <= len(crossings) - 1
