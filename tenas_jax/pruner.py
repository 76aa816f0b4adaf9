"""The pruning search: pure functions on a mask (TE-NAS, Chen et al. 2021, Algorithm 1, and a variant of ours).

`step(key, state) -> (state, info)` prunes once; state is what the next step needs, info is what a person wants to see. Two
rules say what an operator is worth:

- "removal", TE-NAS's: by how much the supernet's score changes when the operator alone is removed from it. On every edge
  the operator with the best sum of ranks goes.
- "completion", ours: the mean score of single architectures, drawn from what is still alive, that hold the operator. The
  operator that lies furthest below its edge's mean goes. What is ranked are thus networks like those that are going to be
  trained; a supernet's score hides what a skip connection is worth: beside it, a convolution always carries the signal.
"""

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from tenas_jax.errors import InputError
from tenas_jax.indicators import Indicator, Scores
from tenas_jax.ranking import average_rank, rank_sum, relative_change, released_rank, round_decimals
from tenas_jax.space import SearchSpace, host_generator

Rule = Literal["completion", "removal"]
Mask = Bool[np.ndarray, "cells edges ops"]


class State(NamedTuple):
    """What the next step needs.

    Attributes:
        mask: the operators that are alive.
        round: how many steps have been taken.
    """

    mask: Mask
    round: int


class Info(NamedTuple):
    """What a step saw; arrays are by candidate, an operator on an edge that could go.

    Attributes:
        candidates: (c, 3): cell, edge, operator.
        scores: by indicator. Removal: the mean score of the supernet without the candidate. Completion: the mean log score
            of the architectures that hold it.
        changes: by indicator. Removal: mean relative change. Completion: mean normalised rank of those architectures.
        ranks: by indicator, 0 goes first.
        total: what the decision was made by: smallest first. Removal: the sum of ranks. Completion: the mean sum of
            ranks, less the edge's mean.
        health: by indicator, how many evaluations said what.
        evaluations: masks that were scored.
        pruned: (k, 3), the candidates that went.
    """

    candidates: Int[np.ndarray, "c 3"]
    scores: dict[str, Float[np.ndarray, " c"]]
    changes: dict[str, Float[np.ndarray, " c"]]
    ranks: dict[str, Int[np.ndarray, " c"]]
    total: Float[np.ndarray, " c"]
    health: dict[str, dict[str, int]]
    evaluations: int
    pruned: Int[np.ndarray, "k 3"]


def init(space: SearchSpace) -> State:
    """The supernet."""
    return State(space.supernet(), 0)


def is_done(state: State) -> bool:
    """Whether every edge has one operator left."""
    return bool((state.mask.sum(-1) <= 1).all())


def candidates(mask: Mask) -> Int[np.ndarray, "c 3"]:
    """(cell, edge, operator) of everything alive on edges that have a choice left.

    Args:
        mask: the operators that are alive.
    """
    return np.argwhere(mask & (mask.sum(-1, keepdims=True) > 1))


def completions(key: Key[Array, ""], mask: Mask, count: int) -> Int[np.ndarray, "m cells edges"]:
    """Single architectures that a mask still holds: all of them where there are at most `count`, else a balanced sample.

    In a sample every edge goes through its alive operators in turn, in random order, so that each is seen equally often.

    Args:
        key: decides the sample.
        mask: the operators that are alive.
        count: at most so many.

    Returns:
        Operator numbers (m, cells, edges).

    Raises:
        InputError: where `count` is less than the operators that are alive on an edge, so that some would go unseen.
    """
    most = int(mask.sum(-1).max())
    if count < most:
        raise InputError(f"`paths` must be at least {most}, the operators alive on one edge; it is {count}.")
    edges = [np.flatnonzero(alive) for alive in mask.reshape(-1, mask.shape[-1])]
    # Python's integers: the product of a large space does not fit into 64 bits.
    if np.prod([len(alive) for alive in edges], dtype=object) <= count:
        choices = np.array(list(itertools.product(*edges)))
    else:
        rng = host_generator(key)
        choices = np.stack([rng.permutation(np.resize(rng.permutation(alive), count)) for alive in edges], axis=1)
    return choices.reshape(-1, *mask.shape[:2])


def step(
    key: Key[Array, ""],
    state: State,
    *,
    space: SearchSpace,
    indicators: Sequence[Indicator],
    rule: Rule = "completion",
    paths: int = 96,
    fresh: bool = False,
) -> tuple[State, Info]:
    """Prunes once.

    Args:
        key: images and initialisations of this step depend on it and on the round.
        state: from `init` or the last step.
        space: the search space.
        indicators: what to score by; one or several.
        rule: see the module.
        paths: completion: architectures drawn.
        fresh: removal: a batch and an initialisation of its own for every candidate, as in the released code, instead of
            the same for all.

    Returns:
        The next state and what was seen.

    Raises:
        InputError: for an unknown rule, no indicator, or fewer paths than operators on an edge.
    """
    if rule not in ("completion", "removal"):
        raise InputError(f'`rule` must be "completion" or "removal"; it is {rule!r}.')
    if not indicators:
        raise InputError("`indicators` must hold at least one indicator; see `tenas_jax.indicators`.")
    key = jax.random.fold_in(key, state.round)
    if rule == "completion":
        info = _by_completion(key, state, space, indicators, paths)
    else:
        info = _by_removal(key, state, indicators, fresh)
    mask = state.mask.copy()
    mask[tuple(info.pruned.T)] = False
    return State(mask, state.round + 1), info


