"""NAS-Bench-101 as a space: masks, equal cells, what is drawn, its network, and rankings beside a table."""

import csv
import gzip
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import outside_file

from tenas_jax import rank
from tenas_jax.errors import InputError
from tenas_jax.networks.cost import CostReading, Shape, costs, neurons_as_scored
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.networks.stand_alone import Blueprint
from tenas_jax.networks.stand_alone_reading import StandAloneReading
from tenas_jax.networks.yardsticks import yardsticks
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.scores.indicators import Indicator, Scores
from tenas_jax.scores.neighbours import with_neighbours
from tenas_jax.search.evolution import mutate
from tenas_jax.search.pruner import prune
from tenas_jax.spaces.nasbench101 import NAS_BENCH_101, cells_of, in_first_order, masks_of, nas_bench_101_trained
from tenas_jax.spaces.nasbench101_cells import Cells, cell_counts, graph_hashes, valid
from tenas_jax.spaces.registry import find_space
from tenas_jax.spaces.sampling import architectures
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.stacking import edge_weights

TEXT = "|conv3x3-bn-relu~0|+|maxpool3x3~0~1|+|conv1x1-bn-relu~1|+|output~0~2~3|"
LAYOUT = ("NHWC", "HWIO", "NHWC")
SMALL = Skeleton(channels=2, cells=1, stages=1, stem=False, classes=0)


def anything(rng, count):
    """Masks of graphs with dead parts."""
    edges = np.triu(rng.random((count, 7, 7)) < 0.4, 1)
    return masks_of(Cells(edges, rng.integers(3, size=(count, 5))))


def test_the_space_is_found_by_its_name():
    assert find_space("nasbench101") is NAS_BENCH_101
    assert NAS_BENCH_101.size == 2**21 * 3**5
    with pytest.raises(InputError, match="too large to enumerate"):
        NAS_BENCH_101.enumerated()


def test_masks_and_cells_say_the_same(rng):
    masks = anything(rng, 50)
    np.testing.assert_array_equal(masks_of(cells_of(masks)), masks)
    for mask in masks:
        NAS_BENCH_101.check(mask)
    np.testing.assert_array_equal(NAS_BENCH_101.valid(masks), valid(cells_of(masks)))


def test_equal_cells_have_one_mask_and_one_hash(rng):
    """The first order is found by trying all; the benchmark's hash does not know of it."""
    masks = anything(rng, 3000)
    first = in_first_order(NAS_BENCH_101, masks)
    hashes = graph_hashes(cells_of(masks))
    assert graph_hashes(cells_of(first)) == hashes
    rows = [row.tobytes() for row in first]
    assert len(set(rows)) == len(set(hashes)) == len(set(zip(rows, hashes, strict=True))) < len(masks)
    np.testing.assert_array_equal(in_first_order(NAS_BENCH_101, first), first)


def test_what_is_drawn_is_held_by_the_benchmark_and_printed_as_it_is():
    masks = NAS_BENCH_101.sample(jax.random.key(0), 200)
    assert NAS_BENCH_101.valid(masks).all()
    np.testing.assert_array_equal(NAS_BENCH_101.normal(masks), masks)
    np.testing.assert_array_equal([NAS_BENCH_101.parse(text) for text in NAS_BENCH_101.formats(masks)], masks)


def test_what_is_one_change_away_is_valid_and_differs(rng):
    mask = NAS_BENCH_101.parse(TEXT)
    choice = NAS_BENCH_101.choice(mask)
    around = with_neighbours(choice[None], NAS_BENCH_101)
    assert NAS_BENCH_101.valid(NAS_BENCH_101.one_hot(around)).all()
    known = {row.tobytes() for row in around}
    for _ in range(20):
        child = mutate(rng, choice, NAS_BENCH_101)
        assert (child != choice).any()
        assert child.tobytes() in known


def test_completions_of_half_a_supernet_are_valid_and_show_every_option():
    mask = NAS_BENCH_101.alternatives()
    mask[0, 0, 0] = False  # the first edge is there
    found = architectures(jax.random.key(0), mask, 64, NAS_BENCH_101)
    drawn = NAS_BENCH_101.one_hot(found)
    assert NAS_BENCH_101.valid(drawn).all()
    np.testing.assert_array_equal(drawn.any(0), mask)


