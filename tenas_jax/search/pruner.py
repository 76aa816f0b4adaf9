"""The pruning search: pure functions on a mask (TE-NAS, Chen et al. 2021, Algorithm 1, and a variant of ours).

`step(key, state) -> (state, info)` prunes once; state is what the next step needs, info is what a person wants to see. Two
rules say what an operator is worth:

- "removal", TE-NAS's: by how much the supernet's score changes when the operator alone is removed from it. On every edge
  the operator with the best sum of ranks goes.
- "completion", ours: the mean score of single architectures, drawn from what is still alive, that hold the operator. The
  operator that lies furthest behind its edge's mean goes. What is ranked are thus networks like those that are going to be
  trained; a supernet's score hides what a skip connection is worth: beside it, a convolution always carries the signal.
  Scores are sums of log ranks, so that the best architectures say most about an operator; as fewer are left to compare,
  each is scored on more batches, and when a few are left their neighbours have a say, as in a ranking: who is the best
  of a few by chance has poor ones.

Who competes with whom, edges too where a node keeps some of its inputs only, is said in `contest.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from tenas_jax.errors import InputError
from tenas_jax.scores.indicators import Indicator, Scores
from tenas_jax.scores.mask_program import beside_each_other
from tenas_jax.scores.neighbours import NEIGHBOURHOOD, smoothed, with_neighbours
from tenas_jax.scores.ranks import (
    log_rank,
    rank_sum,
    relative_change,
    released_order,
    released_rank,
    round_decimals,
)
from tenas_jax.search.budget import Budget
from tenas_jax.search.contest import NOTHING, contest, crowded_node, without
from tenas_jax.spaces.cell_graph import Mask
from tenas_jax.spaces.sampling import architectures, impossible
from tenas_jax.spaces.space import SearchSpace

MOST_BATCHES = 8  # of one completion: more would cost more than they tell

Rule = Literal["completion", "removal"]


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
        candidates: (c, 3): cell, edge, operator; the edge's last operator where edges go.
        scores: by indicator. Removal: the mean score of the supernet without the candidate. Completion: the mean score of
            the architectures that hold it, a logarithm of scores that are averaged by their logarithms.
        changes: by indicator. Removal: mean relative change. Completion: mean log rank of those architectures (when few are
            left, of them and their neighbourhoods), less the mean log rank on the edge, with the sign that makes the worst
            operator the smallest.
        ranks: by indicator, 0 goes first.
        total: what the decision was made by: smallest first. Removal: the sum of ranks. Completion: the sum of changes.
        health: by indicator, how many evaluations said what.
        evaluations: masks that were scored, times batches.
        pruned: (k, 3), the candidates that went.
        unaffordable: (u, 3), operators that went before, because no architecture with them meets the limits on cost or is
            valid.
        noise: of `total`, a standard error each: as if the architectures that hold the candidate were drawn independently.
            None of a removal, which scores one network a candidate.
    """

    candidates: Int[np.ndarray, "c 3"]
    scores: dict[str, Float[np.ndarray, " c"]]
    changes: dict[str, Float[np.ndarray, " c"]]
    ranks: dict[str, Int[np.ndarray, " c"]]
    total: Float[np.ndarray, " c"]
    health: dict[str, dict[str, int]]
    evaluations: int
    pruned: Int[np.ndarray, "k 3"]
    unaffordable: Int[np.ndarray, "u 3"] = NOTHING
    noise: Float[np.ndarray, " c"] | None = None


def init(space: SearchSpace) -> State:
    """The supernet."""
    return State(space.supernet(), 0)


def is_done(state: State, space: SearchSpace) -> bool:
    """Whether every edge has one operator left, and no node an edge too many.

    Args:
        state: of a search.
        space: the search space.
    """
    return bool((state.mask.sum(-1) <= 1).all()) and crowded_node(state.mask, space) is None


