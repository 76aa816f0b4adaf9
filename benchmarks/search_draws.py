"""Hundreds of searches of NAS-Bench-201 from a table of draws: which settings are ever unlucky.

    python benchmarks/search_draws.py --nasbench201 TABLE --cache FOLDER [--data IMAGES.npz] [--searches 200]

The default scores of all 15,625 architectures are drawn a few dozen times, images and weights anew each time (seeds from
1000). A search then takes its draws from that table at random instead of computing them, so that it takes milliseconds:
pruning with several numbers of completions, the evolution, going through everything with several numbers of draws, and
with several weights of an architecture's neighbourhood.
Accuracies are looked up afterwards and take no part. Two searches share draws now and then, so that errors are a little
larger than they seem.
FOLDER keeps the draws. Writes `results/search_draws.json`.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from common.evolving import evolved
from common.records import RESULTS, tree, write
from common.statistics import mean_and_error
from tenas_jax.data import open_images
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.rank.score_table import draws_of
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import Indicator, Scores
from tenas_jax.scores.neighbours import NEIGHBOURHOOD, neighbour_mean
from tenas_jax.scores.ranks import log_rank_sum
from tenas_jax.scores.scorer import prepare
from tenas_jax.search.pruner import prune
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.score import REPEATS
from tenas_jax.spaces.single_input import DEFAULT_SCORES

SPACE, FIRST_SEED = NAS_BENCH_201, 1000
SCORES = chosen_scores(SPACE, DEFAULT_SCORES)
LOWER = {name: score.lower_is_better for name, score in SCORES.items()}
WEIGHTS = (0, 1, 2, 4)  # of an architecture's neighbourhood in a ranking
PATHS = (48, 96, 192, 384)
DRAWS = (1, 2, 4, 8)
GOOD = 94.2  # what no search should stay below


class Drawn(NamedTuple):
    """Scores of all architectures.

    Attributes:
        masks: (m, cells, edges, operators).
        values: by score (draws, m); a cost has one draw.
        accuracy: (m,) per cent.
    """

    masks: np.ndarray
    values: dict[str, np.ndarray]
    accuracy: np.ndarray

    def places(self, masks: np.ndarray) -> np.ndarray:
        """Where masks stand among all: `SPACE.enumerated` counts in the operators' numbers, the first edge slowest."""
        digits = masks.argmax(-1).reshape(len(masks), -1)
        return digits @ len(SPACE.operators) ** np.arange(digits.shape[1])[::-1]


def drawn(images: str, data: Path | None, table: Path, cache: Path, number: int) -> Drawn:
    """All draws, computed where the cache has none."""
    masks, found = SPACE.enumerated(), []
    for seed in range(FIRST_SEED, FIRST_SEED + number):
        path = cache / f"{images}_{seed}.npz"
        if not path.exists():
            source = open_images("cifar10", data) if images == "cifar10" else open_images(seed=seed)
            scorer = prepare(SPACE, SCORES, source, seed=seed, repeats=1)
            draws = draws_of(SPACE, SCORES, masks, scorer(masks), np.arange(len(masks)))
            np.savez(path, **{name: values[0] for name, values in draws.items()})
        with np.load(path) as stored:
            found.append({name: stored[name] for name in SCORES})
    accuracies = read_table(table).accuracies
    of = Drawn(masks, {}, np.array([accuracies[name] for name in SPACE.formats(masks)]))
    if not np.array_equal(of.places(masks), np.arange(len(masks))):
        raise RuntimeError("the order of the enumerated architectures has changed")
    values = {
        name: np.stack([one[name] for one in (found if score.work else found[:1])]).astype(float)
        for name, score in SCORES.items()
    }
    return of._replace(values=values)


def pruned(table: Drawn, paths: int, seed: int) -> float:
    """The accuracy of what the default pruning finds; every batch of every score is a row of the table."""
    rng, rows = np.random.default_rng(seed), {}

    def indicator(name: str) -> Indicator:
        values = table.values[name]

        def evaluate(key, masks):
            row = rows.setdefault((name, jax.random.key_data(key).tobytes()), int(rng.integers(len(values))))
            found = values[row][table.places(masks)][None]
            return Scores(found, np.full(found.shape, "drawn before"))

        return Indicator(name, LOWER[name], evaluate, geometric=SCORES[name].geometric)

    mask, _ = prune(jax.random.key(seed), SPACE, [indicator(name) for name in SCORES], paths=paths)
    return float(table.accuracy[table.places(mask[None])[0]])


