"""What the analytic NTK costs: by images, by their side, by cells, by batch norm, and beside empirical kernels.

    python benchmarks/ntk_cost.py [--architectures 16] [--repeats 3] [--threads 2]

Random single architectures of NAS-Bench-201 and their condition numbers by one compiled program, as the search evaluates
them: on a CPU one by one on all cores. All that is compared runs in turn, in float32, compile time apart. Takes
three minutes on two cores and writes `results/ntk_cost.json`.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import argparse
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import torch

from common.records import write
from common.timing import seconds_in_turn
from pytorch.indicators import condition_number, ntk
from pytorch.networks import initialise, ntk_network
from pytorch.search import draw_images
from tenas_jax.data import ImageSource, open_images
from tenas_jax.ntk.gaussian_kernels import Settings
from tenas_jax.scores.indicators import indicator
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.score import Kernel, of_kernel
from tenas_jax.spaces.skeleton import Skeleton

DEFAULT, PAPER = (
    work
    for name in ("condition_number_ntk_parametrisation", "condition_number_paper")
    if isinstance(work := NAS_BENCH_201.scores[name].work, Kernel)
)
SOURCE_SIDE = 24  # pixels of the analytic kernel's images before pooling: all sides that are tried divide it


class Case(NamedTuple):
    """One way to condition numbers, compiled.

    Attributes:
        run: takes masks.
        compile_seconds: None for PyTorch, which compiles nothing.
    """

    run: Callable[[np.ndarray], Any]
    compile_seconds: float | None


DEFAULTS = {"images": 8, "side": 4, "cells": 1}


def analytic(settings: Settings = Settings(), **sizes: int) -> Case:
    """The analytic NTK; sizes that are not given are those of the default search."""
    sizes = {**DEFAULTS, **sizes}
    skeleton = Skeleton(DEFAULT.skeleton.channels, sizes["cells"])
    kernel = Kernel(skeleton, "analytic", sizes["images"], sizes["side"], **settings._asdict())
    return compiled(open_images(side=SOURCE_SIDE), kernel)


def empirical(images: int) -> Case:
    """The paper's kernel of one initialisation: 32 x 32 pixels, coupled batch statistics, 3 channels."""
    return compiled(open_images(), PAPER._replace(images=images))


def compiled(source: ImageSource, kernel: Kernel) -> Case:
    kappa = indicator(NAS_BENCH_201, source, "condition_number", of_kernel(kernel)["condition_number"])
    kappa.evaluate(jax.random.key(0), NAS_BENCH_201.supernet()[None])
    return Case(partial(kappa.evaluate, jax.random.key(1)), kappa.compile_seconds)


def pytorch(images: int) -> Case:
    """The same kernel by the PyTorch reference, architecture by architecture."""
    network = ntk_network("nasbench201")
    initialise(network, PAPER.fan, torch.Generator().manual_seed(0))
    batch = draw_images(open_images().read(np.arange(images)), images, np.random.default_rng(0))

    def run(masks):
        return [condition_number(ntk(network, batch, torch.as_tensor(mask))) for mask in masks]

    return Case(run, None)


SWEEPS: dict[str, Sequence[int]] = {"images": (4, 8, 12, 16, 24), "side": (4, 8, 12), "cells": (1, 2, 3, 5)}
MEAN_FIELD = {s: Settings(batch_norm="mean-field", statistics=s) for s in ("frozen", "mean-coupled")}
EXACT = {s: Settings(batch_norm="exact", statistics=s) for s in ("frozen", "mean-coupled", "coupled")}
DEFAULT_NAME = "analytic, default"  # as "mean-field mean-coupled", so that the two show how much times vary


def name_of(axis: str, size: int) -> str:
    return DEFAULT_NAME if size == DEFAULTS[axis] else f"{axis} {size}"


def cases() -> dict[str, Callable[[], Case]]:
    """How to build every case, by name."""
    built: dict[str, Callable[[], Case]] = {DEFAULT_NAME: analytic}
    for axis, values in SWEEPS.items():
        built |= {name_of(axis, value): partial(analytic, **{axis: value}) for value in values}
    for form, by_statistics in (("mean-field", MEAN_FIELD), ("exact", EXACT)):
        built |= {f"{form} {name}": partial(analytic, settings=settings) for name, settings in by_statistics.items()}
    for images in (PAPER.images, DEFAULT.images):
        built[f"empirical, {images} images"] = partial(empirical, images)
        built[f"PyTorch, {images} images"] = partial(pytorch, images)
    return built


