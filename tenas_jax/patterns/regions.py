"""Linear regions: how many activation patterns a thin network shows on a sample of inputs.

A ReLU network is linear wherever its pattern of active neurons does not change, so the number of distinct patterns among
sampled inputs estimates its number of linear regions (Hanin and Rolnick 2019; TE-NAS, Chen et al. 2021, section 3.1.2).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt32

from tenas_jax.patterns.activations import ActivationPatterns, bits_of

SATURATED = 0.95


@dataclass(frozen=True)
class LinearRegions:
    """A count of linear regions with its health.

    Attributes:
        count: distinct patterns.
        samples: patterns looked at; the count can never be larger.
        saturated: whether the count is above 95 % of the samples, where it says little.
    """

    count: int
    samples: int
    saturated: bool


def hash_patterns(patterns: Bool[Array, "samples bits"]) -> UInt32[Array, "samples 2"]:
    """Two 32-bit words a pattern: sums of fixed random odd numbers over the active neurons, modulo 2^32.

    Two different patterns agree in a word with probability at most 2^-31 over the draw of the numbers, so among n
    patterns the chance of any false match is below n^2 / 2^63.

    Args:
        patterns: (samples, bits).

    Returns:
        (samples, 2).
    """
    multipliers = np.random.default_rng(0).integers(2**32, size=(2, patterns.shape[1]), dtype=np.uint32) | np.uint32(1)
    words = [jnp.where(patterns, row, np.uint32(0)).sum(1, dtype=jnp.uint32) for row in multipliers[:, None, :]]
    return jnp.stack(words, axis=1)


def count_hashes(words: UInt32[Array, "samples 2"]) -> Int[Array, ""]:
    """The number of distinct rows; jittable.

    Args:
        words: (samples, 2) from `hash_patterns`, of one or several batches.

    Returns:
        Their number, int32.
    """
    first, second = jax.lax.sort((words[:, 0], words[:, 1]), num_keys=2)
    differs = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return 1 + differs.sum(dtype=jnp.int32)


def linear_regions(count: int, samples: int) -> LinearRegions:
    """A count with its health.

    Args:
        count: distinct patterns.
        samples: patterns looked at.
    """
    return LinearRegions(int(count), samples, count > SATURATED * samples)


def count_linear_regions(patterns: Bool[Array, "samples bits"] | ActivationPatterns) -> LinearRegions:
    """Counts the distinct activation patterns of a sample.

    Args:
        patterns: from `activation_patterns`, or bool (samples, bits), one row an input, one column a ReLU.

    Returns:
        The count, the number of samples and whether the count is saturated.

    Raises:
        InputError: where the patterns are not a two-dimensional bool array, or empty.

    Examples:
        >>> import numpy as np
        >>> count_linear_regions(np.array([[True, False], [True, True], [True, False]]))
        LinearRegions(count=2, samples=3, saturated=False)
    """
    bits = jnp.asarray(bits_of(patterns))
    return linear_regions(int(count_hashes(hash_patterns(bits))), len(bits))
