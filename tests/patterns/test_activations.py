"""Activation patterns found in jaxprs against hand-written forward passes and exact breakpoints."""

from itertools import pairwise

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tenas_jax import NAS_BENCH_201, count_linear_regions
from tenas_jax.errors import InputError
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.patterns.activations import activation_patterns
from tenas_jax.patterns.hamming import hamming_kernel
from tenas_jax.spaces.registry import SPACES

MODES = ["frozen", "coupled"]


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(7, 5)))


def assert_same(patterns, *hidden):
    """Bits equal the sides of these pre-activations, in this order."""
    expected = np.concatenate([np.asarray(h).reshape(len(h), -1) for h in hidden], axis=1)
    np.testing.assert_array_equal(patterns.bits, expected)


# --- one breakpoint at a time ---------------------------------------------------------------------------


@pytest.mark.parametrize("batch_stats", MODES)
@pytest.mark.parametrize(
    ("fn", "sides"),
    [
        (jax.nn.relu, [0]),
        (lambda x: jnp.maximum(x, 0), [0]),
        (lambda x: jnp.maximum(0.5, x), [0.5]),
        (lambda x: -jnp.minimum(-x, 0), None),
        (jax.nn.relu6, [0, None]),
        (jax.nn.leaky_relu, [0]),
        (lambda x: jnp.maximum(x, 0.1 * x), [0]),
        (lambda x: jnp.where(x > 0.25, x, 0.1 * x), [0.25]),
        (lambda x: x * (x > 0).astype(x.dtype), [0]),
        (lambda x: jax.lax.clamp(-0.5, x, 0.5), [-0.5, 0.5]),
        (jnp.abs, [0]),
        (jnp.sign, [0]),
        (jax.nn.soft_sign, [0]),
        (jax.checkpoint(jax.nn.relu), [0]),
        (jax.jit(jax.vmap(jax.vmap(jax.nn.relu))), [0]),
    ],
)
def test_sides_of_breakpoints(images, batch_stats, fn, sides):
    if sides is None:  # min(-x, 0): on where -x is above 0
        assert_same(activation_patterns(fn, images, batch_stats=batch_stats), -images > 0)
    elif sides == [0, None]:  # relu6's second breakpoint
        assert_same(activation_patterns(fn, 5 * images, batch_stats=batch_stats), images > 0, 5 * images > 6)
    else:
        assert_same(activation_patterns(fn, images, batch_stats=batch_stats), *[images > side for side in sides])


@pytest.mark.parametrize("fn", [jax.nn.hard_tanh, lambda x: jnp.clip(x, -1, 1), jax.nn.hard_sigmoid])
def test_two_breakpoints_split_the_line_in_three(fn):
    line = jnp.linspace(-5, 5, 100)[:, None]
    patterns = activation_patterns(fn, line)
    assert patterns.bits.shape == (100, 2)
    assert count_linear_regions(patterns.bits).count == 3
    # The pieces of the function: equal slopes between neighbours where no bit changes, another slope where one does.
    slopes = jax.vmap(jax.grad(lambda x: fn(x[None])[0]))(line[:, 0])
    changes = np.asarray(patterns.bits[1:] != patterns.bits[:-1]).any(1)
    np.testing.assert_array_equal(changes, np.asarray(slopes[1:] != slopes[:-1]))