def is_beside(name: str) -> bool:
    return name.startswith(("empirical", "PyTorch", DEFAULT_NAME))


def peak_memory(name: str, threads: int) -> int:
    """Bytes that this process, a fresh one, has held at most once the case has been compiled and run."""
    torch.set_num_threads(threads)
    jax.config.update("jax_enable_compilation_cache", False)
    case = cases()[name]()
    case.run(NAS_BENCH_201.sample(jax.random.key(0), 8))
    # Not getrusage: there a process starts with the peak of the one that started it.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def peak_memory_apart(name: str, threads: int) -> int:
    """`peak_memory` in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        held = process.submit(peak_memory, name, threads).result()
    print(f"{name}: {held / 1e6:.0f} MB", flush=True)
    return held


def scaling(values: Sequence[int], milliseconds: Sequence[float]) -> dict[str, float]:
    """Slopes of the logarithm of the time against that of the size: over all sizes, and of the two largest."""
    slope = partial(np.polyfit, deg=1)
    x, y = np.log(values), np.log(milliseconds)
    return {
        "exponent": round(float(slope(x, y)[0]), 2),
        "of_the_two_largest": round(float(slope(x[-2:], y[-2:])[0]), 2),
    }


def figures(case: Case, milliseconds: np.ndarray) -> dict[str, Any]:
    rounded = [float(f"{value:.4g}") for value in milliseconds]
    compiling = {} if case.compile_seconds is None else {"compile_seconds": round(case.compile_seconds, 2)}
    return {"milliseconds": float(f"{np.median(milliseconds):.4g}"), "repeats": rounded, **compiling}


def table_of(rows: dict[str, dict[str, Any]], times: dict[str, np.ndarray]) -> dict[str, Any]:
    """Sweeps with their exponents, batch norms and their ratios, and what stands beside the default.

    Args:
        rows: figures of every case.
        times: milliseconds of every repeat of every case.
    """

    def ratio(slow: str, fast: str) -> float:
        return round(float(np.median(times[slow] / times[fast])), 2)

    return {
        "sweeps": {
            axis: {
                "by_size": {value: rows[name_of(axis, value)] for value in values},
                **scaling(values, [rows[name_of(axis, value)]["milliseconds"] for value in values]),
            }
            for axis, values in SWEEPS.items()
        },
        "batch_norm": {
            "mean-field": {name: rows[f"mean-field {name}"] for name in MEAN_FIELD},
            "exact": {name: rows[f"exact {name}"] for name in EXACT},
            "exact_over_mean_field": {name: ratio(f"exact {name}", f"mean-field {name}") for name in MEAN_FIELD},
            "exact_coupled_over_mean_field_mean_coupled": ratio("exact coupled", "mean-field mean-coupled"),
        },
        "beside": {
            "what": "one initialisation of the empirical kernels, 32 x 32 pixels, coupled batch statistics, 3 channels",
            **{
                name: {**row, "over_the_analytic_default": ratio(name, DEFAULT_NAME)}
                for name, row in rows.items()
                if is_beside(name)
            },
        },
    }


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    start = time.perf_counter()
    torch.set_num_threads(arguments.threads)
    jax.config.update("jax_enable_compilation_cache", False)

    memory = {name: peak_memory_apart(name, arguments.threads) for name in filter(is_beside, cases())}
    built = {name: build() for name, build in cases().items()}
    masks = NAS_BENCH_201.sample(jax.random.key(0), arguments.architectures)
    functions = {name: partial(case.run, masks) for name, case in built.items()}
    seconds = seconds_in_turn(functions, dict.fromkeys(functions, int(arguments.repeats)))
    times = {name: wall[:, 0] / len(masks) * 1e3 for name, wall in seconds.items()}
    rows = {name: figures(built[name], times[name]) for name in built}
    for name, row in rows.items():
        print(f"{name}: {row['milliseconds']} ms, {row.get('compile_seconds', 0)} s to compile", flush=True)

    content = {
        "what": "milliseconds an architecture, medians of repeats that are taken in turn; analytic NTK with "
        "8 images of 4 x 4 and one cell a stage where nothing else is said",
        "architectures": len(masks),
        "threads_of_pytorch": arguments.threads,
        "torch": torch.__version__,
        **table_of(rows, times),
        "peak_memory_bytes": {
            "what": "of a process of its own that imports, compiles and evaluates 8 architectures",
            **memory,
        },
        "seconds": round(time.perf_counter() - start),
    }
    write("ntk_cost", content)


if __name__ == "__main__":
    main()
