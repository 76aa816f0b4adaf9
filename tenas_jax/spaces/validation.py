"""What a search space must be: whatever is wrong with a definition is said when it is made."""

import re
from collections.abc import Mapping
from typing import Any

from tenas_jax.errors import InputError
from tenas_jax.spaces.cell_graph import NONE, CellGraph
from tenas_jax.spaces.operators import OPERATORS
from tenas_jax.spaces.skeleton import PURPOSES, Skeleton


def check_cells(space: CellGraph) -> None:
    """Refuses what are no cells.

    Args:
        space: with its fields set.

    Raises:
        InputError: for unknown, equal or ill-formed names, or edges that are out of order or leave nodes alone.
    """
    if space.decisions:
        _names((space.name,), "name")
    else:
        _check_names(space)
        _check_edges(space)


def _names(values: Any, what: str) -> None:
    good = isinstance(values, tuple) and all(isinstance(v, str) and re.fullmatch(r"[\w-]+", v) for v in values)
    if not good or not values or len(set(values)) < len(values):
        raise InputError(
            f"`{what}` of a search space must be different names of letters, digits, - and _, as a tuple; it is {values!r}."
        )


def _check_names(space: CellGraph) -> None:
    _names((space.name,), "name")
    _names(space.operators, "operators")
    _names(space.cells, "cells")
    _check_mapping(space, "definitions", space.definitions)
    for name, definition in space.definitions.items():
        if name in OPERATORS or not callable(definition):
            raise InputError(
                f"`definitions` must hold functions under new names; {name!r} "
                f"{'is one of the operators that there are, choose another name' if name in OPERATORS else 'is none'}."
            )
    for name in space.operators:
        if name not in OPERATORS and name not in space.definitions:
            known = ", ".join([*OPERATORS, *space.definitions])
            raise InputError(f"the operator {name!r} of {space.name} is unknown; define it, or take one of {known}.")
    if space.operators == (NONE,) or (space.chooses_inputs and NONE not in space.operators):
        raise InputError(
            f"`operators` of {space.name} must hold one that carries a signal, and, where nodes keep some of their edges, "
            f'"none"; they are {", ".join(space.operators)}.'
        )


def _check_edges(space: CellGraph) -> None:
    if not isinstance(space.inputs, int) or space.inputs < 1:
        raise InputError(f"`inputs` of {space.name} must be a whole number from 1; it is {space.inputs!r}.")
    if space.kept_edges is not None and (not isinstance(space.kept_edges, int) or space.kept_edges < 1):
        raise InputError(
            f"`kept_edges` of {space.name} must be None or a whole number from 1; it is {space.kept_edges!r}."
        )
    pairs = isinstance(space.edges, tuple) and all(
        isinstance(edge, tuple) and [type(node) for node in edge] == [int, int] for edge in space.edges
    )
    if not pairs or not space.edges:
        raise InputError(f"`edges` of {space.name} must be a tuple of (source, target) pairs; it is {space.edges!r}.")
    for source, target in space.edges:
        if not 0 <= source < target or target < space.inputs:
            raise InputError(
                f"an edge of {space.name} must lead to a later node that is no input; ({source}, {target}) does not."
            )
    if list(space.edges) != sorted(set(space.edges), key=lambda edge: edge[::-1]):
        raise InputError(
            f"`edges` of {space.name} must be different and sorted by target, then by source; see `complete_edges`."
        )
    entered = {target for _, target in space.edges}
    for node in space.inner_nodes:
        if node not in entered:
            raise InputError(f"no edge of {space.name} enters node {node}; add one, or number the nodes without gaps.")
    left = {source for source, _ in space.edges}
    for node in range(space.nodes - 1):
        if space.inputs == 1 and node not in left:
            raise InputError(f"no edge of {space.name} leaves node {node}; add one: the last node alone is the output.")


def _check_mapping(space: CellGraph, what: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise InputError(f"`{what}` of {space.name} must be a dict; it is {value!r}.")


def check_network(space: CellGraph, network: Any, skeletons: Any) -> None:
    """Refuses a network that cannot be stacked.

    Args:
        space: its cells.
        network: how cells are stacked; None for that of the space's family.
        skeletons: sizes by purpose.

    Raises:
        InputError: for skeletons or a network of another type, or cells that no network stacks.
    """
    _check_mapping(space, "skeletons", skeletons)
    wrong = [key for key, value in skeletons.items() if key not in PURPOSES or not isinstance(value, Skeleton)]
    if wrong:
        raise InputError(
            f"`skeletons` of {space.name} must hold `Skeleton`s under {', '.join(PURPOSES)}; {wrong[0]!r} is wrong."
        )
    if network is not None:
        if not callable(network):
            raise InputError(f"`network` of {space.name} must be a function or None; it is {network!r}.")
    elif space.decisions:
        if getattr(space, "like", None) is None:
            raise InputError(
                f"a space of decisions needs a `network`, a function that reads them; {space.name} has none."
            )
    elif (space.inputs, len(space.cells)) not in ((1, 1), (2, 2)):
        raise InputError(
            f"without a custom `network` a space has cells of one kind with one input (NAS-Bench-201) or of two kinds "
            f"with two inputs (DARTS); {space.name} has {len(space.cells)} with {space.inputs}."
        )
