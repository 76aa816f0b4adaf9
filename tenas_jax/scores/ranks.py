"""From scores to ranks: changes, rounding, dense ranks, and ways to add ranks up. NumPy on the host, float64.

`scipy.stats.rankdata` gives the same ranks, and the tests compare with it; a search would wait for SciPy to be imported.

A score that is not finite is never an accident of sorting: infinity on the bad side and NaN rank last.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int


def relative_change(after: Float[np.ndarray, "..."], before: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """`(after - before) / |before|` (TE-NAS takes relative changes of both indicators).

    Args:
        after: scores of candidates.
        before: the score that each is compared with; broadcast.

    Returns:
        The changes. Where the quotient is not finite: 0 if both are equal, otherwise infinite with the sign of their
        difference. NaN only where a score is NaN.
    """
    after, before = np.broadcast_arrays(np.asarray(after, float), np.asarray(before, float))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        change = (after - before) / np.abs(before)
        return np.where(np.isfinite(change), change, _unbounded_change(after, before))


def _unbounded_change(after, before):
    return np.where(after == before, 0.0, np.sign(after - before) * np.inf)


def round_decimals(values: Float[np.ndarray, "..."], decimals: int) -> Float[np.ndarray, "..."]:
    """Rounds to a number of decimals, correctly as Python does (`np.round` scales, and can be off in the last one).

    Args:
        values: any array; infinities and NaN stay.
        decimals: at least 0.
    """
    values = np.asarray(values, float)
    return np.array([round(float(value), decimals) for value in values.ravel()]).reshape(values.shape)


def round_significant(values: Float[np.ndarray, "..."], figures: int) -> Float[np.ndarray, "..."]:
    """Rounds to a number of significant figures.

    Args:
        values: any array; zeros, infinities and NaN stay.
        figures: at least 1.
    """
    values = np.asarray(values, float)
    return np.array([float(f"{value:.{figures - 1}e}") for value in values.ravel()]).reshape(values.shape)


def dense_rank(values: Float[np.ndarray, " m"], *, descending: bool = False) -> Int[np.ndarray, " m"]:
    """Ranks from 0, best first: equal values share a rank and no rank is left out.

    Args:
        values: scores; NaN is as bad as the worst infinity.
        descending: whether the largest value is the best.

    Returns:
        (m,) int.
    """
    return np.unique(_badness(values, descending), return_inverse=True)[1].reshape(np.shape(values))


def released_rank(changes: Float[np.ndarray, " m"], *, descending: bool = False) -> Int[np.ndarray, " m"]:
    """Ranks as the released TE-NAS gives them.

    Candidates are sorted, stably, by their change taken to 3 significant figures; two neighbours in that order share a
    rank only where their changes are exactly equal.

    Args:
        changes: mean changes, in the order in which candidates were tried; NaN is as bad as the worst infinity.
        descending: whether the largest change is the best.

    Returns:
        (m,) int from 0, best first.
    """
    badness = _badness(changes, descending)
    order = np.argsort(released_order(changes, descending=descending))
    steps = np.zeros(len(badness), int)
    steps[1:] = badness[order][1:] != badness[order][:-1]
    ranks = np.empty(len(badness), int)
    ranks[order] = np.cumsum(steps)
    return ranks


def released_order(changes: Float[np.ndarray, " m"], *, descending: bool = False) -> Int[np.ndarray, " m"]:
    """The place of every candidate in the order in which the released TE-NAS ranks: stable, by 3 significant figures.

    Args:
        changes: as `released_rank`.
        descending: as `released_rank`.

    Returns:
        (m,) int from 0, all different.
    """
    order = np.argsort(round_significant(_badness(changes, descending), 3), kind="stable")
    places = np.empty(len(order), int)
    places[order] = np.arange(len(order))
    return places


def average_rank(values: Float[np.ndarray, " m"], *, descending: bool = False) -> Float[np.ndarray, " m"]:
    """Normalised ranks in (0, 1], best 1; ties share the mean of their places.

    Args:
        values: scores; NaN is as bad as the worst infinity.
        descending: whether the largest value is the best.

    Returns:
        (m,) float.
    """
    _, inverse, counts = np.unique(-_badness(values, descending), return_inverse=True, return_counts=True)
    places = np.cumsum(counts) - (counts - 1) / 2
    return (places / max(np.size(values), 1))[inverse].reshape(np.shape(values))


def log_rank(values: Float[np.ndarray, " m"], *, descending: bool = False) -> Float[np.ndarray, " m"]:
    """`log(place)`, the best in place 1; ties share the mean of their places.

    The step from place 1 to 2 weighs as much as that from 50 to 100: a mean of log ranks is a matter of the best.

    Args:
        values: scores; NaN is as bad as the worst infinity.
        descending: whether the largest value is the best.

    Returns:
        (m,), at least 0; smaller is better.
    """
    size = np.size(values)
    return np.log(size + 1 - size * average_rank(values, descending=descending))


def _badness(values, descending: bool) -> Float[np.ndarray, " m"]:
    """Values so that less is better; NaN becomes infinity."""
    values = np.asarray(values, float)
    return np.where(np.isnan(values), np.inf, -values if descending else values)


def rank_sum(ranks: Sequence[Int[np.ndarray, " m"]]) -> Int[np.ndarray, " m"]:
    """The sum of a candidate's ranks; smaller is better (TE-NAS, Chen et al. 2021, Algorithm 1).

    Args:
        ranks: one array of `dense_rank` or `released_rank` a score.
    """
    return np.sum(ranks, axis=0)


def sum_of_log_ranks(ranks: Sequence[Float[np.ndarray, " m"]]) -> Float[np.ndarray, " m"]:
    """`sum_i log(rank_i)` of normalised ranks: who is poor by any score cannot come first (AZ-NAS, Lee and Ham 2024).

    Args:
        ranks: one array of `average_rank` a score.

    Returns:
        (m,), at most 0; larger is better.
    """
    return np.sum(np.log(ranks), axis=0)


def log_rank_sum(
    scores: Mapping[str, Float[np.ndarray, "*draws m"]], lower_is_better: Mapping[str, bool]
) -> Float[np.ndarray, " m"]:
    """`sum_of_log_ranks` of scores among the architectures at hand, larger is better.

    Where a score was drawn several times, every draw is ranked by itself and its log ranks are averaged. What the draws
    agree about keeps its full weight, and what they do not agree about averages out: architectures that a score cannot
    tell apart share about the same rank, where an average of values would spread them over all ranks.

    Args:
        scores: by name (m,) or (draws, m); NaN is as bad as the worst infinity.
        lower_is_better: by name.
    """

    def mean_log_rank(name, values):
        return np.mean(
            [np.log(average_rank(draw, descending=not lower_is_better[name])) for draw in np.atleast_2d(values)], axis=0
        )

    return np.sum([mean_log_rank(name, values) for name, values in scores.items()], axis=0)
