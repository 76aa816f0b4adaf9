"""Every score of DARTS genotypes, alone and added to the best one, against accuracies that a surrogate predicts.

    python benchmarks/rank_darts_scores.py TABLE [--seeds 20 23] [--repeats 8]

TABLE is a csv with columns `normal`, `reduce` and accuracies, which enter no score. Synthetic images; every seed has images
and weights of its own. Writes `results/rank_darts_scores.json`: Kendall's tau of all genotypes, of both halves, and over
seeds.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from common.halves import in_development_half
from common.records import write
from common.statistics import over_batches
from tenas_jax import DARTS
from tenas_jax.command_line import use_compilation_cache
from tenas_jax.data import open_images
from tenas_jax.networks import cost
from tenas_jax.rank.architectures import read_rows, row_architecture
from tenas_jax.scores.catalogue import catalogue
from tenas_jax.scores.ranks import average_rank, sum_of_log_ranks
from tenas_jax.scores.scorer import prepare


def goodness(masks: np.ndarray, seed: int, repeats: int) -> dict[str, np.ndarray]:
    """Normalised ranks, the best 1, by score; of the mean over repeats."""
    known = catalogue(DARTS)
    table = prepare(DARTS, known, open_images(seed=seed), seed=seed, repeats=repeats)(masks)
    costs = cost.costs(DARTS, masks)._asdict()
    ranks = {}
    for name, score in known.items():
        values = costs[name] if name in costs else table.values[name]
        if name not in costs:
            values = np.log(values).mean(0) if score.geometric else values.mean(0)
        ranks[name] = average_rank(values, descending=not score.lower_is_better)
    best = DARTS.family.default_scores[0]
    sums = {
        f"{best} and {name}": average_rank(sum_of_log_ranks([ranks[best], ranks[name]]), descending=True)
        for name in known
        if name != best
    }
    return ranks | sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--column", default="val_accuracy_nb301_surrogate")
    parser.add_argument("--seeds", type=int, nargs=2, default=(20, 23))
    parser.add_argument("--repeats", type=int, default=8)
    arguments = parser.parse_args()
    use_compilation_cache()
    rows = read_rows(arguments.table)[1]
    names = [row_architecture(row) for row in rows]
    masks = np.stack([DARTS.parse(name) for name in names])
    accuracy = np.array([float(row[arguments.column]) for row in rows])
    development = np.array([in_development_half(name) for name in names])
    parts = {"all": np.ones_like(development), "development half": development, "other half": ~development}
    taus: dict[str, dict[str, list[float]]] = {}
    for seed in range(*arguments.seeds):
        for score, ranks in goodness(masks, seed, arguments.repeats).items():
            for part, chosen in parts.items():
                tau = float(np.asarray(kendalltau(ranks[chosen], accuracy[chosen]))[0])
                taus.setdefault(score, {}).setdefault(part, []).append(tau)
        print(seed, {score: round(found["all"][-1], 3) for score, found in taus.items()}, flush=True)
    content: dict[str, Any] = {
        "what": "Kendall's tau of scores of DARTS genotypes with surrogate accuracies, synthetic images",
        "seeds": list(range(*arguments.seeds)),
        "repeats": arguments.repeats,
        "genotypes": len(masks),
        "rows": [
            {"score": score, **{part: over_batches(values) for part, values in found.items()}}
            for score, found in taus.items()
        ],
    }
    write("rank_darts_scores", content)


if __name__ == "__main__":
    main()
