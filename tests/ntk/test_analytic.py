"""The analytic NTK against wide finite networks, operator by operator, against real batch norm, and neural-tangents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXTENSIVE

import tenas_jax
from common.finite_twin import (
    cell_network,
    chain_network,
    draw_kernels,
    genotype_network,
    limit_kernel,
    operator_network,
    residual_network,
)
from tenas_jax.data import image_batch, open_images
from tenas_jax.errors import InputError
from tenas_jax.ntk import neural_tangents as _neural_tangents
from tenas_jax.ntk.analytic import analytic_ntk
from tenas_jax.ntk.gaussian_kernels import Batch, Settings, input_kernels
from tenas_jax.ntk.gaussian_maps import gaussian_field
from tenas_jax.ntk.kernel_reading import KernelReading
from tenas_jax.ntk.spectrum import condition_number
from tenas_jax.program_cache import PROGRAMS
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace

SEEDS = 24
# A skip beside a pool, convolutions of both sizes, one behind a pool: paths of one, two and three edges.
MIXED = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|skip_connect~1|nor_conv_3x3~2|"


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(5, 4, 4, 3)))


@pytest.fixture
def photographs():
    """Images with the spectrum of photographs, whose pixels and images are strongly correlated."""
    return image_batch(jax.random.key(0), open_images(), 5, side=4).astype(jnp.float64)


def darts_mask():
    """A genotype with every operator but max pooling, in a normal and a reduction cell."""
    operators = iter(["sep_conv_3x3", "skip_connect", "dil_conv_3x3", "avg_pool_3x3"] * 4)
    mask = np.zeros(DARTS.mask_shape, bool)
    for cell in range(2):
        for edge, (source, target) in enumerate(DARTS.edges):
            kept = source in (0, target - 1) if target > 2 else True
            mask[cell, edge, DARTS.operators.index(next(operators) if kept else "none")] = True
    assert DARTS.choice(mask).astype(bool).sum() == 16
    return mask


def relative(difference, limit):
    return np.linalg.norm(difference, axis=(-2, -1)) / np.linalg.norm(limit)


def log_condition(kernel):
    return np.log(np.linalg.cond(kernel))


def assert_mean_is(limit, drawn, width):
    """Up to the noise of the seeds, entry by entry and as a whole, and to a bias that falls like 1 / width."""
    difference = drawn.mean(0) - limit
    error = drawn.std(0, ddof=1) / len(drawn) ** 0.5
    assert (np.abs(difference) < 4 * error + np.abs(limit).max() / width).all()
    assert relative(difference, limit) < 2.5 * relative(drawn - limit, limit).mean() / len(drawn) ** 0.5 + 1 / width


def assert_converges(build, images, settings=Settings()):
    errors = []
    for width in (16, 64):
        limit = limit_kernel(build, images, settings, width)
        drawn = draw_kernels(build, images, width, SEEDS, settings)
        assert_mean_is(limit, drawn, width)
        errors.append(relative(drawn - limit, limit).mean())
    # 1 / sqrt(width) would be a half.
    assert errors[1] < 0.65 * errors[0]


def assert_mean_converges(build, images, settings, width=64):
    """One width and many seeds: a program takes seconds to compile and milliseconds to draw."""
    assert_mean_is(
        limit_kernel(build, images, settings, width), draw_kernels(build, images, width, 4 * SEEDS, settings), width
    )


# Every kind of operator; its other kernel size differs in nothing but that.
CASES = [
    ("skip_connect", 2),
    ("nor_conv_1x1", 1),
    ("nor_conv_3x3", 2),
    ("sep_conv_3x3", 2),
    ("dil_conv_5x5", 2),
    ("avg_pool_3x3", 2),
    ("max_pool_3x3", 1),
    ("max_pool_3x3", 2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("operator", "stride"), CASES)
def test_wide_operators_converge_to_it(images, operator, stride):
    """Maxima are drawn in the limit too: with an error of their own, that many seeds would see."""
    is_drawn = operator.startswith("max_pool")
    (assert_converges if is_drawn else assert_mean_converges)(operator_network(operator, stride), images, Settings())


# Never compared otherwise: the standard parametrisation, and networks without batch norm in both.
OTHERS = [Settings("standard"), Settings("ntk", "none"), Settings("standard", "none")]


def in_other_limits(cases, few):
    """Every case in every other limit, of which a few run always."""
    return [
        pytest.param(
            *case,
            settings,
            marks=() if (*case, settings) in few else EXTENSIVE,
            id="-".join(map(str, (*case, *settings[:2]))),
        )
        for case in cases
        for settings in OTHERS
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operator", "stride", "settings"), in_other_limits(CASES[:6], [(*case, OTHERS[2]) for case in CASES[:6]])
)
def test_wide_operators_converge_in_the_other_limits(images, operator, stride, settings):
    assert_mean_converges(operator_network(operator, stride), images, settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "settings"),
    in_other_limits(
        [("cell",), ("residual",), ("stages",), ("darts",)],
        [*(("cell", settings) for settings in OTHERS), ("stages", OTHERS[0])],
    ),
)
def test_wide_networks_converge_in_the_other_limits(images, network, settings):
    """A cell of every kind of operator, a residual block, two stages with a reduction between, a genotype."""
    build = {
        "cell": cell_network(NAS_BENCH_201.parse(MIXED)),
        "residual": residual_network,
        "stages": cell_network(NAS_BENCH_201.parse(MIXED), stages=2),
        "darts": genotype_network(darts_mask()),
    }[network]
    assert_mean_converges(build, images, settings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_batch_norm_kernels_of_some_images_are_a_sub_matrix(images, dtype):
    """Bit for bit, so that one kernel serves any number of batches."""
    images, mask, settings = images.astype(dtype), NAS_BENCH_201.parse(MIXED), Settings("standard", "none")
    skeleton = Skeleton(channels=16, cells=1, stages=1)
    whole = np.asarray(analytic_ntk(NAS_BENCH_201, mask, images, skeleton=skeleton, settings=settings))
    for some in ([0, 1, 3, 4], [1, 3]):
        part = analytic_ntk(NAS_BENCH_201, mask, images[np.array(some)], skeleton=skeleton, settings=settings)
        np.testing.assert_array_equal(part, whole[np.ix_(some, some)])


def test_with_batch_norm_images_depend_on_each_other(images):
    limits = [limit_kernel(chain_network(1), batch) for batch in (images, images[:3])]
    assert relative(limits[1] - limits[0][:3, :3], limits[0][:3, :3]) > 1e-3


def paths(mask):
    """The operators of every path from the input to the output of a cell, found by going along them."""
    cell, names = mask[0].argmax(-1), NAS_BENCH_201.operators
    leaving = {}
    for (source, target), operator in zip(NAS_BENCH_201.edges, cell, strict=True):
        if names[operator] != "none":
            leaving.setdefault(source, []).append((target, names[operator]))

    def from_node(node):
        if node == NAS_BENCH_201.edges[-1][1]:
            yield []
        for target, operator in leaving.get(node, []):
            yield from ([operator, *rest] for rest in from_node(target))

    return list(from_node(0))


@pytest.mark.parametrize("parametrisation", ["ntk", "standard"])
def test_the_diagonal_without_batch_norm_counts_convolutions_over_paths(rng, parametrisation):
    """The formula of `docs/analytic_ntk.md` on images of one pixel, where of nine taps of a 3x3 kernel one sees it."""
    images, channels = jnp.asarray(rng.normal(size=(2, 1, 1, 3))), 16
    convolutions = [NAS_BENCH_201.operators.index(name) for name in ("none", "nor_conv_1x1", "nor_conv_3x3")]
    masks = NAS_BENCH_201.one_hot(rng.choice(convolutions, size=(12, 1, 6)))
    skeleton = Skeleton(channels=channels, cells=1, stages=1)
    taps = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}

    def gradient(fan_in, gain):
        return 1 if parametrisation == "ntk" else fan_in / gain

    variances = (np.asarray(images) ** 2).mean((1, 2, 3)) / 9  # behind the stem
    begun = gradient(27, 1) * variances
    connected = [mask for mask in masks if paths(mask)]
    assert len(connected) > 6
    settings = Settings(parametrisation, "none")
    kernel_of = jax.jit(lambda mask: analytic_ntk(NAS_BENCH_201, mask, images, skeleton=skeleton, settings=settings))
    for mask in connected:
        nngp = sum(np.prod([1 / taps[o] for o in path]) * variances for path in paths(mask))
        ntk = sum(
            np.prod([1 / taps[o] for o in path])
            * (begun + variances * sum(gradient(taps[o] * channels, 2) for o in path))
            for path in paths(mask)
        )
        output = ntk / 2 + gradient(channels, 1) * nngp / 2  # a ReLU, and the head
        np.testing.assert_allclose(np.diag(kernel_of(mask)), output, rtol=1e-10)


@pytest.mark.slow
def test_wide_residual_blocks_converge_to_it(images):
    assert_converges(residual_network, images)


POOLS = "|avg_pool_3x3~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["single", "pools", "half-pruned"])
def test_wide_cells_converge_to_it(images, rng, cell):
    """In half-pruned cells edges with two or three operators share their sources."""
    half_pruned = NAS_BENCH_201.supernet() & (rng.random(NAS_BENCH_201.mask_shape) < 0.6)
    half_pruned[..., NAS_BENCH_201.operators.index("skip_connect")] = True
    assert 12 <= half_pruned.sum() <= 20
    parse = NAS_BENCH_201.parse
    mask = {"single": parse(MIXED), "pools": parse(POOLS), "half-pruned": half_pruned}[cell]
    assert_mean_converges(cell_network(mask), images, Settings())


@pytest.mark.slow
def test_wide_darts_networks_converge_to_it(images):
    """Channel groups, preprocessing."""
    assert_mean_converges(genotype_network(darts_mask()), images, Settings())


@pytest.mark.slow
def test_frozen_statistics_of_the_mean_field_form(photographs):
    """With correlated images the gradient through the mean matters most."""
    build = chain_network(2)
    assert_converges(build, photographs, Settings(statistics="frozen"))
    frozen, coupled = (limit_kernel(build, photographs, Settings(statistics=s)) for s in ("frozen", "mean-coupled"))
    assert relative(frozen - coupled, coupled) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("statistics", ["frozen", "mean-coupled", "coupled"])
def test_exact_form_is_the_limit_of_real_batch_norm(photographs, statistics):
    """No ReLU comes behind the batch norm, so that nothing is approximated."""
    assert_converges(chain_network(1, relu=False), photographs, Settings("ntk", "exact", statistics))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(("statistics", "least", "most"), [("mean-coupled", 0, 0.05), ("coupled", 0.05, 0.2)])
def test_exact_form_behind_relus(photographs, depth, statistics, least, most):
    """Real batch norm's output is not Gaussian at the ReLU behind it: what taking it as such costs, in a band."""
    settings = Settings("ntk", "exact", statistics)
    build = chain_network(depth)
    limit = limit_kernel(build, photographs, settings)
    mean = draw_kernels(build, photographs, 128, SEEDS, settings).mean(0)
    assert least <= relative(mean - limit, limit) < most
    assert abs(log_condition(mean) - log_condition(limit)) < (0.1 if statistics == "mean-coupled" else 0.35)


