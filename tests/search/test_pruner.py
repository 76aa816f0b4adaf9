"""The pruning search on scores that are plain functions of a mask."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies

from tenas_jax.errors import InputError
from tenas_jax.scores.indicators import Indicator, Scores
from tenas_jax.search import pruner
from tenas_jax.spaces import sampling
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201

KEY = jax.random.key(0)


def indicator(name, lower_is_better, score, calls=None):
    """Scores every mask by `score(mask)`, three times; a condition number is averaged by its logarithm."""

    def evaluate(key, masks):
        if calls is not None:
            calls.append(jax.random.key_data(key).tolist())
        values = np.array([[score(mask) for mask in masks]] * 3, float)
        return Scores(values, np.where(np.isfinite(values), "full rank", "rank-deficient"))

    return Indicator(name, lower_is_better, evaluate, geometric=name == "condition_number")


def worth(operator):
    """How often an operator is alive, as a share of its edge."""
    place = NAS_BENCH_201.operators.index(operator)
    return lambda mask: 1 + (mask / mask.sum(-1, keepdims=True))[..., place].sum()


@pytest.mark.parametrize("rule", ["completion", "removal"])
def test_keeps_what_both_indicators_like(rule):
    indicators = [
        indicator("condition_number", True, lambda mask: 100 / worth("nor_conv_3x3")(mask)),
        indicator("linear_regions", False, worth("nor_conv_3x3")),
    ]
    mask, infos = pruner.prune(KEY, NAS_BENCH_201, indicators, rule=rule)
    assert NAS_BENCH_201.format(mask).count("nor_conv_3x3") == 6
    assert len(infos) == (18 if rule == "completion" else 3)
    assert all(len(info.pruned) == (1 if rule == "completion" else 6) for info in infos)


@pytest.mark.parametrize("rule", ["completion", "removal"])
def test_singular_kernels_rank_worst(rule):
    """Whoever holds an average pooling alone on edge 0 has a singular kernel: it must never be what is kept."""
    pool = NAS_BENCH_201.operators.index("avg_pool_3x3")

    def condition(mask):
        return np.inf if mask[0, 0, pool] and mask[0, 0].sum() == 1 else 10.0

    mask, infos = pruner.prune(KEY, NAS_BENCH_201, [indicator("condition_number", True, condition)], rule=rule)
    assert not mask[0, 0, pool]
    assert any("rank-deficient" in info.health["condition_number"] for info in infos) or rule == "removal"


def test_removal_follows_the_released_ranks():
    """One edge decides by hand: removing skip lowers kappa by 30 %, pool by 10 %; regions fall by 20 % and 1 %."""
    state = pruner.init(NAS_BENCH_201)
    mask = np.zeros_like(state.mask)
    mask[0, :, 3] = True
    mask[0, 2, [1, 4]] = True  # skip, 3x3 and pool on edge 2
    kappa = {1: 70.0, 3: 120.0, 4: 90.0}
    regions = {1: 80.0, 3: 50.0, 4: 99.0}

    def by_missing(table, whole):
        def score(m):
            gone = [o for o in (1, 3, 4) if not m[0, 2, o]]
            return table[gone[0]] if gone else whole

        return score

    indicators = [
        indicator("condition_number", True, by_missing(kappa, 100.0)),
        indicator("linear_regions", False, by_missing(regions, 100.0)),
    ]
    _, info = pruner.step(KEY, pruner.State(mask, 0), space=NAS_BENCH_201, indicators=indicators, rule="removal")
    assert info.candidates[:, 2].tolist() == [1, 3, 4]
    np.testing.assert_allclose(info.changes["condition_number"], [-0.3, 0.2, -0.1])
    np.testing.assert_allclose(info.changes["linear_regions"], [-0.2, -0.5, -0.01])
    assert info.ranks["condition_number"].tolist() == [0, 2, 1]
    assert info.ranks["linear_regions"].tolist() == [1, 2, 0]
    assert info.total.tolist() == [1, 4, 1]
    assert info.pruned.tolist() == [[0, 2, 1]]  # a tie: the first candidate


def test_fresh_draws_a_key_for_every_candidate_and_gives_the_same_scores():
    shared, fresh = [], []
    results = []
    for calls, flag in ((shared, False), (fresh, True)):
        one = indicator("linear_regions", False, worth("nor_conv_1x1"), calls)
        results.append(
            pruner.step(
                KEY, pruner.init(NAS_BENCH_201), space=NAS_BENCH_201, indicators=[one], rule="removal", fresh=flag
            )
        )
    assert len(shared) == 1
    assert len({str(key) for key in fresh}) == len(fresh) == 24
    np.testing.assert_array_equal(results[0][1].scores["linear_regions"], results[1][1].scores["linear_regions"])
    np.testing.assert_array_equal(results[0][1].changes["linear_regions"], results[1][1].changes["linear_regions"])
    np.testing.assert_array_equal(results[0][0].mask, results[1][0].mask)


def test_completions_are_balanced_or_complete():
    mask = NAS_BENCH_201.supernet()
    choices = sampling.completions(KEY, mask, 64)
    assert choices.shape == (64, 1, 6)
    for edge in range(6):
        assert np.bincount(choices[:, 0, edge], minlength=5).tolist() == [0, 16, 16, 16, 16]
    mask[0, 1:] = np.eye(5, dtype=bool)[3]
    everything = sampling.completions(KEY, mask, 64)
    assert sorted(everything[:, 0, 0].tolist()) == [1, 2, 3, 4]


def test_a_step_is_a_function_of_key_and_state():
    indicators = [
        indicator("linear_regions", False, lambda mask: 1 + (mask * np.arange(30).reshape(1, 6, 5)).sum() % 7)
    ]
    steps = [pruner.step(KEY, pruner.init(NAS_BENCH_201), space=NAS_BENCH_201, indicators=indicators) for _ in range(2)]
    np.testing.assert_array_equal(steps[0][1].total, steps[1][1].total)
    other = pruner.step(jax.random.key(1), pruner.init(NAS_BENCH_201), space=NAS_BENCH_201, indicators=indicators)
    assert not np.array_equal(other[1].total, steps[0][1].total)


MASKS = strategies.lists(
    strategies.sets(strategies.integers(0, 4), min_size=1, max_size=5), min_size=6, max_size=6
).map(lambda edges: np.array([[[operator in alive for operator in range(5)] for alive in edges]]))


@settings(max_examples=60, deadline=None)
@given(mask=MASKS, count=strategies.integers(5, 80), seed=strategies.integers(0, 99))
def test_completions_hold_what_is_alive_equally_often(mask, count, seed):
    choices = sampling.completions(jax.random.key(seed), mask, count)
    sizes = mask.sum(-1)[0]
    assert len(choices) == min(count, np.prod(sizes))
    for edge in range(6):
        seen = np.bincount(choices[:, 0, edge], minlength=5)
        assert (seen[~mask[0, edge]] == 0).all()
        held = seen[mask[0, edge]]
        assert held.min() >= 1
        assert held.max() - held.min() <= 1
    if len(choices) == np.prod(sizes) <= count:
        assert len(np.unique(choices, axis=0)) == len(choices)
    np.testing.assert_array_equal(choices, sampling.completions(jax.random.key(seed), mask, count))


def test_completions_of_a_large_space():
    """7^28 architectures: their number does not fit into 64 bits."""
    mask = DARTS.supernet()
    choices = sampling.completions(KEY, mask, 14)
    assert choices.shape == (14, 2, 14)
    for cell, edge in np.ndindex(2, 14):
        assert sorted(choices[:, cell, edge]) == sorted(2 * list(range(1, 8)))


@pytest.mark.parametrize("seed", range(5))
def test_completion_finds_the_best_of_an_additive_score(seed):
    """Where edges do not interact, every edge's best operator is the best architecture."""
    values = np.random.default_rng(seed).permuted(np.tile(np.arange(1.0, 6.0) ** 2, (6, 1)), axis=1)[None]
    score = indicator("linear_regions", False, lambda mask: 1 + (mask * values).sum())
    mask, _ = pruner.prune(jax.random.key(seed), NAS_BENCH_201, [score], paths=1024)
    values[..., 0] = 0  # "none" is no part of the supernet
    np.testing.assert_array_equal(mask.argmax(-1), values.argmax(-1))