def test_costs_are_those_of_the_table():
    path = outside_file("TENAS_SPACES") / "nasbench101.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))[::100]
    masks = np.stack([NAS_BENCH_101.parse(f"{row['adjacency']} {row['operators']}") for row in rows])
    found = costs(NAS_BENCH_101, masks)
    np.testing.assert_array_equal(found.parameters, [int(row["parameters"]) for row in rows])
    measured = yardsticks(NAS_BENCH_101, masks)
    counted = cell_counts(cells_of(masks))
    np.testing.assert_array_equal(measured.live_multiply_adds, found.flops)
    np.testing.assert_array_equal(measured.path_spatial_convolutions, 9 * counted.path_spatial_convolutions)


def test_a_traced_cell_is_the_known_one(rng):
    """One program for all cells: its live parts are those of the network without dead ones, and the others are zero."""
    images, mask = jnp.asarray(rng.normal(size=(3, 4, 4, 3))), NAS_BENCH_101.parse(TEXT)
    net = CellNetwork(NAS_BENCH_101, SMALL)
    variables = net.init(jax.random.key(0), images, jnp.asarray(mask))
    traced = jax.jit(net.apply)(variables, images, jnp.asarray(mask))
    of_known = net.init(jax.random.key(0), images, mask)
    of_known["params"] = {name: variables["params"][name] for name in of_known["params"]}
    known = net.apply(of_known, images, mask)
    parts = np.asarray(traced).reshape(*traced.shape[:-1], 5, SMALL.channels)
    ends = cells_of(mask[None]).edges[0, 1:6, 6]
    live = parts[..., ends, :].reshape(*traced.shape[:-1], -1)
    # Of five parts two are alive: each weighs as much as in the benchmark's cell, where they are all.
    np.testing.assert_allclose(live, np.sqrt(5 / 2) * known, rtol=1e-9)
    assert not parts[..., ~ends, :].any()
    bits = net.apply(variables, images, jnp.asarray(mask), method="activation_bits")
    most = neurons_as_scored(NAS_BENCH_101, mask[None], SMALL, 4)[0]
    assert 0 < np.asarray(bits).any(0).sum() <= most


def as_released(matrix, operators, weights, x, channels, name):
    """A cell as `model_builder.build_module` of the benchmark makes it, by weights with our names."""
    last = len(operators) - 1
    matrix = np.array(matrix)
    widths = [0] * last + [channels]
    into_output = [v for v in range(1, last) if matrix[v, last]]
    rest = channels % len(into_output) if into_output else 0
    for vertex in into_output:
        widths[vertex] = channels // len(into_output) + (rest > 0)
        rest -= rest > 0
    for vertex in range(last - 1, 0, -1):
        if vertex not in into_output:
            widths[vertex] = max(widths[w] for w in range(vertex + 1, last) if matrix[vertex, w])

    def conv_bn_relu(x, path):
        kernel = weights[f"{path}.conv.kernel"]
        y = np.asarray(jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT))
        y = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + 1e-5)
        return np.maximum(y * weights[f"{path}.norm.scale"] + weights[f"{path}.norm.bias"], 0)

    def apply(operator, x, path):
        if operator == "maxpool3x3":
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
            return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2)).max((-1, -2))
        return conv_bn_relu(x, f"{path}.{operator.removesuffix('-bn-relu')}")

    found = {}
    # The last vertex keeps its number in our names, however few there are.
    project = {v: partial(conv_bn_relu, x, f"{name}.from0.to{6 if v == last else v}") for v in range(1, last + 1)}
    for vertex in range(1, last):
        entering = [found[w][..., : widths[vertex]] for w in range(1, vertex) if matrix[w, vertex]]
        entering += [project[vertex]()] if matrix[0, vertex] else []
        found[vertex] = apply(operators[vertex], sum(entering), f"{name}.vertex{vertex}")
    output = np.concatenate([found[v] for v in into_output], -1) if into_output else 0
    return output + project[last]() if matrix[0, last] else output