def some_of(table: Drawn, draws: int, seed: int) -> dict[str, np.ndarray]:
    """Random draws of every score."""
    rng = np.random.default_rng(seed)
    return {
        name: rows if len(rows) == 1 else rows[rng.choice(len(rows), draws, replace=False)]
        for name, rows in table.values.items()
    }


def gone_through(table: Drawn, draws: int, seed: int) -> float:
    """The accuracy of the first of all, by what a ranking is ordered by."""
    return ranked(table, draws, NEIGHBOURHOOD, seed)


def weighted(table: Drawn, weight: int, seed: int) -> float:
    """The same by other weights of the neighbourhood."""
    return ranked(table, REPEATS, weight, seed)


def ranked(table: Drawn, draws: int, weight: int, seed: int) -> float:
    """The accuracy of the first by so many draws, where the mean of neighbours has this weight."""
    sums = log_rank_sum(some_of(table, draws, seed), LOWER)
    return float(table.accuracy[np.argmax(sums + weight * neighbour_mean(sums, table.masks.argmax(-1), SPACE))])


def evolved_from(table: Drawn, draws: int, seed: int) -> float:
    """The accuracy of what the default evolution finds."""
    chosen = some_of(table, draws, seed)
    mask = evolved(SPACE, lambda masks: {n: rows[:, table.places(masks)] for n, rows in chosen.items()}, LOWER, seed)
    return float(table.accuracy[table.places(mask[None])[0]])


def row(strategy: str, setting: int, accuracies: list[float]) -> dict[str, Any]:
    """How good and how bad searches are."""
    values = np.array(accuracies)
    found = {
        "strategy": strategy,
        "setting": setting,
        "accuracy": mean_and_error(accuracies),
        "worst": round(float(values.min()), 2),
        "searches": len(values),
        f"below {GOOD}": int((values < GOOD).sum()),
        "evaluated_at": tree()["commit"],
    }
    print(found, flush=True)
    return found


SEARCHES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "prune": (pruned, PATHS),
    "evolve": (evolved_from, (REPEATS,)),
    "exhaustive": (gone_through, DRAWS),
    "weight of neighbours": (weighted, WEIGHTS),
}
STRATEGIES = tuple(SEARCHES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nasbench201", type=Path, required=True, help="csv of accuracies of all architectures")
    parser.add_argument(
        "--data", type=Path, help="an .npz of CIFAR-10 images; without it only synthetic images are used"
    )
    parser.add_argument("--cache", type=Path, required=True, help="a folder that keeps the draws")
    parser.add_argument("--draws", type=int, default=24)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument(
        "--strategies", nargs="+", choices=STRATEGIES, default=STRATEGIES, help="rows of the others stay as they are"
    )
    parser.add_argument("--name", default="search_draws", help="of the result's file; empty writes none")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{arguments.name}.json"
    before = json.loads(path.read_text())["images"] if arguments.name and path.exists() else {}
    content: dict[str, Any] = {
        "what": "default scores; settings: completions a round, draws, or the weight",
        "images": {},
    }
    for images in ("synthetic", "cifar10") if arguments.data else ("synthetic",):
        table = drawn(images, arguments.data, arguments.nasbench201, arguments.cache, arguments.draws)
        made = {
            strategy: [
                row(strategy, setting, [search(table, setting, seed) for seed in range(arguments.searches)])
                for setting in settings
                if search in (pruned, weighted) or setting <= arguments.draws
            ]
            for strategy, (search, settings) in SEARCHES.items()
            if strategy in arguments.strategies
        }
        kept = before.get(images, [])
        content["images"][images] = [
            found
            for strategy in STRATEGIES
            for found in made.get(strategy, [one for one in kept if one["strategy"] == strategy])
        ]
    if arguments.name:
        write(arguments.name, content)


if __name__ == "__main__":
    main()
