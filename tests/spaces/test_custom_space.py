"""Custom search spaces: what is refused, and everything that ours can do, by second routes."""

import json
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXTENSIVE, scored_by, shrink
from hypothesis import given, settings
from hypothesis import strategies as st

from tenas_jax import NAS_BENCH_201, SearchSpace, analytic_ntk, prune
from tenas_jax.data import open_images
from tenas_jax.errors import InputError, NotAnalyticError
from tenas_jax.networks import cost, operator_check
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.networks.finite_scan import ScannedNetwork
from tenas_jax.ntk.analytic import analytic_obstacle
from tenas_jax.rank import command as rank
from tenas_jax.scores.catalogue import chosen_scores, definitions_of, read_from_kernel
from tenas_jax.scores.indicators import indicator
from tenas_jax.scores.scorer import prepare
from tenas_jax.search import command as search
from tenas_jax.spaces.cell_graph import complete_edges
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.equal_cells import representatives
from tenas_jax.spaces.network import network
from tenas_jax.spaces.operators import OPERATORS, relu_conv_bn, separable
from tenas_jax.spaces.registry import find_space, identity_of
from tenas_jax.spaces.score import Kernel, of_kernel
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.stacking import cell as plain_cell
from tenas_jax.spaces.stacking import finish

ROOT = Path(__file__).parents[2]
from common.finite_twin import draw_kernels, limit_kernel  # noqa: E402

EXAMPLE = ROOT / "examples" / "own_space.py"
PAGE = (ROOT / "docs" / "own_space.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
INVERTED = find_space(f"{EXAMPLE}:SPACE")

# NAS-Bench-201 under other names, its operators in another order.
NAMES = {
    "skip_connect": "copy",
    "nor_conv_1x1": "point",
    "nor_conv_3x3": "square",
    "avg_pool_3x3": "mean",
    "none": "none",
}
RENAMED = replace(
    NAS_BENCH_201,
    name="renamed",
    operators=tuple(NAMES[name] for name in NAS_BENCH_201.operators),
    definitions={new: OPERATORS[old] for old, new in NAMES.items() if old != "none"},
)
ORDER = [3, 0, 4, 2, 1]
PERMUTED = replace(RENAMED, name="permuted", operators=tuple(RENAMED.operators[o] for o in ORDER))


class Gated(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x):
        gate = nn.sigmoid(nn.Dense(x.shape[-1])(x.mean((1, 2), keepdims=True)))
        return nn.Conv(self.channels, (3, 3), use_bias=False)(nn.gelu(x) * gate)


def gated(read, name, x, channels, stride):
    return read.batch_norm(f"{name}.norm", read.custom(f"{name}.layer", x, Gated(channels)))


def space_of(operator, name="own", **fields):
    """A space of three nodes with one operator of its own."""
    fields = {"operators": ("none", "skip_connect", "nor_conv_1x1", name), "edges": complete_edges(1, 3)} | fields
    return SearchSpace(name="tiny", definitions={name: operator}, **fields)


ONE_CELL = Skeleton(channels=4, cells=1, stages=1)
GATED = space_of(gated, "gated_conv")


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(5, 4, 4, 3)))


# --- the definition -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": "a/b"}, "`name` of a search space must be different names of letters"),
        ({"operators": ["none", "skip_connect"]}, "`operators` of a search space must be .* as a tuple"),
        ({"operators": ("skip_connect", "skip_connect")}, "must be different names"),
        (
            {"operators": ("none", "conv_7x7")},
            "operator 'conv_7x7' of tiny is unknown; define it, or take one of none,",
        ),
        ({"operators": ("none",)}, "must hold one that carries a signal"),
        ({"operators": ("skip_connect",), "kept_edges": 1}, 'where nodes keep some of their edges, "none"'),
        ({"definitions": {"none": OPERATORS["skip_connect"]}}, "'none' is one of the operators that there are"),
        ({"definitions": {"own": 3}}, "'own' is none"),
        ({"definitions": [gated]}, "`definitions` of tiny must be a dict"),
        ({"inputs": 0}, "`inputs` of tiny must be a whole number from 1; it is 0"),
        ({"kept_edges": 0}, "`kept_edges` of tiny must be None or a whole number from 1"),
        ({"edges": ()}, "must be a tuple of \\(source, target\\) pairs"),
        ({"edges": ((0, 1.0),)}, "must be a tuple of \\(source, target\\) pairs"),
        ({"edges": ((1, 0),)}, "must lead to a later node that is no input; \\(1, 0\\) does not"),
        ({"edges": ((0, 2), (0, 1), (1, 2))}, "sorted by target"),
        ({"edges": ((0, 1), (0, 1))}, "must be different"),
        ({"edges": ((0, 1), (1, 3), (0, 3))}, "sorted by target, then by source"),
        ({"edges": ((0, 1), (0, 3), (1, 3))}, "no edge of tiny enters node 2"),
        ({"edges": ((0, 1), (0, 2))}, "no edge of tiny leaves node 1"),
        ({"cells": ("a", "b")}, "tiny has 2 with 1"),
        ({"inputs": 3, "edges": complete_edges(3, 4)}, "tiny has 1 with 3"),
        ({"network": "mine"}, "`network` of tiny must be a function or None"),
        ({"skeletons": {"ntk": 3}}, "'ntk' is wrong"),
        ({"skeletons": {"training": Skeleton(1, 1)}}, "'training' is wrong"),
    ],
)
def test_what_is_no_space_is_refused(fields, complaint):
    good = {"name": "tiny", "operators": ("none", "skip_connect"), "edges": complete_edges(1, 3)}
    SearchSpace(**good)
    with pytest.raises(InputError, match=complaint):
        SearchSpace(**(good | fields))


