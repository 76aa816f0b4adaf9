"""One step of training equals PyTorch's: logits, losses, gradients, SGD, running statistics, all in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.export.published import import_published
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.train.batches import Batch
from tenas_jax.train.job import blueprint_of
from tenas_jax.train.optimiser import optimiser
from tenas_jax.train.recipe import RECIPES, Recipe
from tenas_jax.train.step import State, Trainer

torch = pytest.importorskip("torch")
from pytorch import stand_alone  # noqa: E402 (needs PyTorch)

SIZES = {"channels": 4, "cells": 1, "stages": 2}
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
# Every kind of operator of DARTS; the order of pairs is not that of their sources.
NORMAL = [("sep_conv_3x3", 1), ("skip_connect", 0), ("dil_conv_3x3", 2), ("avg_pool_3x3", 0),
          ("skip_connect", 3), ("max_pool_3x3", 1), ("skip_connect", 4), ("skip_connect", 0)]  # fmt: skip
REDUCE = [("skip_connect", 1), ("sep_conv_5x5", 0), ("skip_connect", 2), ("max_pool_3x3", 0),
          ("avg_pool_3x3", 1), ("skip_connect", 3), ("skip_connect", 4), ("dil_conv_5x5", 2)]  # fmt: skip
GENOTYPE = f"Genotype(normal={NORMAL}, normal_concat=range(2, 6), reduce={REDUCE}, reduce_concat=range(2, 6))"


def nas_bench_201():
    recipe = Recipe(epochs=3, batch=6, rate=0.1, weight_decay=5e-4, nesterov=True, sizes=SIZES)
    operators = [part.split("~")[0] for part in CELL.replace("+", "").strip("|").replace("||", "|").split("|")]
    network = stand_alone.NasBench201(operators, **SIZES, classes=7)
    return blueprint_of(NAS_BENCH_201, CELL, recipe, 7), recipe, network, None, 8


def darts():
    recipe = Recipe(
        epochs=3, batch=3, rate=0.025, weight_decay=3e-4, smoothing=0.1, auxiliary=0.4,
        sizes={"channels": 4, "cells": 3, "stem_multiplier": 3},
    )  # fmt: skip
    network = stand_alone.Darts(NORMAL, REDUCE, channels=4, cells=3, classes=7, auxiliary=True)
    return blueprint_of(DARTS, GENOTYPE, recipe, 7), recipe, network, GENOTYPE, 32


def state_dict(network):
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("make", [nas_bench_201, darts])
def test_two_steps_are_those_of_pytorch(make, rng):
    blueprint, recipe, network, genotype, side = make()
    torch.manual_seed(0)
    network = network.double().train()
    # Scales and statistics that differ from channel to channel tell mistakes that ones and zeros hide.
    for value in network.state_dict().values():
        if value.ndim == 1:
            value.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, value.shape)))
    sgd = torch.optim.SGD(
        network.parameters(), recipe.rate, momentum=0.9, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )
    variables = import_published(blueprint, state_dict(network), genotype=genotype, side=side)
    trainer = Trainer(blueprint, recipe, 4, devices=(jax.devices()[0],))
    state = State(jnp.zeros((), jnp.int32), variables["params"], variables["batch_stats"],
                  optimiser(recipe, 4).init(variables["params"]), {})  # fmt: skip
    for step in range(2):
        images, labels = rng.normal(size=(recipe.batch, side, side, 3)), rng.integers(7, size=recipe.batch)
        batch = Batch(images, labels.astype(np.int32), np.ones(recipe.batch))
        state, sums = trainer.step(state, trainer.place(batch))
        # Cosine over three epochs of four steps.
        sgd.param_groups[0]["lr"] = recipe.rate * 0.5 * (1 + np.cos(np.pi * step / 12))
        loss = torch_step(network, sgd, recipe, images, labels)
        assert abs(float(sums.loss) / recipe.batch - loss) < 1e-10
    expected = import_published(blueprint, state_dict(network), genotype=genotype, side=side)
    compare(state.parameters, expected["params"])
    compare(state.statistics, expected["batch_stats"])


def torch_step(network, sgd, recipe, images, labels):
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    found = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    logits, auxiliary = found if isinstance(found, tuple) else (found, None)
    loss = criterion(logits, torch.from_numpy(labels))
    total = loss if auxiliary is None else loss + recipe.auxiliary * criterion(auxiliary, torch.from_numpy(labels))
    sgd.zero_grad()
    total.backward()
    sgd.step()
    return float(loss.detach())


def compare(found, expected):
    for (path, one), (_, other) in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree_util.tree_leaves_with_path(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10, err_msg=str(path))


def test_gradients_are_clipped_as_by_pytorch(rng):
    recipe = Recipe(epochs=1, batch=1, rate=0.5, weight_decay=0.1, momentum=0.0, clip=2.0)
    weights, gradients = ({"a": rng.normal(size=3), "b": rng.normal(size=(2, 2))} for _ in range(2))
    ours = optimiser(recipe, 10)
    updates, _ = ours.update(gradients, ours.init(weights), weights)
    given = [torch.nn.Parameter(torch.from_numpy(weights[name].copy())) for name in "ab"]
    for parameter, name in zip(given, "ab", strict=True):
        parameter.grad = torch.from_numpy(10 * gradients[name])
    updates, _ = ours.update(jax.tree.map(lambda g: 10 * g, gradients), ours.init(weights), weights)
    torch.nn.utils.clip_grad_norm_(given, 2.0)
    torch.optim.SGD(given, 0.5, weight_decay=0.1).step()
    for parameter, name in zip(given, "ab", strict=True):
        # PyTorch adds 1e-6 to the norm.
        np.testing.assert_allclose(weights[name] + updates[name], parameter.detach(), rtol=1e-6)


def test_published_recipes_are_complete():
    darts_recipe, table = RECIPES["darts-cifar"], RECIPES["nasbench201"]
    assert (table.epochs, table.batch, table.rate, table.weight_decay, table.nesterov) == (200, 256, 0.1, 5e-4, True)
    assert (darts_recipe.batch, darts_recipe.cutout, darts_recipe.clip, darts_recipe.auxiliary) == (96, 16, 5.0, 0.4)
