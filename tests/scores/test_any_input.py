"""Inputs that are no images: tokens, and trees of arrays. A small transformer by all scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax import activation_patterns, count_linear_regions, empirical_ntk, evaluate
from tenas_jax.errors import InputError

WORDS, LENGTH, WIDTH = 11, 5, 8


def weights(key):
    shapes = {
        "embedding": (WORDS, WIDTH), "position": (LENGTH, WIDTH), "query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH),
        "value": (WIDTH, WIDTH), "up": (WIDTH, 24), "down": (24, WIDTH), "out": (WIDTH, 3),
    }  # fmt: skip
    keys = jax.random.split(key, len(shapes))
    return {
        "params": {n: jax.random.normal(k, s) / np.sqrt(s[0]) for k, (n, s) in zip(keys, shapes.items(), strict=True)}
    }


def transformer(variables, tokens):
    """One block: attention and a hidden layer, each around a residual connection."""
    w = variables["params"]
    x = w["embedding"][tokens] + w["position"][None]
    scores = jnp.einsum("nid,njd->nij", x @ w["query"], x @ w["key"]) / np.sqrt(WIDTH)
    x = x + jnp.einsum("nij,njd->nid", jax.nn.softmax(scores), x @ w["value"])
    x = x + jax.nn.relu(x @ w["up"]) @ w["down"]
    return x.mean(1) @ w["out"]


@pytest.fixture(scope="module")
def model():
    first, second = jax.random.split(jax.random.key(0))
    return weights(first), jax.random.randint(second, (6, LENGTH), 0, WORDS)


def jacobian_kernel(variables, tokens, others=None):
    """The kernel by its definition: rows of the Jacobian of the sum of logits."""

    def rows(tokens):
        jacobian = jax.jacrev(lambda v: transformer(v, tokens).sum(1))(variables)
        return np.concatenate([np.asarray(leaf).reshape(len(tokens), -1) for leaf in jax.tree.leaves(jacobian)], axis=1)

    return rows(tokens) @ rows(tokens if others is None else others).T


@pytest.mark.parametrize("engine", ["auto", "layerwise", "neural_tangents"])
def test_the_kernel_of_tokens(model, engine):
    variables, tokens = model
    kernel = empirical_ntk(transformer, variables, tokens, engine=engine)
    np.testing.assert_allclose(kernel, jacobian_kernel(variables, tokens), rtol=1e-8)


def test_patterns_of_tokens(model):
    variables, tokens = model
    w = variables["params"]
    x = w["embedding"][tokens] + w["position"][None]
    scores = jnp.einsum("nid,njd->nij", x @ w["query"], x @ w["key"]) / np.sqrt(WIDTH)
    x = x + jnp.einsum("nij,njd->nid", jax.nn.softmax(scores), x @ w["value"])
    expected = np.asarray(x @ w["up"] > 0).reshape(len(tokens), -1)
    found = activation_patterns(lambda tokens: transformer(variables, tokens), tokens)
    np.testing.assert_array_equal(found.bits[:, -expected.shape[1] :], expected)


def test_all_scores_of_a_transformer(model):
    """Its regions do not saturate where there are as many sentences as words allow to be alike."""
    variables, tokens = model
    few = jnp.concatenate([tokens, tokens[:2]])
    found = evaluate(transformer, variables, tokens, samples=few)
    assert str(found.ntk.health) == "full rank"
    kernel = jacobian_kernel(variables, tokens)
    assert found.ntk.condition_number == pytest.approx(np.linalg.cond(kernel), rel=1e-6)
    assert found.linear_regions.count == len(np.unique(np.asarray(tokens), axis=0))
    assert found.linear_regions.samples == 8
    assert np.isfinite(found.hamming)


def of_tree(variables, inputs):
    """Sentences with a mask, and a number beside them."""
    masked = inputs["tokens"] * inputs["mask"]
    return transformer(variables, masked) * inputs["scale"][:, None]


@pytest.mark.parametrize("mode", ["frozen", "coupled"])
def test_trees_are_what_closing_over_them_is(model, mode):
    variables, tokens = model
    rng = np.random.default_rng(0)
    tree = {"tokens": tokens, "mask": rng.integers(0, 2, tokens.shape), "scale": rng.uniform(0.5, 2.0, len(tokens))}
    kernel = empirical_ntk(of_tree, variables, tree, batch_stats=mode)
    scaled = jacobian_kernel(variables, tokens * tree["mask"]) * np.outer(tree["scale"], tree["scale"])
    np.testing.assert_allclose(kernel, scaled, rtol=1e-8)
    other = jax.tree.map(lambda leaf: leaf[:3], tree)
    between = empirical_ntk(of_tree, variables, tree, other, batch_stats=mode)
    np.testing.assert_allclose(between, scaled[:, :3], rtol=1e-8)
    patterns = activation_patterns(lambda inputs: of_tree(variables, inputs), tree, batch_stats=mode)
    plain = activation_patterns(lambda t: transformer(variables, t), tokens * tree["mask"], batch_stats=mode)
    assert count_linear_regions(patterns) == count_linear_regions(plain)
    if mode == "coupled":
        return
    found = evaluate(of_tree, variables, tree)
    assert found.parameters == sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert found.ntk.condition_number == pytest.approx(np.linalg.cond(scaled), rel=1e-6)


def test_what_is_no_input(model):
    variables, tokens = model
    with pytest.raises(InputError, match="such as tokens"):
        empirical_ntk(transformer, variables, tokens.astype(jnp.uint8))
    with pytest.raises(InputError, match="the first axes are: 3, 6"):
        empirical_ntk(of_tree, variables, {"tokens": tokens, "mask": tokens[:3], "scale": tokens[:, 0]})
    with pytest.raises(InputError, match="the first axes are: no leaf"):
        activation_patterns(lambda inputs: of_tree(variables, inputs), {})
