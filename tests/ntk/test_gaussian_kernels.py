"""The analytic NTK by second routes: neural-tangents, Monte-Carlo draws, wide finite networks."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.errors import InputError
from tenas_jax.networks.feature_reading import FeatureReading
from tenas_jax.ntk import neural_tangents as _neural_tangents
from tenas_jax.ntk.analytic import analytic_ntk
from tenas_jax.ntk.gaussian_batch_norm import normalise
from tenas_jax.ntk.gaussian_kernels import Batch, Kernels, Settings, input_kernels, relu_kernels, square, window_means
from tenas_jax.ntk.gaussian_maps import gaussian_field
from tenas_jax.ntk.kernel_reading import KernelReading
from tenas_jax.ntk.spectrum import condition_number
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.operators import EPSILON
from tenas_jax.spaces.skeleton import Skeleton

SINGLE = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
POOLS = "|avg_pool_3x3~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
ONE_STAGE = Skeleton(channels=16, cells=1, stages=1)


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(5, 4, 4, 3)))


def full(kernels):
    """(images, images) kernels of the only group and position."""
    return kernels.nngp[0, 0, 0], kernels.ntk[0, 0, 0]


def start(images):
    return Batch.of(len(images)), gaussian_field(
        input_kernels(images, Batch.of(len(images))), images.shape[1], images.shape[-1]
    )


@pytest.mark.parametrize("parametrisation", ["ntk", "standard"])
def test_equals_neural_tangents_without_batch_norm(images, parametrisation):
    stax = _neural_tangents.load().stax
    # In the standard parametrisation neural-tangents takes widths from the layers, and one W_std for weights.
    layers = []
    for width, kernel, gain in ((6, 3, 1.0), (7, 3, 2.0), (9, 1, 2.0)):
        if gain == 2.0:
            layers.append(stax.Relu())
        layers.append(
            stax.Conv(
                width, (kernel, kernel), padding="SAME", W_std=gain**0.5, b_std=None, parameterization=parametrisation
            )
        )
    layers += [
        stax.Relu(),
        stax.GlobalAvgPool(),
        stax.Dense(1, W_std=1.0, b_std=None, parameterization=parametrisation),
    ]
    theirs = stax.serial(*layers)[2](images, None, ("nngp", "ntk"))

    batch, x = start(images)
    read = KernelReading(batch, Settings(parametrisation=parametrisation))
    x = read.convolution("", x, 6, kernel=3)
    x = read.convolution("", read.relu(x), 7, kernel=3)
    x = read.convolution("", read.relu(x), 9, kernel=1)
    nngp, ntk = full(read.head("", read.relu(x), 1).fresh)
    pairs = batch.first, batch.second
    np.testing.assert_allclose(nngp, theirs.nngp[pairs], rtol=1e-6)
    scale = ntk / theirs.ntk[pairs]
    np.testing.assert_allclose(scale / scale[0], 1, rtol=1e-6)  # the standard form is defined up to one constant


def test_correlated_skips_add_amplitudes(images):
    batch, x = start(images)
    read = KernelReading(batch, Settings())
    (x,) = read.cell_inputs([x])
    chain = read.add([x, x])
    np.testing.assert_allclose(read._realise(chain), read._realise(x).map(lambda kernel: 4 * kernel), rtol=1e-12)


def test_skip_plus_pool_against_drawn_fields(images, rng):
    batch, x = start(images)
    read = KernelReading(batch, Settings())
    (x,) = read.cell_inputs([read.convolution("", x, 4, kernel=3)])
    value = read.add([x, read.average_pool(x, window=3, stride=1, padding=1)])
    drawn = draws(square(read._realise(x).nngp[0], batch), rng, 40_000).reshape(-1, 4, 4, 1)
    pooled = FeatureReading(None).average_pool(jnp.asarray(drawn), window=3, stride=1, padding=1)
    sums = np.asarray(drawn + pooled).reshape(40_000, -1)
    assert_within(square(read._realise(value).nngp[0], batch), sums, sums)


def draws(covariance, rng, number):
    """(number, size) of a centred Gaussian."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return rng.normal(size=(number, len(vectors))) @ (vectors * np.sqrt(np.maximum(eigenvalues, 0))).T


