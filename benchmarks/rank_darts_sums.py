"""Sums of scores of DARTS genotypes: what the analytic kernel and other views add to the default score.

    python benchmarks/rank_darts_sums.py TABLE --cache FOLDER [--seed 21]

TABLE is a csv with columns `normal`, `reduce` and accuracies, which enter no score. Hamming log-determinants of networks of
several depths and patches, spectra of the analytic kernel with max pooling by moments, and yardsticks; all sums of up to
three of them. The development half says which sum is best, the other half what it is worth. What FOLDER holds is not
evaluated again. Writes `results/rank_darts_sums.json`.
"""

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np

from common.halves import in_development_half
from common.records import write
from common.statistics import tau
from tenas_jax import DARTS
from tenas_jax.data import open_images
from tenas_jax.networks import cost
from tenas_jax.networks.yardsticks import yardsticks
from tenas_jax.rank.architectures import read_rows, row_architecture
from tenas_jax.scores.catalogue import catalogue
from tenas_jax.scores.ranks import log_rank_sum
from tenas_jax.scores.scorer import prepare
from tenas_jax.spaces.score import Kernel, Patterns, Score

DEFAULT = "hamming_log_determinant"


def views() -> dict[str, tuple[Score, int]]:
    """Scores with the draws that each gets."""
    known = catalogue(DARTS)
    default = known[DEFAULT]
    patterns, kernel = default.work, known["condition_number"].work
    assert isinstance(patterns, Patterns)
    assert isinstance(kernel, Kernel)

    def thin(cells: int, side: int) -> Score:
        return default._replace(work=patterns._replace(skeleton=patterns.skeleton._replace(cells=cells), side=side))

    analytic = kernel._replace(ntk="analytic", images=8, side=4, skeleton=kernel.skeleton._replace(channels=16))
    plain = analytic._replace(batch_norm="none")
    found = {
        DEFAULT: (default, 4),
        "hamming_log_determinant, 4 cells": (thin(4, 2), 2),
        "hamming_log_determinant, 8 cells": (thin(8, 2), 2),
        "hamming_log_determinant, 6 cells, patches of 3 x 3": (thin(6, 3), 2),
    }
    for name, work in (("batch norm", analytic), ("no batch norm", plain)):
        for statistic in ("condition_number", "trace_over_smallest", "smallest_eigenvalue", "entropy"):
            found[f"analytic {statistic}, {name}"] = (known[statistic]._replace(work=work), 1)
    return found


def evaluated(masks: np.ndarray, seed: int, cache: Path) -> tuple[dict[str, np.ndarray], dict[str, bool]]:
    """Draws of every score (draws, m), and which of them are better the lower they are."""
    scores = views()
    values: dict[str, np.ndarray] = {}
    for work in dict.fromkeys(score.work for score, _ in scores.values()):
        same = {name: score for name, (score, _) in scores.items() if score.work == work}
        path = cache / f"{list(scores).index(next(iter(same)))}_{seed}_{len(masks)}.npz"
        if not path.exists():
            start = time.perf_counter()
            draws = scores[next(iter(same))][1]
            table = prepare(DARTS, same, open_images(seed=seed), seed=seed, repeats=draws)(masks)
            kept: dict[str, Any] = dict(table.values)
            np.savez_compressed(path, **kept)
            print(*same, f"{time.perf_counter() - start:.0f} s", flush=True)
        with np.load(path) as kept:
            values |= {name: kept[name] for name in same}
    counted = yardsticks(DARTS, masks)._asdict() | cost.costs(DARTS, masks)._asdict()
    values |= {name: np.asarray(one, float)[None] for name, one in counted.items()}
    return values, {name: scores[name][0].lower_is_better if name in scores else False for name in values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="where scores that are done are kept")
    parser.add_argument("--column", default="val_accuracy_nb301_surrogate")
    parser.add_argument("--seed", type=int, default=21)
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    rows = read_rows(arguments.table)[1]
    names = [row_architecture(row) for row in rows]
    masks = np.stack([DARTS.parse(name) for name in names])
    accuracy = np.array([float(row[arguments.column]) for row in rows])
    development = np.array([in_development_half(name) for name in names])
    values, lower = evaluated(masks, arguments.seed, arguments.cache)
    found = []
    for count in (1, 2, 3):
        for chosen in itertools.combinations(values, count):
            if count > 1 and DEFAULT not in chosen:
                continue
            goodness = log_rank_sum({name: values[name] for name in chosen}, lower)
            halves = {"development half": development, "other half": ~development}
            taus = {part: round(tau(goodness[rows], accuracy[rows]), 4) for part, rows in halves.items()}
            found.append({"scores": list(chosen), **taus})
    sums = sorted((one for one in found if len(one["scores"]) > 1), key=lambda one: -one["development half"])
    content = {
        "what": "Kendall's tau with surrogate accuracies of DARTS genotypes; sums of log ranks with the default score",
        "seed": arguments.seed,
        "genotypes": len(masks),
        "alone": [one for one in found if len(one["scores"]) == 1],
        "with_the_default": [one for one in found if len(one["scores"]) == 2],
        "best_on_the_development_half": sums[:10],
    }
    for one in content["alone"] + content["with_the_default"] + content["best_on_the_development_half"]:
        print(one)
    write("rank_darts_sums", content)


if __name__ == "__main__":
    main()
