"""Helpers of the benchmarks that rank architectures and measure costs."""

import numpy as np
import pytest

from common.statistics import judged, over_batches
from ntk_choices import Choice, statistics
from rank_defaults import discounted_gain, of_random
from tenas_jax.ntk.gaussian_kernels import Settings


def random_kernels(count=3, n=6):
    factors = np.random.default_rng(0).normal(size=(count, n, 2 * n))
    return factors @ factors.swapaxes(1, 2)


def condition_numbers(kernels, skip=0):
    eigenvalues = np.linalg.eigvalsh(kernels)
    return eigenvalues[:, -1] / eigenvalues[:, skip]


def test_statistics_of_a_kernel_by_other_routes():
    kernels = random_kernels()
    scores = statistics(kernels)
    np.testing.assert_allclose(scores["condition_number"], -np.linalg.cond(kernels), rtol=1e-9)
    np.testing.assert_allclose(scores["smallest_eigenvalue"], 1 / np.linalg.norm(np.linalg.inv(kernels), 2, (1, 2)))
    centre = np.eye(6) - 1 / 6
    centred = condition_numbers(centre @ kernels @ centre, skip=1)  # the constant is the eigenvector of zero
    np.testing.assert_allclose(scores["condition_number_of_the_centred_kernel"], -centred, rtol=1e-9)
    shifted = statistics(kernels + 100)["condition_number_of_the_centred_kernel"]
    np.testing.assert_allclose(shifted, -centred, rtol=1e-9)
    scale = np.arange(1, 7)
    correlations = statistics(kernels * scale[:, None] * scale[None])["condition_number_of_the_correlations"]
    np.testing.assert_allclose(correlations, scores["condition_number_of_the_correlations"], rtol=1e-9)


def test_a_choice_names_what_is_not_the_default():
    assert Choice().changes() == {}
    choice = Choice(stages=1, settings=Settings("standard"))
    assert choice.changes() == {"stages": 1, "parametrisation": "standard"}


def test_a_score_is_judged_by_all_it_orders_and_by_what_it_puts_first():
    accuracy = np.arange(20.0)
    assert judged(np.exp(accuracy), accuracy) == {
        "kendall_tau": pytest.approx(1),
        "spearman_rho": pytest.approx(1),
        "first": 19,
        "mean_of_first_ten": 14.5,
    }
    swapped = accuracy.copy()
    swapped[[18, 19]] = 19, 18
    result = judged(swapped, accuracy)
    assert result["kendall_tau"] == pytest.approx(1 - 2 / (20 * 19 / 2))
    assert result["first"] == 18


def test_discounted_gain_by_hand():
    accuracy = np.array([2.0, 1.0, 3.0, 0.0])
    found = (2**1 - 1) / np.log2(2) + (2**3 - 1) / np.log2(3)  # the second and the third come first
    ideal = (2**3 - 1) / np.log2(2) + (2**2 - 1) / np.log2(3)
    assert discounted_gain(np.array([0.0, 9.0, 8.0, 1.0]), accuracy, cut=2) == pytest.approx(found / ideal)
    assert discounted_gain(accuracy, accuracy, cut=4) == pytest.approx(1)


def test_the_best_of_random_architectures():
    accuracy = np.random.default_rng(0).normal(size=4000)
    found = of_random(accuracy, accuracy)  # of 3,000 of 4,000, five times: the best of all, or one of the next few
    assert np.sort(accuracy)[-8] < found <= accuracy.max()
    assert of_random(-accuracy, accuracy) < np.sort(accuracy)[8]


def test_figures_over_batches():
    assert over_batches([1.0, 3.0]) == {"mean": 2.0, "standard_deviation": 1.4142, "batches": [1.0, 3.0]}
    assert over_batches([1.0]) == {"mean": 1.0, "batches": [1.0]}


def test_scaling_of_a_power_law():
    pytest.importorskip("torch")
    from ntk_cost import scaling

    sizes = (4, 8, 16)
    assert scaling(sizes, [0.1 * size**3 for size in sizes]) == {"exponent": 3, "of_the_two_largest": 3}
