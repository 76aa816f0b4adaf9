"""How figures are summed up, and how scores are judged by accuracies."""

from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr


def mean_and_error(values: Any) -> dict[str, float]:
    """Mean, standard error, minimum, maximum and number.

    Args:
        values: at least two numbers.
    """
    values = np.asarray(values, float)
    return {
        "mean": round(float(values.mean()), 4),
        "standard_error": round(float(values.std(ddof=1) / len(values) ** 0.5), 4),
        "minimum": round(float(values.min()), 4),
        "maximum": round(float(values.max()), 4),
        "number": len(values),
    }


def over_batches(figures: list[float]) -> dict[str, Any]:
    """Mean, standard deviation where there are several, and every batch's figure."""
    spread = {"standard_deviation": round(float(np.std(figures, ddof=1)), 4)} if len(figures) > 1 else {}
    return {"mean": round(float(np.mean(figures)), 4), **spread, "batches": [round(figure, 4) for figure in figures]}


def add(rows: dict[str, Any], row: str, part: str, figures: dict[str, float]) -> None:
    """Adds the figures of one batch to those of the batches before.

    Args:
        rows: lists of figures by row, part and key; gets them.
        row: whose figures they are.
        part: of what they are figures.
        figures: by key.
    """
    kept = rows.setdefault(row, {}).setdefault(part, {})
    for key, figure in figures.items():
        kept.setdefault(key, []).append(figure)


def rows_over_batches(rows: dict[str, Any]) -> dict[str, Any]:
    """`over_batches` of every list that `add` has made."""
    return {
        row: {part: {key: over_batches(v) for key, v in figures.items()} for part, figures in by_part.items()}
        for row, by_part in rows.items()
    }


def tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b: 1 for the same order, -1 for the reverse; ties count for neither."""
    result: Any = kendalltau(first, second)
    return float(result.statistic)


def judged(score, accuracy) -> dict[str, float]:
    """How a score ranks. Of equal scores the architecture that the space enumerates first comes first."""
    best = accuracy[np.argsort(-score, kind="stable")]
    return {
        "kendall_tau": float(np.asarray(kendalltau(score, accuracy))[0]),
        "spearman_rho": float(np.asarray(spearmanr(score, accuracy))[0]),
        "first": float(best[0]),
        "mean_of_first_ten": float(best[:10].mean()),
    }
