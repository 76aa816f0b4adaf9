"""With the weights of the PyTorch networks, our networks give the same logits, kernels and counts.

`reference_small.npz.xz` is made by `benchmarks/search_pytorch.py fixture`; `TENAS_REFERENCE_VALUES` names the values of
the released code itself.
"""

import io
import lzma
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXTENSIVE, outside_file

from pytorch.weights import from_torch
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.networks.finite_scan import ScannedNetwork
from tenas_jax.ntk.empirical import empirical_ntk, is_weight
from tenas_jax.ntk.spectrum import condition_number
from tenas_jax.patterns.regions import count_linear_regions
from tenas_jax.spaces.registry import SPACES

MASKS = ("full", "part", "single")
WITH_RELEASED = ["small", pytest.param("released", marks=pytest.mark.slow)]
FIXTURE = Path(__file__).parents[1] / "fixtures" / "reference_small.npz.xz"


def stored(which):
    if which == "released":
        return np.load(outside_file("TENAS_REFERENCE_VALUES"))
    return np.load(io.BytesIO(lzma.decompress(FIXTURE.read_bytes())))


def network(values, space, skeleton, folder, inputs, module=CellNetwork):
    """Our network with PyTorch's weights, and its input, channels last."""
    inputs = jnp.asarray(values[f"{space}/{inputs}"].transpose(0, 2, 3, 1))
    net = module(SPACES[space], skeleton)
    full = np.ones(SPACES[space].mask_shape, bool)
    variables = jax.eval_shape(lambda key: net.init(key, inputs, full), jax.random.key(0))
    parameters = from_torch(variables["params"], values, f"{space}/{folder}/")
    assert {name: p.shape for name, p in parameters.items()} == {n: p.shape for n, p in variables["params"].items()}
    return (
        net,
        {"params": parameters, "batch_stats": jax.tree.map(lambda s: jnp.zeros(s.shape), variables["batch_stats"])},
        inputs,
    )


@cache
def compiled(which, space, module):
    """A compiled `(mask) -> (logits, kernel)` for a supernet: one program for all masks."""
    net, variables, images = network(stored(which), space, SPACES[space].skeleton("ntk"), "ntk_net", "images", module)

    def evaluate(mask):
        apply = lambda v, x: net.apply(v, x, mask)  # noqa: E731
        kernel = empirical_ntk(apply, variables, images, batch_stats="coupled", trainable=is_weight)
        return apply(variables, images), kernel

    return jax.jit(evaluate)


def assert_kernel(kernel, values, path):
    expected = values[f"{path}/ntk"]
    assert np.linalg.norm(kernel - expected) < 1e-8 * np.linalg.norm(expected)
    assert abs(condition_number(kernel).value / float(values[f"{path}/condition_number"]) - 1) < 1e-6


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("space", "module"), [("nasbench201", CellNetwork), ("darts", ScannedNetwork)])
@pytest.mark.parametrize("which", WITH_RELEASED)
def test_kernel_and_logits(which, space, module, name):
    values = stored(which)
    logits, kernel = compiled(which, space, module)(jnp.asarray(values[f"{space}/{name}/mask"]))
    np.testing.assert_allclose(logits, values[f"{space}/{name}/logits"], rtol=0, atol=1e-9)
    assert_kernel(kernel, values, f"{space}/{name}")


# Compiled anew for every mask, operator by operator.
@pytest.mark.parametrize(
    ("which", "name"), [pytest.param("small", "full", marks=EXTENSIVE), ("small", "single"), ("released", "part")]
)
def test_darts_logits_of_the_network_written_out(which, name):
    values = stored(which)
    net, variables, images = network(values, "darts", SPACES["darts"].skeleton("ntk"), "ntk_net", "images")
    logits = net.apply(variables, images, values[f"darts/{name}/mask"])
    np.testing.assert_allclose(logits, values[f"darts/{name}/logits"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("which", "space", "module"),
    [
        ("small", "nasbench201", CellNetwork),
        ("released", "nasbench201", CellNetwork),
        ("small", "darts", ScannedNetwork),
        ("released", "darts", ScannedNetwork),
        pytest.param("small", "darts", CellNetwork, marks=EXTENSIVE),
        ("released", "darts", CellNetwork),
    ],
)
def test_linear_regions(which, space, module):
    values = stored(which)
    net, variables, patches = network(values, space, SPACES[space].skeleton("regions"), "lr_net", "patches", module)
    scanned = jax.jit(lambda mask: net.apply(variables, patches, mask, method="activation_bits"))
    # What is written out is compiled for every mask.
    for name in MASKS if (which, space, module) != ("released", "darts", CellNetwork) else ("part",):
        mask, count = values[f"{space}/{name}/mask"], int(values[f"{space}/{name}/linear_regions"])
        if module is CellNetwork:
            bits = net.apply(variables, patches, mask, method="activation_bits")
            assert bits.shape[1] == int(values[f"{space}/{name}/n_neurons"])
            assert count_linear_regions(bits).count == count
        # A DARTS supernet written out takes minutes to compile.
        if (space, module) != ("darts", CellNetwork):
            bits = scanned(jnp.asarray(mask))
            assert count_linear_regions(bits).count == count
            assert int(bits.any(0).sum()) <= int(values[f"{space}/{name}/n_neurons"]) <= bits.shape[1]


def test_a_mask_that_is_known_gives_the_same_logits_and_kernel():
    values = stored("small")
    mask = values["nasbench201/part/mask"]
    net, variables, images = network(values, "nasbench201", SPACES["nasbench201"].skeleton("ntk"), "ntk_net", "images")
    apply = jax.jit(lambda v, x: net.apply(v, x, mask))
    np.testing.assert_allclose(apply(variables, images), values["nasbench201/part/logits"], rtol=0, atol=1e-9)
    kernel = empirical_ntk(apply, variables, images, batch_stats="coupled", trainable=is_weight)
    assert_kernel(kernel, values, "nasbench201/part")