def stacked(read, space, weights, images, skeleton, cell=plain_cell):
    """A network of every kind of cell once."""
    x = read.batch_norm("stem.norm", read.convolution("stem", images, skeleton.channels, kernel=3))
    for kind, name in enumerate(space.cells):
        x = cell(read, space, name, weights[kind], [x] * space.inputs, skeleton.channels)[-1]
    return finish(read, x, skeleton)


@st.composite
def spaces(draw):
    inputs, nodes = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    edges = []
    for target in range(inputs, inputs + nodes):
        sources = draw(st.sets(st.integers(0, target - 1), min_size=1))
        # Every node of a cell with one input leads somewhere.
        edges += [(source, target) for source in sorted(sources | {target - 1})]
    return SearchSpace(
        name="drawn",
        operators=tuple(draw(st.permutations(sorted(OPERATORS)))),
        cells=tuple(f"cell-{n}" for n in range(draw(st.integers(1, 3)))),
        inputs=inputs,
        edges=tuple(edges),
        kept_edges=draw(st.none() | st.integers(1, 3)),
        network=stacked,
    )


@settings(max_examples=100, deadline=None)
@given(spaces(), st.integers(0, 2**31))
def test_architectures_of_any_space_round_trip(space, seed):
    masks = space.sample(jax.random.key(seed), 3)
    for mask in masks:
        text = space.format(mask)
        np.testing.assert_array_equal(space.parse(text), mask)
        assert all(f"{cell}:" in text for cell in space.cells) or len(space.cells) == 1
        if space.kept_edges:
            mask = mask.copy()
            for target in {target for _, target in space.edges}:
                entering = [e for e, (_, end) in enumerate(space.edges) if end == target]
                mask[-1, entering] = space.one_hot(np.array(space.operators.index("none")))
            with pytest.raises(InputError, match="input edges at node"):
                space.format(mask)
    assert pickle.loads(pickle.dumps(space)) == space
    assert hash(space) == hash(replace(space))


def test_a_space_too_large_to_list_is_sampled(tmp_path):
    large = replace(NAS_BENCH_201, name="large", edges=complete_edges(1, 7))
    with pytest.raises(InputError, match="large is too large to enumerate"):
        next(large.enumerate())
    from tenas_jax.rank.architectures import choose

    assert choose(large, "20", jax.random.key(0)).masks.shape == (20, 1, 21, 5)