def step(
    key: Key[Array, ""],
    state: State,
    *,
    space: SearchSpace,
    indicators: Sequence[Indicator],
    rule: Rule = "completion",
    paths: int = 96,
    fresh: bool = False,
    prune_number: int | None = None,
    budget: Budget | None = None,
) -> tuple[State, Info]:
    """Prunes once.

    Args:
        key: images and initialisations of this step depend on it and on the round.
        state: from `init` or the last step.
        space: the search space.
        indicators: what to score by; one or several.
        rule: see the module.
        paths: completion: architectures drawn. Where fewer are left, each is scored on as many batches, up to
            `MOST_BATCHES`, as keep their product below it; in a space that can be gone through, with so many batches their
            neighbours are scored, too.
        fresh: removal: a new batch and initialisation for every candidate, as in the released code, instead of
            the same for all.
        prune_number: how many operators go from every edge, the last one stays. By default one; with completion one of
            the whole network. Where edges go, all that a node has too many of go at once.
        budget: on what the network may cost. Operators that no affordable architecture holds go first; after that the
            mask always holds an architecture that meets the limits, and completions are architectures that do.

    Returns:
        The next state and what was seen.

    Raises:
        InputError: for an unknown rule, no indicator, a prune number below 1, or too few paths for the operators alive.
    """
    if rule not in ("completion", "removal"):
        raise InputError(f'`rule` must be "completion" or "removal"; it is {rule!r}.')
    if not indicators:
        raise InputError("`indicators` must hold at least one indicator; see `tenas_jax.scores.indicators`.")
    if prune_number is not None and prune_number < 1:
        raise InputError(f"the prune number must be at least 1; it is {prune_number}.")
    key = jax.random.fold_in(key, state.round)
    unaffordable = budget.unaffordable(space, state.mask) if budget else NOTHING
    mask = without(state.mask, unaffordable, space)
    if rule == "completion":
        lost = impossible(key, mask, paths, space)
        mask, unaffordable = without(mask, lost, space), np.concatenate([unaffordable, lost])
    if is_done(State(mask, state.round), space):
        info = Info(NOTHING, {}, {}, {}, np.zeros(0), {}, 0, NOTHING)
    elif rule == "completion":
        info = _by_completion(key, mask, space, indicators, paths, prune_number, budget)
    else:
        info = _by_removal(key, mask, space, indicators, fresh, prune_number or 1, budget)
    return State(without(mask, info.pruned, space), state.round + 1), info._replace(unaffordable=unaffordable)


