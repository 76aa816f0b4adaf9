"""Budgets: which architectures meet the limits, and which operators of a mask still can.

A cost such as the number of parameters is a sum over edges (`cost.py`), so the cheapest architecture that a mask holds
has the cheapest operator on every edge and, where a node keeps some of its input edges only, the cheapest edges. As long
as that one meets the limits, the mask holds an architecture that does. With two limits at once, what is cheapest is asked
by three prices: each cost, and their sum in units of the limits. That never admits what is over budget, and is exact where
one architecture is the cheapest by both.

A latency does not add up. Where a space is small enough, all its architectures are gone through, and every answer is exact
(`affordable.py`). Elsewhere fitted prices say where to look (`measures.fitted`), and a descent over single edges goes on
from there: whatever is found meets the limits by the measure itself, and what is not found may yet be there.
"""

import itertools
import math
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Int, Key

from tenas_jax.errors import InputError
from tenas_jax.search import affordable, descent
from tenas_jax.search.measures import Limit, Measure, Prices, counted, fitted, rounded_up, spelled
from tenas_jax.spaces.sampling import architectures
from tenas_jax.spaces.space import SearchSpace, host_generator

Mask = Bool[np.ndarray, "cells edges ops"]
MOST_ENUMERATED = 4096  # architectures that are gone through one by one, rather than sampled


class Budget(NamedTuple):
    """The most that an architecture may cost.

    Attributes:
        parameters: of the network that is trained, see `SearchSpace.skeleton`; None for no limit.
        flops: its multiply-adds for an image of 32 x 32; None for no limit.
        others: limits on other measures.
    """

    parameters: int | None = None
    flops: int | None = None
    others: tuple[Limit, ...] = ()

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All limits that are set."""
        pairs = (("parameters", self.parameters), ("flops", self.flops))
        return (*(Limit(counted(name), most) for name, most in pairs if most is not None), *self.others)

    def meet(self, space: SearchSpace, masks: Bool[np.ndarray, "*m cells edges ops"]) -> Bool[np.ndarray, "*m"]:
        """Which single architectures meet the limits.

        Args:
            space: the search space.
            masks: (..., cells, edges, operators).
        """
        return np.all([measure.values(space, masks) <= most for measure, most in self.limits], axis=0)

    def excess(self, space: SearchSpace, masks: Bool[np.ndarray, "*m cells edges ops"]) -> np.ndarray:
        """How far single architectures are from the limits: the largest share of one that is used, infinite where unknown.

        Args:
            space: the search space.
            masks: (..., cells, edges, operators).
        """
        shares = [measure.values(space, masks) / max(most, 1e-300) for measure, most in self.limits]
        return np.nan_to_num(np.max(shares, axis=0), nan=np.inf, posinf=np.inf)

    def goes_through(self, space: SearchSpace) -> bool:
        """Whether all architectures are gone through: some limit does not add up, and the space is small enough.

        Args:
            space: the search space.
        """
        return space.is_enumerable and any(limit.measure.exact(space) is None for limit in self.limits)

    def check(self, space: SearchSpace, whole: Mask | None = None) -> None:
        """Refuses limits that no architecture meets.

        Args:
            space: the search space.
            whole: the operators that are asked; by default all that an edge can hold.

        Raises:
            InputError: with the least that an architecture costs.
        """
        whole = space.alternatives() if whole is None else whole
        for measure, most in self.limits:
            least = _least(self, space, measure, whole)
            if not least <= most:
                raise InputError(_too_low(space, measure, most, least))
        if self.cheapest(space, whole) is None:
            how = "both limits" if len(self.limits) == 2 else "the limits"
            raise InputError(f"no architecture of {space.name} was found that meets {how}; raise one of them.")

    def cheapest(self, space: SearchSpace, mask: Mask, holding: tuple[int, int, int] | None = None) -> Mask | None:
        """A single architecture that the mask holds and that meets the limits; None where none is found.

        Args:
            space: the search space.
            mask: the operators that are alive.
            holding: cell, edge and operator that the architecture has to hold, one that is alive.
        """
        if self.goes_through(space):
            return affordable.cheapest(self, space, mask, holding)
        if space.validity is not None:
            cheap = descent.lowest(space, mask, partial(self.excess, space), holding, enough=1.0)
            return cheap[0] if cheap and cheap[1] <= 1 else None
        found = None
        for prices in self._prices(space):
            found = _cheapest(space, mask, prices, holding)
            if self.meet(space, found):
                return found
        if found is None or all(limit.measure.exact(space) is not None for limit in self.limits):
            return None
        return self._descended(space, mask, found, holding)

    def _descended(
        self, space: SearchSpace, mask: Mask, found: Mask, holding: tuple[int, int, int] | None
    ) -> Mask | None:
        """From an architecture by the best change of one operator at a time, until the limits are met."""
        now, alive = float(self.excess(space, found)), space.eligible(mask)
        if holding is not None:
            alive[holding[:2]] = False
        while now > 1:
            places = np.argwhere(alive & ~found & _decided(space, found)[..., None])
            if not len(places):
                return None
            changed = np.repeat(found[None], len(places), axis=0)
            rows, (cells, edges, operators) = np.arange(len(places)), places.T
            changed[rows, cells, edges] = False
            changed[rows, cells, edges, operators] = True
            excess = self.excess(space, changed)
            if not excess.min() < now:
                return None
            found, now = changed[int(excess.argmin())], float(excess.min())
        return found

    def unaffordable(self, space: SearchSpace, mask: Mask) -> Int[np.ndarray, "u 3"]:
        """The operators that are alive and in no architecture that meets the limits: cell, edge, operator of each.

        Args:
            space: the search space.
            mask: the operators that are alive.
        """
        eligible = space.eligible(mask)
        if self.goes_through(space):
            return np.argwhere(eligible & ~affordable.held(self, space, mask))
        if space.validity is not None:
            return descent.unaffordable(space, mask, partial(self.excess, space))
        places = np.argwhere(eligible).tolist()
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
        if self.goes_through(space):
            return affordable.nearest(self, space, rng, choice, mask)
        choice, mask = choice.copy(), space.eligible(mask)
        prices = self._prices(space)[-1]
        while not self.meet(space, space.one_hot(choice)):
            now = np.take_along_axis(prices, choice[..., None], -1)
            cheaper = np.argwhere(mask & (prices < now) & _decided(space, space.one_hot(choice))[..., None])
            cheaper = _valid_changes(space, choice, cheaper)
            if not len(cheaper):
                found = self.cheapest(space, mask)
                if found is None:
                    raise InputError(f"the mask holds no architecture that meets the limits {self}; raise them.")
                return space.choice(found)
            cell, edge, operator = cheaper[rng.integers(len(cheaper))]
            choice[cell, edge] = operator
        return choice

    def _prices(self, space: SearchSpace) -> list[Prices]:
        """By what the cheapest is sought; the last one counts every limit."""
        relative = [_price(space, measure) / (most or 1) for measure, most in self.limits]
        return relative if len(relative) == 1 else [*relative, np.sum(relative, axis=0)]


def _valid_changes(space: SearchSpace, choice: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Of changes (k, 3) of an architecture those that make another one."""
    if space.validity is None or not len(places):
        return places
    changed = np.repeat(choice[None], len(places), axis=0)
    changed[np.arange(len(places)), places[:, 0], places[:, 1]] = places[:, 2]
    return places[space.valid(space.one_hot(changed))]