def test_as_many_architectures_as_are_asked_for(rng):
    """Where nodes keep some of their edges only, and one choice of operators stands for few architectures."""
    from tenas_jax.rank.architectures import choose

    space = SearchSpace(
        name="topology", operators=("none", "skip_connect"), edges=complete_edges(2, 4), inputs=2, kept_edges=2,
        network=stacked,
    )  # fmt: skip
    everything = space.enumerated()
    for count in (1, len(everything) // 2, len(everything)):
        found = choose(space, str(count), jax.random.key(3))
        assert len(np.unique(found.masks, axis=0)) == len(found.masks) == count
        assert found.duplicates == 0
        assert {space.format(mask) for mask in found.masks} <= {space.format(mask) for mask in everything}
    with pytest.raises(InputError, match=f"from 1 to {len(everything)}"):
        choose(space, str(len(everything) + 1), jax.random.key(3))
    # Too many to shuffle all: those that come twice are drawn again.
    large = replace(space, name="large", edges=complete_edges(2, 8), operators=("none", "skip_connect", "nor_conv_1x1"))
    found = choose(large, "3000", jax.random.key(0)).masks
    assert len(np.unique(found, axis=0)) == 3000


# --- the same space under other names ---------------------------------------------------------------


def test_renamed_and_permuted_spaces_have_the_same_kernels_and_costs(images):
    rng, skeleton = np.random.default_rng(1), Skeleton(channels=4, cells=1, stages=1)
    one, other, permuted = (
        jax.jit(lambda mask, space=space: analytic_ntk(space, mask, images, skeleton=skeleton))
        for space in (NAS_BENCH_201, RENAMED, PERMUTED)
    )
    for mask in [NAS_BENCH_201.supernet(), *(rng.random((3, *NAS_BENCH_201.mask_shape)) < 0.5)]:
        mask[..., 1] |= ~mask.any(-1)
        ours = one(mask)
        np.testing.assert_array_equal(other(mask), ours)
        np.testing.assert_allclose(permuted(mask[..., ORDER]), ours, rtol=1e-10)
        assert cost.costs(NAS_BENCH_201, mask) == cost.costs(PERMUTED, mask[..., ORDER])


def test_renamed_spaces_have_the_same_finite_networks(images):
    mask, skeleton = NAS_BENCH_201.supernet(), Skeleton(channels=2, cells=1, stages=1)
    ours = CellNetwork(NAS_BENCH_201, skeleton).initial(jax.random.key(0), images.shape, images.dtype, mask)["params"]

    def renamed(path: str) -> str:
        return ".".join(NAMES.get(part, part) for part in path.split("."))

    theirs = {renamed(path): values for path, values in ours.items()}
    expected = CellNetwork(NAS_BENCH_201, skeleton).apply({"params": ours}, images, mask, mutable=["batch_stats"])[0]
    net = CellNetwork(PERMUTED, skeleton)
    got = net.apply({"params": theirs}, images, mask[..., ORDER], mutable=["batch_stats"])[0]
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_renamed_spaces_find_the_same_architecture():
    found = []
    for space in (NAS_BENCH_201, RENAMED):
        skeleton = space.skeleton("ntk")._replace(stages=1)
        definition = of_kernel(Kernel(skeleton, images=4))["condition_number"]
        kappa = indicator(space, open_images(), "condition_number", definition)
        mask, infos = prune(jax.random.key(0), space, [kappa], paths=8)
        found.append((mask, np.stack([info.pruned for info in infos])))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


# --- new operators ----------------------------------------------------------------------------------


def residual_conv(read, name, x, channels, stride):
    return read.add([x, relu_conv_bn(read, name, x, channels, stride, kernel=3)])


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["inverted_bottleneck", "residual_conv"])
def test_wide_networks_converge_to_the_analytic_kernel(images, operator):
    """On three edges, beside skips: the operator's Gaussian is independent of what it is added to."""
    space = space_of(residual_conv, "residual_conv", edges=INVERTED.edges) if operator == "residual_conv" else INVERTED
    edges = [operator, "skip_connect", operator, "none", operator]
    mask = space.one_hot(np.array([[space.operators.index(name) for name in edges]]))

    def build(read, images, width):
        return network(read, space, mask, images, Skeleton(channels=width, cells=1, stages=1, classes=1))

    limit = limit_kernel(build, images)
    errors = {}
    for width in (16, 64):
        drawn = draw_kernels(build, images, width, 16)
        errors[width] = (np.linalg.norm(drawn - limit, axis=(1, 2)) / np.linalg.norm(limit)).mean()
        noise = drawn.std(0, ddof=1) / 4
        assert (np.abs(drawn.mean(0) - limit) < 4 * noise + np.abs(limit).max() / width).all()
    # 1 / sqrt(width) would be a half.
    assert errors[64] < 0.65 * errors[16]


def test_an_operator_that_is_a_sum_is_the_edge_that_holds_both(images):
    """Behind the batch norm at the end half the sum and the sum are the same."""
    one_edge = ((0, 1),)
    mixed = SearchSpace(name="mixed", operators=("skip_connect", "nor_conv_3x3"), edges=one_edge)
    own = space_of(residual_conv, "residual_conv", edges=one_edge, operators=("residual_conv",))
    skeleton = Skeleton(channels=4, cells=1, stages=1)
    got, expected = (analytic_ntk(s, np.ones(s.mask_shape, bool), images, skeleton=skeleton) for s in (own, mixed))
    np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.parametrize("space", [INVERTED, GATED], ids=lambda space: space.name)
