"""What may be pruned from a mask, and who of those that compete goes: pure functions on masks.

Operators compete on their edge. Where a node of a final architecture keeps some of its input edges only (DARTS), edges
compete once every edge has one operator left, node by node, cell by cell. A dropped edge holds "none".
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tenas_jax.search.budget import Budget
from tenas_jax.spaces.cell_graph import Mask
from tenas_jax.spaces.space import SearchSpace

NOTHING = np.zeros((0, 3), int)  # no candidates


def crowded_node(mask: Mask, space: SearchSpace) -> tuple[int, int] | None:
    """The first cell and node, in order, with more input edges than an architecture keeps there; None without any.

    Args:
        mask: the operators that are alive.
        space: the search space.
    """
    carrying = space.carries(mask)
    for cell, node in itertools.product(range(len(space.cells)), space.inner_nodes):
        if carrying[cell, space.entering(node)].sum() > space.kept(node):
            return cell, node
    return None


def surplus(mask: Mask, space: SearchSpace) -> int:
    """How many operators still have to go.

    Args:
        mask: the operators that are alive, without "none" on edges with a choice.
        space: the search space.
    """
    space.check(mask)
    final = sum(space.kept(node) for node in space.inner_nodes)
    return int(mask[..., space.carriers].sum()) - final * len(space.cells)


def candidates(mask: Mask, space: SearchSpace) -> Int[np.ndarray, "c 3"]:
    """(cell, edge, operator) of what may go: all that is alive on edges with a choice left, then the edges of a node.

    Args:
        mask: the operators that are alive.
        space: the search space.
    """
    options = np.argwhere(mask & (mask.sum(-1, keepdims=True) > 1))
    crowded = crowded_node(mask, space)
    if len(options) or crowded is None:
        return options
    cell, node = crowded
    return np.array(
        [(cell, e, o) for e in space.entering(node) for o in np.flatnonzero(mask[cell, e]) if o in space.carriers]
    )


def without(mask: Mask, pruned: Int[np.ndarray, "k 3"], space: SearchSpace) -> Mask:
    """The mask without some operators; an edge that has lost its last one holds "none".

    Args:
        mask: the operators that are alive; it stays as it is.
        pruned: cell, edge and operator of each.
        space: the search space.
    """
    mask = mask.copy()
    mask[tuple(pruned.T)] = False
    empty = ~mask.any(-1)
    if empty.any():
        mask[empty, space.none] = True
    return mask


class Contest(NamedTuple):
    """Who competes with whom in a step: operators of an edge, or edges of a node.

    Attributes:
        options: (c, 3) candidates.
        groups: (c,) the group of each.
        whole: the step is about edges.
    """

    options: Int[np.ndarray, "c 3"]
    groups: Int[np.ndarray, " c"]
    whole: bool

    def losers(
        self,
        total: Float[np.ndarray, " c"],
        tie_break: Int[np.ndarray, " c"],
        mask: Mask,
        space: SearchSpace,
        number: int,
        budget: Budget | None,
    ) -> Int[np.ndarray, "k 3"]:
        """The candidates with the smallest totals, `number` a group; the last one stays, or the edges to keep.

        Args:
            total: of each candidate.
            tie_break: of equal totals the smaller goes first.
            mask: the operators that are alive.
            space: the search space.
            number: how many go from a group; where edges go, all that a node has too many of.
            budget: none goes without which the mask would hold nothing that meets it; None for no limit.
        """
        gone = NOTHING
        for group in np.unique(self.groups):
            members = np.flatnonzero(self.groups == group)
            surplus = len(members) - (space.kept_edges or 0 if self.whole else 1)
            left = surplus if self.whole else min(number, surplus)
            for member in members[np.lexsort((tie_break[members], total[members]))]:
                tried = np.concatenate([gone, self.options[[member]]])
                if left and (budget is None or budget.cheapest(space, without(mask, tried, space)) is not None):
                    gone, left = tried, left - 1
        return gone


def contest(mask: Mask, space: SearchSpace) -> Contest:
    """Who competes next: the operators of every edge with a choice left, then the edges of the first crowded node.

    Args:
        mask: the operators that are alive.
        space: the search space.
    """
    options = candidates(mask, space)
    whole = bool((mask.sum(-1) <= 1).all())
    groups = np.zeros(len(options), int) if whole else options[:, 0] * mask.shape[1] + options[:, 1]
    return Contest(options, groups, whole)
