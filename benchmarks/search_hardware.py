"""What the three strategies find on NAS-Bench-201 below a few latencies, beside the best that there is below them.

    python benchmarks/search_hardware.py ACCURACIES HARDWARE [--seeds 40 43] [--limits raspi4:10 raspi4:20 ...]
    python benchmarks/search_hardware.py ACCURACIES HARDWARE --searched benchmarks/results/search_hardware.json

ACCURACIES is a csv of trained accuracies, which enter no score and are looked up afterwards; HARDWARE the table of
HW-NAS-Bench. Synthetic images and default settings. Of a seed every architecture is scored once: the exhaustive search and
the evolution take these scores, as they would compute them. Programs are compiled once. With `--searched` nothing is
searched: what an earlier run has found is looked up again, and its record kept. Writes `results/search_hardware.json`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from common.evolving import evolved
from common.records import write
from common.statistics import mean_and_error
from tenas_jax.data import open_images
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.rank.score_table import draws_of
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import indicators
from tenas_jax.scores.neighbours import smoothed
from tenas_jax.scores.ranks import log_rank_sum
from tenas_jax.scores.scorer import prepare
from tenas_jax.search.budget import Budget
from tenas_jax.search.hardware import read_hardware
from tenas_jax.search.measures import Limit
from tenas_jax.search.pruner import prune
from tenas_jax.spaces import equal_cells
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.score import REPEATS
from tenas_jax.spaces.single_input import DEFAULT_SCORES, PRESETS

SPACE = NAS_BENCH_201
LIMITS = ["raspi4:10", "raspi4:20", "edgegpu:4", "edgegpu:5"]
EVERYTHING = SPACE.enumerated()


class Replaceable:
    """Images that can be replaced by others, for programs that have been compiled."""

    def __init__(self, now: Any):
        self.now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)


class Scores:
    """The default scores of everything, seed by seed."""

    def __init__(self, source: Any):
        self._scores, self._source = chosen_scores(SPACE, list(DEFAULT_SCORES)), source
        self._programs: Any = None
        self.lower = {name: score.lower_is_better for name, score in self._scores.items()}

    def draw(self, seed: int) -> None:
        """Scores everything by a seed."""
        scorer = prepare(SPACE, self._scores, self._source, seed=seed, repeats=REPEATS)
        self._programs = scorer.__dict__["programs"] = self._programs or scorer.programs
        equal = equal_cells.representatives(SPACE, EVERYTHING).argmax(-1).reshape(len(EVERYTHING), -1)
        distinct, places = np.unique(equal, axis=0, return_inverse=True)
        masks, size = SPACE.one_hot(distinct[:, None]), scorer.shard_size
        tables = [scorer(masks[start : start + size]) for start in range(0, len(masks), size)]
        values = {name: np.concatenate([t.values[name] for t in tables], axis=1) for name in scorer.scores}
        found = tables[0]._replace(values=values)
        self._draws = draws_of(SPACE, self._scores, EVERYTHING, found, places.ravel())

    def of(self, masks: np.ndarray) -> dict[str, np.ndarray]:
        """Every draw of every score of some architectures."""
        numbers = np.ravel_multi_index(masks.argmax(-1).reshape(len(masks), -1).T, (len(SPACE.operators),) * 6)
        return {name: values[:, numbers] for name, values in self._draws.items()}


def first(scores: Scores, budget: Budget) -> np.ndarray:
    """What the exhaustive search takes."""
    masks = EVERYTHING[budget.meet(SPACE, EVERYTHING)]
    sums = log_rank_sum(scores.of(masks), scores.lower)
    return masks[np.argmax(smoothed(sums, masks.argmax(-1), SPACE))]


Key = tuple[str, float]
STRATEGIES = ("prune", "evolve", "exhaustive")


def searched(budgets: dict[Key, Budget], seeds: range) -> dict[Key, dict[str, list[str]]]:
    """The architectures that each strategy finds below each limit, a seed after the other."""
    source: Any = Replaceable(open_images())
    scores, settings = Scores(source), PRESETS["default"]
    by = indicators(SPACE, source, chosen_scores(SPACE, list(settings.scores)), repeats=settings.repeats)
    found: dict[Key, dict[str, list[str]]] = {key: {name: [] for name in STRATEGIES} for key in budgets}
    for seed in seeds:
        source.now = open_images(seed=seed)
        scores.draw(seed)
        for key, budget in budgets.items():
            masks = {
                "prune": prune(jax.random.key(seed), SPACE, by, paths=settings.paths, budget=budget)[0],
                "evolve": evolved(SPACE, scores.of, scores.lower, seed, budget),
                "exhaustive": first(scores, budget),
            }
            for name, mask in masks.items():
                found[key][name].append(SPACE.format(mask))
            print(seed, key, {name: SPACE.format(mask) for name, mask in masks.items()}, flush=True)
    return found


def row_of(key: Key, budget: Budget, found: dict[str, list[str]], accuracies: dict[str, float]) -> dict[str, Any]:
    """What the strategies reach below a limit, beside what there is: of all, and without the operator "none"."""
    accuracy = np.array([accuracies[name] for name in SPACE.formats(EVERYTHING)])
    meets, (limit,) = budget.meet(SPACE, EVERYTHING), budget.limits
    without = meets & ~EVERYTHING[..., SPACE.none].any((1, 2))
    row: dict[str, Any] = {"device": key[0], "most_ms": key[1]}
    for name, those in (("all", meets), ("without_none", without)):
        row[name] = {
            "architectures": int(those.sum()),
            "optimum": round(float(accuracy[those].max()), 4),
            "median": round(float(np.median(accuracy[those])), 4),
        }
    for name, strings in found.items():
        masks = np.stack([SPACE.parse(string) for string in strings])
        row[name] = {
            "accuracy": mean_and_error([accuracies[string] for string in strings]),
            "latency_ms": [round(float(value), 4) for value in limit.measure.values(SPACE, masks)],
            "architectures": strings,
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accuracies", type=Path)
    parser.add_argument("hardware", type=Path)
    parser.add_argument("--seeds", type=int, nargs=2, default=(40, 43), help="first seed, and the one after the last")
    parser.add_argument("--limits", nargs="+", default=LIMITS, metavar="DEVICE:MILLISECONDS")
    parser.add_argument("--searched", type=Path, help="a result of this script: its architectures are looked up again")
    arguments = parser.parse_args()
    accuracies, table = read_table(arguments.accuracies).accuracies, read_hardware(arguments.hardware)
    earlier = json.loads(arguments.searched.read_text()) if arguments.searched else None
    limits = [text.partition(":") for text in arguments.limits]
    pairs = [(r["device"], r["most_ms"]) for r in earlier["rows"]] if earlier else [(a, float(b)) for a, _, b in limits]
    budgets = {pair: Budget(others=(Limit(table.measure("latency", pair[0]), pair[1]),)) for pair in pairs}
    seeds = earlier["seeds"] if earlier else list(range(*arguments.seeds))
    if earlier:
        rows = zip(pairs, earlier["rows"], strict=True)
        found = {pair: {name: row[name]["architectures"] for name in STRATEGIES} for pair, row in rows}
    else:
        found = searched(budgets, range(*arguments.seeds))
    content = {"seeds": seeds, "rows": [row_of(key, budgets[key], found[key], accuracies) for key in pairs]}
    write("search_hardware", content | ({"searched": earlier["record"]} if earlier else {}))


if __name__ == "__main__":
    main()