def test_costs_are_those_of_the_flax_network(space):
    skeleton = space.skeleton("ntk")._replace(channels=4)

    def variables(mask, images):
        return CellNetwork(space, skeleton).init(jax.random.key(0), images, mask)

    for mask in [space.supernet(), *space.sample(jax.random.key(0), 3)]:
        shapes = jax.eval_shape(partial(variables, mask), jnp.zeros((2, 8, 8, 3)))
        counted = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
        assert cost.parameters(space, mask, skeleton=skeleton, side=8) == counted


def test_multiply_adds_of_a_custom_layer_by_hand():
    skeleton = Skeleton(channels=6, cells=1, stages=1)
    masks = np.stack([GATED.parse("|none~0|+|gated_conv~0|none~1|"), GATED.parse("|none~0|+|none~0|none~1|")])
    found = cost.costs(GATED, masks, skeleton=skeleton, side=8)
    assert found.flops[0] - found.flops[1] == 6 * 6 + 9 * 6 * 6 * 8 * 8
    assert found.parameters[0] - found.parameters[1] == 6 * 6 + 6 + 9 * 6 * 6 + 2 * 6
    assert found.neurons[0] == found.neurons[1]


def test_multiply_adds_of_loops_branches_and_strides():
    weights = jnp.ones((3, 3, 1, 9))

    def whole(x):
        dimensions = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x, weights, (2, 2), "SAME", dimension_numbers=dimensions, feature_group_count=3
        )
        matrix = jnp.ones((9, 9))
        y = jax.lax.scan(lambda y, _: (y @ matrix, None), y, length=4)[0]
        return jax.lax.cond(y.sum() > 0, lambda y: y @ matrix @ matrix, lambda y: y, y)

    counted = cost.multiply_adds(jax.make_jaxpr(whole)(jnp.ones((1, 8, 8, 3))))
    assert counted == 16 * 9 * 9 + (4 + 2) * 16 * 9 * 9


@pytest.mark.parametrize("space", [INVERTED, GATED], ids=lambda space: space.name)
def test_scanned_networks_give_the_same_logits(space, images):
    skeleton = Skeleton(channels=2, cells=1, stages=1)
    scanned, written_out = ScannedNetwork(space, skeleton), CellNetwork(space, skeleton)
    mask = jnp.asarray(space.supernet())
    stacked_variables = jax.jit(scanned.init)(jax.random.key(0), images, mask)["params"]
    separate = {}
    for name, values in stacked_variables.items():
        place, _, rest = name.partition(".stride1.edge.")
        if rest:
            separate |= {f"{place}.edge{e}.{rest}": values[e] for e in range(len(space.edges))}
        else:
            separate[name] = values
    shapes = jax.eval_shape(lambda: written_out.init(jax.random.key(0), images, mask))["params"]
    assert jax.tree.map(jnp.shape, separate) == jax.tree.map(jnp.shape, shapes)
    logits = [
        jax.jit(partial(net.apply, mutable=["batch_stats"]))({"params": params}, images, mask)[0]
        for net, params in ((scanned, stacked_variables), (written_out, separate))
    ]
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-12)
    assert np.ptp(logits[0], axis=0).min() > 1e-3


@pytest.mark.parametrize("module", [CellNetwork, ScannedNetwork])
def test_a_module_is_drawn_as_it_says_for_every_edge_anew(module, images):
    net = module(GATED, Skeleton(channels=24, cells=1, stages=1))
    parameters = jax.jit(net.init)(jax.random.key(0), images, jnp.asarray(GATED.supernet()))
    kernels = [np.ravel(v) for name, v in parameters["params"].items() if name.endswith("Conv_0.kernel")]
    drawn = np.concatenate(kernels)
    assert drawn.size == 3 * 9 * 24 * 24
    # Single precision: a few of so many agree by chance.
    assert len(np.unique(drawn)) > 0.99 * drawn.size
    # Linen's own rule: variance 1 / fan_in. Five standard errors of a sample variance.
    assert abs(drawn.var() * 9 * 24 - 1) < 5 * (2 / drawn.size) ** 0.5
    for name, values in parameters["params"].items():
        if name.endswith("Dense_0.bias"):
            np.testing.assert_array_equal(values, 0)


# --- what has no kernel in closed form --------------------------------------------------------------


def post_activation(read, name, x, channels, stride):
    return read.relu(read.batch_norm(f"{name}.norm", read.convolution(f"{name}.conv", x, channels, kernel=3)))


