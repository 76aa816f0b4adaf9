"""Does a quick training tell architectures apart? `--preset quick` on 4,000 CIFAR-10 images, beside simple models.

    python benchmarks/train_quick.py TABLE IMAGES RUNS [GROUP ...]

TABLE is NAS-Bench-201's csv, IMAGES an `.npz` with `x` and `y`, RUNS a folder for the runs, which resume. Groups are
trained one after another: `table` (a good, a middling and a bad architecture, three seeds), `found` (what the default
search finds, three seeds), `random` (ten architectures), `three_layers` (a network of three layers, three seeds). Without a
group all of them and a linear classifier, and the result file; with `finished` the same of the runs that have ended.
"""

import csv
import gzip
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from common.records import write
from tenas_jax.command_line import use_compilation_cache
from tenas_jax.networks.stand_alone import Blueprint
from tenas_jax.search.command import run as search
from tenas_jax.search.config import Config as SearchConfig
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.operators import relu_conv_bn
from tenas_jax.train.augment import normalised, shrunk
from tenas_jax.train.config import Config
from tenas_jax.train.job import Job, resolve
from tenas_jax.train.loop import train

WANTED = {"good": 94.0, "middling": 90.0, "bad": 75.0}  # CIFAR-10 test accuracies of the table
SEEDS = (0, 1, 2)
RANDOM = 10
DEFAULT = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"


def three_layers(read, space, weights, images, skeleton, cell):
    """Three 3x3 convolutions with batch norms, halving the sides twice, global pooling, a linear layer."""
    x = read.batch_norm("first.norm", read.convolution("first.conv", images, skeleton.channels, kernel=3))
    x = relu_conv_bn(read, "second", x, 2 * skeleton.channels, 2, kernel=3)
    x = relu_conv_bn(read, "third", x, 4 * skeleton.channels, 2, kernel=3)
    return read.head("linear", read.relu(x), skeleton.classes)


def table(path: str) -> dict[str, float]:
    with gzip.open(path, "rt") as file:
        return {row["architecture"]: float(row["cifar10_test_accuracy"]) for row in csv.DictReader(file)}


def job_of(architecture: str, images: str) -> Job:
    config = Config(architecture=architecture, preset="quick", dataset="cifar10", data=Path(images), val_share=0.2)
    return resolve(config)


def parameters(blueprint: Blueprint) -> int:
    return sum(int(np.prod(d.shape)) for d in blueprint.declared((1, 16, 16, 3)).values())


def trained(job: Job, seed: int, path: Path, **labels) -> dict:
    result = train(job, seed, path)
    kept = ("architecture", "parameters", "last", "best", "train", "wall_seconds")
    return {**labels, "seed": seed, **{name: result[name] for name in kept}}


def simple_job(images: str, wanted: int) -> Job:
    """The network of three layers whose parameters are as many as wanted, or a few more."""
    job = job_of(DEFAULT, images)
    space = replace(NAS_BENCH_201, network=three_layers)
    for channels in range(4, 200):
        skeleton = job.blueprint.skeleton._replace(channels=channels)
        blueprint = job.blueprint._replace(space=space, skeleton=skeleton)
        if parameters(blueprint) >= wanted:
            network = {**job.identity["network"], "space": "three_layers", "channels": channels}
            return replace(job, blueprint=blueprint, identity={**job.identity, "network": network})
    raise AssertionError("200 channels are more than any network here has")


def linear(job: Job) -> dict:
    """Softmax regression on the same pixels; of several weight decays and of all its steps the best is taken."""
    source, best = job.train.source, 0.0
    x, held_out = (
        normalised(shrunk(part.read(np.arange(len(part))), job.recipe.shrink), source.mean, source.std).reshape(
            len(part), -1
        )
        for part in (job.train, job.val)
    )
    y, wanted = jnp.asarray(job.train.labels), jnp.asarray(job.val.labels)

    def loss(weights, decay):
        logits = x @ weights["w"] + weights["b"]
        return (
            optax.softmax_cross_entropy_with_integer_labels(logits, y).mean() + decay * jnp.square(weights["w"]).sum()
        )

    found = {}
    for decay in (1e-3, 1e-2, 1e-1):
        weights = {"w": jnp.zeros((x.shape[1], 10)), "b": jnp.zeros(10)}
        optimiser = optax.adam(1e-3)
        state = optimiser.init(weights)

        @jax.jit
        def step(weights, state, decay=decay, optimiser=optimiser):
            updates, state = optimiser.update(jax.grad(loss)(weights, decay), state)
            return optax.apply_updates(weights, updates), state

        for number in range(1, 401):
            weights, state = step(weights, state)
            if number % 20 == 0:
                right = (jnp.asarray(held_out) @ weights["w"] + weights["b"]).argmax(1) == wanted
                best = max(best, 100 * float(right.mean()))
        found[str(decay)] = best
    return {"top1": best, "parameters": x.shape[1] * 10 + 10}


def planned(accuracies: dict[str, float], images: str, folder: Path) -> dict[str, list[tuple]]:
    """What is trained, group by group: job, seed, folder, labels."""
    nearest = {
        name: min(accuracies, key=lambda a, wanted=wanted: abs(accuracies[a] - wanted))
        for name, wanted in WANTED.items()
    }
    found = search(SearchConfig(output=folder / "search"))
    drawn = NAS_BENCH_201.formats(NAS_BENCH_201.sample(jax.random.key(0), RANDOM))

    def run(name: str, architecture: str, seed: int, place: str) -> tuple:
        labels = {"name": name, "test_accuracy": accuracies[architecture]}
        return job_of(architecture, images), seed, folder / place, labels

    simple = simple_job(images, parameters(job_of(nearest["good"], images).blueprint))
    return {
        "table": [run(name, a, seed, f"{name}{seed}") for seed in SEEDS for name, a in nearest.items()],
        "found": [run("found", found, seed, f"found{seed}") for seed in SEEDS],
        "random": [run("random", a, 0, f"random{number}") for number, a in enumerate(drawn)],
        "three_layers": [(simple, seed, folder / f"three{seed}", {"name": "three layers"}) for seed in SEEDS],
    }


def main() -> None:
    path, images, runs, *groups = sys.argv[1:]
    use_compilation_cache()
    plan = planned(table(path), images, Path(runs))
    finished = groups == ["finished"]
    rows = {
        group: [trained(job, seed, place, **labels) for job, seed, place, labels in plan[group]
                if not finished or (place / "result.json").exists()]
        for group in ([*plan] if finished or not groups else groups)
    }  # fmt: skip
    if groups and not finished:
        return
    job = plan["table"][0][0]
    recipe = {"epochs": job.recipe.epochs, "batch": job.recipe.batch, "shrink": job.recipe.shrink, **job.recipe.sizes}
    counts = {"train": len(job.train), "held_out": len(job.val)}
    write("train_quick", {"wanted": WANTED, "recipe": recipe, "images": counts, **rows, "linear": linear(job)})


if __name__ == "__main__":
    main()
