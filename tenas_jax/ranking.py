"""From scores to ranks: relative changes, rounding, dense ranks, and ways to add ranks up. NumPy on the host, float64."""

import numpy as np
from jaxtyping import Float, Int


def relative_change(after: Float[np.ndarray, "..."], before: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """`(after - before) / |before|`; where either is not finite, the sign of their difference times infinity.

    Args:
        after: scores of candidates.
        before: the score that each is compared with; broadcast.

    Returns:
        The changes; 0 where both are equal, infinite or not.
    """
    after, before = np.broadcast_arrays(np.asarray(after, float), np.asarray(before, float))
    with np.errstate(invalid="ignore", divide="ignore"):
        change = (after - before) / np.abs(before)
        return np.where(np.isfinite(change), change, np.where(after == before, 0.0, np.sign(after - before) * np.inf))


def round_significant(values: Float[np.ndarray, "..."], figures: int) -> Float[np.ndarray, "..."]:
    """Rounds to a number of significant figures; zeros and infinities stay.

    Args:
        values: any array.
        figures: at least 1.
    """
    values = np.asarray(values, float)
    return np.array([float(f"{value:.{figures - 1}e}") for value in values.ravel()]).reshape(values.shape)


def dense_rank(values: Float[np.ndarray, " m"], *, descending: bool = False) -> Int[np.ndarray, " m"]:
    """Ranks from 0, best first: equal values share a rank and no rank is left out.

    Args:
        values: scores; NaN ranks behind everything.
        descending: whether the largest value is the best.

    Returns:
        (m,) int.
    """
    values = np.asarray(values, float)
    key = np.where(np.isnan(values), np.inf, -values if descending else values)
    return np.unique(key, return_inverse=True)[1].reshape(values.shape)


def released_rank(changes: Float[np.ndarray, " m"], *, descending: bool = False) -> Int[np.ndarray, " m"]:
    """Ranks as the released TE-NAS gives them.

    Candidates are sorted, stably, by their change taken to 3 significant figures; two neighbours in that order share a
    rank only where their changes are exactly equal.

    Args:
        changes: mean changes, in the order in which candidates were tried.
        descending: whether the largest change is the best.

    Returns:
        (m,) int from 0, best first.
    """
    changes = np.asarray(changes, float)
    key = round_significant(changes, 3)
    order = np.argsort(-key if descending else key, kind="stable")
    new = np.append(False, changes[order][1:] != changes[order][:-1])
    ranks = np.empty(len(changes), int)
    ranks[order] = np.cumsum(new)
    return ranks


def average_rank(values: Float[np.ndarray, " m"], *, descending: bool = False) -> Float[np.ndarray, " m"]:
    """Ranks in (0, 1], best 1; ties share the mean of their places.

    Args:
        values: scores; NaN and infinity on the bad side rank last.
        descending: whether the largest value is the best.

    Returns:
        (m,) float.
    """
    values = np.asarray(values, float)
    key = np.where(np.isnan(values), -np.inf, values if descending else -values)
    unique, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    del unique
    last = np.cumsum(counts)
    return ((last - (counts - 1) / 2) / len(values))[inverse].reshape(values.shape)


def sum_of_log_ranks(ranks: list[Float[np.ndarray, " m"]]) -> Float[np.ndarray, " m"]:
    """`sum_i log(rank_i)` of normalised ranks: a candidate that is poor by any score cannot come first (AZ-NAS, Lee and Ham 2024).

    Args:
        ranks: one array of `average_rank` a score.

    Returns:
        (m,), at most 0; larger is better.
    """
    return np.sum(np.log(ranks), axis=0)
