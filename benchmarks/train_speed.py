"""Seconds of a training step beside the same network in PyTorch, and of making its batch.

    python benchmarks/train_speed.py IMAGES [CASE ...]

IMAGES is an `.npz` with `x` and `y`. Both frameworks take the same weights and batch, run forward, backward and SGD with
momentum in single precision on all cores, and take turns; ours on one device, and with a virtual device on each core, which
share the batch. Cases: `nasbench201` (16 channels, 5 cells a stage, batch 64), `darts` (36 channels, 20 cells, auxiliary
head, batch 16); without a name both.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import torch

from common.records import write
from common.timing import seconds_in_turn, summary
from pytorch import stand_alone
from tenas_jax.data.labelled import open_labelled
from tenas_jax.export.published import import_published
from tenas_jax.networks.convolution import general_convolution
from tenas_jax.networks.training_convolution import train_convolve
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.train.batches import TrainBatches
from tenas_jax.train.job import blueprint_of
from tenas_jax.train.optimiser import optimiser
from tenas_jax.train.recipe import RECIPES
from tenas_jax.train.step import State, Trainer

CELL = ("nor_conv_3x3", "nor_conv_3x3", "nor_conv_3x3", "skip_connect", "nor_conv_3x3", "nor_conv_1x1")
NORMAL = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
          ("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2)]  # fmt: skip
REDUCE = [("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1),
          ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1)]  # fmt: skip
REPEATS = 5


def nasbench201():
    a, b, c, d, e, f = CELL
    text = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
    recipe = replace(RECIPES["nasbench201"], batch=64)
    return blueprint_of(NAS_BENCH_201, text, recipe, 10), recipe, stand_alone.NasBench201(CELL), None


def darts():
    text = f"Genotype(normal={NORMAL}, normal_concat=range(2, 6), reduce={REDUCE}, reduce_concat=range(2, 6))"
    # Without drop path and clipping, so that both frameworks do the same.
    recipe = replace(RECIPES["darts-cifar"], batch=16, drop_path=0.0, clip=None)
    return blueprint_of(DARTS, text, recipe, 10), recipe, stand_alone.Darts(NORMAL, REDUCE, auxiliary=True), text


def torch_step(network, sgd, recipe, images, labels):
    criterion = torch.nn.functional.cross_entropy

    def step() -> float:
        found = network(images)
        logits, auxiliary = found if isinstance(found, tuple) else (found, None)
        loss = criterion(logits, labels)
        total = loss if auxiliary is None else loss + recipe.auxiliary * criterion(auxiliary, labels)
        sgd.zero_grad()
        total.backward()
        sgd.step()
        return float(loss.detach())

    return step


def seconds_of_batches(batches: TrainBatches) -> float:
    start = time.perf_counter()
    for number in range(REPEATS):
        batches[number]
    return (time.perf_counter() - start) / REPEATS


def measured(name: str, data) -> dict:
    blueprint, recipe, network, genotype = {"nasbench201": nasbench201, "darts": darts}[name]()
    network.train()
    state_dict = {key: value.detach().numpy().copy() for key, value in network.state_dict().items()}
    variables = import_published(blueprint, state_dict, genotype=genotype)
    batches = TrainBatches(data, recipe, 0)
    batch_seconds = seconds_of_batches(batches)
    batch = batches[0]
    ours = optimiser(recipe, batches.steps)
    parameters = variables["params"]
    state = State(jnp.zeros((), jnp.int32), parameters, variables["batch_stats"], ours.init(parameters), {})
    run, compiled = {}, {}
    for variant, devices in (("jax", tuple(jax.devices()[:1])), ("jax_a_device_a_core", tuple(jax.devices()))):
        trainer = Trainer(blueprint, recipe, batches.steps, devices=devices)
        run[variant], compiled[variant] = jax_step(trainer, state, batch)
    sgd = torch.optim.SGD(
        network.parameters(), recipe.rate, momentum=0.9, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )
    run["pytorch"] = torch_step(network, sgd, recipe, torch.from_numpy(batch.images.transpose(0, 3, 1, 2).copy()),
                                torch.from_numpy(batch.labels.astype(np.int64)))  # fmt: skip
    first = {variant: step() for variant, step in run.items()}
    seconds = seconds_in_turn(run, dict.fromkeys(run, REPEATS))
    medians = {variant: float(np.median(values[:, 0])) for variant, values in seconds.items()}
    return {
        "case": name,
        "batch": recipe.batch,
        "first_loss": first,
        "compile_seconds": compiled["jax"]["seconds"],
        "program_bytes": compiled["jax"]["bytes"],
        "batch_seconds": batch_seconds,
        **{variant: summary(values) for variant, values in seconds.items()},
        "ratio": medians["pytorch"] / medians["jax"],
        "ratio_a_device_a_core": medians["pytorch"] / medians["jax_a_device_a_core"],
    }


def jax_step(trainer: Trainer, state: State, batch) -> tuple[Callable[[], float], dict[str, Any]]:
    """A step that goes on from the one before it, and what compiling it took."""
    holder, placed = [trainer.replicate(jax.tree.map(np.asarray, state))], trainer.place(batch)
    start = time.perf_counter()
    compiled = cast("Any", trainer.step).lower(holder[0], placed).compile()
    seconds, memory = time.perf_counter() - start, compiled.memory_analysis()

    def step() -> float:
        holder[0], sums = compiled(holder[0], placed)
        return float(sums.loss) / trainer.recipe.batch

    return step, {"seconds": seconds, "bytes": memory.temp_size_in_bytes if memory else None}


def forms() -> list[dict]:
    """Forward and backward of a convolution: the general routine, what training takes on a processor, and PyTorch."""
    rows, key = [], jax.random.key(0)
    for batch, side, channels, kernel, depthwise in (
        (64, 32, 16, 3, False), (64, 16, 32, 3, False), (64, 8, 64, 3, False), (64, 32, 16, 1, False),
        (16, 32, 36, 1, False), (16, 32, 36, 3, True), (16, 16, 72, 5, True), (16, 8, 144, 3, True),
    ):  # fmt: skip
        x = jax.random.normal(key, (batch, side, side, channels))
        weights = jax.random.normal(key, (kernel, kernel, 1 if depthwise else channels, channels))
        general = partial(general_convolution, stride=1, dilation=1, depthwise=depthwise, precision=None)
        run = {}
        for name, form in (("general", general), ("ours", partial(train_convolve, depthwise=depthwise))):
            # The gradient is an array, as in a network: of a loss of one line it would be computed again at every tap.
            both = jax.jit(lambda x, w, gradient, form=form: (form(x, w), jax.vjp(form, x, w)[1](gradient)))
            jax.block_until_ready(both(x, weights, x))
            run[name] = lambda both=both, x=x, w=weights: jax.block_until_ready(both(x, w, x))
        run["pytorch"] = torch_convolution(np.asarray(x), np.asarray(weights), channels if depthwise else 1)
        seconds = seconds_in_turn(run, dict.fromkeys(run, 4 * REPEATS))
        shape = {"batch": batch, "side": side, "channels": channels, "kernel": kernel, "depthwise": depthwise}
        rows.append({**shape, **{name: summary(values) for name, values in seconds.items()}})
    return rows


def torch_convolution(x, weights, groups: int) -> Callable[[], Any]:
    images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    kernels = torch.from_numpy(weights.transpose(3, 2, 0, 1).copy()).requires_grad_()

    def run():
        found = torch.nn.functional.conv2d(images, kernels, padding=weights.shape[0] // 2, groups=groups)
        return torch.autograd.grad(found, (images, kernels), images.detach())

    run()
    return run


def main() -> None:
    images, *names = sys.argv[1:]
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    jax.config.update("jax_num_cpu_devices", cores)
    data = open_labelled("cifar10", Path(images))
    rows = [measured(name, data) for name in names or ["nasbench201", "darts"]]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    write(
        "train_speed",
        {"rows": rows, "forms": forms(), "peak_bytes": peak, "torch": torch.__version__, "devices": jax.device_count()},
    )


if __name__ == "__main__":
    main()
