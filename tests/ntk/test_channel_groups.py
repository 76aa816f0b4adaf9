"""Concatenated parts count by their channels: one branch written as several is still the same branch."""

import jax.numpy as jnp
import numpy as np
import pytest

from common.finite_twin import draw_kernels, limit_kernel
from tenas_jax import SearchSpace, analytic_ntk
from tenas_jax.errors import NotAnalyticError
from tenas_jax.ntk.analytic import Settings
from tenas_jax.spaces.cell_graph import complete_edges
from tenas_jax.spaces.network import network
from tenas_jax.spaces.operators import relu_conv_bn, separable
from tenas_jax.spaces.skeleton import Skeleton


def branches(*parts):
    """An operator: convolutions of these kernels and channels side by side, each group normalised, then mixed again."""

    def operator(read, name, x, channels, stride):
        x = read.relu(x)
        maps = [
            read.convolution(f"{name}.{number}", x, count * channels // 12, kernel=kernel, stride=stride)
            for number, (kernel, count) in enumerate(parts)
        ]
        joined = read.batch_norm(f"{name}.norm", read.concatenate(maps))
        return separable(read, f"{name}.mix", joined, channels, 1, kernel=3)

    return operator


def kernel(images, *operators, channels=12, **settings):
    """Of a cell whose edge holds all of these operators."""
    names = tuple(f"own_{number}" for number in range(len(operators)))
    space = SearchSpace(
        name="own",
        operators=("none", *names),
        edges=complete_edges(1, 2),
        definitions=dict(zip(names, operators, strict=True)),
    )
    mask = np.ones(space.mask_shape, bool)
    mask[..., 0] = False
    skeleton = Skeleton(channels=channels, cells=1, stages=1)
    return np.asarray(analytic_ntk(space, mask, images, skeleton=skeleton, settings=Settings(**settings)))


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(4, 4, 4, 3)))


@pytest.mark.parametrize(
    ("whole", "parts", "settings"),
    [
        ([(3, 9), (1, 3)], [(3, 3), (3, 3), (3, 3), (1, 3)], {}),
        ([(3, 9), (1, 3)], [(3, 3), (3, 3), (3, 3), (1, 3)], {"parametrisation": "standard"}),
        ([(3, 4), (1, 8)], [(3, 4), (1, 3), (1, 5)], {"batch_norm": "none"}),
        ([(3, 12)], [(3, 5), (3, 7)], {}),
    ],
)
def test_a_branch_in_parts_is_the_branch(images, whole, parts, settings):
    expected = kernel(images, branches(*whole), **settings)
    np.testing.assert_allclose(kernel(images, branches(*parts), **settings), expected, rtol=1e-9)
    # What the branches are made of matters: weighed equally they would have been another kernel.
    equal = [(size, 12 // len(whole)) for size, _ in whole]
    assert len(whole) == 1 or np.abs(kernel(images, branches(*equal), **settings) / expected - 1).max() > 1e-3


def test_groups_of_different_numbers_are_added_channel_by_channel(images):
    """Two parts and three parts on one edge: the first of two lies over one and a half of three."""
    halves, thirds = [(3, 6), (1, 6)], [(1, 4), (3, 4), (5, 4)]
    sixths = [(3, 2)] * 3 + [(1, 2)] * 3, [(1, 2)] * 2 + [(3, 2)] * 2 + [(5, 2)] * 2
    expected = kernel(images, *(branches(*parts) for parts in sixths))
    np.testing.assert_allclose(kernel(images, branches(*halves), branches(*thirds)), expected, rtol=1e-9)


def nested(read, name, x, channels, stride):
    """A concatenation in a concatenation: of twelve channels 4 are (3, 1) and 8 are (1, 7)."""
    x = read.relu(x)

    def convolution(part, kernel, count):
        return read.convolution(f"{name}.{part}", x, count * channels // 12, kernel=kernel, stride=stride)

    first = read.concatenate([convolution("a", 3, 3), convolution("b", 1, 1)])
    second = read.concatenate([convolution("c", 5, 1), convolution("d", 3, 7)])
    joined = read.batch_norm(f"{name}.norm", read.concatenate([first, second]))
    return separable(read, f"{name}.mix", joined, channels, 1, kernel=3)


def test_concatenations_of_concatenations(images):
    flat = branches((3, 3), (1, 1), (5, 1), (3, 7))
    np.testing.assert_allclose(kernel(images, nested), kernel(images, flat), rtol=1e-9)


def test_a_truncated_convolution_is_a_narrower_one(images):
    def widened(truncates):
        def operator(read, name, x, channels, stride):
            wide = relu_conv_bn(read, f"{name}.wide", x, channels * (1 + truncates), stride, kernel=3)
            narrow = read.truncate(wide, channels) if truncates else wide
            return separable(read, f"{name}.mix", narrow, channels, 1, kernel=3)

        return operator

    found, expected = (kernel(images, widened(t), parametrisation="standard") for t in (True, False))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_part_of_a_concatenation_is_refused(images):
    def first_half(read, name, x, channels, stride):
        parts = [relu_conv_bn(read, f"{name}.{k}", x, channels, stride, kernel=k) for k in (1, 3)]
        return read.truncate(read.concatenate(parts), channels)

    with pytest.raises(NotAnalyticError, match="some of the channels of a concatenation"):
        kernel(images, first_half)


def test_parts_that_have_no_size_in_common_are_refused(images):
    with pytest.raises(NotAnalyticError, match=r"parts of 49, 151 channels make more than 64 groups of one size"):
        kernel(images, lambda read, name, x, channels, stride: read.concatenate(
            [relu_conv_bn(read, f"{name}.{c}", x, c, stride, kernel=1) for c in (49, 151)]), channels=200)  # fmt: skip


@pytest.mark.slow
def test_wide_networks_with_unequal_parts_converge_to_it(images):
    """The second route: finite networks with a quarter of their channels in one branch."""
    space = SearchSpace(
        name="own", operators=("none", "own"), edges=complete_edges(1, 2), definitions={"own": branches((3, 9), (1, 3))}
    )
    mask = space.one_hot(np.ones((1, 1), int))

    def build(read, images, width):
        return network(read, space, mask, images, Skeleton(channels=width, cells=1, stages=1, classes=1))

    limit, width, draws = limit_kernel(build, images), 96, 16
    drawn = draw_kernels(build, images, width, draws)
    noise = drawn.std(0, ddof=1) / draws**0.5
    assert (np.abs(drawn.mean(0) - limit) < 4 * noise + np.abs(limit).max() / width).all()
