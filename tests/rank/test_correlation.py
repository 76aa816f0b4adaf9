"""Helpers of the benchmarks that rank architectures and measure costs."""

import csv
import gzip

import numpy as np
import pytest
from conftest import outside_file

from common.statistics import judged, over_batches
from ntk_choices import Choice, statistics
from rank_correlation import combined, convolution_cost
from tenas_jax.ntk.gaussian_kernels import Settings
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201


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


def test_aggregates_put_what_is_not_connected_last():
    values = {
        "condition_number": np.array([3.0, np.nan, 5.0, 50.0]),
        "condition_number_of_one_stage": np.array([2.0, np.nan, 7.0, 9.0]),
        "linear_regions": np.array([40.0, np.nan, 80.0, 2.0]),
    }
    scores = combined(values)
    assert all(score.argmin() == 1 for score in scores.values())
    np.testing.assert_allclose(scores["sum of ranks"], [1.75, 0.5, 1.75, 1.0])
    np.testing.assert_allclose(scores["sum of log ranks"], np.log([3 / 4, 1 / 16, 3 / 4, 1 / 4]))
    np.testing.assert_allclose(scores["sum of log places"], -np.log([2, 16, 2, 9]))


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


def test_figures_over_batches():
    assert over_batches([1.0, 3.0]) == {"mean": 2.0, "standard_deviation": 1.4142, "batches": [1.0, 3.0]}
    assert over_batches([1.0]) == {"mean": 1.0, "batches": [1.0]}


def test_convolution_cost_by_hand():
    cell = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
    assert convolution_cost(NAS_BENCH_201.parse(cell)[None]).tolist() == [19]


def test_convolution_cost_is_linear_in_the_flops_of_the_benchmark():
    with gzip.open(outside_file("TENAS_NASBENCH201"), "rt") as file:
        rows = [row for row in csv.DictReader(file) if row.get("flops_millions")]
    if not rows:
        pytest.skip("the table holds no FLOPs")
    cost = convolution_cost(np.stack([NAS_BENCH_201.parse(row["architecture"]) for row in rows]))
    # 15 cells; a 1x1 convolution at 16 channels and 32 x 32 pixels costs as much as at 64 and 8 x 8.
    per_unit = 15 * 16 * 16 * 32 * 32 / 1e6
    base = [float(row["flops_millions"]) - per_unit * c for row, c in zip(rows, cost, strict=True)]
    np.testing.assert_allclose(base, base[0], atol=1e-3)


def test_scaling_of_a_power_law():
    pytest.importorskip("torch")
    from ntk_cost import scaling

    sizes = (4, 8, 16)
    assert scaling(sizes, [0.1 * size**3 for size in sizes]) == {"exponent": 3, "of_the_two_largest": 3}
