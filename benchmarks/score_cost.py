"""A model of cost: processor time and memory of scores against architectures, draws, images, side, channels, cells, cores.

    python benchmarks/score_cost.py [--architectures 400] [--factors images side]

One factor varies at a time, each value in a process of its own; programs are compiled before time is taken, which is the
least of some runs. The exponent is the slope of a line through the logarithms. Writes `results/score_cost.json`.
"""

import argparse
import multiprocessing
import os
import resource
import time
from typing import Any

import numpy as np

from common.records import write

KERNEL, PATTERNS = "condition_number_no_batch_norm", "effective_regions_deep"
MOST_TIMES, ENOUGH_SECONDS = 7, 8.0
# By factor: which score, the values, and the exponent that the work has for large values; `docs/scaling.md` says why.
FACTORS: dict[str, tuple[str, tuple[int, ...], int]] = {
    "architectures": (KERNEL, (500, 1000, 2000, 4000), 1),
    "draws": (KERNEL, (1, 2, 4), 1),
    "images": (KERNEL, (8, 16, 32), 2),
    "side": (KERNEL, (2, 4, 8), 4),
    "stages": (KERNEL, (1, 2, 3), 1),
    "channels": (PATTERNS, (3, 6, 12), 2),
    "cells": (PATTERNS, (2, 4, 8), 1),
    "cores": (KERNEL, (1, 2), -1),
}


def evaluated(factor: str, value: int, architectures: int, answers: Any) -> None:
    """Scores architectures in this process; sends seconds on the clock, processor seconds, and peak memory."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: value if factor == "cores" else None])

    from tenas_jax import NAS_BENCH_201 as SPACE
    from tenas_jax.data import open_images
    from tenas_jax.scores.scorer import prepare

    name = FACTORS[factor][0]
    score = SPACE.scores[name]
    work: Any = score.work
    if factor in ("images", "side"):
        work = work._replace(**{factor: value})
    if factor in ("channels", "cells", "stages"):
        work = work._replace(skeleton=work.skeleton._replace(**{factor: value}))
    if factor == "channels":
        work = work._replace(channels=3)
    draws = value if factor == "draws" else 1
    scorer = prepare(SPACE, {name: score._replace(work=work)}, open_images(), repeats=draws)
    count = value if factor == "architectures" else architectures * (5 if factor == "cores" else 1)
    # Spread over the space, with different last operators: every one has a beginning of its own to share.
    masks = SPACE.one_hot(SPACE.numbered(np.linspace(0, SPACE.size - 1, count).astype(int)))
    scorer(masks)
    spent = []
    while len(spent) < MOST_TIMES and sum(clock for clock, _ in spent) < ENOUGH_SECONDS:
        start = time.perf_counter(), time.process_time()
        scorer(masks)
        spent.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    answers.put(
        {
            "seconds": round(min(clock for clock, _ in spent), 4),
            "processor_seconds": round(min(processor for _, processor in spent), 4),
            "times": len(spent),
            "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
    )


def slope(values: list[int], measured: list[float]) -> float:
    """Of a line through logarithms.

    Args:
        values: of a factor.
        measured: what was measured at each.
    """
    return round(float(np.polyfit(np.log(values), np.log(measured), 1)[0]), 2)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=400)
    parser.add_argument("--factors", nargs="+", default=list(FACTORS), choices=list(FACTORS))
    parser.add_argument("--name", default="score_cost", help="of the result's file; empty writes none")
    options = parser.parse_args(argv)
    context, factors = multiprocessing.get_context("spawn"), {}
    for factor in options.factors:
        score, values, limit = FACTORS[factor]
        rows = []
        for value in values:
            answers = context.Queue()
            process = context.Process(target=evaluated, args=(factor, value, options.architectures, answers))
            process.start()
            rows.append({"value": value} | answers.get())
            process.join()
        clock = "seconds" if factor == "cores" else "processor_seconds"
        factors[factor] = {
            "score": score,
            "exponent": slope(list(values), [row[clock] for row in rows]),
            "memory_exponent": slope(list(values), [row["peak_memory_bytes"] for row in rows]),
            "limit": limit,
            "rows": rows,
        }
        print(factor, factors[factor], flush=True)
    content = {"architectures": options.architectures, "factors": factors}
    if options.name:
        write(options.name, content)
    return content


if __name__ == "__main__":
    main()
