"""The three strategies of `python -m tenas_jax.search`: what they find, with how many evaluations, in how many seconds.

    python benchmarks/search_strategies.py --nasbench201 TABLE [--seeds 30 40] [--exhaustive-seeds 30 35]

On NAS-Bench-201 without limits and with limits on multiply-adds, against the best architecture that meets them; the table's
accuracies enter no score. On DARTS, where no table holds what is found, by the score that both strategies go by, drawn anew
with a seed of its own. Every run is a process; the first of a strategy compiles (an empty compilation cache), the others do
not. Writes `results/search_strategies.json`.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from common.processes import run
from common.records import write
from common.statistics import mean_and_error
from tenas_jax import DARTS, NAS_BENCH_201
from tenas_jax.data import open_images
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.scorer import prepare
from tenas_jax.search.budget import Budget

LIMITS = (None, 60_000_000)  # multiply-adds
JUDGE = 1000  # the seed of the draws by which DARTS genotypes are compared


def searched(arguments: list[str], seed: int, cache: Path) -> dict[str, Any]:
    """The result of one process, with its seconds from start to exit."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        done = run(
            "tenas_jax.search",
            [*arguments, "--seed", str(seed), "--output", str(output)],
            Path(folder) / "process",
            {"JAX_COMPILATION_CACHE_DIR": str(cache)},
        )
        result = json.loads((output / "result.json").read_text())
    return {
        "seed": seed,
        "architecture": result["architecture"],
        "cost": result["cost"],
        "evaluations": result["evaluations"],
        "process_seconds": done.seconds,
    }


def runs_of(arguments: list[str], seeds: range) -> dict[str, Any]:
    """All seeds of one strategy: the first compiles."""
    with tempfile.TemporaryDirectory() as cache:
        runs = [searched(arguments, seed, Path(cache)) for seed in seeds]
    warm = [run["process_seconds"] for run in runs[1:]] or [runs[0]["process_seconds"]]
    return {
        "evaluations": round(float(np.mean([run["evaluations"] for run in runs]))),
        "seconds_cold": runs[0]["process_seconds"],
        "seconds_warm": round(float(np.median(warm)), 2),
        "runs": runs,
    }


def nasbench201(accuracies: dict[str, float], seeds: dict[str, range]) -> list[dict[str, Any]]:
    """A row a limit and strategy."""
    everything = np.stack(list(NAS_BENCH_201.enumerate()))
    accuracy = np.array([accuracies[NAS_BENCH_201.format(mask)] for mask in everything])
    rows = []
    for limit in LIMITS:
        affordable = accuracy[Budget(flops=limit).meet(NAS_BENCH_201, everything)] if limit else accuracy
        for strategy, some in seeds.items():
            arguments = ["--strategy", strategy, *(["--max-flops", str(limit)] if limit else [])]
            found = runs_of(arguments, some)
            reached = [accuracies[run["architecture"]] for run in found["runs"]]
            row = {
                "max_flops": limit,
                "strategy": strategy,
                "optimum": float(affordable.max()),
                "median": float(np.median(affordable)),
                "accuracy": mean_and_error(reached),
            }
            rows.append(row | found)
            print(row, found["evaluations"], found["seconds_cold"], found["seconds_warm"], flush=True)
    return rows


def darts(seeds: range) -> list[dict[str, Any]]:
    """Both strategies on DARTS, judged by fresh draws of the score that they go by."""
    score = "hamming_log_determinant"
    judge = prepare(DARTS, chosen_scores(DARTS, (score,)), open_images(seed=JUDGE), seed=JUDGE)
    rows = []
    for strategy in ("prune", "evolve"):
        found = runs_of(["--space", "darts", "--strategy", strategy], seeds)
        masks = np.stack([DARTS.parse(run["architecture"]) for run in found["runs"]])
        values = judge(masks).values[score].mean(0)
        millions = [run["cost"]["parameters"] / 1e6 for run in found["runs"]]
        row = {"strategy": strategy, "score": mean_and_error(values), "million_parameters": mean_and_error(millions)}
        rows.append(row | found)
        print(row, found["evaluations"], found["seconds_cold"], found["seconds_warm"], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nasbench201", type=Path, required=True, help="csv of accuracies of all architectures")
    parser.add_argument("--seeds", type=int, nargs=2, default=(30, 40))
    parser.add_argument("--exhaustive-seeds", type=int, nargs=2, default=(30, 35))
    parser.add_argument("--darts-seeds", type=int, nargs=2, default=(30, 33))
    arguments = parser.parse_args()
    seeds = {name: range(*arguments.seeds) for name in ("prune", "evolve")}
    content = {
        "what": "what the strategies find with their default settings, synthetic images",
        "nasbench201": nasbench201(
            read_table(arguments.nasbench201, None).accuracies,
            seeds | {"exhaustive": range(*arguments.exhaustive_seeds)},
        ),
        "darts": darts(range(*arguments.darts_seeds)),
    }
    write("search_strategies", content)


if __name__ == "__main__":
    main()