@pytest.mark.parametrize("geometric", [False, True])
@pytest.mark.parametrize("lower_is_better", [False, True])
def test_scores_of_any_sign_are_ranked(geometric, lower_is_better):
    """Completion goes by ranks: a score below zero decides as the same score above it."""
    values = np.random.default_rng(7).normal(size=NAS_BENCH_201.mask_shape)

    def pruned(offset):
        score = indicator("own", lower_is_better, lambda mask: (mask * values).sum() + offset)
        score = score._replace(geometric=geometric)
        mask, infos = pruner.prune(KEY, NAS_BENCH_201, [score], paths=40)
        assert all(np.isfinite(info.total).all() for info in infos)
        return mask.tolist(), [info.pruned.tolist() for info in infos]

    assert pruned(-1e3) == pruned(1e3) == pruned(0.0)


def test_completion_by_hand():
    """Two edges with two operators each: four architectures, mean log ranks against the edge's mean."""
    mask = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|nor_conv_3x3~2|")
    mask[0, 0, 1] = mask[0, 5, 1] = True
    kappa = {(1, 1): np.inf, (1, 3): 20.0, (3, 1): 5.0, (3, 3): 5.0}
    score = indicator("condition_number", True, lambda m: kappa[int(m[0, 0].argmax()), int(m[0, 5].argmax())])
    state, info = pruner.step(KEY, pruner.State(mask, 4), space=NAS_BENCH_201, indicators=[score], paths=4)
    # Places: the fives share 1 and 2, 20 is third, infinity fourth.
    assert info.candidates.tolist() == [[0, 0, 1], [0, 0, 3], [0, 5, 1], [0, 5, 3]]
    means = np.log([[12, 1.5**2], [6, 4.5]]) / 2
    np.testing.assert_allclose(info.changes["condition_number"], (means.mean(1, keepdims=True) - means).ravel())
    np.testing.assert_array_equal(info.total, info.changes["condition_number"])
    np.testing.assert_allclose(info.scores["condition_number"], [np.inf, np.log(5), np.inf, np.log(100) / 2])
    assert info.ranks["condition_number"].tolist() == [0, 3, 1, 2]
    # Four architectures, three repeats, one batch.
    assert info.health["condition_number"] == {"full rank": 9, "rank-deficient": 3}
    assert info.evaluations == 4
    assert info.pruned.tolist() == [[0, 0, 1]]
    assert state.round == 5
    assert not state.mask[0, 0, 1]
    assert mask[0, 0, 1]  # the state that came in is as it was


