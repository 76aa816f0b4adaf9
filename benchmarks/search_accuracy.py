"""What the default search finds on NAS-Bench-201, over seeds, with its ablations.

    python benchmarks/search_accuracy.py TABLE [--data IMAGES.npz] [--seeds 20 30] [--rules completion removal]

TABLE is a csv of trained accuracies, which are looked up after each search and take no part in it. Writes
`results/search_accuracy.json`: per image source, rule and choice of indicators, the architectures found and the mean
accuracy with its standard error.
"""

import argparse
import time
from pathlib import Path

import jax

from common.records import write
from common.statistics import mean_and_error
from tenas_jax.data import open_images
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import indicators as indicators_of
from tenas_jax.search.pruner import prune
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.single_input import PRESETS

RULES = ("completion", "removal")
CHOICES = {"both": slice(0, 2), "condition number": slice(0, 1), "linear regions": slice(1, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument(
        "--data", type=Path, help="an .npz of CIFAR-10 images; without it only synthetic images are used"
    )
    parser.add_argument("--seeds", type=int, nargs=2, default=(20, 30), help="first seed, and the one after the last")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--indicators", nargs="+", choices=list(CHOICES), default=list(CHOICES))
    parser.add_argument("--name", default="search_accuracy", help="of the result's file")
    arguments = parser.parse_args()
    choices = {name: CHOICES[name] for name in arguments.indicators}
    table = read_table(arguments.table)

    settings = PRESETS["default"]
    rows = []
    for source_name in ["synthetic", "cifar10"] if arguments.data else ["synthetic"]:
        for rule in arguments.rules:
            # A supernet is compared by three repeats, as TE-NAS does; completions are many already.
            repeats = 3 if rule == "removal" else 1
            found: dict[str, list[str]] = {name: [] for name in choices}
            seconds: dict[str, list[float]] = {name: [] for name in choices}
            for seed in range(*arguments.seeds):
                source = (
                    open_images(seed=seed) if source_name == "synthetic" else open_images("cifar10", arguments.data)
                )
                scores = chosen_scores(NAS_BENCH_201, settings.scores)
                indicators = indicators_of(NAS_BENCH_201, source, scores, repeats=repeats)
                for name, choice in choices.items():
                    start = time.perf_counter()
                    mask, _ = prune(
                        jax.random.key(seed), NAS_BENCH_201, indicators[choice], rule=rule, paths=settings.paths
                    )
                    seconds[name].append(time.perf_counter() - start)
                    found[name].append(NAS_BENCH_201.format(mask))
            for name, architectures in found.items():
                accuracies = [table.accuracies[architecture] for architecture in architectures]
                row = {
                    "images": source_name,
                    "rule": rule,
                    "indicators": name,
                    "accuracy": mean_and_error(accuracies),
                    "seconds": mean_and_error(seconds[name]),
                    "architectures": architectures,
                    "accuracies": [round(accuracy, 2) for accuracy in accuracies],
                }
                rows.append(row)
                print(source_name, rule, name, row["accuracy"], flush=True)
    optimum = max(table.accuracies.values())
    write(arguments.name, {"seeds": list(range(*arguments.seeds)), "optimum": optimum, "rows": rows})


if __name__ == "__main__":
    main()
