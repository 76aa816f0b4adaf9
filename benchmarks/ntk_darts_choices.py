"""What limits the analytic NTK on DARTS: depth, image size, parametrisation, statistic, and max pooling.

    python benchmarks/ntk_darts_choices.py TABLE [--genotypes 150]
    python benchmarks/ntk_darts_choices.py TABLE --part maxima [--sampled 30]

TABLE is a csv with columns `normal`, `reduce` and accuracies that a surrogate predicts; they enter no score. Genotypes are
of the development half, seeds 0 and 1, images synthetic. Max pooling has no closed form: the first part replaces it by
average pooling and writes `results/ntk_darts_choices.json`, Kendall's tau of the mean over seeds by statistic of the
kernel; the second asks what that changes, and writes `results/ntk_darts_maxima.json`.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.stats import kendalltau

from common.averaged_pools import WITHOUT_MAXIMA, averaged_pools
from common.halves import in_development_half
from common.records import write
from tenas_jax.data import image_batch, open_images
from tenas_jax.ntk.analytic import analytic_ntk
from tenas_jax.ntk.gaussian_kernels import Settings
from tenas_jax.ntk.spectrum import statistics
from tenas_jax.rank.architectures import read_rows, row_architecture
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace

SEEDS = (0, 1)


def taus(
    space: SearchSpace, masks: np.ndarray, accuracy: np.ndarray, skeleton: Skeleton, settings: Settings, side: int
) -> dict:
    """Kendall's tau by statistic; each with the sign that is expected to be good."""
    program = MaskProgram(partial(_kernel, space, skeleton, settings))
    totals: dict[str, np.ndarray] = {}
    for seed in SEEDS:
        images = image_batch(jax.random.key(seed), open_images(seed=seed), 8, side=side)
        found = statistics(program(masks, images))
        values = {
            "condition number": -np.log(found.condition_number),
            "smallest eigenvalue": np.log(np.maximum(found.smallest_eigenvalue, 1e-12)),
            "trace": np.log(found.trace),
            "entropy": found.entropy,
        }
        for name, value in values.items():
            totals[name] = totals.get(name, np.zeros(len(masks))) + np.nan_to_num(value, neginf=-1e6)
    return {name: round(float(np.asarray(kendalltau(value, accuracy))[0]), 4) for name, value in totals.items()}


def maxima(masks: np.ndarray, plain: np.ndarray, accuracy: np.ndarray) -> dict[str, Any]:
    """The same kernels with sampled maxima and with averages in their place: do they rank alike, and what do they cost?"""
    skeleton, settings = Skeleton(channels=4, cells=2), Settings()
    images = image_batch(jax.random.key(0), open_images(seed=0), 8, side=4)
    logs, seconds = {}, {}
    for label, space, chosen in (("average for max", WITHOUT_MAXIMA, plain), ("sampled maxima", DARTS, masks)):
        program = MaskProgram(partial(_kernel, space, skeleton, settings))
        program(chosen[:1], images)
        start = time.perf_counter()
        logs[label] = np.log(statistics(program(chosen, images)).condition_number)
        seconds[label] = round((time.perf_counter() - start) / len(chosen), 4)
    with_accuracy = {label: round(float(np.asarray(kendalltau(-v, accuracy))[0]), 4) for label, v in logs.items()}
    return {
        "what": "condition number of the analytic NTK of two cells, 4 x 4 images, with maxima and with averages, DARTS",
        "genotypes": len(masks),
        "with_max_pooling": int(masks[..., DARTS.operators.index("max_pool_3x3")].any((1, 2)).sum()),
        "kendall_tau_of_the_two": round(float(np.asarray(kendalltau(*logs.values()))[0]), 4),
        "kendall_tau_with_accuracy": with_accuracy,
        "seconds_a_genotype": seconds,
    }


def _kernel(space, skeleton, settings, mask, batch):
    return analytic_ntk(space, mask, batch, skeleton=skeleton, settings=settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--column", default="val_accuracy_nb301_surrogate")
    parser.add_argument("--genotypes", type=int, default=150)
    parser.add_argument("--sampled", type=int, default=30, help="of them, with maxima; seconds each")
    parser.add_argument("--part", choices=("settings", "maxima"), default="settings")
    arguments = parser.parse_args()
    found = [(row_architecture(row), float(row[arguments.column])) for row in read_rows(arguments.table)[1]]
    chosen = [pair for pair in found if in_development_half(pair[0])][: arguments.genotypes]
    masks = np.stack([DARTS.parse(name) for name, _ in chosen])
    accuracy = np.array([value for _, value in chosen])
    rows: list[dict[str, Any]] = []

    def add(label: str, space, masks, accuracy, cells: int, side: int, parametrisation) -> None:
        skeleton = Skeleton(channels=4, cells=cells)
        row = taus(space, masks, accuracy, skeleton, Settings(parametrisation), side)
        setting = {"pooling": label, "cells": cells, "side": side, "parametrisation": parametrisation}
        rows.append(setting | {"genotypes": len(masks), "kendall_tau": row})
        print(rows[-1], flush=True)

    plain = averaged_pools(masks)
    if arguments.part == "maxima":
        write(
            "ntk_darts_maxima",
            maxima(masks[: arguments.sampled], plain[: arguments.sampled], accuracy[: arguments.sampled]),
        )
        return
    for cells, side, parametrisation in (
        (2, 4, "ntk"),
        (2, 4, "standard"),
        (1, 4, "standard"),
        (4, 4, "standard"),
        (4, 4, "ntk"),
        (6, 4, "standard"),
        (2, 8, "standard"),
        (4, 8, "standard"),
    ):
        add("average for max", WITHOUT_MAXIMA, plain, accuracy, cells, side, parametrisation)
    write("ntk_darts_choices", {"what": "Kendall's tau of the analytic NTK, DARTS, development half", "rows": rows})


if __name__ == "__main__":
    main()
