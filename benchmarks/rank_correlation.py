"""How the default indicators rank all 15,625 architectures of NAS-Bench-201 against trained accuracies.

    python benchmarks/rank_correlation.py --benchmark TABLE [--data IMAGES.npz] [--batches 5]

TABLE is a csv of trained accuracies, which enter no score. Every batch is a seed of its own: images, and weights for the
linear regions. Writes `results/rank_correlation.json`: Kendall's tau-b, Spearman's rho, the accuracy of the architecture
that a score puts first and the mean of its first ten; of all architectures, and of two halves, of which the development
half may choose settings (`ntk_choices.py`) and the other only reports. Takes about six minutes on two idle cores.
"""

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from common.architectures import Space, read_space
from common.indicators import of_preset
from common.records import write
from common.statistics import judged, over_batches
from tenas_jax.data import ImageSource, open_images
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import indicator
from tenas_jax.scores.ranks import average_rank, log_rank, sum_of_log_ranks
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201

# Choices are made with the seeds 0 to 9.
FIRST_SEED = 10


class Evaluation(NamedTuple):
    """One indicator's values of one batch, with their cost.

    Attributes:
        values: (m,), NaN where nothing reaches the output.
        health: (m,) strings.
        seconds: for all architectures.
        compile_seconds: before.
    """

    values: np.ndarray
    health: np.ndarray
    seconds: float
    compile_seconds: float


def convolution_cost(masks) -> np.ndarray:
    """FLOPs up to a constant and a factor: a 1x1 convolution counts 1, a 3x3 convolution 9, the rest nothing."""
    costs = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
    return masks.sum((1, 2)) @ np.array([costs.get(operator, 0) for operator in NAS_BENCH_201.operators])


def evaluate(source: ImageSource, seed: int, space: Space) -> dict[str, Evaluation]:
    """Every architecture by both indicators of the default search, and by the kernel of a network of one stage."""
    kappa, regions = of_preset(NAS_BENCH_201, source)
    # Chosen by `ntk_choices.py`: of the kernels tried, the one whose condition number alone ranks best.
    (definition,) = chosen_scores(NAS_BENCH_201, ["condition_number_one_stage"]).values()
    one_stage = indicator(NAS_BENCH_201, source, "condition_number_of_one_stage", definition)
    evaluations = {}
    for one in (kappa, regions, one_stage):
        one.evaluate(jax.random.key(seed), space.masks[:1])  # compiles, and draws images that are drawn on demand
        start = time.perf_counter()
        values, health = one.evaluate(jax.random.key(seed), space.masks)
        seconds = time.perf_counter() - start
        evaluations[one.name] = Evaluation(
            np.where(space.connected, values[0], np.nan), health[0], seconds, one.compile_seconds
        )
    return evaluations


def combined(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores, larger is better, from the values of the indicators, NaN being the worst.

    Ranks are normalised, the best is 1; their logarithm holds down whoever is poor by any indicator. Places count from 1,
    the best; their logarithm, by which the default search compares, lifts whoever is among the first by any indicator.
    """
    kappa, regions = values["condition_number"], values["linear_regions"]
    ranks = [average_rank(kappa), average_rank(regions, descending=True)]
    one_stage = average_rank(values["condition_number_of_one_stage"])
    return {
        "condition number": ranks[0],
        "condition number of one stage": one_stage,
        "linear regions": ranks[1],
        "sum of ranks": ranks[0] + ranks[1],
        "sum of log ranks": sum_of_log_ranks(ranks),
        "sum of log ranks, condition number of one stage": sum_of_log_ranks([one_stage, ranks[1]]),
        "sum of log places": -log_rank(kappa) - log_rank(regions, descending=True),
    }


def row(images: str | None, name: str, scores: list[np.ndarray], space: Space) -> dict[str, Any]:
    """How one score of several batches ranks the space and its halves."""
    parts = {}
    for part, chosen in space.parts.items():
        results = [judged(score[chosen], space.accuracy[chosen]) for score in scores]
        parts[part] = {name: over_batches([result[name] for result in results]) for name in results[0]}
    print(images, name, {figure: value["mean"] for figure, value in parts["all"].items()}, flush=True)
    return {"images": images, "score": name, **parts}


def cost(evaluations: list[Evaluation], architectures: int) -> dict[str, Any]:
    """What an indicator took, and how its values fared, over all batches."""
    seconds = np.array([evaluation.seconds for evaluation in evaluations])
    health = np.unique(np.concatenate([evaluation.health for evaluation in evaluations]), return_counts=True)
    return {
        "seconds_for_all": over_batches(seconds.tolist()),
        "milliseconds_an_architecture": round(float(np.median(seconds)) / architectures * 1e3, 3),
        "compile_seconds": over_batches([evaluation.compile_seconds for evaluation in evaluations]),
        "health": dict(zip(health[0].tolist(), health[1].tolist(), strict=True)),
    }


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", type=Path, required=True, help="csv or csv.gz of accuracies")
    parser.add_argument(
        "--data", type=Path, help="an .npz of CIFAR-10 images; without it only synthetic images are used"
    )
    parser.add_argument("--batches", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    # Compilation is timed: programs of earlier runs must not be found.
    jax.config.update("jax_enable_compilation_cache", False)

    sources: dict[str, Callable[[int], ImageSource]] = {"synthetic": lambda seed: open_images(seed=seed)}
    if arguments.data:
        sources["cifar10"] = lambda _: open_images("cifar10", arguments.data)
    space = read_space(arguments.benchmark)
    rows = [row(None, "FLOPs", [convolution_cost(space.masks)], space)]
    everything: dict[str, list[Evaluation]] = {}
    for images, source in sources.items():
        batches: list[dict[str, np.ndarray]] = []
        for seed in range(FIRST_SEED, FIRST_SEED + arguments.batches):
            evaluations = evaluate(source(seed), seed, space)
            for name, evaluation in evaluations.items():
                everything.setdefault(name, []).append(evaluation)
            batches.append({name: evaluation.values for name, evaluation in evaluations.items()})
        # Geometric means: a condition number's outliers are large.
        averaged = combined({name: np.mean([np.log(batch[name]) for batch in batches], axis=0) for name in batches[0]})
        scores = [combined(batch) for batch in batches]
        rows += [row(images, name, [score[name] for score in scores], space) for name in averaged]
        rows += [row(images, f"{name}, log values averaged over batches", [averaged[name]], space) for name in averaged]
    peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    write(
        "rank_correlation",
        {
            "what": "scores of all architectures of NAS-Bench-201 against accuracies trained on CIFAR-10; batches are "
            "seeds of images and weights; what nothing connects is ranked last by all but FLOPs",
            "accuracies": arguments.benchmark.name,
            "seeds": list(range(FIRST_SEED, FIRST_SEED + arguments.batches)),
            "architectures": {part: int(chosen.sum()) for part, chosen in space.parts.items()},
            "not_connected": int((~space.connected).sum()),
            "optimum": {part: float(space.accuracy[chosen].max()) for part, chosen in space.parts.items()},
            "rows": rows,
            "cost": {name: cost(evaluations, len(space.masks)) for name, evaluations in everything.items()},
            "peak_memory_bytes": peak_memory,
        },
    )


if __name__ == "__main__":
    main()