def assert_within(expected, first, second, errors=6.0):
    """The mean of products of samples agrees within standard errors."""
    mean = first.T @ second / len(first)
    variance = (first**2).T @ (second**2) / len(first) - mean**2
    np.testing.assert_array_less(np.abs(mean - expected), errors * np.sqrt(variance / len(first)) + 1e-12)


def random_kernels(images):
    """A field two layers deep, so that K and T are neither equal nor simple."""
    batch, x = start(images)
    read = KernelReading(batch, Settings())
    return batch, read.convolution("", read.relu(read.convolution("", x, 4, kernel=3)), 4, kernel=3).fresh


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "dilation"),
    [
        (4, 3, 2, 1),
        (5, 3, 2, 1),
        (4, 5, 2, 1),
        (5, 3, 2, 2),
        (6, 3, 3, 1),
        (2, 5, 2, 2),
        (3, 1, 2, 1),
        (4, 3, 1, 2),
        (1, 3, 2, 1),
    ],
)
def test_window_means_are_sums_over_taps(rng, side, kernel, stride, dilation):
    """Tap by tap and position by position; what lies beyond the border is zero."""
    values = rng.normal(size=(2, side**2, side**2, 3))
    field = values.reshape(2, side, side, side, side, 3)
    reach, out = dilation * (kernel - 1) // 2, -(-side // stride)
    offsets = range(-reach, reach + 1, dilation)
    expected = np.zeros((2, out, out, out, out, 3))
    for a, b, c, d in np.ndindex(out, out, out, out):
        for down, right in itertools.product(offsets, offsets):
            place = (a * stride + down, b * stride + right, c * stride + down, d * stride + right)
            if min(place) >= 0 and max(place) < side:
                expected[:, a, b, c, d] += field[(slice(None), *place)] / kernel**2
    found = window_means(Kernels(values, 2 * values), side, kernel, stride, dilation)
    np.testing.assert_allclose(found.nngp, expected.reshape(2, out**2, out**2, 3), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.ntk, 2 * found.nngp, rtol=1e-14)


def test_relu_against_drawn_fields(images, rng):
    batch, kernels = random_kernels(images)
    z, tangent = (draws(square(kernels[i][0], batch), rng, 40_000) for i in (0, 1))
    nngp, ntk = relu_kernels(kernels, batch)
    rectified, passed = np.maximum(z, 0), tangent * (z > 0)
    assert_within(square(nngp[0], batch), rectified, rectified)
    assert_within(square(ntk[0], batch), passed, passed)


@pytest.mark.parametrize("statistics", ["frozen", "mean-coupled", "coupled"])
def test_exact_batch_norm_against_drawn_channels(images, rng, statistics):
    """Every draw is a channel of an infinitely wide network; its tangent goes through the derivative of real batch norm."""
    batch, kernels = random_kernels(images)
    z, tangent = (jnp.asarray(draws(square(kernels[i][0], batch), rng, 40_000)) for i in (0, 1))

    def norm(z):
        mean, variance = z.mean(), jnp.square(z - z.mean()).mean()
        if statistics == "frozen":
            mean = jax.lax.stop_gradient(mean)
        if statistics != "coupled":
            variance = jax.lax.stop_gradient(variance)
        return (z - mean) * jax.lax.rsqrt(variance + EPSILON)

    output, passed = jax.vmap(lambda z, t: jax.jvp(norm, (z,), (t,)))(z, tangent)
    settings = Settings(batch_norm="exact", statistics=statistics)
    nngp, ntk = normalise(kernels, batch, settings)
    assert_within(square(nngp[0], batch), np.asarray(output), np.asarray(output))
    assert_within(square(ntk[0], batch), np.asarray(passed), np.asarray(passed))