@pytest.mark.parametrize(
    ("adjacency", "operators"),
    [
        # Seven channels for three vertices, and one that is as wide as the widest behind it.
        (
            "010100 001110 000001 000001 000001 000000",
            "input conv3x3-bn-relu conv1x1-bn-relu maxpool3x3 conv3x3-bn-relu output",
        ),
        # A narrower vertex behind a wider one, and the input beside all.
        ("01101 00101 00011 00001 00000", "input maxpool3x3 conv1x1-bn-relu conv3x3-bn-relu output"),
        ("01 00", "input output"),
    ],
)
def test_the_network_that_is_trained_is_the_released_one(adjacency, operators, rng):
    rows, names = [[int(digit) for digit in row] for row in adjacency.split()], operators.split()
    mask = NAS_BENCH_101.parse(f"{adjacency.replace(' ', '')} {operators}")
    choice = tuple(map(tuple, NAS_BENCH_101.choice(mask).tolist()))
    blueprint = Blueprint(NAS_BENCH_101, choice, Skeleton(channels=7, cells=2, stages=1, stem=False, classes=2))
    images = rng.normal(size=(3, 4, 4, 3))
    shapes = {name: declared.shape for name, declared in blueprint.declared(images.shape).items()}
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    logits, _ = blueprint.read(StandAloneReading(jax.tree.map(jnp.asarray, weights)), jnp.asarray(images))
    x = images
    for n in range(2):
        x = as_released(rows, names, weights, x, 7, f"stage0.cell{n}")
    expected = x.mean((1, 2)) @ weights["head.linear.kernel"] + weights["head.linear.bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-9)


def test_the_network_that_is_trained_costs_what_is_counted(rng):
    masks = NAS_BENCH_101.normal(anything(rng, 300))
    masks = masks[NAS_BENCH_101.valid(masks)]
    skeleton = Skeleton(channels=10, cells=2, stages=2)
    counted = costs(NAS_BENCH_101, masks, skeleton=skeleton, side=8)
    for mask, *cost in zip(masks, *counted, strict=True):
        read = CostReading()
        nas_bench_101_trained(read, NAS_BENCH_101, edge_weights(mask), Shape(8, 3), skeleton)
        assert list(read.cost) == cost


def test_a_ranking_beside_a_table_of_adjacency_and_operators(tmp_path):
    """Vertices in another order, a row without an accuracy; nothing is evaluated."""
    path = tmp_path / "table.csv"
    lines = [
        "hash,adjacency,operators,validation_accuracy",
        "a,0100001000010000,input conv3x3-bn-relu conv1x1-bn-relu output,0.93",
        "b,0100001000010000,input conv1x1-bn-relu maxpool3x3 output,0.85",
        "c,0110000100010000,input maxpool3x3 conv1x1-bn-relu output,0.9",
        "d,0110000100010000,input maxpool3x3 conv3x3-bn-relu output,",
    ]
    path.write_text("\n".join(lines) + "\n")
    table = read_table(path)
    other_order = NAS_BENCH_101.parse("|conv1x1-bn-relu~0|+|maxpool3x3~0|+|output~1~2|")
    assert table.standing(NAS_BENCH_101.format(other_order)).rank == 2
    ranking = rank(
        space="nasbench101", architectures=str(path), scores="live_convolutions,parameters",
        benchmark=str(path), output=str(tmp_path / "scores.csv"),
    )  # fmt: skip
    first = NAS_BENCH_101.parse("0100001000010000 input conv3x3-bn-relu conv1x1-bn-relu output")
    assert ranking.architectures[0] == NAS_BENCH_101.format(first)
    assert len(ranking.architectures) == 4


def test_pruning_leaves_out_what_no_valid_cell_holds():
    """With nine edges alive no other can be; what is left at the end is a cell of many 3x3 convolutions."""

    def evaluate(key, masks):
        counted = cell_counts(cells_of(NAS_BENCH_101.normal(masks))).spatial_convolutions
        return Scores((1.0 + counted)[None], np.full((1, len(masks)), "counted"))

    indicator = Indicator("spatial", False, evaluate, geometric=False)
    mask, infos = prune(jax.random.key(0), NAS_BENCH_101, [indicator], paths=48)
    assert NAS_BENCH_101.valid(mask[None]).all()
    assert any(len(info.unaffordable) for info in infos)
    assert cell_counts(cells_of(mask[None])).spatial_convolutions[0] >= 4