def _by_completion(key, state, space, indicators, paths) -> Info:
    draw, score = jax.random.split(key)
    choices = completions(draw, state.mask, paths)
    results = {i.name: i.evaluate(score, space.one_hot(choices)) for i in indicators}
    logs = {i.name: np.log(results[i.name].values).mean(0) for i in indicators}
    ranks = {i.name: average_rank(logs[i.name], descending=not i.lower_is_better) for i in indicators}
    aggregate = np.sum(list(ranks.values()), axis=0)

    options = candidates(state.mask)
    holds = np.stack([choices[:, cell, edge] == operator for cell, edge, operator in options])

    def mean(values):
        return np.array([values[rows].mean() for rows in holds])

    total = mean(aggregate)
    edges = options[:, 0] * state.mask.shape[1] + options[:, 1]
    total -= np.array([total[edges == edge].mean() for edge in edges])
    changes = {name: mean(rank) for name, rank in ranks.items()}
    return Info(
        candidates=options,
        scores={name: mean(values) for name, values in logs.items()},
        changes=changes,
        ranks={name: released_rank(change) for name, change in changes.items()},
        total=total,
        health=_health(results),
        evaluations=len(choices),
        pruned=options[[np.argmin(total)]],
    )


def _by_removal(key, state, indicators, fresh) -> Info:
    options = candidates(state.mask)
    without = np.repeat(state.mask[None], len(options), axis=0)
    without[(np.arange(len(options)), *options.T)] = False
    results = {i.name: _compared(i, key, state.mask, without, fresh) for i in indicators}
    scores, changes, ranks = {}, {}, {}
    for indicator in indicators:
        before, after = np.split(results[indicator.name].values.reshape(-1, 2, len(options)), 2, axis=1)
        scores[indicator.name] = after[:, 0].mean(0)
        # Opposite infinities, kernels that become singular in one repeat and regular in another, make NaN: ranked last.
        with np.errstate(invalid="ignore"):
            changes[indicator.name] = round_decimals(relative_change(after[:, 0], before[:, 0]), 3).mean(0)
        # What goes first improves the score most, or harms it least.
        ranks[indicator.name] = released_rank(changes[indicator.name], descending=not indicator.lower_is_better)
    total = rank_sum(list(ranks.values()))
    pruned = [
        places[np.argmin(total[places])]
        for cell, edge in np.unique(options[:, :2], axis=0)
        for places in [np.flatnonzero((options[:, 0] == cell) & (options[:, 1] == edge))]
    ]
    evaluations = len(options) * 2 if fresh else len(options) + 1
    return Info(options, scores, changes, ranks, total.astype(float), _health(results), evaluations, options[pruned])


def _compared(indicator: Indicator, key, mask, without, fresh: bool) -> Scores:
    """Scores (repeats, 2 c): of the supernet as each candidate is compared with it, then of every candidate."""
    if not fresh:
        values, health = indicator.evaluate(key, np.concatenate([mask[None], without]))
        order = np.append(np.zeros(len(without), int), np.arange(1, len(without) + 1))
        return Scores(values[:, order], health[:, order])
    pairs = [
        indicator.evaluate(jax.random.fold_in(key, place), np.stack([mask, candidate]))
        for place, candidate in enumerate(without)
    ]
    return Scores(*(np.concatenate([p[field][:, side] for side in (0, 1) for p in pairs]).reshape(
        2, len(without), -1).transpose(2, 0, 1).reshape(-1, 2 * len(without)) for field in (0, 1)))  # fmt: skip


def _health(results: dict[str, Scores]) -> dict[str, dict[str, int]]:
    return {
        name: dict(zip(*(part.tolist() for part in np.unique(result.health, return_counts=True)), strict=True))
        for name, result in results.items()
    }


def prune(
    key: Key[Array, ""],
    space: SearchSpace,
    indicators: Sequence[Indicator],
    *,
    rule: Rule = "completion",
    paths: int = 96,
    fresh: bool = False,
) -> tuple[Mask, list[Info]]:
    """The whole search: from the supernet to one architecture.

    Args:
        key: everything random depends on it.
        space: the search space.
        indicators: what to score by, for instance those of `tenas_jax.indicators`.
        rule: see the module.
        paths: see `step`.
        fresh: see `step`.

    Returns:
        The mask of the architecture found, and what every step saw.

    Raises:
        InputError: as `step`.
    """
    state, infos = init(space), []
    while not is_done(state):
        state, info = step(key, state, space=space, indicators=indicators, rule=rule, paths=paths, fresh=fresh)
        infos.append(info)
    return state.mask, infos
