"""Means over neighbours, against every pair of architectures compared."""

import itertools
from dataclasses import replace

import jax
import numpy as np
import pytest

from tenas_jax import DARTS
from tenas_jax.scores.neighbours import neighbour_mean, smoothed, smoothed_in_part, with_neighbours
from tenas_jax.search.evolution import mutate
from tenas_jax.spaces.cell_graph import complete_edges
from tenas_jax.spaces.space import SearchSpace

CHAIN = SearchSpace(
    name="four", operators=("none", "skip_connect", "nor_conv_1x1"), edges=((0, 1), (1, 2), (2, 3), (3, 4))
)
PAIR = SearchSpace(name="two", operators=("none", "skip_connect", "nor_conv_1x1"), edges=((0, 1), (1, 2)))
TOPOLOGY = SearchSpace(
    name="topology",
    operators=("none", "nor_conv_3x3"),
    cells=("normal", "reduce"),
    inputs=2,
    edges=complete_edges(2, 5),
    kept_edges=2,
)
MIXED = replace(TOPOLOGY, name="mixed", operators=("none", "nor_conv_3x3", "skip_connect"))


def one_change_apart(space, one, other):
    """Another operator on one edge, or the same operator from another input of the same node."""
    changed = np.argwhere(one != other)
    if len(changed) == 1:
        return True
    if not space.chooses_inputs or len(changed) != 2 or changed[0, 0] != changed[1, 0]:
        return False
    (cell, first), (_, second) = changed
    same_node = space.edges[first][1] == space.edges[second][1]
    moved = {one[cell, first], one[cell, second]} == {other[cell, first], other[cell, second]}
    return bool(same_node and moved and space.none in (one[cell, first], one[cell, second]))


@pytest.mark.parametrize("space", [CHAIN, TOPOLOGY, MIXED], ids=lambda space: space.name)
def test_neighbour_mean_is_that_of_brute_force(space, rng):
    choices = space.numbered(rng.permutation(space.size)[:40])
    values = rng.normal(size=len(choices))
    expected = []
    for mine, value in zip(choices, values, strict=True):
        near = [v for other, v in zip(choices, values, strict=True) if one_change_apart(space, mine, other)]
        expected.append(np.mean(near + [value] * (space.neighbours - len(near))))
    np.testing.assert_allclose(neighbour_mean(values, choices, space), expected, atol=1e-12)


@pytest.mark.parametrize("space", [CHAIN, TOPOLOGY], ids=lambda space: space.name)
def test_unknown_neighbours_count_as_those_that_are_known_suggest(space, rng):
    choices = space.numbered(rng.permutation(space.size)[:40])
    values = rng.normal(size=len(choices))
    pairs = [(i, j) for i, j in itertools.permutations(range(40), 2) if one_change_apart(space, choices[i], choices[j])]
    slope, start = np.polyfit([values[i] for i, _ in pairs], [values[j] for _, j in pairs], 1)
    expected = []
    for i, value in enumerate(values):
        near = [values[j] for mine, j in pairs if mine == i]
        expected.append(value + 2 * np.mean(near + [start + slope * value] * (space.neighbours - len(near))))
    np.testing.assert_allclose(smoothed_in_part(values, choices, space), expected, atol=1e-12)


def test_architectures_with_their_neighbours(rng):
    some = CHAIN.numbered(rng.permutation(CHAIN.size)[:3])
    found = with_neighbours(some, CHAIN)
    np.testing.assert_array_equal(found[:3], some)
    near = [c for c in CHAIN.enumerated().argmax(-1) if any(one_change_apart(CHAIN, c, mine) for mine in some)]
    assert {c.tobytes() for c in found} == {c.tobytes() for c in (*some, *near)}
    assert len({c.tobytes() for c in found}) == len(found)


def test_where_all_or_no_neighbours_are_known():
    everything = CHAIN.enumerated().argmax(-1)
    values = np.sin(np.arange(len(everything)))
    whole = smoothed(values, everything, CHAIN)
    np.testing.assert_allclose(smoothed_in_part(values, everything, CHAIN), whole, atol=1e-12)
    strangers = everything[[0, -1]]
    np.testing.assert_array_equal(smoothed_in_part(values[:2], strangers, CHAIN), 3 * values[:2])
    assert len(smoothed_in_part(values[:0], everything[:0], CHAIN)) == 0


@pytest.mark.parametrize("space", [CHAIN, PAIR, TOPOLOGY, MIXED, DARTS], ids=lambda space: space.name)
def test_the_number_of_neighbours_is_how_many_mutations_there_are(space, rng):
    choice = space.sample(jax.random.key(0), 1)[0].argmax(-1)
    found = {mutate(rng, choice, space).tobytes() for _ in range(60 * space.neighbours)}
    assert len(found) == space.neighbours
    assert all(
        one_change_apart(space, choice, np.frombuffer(text, choice.dtype).reshape(choice.shape)) for text in found
    )


def test_neighbour_mean_of_a_whole_space_averages_neighbours_only():
    choices = np.array(list(itertools.product(range(3), repeat=2)))[:, None]
    values = np.where((choices[:, 0] == 0).all(1), 9.0, 0.0)
    np.testing.assert_allclose(
        neighbour_mean(values, choices, PAIR), [0, 9 / 4, 9 / 4, 9 / 4, 0, 0, 9 / 4, 0, 0], atol=1e-12
    )


def test_neighbour_mean_without_neighbours_changes_nothing(rng):
    values = rng.normal(size=4)
    np.testing.assert_array_equal(neighbour_mean(values, np.eye(4, dtype=int)[:, None], CHAIN), values)


def test_a_space_of_one_architecture_has_a_finite_mean():
    alone = SearchSpace(name="alone", operators=("nor_conv_1x1",), edges=((0, 1),))
    assert alone.neighbours == 0
    np.testing.assert_array_equal(neighbour_mean(np.array([2.0]), np.zeros((1, 1, 1), int), alone), [2.0])
