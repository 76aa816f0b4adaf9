"""What kernels add to the log-determinant of DARTS genotypes, with and without batch norm.

    python benchmarks/rank_darts_kernels.py draw CACHE TABLE [--seeds 20 21 22] [--of NAME ...]
    python benchmarks/rank_darts_kernels.py judge CACHE TABLE

TABLE is a csv with columns `normal`, `reduce` and accuracies that a surrogate predicts; they enter no score. `draw`
evaluates its genotypes on synthetic images, every seed with images and weights of its own, and keeps every draw in CACHE,
outside of the repository. `judge` writes `results/rank_darts_kernels.json`: on either half Kendall's tau of every statistic
alone and in a sum of log ranks with the log-determinant, at several weights, reversed ones too, and what is left where the
log-determinant is held fast, as partial correlations. The analytic kernels take max pooling by moments.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from common.halves import halves
from common.records import write
from common.statistics import over_batches, tau
from tenas_jax import DARTS
from tenas_jax.command_line import use_compilation_cache
from tenas_jax.data import open_images
from tenas_jax.rank.architectures import read_rows, row_architecture
from tenas_jax.scores.catalogue import catalogue, costs_of
from tenas_jax.scores.ranks import average_rank, log_rank_sum
from tenas_jax.scores.scorer import prepare
from tenas_jax.spaces.score import REPEATS, Kernel, Score, of_kernel

BEST = "hamming_log_determinant"
STATISTICS = ("condition_number", "smallest_eigenvalue", "trace_over_smallest", "entropy")
KERNEL_DRAWS = 1
# Of the other score's log ranks beside those of the log-determinant; of its reversed ranks where negative.
WEIGHTS = (-0.25, -0.1, 0.1, 0.25, 1.0)


def kernels() -> dict[str, Kernel]:
    """By what the documents call them: those of the scores of DARTS, with and without batch norm."""
    empirical, analytic = (catalogue(DARTS, ntk)["condition_number"].work for ntk in ("empirical", "analytic"))
    assert isinstance(empirical, Kernel)
    assert isinstance(analytic, Kernel)
    return {
        "analytic": analytic,
        "analytic, no batch norm": analytic._replace(batch_norm="none"),
        "empirical": empirical,
        "empirical, no batch norm": empirical._replace(batch_norm="none"),
    }


def works() -> dict[str, dict[str, Score]]:
    """Scores by what they are read from."""
    found: dict[str, dict[str, Score]] = {BEST: {BEST: catalogue(DARTS)[BEST]}}
    return found | {name: of_kernel(kernel, "", "", *STATISTICS) for name, kernel in kernels().items()}


def kept_in(cache: Path, name: str, seed: int) -> Path:
    """Where the draws of a seed are kept."""
    return cache / f"{name.replace(', ', '-').replace(' ', '_')}_{seed}.npz"


def draw(cache: Path, masks: np.ndarray, seeds: list[int], wanted: list[str]) -> None:
    """Evaluates all genotypes; processor seconds are those after compilation."""
    for name in wanted:
        for seed in seeds:
            path, scores = kept_in(cache, name, seed), works()[name]
            if path.exists():
                continue
            repeats = REPEATS if name == BEST else KERNEL_DRAWS
            scorer = prepare(DARTS, scores, open_images(seed=seed), seed=seed, repeats=repeats)
            scorer(masks[:1])  # compiles
            start = time.process_time()
            values: dict[str, Any] = dict(scorer(masks).values)
            seconds = (time.process_time() - start) / repeats / len(masks)
            np.savez_compressed(path, seconds=seconds, **values)
            print(path.name, f"{1000 * seconds:.1f} ms a genotype", flush=True)


def read_draws(cache: Path, seed: int) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, float]]:
    """By work and score log ranks (m,), mean over draws; by work processor milliseconds a genotype."""
    found, milliseconds = {}, {}
    for name, scores in works().items():
        path = kept_in(cache, name, seed)
        if path.exists():
            with np.load(path) as kept:
                found[name] = log_ranks(scores, kept)
                milliseconds[name] = 1000 * float(kept["seconds"])
    return found, milliseconds


def log_ranks(scores: Mapping[str, Score], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By score (m,), the best near 0."""
    return {n: log_rank_sum({n: values[n]}, {n: score.lower_is_better}) for n, score in scores.items()}


