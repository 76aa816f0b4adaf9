"""Does a quick training tell architectures apart? `--preset quick` on 4,000 CIFAR-10 images, beside simple models.

    python benchmarks/train_quick.py TABLE IMAGES RUNS [GROUP ...]

TABLE is NAS-Bench-201's csv, IMAGES an `.npz` with `x` and `y`, RUNS a folder for the runs, which resume. Groups are
trained one after another: `table` (a good, a middling and a bad architecture, three seeds), `found` (what the default
search finds, three seeds), `random` (ten architectures), `simple` (a linear classifier, a network of three layers). Without
a group all of them, and the result file.
"""

import csv
import gzip
import sys
import time
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


def trained(job: Job, seed: int, path: Path) -> dict:
    result = train(job, seed, path)
    kept = ("architecture", "parameters", "last", "best", "train", "wall_seconds")
    return {"seed": seed, **{name: result[name] for name in kept}}


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


def main() -> None:
    path, images, runs, *groups = sys.argv[1:]
    use_compilation_cache()
    accuracies, folder = table(path), Path(runs)
    nearest = {
        name: min(accuracies, key=lambda a, wanted=wanted: abs(accuracies[a] - wanted))
        for name, wanted in WANTED.items()
    }
    content: dict = {"wanted": WANTED, "seeds": list(SEEDS)}
    chosen = groups or ["table", "found", "random", "simple"]
    if "table" in chosen:
        content["table"] = [
            {"name": name, "test_accuracy": accuracies[a], **trained(job_of(a, images), seed, folder / f"{name}{seed}")}
            for seed in SEEDS
            for name, a in nearest.items()
        ]
    if "found" in chosen:
        found = search(SearchConfig(output=folder / "search"))
        content["found"] = [
            {"test_accuracy": accuracies[found], **trained(job_of(found, images), seed, folder / f"found{seed}")}
            for seed in SEEDS
        ]
    if "random" in chosen:
        drawn = NAS_BENCH_201.formats(NAS_BENCH_201.sample(jax.random.key(0), RANDOM))
        content["random"] = [
            {"test_accuracy": accuracies[a], **trained(job_of(a, images), 0, folder / f"random{number}")}
            for number, a in enumerate(drawn)
        ]
    if "simple" in chosen:
        reference = job_of(nearest["good"], images)
        simple = simple_job(images, parameters(reference.blueprint))
        content["three_layers"] = [trained(simple, seed, folder / f"three{seed}") for seed in SEEDS]
        start = time.perf_counter()
        content["linear"] = {**linear(reference), "seconds": time.perf_counter() - start}
    if not groups:
        recipe = reference.recipe
        content["recipe"] = {"epochs": recipe.epochs, "batch": recipe.batch, "shrink": recipe.shrink, **recipe.sizes}
        content["images"] = {"train": len(reference.train), "held_out": len(reference.val)}
        write("train_quick", content)


if __name__ == "__main__":
    main()
