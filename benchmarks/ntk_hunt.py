"""Which closed form ranks: kernels with and without batch norm, and what is asked of them. Development half only.

    python benchmarks/ntk_hunt.py --nasbench201 TABLE --cache FOLDER [--cells 1500] [--draws 20] [--kernels 4]

On random connected architectures of the development half, seed 0 (20 draws of two kernels: seeds 0 to 19). Of every kernel
the NTK T and the NNGP kernel K, and several statistics of their spectra; Kendall's tau with and without cells that pool.
Writes `results/ntk_hunt.json` once all kernels are done: what FOLDER holds is not computed again, and `--kernels 4` ends
after four more. `--cells 40 --name ''` is a trial.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from common.architectures import read_space
from common.records import write
from common.statistics import tau
from tenas_jax import NAS_BENCH_201
from tenas_jax.data import image_batch, open_images
from tenas_jax.networks.yardsticks import yardsticks
from tenas_jax.ntk.gaussian_kernels import Batch, Settings, input_kernels
from tenas_jax.ntk.gaussian_maps import gaussian_field, realise
from tenas_jax.ntk.kernel_reading import KernelReading
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.ranks import average_rank
from tenas_jax.spaces.network import network
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.stacking import cell

SPACE = NAS_BENCH_201


class Choice(NamedTuple):
    """A kernel; the defaults are one cell without batch norm.

    Attributes:
        batch_norm: which limit is taken, "none" for networks without it.
        parametrisation: which weights count how much.
        images: of a batch.
        side: of the images in pixels.
        stages: with a residual reduction between two of them.
        cells: a stage.
        channels: of the first stage.
        noise: white noise as images.
    """

    batch_norm: Any = "none"
    parametrisation: Any = "standard"
    images: int = 16
    side: int = 4
    stages: int = 1
    cells: int = 1
    channels: int = 16
    noise: bool = False

    def label(self) -> str:
        """What differs from the defaults."""
        changes = [f"{name} {value}" for name, value in self._asdict().items() if value != getattr(Choice(), name)]
        return ", ".join(changes) or "one cell without batch norm, 16 images of 4 x 4"


CHOICES = (
    Choice(),
    Choice(images=8),
    Choice(images=32),
    Choice(images=64),
    Choice(side=8, images=8),
    Choice(channels=4),
    Choice(channels=64),
    Choice(channels=1024),
    Choice(parametrisation="ntk"),
    Choice(cells=2),
    Choice(cells=3),
    Choice(stages=2),
    Choice(stages=3),
    Choice(noise=True),
    Choice(batch_norm="mean-field"),
    Choice(batch_norm="mean-field", cells=3, images=8),
    Choice(batch_norm="mean-field", stages=3, images=8),
    Choice(batch_norm="mean-field", stages=3),
    Choice(batch_norm="exact", images=8),
)
OFTEN_DRAWN = (Choice(), Choice(batch_norm="mean-field", stages=3, images=8))


def kernels(choice: Choice):
    """A program: (2, 1 + stages, n, n), K and T at the output and, pooled, behind the last cell of each stage."""

    def program(mask, images):
        batch = Batch.of(len(images))
        read = KernelReading(batch, Settings(choice.parametrisation, choice.batch_norm))
        ends: dict[str, Any] = {}

        def watched(read, space, name, *arguments, **options):
            nodes = cell(read, space, name, *arguments, **options)
            ends[name.split(".")[0]] = read._realise(nodes[-1]).mean((1, 2, 3))
            return nodes

        x = gaussian_field(input_kernels(images, batch), images.shape[1], images.shape[-1])
        skeleton = Skeleton(choice.channels, choice.cells, choice.stages)
        output = jnp.asarray(realise(network(read, SPACE, mask, x, skeleton, watched)))[:, 0, 0, 0]
        stored = jnp.stack([output, *ends.values()], axis=1)
        full = jnp.zeros((*stored.shape[:2], batch.size, batch.size), stored.dtype)
        full = full.at[..., batch.first, batch.second].set(stored)
        return full.at[..., batch.second, batch.first].set(stored)

    return MaskProgram(program)


def statistics(stack: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of kernels (m, n, n), larger is better."""
    n = stack.shape[-1]
    values = np.maximum(np.linalg.eigvalsh(stack.astype(float)), 1e-30)
    shares = values / values.sum(1, keepdims=True)
    centred = np.linalg.qr(np.eye(n, n - 1) - 1 / n)[0]
    inner = np.maximum(np.linalg.eigvalsh(centred.T @ stack.astype(float) @ centred), 1e-30)
    return {
        "condition number": -np.log(values[:, -1] / values[:, 0]),
        "largest over second smallest": -np.log(values[:, -1] / values[:, 1]),
        "trace over smallest": -np.log(values.sum(1) / values[:, 0]),
        "smallest eigenvalue": np.log(values[:, 0]),
        "trace": np.log(values.sum(1)),
        "entropy": -(shares * np.log(shares)).sum(1),
        "mean over harmonic mean": -np.log(values.mean(1) * (1 / values).mean(1)),
        "condition number of the centred kernel": -np.log(inner[:, -1] / inner[:, 0]),
    }


