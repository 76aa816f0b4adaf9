"""The pruning search on scores that are plain functions of a mask."""

import jax
import numpy as np
import pytest

from tenas_jax import pruner
from tenas_jax.indicators import Indicator, Scores
from tenas_jax.space import NAS_BENCH_201

KEY = jax.random.key(0)


def indicator(name, lower_is_better, score, calls=None):
    """Scores every mask by `score(mask)`, three times."""

    def evaluate(key, masks):
        if calls is not None:
            calls.append(jax.random.key_data(key).tolist())
        values = np.array([[score(mask) for mask in masks]] * 3, float)
        return Scores(values, np.where(np.isfinite(values), "full rank", "rank-deficient"))

    return Indicator(name, lower_is_better, evaluate, program=None)


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
    choices = pruner.completions(KEY, mask, 64)
    assert choices.shape == (64, 1, 6)
    for edge in range(6):
        assert np.bincount(choices[:, 0, edge], minlength=5).tolist() == [0, 16, 16, 16, 16]
    mask[0, 1:] = np.eye(5, dtype=bool)[3]
    everything = pruner.completions(KEY, mask, 64)
    assert sorted(everything[:, 0, 0].tolist()) == [1, 2, 3, 4]


def test_a_step_is_a_function_of_key_and_state():
    indicators = [
        indicator("linear_regions", False, lambda mask: 1 + (mask * np.arange(30).reshape(1, 6, 5)).sum() % 7)
    ]
    steps = [pruner.step(KEY, pruner.init(NAS_BENCH_201), space=NAS_BENCH_201, indicators=indicators) for _ in range(2)]
    np.testing.assert_array_equal(steps[0][1].total, steps[1][1].total)
    other = pruner.step(jax.random.key(1), pruner.init(NAS_BENCH_201), space=NAS_BENCH_201, indicators=indicators)
    assert not np.array_equal(other[1].total, steps[0][1].total)
