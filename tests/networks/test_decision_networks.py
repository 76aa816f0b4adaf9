"""Networks of decisions: one program with a traced mask, beside the network of each architecture alone."""

import csv
import gzip
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from conftest import outside_file

from tenas_jax.networks.cost import CostReading, Shape, costs
from tenas_jax.networks.feature_reading import FeatureReading
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.networks.images_last import ImagesLastReading
from tenas_jax.rank.architectures import row_architecture
from tenas_jax.spaces.mnasnet import MNASNET, _block
from tenas_jax.spaces.network import network
from tenas_jax.spaces.registry import find_space
from tenas_jax.spaces.skeleton import Skeleton

ROOT = Path(__file__).parents[2]
EXAMPLE = find_space(f"{ROOT / 'examples' / 'own_decisions.py'}:SPACE")
SKELETON = Skeleton(channels=4, cells=1, stages=2, classes=3)


def read_features(function, parameters, x):
    """What comes out, and how many neurons are on."""
    read = FeatureReading(parameters)
    return function(read, x), sum(bits.sum() for bits in read.bits)


def declared_shapes(function, x):
    """Of the parameters that are asked for."""
    read = FeatureReading(None)
    jax.eval_shape(lambda x: function(read, x), x)
    return {name: declared.shape for name, declared in read.declared.items()}


def random_parameters(function, x, rng):
    """Of every option; batch norms do not shift, as before training, so that a channel that is not there is off."""
    read = FeatureReading(None)
    jax.eval_shape(lambda x: function(read, x), x)
    return {
        name: jnp.asarray(rng.normal(size=d.shape) * (not name.endswith("norm.bias")))
        for name, d in read.declared.items()
    }


def compare(of_shares, shares, singles, x, rng):
    """A program with traced shares of options against the network of each option alone, with its part of the weights.

    Returns how many ReLUs are on in each.
    """
    on_everywhere = []
    parameters = random_parameters(of_shares(shares), x, rng)
    program = jax.jit(lambda shares: read_features(of_shares(shares), parameters, x))
    for single in singles:
        shapes = declared_shapes(of_shares(single), x)
        # The first channels are those of the narrower network.
        own = {name: parameters[name][tuple(map(slice, shape))] for name, shape in shapes.items()}
        alone, on = jax.jit(lambda own, single=single: read_features(of_shares(single), own, x))(own)
        y, counted = program(jnp.asarray(single))
        assert np.allclose(y, alone, atol=1e-8)
        assert int(counted) == int(on)
        on_everywhere.append(int(on))
    return on_everywhere


def test_one_program_is_a_block_of_mnasnet_with_any_option(rng):
    x = jnp.asarray(rng.normal(size=(3, 4, 4, 4)))

    def of_shares(shares):
        return lambda read, x: _block(read, "block", x, shares, (4, 6), 2)

    whole = np.full((3, 2, 2, 2), 1 / 24)
    places = [(0, 0, 0, 0), (0, 1, 1, 1), (1, 0, 1, 1), (2, 1, 0, 1), (2, 0, 1, 0)]
    singles = [np.zeros(whole.shape) for _ in places]
    for single, place in zip(singles, places, strict=True):
        single[place] = 1.0
    assert min(compare(of_shares, whole, singles, x, rng)) > 0


def test_one_program_is_the_network_of_every_architecture(rng):
    x = jnp.asarray(rng.normal(size=(3, 4, 4, 3)))

    def of_mask(mask):
        return lambda read, x: network(read, EXAMPLE, mask, x, SKELETON)

    singles = [EXAMPLE.parse(text) for text in ("k3e2-k5e4-k3e4twice", "k3e4twice-k3e4-k3e2")]
    compare(of_mask, EXAMPLE.whole(), singles, x, rng)
    counted = [costs(EXAMPLE, mask, skeleton=SKELETON, side=4) for mask in singles]
    shapes = [declared_shapes(of_mask(mask), x) for mask in singles]
    assert [cost.parameters for cost in counted] == [sum(map(np.prod, shape.values())) for shape in shapes]


def test_weights_are_drawn_by_kaiming_and_are_all_different():
    net, images = CellNetwork(EXAMPLE, SKELETON._replace(channels=32)), jnp.zeros((1, 4, 4, 3))
    drawn = net.initial(jax.random.key(0), images.shape, images.dtype)
    shaped = jax.eval_shape(lambda: net.init(jax.random.key(0), images, EXAMPLE.whole()))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, shaped)
    large = [value for value in drawn["params"].values() if value.size > 5000]
    for value in large:
        assert abs(float(jnp.var(value)) * np.prod(value.shape[:-1]) / 2 - 1) < 0.2
    pairs = itertools.combinations([np.ravel(value)[:5000] for value in large], 2)
    assert max(abs(np.corrcoef(*pair)[0, 1]) for pair in pairs) < 0.1


def test_squeeze_excitation_is_its_formula_in_every_layout(rng):
    x = rng.normal(size=(2, 3, 3, 5)) * 4
    shapes = {
        "gate.squeeze.kernel": (5, 2),
        "gate.squeeze.bias": (2,),
        "gate.excite.kernel": (2, 5),
        "gate.excite.bias": (5,),
    }
    values = {name: jnp.asarray(rng.normal(size=shape) * 3) for name, shape in shapes.items()}
    pooled = x.mean((1, 2)) @ values["gate.squeeze.kernel"] + values["gate.squeeze.bias"][None]
    gates = np.maximum(pooled, 0) @ values["gate.excite.kernel"] + values["gate.excite.bias"][None]
    expected = x * np.minimum(np.maximum(gates + 3, 0), 6)[:, None, None] / 6
    assert np.allclose(FeatureReading(values).squeeze_excite("gate", jnp.asarray(x), 2), expected)
    last = ImagesLastReading(values).squeeze_excite("gate", jnp.asarray(x.transpose(3, 1, 2, 0)), 2)
    assert np.allclose(last.transpose(3, 1, 2, 0), expected)
    read = CostReading()
    read.squeeze_excite("gate", Shape(3, 5), 2)
    assert read.cost.parameters == sum(np.prod(shape) for shape in shapes.values())


def test_costs_are_those_of_the_table_of_mnasnet():
    with gzip.open(outside_file("TENAS_SPACES") / "mnasnet_imagenet.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    found = costs(MNASNET, np.stack([MNASNET.parse(row_architecture(row)) for row in rows]))
    assert found.parameters.tolist() == [int(row["parameters"]) for row in rows]
    assert found.flops.tolist() == [int(row["multiply_adds"]) for row in rows]