NOT_ANALYTIC = {
    "post_activation": post_activation,
    "bare_relu": lambda read, name, x, channels, stride: read.relu(x),
    "bare_norm": lambda read, name, x, channels, stride: read.batch_norm(name, x),
    "depthwise": lambda read, name, x, channels, stride: read.depthwise_convolution(name, x, kernel=3),
    "pooled_sum": lambda read, name, x, channels, stride: read.average_pool(
        residual_conv(read, name, x, channels, stride), window=3, stride=1, padding=1
    ),
    "maximum_of_convolution": lambda read, name, x, channels, stride: read.max_pool(
        read.convolution(name, x, channels), window=3, stride=1, padding=1
    ),
    "maximum_of_relu": lambda read, name, x, channels, stride: read.max_pool(
        read.relu(x), window=3, stride=1, padding=1
    ),
    "relu_of_depthwise": lambda read, name, x, channels, stride: read.convolution(
        f"{name}.mix", read.relu(read.batch_norm(f"{name}.n", read.depthwise_convolution(name, x, kernel=3))), channels
    ),
    "gated": gated,
}
ANALYTIC = {
    "residual_conv": residual_conv,
    "pooled_convolution": lambda read, name, x, channels, stride: read.average_pool(
        read.convolution(name, x, channels), window=3, stride=1, padding=1
    ),
    "chain": lambda read, name, x, channels, stride: relu_conv_bn(
        read, f"{name}.b", post_activation(read, f"{name}.a", x, channels, 1), channels, 1, kernel=1
    ),
    "separable": partial(separable, kernel=3),
}


@pytest.mark.parametrize("name", list(NOT_ANALYTIC))
def test_what_cannot_be_read_is_named(images, name):
    space = space_of(NOT_ANALYTIC[name], name)
    operator_check.check_operators(space)
    obstacle = analytic_obstacle(space)
    assert obstacle is not None
    assert obstacle.name == name
    with pytest.raises(
        NotAnalyticError,
        match=f"no closed form for operator '{name}' .*; use `empirical_ntk` or",
    ):
        analytic_ntk(space, space.supernet(), images, skeleton=ONE_CELL)
    without = space.supernet()
    without[..., space.operators.index(name)] = False
    assert np.isfinite(analytic_ntk(space, without, images, skeleton=ONE_CELL)).all()


@pytest.mark.parametrize("name", list(ANALYTIC))
def test_what_can_be_read_is_read(name):
    assert analytic_obstacle(space_of(ANALYTIC[name], name)) is None


@pytest.mark.parametrize("last", ["relu", "depthwise"])
def test_a_network_with_something_else_than_gaussians_before_a_cell_is_not_read(last):
    def after_relu(read, space, weights, images, skeleton, cell=plain_cell):
        x = read.convolution("stem", images, skeleton.channels, kernel=3)
        x = read.relu(x) if last == "relu" else read.depthwise_convolution("stem.depthwise", x, kernel=3)
        return finish(read, cell(read, space, "cell", weights[0], [x], skeleton.channels)[-1], skeleton)

    space = replace(NAS_BENCH_201, name="after", network=after_relu)
    obstacle = analytic_obstacle(space)
    assert obstacle is not None
    assert obstacle.name == "network"


def test_a_network_of_its_own_is_read_by_everybody(images):
    space = replace(GATED, name="stacked", network=stacked, cells=("first", "second"), operators=GATED.operators[:3])
    mask, skeleton = space.supernet(), space.skeleton("ntk")._replace(channels=4)
    assert analytic_obstacle(space) is None
    assert np.linalg.eigvalsh(analytic_ntk(space, mask, images, skeleton=skeleton)).min() > 0
    params = CellNetwork(space, skeleton).initial(jax.random.key(0), images.shape, images.dtype, mask)["params"]
    assert cost.parameters(space, mask, skeleton=skeleton) == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_a_network_without_relus_has_no_patterns(images):
    def linear(read, space, weights, images, skeleton, cell=plain_cell):
        return cell(read, space, "cell", weights[0], [images], images.shape[-1])[-1]

    net = CellNetwork(
        SearchSpace(name="linear", operators=("skip_connect",), edges=((0, 1),), network=linear), Skeleton(3, 1)
    )
    with pytest.raises(InputError, match="the network of linear has no ReLU"):
        net.apply({}, images, np.ones((1, 1, 1), bool), method="activation_bits")


@pytest.mark.parametrize(
    ("operator", "complaint"),
    [
        (lambda read, name, x, channels, stride: nn.gelu(x), "fails .*; it must use the operations of its reading"),
        (lambda read, name, x, channels, stride: read.convolution(name, x, 3), "must turn 8 x 8 positions with 16"),
        (lambda read, name, x, channels, stride: read.custom(name, x, 3), "must be a Flax Linen module or a function"),
        (lambda read, name, x, channels, stride: read.custom(name, x, jnp.sum), "must turn \\(1, h, h, c\\) into"),
        (
            lambda read, name, x, channels, stride: read.custom(name, x, nn.BatchNorm(use_running_average=False)),
            "keeps variables besides its parameters \\(batch_stats\\)",
        ),
    ],
)
def test_operators_that_fail_are_refused(operator, complaint):
    with pytest.raises(InputError, match=complaint):
        operator_check.check_operators(space_of(operator))


