"""Parameters, multiply-adds and neurons of networks."""

import csv
import gzip
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import outside_file

from tenas_jax import DARTS, NAS_BENCH_201
from tenas_jax.networks import cost
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.spaces.registry import SPACES
from tenas_jax.spaces.skeleton import Skeleton

# Liu et al. 2019, the genotype of section 3.1 as released; its training script prints 3.349342 million parameters.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)


def _variables(net, mask, images):
    return net.init(jax.random.key(0), images, mask)


def _bits(net, mask, images):
    return net.apply(_variables(net, mask, images), images, mask, method="activation_bits")


def test_nas_bench_201_costs_what_its_table_says():
    with gzip.open(outside_file("TENAS_NASBENCH201"), "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["params_millions"]]
    masks = np.stack([NAS_BENCH_201.parse(row["architecture"]) for row in rows])
    assert len(rows) == 15614
    table = np.array([[float(row["params_millions"]), float(row["flops_millions"])] for row in rows])
    assert np.array_equal(cost.parameters(NAS_BENCH_201, masks), np.round(table[:, 0] * 1e6))
    np.testing.assert_allclose(cost.flops(NAS_BENCH_201, masks), table[:, 1] * 1e6, rtol=1e-4)


def test_darts_v2_has_the_parameters_that_were_published():
    # TE-NAS's network ends with a batch norm of 16 * 36 channels, which that of DARTS has not.
    assert cost.parameters(DARTS, DARTS.parse(DARTS_V2)) == 3_349_342 + 2 * 16 * 36


@pytest.mark.parametrize("space", [NAS_BENCH_201, DARTS], ids=lambda space: space.name)
def test_parameters_are_those_of_the_flax_network(space):
    skeleton = SPACES[space.name].skeleton("ntk")._replace(channels=4)
    for mask in [*space.sample(jax.random.key(0), 3), space.supernet()]:
        init = jax.eval_shape(partial(_variables, CellNetwork(space, skeleton), mask), jnp.zeros((2, 8, 8, 3)))
        counted = sum(leaf.size for leaf in jax.tree.leaves(init["params"]))
        assert cost.parameters(space, mask, skeleton=skeleton, side=8) == counted


@pytest.mark.parametrize("space", [NAS_BENCH_201, DARTS], ids=lambda space: space.name)
def test_neurons_are_the_bits_of_a_stand_alone_network(space):
    skeleton = SPACES[space.name].skeleton("regions")._replace(channels=3)
    net = CellNetwork(space, skeleton)
    for mask in space.sample(jax.random.key(1), 3):
        bits = jax.eval_shape(partial(_bits, net, mask), jnp.zeros((2, 4, 4, 3)))
        assert cost.costs(space, mask, skeleton=skeleton, side=4).neurons == bits.shape[1]


def test_flops_of_a_convolution_are_xlas():
    """XLA counts a multiplication and an addition as two, and the borders' zeros not at all: 1x1 kernels have none."""
    mask = NAS_BENCH_201.parse("|nor_conv_1x1~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    empty = NAS_BENCH_201.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    skeleton = Skeleton(channels=8, cells=1, stages=1)
    ours = cost.flops(NAS_BENCH_201, mask, skeleton=skeleton) - cost.flops(NAS_BENCH_201, empty, skeleton=skeleton)
    x, weights = jnp.zeros((1024, 8)), jnp.zeros((8, 8))
    analysis = jax.jit(jnp.dot).lower(x, weights).compile().cost_analysis()
    assert 2 * ours == analysis["flops"]


def test_many_masks_cost_what_each_costs():
    masks = NAS_BENCH_201.sample(jax.random.key(2), 6).reshape(2, 3, *NAS_BENCH_201.mask_shape)
    together = cost.costs(NAS_BENCH_201, masks)
    assert together.flops.shape == (2, 3)
    assert together.flops[1, 2] == cost.flops(NAS_BENCH_201, masks[1, 2])
