"""Sums of scores that might rank better than the default ones, on NAS-Bench-201 and on TransNAS-Bench-101's micro cells.

    python benchmarks/rank_default_candidates.py draw CACHE SEED [SEED ...] [--data IMAGES.npz] [--of WORK ...]
    python benchmarks/rank_default_candidates.py judge CACHE --nasbench201 TABLE --transnas TABLE

`draw` evaluates kernels and patterns of all distinct cells, eight draws a seed, and keeps what is read from them in CACHE,
outside of the repository. `judge` adds log ranks with equal weights, smooths over neighbours and writes
`results/rank_default_candidates.json`: every candidate on both halves of four tables, and what it is ahead of the default
with the same draws. Seeds below 10 chose, on the development halves; the others report. Accuracies enter no score.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from common.architectures import distinct, read_space
from common.records import write
from common.statistics import add, judged, rows_over_batches
from common.transnas import micro_cells, micro_rhos
from tenas_jax import NAS_BENCH_201
from tenas_jax.data import open_images
from tenas_jax.networks.yardsticks import yardsticks
from tenas_jax.ntk.spectrum import condition_numbers, statistics
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.neighbours import smoothed
from tenas_jax.scores.programs import score_programs
from tenas_jax.scores.ranks import log_rank_sum
from tenas_jax.spaces.score import REPEATS, Kernel, Score

SPACE = NAS_BENCH_201
CHOSEN_WITH = 10  # seeds below it
REGIONS = "effective_regions_deep"
ONE_CELL = SPACE.skeleton("ntk")._replace(channels=16, cells=1, stages=1)
NONE = Kernel(ONE_CELL, images=16, batch_norm="none")
STAGES = Kernel(ONE_CELL._replace(stages=3))
KERNELS = {
    "none, grey": NONE._replace(grey=True),  # as the default takes it
    "none": NONE,
    "none, 8 of 8 x 8": NONE._replace(images=8, side=8),
    "none, 32": NONE._replace(images=32),
    "stages": STAGES,  # as the default takes it, with batch norm
    "stages, grey": STAGES._replace(grey=True),
}
# The default's: three that are drawn, and a yardstick.
KAPPA, POOLING, LIVE = "none, grey: condition number", "stages: trace over smallest", "live_spatial_convolutions"
COLOUR, PATHS = "none: condition number", "path_spatial_convolutions"
SMALL, ALIKE = "none, 8 of 8 x 8: condition number", "none, 8 of 8 x 8: condition number of the correlations"
DEFAULT = (KAPPA, POOLING, REGIONS, LIVE)
CANDIDATES: dict[str, tuple[str, ...]] = {
    "default": DEFAULT,
    "in colour": (COLOUR, POOLING, REGIONS, LIVE),
    "3 x 3 convolutions over paths": (KAPPA, POOLING, REGIONS, PATHS),
    "3 x 3 convolutions over paths, in colour": (COLOUR, POOLING, REGIONS, PATHS),
    "3 x 3 convolutions over paths beside": (*DEFAULT, PATHS),
    "live multiply-adds for live 3 x 3 convolutions": (KAPPA, POOLING, REGIONS, "live_multiply_adds"),
    "grey with batch norm too": (KAPPA, "stages, grey: trace over smallest", REGIONS, LIVE),
    "grey with batch norm only": (COLOUR, "stages, grey: trace over smallest", REGIONS, LIVE),
    "trace over smallest for the condition number": ("none, grey: trace over smallest", POOLING, REGIONS, LIVE),
    "condition number of three stages": (KAPPA, "stages: condition number", REGIONS, LIVE),
    "entropy without batch norm beside": (*DEFAULT, "none, grey: entropy"),
    "32 images, in colour": ("none, 32: condition number", POOLING, REGIONS, LIVE),
    "8 x 8 condition number for the first": (SMALL, POOLING, REGIONS, LIVE),
    "8 x 8 condition number beside": (*DEFAULT, SMALL),
    "8 x 8 correlations for the first": (ALIKE, POOLING, REGIONS, LIVE),
    "8 x 8 correlations beside": (*DEFAULT, ALIKE),
    "8 x 8 correlations for trace over smallest": (KAPPA, ALIKE, REGIONS, LIVE),
}


def read_kernels(kernels: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of kernels (m, n, n), larger is better; minus infinity where a kernel is not of full rank."""
    found, full = statistics(kernels), condition_numbers(kernels)[1] == "full rank"
    deviation = np.sqrt(np.where(full[:, None], np.diagonal(kernels, axis1=1, axis2=2), 1.0)).astype(float)
    correlations = np.where(full[:, None, None], kernels, np.eye(kernels.shape[-1]))
    correlated = condition_numbers(correlations / deviation[:, :, None] / deviation[:, None])[0]
    values = {
        "condition number": -np.log(found.condition_number),
        "trace over smallest": -np.log(found.trace_over_smallest),
        "entropy": found.entropy,
        "condition number of the correlations": -np.log(correlated),
    }
    return {name: np.where(full, value, -np.inf) for name, value in values.items()}


