"""Both indicators on 100 architectures of NAS-Bench-201: the released settings in PyTorch, and this project's, in one run.

    python benchmarks/rank_speed.py [--architectures 100] [--repeats 3] [--threads 2]

PyTorch: the condition number of the coupled empirical NTK of 72 images, and linear regions of 3 x 1000 one-colour patches.
Here: the condition number of the analytic NTK, and linear regions of 1000 colour patches, through the scorer that a ranking
uses, compiling apart. Both average over the same number of draws. Writes `results/rank_speed.json`.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import argparse
import time

import numpy as np
import torch

from common.architectures import random_architectures
from common.records import write
from common.statistics import tau
from pytorch.search import Scorer
from tenas_jax import NAS_BENCH_201
from tenas_jax.data import open_images
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.scorer import prepare

SCORES = ("condition_number", "linear_regions")


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    parser.add_argument("--name", default="rank_speed", help="of the result's file; empty writes none")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    arguments = read_arguments(argv)
    torch.set_num_threads(arguments.threads)
    masks = random_architectures(arguments.architectures)
    source = open_images()

    scorer = prepare(NAS_BENCH_201, chosen_scores(NAS_BENCH_201, SCORES), source, repeats=arguments.repeats)
    start = time.perf_counter()
    scorer(masks[:2])
    compiling = time.perf_counter() - start
    start = time.perf_counter()
    found = scorer(masks)
    ours = time.perf_counter() - start

    scorer = Scorer("nasbench201", source.read(np.arange(min(source.size, 2000))), 0)
    kappas, regions = [], []
    start = time.perf_counter()
    for mask in masks:
        kappas.append(np.mean([scorer.condition_numbers(mask) for _ in range(arguments.repeats)]))
        regions.append(np.mean([scorer.linear_regions(mask) for _ in range(arguments.repeats)]))
    theirs = time.perf_counter() - start

    count = len(masks)
    agreement = {
        "condition_number": tau(np.exp(np.log(found.values["condition_number"]).mean(0)), np.array(kappas)),
        "linear_regions": tau(found.values["linear_regions"].mean(0), np.array(regions)),
    }
    content = {
        "what": "seconds an architecture of NAS-Bench-201 for condition number and linear regions, synthetic images",
        "architectures": count,
        "repeats": arguments.repeats,
        "ours": {"seconds": round(ours / count, 6), "compile_seconds": round(compiling, 2)},
        "pytorch": {"seconds": round(theirs / count, 4), "threads": arguments.threads, "version": torch.__version__},
        "ratio": round(theirs / ours, 1),
        "ratio_with_compiling": round(theirs / (ours + compiling), 1),
        "kendall_tau_of_both": {name: round(both, 3) for name, both in agreement.items()},
        "first_architecture": NAS_BENCH_201.format(masks[0]),
    }
    print({key: content[key] for key in ("ours", "pytorch", "ratio", "ratio_with_compiling", "kendall_tau_of_both")})
    if arguments.name:
        write(arguments.name, content)
    return content


if __name__ == "__main__":
    main()
