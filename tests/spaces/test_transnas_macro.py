"""TransNAS's macro networks: which there are, their costs by a second route, and one program for all of them."""

import csv
import gzip
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import outside_file

from tenas_jax.errors import InputError
from tenas_jax.networks.cost import costs
from tenas_jax.networks.feature_reading import FeatureReading
from tenas_jax.networks.stand_alone import Blueprint, StandAlone
from tenas_jax.networks.yardsticks import yardsticks
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.spaces.network import network
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.transnas_macro import TRANSNAS_MACRO

CODES = ["2413", "13241", "444111", "112233"]


def by_hand(code: str) -> tuple[int, int, int]:
    """Parameters, multiply-adds and neurons from the description alone; images of 256 x 256, 47 classes."""
    parameters = 27 * 32 + 64 + 9 * 32 * 64 + 128
    multiply_adds = 27 * 32 * 128**2 + 9 * 32 * 64 * 64**2
    neurons, before, side = 32 * 128**2, 64, 64
    for digit in code:
        after, side = before * (2 if digit in "24" else 1), side // (2 if digit in "34" else 1)
        weights = 9 * before * after + 3 * 9 * after**2
        norms = 4
        if digit != "1":
            weights, norms = weights + before * after, norms + 1
        parameters += weights + 2 * norms * after
        multiply_adds += weights * side**2
        neurons += 4 * after * side**2
        before = after
    return parameters + 47 * (before + 1), multiply_adds + 47 * before, neurons


@pytest.mark.parametrize("code", CODES)
def test_costs_are_those_of_the_description(code):
    mask = TRANSNAS_MACRO.parse(code)
    found = costs(TRANSNAS_MACRO, mask)
    assert (found.parameters, found.flops, found.neurons) == by_hand(code)
    shaped = StandAlone(
        Blueprint(TRANSNAS_MACRO, tuple(map(tuple, mask.argmax(-1).tolist())), TRANSNAS_MACRO.skeleton("trained"))
    )
    variables = jax.eval_shape(lambda: shaped.initial(jax.random.key(0), (1, 256, 256, 3)))
    assert sum(math.prod(shape.shape) for shape in jax.tree.leaves(variables["params"])) == by_hand(code)[0]
    images = jax.ShapeDtypeStruct((2, 256, 256, 3), np.dtype("float32"))
    logits = jax.eval_shape(shaped.apply, variables, images)
    assert jax.tree.leaves(logits)[0].shape == (2, 47)


@pytest.mark.parametrize("code", CODES)
def test_the_longest_path_leads_through_both_convolutions_of_every_block(code):
    found = yardsticks(TRANSNAS_MACRO, TRANSNAS_MACRO.parse(code))
    assert found.depth == 2 + 4 * len(code) + 1
    assert found.live_convolutions == found.depth + sum(digit != "1" for digit in code)


def test_the_architectures_are_as_many_as_a_count_by_generating_functions_says():
    # A module is (1 + d)(1 + h); the coefficients of d^i h^j of its powers are products of binomials.
    count = sum(
        math.comb(modules, doublings) * math.comb(modules, halvings)
        for modules in (4, 5, 6)
        for doublings in (1, 2, 3)
        for halvings in (1, 2, 3, 4)
    )
    masks = TRANSNAS_MACRO.enumerated()
    assert len(masks) == count == 3256
    strings = TRANSNAS_MACRO.formats(masks)
    assert len(set(strings)) == count
    assert np.array_equal(np.stack([TRANSNAS_MACRO.parse(text) for text in strings]), masks)


def test_the_table_is_the_space_and_is_read_by_its_codes():
    path = outside_file("TENAS_SPACES") / "transnas_macro.csv.gz"
    with gzip.open(path, "rt") as file:
        codes = [row["code"] for row in csv.DictReader(file)]
    assert sorted(codes) == sorted(TRANSNAS_MACRO.formats(TRANSNAS_MACRO.enumerated()))
    table = read_table(path, "class_scene")
    table.check_about(TRANSNAS_MACRO)
    assert set(table.accuracies) == set(codes)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("241", "4 to 6 digits from 1 to 4"),
        ("2413113", "4 to 6 digits from 1 to 4"),
        ("241300", "4 to 6 digits from 1 to 4"),
        ("1131", "doubles the channels 0 times"),
        ("444411", "doubles the channels 4 times"),
        ("1212", "halves the resolution 0 times"),
        ("333332", "halves the resolution 5 times"),
    ],
)
def test_codes_that_are_none_are_refused(code, said):
    with pytest.raises(InputError, match=said):
        TRANSNAS_MACRO.parse(code)


def declared(mask, images, skeleton):
    read = FeatureReading(None)
    jax.eval_shape(lambda images: network(read, TRANSNAS_MACRO, mask, images, skeleton), images)
    return read.declared


def test_one_program_is_the_network_of_every_architecture(rng):
    skeleton = Skeleton(channels=1, cells=2, stages=5, classes=2)
    images = jnp.asarray(rng.normal(size=(2, 16, 16, 3)))
    shapes = declared(TRANSNAS_MACRO.whole(), images, skeleton)
    # Batch norms do not shift, as before training, so that a channel that is not there is off.
    parameters = {
        name: jnp.asarray(rng.normal(size=one.shape) * float(one.kind != "bias" or name == "head.linear.bias"))
        for name, one in shapes.items()
    }

    def output(mask, parameters):
        read = FeatureReading(parameters)
        y = network(read, TRANSNAS_MACRO, mask, images, skeleton)
        return y, sum(bits.sum() for bits in read.bits)

    whole = dict(parameters)
    for code in CODES[:3]:
        mask = TRANSNAS_MACRO.parse(code)
        own = declared(mask, images, skeleton)
        # The first channels are those of the narrower network.
        parameters = {name: whole[name][tuple(map(slice, one.shape))] for name, one in own.items()}
        assert costs(TRANSNAS_MACRO, mask, skeleton=skeleton, side=16).parameters == sum(
            math.prod(one.shape) for one in own.values()
        )
        # The trellis, with what is dead skipped while tracing, and with all of it there.
        alone, on = output(mask, parameters)
        with jax.disable_jit():
            traced, counted = output(jnp.asarray(mask), whole)
        assert np.allclose(traced, alone)
        assert int(counted) == int(on)


def test_a_supernet_without_classes_is_refused_and_an_architecture_is_not():
    images, skeleton = jnp.ones((2, 16, 16, 3)), Skeleton(channels=1, cells=2, stages=5, classes=0)
    with pytest.raises(InputError, match="several shapes"):
        declared(TRANSNAS_MACRO.whole(), images, skeleton)
    read = FeatureReading(None)
    ends = jax.eval_shape(
        lambda images: network(read, TRANSNAS_MACRO, TRANSNAS_MACRO.parse("2413"), images, skeleton), images
    )
    assert ends.shape == (2, 4, 4, 4)
