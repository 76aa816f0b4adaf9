"""Sizes and counts of live operators, against every path followed by hand."""

import itertools

import jax
import numpy as np
import pytest

from tenas_jax import DARTS, NAS_BENCH_201, SearchSpace
from tenas_jax.networks import cost
from tenas_jax.networks.yardsticks import live_operators, yardsticks
from tenas_jax.spaces.cell_graph import complete_edges
from tenas_jax.spaces.operators import relu_conv_bn
from tenas_jax.spaces.skeleton import Skeleton


def _conv_5x5(read, name, x, channels, stride):
    return relu_conv_bn(
        read, name, relu_conv_bn(read, f"{name}.first", x, channels, stride, kernel=5), channels, 1, kernel=1
    )


OWN = SearchSpace(
    name="own",
    operators=("conv_5x5", "none", "skip_connect"),
    edges=complete_edges(1, 4),
    definitions={"conv_5x5": _conv_5x5},
)
SPACES = [NAS_BENCH_201, DARTS, OWN]


def _paths(space, cell):
    """All paths of (edge, operator) through a cell from an input to an output, found one step after another."""
    outputs = {space.nodes - 1} if space.inputs == 1 else set(range(space.inputs, space.nodes))
    found, waiting = [], [(node, ()) for node in range(space.inputs)]
    while waiting:
        node, path = waiting.pop()
        if node in outputs and path:
            found.append(path)
        for (edge, (source, target)), operator in itertools.product(
            enumerate(space.edges), range(len(space.operators))
        ):
            if source == node and cell[edge, operator] and space.operators[operator] != "none":
                waiting.append((target, (*path, (edge, operator))))
    return found


def _masks(space, n=25):
    rng = np.random.default_rng(0)
    several = space.supernet() & (rng.random((n, *space.mask_shape)) < 0.3)
    return np.concatenate([space.sample(jax.random.key(1), n), several, space.supernet()[None]])


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_yardsticks_are_those_of_all_paths(space):
    masks = _masks(space)
    found, live = yardsticks(space, masks), live_operators(space, masks)
    shares = cost.prices(space, space.skeleton("trained"), 32)[1]
    seen_dead = False
    for place, mask in enumerate(masks):
        by_cell = [_paths(space, cell) for cell in mask]
        connected = all(by_cell)
        expected = np.zeros(space.mask_shape, bool)
        counts = {"path_convolutions": 0, "path_spatial_convolutions": 0, "depth": 0}
        for cell, paths in enumerate(by_cell if connected else []):
            for path in paths:
                for edge, operator in path:
                    expected[cell, edge, operator] = True
                    counts["path_convolutions"] += shares.convolutions[cell, edge, operator]
                    counts["path_spatial_convolutions"] += shares.spatial_convolutions[cell, edge, operator]
            counts["depth"] += max(sum(shares.convolutions[(cell, *step)] for step in path) for path in paths)
        assert np.array_equal(live[place], expected)
        assert {name: getattr(found, name)[place] for name in counts} == counts
        assert found.live_convolutions[place] == shares.convolutions[expected].sum()
        assert found.live_spatial_convolutions[place] == shares.spatial_convolutions[expected].sum()
        whole = cost.costs(space, expected)
        assert found.live_parameters[place] == (whole.parameters if connected else 0)
        assert found.live_multiply_adds[place] == (whole.flops if connected else 0)
        seen_dead |= bool((mask & ~expected)[..., space.carriers].any())
    assert seen_dead or space.inputs > 1


def test_a_cell_without_a_path_makes_the_whole_network_dead():
    broken = DARTS.supernet()
    broken[1] = False
    broken[1, :, DARTS.none] = True
    assert not any(np.any(number) for number in yardsticks(DARTS, broken))
    assert not live_operators(DARTS, broken).any()


def test_convolutions_of_known_cells():
    """NAS-Bench-201's best cell has 5 convolutions, of them four 3x3, on paths of 1 + 2 + 2 + 3; 15 cells are trained."""
    best = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
    found = yardsticks(NAS_BENCH_201, NAS_BENCH_201.parse(best))
    # Paths: 0-3 skip; 0-1-3: 3x3, 1x1; 0-2-3: 3x3, 3x3; 0-1-2-3: 3x3 thrice.
    assert found.live_convolutions == 15 * 5
    assert found.path_convolutions == 15 * (2 + 2 + 3)
    assert found.path_spatial_convolutions == 15 * (1 + 2 + 3)
    assert found.depth == 15 * 3


def test_layers_of_operators():
    """A twice separable convolution is two depthwise and two pointwise ones; a skip that reduces is two of 1x1."""
    shares = cost.prices(DARTS, Skeleton(16, 2, stem_multiplier=3), 32)[1]
    operators = {name: place for place, name in enumerate(DARTS.operators)}
    counted = {
        name: (shares.convolutions[:, 0, place].tolist(), shares.spatial_convolutions[:, 0, place].tolist())
        for name, place in operators.items()
    }
    assert counted["sep_conv_5x5"] == ([4, 4], [2, 2])
    assert counted["dil_conv_3x3"] == ([2, 2], [1, 1])
    assert counted["skip_connect"] == ([0, 2], [0, 0])
    assert counted["max_pool_3x3"] == counted["none"] == ([0, 0], [0, 0])


def test_layers_of_a_custom_layer_are_counted_in_its_program():
    import flax.linen as nn

    class Squeeze(nn.Module):
        @nn.compact
        def __call__(self, x):
            gate = nn.sigmoid(nn.Dense(x.shape[-1])(x.mean((1, 2))))[:, None, None]
            return nn.Conv(x.shape[-1], (3, 3))(x) * gate + nn.Conv(x.shape[-1], (1, 1))(x)

    space = SearchSpace(
        name="gated",
        operators=("none", "gated"),
        edges=complete_edges(1, 3),
        definitions={"gated": lambda read, name, x, channels, stride: read.custom(name, x, Squeeze())},
    )
    shares = cost.prices(space, Skeleton(4, 1, stages=1), 8)[1]
    assert shares.convolutions[0, :, 1].tolist() == [3, 3, 3]
    assert shares.spatial_convolutions[0, :, 1].tolist() == [1, 1, 1]
