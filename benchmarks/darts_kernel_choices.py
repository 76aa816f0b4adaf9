"""What limits the analytic NTK on DARTS: depth, image size, parametrisation, statistic, and max pooling.

    python benchmarks/darts_kernel_choices.py TABLE [--genotypes 150] [--sampled 40]

TABLE is a csv with columns `normal`, `reduce` and accuracies that a surrogate predicts; they enter no score. Genotypes are
of the development half, seeds 0 and 1, images synthetic. Max pooling has no closed form, so most rows replace it by average
pooling; the last ones compare kernels with sampled maxima and without, on the first `--sampled` genotypes. Writes
`results/darts_kernel_choices.json`: Kendall's tau of the mean over seeds, by statistic of the kernel.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from halves import in_development_half
from report import write
from scipy.stats import kendalltau

from tenas_jax.architectures import read_rows, row_architecture
from tenas_jax.data import image_batch, open_images
from tenas_jax.infinite import analytic_ntk
from tenas_jax.kernels import Settings
from tenas_jax.network import Macro
from tenas_jax.scores import MaskProgram
from tenas_jax.space import DARTS, SearchSpace
from tenas_jax.spectra import statistics

SEEDS = (0, 1)
WITHOUT_MAXIMA = replace(DARTS, operators=tuple(o for o in DARTS.operators if o != "max_pool_3x3"))


def averaged_pools(masks: np.ndarray) -> np.ndarray:
    """The masks with average pooling in the place of max pooling, for the space that has no maximum."""
    average, maximum = DARTS.operators.index("avg_pool_3x3"), DARTS.operators.index("max_pool_3x3")
    merged = masks.copy()
    merged[..., average] |= merged[..., maximum]
    return np.delete(merged, maximum, axis=-1)


def taus(
    space: SearchSpace, masks: np.ndarray, accuracy: np.ndarray, macro: Macro, settings: Settings, side: int
) -> dict:
    """Kendall's tau by statistic; each with the sign that is expected to be good."""
    program = MaskProgram(lambda mask, batch: analytic_ntk(space, mask, batch, macro=macro, settings=settings))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--column", default="val_accuracy_nb301_surrogate")
    parser.add_argument("--genotypes", type=int, default=150)
    parser.add_argument("--sampled", type=int, default=40, help="of them, with maxima")
    arguments = parser.parse_args()
    found = [(row_architecture(row), float(row[arguments.column])) for row in read_rows(arguments.table)[1]]
    chosen = [pair for pair in found if in_development_half(pair[0])][: arguments.genotypes]
    masks = np.stack([DARTS.parse(name) for name, _ in chosen])
    accuracy = np.array([value for _, value in chosen])
    rows: list[dict[str, Any]] = []

    def add(label: str, space, masks, accuracy, cells: int, side: int, parametrisation) -> None:
        macro = Macro(channels=4, cells=cells)
        row = taus(space, masks, accuracy, macro, Settings(parametrisation), side)
        setting = {"pooling": label, "cells": cells, "side": side, "parametrisation": parametrisation}
        rows.append(setting | {"genotypes": len(masks), "kendall_tau": row})
        print(rows[-1], flush=True)

    plain = averaged_pools(masks)
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
    few = slice(arguments.sampled)
    if arguments.sampled:
        add("average for max", WITHOUT_MAXIMA, plain[few], accuracy[few], 2, 4, "standard")
        add("sampled maxima", DARTS, masks[few], accuracy[few], 2, 4, "standard")
    write("darts_kernel_choices", {"what": "Kendall's tau of the analytic NTK, DARTS, development half", "rows": rows})


if __name__ == "__main__":
    main()
