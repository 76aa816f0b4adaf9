"""Networks of every space as they are trained: their sizes are those that are counted, and gradients are slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.errors import InputError
from tenas_jax.networks.cost import costs
from tenas_jax.networks.initial_weights import norm_shapes
from tenas_jax.options import SPACE_NAMES
from tenas_jax.spaces.registry import find_space
from tenas_jax.train.config import Config
from tenas_jax.train.job import blueprint_of, resolve
from tenas_jax.train.model import trained_network
from tenas_jax.train.recipe import recipe
from tenas_jax.train.step import loss

# Small networks, which hold every part of their spaces.
ARCHITECTURES = {
    "nasbench201": "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|",
    "nasbench101": "|conv3x3-bn-relu~0|+|conv1x1-bn-relu~1|+|maxpool3x3~0~1|+|output~0~2~3|",
    "nasbench-macro": "10010020",
    "mnasnet": "e1k3l1se1-e4k5l1se0-e1k3l2se0-e1k3l1se0-e1k3l1se0-e1k3l1se0-e1k3l1se0",
    "transnas-micro": "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|",
    "transnas-macro": "1423",
}


def test_every_space_is_here():
    """But for DARTS, which is compared with its published networks."""
    assert {*ARCHITECTURES, "darts"} == set(SPACE_NAMES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameters_are_those_that_are_counted(name):
    space = find_space(name)
    for mask in [space.parse(ARCHITECTURES[name]), *space.sample(jax.random.key(0), 2)]:
        network = trained_network(space, mask, classes=space.skeleton("trained").classes)
        declared = network.blueprint.declared((1, space.family.side, space.family.side, 3))
        assert sum(int(np.prod(d.shape)) for d in declared.values()) == costs(space, mask).parameters


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, x=np.random.default_rng(0).integers(256, size=(20, 8, 8, 3)).astype(np.uint8), y=np.arange(20) % 2)
    return path


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_quick_training_is_of_a_small_network(name, images):
    job = resolve(Config(architecture=ARCHITECTURES[name], space=name, data=images, preset="quick", batch=4))
    assert (job.blueprint.skeleton.channels, job.blueprint.skeleton.classes) == (16, 2)
    assert job.blueprint.space.format(job.blueprint.mask) == ARCHITECTURES[name]


def test_drop_path_is_of_cells(images):
    given = {"space": "transnas-macro", "architecture": "1423", "data": images, "preset": "quick", "batch": 4}
    with pytest.raises(InputError, match="decides on other things"):
        resolve(Config(**given, drop_path=0.1))


# Other tests train NAS-Bench-201; MnasNet takes long to compile.
LONG = {"mnasnet": pytest.mark.slow}


@pytest.mark.parametrize("name", [pytest.param(n, marks=LONG.get(n, ())) for n in ARCHITECTURES if n != "nasbench201"])
def test_the_loss_falls_as_its_gradient_says(name, rng):
    space = find_space(name)
    settings = recipe("quick", space)
    blueprint = blueprint_of(space, ARCHITECTURES[name], settings, 3)
    blueprint = blueprint._replace(skeleton=blueprint.skeleton._replace(channels=4))
    x, labels = jnp.asarray(rng.normal(size=(6, 4, 4, 3))), jnp.arange(6) % 3
    declared = blueprint.declared(x.shape)
    weights = {name: jnp.asarray(rng.normal(size=d.shape)) for name, d in declared.items()}
    statistics = {n: (jnp.zeros(shape), jnp.ones(shape)) for n, shape in norm_shapes(declared).items()}

    def of(weights):
        logits, _, moved = blueprint.run(weights, statistics, x, train=True)
        return loss(logits, labels).mean(), moved

    # Compiled for three steps, and not for speed.
    program = jax.jit(jax.value_and_grad(of, has_aux=True)).lower(weights)
    step = program.compile({"xla_backend_optimization_level": 0})
    (_, moved), gradient = step(weights)
    assert jax.tree.map(jnp.shape, moved) == jax.tree.map(jnp.shape, statistics)
    square = sum(float((g**2).sum()) for g in gradient.values())
    size = 1e-6 / square**0.5
    ahead, behind = ({n: weights[n] + s * size * gradient[n] for n in weights} for s in (1, -1))
    slope = (step(ahead)[0][0] - step(behind)[0][0]) / (2 * size)
    assert float(slope) == pytest.approx(square, rel=1e-4)