def draw(cache: Path, seeds: list[int], data: Path | None, works: list[str]) -> None:
    """Evaluates what candidates are read from, of all distinct cells; processor seconds are those after compilation."""
    cells, _ = distinct(SPACE, np.stack(list(SPACE.enumerate())))
    connected = SPACE.connected(cells)
    for seed in seeds:
        source = open_images("cifar10", data) if data else open_images(seed=seed)
        for work in works:
            path = cache / f"{'cifar10' if data else 'synthetic'}_{work.replace(' ', '')}_{seed}.npz"
            if path.exists():
                continue
            scores = {"": Score("", "condition_number", KERNELS[work])} if work in KERNELS else None
            (program,) = score_programs(SPACE, scores or chosen_scores(SPACE, [work]))
            drawn: dict[str, list[np.ndarray]] = {}
            seconds = []
            for repeat in range(REPEATS):
                start = time.process_time()
                arrays = program.draw(jax.random.fold_in(jax.random.key(seed), repeat), source)
                found = program.compiled(cells[connected], *arrays)
                read = read_kernels(found) if scores else {"": program.read(found, cells[connected])[work][0]}
                seconds.append(time.process_time() - start)
                for name, values in read.items():
                    every = np.full(len(cells), -np.inf)
                    every[connected] = values
                    drawn.setdefault(name or work, []).append(every)
            program.compiled.release()
            kept: dict[str, Any] = {name: np.stack(values) for name, values in drawn.items()}
            np.savez_compressed(path, seconds=np.median(seconds), **kept)
            print(path.name, f"{np.median(seconds):.2f} s a draw", flush=True)


