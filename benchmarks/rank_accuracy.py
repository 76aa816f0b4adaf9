"""`python -m tenas_jax.rank` on all of NAS-Bench-201 and on DARTS genotypes, against trained or predicted accuracies.

    python benchmarks/rank_accuracy.py --nasbench201 TABLE --darts TABLE [--data IMAGES.npz] [--seeds 10 13]

The tables are csv files whose accuracies enter no score. Every run is a process of its own with an empty compilation cache,
from its start to its exit. Writes `results/rank_accuracy.json`: of all architectures and of both halves (the development
half chose the scores, with seeds 0 to 9) Kendall's tau, Spearman's rho, the first and the mean of the first ten.
"""

import argparse
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from common.halves import halves
from common.processes import ranked
from common.records import write
from common.statistics import judged, over_batches
from tenas_jax import DARTS, NAS_BENCH_201
from tenas_jax.networks import cost
from tenas_jax.rank.benchmark_table import read_table


def study(space, table_path: Path, column: str | None, arguments: list[str], images: dict, seeds: range) -> dict:
    """All runs of one space."""
    accuracies = read_table(table_path, column).accuracies
    result: dict[str, Any] = {"rows": []}
    for source, options in images.items():
        by_score: dict[str, dict[str, list[dict[str, float]]]] = {}
        runs = []
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                rows, record = ranked(Path(folder), [*arguments, *options, "--seed", str(seed)])
            runs.append(record)
            names = [row["architecture"] for row in rows]
            accuracy = np.array([accuracies[name] for name in names])
            sums = {"smoothed": "smoothed", "sum of log ranks": "log_rank_sum"}
            goodness = {label: np.array([float(row[name]) for row in rows]) for label, name in sums.items()}
            for score in record["scores"]:
                values = np.array([float(row[score]) for row in rows])
                bad = -values if score == "condition_number" else values
                goodness[score] = np.where(np.isnan(values), -np.inf, bad)
            masks = np.stack([space.parse(name) for name in names])
            goodness["flops"] = cost.flops(space, masks).astype(float)
            goodness["parameters"] = cost.parameters(space, masks).astype(float)
            for part, chosen in halves(names, space).items():
                for score, values in goodness.items():
                    # Ties and infinities as places: correlation looks at nothing else.
                    places = np.unique(values[chosen], return_inverse=True)[1].astype(float)
                    by_score.setdefault(score, {}).setdefault(part, []).append(judged(places, accuracy[chosen]))
            print(space.name, source, seed, by_score["smoothed"]["all"][-1], record["process_seconds"], flush=True)
        result["rows"] += [
            {
                "images": source,
                "score": score,
                **{
                    part: {figure: over_batches([one[figure] for one in found]) for figure in found[0]}
                    for part, found in parts.items()
                },
            }
            for score, parts in by_score.items()
        ]
        keys = ("architectures", "distinct", "scores", "repeats", "process_seconds", "compile_seconds", "evaluated_now")
        result.setdefault("runs", {})[source] = [{key: run[key] for key in keys} for run in runs]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nasbench201", type=Path, required=True, help="csv of accuracies of all architectures")
    parser.add_argument("--darts", type=Path, required=True, help="csv of genotypes with accuracies")
    parser.add_argument("--darts-column", default="val_accuracy_nb301_surrogate")
    parser.add_argument("--data", type=lambda text: Path(text).resolve(), help="an .npz of CIFAR-10 images")
    parser.add_argument("--seeds", type=int, nargs=2, default=(30, 35))
    arguments = parser.parse_args()
    images: dict[str, list[str]] = {"synthetic": []}
    if arguments.data:
        images["cifar10"] = ["--dataset", "cifar10", "--data", str(arguments.data)]
    seeds = range(*arguments.seeds)
    darts = ["--space", "darts", "--architectures", str(arguments.darts)]
    content = {
        "what": "python -m tenas_jax.rank with its default scores, cold, against accuracies; spread over seeds",
        "seeds": list(seeds),
        "nasbench201": study(NAS_BENCH_201, arguments.nasbench201, None, [], images, seeds),
        "darts": study(DARTS, arguments.darts, arguments.darts_column, darts, images, seeds),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    }
    write("rank_accuracy", content)


if __name__ == "__main__":
    main()