def test_a_function_without_weights_is_a_custom_layer(images):
    space = space_of(lambda read, name, x, channels, stride: read.custom(name, x, jnp.negative))
    operator_check.check_operators(space)
    net = CellNetwork(space, Skeleton(channels=4, cells=1, stages=1))
    odd, even = (space.parse(f"|{a}~0|+|none~0|{b}~1|") for a, b in (("own", "skip_connect"), ("own", "own")))
    skips = space.parse("|skip_connect~0|+|none~0|skip_connect~1|")
    params = net.init(jax.random.key(0), images, skips)
    logits = [net.apply(params, images, mask, mutable=["batch_stats"])[0] for mask in (odd, even, skips)]
    np.testing.assert_array_equal(logits[1], logits[2])
    assert np.abs(logits[0] - logits[2]).max() > 1e-3


# --- two inputs -------------------------------------------------------------------------------------


def test_a_space_like_darts(images):
    """Two kinds of cells of which one reduces, and two of three edges that a node keeps."""
    space = replace(
        INVERTED,
        name="two",
        operators=("none", "skip_connect", "inverted_bottleneck"),
        cells=("normal", "reduce"),
        inputs=2,
        edges=complete_edges(2, 4),
        kept_edges=2,
    )
    operator_check.check_operators(space)
    assert analytic_obstacle(space) is None
    mask, rounds = prune(jax.random.key(0), space, [scored_by("score", True, np.arange(3.0))], paths=24)
    for node in (2, 3):
        entering = [e for e, (_, target) in enumerate(space.edges) if target == node]
        np.testing.assert_array_equal((~mask[:, entering, 0]).sum(-1), 2)
    assert sum(len(info.pruned) for info in rounds) == 5 * 2 * 2 - 4 * 2
    np.testing.assert_array_equal(space.parse(space.format(mask)), mask)
    assert re.fullmatch(r"normal:\|.*\|\+\|.*\| reduce:\|.*\|\+\|.*\|", space.format(mask))
    space = replace(space, edges=complete_edges(2, 3))  # enough for a kernel
    renamed = replace(space, name="deep", definitions={"wide": OPERATORS["sep_conv_5x5"]}, operators=("none", "wide"))
    plain = replace(space, name="plain", definitions={}, operators=("none", "sep_conv_5x5"))
    both = [jax.jit(partial(analytic_ntk, s))(jnp.asarray(s.supernet()), images) for s in (renamed, plain)]
    np.testing.assert_array_equal(*both)
    assert np.linalg.eigvalsh(both[0]).min() > 0


def test_an_operator_that_forgets_its_stride_is_refused():
    def forgetful(read, name, x, channels, stride):
        return relu_conv_bn(read, name, x, channels, 1, kernel=3)

    operator_check.check_operators(space_of(forgetful))
    with pytest.raises(InputError, match="into 4 x 4 with 16 at stride 2; it makes Shape\\(side=8, channels=16\\)"):
        operator_check.check_operators(
            space_of(forgetful, inputs=2, cells=("normal", "reduce"), edges=complete_edges(2, 3))
        )


# --- equal cells ------------------------------------------------------------------------------------


def test_orders_of_nodes_are_equal_and_nothing_else_is(images):
    space = replace(RENAMED, name="four")
    first = space.parse("|square~0|+|point~0|none~1|+|none~0|mean~1|copy~2|")
    swapped = space.parse("|point~0|+|square~0|none~1|+|none~0|copy~1|mean~2|")
    other = space.parse("|point~0|+|square~0|none~1|+|none~0|mean~1|copy~2|")
    same = representatives(space, np.stack([first, swapped, other]))
    np.testing.assert_array_equal(same[0], same[1])
    assert (same[0] != same[2]).any()
    masks = space.sample(jax.random.key(0), 6)
    kernel = jax.jit(lambda mask: analytic_ntk(space, mask, images, skeleton=Skeleton(channels=4, cells=1, stages=1)))
    for mask, representative in zip(masks, representatives(space, masks), strict=True):
        np.testing.assert_allclose(kernel(representative), kernel(mask), rtol=1e-9)
        again = representatives(space, representative[None])[0]
        np.testing.assert_array_equal(again, representative)
    np.testing.assert_array_equal(representatives(replace(space, network=stacked), masks), masks)
    full = replace(space, operators=space.operators[1:])
    masks = full.sample(jax.random.key(0), 6)
    np.testing.assert_array_equal(representatives(full, masks), masks)


