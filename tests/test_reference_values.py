"""With the weights of the PyTorch networks, our networks give the same logits, kernels and counts.

`reference_small.npz.xz` is made by `benchmarks/torch_reference.py fixture`; `TENAS_REFERENCE_VALUES` names the values of
the released code itself.
"""

import io
import lzma
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import outside_file

from tenas_jax.finite import CellNetwork
from tenas_jax.network import NTK_MACROS, REGION_MACROS
from tenas_jax.ntk import condition_number, empirical_ntk, is_weight
from tenas_jax.regions import count_linear_regions
from tenas_jax.space import SPACES

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from torch_weights import from_torch

FIXTURE = Path(__file__).parent / "fixtures" / "reference_small.npz.xz"


def stored(which):
    if which == "released":
        return np.load(outside_file("TENAS_REFERENCE_VALUES"))
    return np.load(io.BytesIO(lzma.decompress(FIXTURE.read_bytes())))


def network(values, space, macro, folder, inputs):
    """Our network with PyTorch's weights, and its input, channels last."""
    inputs = jnp.asarray(values[f"{space}/{inputs}"].transpose(0, 2, 3, 1))
    net = CellNetwork(SPACES[space], macro)
    full = np.ones(SPACES[space].mask_shape, bool)
    variables = jax.eval_shape(lambda key: net.init(key, inputs, full), jax.random.key(0))
    parameters = from_torch(variables["params"], values, f"{space}/{folder}/")
    assert {name: p.shape for name, p in parameters.items()} == {n: p.shape for n, p in variables["params"].items()}
    return (
        net,
        {"params": parameters, "batch_stats": jax.tree.map(lambda s: jnp.zeros(s.shape), variables["batch_stats"])},
        inputs,
    )


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", ["full", "part", "single"])
@pytest.mark.parametrize("which", ["small", pytest.param("released", marks=pytest.mark.slow)])
def test_kernel_and_logits(which, space, name):
    values = stored(which)
    mask = values[f"{space}/{name}/mask"]
    net, variables, images = network(values, space, NTK_MACROS[space], "ntk_net", "images")
    apply = jax.jit(lambda v, x: net.apply(v, x, mask))
    np.testing.assert_allclose(apply(variables, images), values[f"{space}/{name}/logits"], rtol=0, atol=1e-9)
    expected = values[f"{space}/{name}/ntk"]
    kernel = empirical_ntk(apply, variables, images, batch_stats="coupled", trainable=is_weight)
    assert np.linalg.norm(kernel - expected) < 1e-8 * np.linalg.norm(expected)
    value = condition_number(kernel).value
    assert abs(value / float(values[f"{space}/{name}/condition_number"]) - 1) < 1e-6


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", ["full", "part", "single"])
@pytest.mark.parametrize("which", ["small", "released"])
def test_linear_regions(which, space, name):
    values = stored(which)
    mask = values[f"{space}/{name}/mask"]
    net, variables, patches = network(values, space, REGION_MACROS[space], "lr_net", "patches")
    bits = net.apply(variables, patches, mask, method="activation_bits")
    assert bits.shape[1] == int(values[f"{space}/{name}/n_neurons"])
    assert count_linear_regions(bits).count == int(values[f"{space}/{name}/linear_regions"])
    traced = jax.jit(lambda m: net.apply(variables, patches, m, method="activation_bits"))(jnp.asarray(mask))
    assert count_linear_regions(traced).count == int(values[f"{space}/{name}/linear_regions"])


@pytest.mark.parametrize("space", SPACES)
def test_traced_mask_gives_the_same_kernel(space):
    values = stored("small")
    mask = values[f"{space}/part/mask"]
    net, variables, images = network(values, space, NTK_MACROS[space], "ntk_net", "images")
    kernel = jax.jit(
        lambda m, v: empirical_ntk(
            lambda v, x: net.apply(v, x, m), v, images, batch_stats="coupled", trainable=is_weight
        )
    )(jnp.asarray(mask), variables)
    expected = values[f"{space}/part/ntk"]
    assert np.linalg.norm(kernel - expected) < 1e-8 * np.linalg.norm(expected)
