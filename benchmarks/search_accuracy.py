"""What the default pruning search finds on NAS-Bench-201, over seeds, and by other sets of scores.

    python benchmarks/search_accuracy.py TABLE [--data IMAGES.npz] [--seeds 40 70] [--sets default]

TABLE is a csv of trained accuracies, which are looked up after each search and take no part in it. Programs are compiled
once for all seeds, images and sets: `seconds` are those of a search after that. Writes `results/search_accuracy.json`: per
image source and set of scores, the architectures found and the mean accuracy with its standard error.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax

from common.records import write
from common.statistics import mean_and_error
from tenas_jax.data import ImageSource, open_images
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import indicators
from tenas_jax.search.pruner import prune
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.single_input import DEFAULT_SCORES, PRESETS

SETS = {
    "default": DEFAULT_SCORES,
    **{f"without {score}": tuple(s for s in DEFAULT_SCORES if s != score) for score in DEFAULT_SCORES},
    "TE-NAS's two, analytic kernel": ("condition_number_ntk_parametrisation", "linear_regions"),
}


class Replaceable:
    """Images that can be replaced by others, for programs that have been compiled."""

    def __init__(self, now: ImageSource):
        self.now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument(
        "--data", type=Path, help="an .npz of CIFAR-10 images; without it only synthetic images are used"
    )
    parser.add_argument("--seeds", type=int, nargs=2, default=(40, 70), help="first seed, and the one after the last")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=["default"])
    parser.add_argument("--name", default="search_accuracy", help="of the result's file")
    arguments = parser.parse_args()
    table = read_table(arguments.table)
    source: Any = Replaceable(open_images())
    names = dict.fromkeys(score for chosen in arguments.sets for score in SETS[chosen])
    made = {i.name: i for i in indicators(NAS_BENCH_201, source, chosen_scores(NAS_BENCH_201, list(names)))}
    rows = []
    for images in ["synthetic", "cifar10"] if arguments.data else ["synthetic"]:
        for chosen in arguments.sets:
            found, seconds = [], []
            for seed in range(*arguments.seeds):
                source.now = open_images("cifar10", arguments.data) if images == "cifar10" else open_images(seed=seed)
                start = time.perf_counter()
                mask, _ = prune(
                    jax.random.key(seed),
                    NAS_BENCH_201,
                    [made[score] for score in SETS[chosen]],
                    paths=PRESETS["default"].paths,
                )
                seconds.append(time.perf_counter() - start)
                found.append(NAS_BENCH_201.format(mask))
                print(images, chosen, seed, table.accuracies[found[-1]], f"{seconds[-1]:.1f} s", flush=True)
            accuracies = [table.accuracies[architecture] for architecture in found]
            rows.append(
                {
                    "images": images,
                    "set": chosen,
                    "scores": list(SETS[chosen]),
                    "accuracy": mean_and_error(accuracies),
                    "seconds": mean_and_error(seconds),
                    "architectures": found,
                    "accuracies": [round(accuracy, 2) for accuracy in accuracies],
                }
            )
    optimum = max(table.accuracies.values())
    write(arguments.name, {"seeds": list(range(*arguments.seeds)), "optimum": optimum, "rows": rows})


if __name__ == "__main__":
    main()
