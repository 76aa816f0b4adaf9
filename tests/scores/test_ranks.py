"""Changes, rounding and ranks: against scipy, decimal arithmetic, and the definitions spelled out in plain Python."""

import itertools
import math
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from tenas_jax.scores import ranks as ranking

finite = st.floats(-1e6, 1e6)
# Few values, so that ties are common.
tied = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 0.5004, 3.0, 1e6, math.inf, -math.inf]), min_size=1, max_size=30)


def test_relative_change_by_hand():
    np.testing.assert_array_equal(ranking.relative_change([3.0, 1.0, -1.0], [2.0, 2.0, 2.0]), [0.5, -0.5, -1.5])
    # A positive change is a larger score, whatever the sign of the reference.
    np.testing.assert_array_equal(ranking.relative_change([-1.0, -3.0], -2.0), [0.5, -0.5])


def test_changes_that_are_not_finite_keep_their_direction():
    inf, nan = math.inf, math.nan
    after = np.array([inf, 5.0, inf, 0.0, 1.0, nan, 1.0])
    before = np.array([5.0, inf, inf, 0.0, 0.0, 1.0, nan])
    np.testing.assert_array_equal(ranking.relative_change(after, before), [inf, -inf, 0.0, 0.0, inf, nan, nan])


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))
def test_changes_of_positive_scores_are_quotients(after, before):
    relative = float(ranking.relative_change(after, before))
    np.testing.assert_allclose(relative, after / before - 1, rtol=1e-9, atol=1e-9)


@given(st.lists(finite, max_size=5), st.integers(0, 6))
def test_decimals_are_rounded_correctly(values, decimals):
    expected = [float(Decimal(v).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)) for v in values]
    np.testing.assert_array_equal(ranking.round_decimals(values, decimals), expected)


def test_decimals_differ_from_scaled_rounding():
    # 0.005 is stored as a little more than 0.005; times 100 it becomes exactly 0.5, which np.round takes to even.
    assert np.round(0.005, 2) == 0.0
    assert ranking.round_decimals([0.005], 2) == 0.01
    np.testing.assert_array_equal(ranking.round_decimals([[math.inf, math.nan]], 3), [[math.inf, math.nan]])


@given(st.lists(st.floats(-1e300, 1e300), max_size=5), st.integers(1, 8))
def test_significant_figures_are_rounded_correctly(values, figures):
    expected = []
    for value in values:
        exact = Decimal(value)
        step = Decimal(1).scaleb(exact.adjusted() - figures + 1)
        expected.append(float(exact.quantize(step, rounding=ROUND_HALF_EVEN)) if value else 0.0)
    np.testing.assert_array_equal(ranking.round_significant(values, figures), expected)


def test_significant_figures_keep_what_is_not_finite():
    values = [math.inf, -math.inf, math.nan, 0.0]
    np.testing.assert_array_equal(ranking.round_significant(values, 3), values)


@given(tied)
def test_dense_ranks_are_those_of_scipy(values):
    np.testing.assert_array_equal(ranking.dense_rank(values), rankdata(values, method="dense") - 1)
    down = rankdata(-np.array(values), method="dense") - 1
    np.testing.assert_array_equal(ranking.dense_rank(values, descending=True), down)


@given(tied)
def test_average_ranks_are_those_of_scipy(values):
    best_is_large = rankdata(values, method="average") / len(values)
    np.testing.assert_allclose(ranking.average_rank(values, descending=True), best_is_large, rtol=1e-15)
    np.testing.assert_allclose(ranking.average_rank(-np.array(values)), best_is_large, rtol=1e-15)


@pytest.mark.parametrize("rank", [ranking.dense_rank, ranking.released_rank])
@pytest.mark.parametrize(("descending", "worst"), [(False, math.inf), (True, -math.inf)])
def test_what_is_not_finite_ranks_last(rank, descending, worst):
    np.testing.assert_array_equal(rank([math.nan, 1.0, worst, 1.0], descending=descending), [1, 0, 1, 0])
    average = ranking.average_rank([math.nan, 1.0, worst, 1.0], descending=descending)
    np.testing.assert_array_equal(average, [0.375, 0.875, 0.375, 0.875])


@given(tied, st.randoms())
def test_ranks_follow_their_candidates(values, random):
    order = random.sample(range(len(values)), len(values))
    shuffled = [values[i] for i in order]
    for rank in (ranking.dense_rank, ranking.average_rank):
        np.testing.assert_array_equal(rank(shuffled), rank(values)[order])


def released_rank_spelled_out(changes, descending):
    """The rule in its own words: sort stably by 3 significant figures, count up at unequal neighbours."""
    sign = -1 if descending else 1
    order = sorted(range(len(changes)), key=lambda i: sign * float(f"{changes[i]:.3g}"))
    ranks, rank = [0] * len(changes), 0
    for before, now in itertools.pairwise(order):
        rank += changes[now] != changes[before]
        ranks[now] = rank
    return ranks


@given(
    tied | st.lists(st.sampled_from([0.12341, 0.12342, 0.12449, 0.1245, 0.12451, -0.12341]), max_size=12), st.booleans()
)
def test_released_ranks_follow_the_rule(changes, descending):
    ranks = ranking.released_rank(changes, descending=descending)
    np.testing.assert_array_equal(ranks, released_rank_spelled_out(changes, descending))


def test_released_ranks_keep_the_order_of_near_ties():
    # 0.12349 and 0.12341 are both 0.123: the first tried stays first, although it is the larger; equal ones between
    # which another stands do not share a rank.
    assert ranking.released_rank([0.12349, 0.12341, 0.12349, 0.05]).tolist() == [1, 2, 3, 0]
    assert ranking.dense_rank([0.12349, 0.12341, 0.12349, 0.05]).tolist() == [2, 1, 2, 0]


def test_no_candidates_have_no_ranks():
    for rank in (ranking.dense_rank, ranking.released_rank, ranking.average_rank):
        assert rank([]).shape == (0,)


def test_sums():
    np.testing.assert_array_equal(ranking.rank_sum([np.array([0, 2, 1]), np.array([3, 0, 1])]), [3, 2, 2])
    ranks = [np.array([1.0, 0.5]), np.array([0.25, 0.5])]
    np.testing.assert_allclose(ranking.sum_of_log_ranks(ranks), np.log([0.25, 0.25]), rtol=1e-15)


def test_log_ranks_count_places_from_the_best():
    values = np.array([3.0, np.nan, 1.0, 2.0, 2.0])
    np.testing.assert_allclose(ranking.log_rank(values), np.log([4, 5, 1, 2.5, 2.5]), rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(
        ranking.log_rank(-values, descending=True), ranking.log_rank(values), rtol=1e-15, atol=1e-15
    )
