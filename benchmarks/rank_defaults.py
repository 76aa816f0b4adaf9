"""The default scores on all of NAS-Bench-201 and on TransNAS-Bench-101's micro cells, beside yardsticks.

    python benchmarks/rank_defaults.py draw CACHE SEED [SEED ...] [--data IMAGES.npz]
    python benchmarks/rank_defaults.py judge CACHE --nasbench201 TABLE [--transnas TABLE]

`draw` evaluates what `python -m tenas_jax.rank --seed SEED` does, all in one process, and keeps every draw in CACHE,
outside of the repository. `judge` reads them and writes `results/rank_defaults.json`. Accuracies enter no score; the
development halves chose the scores, with other seeds (`ntk_hunt.py`). TransNAS's 4,096 micro cells are cells without
pooling of the same draws, ranked among themselves.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from common.architectures import distinct
from common.halves import halves
from common.records import write
from common.statistics import add, judged, rows_over_batches
from common.transnas import micro_cells, micro_rhos
from tenas_jax import NAS_BENCH_201
from tenas_jax.data import open_images
from tenas_jax.networks import cost
from tenas_jax.networks.yardsticks import yardsticks
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.neighbours import smoothed
from tenas_jax.scores.ranks import log_rank_sum
from tenas_jax.scores.scorer import prepare

SPACE = NAS_BENCH_201
RANDOM, SAMPLES = 3000, 5  # architectures of which the best is taken, and how often


def draw(cache: Path, seeds: list[int], data: Path | None) -> None:
    """Evaluates the default scores of all distinct cells, draw by draw."""
    masks = np.stack(list(SPACE.enumerate()))
    cells, places = distinct(SPACE, masks)
    scores = chosen_scores(SPACE, SPACE.family.default_scores)
    for seed in seeds:
        path = cache / f"default_{'cifar10' if data else 'synthetic'}_{seed}.npz"
        if path.exists():
            continue
        start = time.perf_counter()
        scorer = prepare(SPACE, scores, open_images("cifar10", data) if data else open_images(seed=seed), seed=seed)
        table = scorer(cells)
        seconds = time.perf_counter() - start
        drawn: dict[str, Any] = {"places": places, "seconds": seconds, **table.values}
        np.savez_compressed(path, **drawn)
        print(path.name, f"{seconds:.1f} s", flush=True)


def discounted_gain(score: np.ndarray, accuracy: np.ndarray, cut: int = 1000) -> float:
    """NDCG with the gain 2^accuracy - 1, accuracy in per cent (as Týbl and Neumann 2025 print it)."""
    gain, discount = np.exp2(accuracy) - 1, 1 / np.log2(np.arange(cut) + 2)
    found = gain[np.argsort(-score, kind="stable")[:cut]]
    return float((found * discount).sum() / (np.sort(gain)[::-1][:cut] * discount).sum())


def of_random(score: np.ndarray, accuracy: np.ndarray) -> float:
    """The accuracy of the best-scored of random architectures, mean over samples."""
    rng = np.random.default_rng(0)
    samples = [rng.choice(len(score), RANDOM, replace=False) for _ in range(SAMPLES)]
    return float(np.mean([accuracy[rows[np.argmax(score[rows])]] for rows in samples]))


def figures(score: np.ndarray, accuracy: np.ndarray, part: np.ndarray) -> dict[str, float]:
    """All figures of a score on a part of the space."""
    places = np.unique(score[part], return_inverse=True)[1].astype(float)
    found = judged(places, accuracy[part]) | {"ndcg_1000": discounted_gain(score[part], accuracy[part])}
    return found | ({"best_of_3000": of_random(score, accuracy)} if part.all() else {})


def summed(values: dict[str, np.ndarray], masks: np.ndarray) -> dict[str, np.ndarray]:
    """Sums of log ranks, plain and smoothed over neighbours, and every score alone, larger is better."""
    scores = chosen_scores(SPACE, list(values))
    lower = {name: score.lower_is_better for name, score in scores.items()}
    choices = masks.argmax(-1)

    def sums(names):
        total = log_rank_sum({name: values[name] for name in names}, lower)
        return total, smoothed(total, choices, SPACE)

    plain, default = sums(values)
    found = {"default, smoothed": default, "default, plain": plain}
    for name in values:
        found[name], found[f"{name}, smoothed"] = sums([name])
        found[f"default without {name}, smoothed"] = sums([other for other in values if other != name])[1]
    return found


def sizes(masks: np.ndarray) -> dict[str, np.ndarray]:
    """Yardsticks, as floats."""
    counted = yardsticks(SPACE, masks)._asdict() | {"flops": cost.flops(SPACE, masks)}
    return {name: values.astype(float) for name, values in counted.items()}


def judge(cache: Path, nasbench201: Path, transnas_table: Path | None) -> dict[str, Any]:
    """All figures of all runs that the cache holds."""
    masks = np.stack(list(SPACE.enumerate()))
    names = [SPACE.format(mask) for mask in masks]
    accuracies = read_table(nasbench201).accuracies
    accuracy = np.array([accuracies[name] for name in names])
    parts = halves(names, SPACE)
    parts["without pooling"] = np.asarray(~masks[..., SPACE.operators.index("avg_pool_3x3")].any((1, 2)))
    parts["other half without pooling"] = parts["other half"] & parts["without pooling"]
    parts["other half on paths"] = parts["other half"] & parts["on paths"]
    micro = micro_cells(transnas_table, names) if transnas_table else None
    found: dict[str, Any] = {}
    runs = sorted(cache.glob("default_*.npz"))
    for path in runs:
        _, images, seed = path.stem.split("_")
        with np.load(path) as kept:
            draws = {name: kept[name][:, kept["places"]] for name in kept if name not in ("places", "seconds")}
        counted = sizes(masks)
        draws |= {name: counted[name][None] for name in SPACE.family.default_scores if name in counted}
        collected = found.setdefault(images, {"seeds": [], "first_architectures": [], "rows": {}})
        scored = summed(draws, masks) | counted
        collected["seeds"].append(int(seed))
        best = int(np.argmax(scored["default, smoothed"]))
        collected["first_architectures"].append({"architecture": names[best], "accuracy": round(accuracy[best], 3)})
        for name, score in scored.items():
            for part, rows in parts.items():
                add(collected["rows"], name, part, figures(score, accuracy, rows))
        if micro:
            rows, reached, of_micro = micro
            scored = summed({name: values[:, rows] for name, values in draws.items()}, masks[rows])
            for name, score in (scored | sizes(masks[rows])).items():
                for part, rho in micro_rhos(score, reached, of_micro).items():
                    add(collected["rows"], name, part, {"spearman_rho": rho})
        print(path.name, collected["rows"]["default, smoothed"]["all"]["kendall_tau"][-1], flush=True)
    for collected in found.values():
        collected["rows"] = rows_over_batches(collected["rows"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("draw", "judge"))
    parser.add_argument("cache", type=Path)
    parser.add_argument("seeds", type=int, nargs="*")
    parser.add_argument("--data", type=Path, help="an .npz of CIFAR-10 images")
    parser.add_argument("--nasbench201", type=Path, help="csv of accuracies of all architectures")
    parser.add_argument(
        "--transnas", type=Path, help="csv.gz of TransNAS-Bench-101's micro cells as NAS-Bench-201's strings"
    )
    arguments = parser.parse_args()
    if arguments.what == "draw":
        draw(arguments.cache, arguments.seeds, arguments.data)
        return
    content = {
        "what": "the default scores of a ranking, 8 draws a run, of all cells and of parts; spread over seeds",
        "scores": list(SPACE.family.default_scores),
        "images": judge(arguments.cache, arguments.nasbench201, arguments.transnas),
    }
    write("rank_defaults", content)


if __name__ == "__main__":
    main()
