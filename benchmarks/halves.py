"""The development half of a benchmark may choose settings; the other half only reports."""

import zlib


def in_development_half(name: str) -> bool:
    """Whether an architecture belongs to the development half.

    Args:
        name: NAS-Bench-201's isomorphism string, so that cells that the benchmark takes for equal stay together; for DARTS
            the printed genotype.
    """
    return zlib.crc32(name.encode()) % 2 == 0
