"""How the indicators of the DARTS presets rank genotypes against accuracies that a surrogate predicts.

    python benchmarks/rank_darts_presets.py TABLE [--data IMAGES.npz] [--seeds 10 15] [--limit 1218]

TABLE is a csv or csv.gz with columns `normal` and `reduce`, each eight `op~input` pairs, and `--column`, accuracies, which
enter no score. Every seed has images and weights of its own. Writes `results/rank_darts_presets.json`: Kendall's tau of one
seed and of the mean of all seeds' ranks, on the development half, which may choose settings (seeds 0 to 9), and on
the other. The default preset takes half a minute a seed on two idle cores, the released one four minutes.
"""

import argparse
import csv
import gzip
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.stats import kendalltau

from common.halves import in_development_half
from common.records import RESULTS, write
from tenas_jax.data import open_images
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import Indicator
from tenas_jax.scores.indicators import indicators as indicators_of
from tenas_jax.scores.ranks import average_rank
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.two_inputs import PRESETS as DARTS_PRESETS


def read_genotypes(path: Path, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Masks (m, cells, edges, operators) and accuracies (m,)."""
    opened = gzip.open if path.suffix == ".gz" else open
    masks, accuracies = [], []
    with opened(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            genotype: dict[str, Any] = {f"{cell}_concat": [2, 3, 4, 5] for cell in DARTS.cells}
            for cell in DARTS.cells:
                pairs = [pair.split("~") for pair in row[cell].split()]
                genotype[cell] = [[operator, int(source)] for operator, source in pairs]
            masks.append(DARTS.parse(json.dumps(genotype)))
            accuracies.append(float(row[column]))
    return np.stack(masks), np.array(accuracies)


def tau(goodness: np.ndarray, accuracies: np.ndarray) -> float:
    """Kendall's tau-b, rounded."""
    return round(float(np.asarray(kendalltau(goodness, accuracies))[0]), 4)


def goodness(indicator: Indicator, key, masks: np.ndarray) -> np.ndarray:
    """Normalised ranks (m,), best 1, of the mean log score of the repeats."""
    logs = np.log(indicator.evaluate(key, masks).values).mean(0)
    return average_rank(logs, descending=not indicator.lower_is_better)


def kept_rows(content: dict[str, Any], presets: list[str]) -> list[dict[str, Any]]:
    """Rows of presets that this run leaves out, of an earlier run with the same images, seeds and genotypes."""
    path = RESULTS / "rank_darts_presets.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    if any(before.get(key) != content[key] for key in ("images", "seeds", "genotypes")):
        return []
    return [row for row in before["rows"] if row["preset"] not in presets]


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--column", default="val_accuracy_nb301_surrogate")
    parser.add_argument("--data", type=Path, help="an .npz of CIFAR-10 images; synthetic ones without it")
    parser.add_argument("--seeds", type=int, nargs=2, default=(10, 15), help="first seed, and the one after the last")
    parser.add_argument("--limit", type=int, help="only the first so many genotypes")
    parser.add_argument("--presets", nargs="+", choices=list(DARTS_PRESETS), default=["default", "released"])
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    masks, accuracies = (part[: arguments.limit] for part in read_genotypes(arguments.table, arguments.column))
    development = np.array([in_development_half(DARTS.format(mask)) for mask in masks])
    halves = {"development": development, "other": ~development}

    rows = []
    for name in arguments.presets:
        scores: dict[str, list[np.ndarray]] = {}
        cost: dict[str, float] = {}
        for seed in range(*arguments.seeds):
            source = open_images("cifar10", arguments.data) if arguments.data else open_images(seed=seed)
            found = []
            settings = DARTS_PRESETS[name]
            names = dict.fromkeys(["condition_number", *settings.scores] if name == "default" else settings.scores)
            scores_of_preset = chosen_scores(DARTS, list(names))
            indicators = indicators_of(DARTS, source, scores_of_preset, repeats=settings.repeats)
            for indicator in indicators:
                indicator.evaluate(jax.random.key(seed), masks[:1])  # compiles
                start = time.perf_counter()
                found.append(goodness(indicator, jax.random.key(seed), masks))
                cost[indicator.name] = cost.get(indicator.name, 0.0) + time.perf_counter() - start
                scores.setdefault(indicator.name, []).append(found[-1])
            scores.setdefault("rank sum", []).append(np.sum(found, axis=0))
            print(name, "seed", seed, {key: tau(values[-1], accuracies) for key, values in scores.items()}, flush=True)
        for score, values in scores.items():
            row: dict[str, Any] = {"preset": name, "score": score}
            if score in cost:
                row["milliseconds"] = round(1000 * cost[score] / len(values) / len(masks), 2)
            for half, rows_of_half in halves.items():
                singles = [tau(value[rows_of_half], accuracies[rows_of_half]) for value in values]
                row[half] = {
                    "tau_of_one_seed": {"mean": round(float(np.mean(singles)), 4), "seeds": singles},
                    "tau_of_all_seeds": tau(np.mean(values, axis=0)[rows_of_half], accuracies[rows_of_half]),
                }
            rows.append(row)
    content = {
        "what": "Kendall's tau of scores with surrogate accuracies, DARTS",
        "images": "cifar10" if arguments.data else "synthetic",
        "seeds": list(range(*arguments.seeds)),
        "genotypes": {half: int(chosen.sum()) for half, chosen in halves.items()},
        "rows": rows,
    }
    content["rows"] = kept_rows(content, arguments.presets) + rows
    write("rank_darts_presets", content)


if __name__ == "__main__":
    main()
