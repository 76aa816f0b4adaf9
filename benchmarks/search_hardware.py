"""What the three strategies find on NAS-Bench-201 below a few latencies, beside the best that there is below them.

    python benchmarks/search_hardware.py ACCURACIES HARDWARE [--seeds 40 43] [--limits raspi4:10 raspi4:20 ...]

ACCURACIES is a csv of trained accuracies, which enter no score and are looked up afterwards; HARDWARE the table of
HW-NAS-Bench. Synthetic images and default settings. Of a seed every architecture is scored once: the exhaustive search and
the evolution take these scores, as they would compute them. Programs are compiled once. Writes
`results/search_hardware.json`.
"""

import argparse
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accuracies", type=Path)
    parser.add_argument("hardware", type=Path)
    parser.add_argument("--seeds", type=int, nargs=2, default=(40, 43), help="first seed, and the one after the last")
    parser.add_argument("--limits", nargs="+", default=LIMITS, metavar="DEVICE:MILLISECONDS")
    arguments = parser.parse_args()
    accuracies, table = read_table(arguments.accuracies).accuracies, read_hardware(arguments.hardware)
    budgets = {}
    for text in arguments.limits:
        device, _, most = text.partition(":")
        budgets[device, float(most)] = Budget(others=(Limit(table.measure("latency", device), float(most)),))
    source: Any = Replaceable(open_images())
    scores, names = Scores(source), PRESETS["default"].scores
    by = indicators(SPACE, source, chosen_scores(SPACE, list(names)), repeats=PRESETS["default"].repeats)

    def pruned(seed: int, budget: Budget) -> np.ndarray:
        return prune(jax.random.key(seed), SPACE, by, paths=PRESETS["default"].paths, budget=budget)[0]

    found: dict[tuple[Any, str], list[np.ndarray]] = {}
    for seed in range(*arguments.seeds):
        source.now = open_images(seed=seed)
        scores.draw(seed)
        for key, budget in budgets.items():
            for strategy, mask in (
                ("prune", pruned(seed, budget)),
                ("evolve", evolved(SPACE, scores.of, scores.lower, seed, budget)),
                ("exhaustive", first(scores, budget)),
            ):
                found.setdefault((key, strategy), []).append(mask)
                print(seed, key, strategy, accuracies[SPACE.format(mask)], flush=True)
    accuracy = np.array([accuracies[SPACE.format(mask)] for mask in EVERYTHING])
    rows = []
    for (device, most), budget in budgets.items():
        meets = budget.meet(SPACE, EVERYTHING)
        (limit,) = budget.limits
        row = {"device": device, "most_ms": most, "architectures": int(meets.sum())}
        row |= {"optimum": float(accuracy[meets].max()), "median": round(float(np.median(accuracy[meets])), 4)}
        for strategy in ("prune", "evolve", "exhaustive"):
            masks = np.stack(found[(device, most), strategy])
            strings = SPACE.formats(masks)
            row[strategy] = {
                "accuracy": mean_and_error([accuracies[name] for name in strings]),
                "latency_ms": [round(float(value), 4) for value in limit.measure.values(SPACE, masks)],
                "architectures": strings,
            }
        rows.append(row)
    write("search_hardware", {"seeds": list(range(*arguments.seeds)), "rows": rows})


if __name__ == "__main__":
    main()
