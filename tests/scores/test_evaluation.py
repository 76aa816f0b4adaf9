"""All scores of one call against each score on its own, and what they print."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tenas_jax
from tenas_jax.errors import InputError
from tenas_jax.scores.evaluation import evaluate


@pytest.fixture
def network(rng):
    sizes = [3, 8, 7, 2]
    params = [
        {"w": jnp.asarray(rng.normal(size=(a, b))), "b": jnp.asarray(rng.normal(size=(1, b)))}
        for a, b in itertools.pairwise(sizes)
    ]

    def fn(variables, x):
        for layer in variables["params"][:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return x @ variables["params"][-1]["w"] + variables["params"][-1]["b"]

    return fn, {"params": params}


def test_scores_are_those_of_their_own_functions(network, rng):
    fn, variables = network
    images, samples = (jnp.asarray(rng.normal(size=(n, 3))) for n in (6, 300))
    found = evaluate(fn, variables, images, samples=samples)

    rows = jax.jacobian(lambda v: fn(v, images).sum(1))(variables)
    kernel = sum(np.reshape(leaf, (6, -1)) @ np.reshape(leaf, (6, -1)).T for leaf in jax.tree.leaves(rows))
    for value, expected in zip(found.ntk[:-1], tenas_jax.statistics(kernel)[:-1], strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-8)
    assert found.ntk.health == "full rank"

    def bits(x):
        first = x @ variables["params"][0]["w"] + variables["params"][0]["b"]
        second = jnp.maximum(first, 0) @ variables["params"][1]["w"] + variables["params"][1]["b"]
        return np.concatenate([first > 0, second > 0], axis=1)

    assert found.linear_regions.count == len(np.unique(bits(samples), axis=0))
    assert found.linear_regions.samples == 300
    pairs = (bits(images)[:, None] == bits(images)[None]).sum(2)
    np.testing.assert_allclose(found.hamming, np.linalg.slogdet(pairs)[1], rtol=1e-10)
    assert (found.neurons, found.parameters) == (15, 3 * 8 + 8 + 8 * 7 + 7 + 7 * 2 + 2)


def test_it_prints_one_line_a_score(network, rng):
    fn, variables = network
    text = str(evaluate(fn, variables, jnp.asarray(rng.normal(size=(5, 3)))))
    assert text.splitlines()[0].startswith("condition number        ")
    assert "(full rank)" in text
    assert "of 5 samples, saturated: take more samples" in text
    assert text.splitlines()[-1].split() == ["parameters", "111"]
    twins = jnp.ones((4, 3))
    worst = evaluate(fn, variables, twins)
    assert "inf (rank-deficient)" in str(worst)
    assert worst.hamming == -np.inf


def test_options_are_passed_on(network, rng):
    fn, variables = network
    images = jnp.asarray(rng.normal(size=(4, 3)))

    def smooth(variables, x):
        return fn(variables, jnp.tanh(x))

    with pytest.raises(InputError, match="smooth activations: tanh"):
        evaluate(smooth, variables, images)
    assert evaluate(smooth, variables, images, threshold=0.0).neurons == 3 + 15
    only = evaluate(fn, variables, images, trainable=lambda path: path.endswith("b"), block_size=2)
    assert only.parameters == 8 + 7 + 2