def _by_completion(key, mask, space, indicators, paths, prune_number, budget) -> Info:
    draw, score = jax.random.split(key)
    choices = (budget.sample if budget else architectures)(draw, mask, paths, space)
    batches = max(1, min(MOST_BATCHES, paths // len(choices)))
    scored = _with_neighbours(choices, space) if batches == MOST_BATCHES else choices
    evaluations = [_on_batches(i, score, space.one_hot(scored), batches) for i in indicators]
    results = {
        i.name: Scores(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        for i, found in zip(indicators, beside_each_other(evaluations), strict=True)
    }
    means = {i.name: _mean(results[i.name].values[:, : len(choices)], i.geometric) for i in indicators}
    # Every batch is ranked by itself, so that an unlucky one moves a rank and not an average.
    log_ranks = {
        i.name: np.mean([log_rank(v, descending=not i.lower_is_better) for v in results[i.name].values], axis=0)
        for i in indicators
    }
    if len(scored) > len(choices):
        # What a ranking goes by, as a mean of an architecture and its neighbourhood, so that leads keep their scale.
        log_ranks = {
            name: smoothed(places, scored, space)[: len(choices)] / (1 + NEIGHBOURHOOD)
            for name, places in log_ranks.items()
        }

    rivals = contest(mask, space)
    options = rivals.options
    holds = np.stack([choices[:, cell, edge] == operator for cell, edge, operator in options])

    def mean(values):
        return np.array([values[rows].mean() for rows in holds])

    def lead(log_ranks):
        means = mean(log_ranks)
        return np.array([means[rivals.groups == group].mean() for group in rivals.groups]) - means

    changes = {name: lead(values) for name, values in log_ranks.items()}
    total = np.sum(list(changes.values()), axis=0)
    if prune_number is None and not rivals.whole:
        # All operators compete with each other: one group, of which one goes.
        rivals = rivals._replace(groups=np.zeros(len(options), int))
    return Info(
        candidates=options,
        scores={name: mean(values) for name, values in means.items()},
        changes=changes,
        ranks={name: released_rank(change) for name, change in changes.items()},
        total=total,
        health=_health(results),
        evaluations=len(scored) * batches,
        pruned=rivals.losers(total, np.arange(len(total)), mask, space, prune_number or 1, budget),
        noise=_standard_errors(np.sum(list(log_ranks.values()), axis=0), holds),
    )


def _with_neighbours(choices, space: SearchSpace):
    """In a large space a few architectures have too many neighbours, and scores of hundreds of others say less."""
    return with_neighbours(choices, space) if space.is_enumerable and not space.chooses_inputs else choices


def _standard_errors(values: Float[np.ndarray, " m"], holds: Bool[np.ndarray, "c m"]) -> Float[np.ndarray, " c"]:
    """Of the mean over the architectures that hold a candidate; NaN where one alone does."""
    return np.array([values[rows].std(ddof=1) / np.sqrt(rows.sum()) if rows.sum() > 1 else np.nan for rows in holds])


def _mean(values: Float[np.ndarray, "repeats m"], geometric: bool) -> Float[np.ndarray, " m"]:
    """Over repeats, of their logarithms for a geometric score: ranks need no logarithm, means of outliers do."""
    if not geometric:
        return values.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values).mean(0)


def _on_batches(indicator: Indicator, key, masks, batches: int) -> Iterator[Scores]:
    with indicator.program.held() if indicator.program else nullcontext():
        for batch in range(batches):
            yield indicator.evaluate(jax.random.fold_in(key, batch), masks)


def _by_removal(key, mask, space, indicators, fresh, prune_number, budget) -> Info:
    rivals = contest(mask, space)
    options = rivals.options
    masks = np.stack([without(mask, option[None], space) for option in options])
    results = {i.name: _compared(i, key, mask, masks, fresh) for i in indicators}
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
    # As the released code, which sorts the sums of ranks, stably, in the order of its first indicator.
    first = released_order(changes[indicators[0].name], descending=not indicators[0].lower_is_better)
    pruned = rivals.losers(total, first, mask, space, prune_number, budget)
    evaluations = len(options) * 2 if fresh else len(options) + 1
    return Info(options, scores, changes, ranks, total.astype(float), _health(results), evaluations, pruned)


def _compared(indicator: Indicator, key, mask, masks, fresh: bool) -> Scores:
    """Scores (repeats, 2 c): of the supernet as each candidate is compared with it, then of every candidate."""
    if not fresh:
        values, health = indicator.evaluate(key, np.concatenate([mask[None], masks]))
        order = np.append(np.zeros(len(masks), int), np.arange(1, len(masks) + 1))
        return Scores(values[:, order], health[:, order])
    pairs = [
        indicator.evaluate(jax.random.fold_in(key, place), np.stack([mask, candidate]))
        for place, candidate in enumerate(masks)
    ]
    return Scores(*(np.concatenate([p[field][:, side] for side in (0, 1) for p in pairs]).reshape(
        2, len(masks), -1).transpose(2, 0, 1).reshape(-1, 2 * len(masks)) for field in (0, 1)))  # fmt: skip


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
    prune_number: int | None = None,
    budget: Budget | None = None,
) -> tuple[Mask, list[Info]]:
    """The whole search: from the supernet to one architecture.

    Args:
        key: images, weights and samples depend on it.
        space: the search space.
        indicators: what to score by, for instance those of `tenas_jax.scores.indicators`.
        rule: see the module.
        paths: see `step`.
        fresh: see `step`.
        prune_number: see `step`.
        budget: see `step`.

    Returns:
        The mask of the architecture found, and what every step saw.

    Raises:
        InputError: as `step`, or for limits that no architecture meets.

    Examples:
        A custom score needs no compiled program: the search for the most parameters.

        >>> from tenas_jax import NAS_BENCH_201
        >>> from tenas_jax.networks import cost
        >>> def evaluate(key, masks):
        ...     values = cost.parameters(NAS_BENCH_201, masks)[None].astype(float)
        ...     return Scores(values, np.full(values.shape, "counted"))
        >>> indicator = Indicator("parameters", lower_is_better=False, evaluate=evaluate)
        >>> mask, infos = prune(jax.random.key(0), NAS_BENCH_201, [indicator])
        >>> NAS_BENCH_201.format(mask)
        '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|'
        >>> len(infos)  # each takes one of 24 operators; six edges keep one
        18
    """
    if budget is not None:
        budget.check(space, space.supernet())
    settings = {"rule": rule, "paths": paths, "fresh": fresh, "prune_number": prune_number, "budget": budget}
    taken = list(steps(key, init(space), space=space, indicators=indicators, **settings))
    return taken[-1][0].mask if taken else space.supernet(), [info for _, info in taken]


def steps(key: Key[Array, ""], state: State, *, space: SearchSpace, **settings) -> Iterator[tuple[State, Info]]:
    """Prunes until one architecture is left.

    Args:
        key: images, weights and samples depend on it.
        state: where to begin.
        space: the search space.
        **settings: as `step`.

    Yields:
        What `step` returns, a step at a time.
    """
    while not is_done(state, space):
        state, info = step(key, state, space=space, **settings)
        yield state, info
