"""The finite reading: convolutions against JAX's own, masks traced and static, statistics stored and of the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.convolution import convolve
from tenas_jax.finite import CellNetwork, FeatureReading
from tenas_jax.network import OPERATORS, Macro
from tenas_jax.space import NAS_BENCH_201

FULL = np.ones(NAS_BENCH_201.mask_shape, bool)
PATH = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|")


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
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


def test_average_pool_does_not_count_padding(rng):
    x = rng.normal(size=(2, 5, 5, 3))
    pooled = FeatureReading(None).average_pool(jnp.asarray(x), window=3, stride=2, padding=1)
    for i in range(3):
        for j in range(3):
            rows, columns = (slice(max(0, 2 * k - 1), 2 * k + 2) for k in (i, j))
            np.testing.assert_allclose(pooled[:, i, j], x[:, rows, columns].mean((1, 2)), atol=1e-12)


def test_traced_mask_equals_static_mask(rng):
    images = jnp.asarray(rng.normal(size=(4, 8, 8, 3)))
    net = CellNetwork(NAS_BENCH_201, Macro(channels=2, cells=1, stages=2))
    variables = net.init(jax.random.key(0), images, FULL)
    traced = jax.jit(lambda mask: net.apply(variables, images, mask))(jnp.asarray(PATH))
    np.testing.assert_allclose(traced, net.apply(variables, images, PATH), atol=1e-12)
    alone = net.init(jax.random.key(0), images, PATH)["params"]
    assert set(alone) < set(variables["params"])  # a static mask creates what is alive


def test_stored_statistics_reproduce_the_batch(rng):
    images = jnp.asarray(rng.normal(size=(4, 8, 8, 3)))
    net = CellNetwork(NAS_BENCH_201, Macro(channels=2, cells=1, stages=2))
    variables = net.init(jax.random.key(0), images, FULL)
    logits, state = net.apply(variables, images, PATH, mutable=["batch_stats"])
    frozen = net.apply({**variables, **state}, images, PATH, train=False)
    np.testing.assert_allclose(frozen, logits, atol=1e-12)
    first = net.apply({**variables, **state}, images[:1], PATH, train=False)
    np.testing.assert_allclose(first, logits[:1], atol=1e-12)


def test_initial_variances(rng):
    images = jnp.zeros((2, 8, 8, 3))
    for fan, units in (("fan_in", 64), ("fan_out", 128)):
        net = CellNetwork(NAS_BENCH_201, Macro(channels=64, cells=1, stages=2), fan)
        weights = net.init(jax.random.key(0), images, PATH)["params"]["stage1.reduction.first.conv.kernel"]
        assert weights.shape == (3, 3, 64, 128)
        np.testing.assert_allclose(weights.var(), 2 / (9 * units), rtol=0.02)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", list(OPERATORS))
def test_every_operator_in_both_readings(rng, name, stride):
    from tenas_jax.infinite import KernelReading, _field
    from tenas_jax.kernels import Batch, Settings, input_kernels

    x = jnp.asarray(rng.normal(size=(3, 4, 4, 4)))
    out = OPERATORS[name](FeatureReading(None), name, x, 4, stride)
    assert out.shape == (3, 4 // stride, 4 // stride, 4)
    batch = Batch.of(3)
    read = KernelReading(batch, Settings())
    (field,) = read.cell_inputs([_field(input_kernels(x, batch), 4, 4)])
    kernels = read._realise(OPERATORS[name](read, name, field, 4, stride))
    assert kernels.shape[2:] == (6, (4 // stride) ** 2, (4 // stride) ** 2)
    assert np.isfinite(kernels).all()