@pytest.mark.slow
def test_gap_between_mean_field_and_real_batch_norm(images, photographs):
    """Small on noise images; on photographs it moves the log condition number, and the exact form closes it."""
    build = chain_network(2)
    gaps = {}
    for name, batch in (("noise", images), ("photographs", photographs)):
        real = draw_kernels(build, batch, 128, SEEDS, Settings("ntk", "exact")).mean(0)
        for form in ("exact", "mean-field"):
            limit = limit_kernel(build, batch, Settings("ntk", form))
            gaps[name, form] = log_condition(limit) - log_condition(real)
    assert abs(gaps["noise", "mean-field"]) < 0.2
    assert 0.2 < gaps["photographs", "mean-field"] < 0.6
    assert abs(gaps["photographs", "exact"]) < 0.1


@pytest.mark.parametrize("parametrisation", ["ntk", "standard"])
def test_strides_and_pools_equal_neural_tangents(rng, parametrisation):
    """On odd sides, where "SAME" padding is the same on both sides, as ours is."""
    stax = _neural_tangents.load().stax
    images = jnp.asarray(rng.normal(size=(3, 5, 5, 2)))

    def conv(width, kernel, stride, gain):
        return stax.Conv(
            width,
            (kernel, kernel),
            (stride, stride),
            padding="SAME",
            W_std=gain**0.5,
            b_std=None,
            parameterization=parametrisation,
        )

    theirs = stax.serial(
        conv(4, 3, 2, 1.0),
        stax.Relu(),
        stax.AvgPool((3, 3), (1, 1), "SAME", normalize_edges=True),
        conv(6, 5, 1, 2.0),
        stax.Relu(),
        stax.AvgPool((3, 3), (2, 2), "SAME", normalize_edges=True),
        conv(5, 3, 1, 2.0),
        stax.Relu(),
        stax.GlobalAvgPool(),
        stax.Dense(1, W_std=1.0, b_std=None, parameterization=parametrisation),
    )[2](images, None, ("nngp", "ntk"))

    batch = Batch.of(3)
    read = KernelReading(batch, Settings(parametrisation=parametrisation))
    x = read.convolution("", gaussian_field(input_kernels(images, batch), 5, 2), 4, kernel=3, stride=2)
    x = read.average_pool(read.relu(x), window=3, stride=1, padding=1)
    x = read.relu(read.convolution("", x, 6, kernel=5))
    x = read.convolution("", read.average_pool(x, window=3, stride=2, padding=1), 5, kernel=3)
    nngp, ntk = (kernel[0, 0, 0] for kernel in read.head("", read.relu(x), 1).fresh)
    pairs = batch.first, batch.second
    np.testing.assert_allclose(nngp, theirs.nngp[pairs], rtol=1e-6)
    scale = ntk / theirs.ntk[pairs]
    np.testing.assert_allclose(scale / scale[0], 1, rtol=1e-6)  # the standard form is defined up to one constant


