"""Cheap architectures of a space in which not every choice of options is one: from valid ones down, by small changes.

The cheapest option of every decision need not be an architecture there, so that prices alone do not say what is cheapest.
What is found is valid and costs what it says; what is not found may yet be there.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from tenas_jax.spaces.cell_graph import Mask
from tenas_jax.spaces.sampling import holding_one, valid_completions
from tenas_jax.spaces.space import SearchSpace

MOST_CHANGED = 10_000  # architectures that are so many changes away, and looked at together
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
    usual = _usual_prices(drawn, prices)

    def best(masks):
        """The cheapest; of equal ones that whose options are usually cheap, since what is dead now may be used next."""
        costs = price(masks)
        place = np.lexsort(((masks * usual).sum((1, 2, 3)), costs))[0]
        return masks[place], (float(costs[place]), float((masks[place] * usual).sum()))

    (found, now), changes = best(drawn), 1
    while now[0] > enough and changes <= 3 and math.comb(int((held & ~found).sum()), changes) <= MOST_CHANGED:
        changed = neighbours(space, found, held, changes)
        other, then = best(changed) if len(changed) else (found, now)
        found, now, changes = (other, then, 1) if then < now else (found, now, changes + 1)
    return found, now[0]


def _usual_prices(drawn: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """Of every option the mean price of the architectures that hold it (cells, edges, operators)."""
    finite = np.isfinite(prices)
    count = drawn[finite].sum(0)
    return np.tensordot(prices[finite], drawn[finite], 1) / np.maximum(count, 1)


def neighbours(space: SearchSpace, found: Mask, alive: Mask, changes: int) -> Any:
    """The valid architectures that are other options of so many decisions away (m, cells, edges, operators).

    Args:
        space: the search space.
        found: a single architecture.
        alive: the options that can be taken.
        changes: of how many decisions.
    """
    places = np.argwhere(alive & ~found)
    if len(places) < changes:
        return np.zeros((0, *found.shape), bool)
    pairs = np.array(list(itertools.combinations(range(len(places)), changes)), int).reshape(-1, changes)
    cells, edges, operators = places[pairs].transpose(2, 0, 1)
    decisions = cells * alive.shape[1] + edges
    # Of two options of one decision the second would be taken.
    ordered = np.sort(decisions, axis=1)
    apart = (ordered[:, 1:] > ordered[:, :-1]).all(1)
    cells, edges, operators = cells[apart], edges[apart], operators[apart]
    changed = np.repeat(found[None], len(cells), axis=0)
    rows = np.arange(len(cells))[:, None]
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
    unseen, gone = alive, []
    if len(drawn):
        unseen = alive & ~np.any(drawn[excess(drawn) <= 1], axis=0)
    for cell, edge, operator in np.argwhere(unseen).tolist():
        cheap = lowest(space, mask, excess, (cell, edge, operator), 1.0) if unseen[cell, edge, operator] else None
        if cheap is not None and cheap[1] <= 1:
            unseen = unseen & ~cheap[0]
        elif unseen[cell, edge, operator]:
            gone.append((cell, edge, operator))
    return np.array(gone, int).reshape(-1, 3)