def beside(best: np.ndarray, other: np.ndarray, accuracy: np.ndarray) -> dict[str, float]:
    """A score, larger is better, beside the best one: alone, in sums, and with the best one held fast.

    Args:
        best: (m,) log ranks.
        other: (m,) log ranks.
        accuracy: (m,).
    """
    alone, alike, reached = tau(other, accuracy), tau(other, best), tau(best, accuracy)
    figures = {"alone": alone, "with the log-determinant": alike}
    figures |= {f"sum, weight {weight:g}": tau(best + weighted(other, weight), accuracy) for weight in WEIGHTS}
    figures["partial tau"] = (alone - alike * reached) / ((1 - alike**2) * (1 - reached**2)) ** 0.5  # Kendall 1942
    return figures | {"partial rho": partial_rho(other, accuracy, best)}


def weighted(log_ranks: np.ndarray, weight: float) -> np.ndarray:
    """Log ranks times a weight; of a negative one those of the reversed order."""
    return weight * log_ranks if weight > 0 else -weight * np.log(average_rank(log_ranks))


def partial_rho(first: np.ndarray, second: np.ndarray, held: np.ndarray) -> float:
    """Spearman's partial rho: the correlation of what a regression on a third variable's ranks leaves of two.

    Args:
        first: (m,).
        second: (m,).
        held: (m,).
    """
    basis = np.stack([np.ones(len(held)), rankdata(held)], 1)
    left = [r - basis @ np.linalg.lstsq(basis, r, rcond=None)[0] for r in (rankdata(first), rankdata(second))]
    return float(np.corrcoef(*left)[0, 1])


def judge(cache: Path, masks: np.ndarray, names: list[str], accuracy: np.ndarray) -> dict[str, Any]:
    """All figures of all seeds that the cache holds."""
    parts, known = halves(names, DARTS), catalogue(DARTS)
    counts = {name: values.astype(float) for name, values in costs_of(DARTS, known, masks).items()}
    counted = {"read from the cells": log_ranks({name: known[name] for name in counts}, counts)}
    collected: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    milliseconds: dict[str, list[float]] = {}
    seeds = sorted(int(path.stem.rpartition("_")[2]) for path in cache.glob(f"{BEST}_*.npz"))
    for seed in seeds:
        found, spent = read_draws(cache, seed)
        for name, value in spent.items():
            milliseconds.setdefault(name, []).append(value)
        best = found.pop(BEST)[BEST]
        for part, rows in parts.items():
            figures = {(BEST, BEST): {"alone": tau(best[rows], accuracy[rows])}}
            for name, of_work in (found | counted).items():
                for score, values in of_work.items():
                    figures[name, score] = beside(best[rows], values[rows], accuracy[rows])
            for row, of_row in figures.items():
                for key, figure in of_row.items():
                    collected.setdefault(row, {}).setdefault(part, {}).setdefault(key, []).append(figure)
    return {
        "seeds": seeds,
        "genotypes": {part: int(rows.sum()) for part, rows in parts.items()},
        "processor_milliseconds": {name: round(float(np.median(v)), 2) for name, v in milliseconds.items()},
        "rows": [
            {"of": name, "score": score}
            | {part: {key: over_batches(v) for key, v in figures.items()} for part, figures in row.items()}
            for (name, score), row in collected.items()
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("draw", "judge"))
    parser.add_argument("cache", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--column", default="val_accuracy_nb301_surrogate")
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22])
    parser.add_argument("--of", nargs="+", choices=list(works()), default=list(works()))
    arguments = parser.parse_args()
    rows = read_rows(arguments.table)[1]
    names = [row_architecture(row) for row in rows]
    masks = np.stack([DARTS.parse(name) for name in names])
    if arguments.what == "draw":
        use_compilation_cache()
        draw(arguments.cache, masks, arguments.seeds, arguments.of)
        return
    accuracy = np.array([float(row[arguments.column]) for row in rows])
    content = {
        "what": "Kendall's tau of kernels of DARTS genotypes with surrogate accuracies, beside the log-determinant's",
        "draws": {"log-determinant": REPEATS, "kernels": KERNEL_DRAWS},
        **judge(arguments.cache, masks, names, accuracy),
    }
    write("rank_darts_kernels", content)


if __name__ == "__main__":
    main()
