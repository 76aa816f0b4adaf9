"""Runs that nothing is computed for: their files are written as the commands write them."""

import json

import numpy as np
from conftest import scored_by

from tenas_jax import DARTS, NAS_BENCH_201
from tenas_jax.records import seal
from tenas_jax.records.files import sha256_of, write_csv
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.report.run_files import benchmark_path
from tenas_jax.search import beside, strategies
from tenas_jax.spaces.registry import identity_of
from tenas_jax.spaces.single_input import PRESETS
from tenas_jax.spaces.two_inputs import PRESETS as DARTS_PRESETS

RESULT = {
    "dataset": "synthetic", "seed": 0, "wall_seconds": 1.0, "compile_seconds": 0.5, "evaluations": 100,
    "cost": {"parameters": 1234567, "flops": 7654321}, "benchmark": None, "versions": {"jax": "<1>"}, "device": "cpu: cpu",
}  # fmt: skip


def pruned(path, space=NAS_BENCH_201, preset="default", limits=None, finish=True):
    """A pruning search by two plain functions of masks."""
    settings = (DARTS_PRESETS if space is DARTS else PRESETS)[preset]
    rng = np.random.default_rng(0)
    indicators = [
        scored_by("condition_number", True, rng.normal(size=space.mask_shape)),
        scored_by("linear_regions", False, rng.normal(size=space.mask_shape)),
    ]
    decides = {"rule": settings.rule, "prune_number": settings.prune_number}
    config = {"space": identity_of(space), "strategy": "prune", "seed": 0, "settings": decides, "preset": preset}
    with RunFolder(path, config) as run:
        mask = strategies.prune_in_folder(0, space, indicators, settings, run, limits)
        kernel = np.diag([4.0, 2.0, 1.0])
        kernels = {"found": kernel.tolist(), "supernet": (kernel + 1).tolist(), "random": np.eye(3).tolist()}
        scores = {i.name: {"found": 2.0, "random": [1.0, 3.0, "inf"]} for i in indicators}
        beside.keep(run, {"kernels": kernels, "kernel": "a kernel", "scores": scores})
        if finish:
            labels = {
                "space": space.name,
                "strategy": "prune",
                "architecture": space.format(mask),
                "rounds": len(run.rounds),
            }
            run.finish(RESULT | labels | {"choice": space.choice(mask).tolist(), "config": {"preset": "<default>"}})
    return path


def evolved(path, generations=4):
    """An evolution of NAS-Bench-201."""
    space, rng = NAS_BENCH_201, np.random.default_rng(1)
    strings = space.formats(space.enumerated()[rng.permutation(15_625)[: 16 * generations]])
    with RunFolder(path, {"space": "nasbench201", "strategy": "evolve", "seed": 0}) as run:
        for number in range(generations):
            young = strings[16 * number : 16 * number + 16]
            scores = {name: rng.uniform(1, 100, 16).tolist() for name in ("condition_number", "linear_regions")}
            scores["condition_number"][3] = "inf"
            run.append(
                {"round": number, "architectures": young, "scores": scores, "best": strings[5], "evaluations": 16}
            )
        labels = {"space": "nasbench201", "strategy": "evolve", "architecture": strings[5], "rounds": generations}
        run.finish(RESULT | labels | {"config": {}})
    return path


def trained(path, epochs=5, finish=True):
    """A training."""
    space, rng = NAS_BENCH_201, np.random.default_rng(3)
    architecture = space.format(space.one_hot(np.array([[3, 1, 3, 1, 2, 3]])))
    network = {"space": "nasbench201", "architecture": architecture}
    with RunFolder(
        path, {"network": network, "definition": "nasbench201", "recipe": {"epochs": epochs}, "seed": 0}
    ) as run:
        for epoch in range(1, epochs + 1):
            measures = [{"loss": rng.uniform(0, 2), "top1": rng.uniform(0, 99), "top5": 99.5} for _ in range(2)]
            run.append({"epoch": epoch, "train": measures[0], "val": measures[1]})
        if finish:
            last = run.rounds[-1]
            best = {"epoch": epochs, **last["val"]}
            parts = {"epochs": epochs, "parameters": 12345, "last": last["val"], "best": best, "train": last["train"]}
            run.finish({**network, **parts, "seed": 0, "dataset": "own", "wall_seconds": 1.0, "compile_seconds": 0.5})
    return path


def ranked(path, count=15_625, benchmark=True, record=None):
    """A ranking of NAS-Bench-201."""
    space, rng = NAS_BENCH_201, np.random.default_rng(2)
    strings = space.formats(space.enumerated()[rng.permutation(15_625)[:count]])
    smoothed = -np.sort(rng.exponential(2.0, count))
    columns = {
        "smoothed": smoothed, "log_rank_sum": smoothed + rng.normal(0, 0.1, count),
        "rank_sum": rng.permutation(count) * 1.0,
        "condition_number_no_batch_norm": rng.lognormal(5, 2, count),
        "condition_number_no_batch_norm_health": np.full(count, "full rank"),
        "trace_over_smallest": rng.lognormal(2, 1, count), "trace_over_smallest_health": np.full(count, "full rank"),
        "effective_regions_deep": rng.uniform(1, 128, count), "effective_regions_deep_health": np.full(count, "counted"),
        "live_spatial_convolutions": rng.integers(0, 90, count) * 1.0,
    }  # fmt: skip
    columns["condition_number_no_batch_norm"][-7:] = np.inf
    write_csv(path, strings, columns)
    if benchmark:
        write_csv(benchmark_path(path), strings, {"accuracy": 94 + 3 * smoothed + rng.normal(0, 0.3, count)})
    content = {
        "architectures": count,
        "distinct": count,
        "dataset": "synthetic",
        "seed": 0,
        "csv_sha256": sha256_of(path),
    }
    content |= {"identity": {"space": "nasbench201", "seed": 0}, **(record or {})}
    path.with_suffix(".json").write_bytes(seal.sealed(content))
    return path


def lines_of(path):
    """Records of `rounds.jsonl`."""
    return [json.loads(line) for line in (path / "rounds.jsonl").read_text().splitlines()]