@pytest.mark.parametrize("batch_stats", MODES)
@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jax.nn.softmax(x),
        lambda x: jax.nn.log_softmax(x),
        lambda x: jax.nn.logsumexp(x, 1),
        lambda x: x.max(1),
        lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True),
        lambda x: x / jnp.maximum(jnp.sum(x * x, 1, keepdims=True), 1e-6),
        lambda x: (x - x.mean(1, keepdims=True)) * jax.lax.rsqrt(jnp.maximum(0, x.var(1, keepdims=True)) + 1e-5),
        lambda x: jnp.where(jnp.isnan(x), 0, x),
        lambda x: jnp.maximum(x, -jnp.inf),
        lambda x: nn.max_pool(x[:, :, None], (2,)),
        lambda x: jax.nn.relu(jnp.ones((1, 3))) + x[:, :3],
        lambda x: [jax.nn.relu(x), x][1],
    ],
)
def test_what_is_no_activation(images, batch_stats, fn):
    """The same bits as without it, in front of a ReLU; on its own it is refused."""
    with pytest.raises(InputError, match="must have an activation that depends on the image"):
        activation_patterns(fn, images, batch_stats=batch_stats)
    assert_same(activation_patterns(lambda x: jax.nn.relu(fn(x)), images, batch_stats=batch_stats), fn(images) > 0)


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (jnp.tanh, "tanh"),
        (jax.nn.sigmoid, "logistic"),
        (jax.nn.gelu, "tanh"),
        (lambda x: jax.nn.gelu(x, approximate=False), "erfc?"),
        (jax.nn.softplus, "softplus"),
        (jax.nn.silu, "silu"),
        (jax.nn.elu, "elu"),
        (jax.nn.mish, "mish"),
        (lambda x: x / (1 + jnp.exp(-x)), "exp"),
    ],
)
def test_smooth_activations_need_a_threshold(images, fn, name):
    with pytest.raises(InputError, match=f"smooth activations: {name}. Pass `threshold=0.0`"):
        activation_patterns(lambda x: jax.nn.relu(fn(x)), images)
    patterns = activation_patterns(fn, images, threshold=0.0)
    assert_same(patterns, (-images if name == "exp" else images) > 0)


def test_threshold_is_of_the_argument(images):
    assert_same(activation_patterns(jnp.tanh, images, threshold=0.7), images > 0.7)


# --- control flow ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_stats", MODES)
@pytest.mark.parametrize("remat", [False, True])
def test_scan_stacks_the_bits_of_its_turns(images, rng, batch_stats, remat):
    weights = jnp.asarray(rng.normal(size=(4, 5, 5)))

    def fn(x):
        def turn(x, w):
            h = x @ w
            return x + jax.nn.relu(h), jnp.abs(h).sum()

        return jax.lax.scan(jax.checkpoint(turn) if remat else turn, x, weights)[0]

    patterns = activation_patterns(fn, images, batch_stats=batch_stats)
    x, hidden = np.asarray(images), []
    for w in np.asarray(weights):
        hidden.append(x @ w)
        x = x + np.maximum(hidden[-1], 0)
    # The sum of absolute values is returned by the scan, so its breakpoints count beside the ReLUs.
    turns = np.stack(hidden, 1) > 0
    np.testing.assert_array_equal(patterns.of("relu"), turns.reshape(7, -1))
    assert patterns.bits.shape == (7, 2 * 20)


@pytest.mark.parametrize("batch_stats", MODES)
def test_fori_loop_and_nested_scan(images, batch_stats):
    def fn(x):
        def inner(x, shift):
            return jax.nn.relu(x - shift), None

        return jax.lax.fori_loop(0, 2, lambda i, x: jax.lax.scan(inner, x, jnp.array([0.1, 0.2, 0.3]))[0] + 0.25, x)

    x, hidden = np.asarray(images), []
    for _ in range(2):
        for shift in (0.1, 0.2, 0.3):
            hidden.append(x - shift > 0)
            x = np.maximum(x - shift, 0)
        x = x + 0.25
    assert_same(activation_patterns(fn, images, batch_stats=batch_stats), np.stack(hidden, 1))


@pytest.mark.parametrize("batch_stats", MODES)
@pytest.mark.parametrize("alive", [0, 1])
def test_branches_that_are_not_taken_are_off(images, batch_stats, alive):
    def fn(x):
        return jax.lax.cond(jnp.asarray(alive) > 0, lambda x: jax.nn.relu(x + 1), lambda x: jax.nn.relu(x[:, ::-1]), x)

    off = np.zeros(images.shape, bool)
    expected = (off, images + 1 > 0) if alive else (images[:, ::-1] > 0, off)
    assert_same(activation_patterns(fn, images, batch_stats=batch_stats), *expected)


def test_one_comparison_is_one_breakpoint(images):
    def twice(x):
        on = x > 0
        return jnp.where(on, x, 0) + jnp.where(on, x * x, 1)

    assert_same(activation_patterns(twice, images), images > 0)


def test_a_branch_chosen_by_the_image_is_a_breakpoint(images):
    def fn(x):
        return jax.vmap(lambda v: jax.lax.cond(v.sum() > 0, lambda v: v, jax.nn.relu, v))(x)

    positive = np.asarray(images.sum(1) > 0)[:, None]
    patterns = activation_patterns(lambda x: jax.lax.cond(x.sum() > 0, lambda v: v, jax.nn.relu, x), images)
    assert_same(patterns, ~positive, positive, np.asarray(images > 0) & ~positive)
    # Under vmap JAX computes both branches and selects: the ReLU of both, and the choice.
    choice = np.stack([~positive, positive], axis=2)
    assert_same(activation_patterns(fn, images), images > 0, np.broadcast_to(choice, (7, 5, 2)))