def draw(program, choice: Choice, masks: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Every statistic of a batch's kernels, by kernel and place."""
    key = jax.random.key(seed)
    if choice.noise:
        batch = np.asarray(jax.random.normal(key, (choice.images, choice.side, choice.side, 3)))
    else:
        batch = np.asarray(image_batch(key, open_images(seed=seed), choice.images, side=choice.side))
    found = program(masks, batch)
    places = ["output"] + ([f"stage {s + 1}" for s in range(choice.stages)] if choice.stages > 1 else [])
    return {
        f"{kernel}, {place}, {name}": values
        for k, kernel in enumerate(("NNGP", "NTK"))
        for p, place in enumerate(places)
        for name, values in statistics(found[:, k, p]).items()
    }


def spread(draws: list[np.ndarray], accuracy: np.ndarray) -> dict[str, Any]:
    """One statistic over many draws: each alone, and groups of eight by three kinds of average."""
    alone = [tau(values, accuracy) for values in draws]
    rng, by_average = np.random.default_rng(0), {}
    for _ in range(10):
        eight = np.stack([draws[number] for number in rng.choice(len(draws), min(8, len(draws)), replace=False)])
        ranks = np.stack([average_rank(values, descending=False) for values in eight])
        pooled = average_rank(eight.ravel(), descending=False).reshape(eight.shape)
        for name, values in {
            "mean of logarithms": eight.mean(0),
            "median of logarithms": np.median(eight, 0),
            "mean of log ranks": np.log(ranks).mean(0),
            "Mann-Whitney: share of pairs of draws that are won": pooled.mean(0),
        }.items():
            by_average.setdefault(name, []).append(tau(values, accuracy))
    summed = {name: {"mean": round(float(np.mean(v)), 4), "worst": round(min(v), 4)} for name, v in by_average.items()}
    return {"draws": [round(value, 4) for value in alone], "worst": round(min(alone), 4), "eight draws": summed}


def row(choice: Choice, masks: np.ndarray, accuracy: np.ndarray, judged: Callable, number: int) -> dict[str, Any]:
    """All figures of one kernel, and their spread over draws of the kernels that are drawn often."""
    start, program = time.perf_counter(), kernels(choice)
    draws = [draw(program, choice, masks, seed) for seed in range(number if choice in OFTEN_DRAWN else 1)]
    figures = {name: judged(values) for name, values in draws[0].items()}
    found = {"kernel": choice.label(), **choice._asdict(), "statistics": figures}
    if choice in OFTEN_DRAWN:
        wanted = ("condition number", "trace over smallest")
        found["spread"] = {name: spread([one[f"NTK, output, {name}"] for one in draws], accuracy) for name in wanted}
    best = max(figures, key=lambda name: figures[name]["all"])
    print(choice.label(), best, figures[best], f"{time.perf_counter() - start:.0f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nasbench201", type=Path, required=True, help="csv of accuracies of all architectures")
    parser.add_argument("--cells", type=int, default=1500)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cache", type=Path, required=True, help="where kernels that are done are kept")
    parser.add_argument("--kernels", type=int, help="how many more to do; all by default")
    parser.add_argument("--name", default="ntk_hunt", help="of the result's file; empty writes none")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    space = read_space(arguments.nasbench201)
    pool = np.flatnonzero(space.parts["development half"] & space.connected)
    chosen = np.sort(np.random.default_rng(0).permutation(pool)[: arguments.cells])
    masks, accuracy = space.masks[chosen], space.accuracy[chosen]
    plain = ~masks[..., SPACE.operators.index("avg_pool_3x3")].any((1, 2))

    def judged(values):
        parts = {"all": accuracy > 0, "without pooling": plain, "with pooling": ~plain}
        return {name: round(tau(values[rows], accuracy[rows]), 4) for name, rows in parts.items()}

    ahead = arguments.kernels or len(CHOICES)
    done = []
    for number, choice in enumerate(CHOICES):
        path = arguments.cache / f"{number}_{len(chosen)}.json"
        if not path.exists():
            if ahead == 0:
                return
            ahead -= 1
            path.write_text(json.dumps(row(choice, masks, accuracy, judged, arguments.draws)))
        done.append(json.loads(path.read_text()))
    counted = {name: judged(values.astype(float)) for name, values in yardsticks(SPACE, masks)._asdict().items()}
    content = {
        "what": "Kendall's tau of statistics of closed-form kernels, random architectures of the development half",
        "architectures": len(chosen),
        "without_pooling": int(plain.sum()),
        "rows": [{key: value for key, value in one.items() if key != "spread"} for one in done],
        "yardsticks": counted,
        "spread_over_draws": {one["kernel"]: one["spread"] for one in done if "spread" in one},
    }
    if arguments.name:
        write(arguments.name, content)


if __name__ == "__main__":
    main()
