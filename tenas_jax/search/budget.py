"""Budgets on cost: which architectures meet them, and which operators of a mask still can.

A cost is a sum over edges (`cost.py`), so the cheapest architecture that a mask holds has the cheapest operator on every
edge and, where a node keeps some of its input edges only, the cheapest edges. As long as that one meets the limits, the
mask holds an architecture that does. With two limits at once, what is cheapest is asked by three prices: each cost, and
their sum in units of the limits. That never admits what is over budget, and is exact where one architecture is the cheapest
by both.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from tenas_jax.errors import InputError
from tenas_jax.networks import cost
from tenas_jax.spaces.sampling import architectures
from tenas_jax.spaces.space import SearchSpace, host_generator

Mask = Bool[np.ndarray, "cells edges ops"]
Prices = Float[np.ndarray, "cells edges ops"]
# Of the option, and of what is counted.
_NAMES = {"parameters": ("--max-params", "parameters"), "flops": ("--max-flops", "multiply-adds")}
MOST_ENUMERATED = 4096  # architectures that are gone through one by one, rather than sampled


class Budget(NamedTuple):
    """The most that the network that is trained may cost, see `SearchSpace.skeleton`.

    Attributes:
        parameters: its number of parameters; None for no limit.
        flops: its multiply-adds for an image of 32 x 32; None for no limit.
    """

    parameters: int | None = None
    flops: int | None = None

    def meet(self, space: SearchSpace, masks: Bool[np.ndarray, "*m cells edges ops"]) -> Bool[np.ndarray, "*m"]:
        """Which single architectures meet the limits.

        Args:
            space: the search space.
            masks: (..., cells, edges, operators).
        """
        costs = cost.costs(space, masks)._asdict()
        return np.all([costs[name] <= limit for name, limit in self._set()], axis=0)

    def check(self, space: SearchSpace) -> None:
        """Refuses limits that no architecture of the space meets.

        Args:
            space: the search space.

        Raises:
            InputError: with the least that an architecture costs.
        """
        whole = space.alternatives()
        for name, limit in self._set():
            least = cost.costs(space, _cheapest(space, whole, _price(space, name)))._asdict()[name]
            if least > limit:
                option, unit = _NAMES[name]
                raise InputError(
                    f"`{option} {limit}` is below the smallest architecture of {space.name} ({least:,} {unit}); "
                    "raise it to at least that."
                )
        if self.cheapest(space, whole) is None:
            raise InputError(f"no architecture of {space.name} was found that meets both limits; raise one of them.")

    def cheapest(self, space: SearchSpace, mask: Mask, holding: tuple[int, int, int] | None = None) -> Mask | None:
        """A single architecture that the mask holds and that meets the limits; None where none is found.

        Args:
            space: the search space.
            mask: the operators that are alive.
            holding: cell, edge and operator that the architecture has to hold, one that is alive.
        """
        for prices in self._prices(space):
            found = _cheapest(space, mask, prices, holding)
            if self.meet(space, found):
                return found
        return None

    def unaffordable(self, space: SearchSpace, mask: Mask) -> Int[np.ndarray, "u 3"]:
        """The operators that are alive and in no architecture that meets the limits: cell, edge, operator of each.

        Args:
            space: the search space.
            mask: the operators that are alive.
        """
        places = np.argwhere(space.eligible(mask)).tolist()
        gone = [(c, e, o) for c, e, o in places if self.cheapest(space, mask, (c, e, o)) is None]
        return np.array(gone, int).reshape(-1, 3)

    def sample(
        self, key: Key[Array, ""], mask: Mask, count: int, space: SearchSpace
    ) -> Int[np.ndarray, "m cells edges"]:
        """Single architectures that a mask holds and that meet the limits.

        All of them, where there are at most `count` and few enough to go through. Otherwise those of
        `sampling.architectures`, of which those over budget are made cheaper edge by edge, at random, until it meets the
        limits; and, for an operator that none of them holds, the cheapest architecture that holds it.

        Args:
            key: decides the sample.
            mask: the operators that are alive; each in some architecture that meets the limits.
            count: so many, but for operators that would go unseen.
            space: the search space.

        Returns:
            Operator numbers (m, cells, edges).

        Raises:
            InputError: as `sampling.architectures`.
        """
        if not space.chooses_inputs and np.prod(mask.sum(-1), dtype=object) <= MOST_ENUMERATED:
            everything = architectures(key, mask, MOST_ENUMERATED, space)
            everything = everything[self.meet(space, space.one_hot(everything))]
            if len(everything) <= count:
                return everything
        rng = host_generator(key)
        drawn = [self.lower(rng, choice, mask, space) for choice in architectures(key, mask, count, space)]
        seen = space.one_hot(np.stack(drawn)).any(0)
        for cell, edge, operator in np.argwhere(space.eligible(mask) & ~seen).tolist():
            rescued = self.cheapest(space, mask, (cell, edge, operator))
            if rescued is not None:
                drawn.append(space.choice(rescued))
        return np.stack(drawn)

    def lower(
        self, rng: np.random.Generator, choice: Int[np.ndarray, "cells edges"], mask: Mask, space: SearchSpace
    ) -> Int[np.ndarray, "cells edges"]:
        """An architecture that meets the limits: this one, with cheaper operators on random edges where it has to be.

        Args:
            rng: decides which.
            choice: operator numbers of a single architecture that the mask holds.
            mask: the operators that may stand on an edge; they hold an architecture that meets the limits.
            space: the search space.

        Raises:
            InputError: where the mask holds no architecture that meets the limits.
        """
        choice, mask = choice.copy(), space.eligible(mask)
        prices = self._prices(space)[-1]
        while not self.meet(space, space.one_hot(choice)):
            now = np.take_along_axis(prices, choice[..., None], -1)
            # An edge that carries nothing where a node chooses its inputs stays as it is: it is free.
            cheaper = np.argwhere(mask & (prices < now))
            if not len(cheaper):
                found = self.cheapest(space, mask)
                if found is None:
                    raise InputError(
                        f"the mask holds no architecture that meets the limits {self._asdict()}; raise them."
                    )
                return space.choice(found)
            cell, edge, operator = cheaper[rng.integers(len(cheaper))]
            choice[cell, edge] = operator
        return choice

    def _set(self) -> list[tuple[str, int]]:
        return [(name, limit) for name, limit in self._asdict().items() if limit is not None]

    def _prices(self, space: SearchSpace) -> list[Prices]:
        """By what the cheapest is sought; the last one counts every limited cost."""
        relative = [_price(space, name) / max(limit, 1) for name, limit in self._set()]
        return relative if len(relative) == 1 else [*relative, np.sum(relative, axis=0)]


def _price(space: SearchSpace, name: str) -> Prices:
    _, shares = cost.prices(space, space.skeleton("trained"), space.family.side)
    return shares._asdict()[name].astype(float)


def _cheapest(space: SearchSpace, mask: Mask, prices: Prices, holding: tuple[int, int, int] | None = None) -> Mask:
    """The architecture of the lowest price that a mask holds."""
    asked = np.where(space.eligible(mask), prices, np.inf)
    if holding is not None:
        # Cheaper than anything, so that neither its edge nor another operator comes before it.
        asked[holding] = -np.inf
    choice, least = asked.argmin(-1), asked.min(-1)
    if space.chooses_inputs:
        for cell, node in itertools.product(range(len(space.cells)), space.inner_nodes):
            edges = np.array(space.entering(node))
            order = edges[np.argsort(least[cell, edges], kind="stable")]
            choice[cell, order[space.kept(node) :]] = space.none
    return space.one_hot(choice)
