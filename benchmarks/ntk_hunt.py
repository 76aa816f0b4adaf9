"""Which closed form ranks: kernels with and without batch norm, and what is asked of them. Development half only.

    python benchmarks/ntk_hunt.py --nasbench201 TABLE --transnas TABLE --data IMAGES.npz --cache FOLDER

On random connected architectures of the development halves, seed 0 (20 draws of three kernels: seeds 0 to 19). Of every
kernel the NTK T and the NNGP kernel K, and several statistics of their spectra; Kendall's tau with and without cells that
pool, and Spearman's rho on TransNAS-Bench-101's micro cells. Writes `results/ntk_hunt.json`: what FOLDER holds is not
computed again, and `--kernels 4` does no more than four others. `--cells 60 --name ''` is a trial.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from common.architectures import read_space
from common.records import tree, write
from common.statistics import tau
from common.transnas import TASKS, micro_cells
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
        photographs: CIFAR-10's images instead of synthetic ones.
        noise: white noise as images.
    """

    batch_norm: Any = "none"
    parametrisation: Any = "standard"
    images: int = 16
    side: int = 4
    stages: int = 1
    cells: int = 1
    channels: int = 16
    photographs: bool = False
    noise: bool = False

    def label(self) -> str:
        """What differs from the defaults."""
        changes = [f"{name} {value}" for name, value in self._asdict().items() if value != getattr(Choice(), name)]
        return ", ".join(changes) or "one cell without batch norm, 16 images of 4 x 4"


CHOICES = (
    Choice(),
    Choice(photographs=True),
    Choice(batch_norm="mean-field", stages=3, images=8),
    Choice(images=64),
    Choice(parametrisation="ntk"),
    Choice(channels=1024),
    Choice(batch_norm="mean-field"),
    Choice(stages=2),
    Choice(stages=3),
    Choice(cells=3),
    Choice(batch_norm="mean-field", stages=3),
    Choice(channels=4),
    Choice(channels=64),
    Choice(cells=2),
    Choice(noise=True),
    Choice(batch_norm="mean-field", cells=3, images=8),
    Choice(side=8, images=8),
    Choice(batch_norm="exact", images=8),
)
# Without batch norm the kernel of some of the images is a sub-matrix of the kernel of all.
FIRST_OF_64 = (4, 8, 32, 64)
OFTEN_DRAWN = (Choice(), Choice(photographs=True), Choice(batch_norm="mean-field", stages=3, images=8))


def pooled(kernel):
    """The mean over positions, (pairs,)."""
    return kernel.mean((0, 1, 2))


def kernels(choice: Choice):
    """A program: (2, 1 + stages, n, n), K and T at the output and, pooled, behind the last cell of each stage."""

    def program(mask, images):
        batch = Batch.of(len(images))
        read = KernelReading(batch, Settings(choice.parametrisation, choice.batch_norm))
        ends: dict[str, Any] = {}

        def watched(read, space, name, *arguments, **options):
            nodes = cell(read, space, name, *arguments, **options)
            ends[name.split(".")[0]] = jnp.asarray(read._realise(nodes[-1]).map(pooled))
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
    deviations = np.sqrt(np.maximum(np.einsum("mii->mi", stack.astype(float)), 1e-30))
    correlated = np.maximum(np.linalg.eigvalsh(stack / deviations[:, :, None] / deviations[:, None]), 1e-30)
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
        "condition number of the correlations": -np.log(correlated[:, -1] / correlated[:, 0]),
    }


def draw(program, choice: Choice, masks: np.ndarray, seed: int, data: Path) -> np.ndarray:
    """The kernels of one batch, (m, 2, places, n, n)."""
    key = jax.random.key(seed)
    if choice.noise:
        batch = np.asarray(jax.random.normal(key, (choice.images, choice.side, choice.side, 3)))
    else:
        source = open_images("cifar10", data) if choice.photographs else open_images(seed=seed)
        batch = np.asarray(image_batch(key, source, choice.images, side=choice.side))
    return program(masks, batch)


def all_statistics(choice: Choice, found: np.ndarray) -> dict[str, np.ndarray]:
    """Every statistic of a batch's kernels, by kernel and place."""
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
        ranks = np.stack([average_rank(values, descending=True) for values in eight])
        pooled = average_rank(eight.ravel(), descending=True).reshape(eight.shape)
        for name, values in {
            "mean of logarithms": eight.mean(0),
            "median of logarithms": np.median(eight, 0),
            "mean of log ranks": np.log(ranks).mean(0),
            "Mann-Whitney: share of pairs of draws that are won": pooled.mean(0),
        }.items():
            by_average.setdefault(name, []).append(tau(values, accuracy))
    summed = {name: {"mean": round(float(np.mean(v)), 4), "worst": round(min(v), 4)} for name, v in by_average.items()}
    return {"draws": [round(value, 4) for value in alone], "worst": round(min(alone), 4), "eight draws": summed}


