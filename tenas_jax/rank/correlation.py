"""How well scores rank architectures whose accuracies are known. Accuracies enter here and in no score."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

TOPS = (1, 10, 100)


class Figure(NamedTuple):
    """A figure with its bootstrap interval.

    Attributes:
        value: of all architectures.
        low: 2.5 % quantile over architectures drawn with replacement.
        high: 97.5 % quantile.
    """

    value: float
    low: float
    high: float


def ndcg(goodness: Float[np.ndarray, " m"], accuracy: Float[np.ndarray, " m"]) -> float:
    """Normalised discounted cumulative gain (Järvelin and Kekäläinen 2002; exponential gain, Burges et al. 2005).

    The gain of an architecture is `2^r - 1`, r its accuracy scaled to [0, 1] over all; the discount of place p is
    `log2(1 + p)`.

    Args:
        goodness: larger is better; of equal ones the earlier comes first.
        accuracy: of the same architectures.

    Returns:
        At most 1, for the order of the accuracies themselves; NaN where all accuracies are equal.
    """
    spread = accuracy.max() - accuracy.min()
    if spread == 0:
        return float("nan")
    gain = 2 ** ((accuracy - accuracy.min()) / spread) - 1
    discount = np.log2(2 + np.arange(len(gain)))
    return float((gain[_order(goodness)] / discount).sum() / (np.sort(gain)[::-1] / discount).sum())


def _order(goodness):
    return np.argsort(-goodness, kind="stable")


def _kendall(goodness, accuracy) -> float:
    from scipy.stats import kendalltau

    return float(np.asarray(kendalltau(goodness, accuracy))[0])


def _spearman(goodness, accuracy) -> float:
    from scipy.stats import spearmanr

    return float(np.asarray(spearmanr(goodness, accuracy))[0])


FIGURES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "kendall_tau": _kendall,
    "spearman_rho": _spearman,
    "ndcg": ndcg,
    **{f"best_of_top_{k}": lambda g, a, k=k: float(a[_order(g)[:k]].max()) for k in TOPS},
}


def correlate(
    goodness: Float[np.ndarray, " m"], accuracy: Float[np.ndarray, " m"], *, resamples: int = 200, seed: int = 0
) -> dict[str, Figure] | None:
    """Kendall's tau-b, Spearman's rho, nDCG, and the best accuracy among the first 1, 10 and 100.

    Args:
        goodness: larger is better, no NaN: ranks, for instance `scores.ranks.average_rank` of a score.
        accuracy: of the same architectures, in per cent.
        resamples: bootstrap samples of architectures.
        seed: of the bootstrap.

    Returns:
        By figure its value and interval; None where all scores, or all accuracies, are equal: nothing is ranked.
    """
    if not _varied(goodness, accuracy):
        return None
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(goodness), size=len(goodness)) for _ in range(resamples)]
    figures = {}
    for name, figure in FIGURES.items():
        again = [figure(goodness[rows], accuracy[rows]) for rows in draws if _varied(goodness[rows], accuracy[rows])]
        low, high = np.nanquantile(again, [0.025, 0.975]) if again else (np.nan, np.nan)
        figures[name] = Figure(figure(goodness, accuracy), float(low), float(high))
    return figures


def _varied(goodness, accuracy) -> bool:
    return len(goodness) > 1 and np.ptp(goodness) > 0 and np.ptp(accuracy) > 0


def as_table(results: Mapping[str, dict[str, Figure] | None]) -> str:
    """A table for people, a row a score.

    Args:
        results: of `correlate`, by score.
    """
    head = ["score", "Kendall tau", "Spearman rho", "nDCG", *(f"best of top {k}" for k in TOPS)]
    rows = []
    for score, figures in results.items():
        if figures is None:
            rows.append([score, "the same for all: ranks nothing", *[""] * (len(head) - 2)])
            continue
        digits = [3, 3, 3, *[2] * len(TOPS)]
        rows.append(
            [
                score,
                *(
                    f"{f.value:.{d}f} [{f.low:.{d}f}, {f.high:.{d}f}]"
                    for f, d in zip(figures.values(), digits, strict=True)
                ),
            ]
        )
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    )