def read_draws(
    cache: Path, images: str, seed: int, places: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """By score (draws, m) of all architectures, larger is better; by work processor seconds of a draw."""
    found, seconds = {}, {}
    for work in (*KERNELS, REGIONS):
        path = cache / f"{images}_{work.replace(' ', '')}_{seed}.npz"
        if not path.exists():
            continue
        with np.load(path) as kept:
            seconds[work] = float(kept["seconds"])
            for name in kept:
                if name != "seconds":
                    found[name if name == work else f"{work}: {name}"] = kept[name][:, places]
    return found, seconds


def summed(names: tuple[str, ...], draws: Mapping[str, np.ndarray], masks: np.ndarray) -> np.ndarray:
    """The sum of log ranks with equal weights, smoothed over neighbours."""
    total = log_rank_sum({name: draws[name] for name in names}, dict.fromkeys(names, False))
    return smoothed(total, masks.argmax(-1), SPACE)


def judge_one(
    draws: dict[str, np.ndarray], candidate: tuple[str, ...], tables: "Tables"
) -> dict[str, dict[str, float]]:
    """Figures of a candidate by part of NAS-Bench-201, and by task and half of TransNAS-Bench-101."""
    score = summed(candidate, draws, tables.masks)
    found = {part: judged(score[rows], tables.accuracy[rows]) for part, rows in tables.parts.items()}
    rows, reached, halves = tables.transnas
    score = summed(candidate, {name: draws[name][..., rows] for name in candidate}, tables.masks[rows])
    return found | {part: {"spearman_rho": rho} for part, rho in micro_rhos(score, reached, halves).items()}


class Tables:
    """What architectures reach.

    Attributes:
        masks: of all architectures.
        accuracy: on CIFAR-10.
        parts: which of them, by name.
        transnas: rows of TransNAS's cells, what they reach on each task, and their halves.
    """

    def __init__(self, nasbench201: Path, transnas: Path):
        """Reads both tables."""
        space = read_space(nasbench201)
        self.masks, self.accuracy, self.parts = space.masks, space.accuracy, space.parts
        rows, reached, parts = micro_cells(transnas, SPACE.formats(space.masks))
        self.transnas = rows, reached, {half: parts[half] for half in ("development half", "other half")}


def judge(cache: Path, tables: Tables) -> dict[str, Any]:
    """All candidates, by images and by what a seed is for."""
    _, places = distinct(SPACE, tables.masks)
    counts = {name: v.astype(float)[None] for name, v in yardsticks(SPACE, tables.masks)._asdict().items()}
    runs = sorted({(path.stem.split("_")[0], int(path.stem.rpartition("_")[2])) for path in cache.glob("*.npz")})
    found: dict[str, dict[str, Any]] = {}
    costs: dict[str, list[float]] = {}
    for images, seed in runs:
        draws, seconds = read_draws(cache, images, seed, places)
        for work, value in seconds.items():
            costs.setdefault(work, []).append(value)
        group = found.setdefault("chosen with" if seed < CHOSEN_WITH else "reported", {})
        collected = group.setdefault(images, {"seeds": [], "rows": {}})
        collected["seeds"].append(seed)
        default = judge_one(draws | counts, DEFAULT, tables)
        for label, candidate in CANDIDATES.items():
            if not draws.keys() | counts.keys() >= set(candidate):
                continue
            figures_of = judge_one(draws | counts, candidate, tables)
            for part, values in figures_of.items():
                figure = "kendall_tau" if "kendall_tau" in values else "spearman_rho"
                ahead = {"ahead of the default": values[figure] - default[part][figure]}
                add(collected["rows"], label, part, values | ahead)
        print(images, seed, {k: row["all"]["kendall_tau"][-1] for k, row in collected["rows"].items()}, flush=True)
    for by_images in found.values():
        for collected in by_images.values():
            collected["rows"] = rows_over_batches(collected["rows"])
    milliseconds = {work: round(1000 * float(np.median(v)) / (1 + places.max()), 3) for work, v in costs.items()}
    return {"seeds": found, "processor_milliseconds": milliseconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("draw", "judge"))
    parser.add_argument("cache", type=Path)
    parser.add_argument("seeds", type=int, nargs="*")
    parser.add_argument("--data", type=Path, help="an .npz of CIFAR-10 images; synthetic ones without it")
    parser.add_argument("--of", nargs="+", choices=[*KERNELS, REGIONS], default=[*KERNELS, REGIONS])
    parser.add_argument("--nasbench201", type=Path, help="csv of accuracies of all architectures")
    parser.add_argument("--transnas", type=Path, help="csv.gz of TransNAS-Bench-101's micro cells")
    arguments = parser.parse_args()
    if arguments.what == "draw":
        draw(arguments.cache, arguments.seeds, arguments.data, arguments.of)
        return
    content = {
        "what": "sums of log ranks of several scores, smoothed over neighbours, eight draws a seed",
        "candidates": {label: list(names) for label, names in CANDIDATES.items()},
        **judge(arguments.cache, Tables(arguments.nasbench201, arguments.transnas)),
    }
    write("rank_default_candidates", content)


if __name__ == "__main__":
    main()