def test_exact_batch_norm_has_unit_variance(images):
    batch, kernels = random_kernels(images)
    nngp = normalise(kernels, batch, Settings(batch_norm="exact")).nngp[0]
    assert abs(np.trace(square(nngp, batch)) / 80 - 1) < 1e-3


def test_max_pool_against_drawn_fields(images, rng):
    batch, x = start(images)
    read = KernelReading(batch, Settings())
    x = read.convolution("", x, 4, kernel=3)
    nngp = square(read.relu(read.max_pool(x, window=3, stride=1, padding=1)).fresh.nngp[0], batch)
    drawn = jnp.asarray(draws(square(x.fresh.nngp[0], batch), rng, 40_000).reshape(-1, 4, 4, 1))
    pooled = FeatureReading(None).max_pool(drawn, window=3, stride=1, padding=1)
    flat = np.maximum(np.asarray(pooled).reshape(40_000, -1), 0)
    expected = flat.T @ flat / len(flat)
    assert np.linalg.norm(nngp - expected) / np.linalg.norm(expected) < 0.1  # the error of 1024 channels


def kernel_of(mask, images):
    return np.asarray(analytic_ntk(NAS_BENCH_201, mask, images, skeleton=ONE_STAGE))


def test_structure(images):
    mask = NAS_BENCH_201.parse(SINGLE)
    kernel = kernel_of(mask, images)
    np.testing.assert_array_equal(kernel, kernel.T)
    assert np.linalg.eigvalsh(kernel).min() > 0
    order = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(kernel_of(mask, images[order]), kernel[np.ix_(order, order)], rtol=1e-9)
    np.testing.assert_array_equal(kernel_of(mask, images), kernel)
    single = kernel_of(mask, images.astype(jnp.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, kernel, rtol=1e-4)


def test_one_program_for_all_masks(images):
    masks = np.stack([NAS_BENCH_201.parse(SINGLE), NAS_BENCH_201.parse(POOLS), NAS_BENCH_201.supernet()])
    program = MaskProgram(lambda mask, x: analytic_ntk(NAS_BENCH_201, mask, x, skeleton=ONE_STAGE))
    looped = program(masks, images)
    program(masks[:2], images)
    assert program.compilations == 1
    batched = jax.jit(jax.vmap(lambda mask: analytic_ntk(NAS_BENCH_201, mask, images, skeleton=ONE_STAGE)))(masks)
    static = [kernel_of(mask, images) for mask in masks[::2]]
    np.testing.assert_allclose(looped[::2], static, rtol=1e-9)
    np.testing.assert_allclose(looped, batched, rtol=1e-9)


def test_health(images):
    none = NAS_BENCH_201.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    assert condition_number(kernel_of(none, images)) == (np.inf, "rank-deficient")
    twins = images.at[1].set(images[0])
    single = NAS_BENCH_201.parse(SINGLE)
    assert condition_number(kernel_of(single, twins)) == (np.inf, "rank-deficient")
    # Of the default size.
    assert condition_number(analytic_ntk(NAS_BENCH_201, single, images)).health == "full rank"


def test_bad_input(images):
    mask = NAS_BENCH_201.parse(SINGLE)
    with pytest.raises(InputError, match="at least 2"):
        analytic_ntk(NAS_BENCH_201, mask, images[:1])
    with pytest.raises(InputError, match="floating-point"):
        analytic_ntk(NAS_BENCH_201, mask, jnp.zeros((5, 4, 4, 3), int))
    with pytest.raises(InputError, match="multiple of 4"):
        analytic_ntk(NAS_BENCH_201, mask, images[:, :2, :2])
    with pytest.raises(InputError, match="edge 3 of cell 0 has none"):
        analytic_ntk(NAS_BENCH_201, mask & (np.arange(6) != 3)[None, :, None], images)
    with pytest.raises(InputError, match="exact"):
        analytic_ntk(NAS_BENCH_201, mask, images, settings=Settings(statistics="coupled"))
