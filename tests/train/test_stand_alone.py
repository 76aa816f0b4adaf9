"""Stand-alone networks: parameters as published, and PyTorch's outputs, steps and statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tenas_jax.errors import InputError
from tenas_jax.networks import cost
from tenas_jax.networks.stand_alone import Blueprint, StandAlone, StandAloneNNX
from tenas_jax.networks.stand_alone_reading import DropPath, StandAloneReading
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.train.job import blueprint_of
from tenas_jax.train.recipe import RECIPES


def genotype(normal, reduce):
    cells = [[(pair.split()[0], int(pair.split()[1])) for pair in text.split(", ")] for text in (normal, reduce)]
    return f"Genotype(normal={cells[0]}, normal_concat=range(2, 6), reduce={cells[1]}, reduce_concat=range(2, 6))"


# Liu et al. 2019, the second-order genotype as released.
DARTS_V2 = genotype(
    "sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 1, skip_connect 0, skip_connect 0, "
    "dil_conv_3x3 2",
    "max_pool_3x3 0, max_pool_3x3 1, skip_connect 2, max_pool_3x3 1, max_pool_3x3 0, skip_connect 2, skip_connect 2, "
    "max_pool_3x3 1",
)
# Chen et al. 2021, as released: what was found on ImageNet, and on CIFAR-10.
TE_NAS_IMAGENET = genotype(
    "sep_conv_3x3 0, skip_connect 1, dil_conv_5x5 1, sep_conv_3x3 2, sep_conv_3x3 0, dil_conv_5x5 3, sep_conv_3x3 0, "
    "dil_conv_3x3 4",
    "dil_conv_3x3 0, sep_conv_5x5 1, dil_conv_3x3 0, sep_conv_3x3 2, sep_conv_3x3 0, dil_conv_3x3 1, sep_conv_3x3 0, "
    "sep_conv_5x5 4",
)
TE_NAS_CIFAR = genotype(
    "dil_conv_3x3 0, sep_conv_5x5 1, sep_conv_3x3 0, sep_conv_3x3 2, skip_connect 0, dil_conv_5x5 1, sep_conv_3x3 1, "
    "sep_conv_5x5 3",
    "sep_conv_5x5 0, sep_conv_5x5 1, sep_conv_5x5 1, sep_conv_5x5 2, sep_conv_3x3 1, sep_conv_3x3 3, sep_conv_5x5 2, "
    "sep_conv_3x3 4",
)
SMALL_CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"


def published(text, name, classes=10, side=32):
    blueprint = blueprint_of(DARTS, text, RECIPES[name], classes)
    return {n: d.shape for n, d in blueprint.declared((1, side, side, 3)).items()}


def count(shapes, auxiliary=False):
    """PyTorch's released script leaves the auxiliary head out."""
    return sum(int(np.prod(shape)) for name, shape in shapes.items() if auxiliary or not name.startswith("auxiliary"))


def test_parameters_of_published_genotypes():
    # What DARTS's training scripts print, 3.349342 and 4.718752 millions; TE-NAS's table 4 rounds to 5.4.
    assert count(published(DARTS_V2, "darts-cifar")) == 3_349_342
    assert count(published(DARTS_V2, "darts-imagenet", 1000, 224)) == 4_718_752
    assert round(count(published(TE_NAS_IMAGENET, "darts-imagenet", 1000, 224)) / 1e6, 1) == 5.4


@pytest.mark.parametrize("text", [DARTS_V2, TE_NAS_CIFAR, TE_NAS_IMAGENET], ids=["v2", "te-nas", "te-nas-imagenet"])
@pytest.mark.parametrize("imagenet", [False, True])
def test_parameters_are_those_of_the_published_network(text, imagenet):
    torch_networks = pytest.importorskip("pytorch.stand_alone")
    name, classes, side = ("darts-imagenet", 1000, 224) if imagenet else ("darts-cifar", 10, 32)
    sizes = {"channels": 48, "cells": 14} if imagenet else {}
    network = torch_networks.Darts(*pairs(text), classes=classes, imagenet=imagenet, auxiliary=True, **sizes)
    counted = sum(p.numel() for p in network.parameters())
    assert count(published(text, name, classes, side), auxiliary=True) == counted


