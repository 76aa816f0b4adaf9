"""What the default pruning search finds on NAS-Bench-201, over seeds, and by other sets of scores; the default evolution.

    python benchmarks/search_accuracy.py TABLE [--data IMAGES.npz] [--seeds 40 70] [--sets default]
    python benchmarks/search_accuracy.py TABLE --strategy evolve --name search_accuracy_evolve [--data IMAGES.npz]

TABLE is a csv of trained accuracies, which are looked up after each search and take no part in it. Programs are compiled
once for all seeds, images and sets: `seconds` are those of a search after that. Writes `results/search_accuracy.json`: per
image source and set of scores, the architectures found and the mean accuracy with its standard error.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from common.evolving import evolved
from common.records import tree, write
from common.statistics import mean_and_error
from tenas_jax.data import ImageSource, open_images
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.rank.score_table import draws_of
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import indicators
from tenas_jax.scores.scorer import prepare
from tenas_jax.search.pruner import prune
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.score import REPEATS
from tenas_jax.spaces.single_input import DEFAULT_SCORES, PRESETS

SPACE = NAS_BENCH_201
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


def pruner_of(chosen: list[str], source: Any) -> Callable[[str, int], np.ndarray]:
    """The default pruning by set and seed, as a function whose programs are compiled once."""
    names = dict.fromkeys(score for one in chosen for score in SETS[one])
    made = {i.name: i for i in indicators(SPACE, source, chosen_scores(SPACE, list(names)))}

    def found(one, seed):
        by = [made[score] for score in SETS[one]]
        return prune(jax.random.key(seed), SPACE, by, paths=PRESETS["default"].paths)[0]

    return found


def evolver_of(chosen: list[str], source: Any) -> Callable[[str, int], np.ndarray]:
    """The default evolution by set and seed, what `search.strategies.evolve` does without a folder."""

    def found(one, seed):
        scores = chosen_scores(SPACE, list(SETS[one]))
        scorer = prepare(SPACE, scores, source, seed=seed, repeats=REPEATS)
        lower = {name: score.lower_is_better for name, score in scores.items()}

        def score(masks):
            return draws_of(SPACE, scores, masks, scorer(masks), np.arange(len(masks)))

        return evolved(SPACE, score, lower, seed)

    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument(
        "--data", type=Path, help="an .npz of CIFAR-10 images; without it only synthetic images are used"
    )
    parser.add_argument("--seeds", type=int, nargs=2, default=(40, 70), help="first seed, and the one after the last")
    parser.add_argument("--images", nargs="+", default=["synthetic", "cifar10"], choices=["synthetic", "cifar10"])
    parser.add_argument("--strategy", choices=["prune", "evolve"], default="prune")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=["default"])
    parser.add_argument(
        "--cache", type=Path, help="a folder that keeps every search, so that an interrupted run goes on"
    )
    parser.add_argument("--name", default="search_accuracy", help="of the result's file")
    arguments = parser.parse_args()
    table = read_table(arguments.table)
    source: Any = Replaceable(open_images())
    search = {"prune": pruner_of, "evolve": evolver_of}[arguments.strategy](arguments.sets, source)
    rows = []
    for images in arguments.images if arguments.data else ["synthetic"]:
        for chosen in arguments.sets:
            found, seconds, commits = [], [], set()
            for seed in range(*arguments.seeds):
                source.now = open_images("cifar10", arguments.data) if images == "cifar10" else open_images(seed=seed)
                path = (
                    arguments.cache / f"{arguments.strategy} {chosen} {images} {seed}.json" if arguments.cache else None
                )
                if path and path.exists():
                    one = json.loads(path.read_text())
                else:
                    start = time.perf_counter()
                    architecture = SPACE.format(search(chosen, seed))
                    seconds_of_it = time.perf_counter() - start
                    one = {"architecture": architecture, "seconds": seconds_of_it, "commit": tree()["commit"]}
                    print(images, chosen, seed, table.accuracies[architecture], f"{one['seconds']:.1f} s", flush=True)
                if path:
                    path.write_text(json.dumps(one))
                commits.add(one["commit"])
                found.append(one["architecture"])
                seconds.append(one["seconds"])
            accuracies = [table.accuracies[architecture] for architecture in found]
            rows.append(
                {
                    "images": images,
                    "strategy": arguments.strategy,
                    "set": chosen,
                    "scores": list(SETS[chosen]),
                    "accuracy": mean_and_error(accuracies),
                    "seconds": mean_and_error(seconds),
                    "evaluated_at": sorted(commits),
                    "architectures": found,
                    "accuracies": [round(accuracy, 2) for accuracy in accuracies],
                }
            )
    optimum = max(table.accuracies.values())
    write(arguments.name, {"seeds": list(range(*arguments.seeds)), "optimum": optimum, "rows": rows})


if __name__ == "__main__":
    main()
