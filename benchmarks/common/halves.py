"""The development half of a benchmark may choose settings; the other half only reports."""

import zlib

import numpy as np

from tenas_jax.spaces.equal_cells import isomorphism_string
from tenas_jax.spaces.space import NAS_BENCH_201


def in_development_half(name: str) -> bool:
    """Whether an architecture belongs to the development half.

    Args:
        name: NAS-Bench-201's isomorphism string, so that cells that the benchmark takes for equal stay together; for DARTS
            the printed genotype.
    """
    return zlib.crc32(name.encode()) % 2 == 0


def halves(names: list[str], space) -> dict[str, np.ndarray]:
    """Rows of all architectures and of the two halves."""
    strings = [isomorphism_string(space.parse(name)) for name in names] if space is NAS_BENCH_201 else names
    development = np.array([in_development_half(string) for string in strings])
    return {"all": np.ones_like(development), "development half": development, "other half": ~development}
