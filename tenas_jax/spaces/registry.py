"""The search spaces that there are, by name, and custom ones by reference."""

from typing import Any

from tenas_jax.errors import InputError
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.mnasnet import MNASNET
from tenas_jax.spaces.nasbench101 import NAS_BENCH_101
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.nasbench_macro import NAS_BENCH_MACRO
from tenas_jax.spaces.references import find_source
from tenas_jax.spaces.space import SearchSpace, space_from
from tenas_jax.spaces.transnas_macro import TRANSNAS_MACRO
from tenas_jax.spaces.transnas_micro import TRANSNAS_MICRO

SPACES = {
    space.name: space
    for space in (NAS_BENCH_201, DARTS, NAS_BENCH_101, NAS_BENCH_MACRO, MNASNET, TRANSNAS_MICRO, TRANSNAS_MACRO)
}


def find_space(reference: str) -> SearchSpace:
    """A search space by its name, or a custom one.

    Args:
        reference: one of `SPACES`, or `FILE.py:NAME` or `package.module:NAME`, where NAME is a `SearchSpace`.

    Raises:
        InputError: where there is no such space.
    """
    if reference in SPACES:
        return SPACES[reference]
    if ":" not in reference:
        raise InputError(
            f"the search space {reference!r} is unknown; choose one of {', '.join(SPACES)}, or FILE.py:NAME."
        )
    return space_from(find_source(reference))


def identity_of(space: SearchSpace) -> Any:
    """What decides a space, as JSON: the name of one of ours; of another one its definition and the hash of its code.

    Args:
        space: the search space.
    """
    if space in SPACES.values():
        return space.name
    return {
        "name": space.name,
        "operators": list(space.operators),
        "cells": list(space.cells),
        "inputs": space.inputs,
        "edges": [list(edge) for edge in space.edges],
        "kept_edges": space.kept_edges,
        **({"decisions": [[d.name, list(d.options)] for d in space.decisions]} if space.decisions else {}),
        "skeletons": {purpose: list(skeleton) for purpose, skeleton in space.skeletons.items()},
        "code_sha256": space.source and space.source.sha256(),
    }
