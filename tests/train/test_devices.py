"""A batch that several devices share, and several processes, gives the numbers of one device."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

CELL = "|skip_connect~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|skip_connect~2|"
EIGHT = f"""
import jax, json, numpy as np
from tenas_jax.errors import InputError
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.train.batches import Batch
from tenas_jax.train.job import blueprint_of
from tenas_jax.train.recipe import Recipe
from tenas_jax.train.step import Trainer
sizes = {{"channels": 4, "cells": 1, "stages": 1}}
recipe = Recipe(epochs=2, batch=16, rate=0.1, weight_decay=5e-4, sizes=sizes, drop_path=0.3)
blueprint = blueprint_of(NAS_BENCH_201, {CELL!r}, recipe, 5)
rng = np.random.default_rng(0)
images = rng.normal(size=(3, 16, 8, 8, 3)).astype("float32")
batches = [Batch(x, rng.integers(5, size=16).astype("int32"), np.ones(16, "float32")) for x in images]
found = []
for devices in (tuple(jax.devices()), (jax.devices()[0],)):
    trainer = Trainer(blueprint, recipe, 2, devices=devices)
    state = trainer.start((8, 8, 3))
    losses = []
    for batch in batches:
        state, sums = trainer.step(state, trainer.place(batch))
        losses.append(float(sums.loss))
    evaluated = trainer.evaluate(state.variables, trainer.place(batches[0]))
    weights = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(jax.device_get(state.variables))])
    found.append({{"losses": losses, "evaluated": [float(x) for x in evaluated], "weights": weights.tolist()}})
try:
    Trainer(blueprint, Recipe(1, 12, 0.1, 0), 2)
except InputError as error:
    found.append(str(error))
print(json.dumps([len(jax.devices()), *found]))
"""


def environment(devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def test_eight_devices_are_one():
    done = subprocess.run(
        [sys.executable, "-c", EIGHT], env=environment(8), capture_output=True, text=True, check=True, timeout=400
    )
    count, eight, one, refused = json.loads(done.stdout.splitlines()[-1])
    assert count == 8
    for name in ("losses", "evaluated", "weights"):
        np.testing.assert_allclose(eight[name], one[name], rtol=2e-4, atol=2e-5)
    assert "cannot be shared by 8 devices" in refused


def command(images, folder, *more):
    return [sys.executable, "-m", "tenas_jax.train", "--architecture", CELL, "--data", str(images), "--preset", "quick",
            "--channels", "4", "--epochs", "2", "--batch", "16", "--val-share", "0.2", "--output", str(folder),
            *more]  # fmt: skip


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    rng = np.random.default_rng(0)
    images = tmp_path / "images.npz"
    np.savez(images, x=rng.integers(256, size=(60, 8, 8, 3), dtype=np.uint8), y=np.arange(60) % 3)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    pair = [
        subprocess.Popen(
            command(images, tmp_path / "two", "--coordinator", address, "--processes", "2", "--process", str(n)),
            env=environment(1),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    messages = [process.communicate(timeout=400) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], messages
    subprocess.run(command(images, tmp_path / "one"), env=environment(1), check=True, capture_output=True, timeout=400)
    for ours, theirs in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def metrics(folder):
    records = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return [[record["train"]["loss"], record["val"]["loss"], record["val"]["top1"]] for record in records]
