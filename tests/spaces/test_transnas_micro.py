"""TransNAS's micro cells: parameters by a second route, and cells that hold the strides in every reading."""

import csv
import gzip

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import outside_file

from tenas_jax.networks.cost import CostReading, Shape, costs
from tenas_jax.networks.feature_reading import FeatureReading
from tenas_jax.networks.images_last import ImagesLastReading
from tenas_jax.networks.stand_alone_reading import StandAloneReading
from tenas_jax.spaces.network import network
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.transnas_micro import TRANSNAS_MICRO

TEXTS = [
    "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
    "|none~0|+|skip_connect~0|nor_conv_3x3~1|+|nor_conv_1x1~0|skip_connect~1|none~2|",
]


def by_hand(text: str) -> int:
    """Parameters from the description of the network alone: stem, ten cells at five widths, batch norm and linear layer."""
    edges = [edge.split("~") for node in text.split("+") for edge in node.strip("|").split("|")]

    def of_edge(operator, before, after, reduces):
        kernel = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}.get(operator)
        if kernel:
            return kernel * before * after + 2 * after
        return before * after + 2 * after if operator == "skip_connect" and reduces else 0

    total = 27 * 32 + 2 * 32 + 9 * 32 * 64 + 2 * 64
    width = 64
    for halves in (True, False, True, False, True):
        for first in (True, False):
            after = 2 * width if halves and first else width
            for operator, source in edges:
                enters = source == "0" and halves and first
                total += of_edge(operator, width if enters else after, after, enters)
            width = after
    return total + 2 * width + (width + 1) * 47


@pytest.mark.parametrize("text", TEXTS)
def test_parameters_are_those_of_the_description(text):
    assert costs(TRANSNAS_MICRO, TRANSNAS_MICRO.parse(text)).parameters == by_hand(text)


def test_one_program_is_the_network_of_every_cell(rng):
    skeleton = Skeleton(channels=2, cells=1, stages=2, classes=3)
    images = jnp.asarray(rng.normal(size=(3, 4, 4, 3)))

    def declared(mask):
        read = FeatureReading(None)
        jax.eval_shape(lambda images: network(read, TRANSNAS_MICRO, mask, images, skeleton), images)
        return read.declared

    parameters = {
        name: jnp.asarray(rng.normal(size=one.shape)) for name, one in declared(TRANSNAS_MICRO.whole()).items()
    }
    program = jax.jit(lambda mask: network(FeatureReading(parameters), TRANSNAS_MICRO, mask, images, skeleton))
    for text in TEXTS:
        mask = TRANSNAS_MICRO.parse(text)
        assert np.allclose(program(mask), network(FeatureReading(parameters), TRANSNAS_MICRO, mask, images, skeleton))
        counted = costs(TRANSNAS_MICRO, mask, skeleton=skeleton, side=4).parameters
        assert counted == sum(int(np.prod(one.shape)) for one in declared(mask).values())


def test_zeros_have_the_channels_that_are_asked_for():
    x = jnp.ones((2, 5, 5, 4))
    assert FeatureReading({}).zero(x, stride=2, channels=8).shape == (2, 3, 3, 8)
    assert FeatureReading({}).zero(x, stride=1).shape == x.shape
    assert StandAloneReading({}).zero(x, stride=2, channels=8).shape == (2, 3, 3, 8)
    assert ImagesLastReading({}).zero(x.transpose(3, 1, 2, 0), stride=2, channels=8).shape == (8, 3, 3, 2)
    assert CostReading().zero(Shape(5, 4), stride=2, channels=8) == Shape(3, 8)


def test_the_table_is_the_space():
    with gzip.open(outside_file("TENAS_SPACES") / "transnas_micro.csv.gz", "rt") as file:
        strings = [row["architecture"] for row in csv.DictReader(file)]
    assert sorted(strings) == sorted(TRANSNAS_MICRO.formats(TRANSNAS_MICRO.enumerated()))
