"""The experiment on depth and width, at a small size, against other routes; and the pictures of the concepts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import docs_pictures as pictures
import network_depth_and_width as experiment
from network_depth_and_width import Variances
from tenas_jax import NAS_BENCH_201
from tenas_jax.ntk import neural_tangents as _neural_tangents
from tenas_jax.ntk.spectrum import condition_numbers

RELU = Variances(2.0, 0.3)


def pre_activations(variances, params, points):
    """Of all hidden layers, written down a second time, layer by layer in NumPy."""
    found, x = [], points
    hidden = params["hidden"]
    for weights, bias in [tuple(params["first"][k] for k in "wb"), *zip(hidden["w"], hidden["b"], strict=True)]:
        z = np.sqrt(variances.weight / x.shape[1]) * x @ np.asarray(weights) + np.sqrt(variances.bias) * np.asarray(
            bias
        )
        found.append(z)
        x = np.maximum(z, 0)
    return np.concatenate(found, axis=1)


def test_breakpoints_are_where_a_fine_grid_sees_switches():
    params, ends = experiment.draw(jax.random.key(0), 6, 3), experiment.segment()
    places = experiment.breakpoints(RELU, params, ends)
    grid = np.linspace(0, 1, 200_001)
    signs = pre_activations(RELU, params, ends[0] + grid[:, None] * (ends[1] - ends[0])) > 0
    left = np.repeat(np.arange(len(grid) - 1), (signs[1:] != signs[:-1]).sum(1))
    assert len(places) > 3
    np.testing.assert_allclose(places, (grid[left] + grid[left + 1]) / 2, atol=5e-6)


def test_first_layer_switches_as_often_as_angles_say():
    """A weight without bias separates two inputs with probability angle / pi; with one, the angle of (x, sigma_b)."""
    ends = experiment.segment()
    for bias in (0.0, 0.7):
        long = np.concatenate([np.sqrt(2 / experiment.INPUTS) * ends, np.full((2, 1), np.sqrt(bias))], axis=1)
        cosine = long[0] @ long[1] / np.prod(np.linalg.norm(long, axis=1))
        expected = 10 * np.arccos(cosine) / np.pi
        assert experiment.predicted_breakpoints(Variances(2.0, bias), 10, 1, ends) == pytest.approx(expected, abs=1e-6)


def test_wide_networks_switch_as_often_as_predicted():
    (row,) = experiment.line_regions((3,), (200,), (0.3,), seeds=8)
    assert row["equal_to_distinct_patterns"] == "8 of 8"
    assert abs(row["breakpoints"]["mean"] - row["predicted"]) < 4 * row["breakpoints"]["standard_error"]
    assert row["breakpoints"]["standard_error"] < 0.05 * row["predicted"]


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_recursion_is_that_of_neural_tangents(activation):
    tangents = _neural_tangents.load()
    variances, x = Variances(1.7, 0.2), experiment.inputs(4)
    stax = tangents.stax
    dense = [stax.Dense(1, W_std=variances.weight**0.5, b_std=variances.bias**0.5) for _ in range(4)]
    nonlinearity = {"relu": stax.Relu, "erf": stax.Erf}[activation]
    layers = [layer for d in dense[:-1] for layer in (d, nonlinearity())]
    kernel = stax.serial(*layers, dense[-1])[2](jnp.asarray(x), None, ("nngp", "ntk"))
    k, t = experiment.infinite_kernels(activation, variances, x, depth=3)
    np.testing.assert_allclose(k, kernel.nngp, rtol=1e-6)
    np.testing.assert_allclose(t, kernel.ntk, rtol=1e-6)


def test_wide_networks_have_the_predicted_kernels():
    variances, x = Variances(1.7, 0.2), experiment.inputs(4)
    function = experiment.partial(experiment.apply, variances, jax.nn.relu)
    draws = [
        experiment._finite_kernels(function, experiment.draw(jax.random.key(seed), 256, 2), jnp.asarray(x))
        for seed in range(12)
    ]
    mean, error = np.mean(draws, axis=0), np.std(draws, axis=0, ddof=1) / np.sqrt(len(draws))
    expected = np.stack(experiment.infinite_kernels("relu", variances, x, 2))
    assert (np.abs(mean - expected) < 5 * error + 0.01 * expected.max()).all()


def test_deep_critical_relu_networks_end_at_a_condition_number_that_is_known():
    """T / depth tends to K (1 + 3 delta) / 4, of condition number (n + 3) / 3."""
    n = 6
    x = experiment.inputs(n)
    kernels = [experiment.infinite_kernels("relu", Variances(2.0, 0.0), x, depth)[1] for depth in (500, 5000)]
    near, nearer = np.abs(condition_numbers(np.stack(kernels))[0] - (n + 3) / 3)
    assert nearer < near < 0.2


def test_condition_numbers_of_relu_know_no_scale_of_weights():
    x = experiment.inputs(5)
    first, second = (np.stack(experiment.infinite_kernels("relu", Variances(s, 0.0), x, 7)) for s in (0.7, 3.0))
    np.testing.assert_allclose(condition_numbers(first)[0], condition_numbers(second)[0], rtol=1e-9)


def test_critical_erf_networks_keep_a_small_perturbation():
    weight = experiment.critical_weight_variance(0.05)
    x = experiment.inputs(2)
    x[1] = x[0] + 1e-4 * (x[1] - x[0])
    variances = Variances(weight, 0.05)
    distances = []
    for depth in (30, 31):
        k, _ = experiment.infinite_kernels("erf", variances, x, depth)
        distances.append(k[0, 0] + k[1, 1] - 2 * k[0, 1])
    assert distances[1] / distances[0] == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_experiment_runs_and_draws(tmp_path):
    rows = experiment.conditions((1, 3), (8, 16), n=3, seeds=2)
    assert [row["depth"] for row in rows] == [1, 3] * 6
    experiment.plot_conditions(rows, tmp_path / "conditions.png")
    experiment.plot_regions(experiment.line_regions((1, 2), (4, 8), (0.0, 0.2), seeds=2), tmp_path / "regions.png")
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("conditions.png", "regions.png"))


def test_one_layer_cuts_a_plane_as_lines_do(tmp_path):
    """Two lines that cross make 4 regions, m lines at most 1 + m (m + 1) / 2."""
    key = jax.random.key(3)
    few, more = (pictures.plane_of_regions(key, (m,), 300).max() + 1 for m in (2, 6))
    assert few in (3, 4)
    assert 6 < more <= 22
    assert pictures.plane_of_regions(key, (6, 6), 300).max() + 1 > more
    pictures.draw_plane(tmp_path / "plane.png", side=40, networks=((3,), (3, 3)))
    assert (tmp_path / "plane.png").stat().st_size > 3000


def test_training_errors_are_those_of_gradient_descent():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 6))
    kernel = root @ root.T
    targets = np.eye(4)  # random targets have these second moments
    outputs = np.zeros((4, 4))
    for _ in range(5):
        outputs -= kernel @ (outputs - targets) / np.linalg.norm(kernel, 2)
    error = ((outputs - targets) ** 2).sum() / 4
    np.testing.assert_allclose(pictures.training_errors(kernel, np.array([0, 5])), [1, error], rtol=1e-10)


@pytest.mark.slow
def test_pictures_of_kernels_and_of_the_search(tmp_path):
    pictures.draw_spectra(tmp_path / "spectra.png", n=4)
    architecture = pictures.draw_search(tmp_path / "search.png", paths=8)
    NAS_BENCH_201.parse(architecture)
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("spectra.png", "search.png"))