def test_dilation_is_a_convolution_on_interleaved_grids(rng):
    """A dilated 3x3 convolution at position p sees the grid of every second pixel through p, which lies around it."""
    images = jnp.asarray(rng.normal(size=(3, 6, 6, 2)))
    batch = Batch.of(3)
    read = KernelReading(batch, Settings())
    dilated = read.convolution("", gaussian_field(input_kernels(images, batch), 6, 2), 4, kernel=3, dilation=2).fresh
    grid = read.convolution("", gaussian_field(input_kernels(images[:, 1::2, ::2], batch), 3, 2), 4, kernel=3).fresh
    inside = np.arange(36).reshape(6, 6)[1::2, ::2].reshape(-1)
    for sparse, dense in zip(dilated, grid, strict=True):
        np.testing.assert_allclose(sparse[:, inside[:, None], inside], dense, rtol=1e-12)


@pytest.mark.slow
def test_darts_without_max_pooling_is_in_closed_form(rng):
    """No channel is drawn: symmetric, positive definite, and moved with the order of the images to the last digits."""
    images = jnp.asarray(rng.normal(size=(4, 4, 4, 3)))
    mask = darts_mask()
    program = jax.jit(lambda images: analytic_ntk(DARTS, mask, images))
    kernel = np.asarray(program(images))
    np.testing.assert_array_equal(kernel, kernel.T)
    assert np.linalg.eigvalsh(kernel).min() > 0
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(program(images[order]), kernel[np.ix_(order, order)], rtol=1e-9)


