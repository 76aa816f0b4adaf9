"""Cells of NAS-Bench-101: against the benchmark's own hashes and parameters, and against paths counted one by one."""

import csv
import gzip
import itertools

import numpy as np
import pytest
from conftest import outside_file

from tenas_jax.errors import InputError
from tenas_jax.spaces.nasbench101_cells import (
    KERNELS,
    OPERATORS,
    Cells,
    alive,
    cell_costs,
    cell_counts,
    graph_hashes,
    pruned,
    valid,
    vertex_channels,
)
from tenas_jax.spaces.nasbench101_strings import format_cells, from_benchmark, parse_cell


@pytest.fixture(scope="module")
def table():
    """The rows of the development part of the benchmark, and their cells."""
    with gzip.open(outside_file("TENAS_SPACES") / "nasbench101.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    return rows, joined(parse_cell(f"{row['adjacency']} {row['operators']}") for row in rows)


def joined(cells) -> Cells:
    return Cells(*map(np.concatenate, zip(*cells, strict=True)))


def at_random(rng, count) -> Cells:
    """Graphs on seven vertices, most of them with dead vertices."""
    edges = np.triu(rng.random((count, 7, 7)) < rng.uniform(0.1, 0.9, (count, 1, 1)), 1)
    return Cells(edges, rng.integers(3, size=(count, 5)))


def paths_of(edges):
    """All paths from input to output, as lists of vertices."""
    inner = itertools.chain.from_iterable(itertools.combinations(range(1, 6), size) for size in range(6))
    paths = [[0, *between, 6] for between in inner]
    return [path for path in paths if all(edges[a, b] for a, b in itertools.pairwise(path))]


def test_parameters_and_hashes_are_those_of_the_benchmark(table):
    rows, cells = table
    np.testing.assert_array_equal(cell_costs(cells).parameters, [int(row["parameters"]) for row in rows])
    assert graph_hashes(cells) == [row["hash"] for row in rows]
    assert valid(cells).all()


def test_strings_come_back_with_the_same_cell(table):
    _, cells = table
    some = Cells(*(values[::50] for values in cells))
    back = joined(map(parse_cell, format_cells(some)))
    np.testing.assert_array_equal(back.edges, some.edges)
    np.testing.assert_array_equal(back.operators, some.operators)


def test_what_is_dead_lies_on_no_path(rng):
    cells = at_random(rng, 200)
    for edges, live, count in zip(cells.edges, alive(cells.edges), cell_counts(cells).edges, strict=True):
        paths = paths_of(edges)
        assert set(np.flatnonzero(live)) == set(itertools.chain(*paths))
        assert len(set(itertools.chain(*map(itertools.pairwise, paths)))) == count


def test_a_hash_does_not_depend_on_the_order_of_vertices_nor_on_dead_ones(rng):
    cells = at_random(rng, 60)
    hashes = graph_hashes(cells)
    for edges, operators, known in zip(*cells, hashes, strict=True):
        for order in itertools.permutations(range(1, 6)):
            place = [0, *order, 6]  # the vertex that moves to each place
            moved = edges[np.ix_(place, place)]
            if not np.tril(moved).any() and order != (1, 2, 3, 4, 5):
                assert graph_hashes(Cells(moved[None], operators[np.array(order) - 1][None])) == [known]
    assert graph_hashes(pruned(cells)) == hashes
    assert len(set(hashes)) > 30


def test_costs_of_one_cell_counted_by_hand():
    cell = parse_cell("|conv3x3-bn-relu~0|+|maxpool3x3~0~1|+|conv1x1-bn-relu~1|+|output~0~2~3|")
    # Two vertices enter the output and share its channels; the first has as many as the widest that it enters.
    assert vertex_channels(cell.edges, 33)[0].tolist() == [0, 17, 17, 16, 0, 0, 33]
    found = cell_costs(cell, channels=33, repeats=1, stages=1, classes=0, side=8)
    layers = [(3, 33, 3), (33, 17, 1), (33, 17, 1), (33, 33, 1), (17, 17, 3), (16, 16, 1)]
    weights = sum(k**2 * a * b for a, b, k in layers)
    assert found.parameters[0] == weights + 2 * sum(b for _, b, _ in layers)
    assert found.multiply_adds[0] == 64 * weights
    assert found.neurons[0] == 64 * sum(b for _, b, _ in layers)
    assert (found.convolutions[0], found.spatial_convolutions[0]) == (6, 2)


def test_counts_over_paths(rng):
    cells = at_random(rng, 200)
    counts = cell_counts(cells)
    for place, (edges, operators) in enumerate(zip(*cells, strict=True)):
        paths = paths_of(edges)
        large = [sum(KERNELS[operators[v - 1]] == 3 for v in path[1:-1]) for path in paths]
        # The input is projected, by one convolution, to whatever it enters.
        every = [1 + sum(KERNELS[operators[v - 1]] > 0 for v in path[1:-1]) for path in paths]
        assert counts.longest_path[place] == max((len(path) - 1 for path in paths), default=0)
        assert counts.path_spatial_convolutions[place] == sum(large)
        assert counts.path_convolutions[place] == sum(every)
        assert counts.depth[place] == max(every, default=0)
        live = set(itertools.chain(*paths))
        assert counts.spatial_convolutions[place] == sum(operators[v - 1] == 0 for v in live - {0, 6})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("|conv3x3-bn-relu~0|+output~1", "is not of the form"),
        ("|conv3x3-bn-relu~1|+|output~0|", "must take what comes before it"),
        ("|conv5x5-bn-relu~0|+|output~1|", "is unknown"),
        ("|conv3x3-bn-relu~0|+|output2~1|", "begin with `input` and end with `output`"),
        ("|conv3x3-bn-relu~0|", "begin with `input` and end with `output`"),
        ("+".join(["|conv3x3-bn-relu~0|"] * 5) + "|+|output~1|", "is not of the form"),
        ("+".join(["|conv3x3-bn-relu~0|"] * 6) + "+|output~1|", "2 to 7 vertices"),
        ("01100 input conv3x3-bn-relu output", "is neither"),
        ("010000010 input conv3x3-bn-relu output", "later vertex"),
        ("0100 input conv1x1-bn-relu output", "an operator each"),
        ("", "is neither"),
        ("|maxpool3x3~0|+|maxpool3x3~0~1|+|maxpool3x3~0~1~2|+|maxpool3x3~0~1~2~3|+|output~4|", "9 edges"),
    ],
)  # fmt: skip
def test_bad_strings_are_refused(text, said):
    with pytest.raises(InputError, match=said):
        parse_cell(text)


def test_a_cell_without_a_path_is_refused():
    with pytest.raises(InputError, match="a path from input to output"):
        from_benchmark(np.zeros((3, 3)), ["input", OPERATORS[0], "output"])
