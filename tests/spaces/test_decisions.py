"""Spaces of decisions that are no edges of a cell: masks, validity, sampling, neighbours and strings, by brute force."""

import itertools
import pickle
from collections import Counter
from dataclasses import replace

import jax
import numpy as np
import pytest

from tenas_jax import SearchSpace
from tenas_jax.errors import InputError
from tenas_jax.scores.neighbours import neighbour_mean, with_neighbours
from tenas_jax.search.evolution import mutate
from tenas_jax.spaces.decisions import Decision
from tenas_jax.spaces.registry import identity_of
from tenas_jax.spaces.sampling import architectures

OPTIONS = (("a", "b"), ("b", "c1", "a"), ("d",), ("a", "c1"))


def network(read, space, weights, images, skeleton, cell):
    """Not asked for here."""
    raise NotImplementedError


def no_two_c1(space, masks):
    """At most one decision is c1."""
    return (masks.argmax(-1) == space.operators.index("c1")).sum((-2, -1)) < 2


RAGGED = SearchSpace(
    name="ragged",
    decisions=tuple(Decision(f"decision {n}", options) for n, options in enumerate(OPTIONS)),
    network=network,
)
VALID = replace(RAGGED, name="valid", validity=no_two_c1)
ALL = list(itertools.product(*map(sorted, OPTIONS)))  # as options come on a mask's last axis
ALLOWED = [options for options in ALL if options.count("c1") < 2]


def names(space, masks):
    return [tuple(space.operators[o] for o in choice[0]) for choice in masks.argmax(-1)]


def test_everything_is_enumerated_in_order():
    assert names(RAGGED, RAGGED.enumerated()) == ALL
    assert names(VALID, VALID.enumerated()) == ALLOWED
    assert RAGGED.size == VALID.size == len(ALL)
    assert RAGGED.supernet().sum(-1).tolist() == [[2, 3, 1, 2]]


def test_strings_are_read_back():
    for mask in VALID.enumerated():
        assert (VALID.parse(VALID.format(mask)) == mask).all()
    assert RAGGED.format(RAGGED.enumerated()[0]) == "a-a-d-a"
    digits = SearchSpace(
        name="digits", decisions=(Decision("x", ("0", "1")), Decision("y", ("1", "2"))), network=network
    )
    assert digits.formats(digits.enumerated()) == ["01", "02", "11", "12"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a-b-d", "has 3 options; valid has 4 decisions"),
        ("a-b-d-d", "unknown option 'd' as 'decision 3'"),
        ("a-c1-d-c1", "do not go together"),
    ],
)
def test_strings_of_other_architectures_are_refused(text, said):
    with pytest.raises(InputError, match=said):
        VALID.parse(text)


def test_random_architectures_are_all_valid_ones_equally_often():
    counts = Counter(names(VALID, VALID.sample(jax.random.key(0), 4000)))
    assert set(counts) == set(ALLOWED)
    expected = 4000 / len(ALLOWED)
    assert max(abs(count - expected) for count in counts.values()) < 5 * expected**0.5


def test_neighbours_are_one_decision_away():
    def apart(first, second):
        return sum(a != b for a, b in zip(first, second, strict=True))

    assert RAGGED.neighbours == sum(apart(ALL[0], other) == 1 for other in ALL)
    rng, parent = np.random.default_rng(0), VALID.parse("a-b-d-c1").argmax(-1)
    children = {names(VALID, VALID.one_hot(mutate(rng, parent, VALID))[None])[0] for _ in range(200)}
    assert children == {other for other in ALLOWED if apart(other, ("a", "b", "d", "c1")) == 1}
    around = names(VALID, VALID.one_hot(with_neighbours(parent[None], VALID)))
    assert set(around) == children | {("a", "b", "d", "c1")}
    values = np.random.default_rng(1).normal(size=len(ALL))
    found = neighbour_mean(values, RAGGED.enumerated().argmax(-1), RAGGED)
    for value, one in zip(found, ALL, strict=True):
        beside = [v for v, other in zip(values, ALL, strict=True) if apart(one, other) == 1]
        assert np.isclose(value, np.mean(beside))


def test_completions_of_a_mask_are_valid_and_hold_every_option():
    few = architectures(jax.random.key(0), VALID.supernet(), 7, VALID)
    assert len(few) == 7
    assert VALID.valid(VALID.one_hot(few)).all()
    assert (VALID.one_hot(few).any(0) == VALID.supernet()).all()
    everything = architectures(jax.random.key(0), VALID.supernet(), 1000, VALID)
    assert sorted(names(VALID, VALID.one_hot(everything))) == sorted(ALLOWED)
    stuck = VALID.supernet() & ~VALID.one_hot(np.array([[2, 0, 3, 0]])) | VALID.parse("a-b-d-c1")
    stuck[0, 1] = VALID.parse("a-c1-d-a")[0, 1]
    stuck[0, 3] = VALID.parse("a-b-d-c1")[0, 3]
    with pytest.raises(InputError, match="no valid architecture"):
        architectures(jax.random.key(0), stuck, 100, VALID)


def test_masks_that_are_none_are_refused():
    with pytest.raises(InputError, match="'decision 0' of ragged has no option 'c1'; it has a, b"):
        RAGGED.check(np.ones(RAGGED.mask_shape, bool))
    with pytest.raises(InputError, match="an option of every decision"):
        RAGGED.check(np.zeros(RAGGED.mask_shape, bool))
    with pytest.raises(InputError, match="one option a decision; the decision 'decision 0' has 2"):
        RAGGED.format(RAGGED.supernet())
    assert RAGGED.is_connected(RAGGED.supernet())
    assert VALID.connected(np.stack([VALID.supernet(), RAGGED.parse("a-c1-d-c1")])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"decisions": [Decision("x", ("a", "b"))]}, "must be a tuple of `Decision`s"),
        ({"decisions": (Decision("x", ("a", "a")),)}, "the options of 'x' must be different names"),
        ({"decisions": (Decision("x", ("a-b",)),)}, "the options of 'x' must be different names"),
        ({"decisions": (Decision("x", ("none", "a")),)}, "is an operator of cells"),
        ({"decisions": (Decision("x", ("a",)), Decision("x", ("b",)))}, "must have different names"),
        ({"decisions": (Decision("x", ("a", "b")),), "network": None}, "needs a `network`"),
    ],
)
def test_definitions_that_are_no_space_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        SearchSpace(**({"name": "wrong", "network": network} | given))


def test_a_space_travels_and_has_an_identity_of_its_own():
    assert pickle.loads(pickle.dumps(VALID)) == VALID
    assert identity_of(RAGGED) != identity_of(replace(RAGGED, decisions=RAGGED.decisions[:3]))