def test_while_loops_with_activations_are_refused(images):
    def fn(x):
        return jax.lax.while_loop(lambda c: c[0].sum() < 10, lambda c: (c[0] + 1, jax.nn.relu(c[1])), (jnp.zeros(2), x))

    with pytest.raises(InputError, match=r"`lax.while_loop` has 'max' inside"):
        activation_patterns(lambda x: fn(x)[1], images)

    def harmless(x):
        halved = jax.lax.while_loop(lambda v: jnp.sum(v * v) > 0.01, lambda v: v / 2, x)
        return jax.nn.relu(halved)

    assert_same(activation_patterns(harmless, images), images > 0)


def test_custom_derivatives_and_shared_calls(images, rng):
    @jax.custom_vjp
    def straight_through(x):
        return jnp.sign(x)

    straight_through.defvjp(lambda x: (jnp.sign(x), None), lambda _, g: (g,))
    weights = jnp.asarray(rng.normal(size=(5, 5)))
    layer = jax.jit(lambda x: jax.nn.relu(x @ weights))
    patterns = activation_patterns(lambda x: straight_through(layer(layer(x)) - 1), images)
    first = np.asarray(images @ weights)
    second = np.maximum(first, 0) @ np.asarray(weights)
    assert_same(patterns, first > 0, second > 0, np.maximum(second, 0) - 1 > 0)


# --- models ---------------------------------------------------------------------------------------


class LinenBlock(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        h = nn.BatchNorm(use_running_average=not train)(nn.Dense(6)(x))
        return nn.LayerNorm()(nn.relu(h)) + x


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        block = LinenBlock()
        x = nn.Dense(6)(x)
        return nn.Dense(2)(block(block(x, train), train))


def dense(x, p):
    return x @ p["kernel"] + p["bias"]


def normalised(x, p, axis):
    x = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + (1e-5 if axis == 0 else 1e-6))
    return x * p["scale"] + p["bias"]


def test_linen_with_a_shared_block_and_batch_statistics(images):
    net = LinenNet()
    images = images.astype("float32")
    variables = net.init(jax.random.key(0), images, False)
    p = jax.tree.map(np.asarray, variables["params"])
    block = p["LinenBlock_0"]

    def fn(x):
        return net.apply(variables, x, True, mutable=["batch_stats"])

    x, hidden = dense(np.asarray(images), p["Dense_0"]), []
    for _ in range(2):
        h = normalised(dense(x, block["Dense_0"]), block["BatchNorm_0"], 0)
        hidden.append(h > 0)
        x = normalised(np.maximum(h, 0), block["LayerNorm_0"], 1) + x
    patterns = activation_patterns(fn, images, batch_stats="coupled")
    assert_same(patterns, *hidden)
    assert all("LinenBlock_0/relu" in layer.name for layer in patterns.layers)


class NNXNet(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(5, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs, use_running_average=True)
        self.shared = nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.first(x)))
        for _ in range(2):
            x = x + nnx.relu(self.shared(x))
        return x


@pytest.mark.parametrize("batch_stats", MODES)
def test_nnx_with_a_shared_layer(images, batch_stats):
    images = images.astype("float32")
    net = NNXNet(nnx.Rngs(0))
    net.norm.mean[...] = jnp.arange(6, dtype="float32") / 10
    h = [np.asarray(net.norm(net.first(images)))]
    x = np.maximum(h[0], 0)
    for _ in range(2):
        h.append(np.asarray(net.shared(jnp.asarray(x))))
        x = x + np.maximum(h[-1], 0)
    assert_same(activation_patterns(net, images, batch_stats=batch_stats), *[hidden > 0 for hidden in h])


