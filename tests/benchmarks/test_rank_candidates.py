"""What candidates for the default scores and kernels of DARTS are judged by, each figure by another route."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from rank_darts_kernels import beside, weighted
from rank_default_candidates import CANDIDATES, KERNELS, read_kernels
from tenas_jax import NAS_BENCH_201
from tenas_jax.scores.catalogue import chosen_scores


def test_the_default_of_the_candidates_is_the_default_of_the_space():
    names = [
        "condition_number_no_batch_norm",
        "trace_over_smallest",
        "effective_regions_deep",
        "live_spatial_convolutions",
    ]
    scores = chosen_scores(NAS_BENCH_201, names)
    kernels = {"none, grey": scores[names[0]].work, "stages": scores[names[1]].work}
    assert {name: KERNELS[name] for name in kernels} == kernels
    assert CANDIDATES["default"] == ("none, grey: condition number", "stages: trace over smallest", *names[2:])


def test_what_is_read_of_kernels(rng):
    factors = rng.normal(size=(4, 6, 9))
    kernels = factors @ factors.swapaxes(1, 2)
    kernels[3] = factors[3, :, :2] @ factors[3, :, :2].T  # of rank two
    found = read_kernels(kernels)
    assert all(values[3] == -np.inf for values in found.values())
    scale = rng.uniform(1, 9, 6)
    for kernel, row in zip(kernels[:3], range(3), strict=True):
        assert found["condition number"][row] == pytest.approx(-np.log(np.linalg.cond(kernel)))
        smallest = 1 / np.linalg.norm(np.linalg.inv(kernel), 2)
        assert found["trace over smallest"][row] == pytest.approx(-np.log(np.trace(kernel) / smallest))
        correlations = kernel / np.sqrt(np.outer(np.diag(kernel), np.diag(kernel)))
        alike = found["condition number of the correlations"][row]
        assert alike == pytest.approx(-np.log(np.linalg.cond(correlations)))
        rescaled = read_kernels((kernel * np.outer(scale, scale))[None])
        assert rescaled["condition number of the correlations"][0] == pytest.approx(alike)


def test_partial_correlations_by_their_formula_of_three(rng):
    best, noise, accuracy = rng.normal(size=(3, 200))
    other, accuracy = best + noise, accuracy + best + 0.5 * noise
    figures = beside(best, other, accuracy)
    for name, statistic in (("partial tau", kendalltau), ("partial rho", spearmanr)):
        pairs = ((other, accuracy), (other, best), (best, accuracy))
        a, b, c = (float(np.asarray(statistic(x, y))[0]) for x, y in pairs)
        assert figures[name] == pytest.approx((a - b * c) / np.sqrt((1 - b**2) * (1 - c**2)))
    assert figures["sum, weight 1"] == pytest.approx(np.asarray(kendalltau(best + other, accuracy))[0])


def test_a_negative_weight_takes_ranks_of_the_other_end():
    log_ranks = np.log([0.25, 1.0, 0.75, 0.5])
    np.testing.assert_allclose(weighted(log_ranks, 0.5), 0.5 * log_ranks)
    np.testing.assert_allclose(weighted(log_ranks, -0.5), 0.5 * np.log([1.0, 0.25, 0.5, 0.75]))


def test_nothing_is_left_of_a_score_that_says_what_the_best_one_says(rng):
    best, accuracy = rng.normal(size=(2, 3000))
    other = best + rng.normal(size=3000)  # knows of the accuracy what the best one knows
    figures = beside(best, other, accuracy + best)
    assert abs(figures["partial rho"]) < 0.06
    assert figures["alone"] > 0.2
    assert figures["sum, weight 1"] < np.asarray(kendalltau(best, accuracy + best))[0]
