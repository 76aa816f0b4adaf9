"""Linen, NNX and Equinox: one network written in each has one kernel, frozen and coupled."""

import sys
from functools import partial

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import tenas_jax.ntk.empirical as ntk
from tenas_jax import activation_patterns, evaluate
from tenas_jax.errors import InputError
from tenas_jax.networks.frameworks import equinox_model, linen_model, nnx_model

MODES = ["frozen", "coupled"]


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(6)(x))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=True)(nn.relu(x)))


class NNX(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(4, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))


class Equinox(eqx.Module):
    first: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, key):
        self.first = eqx.nn.Linear(4, 6, dtype=jnp.float32, key=key)
        self.norm = eqx.nn.BatchNorm(6, "batch", mode="batch", dtype=jnp.float32)
        self.dropout = eqx.nn.Dropout(0.5)
        self.last = eqx.nn.Linear(6, 3, dtype=jnp.float32, key=key)

    def __call__(self, x, state):
        x, state = self.norm(self.first(x), state)
        return self.last(self.dropout(jax.nn.relu(x))), state


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(5, 4)), jnp.float32)


@pytest.fixture
def variables(images, rng):
    made = Linen().init(jax.random.key(0), images, False)
    noise = lambda leaf: jnp.asarray(rng.uniform(0.5, 1.5, size=leaf.shape), jnp.float32)  # noqa: E731
    return jax.tree.map(noise, made)


def as_nnx(variables):
    net = NNX(nnx.Rngs(0))
    params, stats = variables["params"], variables["batch_stats"]["BatchNorm_0"]
    for layer, name in ((net.first, "Dense_0"), (net.norm, "BatchNorm_0"), (net.last, "Dense_1")):
        for leaf, value in params[name].items():
            getattr(layer, leaf)[...] = value
    net.norm.mean[...], net.norm.var[...] = stats["mean"], stats["var"]
    return net


def as_equinox(variables):
    net, state = eqx.nn.make_with_state(Equinox)(jax.random.key(0))
    params, stats = variables["params"], variables["batch_stats"]["BatchNorm_0"]
    first, norm, last = params["Dense_0"], params["BatchNorm_0"], params["Dense_1"]
    new = [first["kernel"].T, first["bias"], norm["scale"], norm["bias"], last["kernel"].T, last["bias"]]
    where = lambda n: [n.first.weight, n.first.bias, n.norm.weight, n.norm.bias, n.last.weight, n.last.bias]  # noqa: E731
    net = eqx.tree_at(where, net, new)
    # Equinox divides what it stores by 1 - momentum^count.
    scale = np.float32(1 - 0.99**3)
    state = state.set(net.norm.batch_counter, jnp.array(3))
    return net, state.set(net.norm.batch_state_index, (stats["mean"] * scale, stats["var"] * scale))


def by_hand(variables, images, batch_stats):
    """Per-image gradients of the sum of logits of a forward pass without any library."""
    stats = variables["batch_stats"]["BatchNorm_0"]

    def logits(p):
        h = images @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"][None]
        mean, var = (stats["mean"], stats["var"]) if batch_stats == "frozen" else (h.mean(0), h.var(0))
        h = (h - mean[None]) / jnp.sqrt(var + 1e-5)[None] * p["BatchNorm_0"]["scale"][None] + p["BatchNorm_0"]["bias"][
            None
        ]
        return (jax.nn.relu(h) @ p["Dense_1"]["kernel"]).sum(1) + p["Dense_1"]["bias"].sum()

    rows = [np.reshape(leaf, (len(images), -1)) for leaf in jax.tree.leaves(jax.jacobian(logits)(variables["params"]))]
    return sum(row @ row.T for row in rows)