def test_fewer_architectures_are_scored_on_more_batches():
    calls = []
    mask = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|none~1|nor_conv_3x3~2|")
    mask[0, 0, [1, 2, 4]] = True
    score = indicator("linear_regions", False, worth("nor_conv_3x3"), calls)
    # All operators of edge 0: four architectures; another one is "none" there, and eighty have another operator elsewhere.
    for paths, batches, scored in ((4, 1, 4), (11, 2, 4), (1000, pruner.MOST_BATCHES, 4 + 1 + 4 * 5 * 4)):
        calls.clear()
        _, info = pruner.step(KEY, pruner.State(mask, 0), space=NAS_BENCH_201, indicators=[score], paths=paths)
        assert len({str(key) for key in calls}) == len(calls) == batches
        assert info.evaluations == scored * batches


def test_neighbours_decide_between_the_last_ones():
    """The better of two by itself has poor neighbours: with as many batches as there may be, they are asked."""
    mask = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|none~1|nor_conv_3x3~2|")
    mask[0, 0, 1] = True
    alone = mask[0, 1:].argmax(-1)

    def score(mask):
        lucky, edges = mask[0, 0, 1], mask[0, 1:].argmax(-1)
        if not mask[0, 0, [1, 3]].any():
            return 0.5
        return (10.1 if lucky else 10.0) if (edges == alone).all() else (1.0 if lucky else 9.0)

    for paths, gone in ((2, 3), (16, 1)):
        state = pruner.State(mask, 0)
        kwargs = {"space": NAS_BENCH_201, "indicators": [indicator("own", False, score)], "paths": paths}
        _, info = pruner.step(KEY, state, **kwargs)
        assert info.pruned.tolist() == [[0, 0, gone]]
        # The score that is shown is that of the architectures themselves.
        np.testing.assert_allclose(info.scores["own"], [10.1, 10.0])


def test_removal_rounds_then_averages_and_shares_equal_ranks():
    """Changes of 0.0004 are rounded to none; equal changes share a rank and none is left out."""
    start = pruner.init(NAS_BENCH_201)
    kappa = {1: 100.04, 2: 100.0, 3: 99.0, 4: 150.0}

    def score(mask):
        gone = np.argwhere(start.mask & ~mask)
        return kappa[gone[0][2]] if len(gone) else 100.0

    state, info = pruner.step(
        KEY, start, space=NAS_BENCH_201, indicators=[indicator("condition_number", True, score)], rule="removal"
    )
    np.testing.assert_array_equal(info.changes["condition_number"].reshape(6, 4), [[0, 0, -0.01, 0.5]] * 6)
    np.testing.assert_array_equal(info.ranks["condition_number"].reshape(6, 4), [[1, 1, 0, 2]] * 6)
    assert info.pruned.tolist() == [[0, edge, 3] for edge in range(6)]
    assert info.evaluations == 25
    np.testing.assert_array_equal(state.mask.sum(-1), 3)


@pytest.mark.parametrize("fresh", [False, True])
def test_opposite_infinities_rank_last(fresh):
    """Without skip on edge 0, a kernel is singular in one repeat; the supernet's is in another."""
    start = pruner.init(NAS_BENCH_201)

    def evaluate(key, masks):
        without_skip = ~masks[:, 0, 0, 1]
        values = np.where(without_skip, [[np.inf], [10.0], [10.0]], [[10.0], [np.inf], [10.0]])
        return Scores(values, np.where(np.isfinite(values), "full rank", "rank-deficient"))

    one = Indicator("condition_number", True, evaluate, program=None)
    _, info = pruner.step(KEY, start, space=NAS_BENCH_201, indicators=[one], rule="removal", fresh=fresh)
    assert np.isnan(info.changes["condition_number"][0])
    assert info.ranks["condition_number"][0] == info.ranks["condition_number"].max() > 0
    assert [0, 0, 1] not in info.pruned.tolist()


def test_bad_input():
    one = indicator("linear_regions", False, worth("nor_conv_1x1"))
    with pytest.raises(InputError, match="`rule` must be"):
        pruner.prune(KEY, NAS_BENCH_201, [one], rule="remove")
    with pytest.raises(InputError, match="at least one indicator"):
        pruner.prune(KEY, NAS_BENCH_201, [])
    with pytest.raises(InputError, match="`paths` must be at least 4"):
        pruner.prune(KEY, NAS_BENCH_201, [one], paths=3)