@pytest.mark.parametrize("batch_stats", MODES)
def test_equinox_under_vmap(images, batch_stats):
    net = eqx.nn.MLP(5, 2, 8, 3, key=jax.random.key(1))
    x, hidden = np.asarray(images), []
    for layer in net.layers[:-1]:
        x = x @ np.asarray(layer.weight).T + np.asarray(layer.bias)
        hidden.append(x > 0)
        x = np.maximum(x, 0)
    patterns = activation_patterns(jax.vmap(net), images, batch_stats=batch_stats)
    assert_same(patterns, *hidden)
    assert [layer.stop for layer in patterns.layers] == [8, 16, 24]


@pytest.mark.parametrize("traced", [False, True])
def test_equals_the_bits_that_cell_networks_note_themselves(rng, traced):
    net = CellNetwork(NAS_BENCH_201, SPACES["nasbench201"].skeleton("regions"))
    mask = rng.random(NAS_BENCH_201.mask_shape) < 0.7
    images = jnp.asarray(rng.normal(size=(40, 3, 3, 3)))
    variables = net.init(jax.random.key(3), images, np.ones(mask.shape, bool))
    mask = jnp.asarray(mask) if traced else mask
    own = net.apply(variables, images, mask, method="activation_bits")
    patterns = activation_patterns(lambda x: net.apply(variables, x, mask), images, batch_stats="coupled")
    assert count_linear_regions(patterns.bits) == count_linear_regions(own)
    np.testing.assert_array_equal(patterns.bits, own)


# --- regions --------------------------------------------------------------------------------------


def breakpoints(weights, low, high):
    """Exact breakpoints of a ReLU network on a line: every neuron is linear between those of the layers before."""
    points = [low, high]
    for depth in range(len(weights)):

        def before(x, depth=depth):
            for w, b in weights[:depth]:
                x = np.maximum(x @ w + b, 0)
            w, b = weights[depth]
            return x @ w + b

        values = before(np.array(points)[:, None])
        roots = []
        for (a, b), (va, vb) in zip(pairwise(points), pairwise(values), strict=True):
            crossing = va * vb < 0
            roots += list(a + (b - a) * va[crossing] / (va - vb)[crossing])
        points = sorted([*points, *roots])
    return points


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_regions_on_a_line_are_counted_exactly(rng, depth):
    sizes = [1] + [6] * depth
    weights = [(rng.normal(size=(a, b)), rng.normal(size=(1, b))) for a, b in pairwise(sizes)]
    points = np.array(breakpoints(weights, -8.0, 8.0))
    middles = (points[1:] + points[:-1]) / 2

    def fn(x):
        for w, b in weights:
            x = jax.nn.relu(x @ w + b)
        return x

    samples = jnp.asarray(np.sort(np.r_[middles, rng.uniform(-8, 8, 2000)])[:, None])
    patterns = activation_patterns(fn, samples)
    assert count_linear_regions(patterns.bits).count == len(points) - 1
    assert len(points) > 4


# --- the result -----------------------------------------------------------------------------------


def test_compiled_packed_and_fed_on(images, rng):
    weights = jnp.asarray(rng.normal(size=(5, 11)))

    def fn(x):
        return jax.nn.relu(x @ weights)

    plain = activation_patterns(fn, images)
    compiled = jax.jit(lambda x: activation_patterns(fn, x))(images)
    np.testing.assert_array_equal(plain.bits, compiled.bits)
    assert plain.layers == compiled.layers
    np.testing.assert_array_equal(plain.packed(), np.packbits(np.asarray(plain.bits), axis=1))
    bits = np.asarray(plain.bits)
    distance = (bits[:, None] != bits[None]).sum(2)
    np.testing.assert_array_equal(hamming_kernel(plain.bits), 11 - distance)
    with pytest.raises(InputError, match="There are: relu"):
        plain.of("gelu")


def test_bad_arguments_are_refused(images):
    with pytest.raises(InputError, match="they are uint8"):
        activation_patterns(jax.nn.relu, jnp.ones((2, 3), "uint8"))
    with pytest.raises(InputError, match="`batch_stats` must be"):
        activation_patterns(jax.nn.relu, images, batch_stats="none")  # pyright: ignore
    for merge in (lambda x: x.reshape(-1), lambda x: x.reshape(7, 5).T.reshape(5, 7).sum(0) * x[:, 0]):
        with pytest.raises(InputError, match="must keep an axis of 7 images"):
            activation_patterns(lambda x, merge=merge: jax.nn.relu(merge(x)), images, batch_stats="coupled")
    assert_same(activation_patterns(lambda x: jax.nn.relu(x.reshape(-1)), images), images > 0)