@pytest.mark.parametrize("batch_stats", MODES)
@pytest.mark.parametrize("library", ["linen", "nnx", "equinox"])
def test_one_network_in_three_libraries_has_one_kernel(variables, images, library, batch_stats):
    if library == "linen":
        arguments = {"train": batch_stats == "coupled"}
        model = linen_model(Linen(), variables, batch_stats=batch_stats, arguments=arguments)
    elif library == "nnx":
        net = as_nnx(variables)
        model = nnx_model(net, batch_stats=batch_stats)
        assert not net.norm.use_running_average, "the caller's module was changed"
    else:
        model = equinox_model(*as_equinox(variables), batch_stats=batch_stats)
    expected = by_hand(variables, images, batch_stats)
    for _ in range(2):
        kernel = ntk.empirical_ntk(*model, images, batch_stats=batch_stats)
        np.testing.assert_allclose(kernel, expected, rtol=1e-4)


@pytest.mark.parametrize("library", ["nnx", "equinox"])
def test_trainable_sees_paths(variables, images, library):
    net = as_nnx(variables)
    model = nnx_model(net) if library == "nnx" else equinox_model(*as_equinox(variables))
    seen = []
    kernel = ntk.empirical_ntk(*model, images, trainable=lambda path: seen.append(path) or "last/bias" in path)
    np.testing.assert_allclose(kernel, 3.0)
    assert any(path.startswith("params/first/") for path in seen)
    assert any(path.startswith("state/") for path in seen)


def test_equinox_without_state(images):
    net = eqx.nn.MLP(4, 2, 6, 2, key=jax.random.key(0), dtype=jnp.float32)
    model = equinox_model(net)
    rows = []
    for image in images:
        gradient = eqx.filter_grad(lambda n, image=image: n(image).sum())(net)
        rows.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)]))
    np.testing.assert_allclose(ntk.empirical_ntk(*model, images), np.array(rows) @ np.array(rows).T, rtol=1e-5)


def test_bad_models_are_refused(variables, images):
    without = {"params": variables["params"]}
    with pytest.raises(InputError, match="must hold the statistics of a module in eval mode"):
        ntk.empirical_ntk(*linen_model(Linen(), without, arguments={"train": False}), images)
    with pytest.raises(InputError, match="must not change its state with `batch_stats='frozen'`"):
        ntk.empirical_ntk(*linen_model(Linen(), variables, arguments={"train": True}), images)
    with pytest.raises(InputError, match=r"must have a collection 'params'.*; they have"):
        linen_model(Linen(), {"batch_stats": {}})
    with pytest.raises(InputError, match="`batch_stats` must be"):
        nnx_model(NNX(nnx.Rngs(0)), batch_stats="off")  # pyright: ignore
    with pytest.raises(InputError, match=r"must have an `nnx.Param`; Dropout has none"):
        nnx_model(nnx.Dropout(0.5))
    net, state = eqx.nn.make_with_state(Equinox)(jax.random.key(0))
    with pytest.raises(InputError, match="a batch norm has seen no batch yet"):
        equinox_model(net, state)
    with pytest.raises(InputError, match="must be given for a model with a batch norm"):
        equinox_model(net)
    with pytest.raises(InputError, match="must have floating-point arrays; Identity has none"):
        equinox_model(eqx.nn.Identity())


@pytest.mark.parametrize("made", MODES)
def test_a_model_is_scored_as_it_was_made(variables, images, made):
    """The mode travels with the function: it is followed where nothing is said, and another one is refused."""
    other = MODES[1 - MODES.index(made)]
    model = nnx_model(as_nnx(variables), batch_stats=made)
    expected = by_hand(variables, images, made)
    np.testing.assert_allclose(ntk.empirical_ntk(*model, images), expected, rtol=1e-4)
    for fn in (model.apply_fn, jax.jit(model.apply_fn)):
        with pytest.raises(InputError, match=f"was made with batch_stats='{made}'; it is '{other}'"):
            ntk.empirical_ntk(fn, model.variables, images, batch_stats=other)
    with pytest.raises(InputError, match=f"was made with batch_stats='{made}'"):
        activation_patterns(partial(model.apply_fn, model.variables), images, batch_stats=other)
    with pytest.raises(InputError, match="was made with"):
        evaluate(*model, images, batch_stats=other)


def test_equinox_that_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(InputError, match=r"`equinox_model` needs Equinox.*pip install equinox"):
        equinox_model(None)