# One stage compiles three times as fast.
ONE_STAGE = """
from dataclasses import replace
from tenas_jax.spaces.skeleton import Skeleton
SPACE = replace(SPACE, skeletons={"ntk": Skeleton(channels=3, cells=1, stages=1)})
"""


# --- the command lines ------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    shrink(monkeypatch, kernels={"images": 4, "side": 4}, patterns={"samples": 40}, paths=6)


@pytest.fixture
def example_file(tmp_path):
    path = tmp_path / "example.py"
    path.write_text(EXAMPLE.read_text().replace("\n\ndef main()", f"\n{ONE_STAGE}\n\ndef main()"))
    return path


@pytest.fixture
def gated_file(tmp_path):
    path = tmp_path / "gated.py"
    path.write_text(SNIPPETS[1] + ONE_STAGE)
    return path


@pytest.mark.slow
def test_search_in_the_example(small, tmp_path, capsys, example_file):
    space = find_space(f"{example_file}:SPACE")
    argv = ["--space", f"{example_file}:SPACE", "--output", str(tmp_path / "run")]
    assert search.main(argv) == 0
    architecture = capsys.readouterr().out.strip()
    INVERTED.parse(architecture)
    rounds = (tmp_path / "run" / "rounds.jsonl").read_text()
    # Half a run goes on to the same end.
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "run" / "rounds.jsonl").write_text("".join(rounds.splitlines(keepends=True)[:4]))
    assert search.main(argv) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == architecture
    assert "analytic" not in captured.err
    identity = json.loads((tmp_path / "run" / "config.json").read_text())["space"]
    assert identity == identity_of(space)
    assert identity["edges"] == [list(edge) for edge in INVERTED.edges]


@pytest.mark.slow
def test_search_takes_the_empirical_kernel_and_says_so(small, tmp_path, capsys, gated_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["--space", f"{gated_file}:SPACE"]
    assert search.main(argv) == 0
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if "analytic" in line]
    assert lines == [
        "`analytic_ntk` has no closed form for operator 'gated_conv' (it has a custom layer); the empirical NTK is taken "
        "instead"
    ]
    find_space(f"{gated_file}:SPACE").parse(captured.out.strip())
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == "gated-synthetic-default-seed0"
    config = json.loads((folder / "result.json").read_text())["config"]
    empirical = chosen_scores(find_space(argv[1]), config["settings"]["scores"], "empirical")
    assert read_from_kernel(empirical, "empirical")
    assert config["scores"] == definitions_of(empirical)
    gated_file.write_text(gated_file.read_text().replace("gelu(x)", "silu(x)"))
    assert search.main(argv) == 2
    assert "another configuration" in capsys.readouterr().err


@pytest.mark.slow
def test_rank_an_own_space(tmp_path, capsys, gated_file):
    argv = ["--repeats", "1", "--architectures", "6", "--output", str(tmp_path / "scores.csv")]
    scores = ["--scores", "effective_regions_wide,flops"]
    assert rank.main([*argv, *scores, "--space", f"{EXAMPLE}:SPACE"]) == 0
    INVERTED.parse(capsys.readouterr().out.strip())
    assert rank.main([*argv, "--scores", "linear_regions", "--space", f"{gated_file}:SPACE"]) == 2
    assert "holds another finished ranking" in capsys.readouterr().err
    (tmp_path / "scores.csv").unlink()
    (tmp_path / "scores.json").unlink()
    assert rank.main([*argv, "--scores", "linear_regions", "--space", f"{gated_file}:SPACE"]) == 0
    assert "analytic" not in capsys.readouterr().err
    assert json.loads((tmp_path / "scores.json").read_text())["space"] == f"{gated_file}:SPACE"


@pytest.mark.slow
def test_rank_takes_the_empirical_kernel_and_says_so(tmp_path, capsys, gated_file):
    argv = ["--repeats", "1", "--architectures", "6", "--output", str(tmp_path / "scores.csv")]
    assert rank.main([*argv, "--scores", "condition_number", "--space", f"{gated_file}:SPACE"]) == 0
    said = capsys.readouterr().err
    assert "no closed form for operator 'gated_conv'" in said
    assert "the empirical NTK is taken instead" in said