def _decided(space: SearchSpace, architecture: Mask) -> Bool[np.ndarray, "cells edges"]:
    """The edges that can hold another operator: where a node chooses its inputs, what it has dropped stays dropped."""
    return space.carries(architecture) | (not space.chooses_inputs)


def _price(space: SearchSpace, measure: Measure) -> Prices:
    exact = measure.exact(space)
    return fitted(measure, space) if exact is None else exact


def _too_low(space: SearchSpace, measure: Measure, most: float, least: float) -> str:
    asked, there = f"{measure.option} {most:.15g}", f"{least:,} {measure.unit}"
    what = f"the smallest architecture of {space.name}"
    if measure.on:
        asked, there = f"{asked} {measure.unit}", spelled(rounded_up(least), measure.unit)
        what = f"the least {measure.title} of an architecture of {space.name}"
    return f"`{asked}` is below {what} ({there}); raise it to at least that."


def _least(budget: Budget, space: SearchSpace, measure: Measure, whole: Mask) -> float:
    """The least that is found of a measure; exact where it adds up, or the space is gone through."""
    if budget.goes_through(space):
        return affordable.least(space, measure, whole)
    if space.validity is not None:
        cheap = descent.lowest(space, whole, lambda masks: np.nan_to_num(measure.values(space, masks), nan=np.inf))
        return measure.values(space, cheap[0]).item() if cheap else math.nan
    return measure.values(space, _cheapest(space, whole, _price(space, measure))).item()


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
