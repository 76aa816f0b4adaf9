"""The finite reading: convolutions against JAX's own, masks traced and static, statistics stored and of the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.networks import convolution
from tenas_jax.networks.convolution import convolve
from tenas_jax.networks.finite import CellNetwork, FeatureReading
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.operators import OPERATORS
from tenas_jax.spaces.skeleton import Skeleton

FULL = np.ones(NAS_BENCH_201.mask_shape, bool)
PATH = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|")


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("side", [6, 7])
def test_convolution(rng, kernel, stride, dilation, depthwise, side):
    x = jnp.asarray(rng.normal(size=(2, side, side, 3)))
    weights = jnp.asarray(rng.normal(size=(kernel, kernel, 1 if depthwise else 3, 3)))
    pad = dilation * (kernel - 1) // 2
    expected = jax.lax.conv_general_dilated(
        x,
        weights,
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=3 if depthwise else 1,
    )
    got = convolve(x, weights, stride=stride, dilation=dilation, depthwise=depthwise)
    np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.fixture
def as_on_an_accelerator():
    """When called: convolutions that are traced from then on take what other platforms take."""

    def chosen(*arguments, cpu, default):
        return default(*arguments)

    def begin():
        patch.setattr(jax.lax, "platform_dependent", chosen)
        convolution._convolve.clear_cache()

    with pytest.MonkeyPatch.context() as patch:
        yield begin
    convolution._convolve.clear_cache()


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(1, 2, 1), (3, 1, 1), (5, 2, 2)])
def test_the_convolution_of_accelerators_is_that_of_cpus(
    rng, as_on_an_accelerator, kernel, stride, dilation, depthwise
):
    x = jnp.asarray(rng.normal(size=(2, 7, 7, 3)))
    weights = jnp.asarray(rng.normal(size=(kernel, kernel, 1 if depthwise else 3, 3)))

    def function(x, weights):
        return jnp.sin(convolve(x, weights, stride=stride, dilation=dilation, depthwise=depthwise)).sum()

    expected = jax.value_and_grad(function, (0, 1))(x, weights)
    as_on_an_accelerator()
    jaxpr = str(jax.make_jaxpr(function)(x, weights))
    assert "conv_general_dilated" in jaxpr
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
        jax.value_and_grad(function, (0, 1))(x, weights), expected,
    )  # fmt: skip


@pytest.mark.slow
def test_a_network_on_an_accelerators_route_is_the_same_network(rng, as_on_an_accelerator):
    images = jnp.asarray(rng.normal(size=(4, 8, 8, 3)))
    net = CellNetwork(NAS_BENCH_201, Skeleton(channels=2, cells=1, stages=1))
    variables = net.init(jax.random.key(0), images, FULL, method="drawn")
    expected = jax.jit(lambda: net.apply(variables, images, FULL))()
    as_on_an_accelerator()
    program = jax.jit(lambda: net.apply(variables, images, FULL)).lower()
    assert "stablehlo.convolution" in program.as_text()
    np.testing.assert_allclose(program.compile()(), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "depthwise"), [(3, 2, 1, False), (5, 2, 2, True), (3, 1, 2, True)]
)
def test_gradients_of_the_convolution(rng, kernel, stride, dilation, depthwise):
    """Against finite differences, in both arguments."""
    x = jnp.asarray(rng.normal(size=(2, 7, 7, 3)))
    weights = jnp.asarray(rng.normal(size=(kernel, kernel, 1 if depthwise else 3, 3)))

    def function(x, weights):
        return jnp.sin(convolve(x, weights, stride=stride, dilation=dilation, depthwise=depthwise)).sum()

    gradients = jax.grad(function, (0, 1))(x, weights)
    for place, value in enumerate((x, weights)):
        step = 1e-6 * jnp.asarray(rng.normal(size=value.shape))
        moved = [(x + sign * step, weights) if place == 0 else (x, weights + sign * step) for sign in (1, -1)]
        difference = (function(*moved[0]) - function(*moved[1])) / 2
        np.testing.assert_allclose((gradients[place] * step).sum(), difference, rtol=1e-6)


def test_average_pool_does_not_count_padding(rng):
    x = rng.normal(size=(2, 5, 5, 3))
    pooled = FeatureReading(None).average_pool(jnp.asarray(x), window=3, stride=2, padding=1)
    for i in range(3):
        for j in range(3):
            rows, columns = (slice(max(0, 2 * k - 1), 2 * k + 2) for k in (i, j))
            np.testing.assert_allclose(pooled[:, i, j], x[:, rows, columns].mean((1, 2)), atol=1e-12)


def test_traced_mask_equals_static_mask(rng):
    images = jnp.asarray(rng.normal(size=(4, 8, 8, 3)))
    net = CellNetwork(NAS_BENCH_201, Skeleton(channels=2, cells=1, stages=2))
    variables = net.init(jax.random.key(0), images, FULL, method="drawn")
    traced = jax.jit(lambda mask: net.apply(variables, images, mask))(jnp.asarray(PATH))
    np.testing.assert_allclose(traced, net.apply(variables, images, PATH), atol=1e-12)
    alone = net.init(jax.random.key(0), images, PATH, method="drawn")["params"]
    assert set(alone) < set(variables["params"])  # a static mask creates what is alive


def test_stored_statistics_reproduce_the_batch(rng):
    images = jnp.asarray(rng.normal(size=(4, 8, 8, 3)))
    net = CellNetwork(NAS_BENCH_201, Skeleton(channels=2, cells=1, stages=2))
    variables = net.init(jax.random.key(0), images, FULL, method="drawn")
    logits, state = net.apply(variables, images, PATH, mutable=["batch_stats"])
    frozen = net.apply({**variables, **state}, images, PATH, train=False)
    np.testing.assert_allclose(frozen, logits, atol=1e-12)
    first = net.apply({**variables, **state}, images[:1], PATH, train=False)
    np.testing.assert_allclose(first, logits[:1], atol=1e-12)


def test_initial_variances(rng):
    images, name = jnp.zeros((2, 8, 8, 3)), "stage1.reduction.first.conv.kernel"
    for fan, units in (("fan_in", 64), ("fan_out", 128)):
        net = CellNetwork(NAS_BENCH_201, Skeleton(channels=64, cells=1, stages=2), fan)
        draw = jax.jit(lambda key, net=net: net.init(key, images, PATH, method="drawn")["params"][name])
        weights = draw(jax.random.key(0))
        assert weights.shape == (3, 3, 64, 128)
        np.testing.assert_allclose(weights.var(), 2 / (9 * units), rtol=0.02)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", list(OPERATORS))
def test_every_operator_in_both_readings(name, stride):
    """Their shapes; `tests/ntk/test_analytic.py` compares the values of both readings."""
    from tenas_jax.ntk.gaussian_kernels import Batch, Settings, input_kernels
    from tenas_jax.ntk.gaussian_maps import gaussian_field
    from tenas_jax.ntk.kernel_reading import KernelReading

    def kernels(x):
        read = KernelReading(batch, Settings())
        (field,) = read.cell_inputs([gaussian_field(input_kernels(x, batch), 4, 4)])
        return read._realise(OPERATORS[name](read, name, field, 4, stride))

    x, batch = jax.ShapeDtypeStruct((3, 4, 4, 4), jnp.float64), Batch.of(3)
    out = jax.eval_shape(lambda x: OPERATORS[name](FeatureReading(None), name, x, 4, stride), x)
    assert out.shape == (3, 4 // stride, 4 // stride, 4)
    for kernel in jax.eval_shape(kernels, x):
        assert kernel.shape[1:] == ((4 // stride) ** 2, (4 // stride) ** 2, 6)


def test_max_pool_does_not_see_padding(rng):
    x = -1 - rng.random((2, 5, 5, 3))  # zeros at the border would win
    pooled = FeatureReading(None).max_pool(jnp.asarray(x), window=3, stride=2, padding=1)
    for i in range(3):
        for j in range(3):
            rows, columns = (slice(max(0, 2 * k - 1), 2 * k + 2) for k in (i, j))
            np.testing.assert_array_equal(pooled[:, i, j], x[:, rows, columns].max((1, 2)))


def test_average_pool_without_padding(rng):
    x = rng.normal(size=(2, 6, 6, 3))
    pooled = FeatureReading(None).average_pool(jnp.asarray(x), window=2, stride=2, padding=0)
    np.testing.assert_allclose(pooled, x.reshape(2, 3, 2, 3, 2, 3).mean((2, 4)), atol=1e-12)


def test_batch_norm(rng):
    """Mean 0 and variance v / (v + epsilon) of every channel, then scale and shift."""
    x = rng.normal(2, 3, size=(4, 3, 3, 2))
    scale, bias = np.array([2.0, -1.0]), np.array([0.5, 3.0])
    read = FeatureReading({"norm.scale": jnp.asarray(scale), "norm.bias": jnp.asarray(bias)})
    y = read.batch_norm("norm", jnp.asarray(x))
    variance = x.var((0, 1, 2))
    np.testing.assert_allclose(y.mean((0, 1, 2)), bias, atol=1e-12)
    np.testing.assert_allclose(y.var((0, 1, 2)), scale**2 * variance / (variance + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(read.moments["norm"], [x.mean((0, 1, 2)), variance], rtol=1e-12)


def test_crop_reaches_past_the_border(rng):
    x = rng.normal(size=(1, 4, 4, 1))
    read = FeatureReading(None)
    np.testing.assert_array_equal(read.crop(jnp.asarray(x), offset=0, stride=2), x[:, ::2, ::2])
    np.testing.assert_array_equal(read.crop(jnp.asarray(x), offset=1, stride=2), x[:, 1::2, 1::2])


THIN = Skeleton(channels=2, cells=1, stages=1, stem=False, classes=0)


def test_bits_of_dead_operators_are_off(rng):
    """A traced mask keeps a place for every neuron; where a NumPy mask leaves neurons out, they are off."""
    patches = jnp.asarray(rng.normal(size=(50, 3, 3, 2)))
    net = CellNetwork(NAS_BENCH_201, THIN)
    variables = net.init(jax.random.key(0), patches, FULL, method="drawn")

    def bits(mask):
        return net.apply(variables, patches, mask, method="activation_bits")

    traced, static = jax.jit(bits)(jnp.asarray(PATH)), bits(PATH)
    # Six edges with two convolutions each, and the cell's own ReLU; PATH keeps three of the convolutions.
    assert traced.shape == (50, 13 * 18)
    assert static.shape == (50, 4 * 18)
    on = np.asarray(traced).reshape(50, 13, 18)
    alive = on.any((0, 2))
    assert alive.sum() == 4
    np.testing.assert_array_equal(on[:, alive].reshape(50, -1), static)


def test_variables_alone_are_those_that_the_network_draws(rng):
    images = jnp.asarray(rng.normal(size=(2, 4, 4, 3)))
    net = CellNetwork(NAS_BENCH_201, Skeleton(channels=2, cells=1, stages=1))
    whole, alone = (net.init(jax.random.key(0), images, PATH, method=method) for method in (None, "drawn"))
    assert set(alone["params"]) == set(whole["params"])
    jax.tree.map(np.testing.assert_array_equal, whole, alone)


def test_no_weight_is_drawn_twice(rng):
    net = CellNetwork(NAS_BENCH_201, THIN)
    parameters = net.init(jax.random.key(3), jnp.zeros((5, 3, 3, 2)), FULL, method="drawn")["params"]
    weights = [np.ravel(value) for name, value in parameters.items() if name.endswith(".kernel")]
    assert len(weights) == 12
    assert len(np.unique(np.concatenate(weights))) == sum(w.size for w in weights) == 6 * 4 * (9 + 1)


def test_darts_mask_as_data_equals_static_mask(rng):
    images = jnp.asarray(rng.normal(size=(3, 4, 4, 3)))
    net = CellNetwork(DARTS, Skeleton(channels=1, cells=1))
    (mask,) = DARTS.sample(jax.random.key(5), 1)
    full = np.ones(DARTS.mask_shape, bool)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), images, full))
    variables = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)
    with jax.disable_jit():  # one branch of each operator instead of a large program
        logits = net.apply(variables, images, jnp.asarray(mask))
        alone = net.apply(variables, images, mask)
    assert logits.shape == (3, 10)
    assert np.ptp(logits, axis=0).min() > 0
    np.testing.assert_allclose(logits, alone, atol=1e-12)