@pytest.mark.slow
def test_a_recipe_travels_without_the_file(tmp_path, gated_file):
    """Another process that never saw the file evaluates the same values."""
    space = find_space(f"{gated_file}:SPACE")
    scorer = prepare(space, chosen_scores(space, ["effective_regions_wide"]), open_images(), repeats=1)
    masks = space.sample(jax.random.key(0), 3)
    (tmp_path / "scorer.pickle").write_bytes(pickle.dumps((scorer, masks)))
    gated_file.unlink()
    code = (
        "import jax, pickle, pathlib, sys\n"
        "jax.config.update('jax_enable_x64', True)\n"
        f"scorer, masks = pickle.loads(pathlib.Path({str(tmp_path / 'scorer.pickle')!r}).read_bytes())\n"
        "print(scorer(masks).values['effective_regions_wide'].tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    values = scorer(masks).values["effective_regions_wide"]
    np.testing.assert_array_equal(np.array(json.loads(done.stdout.replace("nan", "NaN"))), values)


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        (
            "mars",
            "the search space 'mars' is unknown; choose one of nasbench201, darts, nasbench101, nasbench-macro, mnasnet, ",
        ),
        ("own.py", "the search space 'own.py' is unknown"),
        ("own.py:not a name", "is no name of a Python object"),
        ("nowhere.py:SPACE", "nowhere.py cannot be read: .*No such file"),
        ("{folder}/empty.py:SPACE", "empty.py defines no 'SPACE'"),
        ("{folder}/number.py:SPACE", "is no SearchSpace; it is of the type int"),
        ("{folder}/broken.py:SPACE", "broken.py cannot be imported \\(SyntaxError: "),
        ("{folder}/failing.py:SPACE", "failing.py cannot be imported \\(ZeroDivisionError: division by zero\\)"),
        ("{folder}/leaving.py:SPACE", "leaving.py cannot be imported \\(SystemExit: 1\\)"),
        ("{folder}/wrong.py:SPACE", "operator 'conv_7x7' of wrong is unknown"),
        ("{folder}/refused.py:SPACE", "'own' of refused must turn 8 x 8 positions"),
        ("no_such_package.spaces:SPACE", "no_such_package.spaces cannot be imported \\(ModuleNotFoundError"),
        ("tenas_jax.spaces.space:NOTHING", "tenas_jax\\.spaces\\.space defines no 'NOTHING'"),
    ],
)
@pytest.mark.parametrize("command", [search, rank])
def test_what_is_no_own_space_is_refused(tmp_path, capsys, command, reference, complaint):
    texts = {
        "empty": "",
        "number": "SPACE = 3",
        "broken": "SPACE = (",
        "failing": "1 / 0",
        "leaving": "raise SystemExit(1)",
        "wrong": "from tenas_jax import SearchSpace\n"
        "SPACE = SearchSpace(name='wrong', operators=('conv_7x7',), edges=((0, 1),))",
        "refused": "from tenas_jax import SearchSpace\n"
        "SPACE = SearchSpace(name='refused', operators=('own',), edges=((0, 1),),\n"
        "    definitions={'own': lambda read, name, x, channels, stride: read.convolution(name, x, 3)})",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    assert command.main(["--space", reference.format(folder=tmp_path), "--output", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(complaint, err)


def test_a_module_is_found_by_its_name():
    assert find_space("tenas_jax.spaces.darts:DARTS") == DARTS
    assert identity_of(find_space("tenas_jax.spaces.darts:DARTS")) == "darts"
    assert identity_of(INVERTED)["code_sha256"] == identity_of(find_space(f"{EXAMPLE}:SPACE"))["code_sha256"]


# --- the page ---------------------------------------------------------------------------------------


def test_the_page_shows_the_example():
    lines = EXAMPLE.read_text().splitlines()
    assert len(lines) < 60
    assert f"in {len(lines)} lines" in PAGE
    shown = [line for line in SNIPPETS[0].splitlines() if line and not line.startswith(("import", "from"))]
    assert "\n".join(shown) in "\n".join(line for line in lines if line)
    commands = re.findall(r"^python -m tenas_jax\.(\w+) (.*)$", PAGE, flags=re.MULTILINE)
    assert [name for name, _ in commands] == ["search", "rank"]
    assert all(f"--space {EXAMPLE.relative_to(ROOT)}:SPACE" in argv for _, argv in commands)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", pytest.param("whole", marks=EXTENSIVE)])
def test_the_example_runs(size, example_file):
    file = {"small": example_file, "whole": EXAMPLE}[size]
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["architecture", "supernet"]
    assert all("full rank" in line for line in lines[:2])
    INVERTED.parse(lines[2].partition(" after ")[0])
