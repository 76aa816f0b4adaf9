"""All architectures of a small space that meet some limits: what a budget asks of measures that do not add up."""

from functools import lru_cache
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from tenas_jax.errors import InputError
from tenas_jax.search.measures import Measure
from tenas_jax.spaces.cell_graph import Mask
from tenas_jax.spaces.space import Masks, SearchSpace


class Limits(Protocol):
    """What is needed of a budget; hashable, with the same answers whenever it is asked."""

    def excess(self, space: SearchSpace, masks: Masks) -> Float[np.ndarray, " m"]:
        """At most 1 for what meets the limits; the smaller, the further below.

        Args:
            space: the search space.
            masks: (m, cells, edges, operators).
        """
        ...

    def meet(self, space: SearchSpace, masks: Masks) -> Bool[np.ndarray, " m"]:
        """Which architectures meet the limits.

        Args:
            space: the search space.
            masks: (m, cells, edges, operators).
        """
        ...


@lru_cache(maxsize=8)
def _affordable(limits: Limits, space: SearchSpace) -> tuple[Int[np.ndarray, "m cells edges"], Float[np.ndarray, " m"]]:
    """Operator numbers of the architectures that meet the limits, and how much of the limits they use; the least first."""
    masks = space.enumerated()
    masks = masks[limits.meet(space, masks)]
    excess = limits.excess(space, masks) if len(masks) else np.zeros(0)
    order = np.argsort(excess, kind="stable")
    return masks.argmax(-1)[order], excess[order]


def _inside(choices: Int[np.ndarray, "m cells edges"], mask: Mask, space: SearchSpace) -> Bool[np.ndarray, " m"]:
    """Which architectures a mask holds; where a node chooses its inputs, every edge can be dropped."""
    alive = mask.copy()
    if space.chooses_inputs:
        alive[..., space.none] = True
    cells, edges = np.indices(mask.shape[:2])
    return np.asarray(alive[cells, edges, choices].all((1, 2)))


def _of(limits: Limits, space: SearchSpace, mask: Mask) -> Int[np.ndarray, "m cells edges"]:
    choices, _ = _affordable(limits, space)
    return choices[_inside(choices, mask, space)]


def held(limits: Limits, space: SearchSpace, mask: Mask) -> Mask:
    """The operators of a mask that some architecture holds which the mask holds and which meets the limits.

    Args:
        limits: a budget.
        space: one that is small enough to go through.
        mask: the operators that are alive.
    """
    return np.asarray(space.one_hot(_of(limits, space, mask)).any(0))


def count(limits: Limits, space: SearchSpace, mask: Mask) -> int:
    """How many architectures a mask holds that meet the limits.

    Args:
        limits: a budget.
        space: one that is small enough to go through.
        mask: the operators that may stand on an edge.
    """
    return len(_of(limits, space, mask))


def cheapest(
    limits: Limits, space: SearchSpace, mask: Mask, holding: tuple[int, int, int] | None = None
) -> Mask | None:
    """Of the architectures that a mask holds and that meet the limits, the furthest below them; None where there is none.

    Args:
        limits: a budget.
        space: one that is small enough to go through.
        mask: the operators that are alive.
        holding: cell, edge and operator that the architecture has to hold.
    """
    if holding is not None:
        mask = mask.copy()
        mask[holding[:2]] = False
        mask[holding] = True
    found = _of(limits, space, mask)
    if holding is not None:
        found = found[found[:, holding[0], holding[1]] == holding[2]]
    return space.one_hot(found[0]) if len(found) else None


def nearest(
    limits: Limits,
    space: SearchSpace,
    rng: np.random.Generator,
    choice: Int[np.ndarray, "cells edges"],
    mask: Mask,
) -> Int[np.ndarray, "cells edges"]:
    """Of the architectures that a mask holds and that meet the limits, one that differs on the fewest edges.

    Args:
        limits: a budget.
        space: one that is small enough to go through.
        rng: decides which, where several are as near.
        choice: operator numbers of any architecture.
        mask: the operators that may stand on an edge.

    Raises:
        InputError: where the mask holds no architecture that meets the limits.
    """
    found = _of(limits, space, mask)
    if not len(found):
        raise InputError(f"the mask holds no architecture that meets the limits {limits}; raise them.")
    differing = (found != choice).sum((1, 2))
    places = np.flatnonzero(differing == differing.min())
    return found[places[0] if len(places) == 1 else rng.choice(places)].copy()


def least(space: SearchSpace, measure: Measure, mask: Mask) -> float:
    """The least of a measure among architectures in which some input reaches the output; NaN where none has a value.

    Args:
        space: one that is small enough to go through.
        measure: of what.
        mask: the operators that may stand on an edge.
    """
    masks = space.enumerated()
    masks = masks[_inside(masks.argmax(-1), mask, space)]
    values = measure.values(space, masks[space.connected(masks)]).astype(float)
    values = values[np.isfinite(values)]
    return float(values.min()) if len(values) else float("nan")
