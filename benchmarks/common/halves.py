"""Parts of a benchmark: two halves, of which the development half may choose settings; cells without idle operators."""

import zlib

import numpy as np

from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.nasbench201_cells import isomorphism_string


def in_development_half(name: str) -> bool:
    """Whether an architecture belongs to the development half.

    Args:
        name: NAS-Bench-201's isomorphism string, so that cells that the benchmark takes for equal stay together; for DARTS
            the printed genotype.
    """
    return zlib.crc32(name.encode()) % 2 == 0


def is_on_paths(mask: np.ndarray) -> bool:
    """Whether every operator of a cell of NAS-Bench-201 but `none` lies on a path from its input to its output.

    9,445 of its 15,625 cells are such, the empty one among them. Týbl and Neumann (CVPR 2025) rank these alone.

    Args:
        mask: bool (1, edges, operators), one operator an edge.
    """
    none = NAS_BENCH_201.operators.index("none")
    carrying = [edge for edge, row in zip(NAS_BENCH_201.edges, mask[0], strict=True) if not row[none]]
    last = max(target for _, target in NAS_BENCH_201.edges)
    from_input, to_output = {0}, {last}
    # Edges are sorted by their target, and a source comes before its target.
    for source, target in carrying:
        if source in from_input:
            from_input.add(target)
    for source, target in reversed(carrying):
        if target in to_output:
            to_output.add(source)
    return all(source in from_input and target in to_output for source, target in carrying)


def halves(names: list[str], space) -> dict[str, np.ndarray]:
    """Rows of all architectures, of the two halves and, on NAS-Bench-201, of the cells without idle operators."""
    if space is not NAS_BENCH_201:
        development = np.array([in_development_half(name) for name in names])
        return {"all": np.ones_like(development), "development half": development, "other half": ~development}
    masks = [space.parse(name) for name in names]
    development = np.array([in_development_half(isomorphism_string(mask)) for mask in masks])
    return {
        "all": np.ones_like(development),
        "development half": development,
        "other half": ~development,
        "on paths": np.array([is_on_paths(mask) for mask in masks]),
    }
