"""Regularised evolution on a sum of log ranks: pure functions on a history (Real et al. 2019, Algorithm 1).

The youngest architectures are the population. A child is a mutation of the best of a random few of them, whatever its age
and however good its parents were; the oldest die. What is best is told by the sum of log ranks among all architectures
that have been seen (`scores.ranks.log_rank_sum`), so several scores need no common scale. In a space that could be gone
through, neighbours have a say too, as in a ranking: the best by chance alone has poor ones.

Children are made many at a time, all from the same population, because scores are evaluated many at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from tenas_jax.errors import InputError
from tenas_jax.scores.neighbours import smoothed_in_part
from tenas_jax.scores.ranks import log_rank_sum
from tenas_jax.search.budget import Budget
from tenas_jax.spaces.space import SearchSpace, host_generator

Choices = Int[np.ndarray, "m cells edges"]
MOST_ATTEMPTS = 50  # at a child that has not been seen


class Evolution(NamedTuple):
    """Settings.

    Attributes:
        population: how many of the youngest can have children; also how many are drawn at random to begin with.
        tournament: tournament size: a parent is the best of so many drawn at random.
        children: made at a time.
        evaluations: architectures that are scored in all.
    """

    population: int = 64
    tournament: int = 16
    children: int = 32
    evaluations: int = 1000


class History(NamedTuple):
    """What has been scored, the oldest first.

    Attributes:
        choices: operator numbers (m, cells, edges).
        scores: by name, every draw (draws, m).
        good: (m,) how good each is, larger is better; see the function `goodness`.
        generations: how many there were.
    """

    choices: Choices
    scores: Mapping[str, Float[np.ndarray, "draws m"]]
    good: Float[np.ndarray, " m"]
    generations: int

    @property
    def best(self) -> Int[np.ndarray, "cells edges"]:
        """The operators of the best."""
        return self.choices[np.argmax(self.good)]


def init(space: SearchSpace) -> History:
    """The history of an evolution that has not begun."""
    return History(np.zeros((0, *space.mask_shape[:2]), int), {}, np.zeros(0), 0)


def steps(
    key: Key[Array, ""],
    history: History,
    *,
    space: SearchSpace,
    score: Callable[[Any], Mapping[str, np.ndarray]],
    lower_is_better: Mapping[str, bool],
    settings: Evolution | None = None,
    budget: Budget | None = None,
    parents_by: Callable[[History], Float[np.ndarray, " m"]] = lambda history: history.good,
) -> Iterator[History]:
    """Evolves until as many architectures have been scored as `settings` say, or nothing new is left near the population.

    Args:
        key: decides the generations.
        history: where to begin: `init`, or what an earlier evolution has yielded.
        space: the search space.
        score: `masks (k, cells, edges, operators) -> every draw (draws, k) of every score, by name`.
        lower_is_better: by name.
        settings: of the evolution; the usual ones by default.
        budget: on what the network may cost.
        parents_by: by what of a history parents are chosen, larger is better.

    Yields:
        The history with one more generation.

    Examples:
        The evolution of the most parameters, generation after generation:

        >>> import jax
        >>> from tenas_jax import NAS_BENCH_201
        >>> from tenas_jax.networks import cost
        >>> def score(masks):
        ...     return {"parameters": cost.parameters(NAS_BENCH_201, masks)[None]}
        >>> *_, last = steps(
        ...     jax.random.key(0), init(NAS_BENCH_201), space=NAS_BENCH_201, score=score,
        ...     lower_is_better={"parameters": False}, settings=Evolution(evaluations=400),
        ... )
        >>> NAS_BENCH_201.format(NAS_BENCH_201.one_hot(last.best))
        '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|'
    """
    settings = settings or Evolution()
    while len(history.choices) < settings.evaluations:
        generation = jax.random.fold_in(key, history.generations)
        if history.generations:
            young = next_generation(generation, history.choices, parents_by(history), space, settings, budget)
        else:
            young = first_generation(generation, space, settings, budget)
        if not len(young):
            return
        drawn = score(space.one_hot(young))
        known = [history.scores] if history.generations else []
        choices = np.concatenate([history.choices, young])
        scores = {
            name: np.concatenate([one[name] for one in (*known, drawn)], 1, dtype=float) for name in lower_is_better
        }
        good = goodness(scores, lower_is_better, choices, space)
        history = History(choices, scores, good, history.generations + 1)
        yield history


def first_generation(
    key: Key[Array, ""], space: SearchSpace, settings: Evolution, budget: Budget | None = None
) -> Choices:
    """Random architectures that meet the limits, no two alike.

    Args:
        key: decides them.
        space: the search space.
        settings: of the evolution.
        budget: on what the network may cost.

    Returns:
        Operator numbers (m, cells, edges); m is less than the population where the space has no more.
    """
    rng, wanted = host_generator(key), min(settings.population, settings.evaluations)
    mask = space.alternatives()
    found: dict[bytes, np.ndarray] = {}
    for choice in space.sample(key, wanted * MOST_ATTEMPTS).argmax(-1):
        affordable = _lowered(budget, rng, choice, mask, space) if budget else choice
        found.setdefault(affordable.tobytes(), affordable)
        if len(found) == wanted:
            break
    return np.stack(list(found.values()))


def next_generation(
    key: Key[Array, ""],
    history: Choices,
    good: Float[np.ndarray, " m"],
    space: SearchSpace,
    settings: Evolution,
    budget: Budget | None = None,
) -> Choices:
    """Children of the youngest, none of which has been seen.

    Args:
        key: decides parents and mutations.
        history: all architectures that have been scored, the oldest first.
        good: how good each is, larger is better; see the function `goodness`.
        space: the search space.
        settings: of the evolution.
        budget: on what the network may cost.

    Returns:
        Operator numbers (k, cells, edges); k is 0 where nothing new is found near the population.
    """
    rng = host_generator(key)
    seen = {choice.tobytes() for choice in history}
    wanted = min(settings.children, settings.evaluations - len(history))
    alive, children = np.arange(max(0, len(history) - settings.population), len(history)), []
    for _ in range(wanted * MOST_ATTEMPTS):
        if len(children) == wanted:
            break
        rivals = rng.choice(alive, min(settings.tournament, len(alive)), replace=False)
        child = mutate(rng, history[rivals[np.argmax(good[rivals])]], space)
        if budget:
            child = _lowered(budget, rng, child, space.alternatives(), space)
        if child.tobytes() not in seen:
            seen.add(child.tobytes())
            children.append(child)
    return np.stack(children) if children else np.zeros((0, *history.shape[1:]), history.dtype)


def _lowered(budget: Budget, rng, choice: np.ndarray, mask: np.ndarray, space: SearchSpace) -> np.ndarray:
    """An architecture within the budget, without what makes no difference."""
    return space.normal(space.one_hot(budget.lower(rng, choice, mask, space)[None]))[0].argmax(-1)


def least_dominated(
    good: Float[np.ndarray, " m"], cost: Float[np.ndarray, " m"], settings: Evolution
) -> Float[np.ndarray, " m"]:
    """By what parents are chosen where a front is sought: by how few of the living beat them in score and cost.

    Args:
        good: from `goodness`.
        cost: of the same architectures, less is better; NaN is the worst.
        settings: of the evolution; those that are dead count neither as rivals nor as beaten.

    Returns:
        Minus the number of those that are at least as good in both and better in one (Fonseca and Fleming 1993).
    """
    cost, living = np.where(np.isnan(cost), np.inf, cost), slice(-settings.population, None)
    better, cheaper = good[living, None], cost[living, None]
    as_good = (better >= good[living]) & (cheaper <= cost[living])
    beaten = as_good & ((better > good[living]) | (cheaper < cost[living]))
    found = np.full(len(good), -np.inf)
    found[living] = -beaten.sum(0)
    return found


def goodness(
    scores: Mapping[str, Float[np.ndarray, "draws m"]],
    lower_is_better: Mapping[str, bool],
    history: Choices,
    space: SearchSpace,
) -> Float[np.ndarray, " m"]:
    """By what parents and the best of all are chosen, larger is better.

    Args:
        scores: by name, every draw, as `scores.ranks.log_rank_sum`.
        lower_is_better: by name.
        history: all architectures that have been scored.
        space: the search space.
    """
    log_ranks = log_rank_sum(scores, lower_is_better)
    # In a large space hardly a neighbour has been seen, and to look for them takes longer than to score.
    return smoothed_in_part(log_ranks, history, space) if space.is_enumerable else log_ranks


def mutate(
    rng: np.random.Generator, choice: Int[np.ndarray, "cells edges"], space: SearchSpace
) -> Int[np.ndarray, "cells edges"]:
    """A neighbour: another operator on one edge or, where nodes choose their inputs, as often another input.

    Args:
        rng: decides which (Real et al. 2019, section 3.2: "op mutation" and "hidden state mutation").
        choice: operator numbers; it stays as it is.
        space: the search space.

    Raises:
        InputError: for a space in which there is nothing to change.
    """
    for _ in range(MOST_ATTEMPTS):
        child = _mutated(rng, choice, space)
        masks = space.one_hot(child[None])
        if space.valid(masks)[0]:
            child = space.normal(masks)[0].argmax(-1)
            if (child != choice).any():
                return child
    return choice.copy()


def _mutated(rng: np.random.Generator, choice: Int[np.ndarray, "cells edges"], space: SearchSpace) -> np.ndarray:
    """A neighbour, valid or not."""
    choice, alternatives = choice.copy(), space.alternatives()
    if space.chooses_inputs and (len(space.carriers) == 1 or rng.random() < 0.5):
        # (cell, edge that is dropped, edge into the same node that takes its place)
        moves = [
            (cell, old, new)
            for cell in range(len(space.cells))
            for node in space.inner_nodes
            for old in space.entering(node)
            for new in space.entering(node)
            if choice[cell, old] != space.none and choice[cell, new] == space.none
        ]
        if moves:
            cell, old, new = moves[rng.integers(len(moves))]
            choice[cell, [old, new]] = space.none, choice[cell, old]
            return choice
    if (alternatives.sum(-1) == 1).all():
        raise InputError(f"{space.name} has one architecture only, so there is nothing to evolve.")
    held = np.take_along_axis(alternatives, choice[..., None], -1)[
        ..., 0
    ]  # an edge that is dropped has no other operator
    edges = np.argwhere(held & (alternatives.sum(-1) > 1))
    cell, edge = edges[rng.integers(len(edges))]
    options = np.flatnonzero(alternatives[cell, edge])
    choice[cell, edge] = rng.choice([option for option in options if option != choice[cell, edge]])
    return choice
