"""Cheap architectures of a space in which not every choice of options is one: from valid ones down, a change at a time.

The cheapest option of every decision need not be an architecture there, so that prices alone do not say what is cheapest.
What is found is valid and costs what it says; what is not found may yet be there.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from tenas_jax.spaces.cell_graph import Mask
from tenas_jax.spaces.sampling import holding_one, valid_completions
from tenas_jax.spaces.space import SearchSpace

STARTS = 256  # architectures that are drawn, of which the cheapest is where a descent begins

Place = tuple[int, int, int]
Price = Callable[[np.ndarray], np.ndarray]


def lowest(
    space: SearchSpace, mask: Mask, price: Price, holding: Place | None = None, enough: float = -np.inf
) -> tuple[Mask, float] | None:
    """A cheap valid architecture that a mask holds, and its price; None where no valid one is drawn.

    Args:
        space: one with a `validity`.
        mask: the options that are alive.
        price: of masks (m, cells, edges, operators), (m,).
        holding: cell, edge and operator that the architecture has to hold.
        enough: the price at which the descent ends.
    """
    held = space.eligible(mask if holding is None else holding_one(mask, holding))
    count = max(STARTS, int(held.sum(-1).max()))
    drawn = space.one_hot(valid_completions(jax.random.key(0), held, count, space))
    if not len(drawn):
        return None
    prices = price(drawn)
    found, now = drawn[int(prices.argmin())], float(prices.min())
    while now > enough:
        changed = neighbours(space, found, held)
        prices = price(changed) if len(changed) else np.array([np.inf])
        if not prices.min() < now:
            break
        found, now = changed[int(prices.argmin())], float(prices.min())
    return found, now


def neighbours(space: SearchSpace, found: Mask, alive: Mask) -> Any:
    """The valid architectures that are another option of one decision away (m, cells, edges, operators).

    Args:
        space: the search space.
        found: a single architecture.
        alive: the options that can be taken.
    """
    cells, edges, operators = np.nonzero(alive & ~found)
    changed = np.repeat(found[None], len(cells), axis=0)
    rows = np.arange(len(cells))
    changed[rows, cells, edges] = False
    changed[rows, cells, edges, operators] = True
    return changed[space.valid(changed)] if len(changed) else changed


def unaffordable(space: SearchSpace, mask: Mask, excess: Price) -> np.ndarray:
    """The options that are alive and in no architecture that was found to meet limits: cell, edge, operator of each.

    Args:
        space: one with a `validity`.
        mask: the options that are alive.
        excess: at most 1 for what meets the limits.
    """
    alive = space.eligible(mask)
    drawn = space.one_hot(valid_completions(jax.random.key(0), alive, max(STARTS, int(alive.sum(-1).max())), space))
    seen = drawn[excess(drawn) <= 1].any(0) if len(drawn) else np.zeros_like(alive)
    gone = []
    for place in map(tuple, np.argwhere(alive & ~seen).tolist()):
        cheap = None if seen[place] else lowest(space, mask, excess, place, 1.0)
        if cheap is not None and cheap[1] <= 1:
            seen |= cheap[0]
        elif not seen[place]:
            gone.append(place)
    return np.array(gone, int).reshape(-1, 3)