def pairs(text):
    values = eval(text, {"Genotype": dict, "range": range})
    return values["normal"], values["reduce"]


def test_parameters_are_those_of_the_table():
    for mask in NAS_BENCH_201.sample(jax.random.key(0), 5):
        blueprint = blueprint_of(NAS_BENCH_201, NAS_BENCH_201.format(mask), RECIPES["nasbench201"], 10)
        shapes = {n: d.shape for n, d in blueprint.declared((1, 32, 32, 3)).items()}
        assert count(shapes) == cost.parameters(NAS_BENCH_201, mask)


def small(cells=1, stages=1, space=NAS_BENCH_201, text=SMALL_CELL, **options):
    choice = tuple(map(tuple, space.choice(space.parse(text)).tolist()))
    return Blueprint(space, choice, Skeleton(4, cells, stages=stages), **options)


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(4, 8, 8, 3)))


def test_running_statistics_are_momentum_and_unbiased(images):
    net = StandAlone(small(), jnp.float64)
    variables = net.initial(jax.random.key(0), images.shape)
    _, moved = net.apply(variables, images, train=True, mutable=["batch_stats"])
    x = jax.lax.conv_general_dilated(
        images, variables["params"]["stem.conv.kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    values = np.asarray(x).reshape(-1, 4)
    mean, variance = moved["batch_stats"]["stem.norm"]
    np.testing.assert_allclose(mean, 0.1 * values.mean(0), rtol=1e-10)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * values.var(0, ddof=1), rtol=1e-10)


def test_initial_variables_are_those_of_flax(images):
    net = StandAlone(small(), jnp.float64)
    expected, found = net.init(jax.random.key(5), images), net.initial(jax.random.key(5), images.shape)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_nnx_is_the_linen_network(images):
    blueprint = small()
    net = StandAlone(blueprint, jnp.float64)
    variables = net.initial(jax.random.key(0), images.shape)
    module = StandAloneNNX(blueprint, rngs=nnx.Rngs(0), variables=variables)
    logits, moved = net.apply(variables, images, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(module(images), logits)
    module.eval()
    np.testing.assert_allclose(module(images), net.apply({**variables, **moved}, images), rtol=1e-12)


def test_a_network_evaluated_sees_every_image_alone(images):
    net = StandAlone(small(), jnp.float64)
    variables = net.initial(jax.random.key(0), images.shape)
    whole = net.apply(variables, images)
    np.testing.assert_allclose(net.apply(variables, images[:1]), whole[:1], rtol=1e-10)


def test_drop_path_zeroes_whole_images_and_keeps_the_mean():
    x = jnp.ones((4000, 2, 2, 3))
    read = StandAloneReading({}, drop=DropPath(jax.random.key(0), 0.25))
    weights = np.eye(2)
    dropped, identity = read.edges(x, weights, [lambda name, x: x * 2.0, lambda name, x: x], ["a", "b"])
    assert identity is x
    each = np.asarray(dropped)[:, 0, 0, 0]
    np.testing.assert_array_equal(np.asarray(dropped), np.broadcast_to(each[:, None, None, None], x.shape))
    assert set(np.round(each, 6)) == {0.0, np.round(2 / 0.75, 6)}
    assert abs((each == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)


def test_a_node_without_edges_is_zero(images):
    text = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    net = StandAlone(small(text=text), jnp.float64)
    variables = net.init(jax.random.key(0), images)
    assert np.ptp(np.asarray(net.apply(variables, images)), axis=0).max() == 0


@pytest.mark.parametrize(
    ("options", "word"),
    [({"auxiliary": True}, "auxiliary"), ({"images": "imagenet"}, "imagenet")],
)
def test_networks_that_cannot_be_are_refused(options, word):
    with pytest.raises(InputError, match=word):
        small(**options).declared((1, 32, 32, 3))
    with pytest.raises(InputError, match="at least 1 class"):
        small()._replace(skeleton=Skeleton(4, 1, classes=0)).declared((1, 32, 32, 3))


def test_the_auxiliary_head_says_which_images_are_too_small():
    blueprint = blueprint_of(DARTS, DARTS_V2, RECIPES["darts-cifar"], 10)
    with pytest.raises(InputError, match="too small for auxiliary"):
        blueprint.declared((1, 16, 16, 3))
