"""Scores of cells of NAS-Bench-101 and sums of them, beside what can be counted, against accuracies.

    python benchmarks/rank_nasbench101.py TABLE [--seed 0] [--repeats 1] [--scores NAME ...]

TABLE is a csv with the benchmark's columns `hash`, `adjacency` and `operators` and one of validation accuracies, which
enter no score; rows without one are left out. By the second bit of the crc32 of the hash they are in two halves (by the
first bit the development part of the table was taken from the whole): the default scores of the space were chosen by the
figures of the development half, with the first 800 rows, which were looked at first, and the others report. Synthetic
images. Writes
`results/rank_nasbench101.json`: Kendall's tau and Spearman's rho of both halves.
"""

import argparse
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from common.records import write
from tenas_jax.command_line import use_compilation_cache
from tenas_jax.data import open_images
from tenas_jax.rank.architectures import read_rows, row_architecture
from tenas_jax.scores.catalogue import catalogue, costs_of
from tenas_jax.scores.ranks import average_rank, sum_of_log_ranks
from tenas_jax.scores.scorer import prepare
from tenas_jax.spaces.nasbench101 import DEFAULT_SCORES, NAS_BENCH_101, cells_of, in_first_order
from tenas_jax.spaces.nasbench101_cells import cell_counts
from tenas_jax.spaces.single_input import DEFAULT_SCORES as OF_NAS_BENCH_201

SCORES = (
    "condition_number_no_batch_norm", "smallest_eigenvalue_no_batch_norm", "trace_over_smallest", "hamming",
    "linear_regions", "effective_regions", "hamming_log_determinant", "effective_regions_deep",
)  # fmt: skip
LOOKED_AT = 800  # rows
COUNTED = ("edges", "vertices", "longest_path")
_COUNTS = ("live_convolutions", "live_spatial_convolutions")
SUMS = {
    "default": DEFAULT_SCORES,
    "default of NAS-Bench-201": OF_NAS_BENCH_201,
    "counts alone": _COUNTS,
    "patterns alone": ("effective_regions_deep", "hamming_log_determinant"),
    "default with hamming_log_determinant": (*DEFAULT_SCORES, "hamming_log_determinant"),
    "default with condition_number_no_batch_norm": (*DEFAULT_SCORES, "condition_number_no_batch_norm"),
    "default with parameters": (*DEFAULT_SCORES, "parameters"),
    "hamming_log_determinant and counts": ("hamming_log_determinant", *_COUNTS),
}


def normalised_ranks(masks: np.ndarray, scores: tuple[str, ...], seed: int, repeats: int) -> dict[str, np.ndarray]:
    """Ranks, the best 1, by score; of the mean over repeats."""
    known = {name: score for name, score in catalogue(NAS_BENCH_101).items() if name in scores or score.work is None}
    first = in_first_order(NAS_BENCH_101, masks)
    table = prepare(NAS_BENCH_101, known, open_images(seed=seed), seed=seed, repeats=repeats)(first)
    values = {name: found.astype(float) for name, found in costs_of(NAS_BENCH_101, known, masks).items()}
    for name, found in table.values.items():
        values[name] = np.log(found).mean(0) if known[name].geometric else found.mean(0)
    ranks = {name: average_rank(v, descending=not known[name].lower_is_better) for name, v in values.items()}
    counted = cell_counts(cells_of(masks))._asdict()
    ranks |= {name: average_rank(counted[name].astype(float), descending=True) for name in COUNTED}
    sums = {name: parts for name, parts in SUMS.items() if set(parts) <= set(ranks)}
    return ranks | {
        name: average_rank(sum_of_log_ranks([ranks[part] for part in parts]), descending=True)
        for name, parts in sums.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--column", default="validation_accuracy_108")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--scores", nargs="*", default=SCORES)
    arguments = parser.parse_args()
    use_compilation_cache()
    rows = [row for row in read_rows(arguments.table)[1] if row[arguments.column]]
    masks = np.stack([NAS_BENCH_101.parse(row_architecture(row)) for row in rows])
    accuracy = np.array([float(row[arguments.column]) for row in rows])
    development = np.array([zlib.crc32(row["hash"].encode()) // 2 % 2 == 0 for row in rows])
    development[:LOOKED_AT] = True
    ranks = normalised_ranks(masks, tuple(arguments.scores), arguments.seed, arguments.repeats)
    figures: dict[str, Any] = {}
    for name, values in ranks.items():
        figures[name] = {
            half: {
                "kendall_tau": float(np.asarray(kendalltau(values[chosen], accuracy[chosen]))[0]),
                "spearman_rho": float(np.asarray(spearmanr(values[chosen], accuracy[chosen]))[0]),
            }
            for half, chosen in (("development half", development), ("other half", ~development))
        }
        print(name, {half: round(one["kendall_tau"], 3) for half, one in figures[name].items()}, flush=True)
    content = {
        "what": "Kendall's tau and Spearman's rho of scores with validation accuracies of NAS-Bench-101, synthetic images",
        "architectures": {"development half": int(development.sum()), "other half": int((~development).sum())},
        "seed": arguments.seed,
        "repeats": arguments.repeats,
        "sums": {name: list(parts) for name, parts in SUMS.items() if name in ranks},
        "rows": figures,
    }
    write("rank_nasbench101", content)


if __name__ == "__main__":
    main()