def rows_of(choice: Choice, sample: "Sample", number: int, data: Path) -> dict[str, Any]:
    """All figures of one kernel, and their spread over draws of the kernels that are drawn often."""
    start, program = time.perf_counter(), kernels(choice)
    often = range(number) if choice in OFTEN_DRAWN else range(1)
    first, draws = None, []
    for seed in often:
        found = draw(program, choice, sample.masks, seed, data)
        first = found if first is None else first
        draws.append(statistics(found[:, 1, 0]))
    assert first is not None
    rows = []
    for images in FIRST_OF_64 if choice.images == 64 else (choice.images,):
        one = choice._replace(images=images)
        figures = {n: sample.judged(v) for n, v in all_statistics(one, first[..., :images, :images]).items()}
        evaluated = {"evaluated_at": tree()["commit"], "architectures": len(sample.masks)}
        rows.append({"kernel": one.label(), **one._asdict(), **evaluated, "statistics": figures})
        best = max(figures, key=lambda name: figures[name]["all"])
        print(one.label(), best, figures[best], f"{time.perf_counter() - start:.0f} s", flush=True)
    wanted = ("condition number", "condition number of the correlations", "trace over smallest")
    ours = len(sample.accuracy)
    spreads = {name: spread([one[name][:ours] for one in draws], sample.accuracy) for name in wanted}
    spreads = spreads if len(draws) > 1 else {}
    return {"rows": rows, "spread": {choice.label(): spreads} if spreads else {}}


class Sample(NamedTuple):
    """Random connected architectures of the development halves.

    Attributes:
        masks: (m, cells, edges, operators), those of NAS-Bench-201's half first.
        accuracy: of these first ones on CIFAR-10.
        parts: which of these first ones, by name.
        transnas: of all that are TransNAS's, their rows and what they reach on each task.
    """

    masks: np.ndarray
    accuracy: np.ndarray
    parts: dict[str, np.ndarray]
    transnas: tuple[np.ndarray, dict[str, np.ndarray]]

    def judged(self, values: np.ndarray) -> dict[str, float]:
        """Kendall's tau by part of NAS-Bench-201, Spearman's rho by task of TransNAS-Bench-101."""
        ours = values[: len(self.accuracy)]
        taus = {name: tau(ours[rows], self.accuracy[rows]) for name, rows in self.parts.items()}
        rows, tasks = self.transnas
        rhos = {name: float(np.asarray(spearmanr(values[rows], reached))[0]) for name, reached in tasks.items()}
        return {name: round(figure, 4) for name, figure in (taus | rhos).items()}


def sampled(nasbench201: Path, transnas: Path, cells: int) -> Sample:
    """Two thirds of the architectures of NAS-Bench-201's development half, one third of TransNAS-Bench-101's."""
    space, rng = read_space(nasbench201), np.random.default_rng(0)
    pool = np.flatnonzero(space.parts["development half"] & space.connected)
    chosen = np.sort(rng.permutation(pool)[: cells - cells // 3])
    names = SPACE.formats(space.masks)
    rows, reached, parts = micro_cells(transnas, names)
    known = parts["development half"] & ~np.isnan(reached).any(1) & space.connected[rows]
    others = np.sort(rng.permutation(np.flatnonzero(known))[: cells // 3])
    masks = space.masks[np.concatenate([chosen, rows[others]])]
    plain = ~masks[: len(chosen), ..., SPACE.operators.index("avg_pool_3x3")].any((1, 2))
    halves = {"all": np.ones_like(plain), "without pooling": plain, "with pooling": ~plain}
    tasks = {f"TransNAS {task}": reached[others, column] for column, task in enumerate(TASKS)}
    return Sample(masks, space.accuracy[chosen], halves, (np.arange(len(chosen), len(masks)), tasks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nasbench201", type=Path, required=True, help="csv of accuracies of all architectures")
    parser.add_argument("--data", type=Path, required=True, help="an .npz of CIFAR-10 images")
    parser.add_argument("--transnas", type=Path, required=True, help="csv.gz of TransNAS-Bench-101's micro cells")
    parser.add_argument("--cells", type=int, default=1500)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cache", type=Path, required=True, help="where kernels that are done are kept")
    parser.add_argument("--kernels", type=int, help="how many more to do; all by default")
    parser.add_argument("--name", default="ntk_hunt", help="of the result's file; empty writes none")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    sample = sampled(arguments.nasbench201, arguments.transnas, arguments.cells)
    ahead = len(CHOICES) if arguments.kernels is None else arguments.kernels
    done = []
    for number, choice in enumerate(CHOICES):
        path = arguments.cache / f"{number}_{len(sample.masks)}.json"
        if not path.exists():
            if ahead == 0:
                continue
            ahead -= 1
            found = rows_of(choice, sample, arguments.draws, arguments.data)
            path.write_text(json.dumps(found))
        done.append(json.loads(path.read_text()))
    counted = yardsticks(SPACE, sample.masks)._asdict()
    content = {
        "what": "Kendall's tau of statistics of closed-form kernels, random architectures of the development half",
        "architectures": {name: int(rows.sum()) for name, rows in sample.parts.items()},
        "rows": [row for one in done for row in one["rows"]],
        "yardsticks": {name: sample.judged(values.astype(float)) for name, values in counted.items()},
        "spread_over_draws": {label: figures for one in done for label, figures in one["spread"].items()},
    }
    if arguments.name:
        write(arguments.name, content)


if __name__ == "__main__":
    main()