def test_dead_max_pooling_draws_no_channels(images):
    """With a weight of zero that is only known at run time, kernels are the closed form's to the bit."""
    batch = Batch.of(5)
    read = KernelReading(batch, Settings())
    (x,) = read.cell_inputs([gaussian_field(input_kernels(images, batch), 4, 3)])

    @jax.jit
    def kernels(weights):
        pooled, same = read.edges(
            x,
            weights,
            [lambda _, x: read.max_pool(x, window=3, stride=1, padding=1), lambda _, x: x],
            ["", ""],
        )
        return read._realise(read.add([pooled, same])), read.relu(read.add([pooled, same])).fresh

    alive, dead = (kernels(jnp.asarray([[weight, 1.0], [0.0, 1.0]])) for weight in (1.0, 0.0))
    closed = read.add([x, x])
    for some, none, plain in zip(alive, dead, (read._realise(closed), read.relu(closed).fresh), strict=True):
        np.testing.assert_allclose(none, plain, rtol=1e-9, atol=1e-12)
        assert relative(np.subtract(some, none), none).max() > 0.01


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_norm", ["mean-field", "exact"])
@pytest.mark.parametrize("equal", [2, 4])
def test_equal_images_are_no_full_rank(dtype, batch_norm, equal, rng):
    """A correlation of 1 comes out of rounding as one below 1; equal images have equal rows all the same."""
    images = rng.normal(size=(4, 4, 4, 3)).astype(dtype)
    distinct = analytic_ntk_of(images, batch_norm)
    images[:equal] = images[0]
    kernel = analytic_ntk_of(images, batch_norm)
    assert condition_number(distinct).health == "full rank"
    assert condition_number(kernel) == (np.inf, "rank-deficient")
    np.testing.assert_array_equal(kernel[0], kernel[1])


def analytic_ntk_of(images, batch_norm):
    mask = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|")
    skeleton = NAS_BENCH_201.skeleton("ntk")._replace(channels=16, cells=1, stages=1)
    settings = Settings(batch_norm=batch_norm)
    return np.asarray(analytic_ntk(NAS_BENCH_201, mask, list(images), skeleton=skeleton, settings=settings))


def test_plain_calls_of_the_analytic_kernel_are_kept(images):
    """Masks of NumPy each have a program, masks of JAX share one; all are the same kernel."""
    space = SearchSpace(name="one_edge", operators=("skip_connect", "nor_conv_1x1"), edges=((0, 1),))
    masks = [space.one_hot(np.full((1, 1), operator)) for operator in (0, 1)]
    skeleton = Skeleton(channels=16, cells=1, stages=1)
    tenas_jax.clear_cache()
    for turn in range(2):
        plain = [analytic_ntk(space, mask, images, skeleton=skeleton) for mask in masks]
        assert len(PROGRAMS) == 2 + turn
        data = [analytic_ntk(space, jnp.asarray(mask), images, skeleton=skeleton) for mask in masks]
        assert len(PROGRAMS) == 3
        np.testing.assert_allclose(plain, data, rtol=1e-10)
    with pytest.raises(InputError, match=r"`images` must be one array.*; it is dict"):
        analytic_ntk(space, masks[0], {"x": images})  # pyright: ignore
