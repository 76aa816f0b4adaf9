"""Steps: averages, precision, drop path over epochs, and that a network can learn by heart."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import outside_file

from tenas_jax.data.labelled import open_labelled
from tenas_jax.errors import InputError
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.train.batches import Batch, TrainBatches
from tenas_jax.train.checkpoints import Checkpoints
from tenas_jax.train.job import blueprint_of
from tenas_jax.train.recipe import RECIPES, Recipe
from tenas_jax.train.step import Trainer
from tenas_jax.train.tensorboard import EventFile, _crc

CELL = "|skip_connect~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|skip_connect~2|"
TINY = Recipe(epochs=4, batch=4, rate=0.1, weight_decay=0.0, sizes={"channels": 3, "cells": 1, "stages": 1})


def trainer(**changes):
    recipe = replace(TINY, **changes)
    return Trainer(blueprint_of(NAS_BENCH_201, CELL, recipe, 3), recipe, 2, devices=(jax.devices()[0],))


@pytest.fixture
def batch(rng):
    images = rng.normal(size=(4, 4, 4, 3)).astype(np.float32)
    return Batch(images, np.array([0, 1, 2, 0], np.int32), np.array([1, 1, 1, 0], np.float32))


def test_the_average_of_weights_is_what_is_evaluated(batch):
    made = trainer(ema=0.75)
    state = made.start((4, 4, 3))
    before = jax.device_get(state.parameters)
    state, _ = made.step(state, made.place(batch))
    for name, value in jax.device_get(state.parameters).items():
        np.testing.assert_allclose(state.average[name], 0.75 * before[name] + 0.25 * value, rtol=1e-5, atol=1e-7)
    assert state.variables["params"] is state.average


def test_bfloat16_keeps_weights_in_single_precision(batch):
    made, plain = trainer(bfloat16=True), trainer()
    state, other = (t.step(t.start((4, 4, 3)), t.place(batch)) for t in (made, plain))
    assert {leaf.dtype for leaf in jax.tree.leaves((state[0].parameters, state[0].statistics))} == {
        np.dtype(np.float32)
    }
    assert float(state[1].loss) == pytest.approx(float(other[1].loss), rel=0.05)
    assert float(state[1].loss) != float(other[1].loss)


def test_rows_that_fill_up_a_batch_do_not_count(batch):
    made = trainer()
    variables = made.start((4, 4, 3)).variables
    sums = made.evaluate(variables, made.place(batch))
    assert float(sums.images) == 3
    logits = made.blueprint.run(variables["params"], variables["batch_stats"], jnp.asarray(batch.images), train=False)[
        0
    ]
    assert float(sums.top1) == (np.asarray(logits).argmax(1) == batch.labels)[:3].sum()
    assert float(sums.top5) == 3


def test_drop_path_begins_with_nothing_and_grows_by_epoch():
    made = trainer(drop_path=0.4)
    rates = [float(made._drop(jnp.int32(step)).rate) for step in range(8)]
    np.testing.assert_allclose(rates, [0, 0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3], rtol=1e-6)


def test_a_full_disc_is_one_sentence(monkeypatch, tmp_path):
    with Checkpoints(tmp_path / "checkpoints", "x") as checkpoints:

        def full(*args, **kwargs):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoints._manager, "save", full)
        with pytest.raises(InputError, match=r"No space left on device.*make room"):
            checkpoints.save(1, {"a": jnp.ones(2)}, 0.5)


def test_checksums_of_events_are_castagnoli(tmp_path):
    assert _crc(b"123456789") == 0xE3069283  # RFC 3720, appendix B.4, and every implementation's first test
    events = EventFile(tmp_path)
    events.add(3, {"epoch": 3, "train": {"loss": 0.5}, "val": {"top1": 12.0}})
    content = (tmp_path / "events.out.tfevents.0").read_bytes()
    assert b"brain.Event:2" in content
    assert b"\x0a\x0atrain/loss\x15" + np.float32(0.5).tobytes() in content
    assert b"\x0a\x08val/top1\x15" + np.float32(12).tobytes() in content


@pytest.mark.slow
def test_a_network_learns_256_images_by_heart():
    path = outside_file("TENAS_CIFAR10")
    recipe = replace(
        RECIPES["quick"], epochs=40, crop=0, flip=False, weight_decay=0.0, sizes={"channels": 8, "cells": 1}
    )
    data = open_labelled("cifar10", path).part(np.arange(256))
    cell = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
    batches = TrainBatches(data, recipe, 0)
    made = Trainer(blueprint_of(NAS_BENCH_201, cell, recipe, 10), recipe, batches.steps)
    state = made.start((16, 16, 3))
    for step in range(len(batches)):
        state, sums = made.step(state, made.place(batches[step]))
    assert float(sums.top1) == recipe.batch
