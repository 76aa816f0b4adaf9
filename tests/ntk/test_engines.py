"""Engines of the empirical NTK against each other and a Jacobian; half precision against float64; what is not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.errors import InputError
from tenas_jax.ntk import engines
from tenas_jax.ntk.empirical import empirical_ntk
from tenas_jax.ntk.spectrum import condition_number

ENGINES = ("layerwise", "neural_tangents", "neural_tangents_ntvp")


def network(v, x):
    """A convolution, a scaled ReLU, means over positions and a linear layer; images (n, 5, 5, 2)."""
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, v["conv"], (1, 1), "SAME", dimension_numbers=numbers, precision="highest")
    y = jax.nn.relu(y * v["scale"].reshape(1, 1, 1, -1)).mean((1, 2))
    return jnp.dot(y, v["linear"], precision="highest")


def coupled(v, x):
    """The network, and then a mean over the batch taken away: images are no longer on their own."""
    logits = network(v, x)
    return logits - jnp.square(logits).mean(0, keepdims=True)


def example(dtype=np.float64, n=4):
    rng = np.random.default_rng(0)
    shapes = {"conv": (3, 3, 2, 4), "scale": (4,), "linear": (4, 3)}
    weights = {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in shapes.items()}
    return weights, jnp.asarray(rng.normal(size=(n, 5, 5, 2)), dtype)


def by_jacobian(fn, weights, images, others, output):
    """Every number by one reverse pass a logit, and NumPy."""

    def rows(batch):
        jacobian = jax.jacrev(lambda w: fn(w, batch))(weights)
        return np.concatenate([np.reshape(leaf, (len(batch), 3, -1)) for leaf in jax.tree.leaves(jacobian)], 2)

    full = np.einsum("aip,bjp->abij", rows(images), rows(images if others is None else others))
    return {"full": full, "sum": full.sum((2, 3)), "trace": np.einsum("abii->ab", full) / 3}[output]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("mode", "fn", "output", "second", "block_size"),
    [
        ("frozen", network, "sum", False, None),
        ("frozen", network, "full", True, 3),
        ("coupled", coupled, "trace", True, None),
    ],
)
def test_engines_agree_in_single_precision(engine, mode, fn, output, second, block_size):
    weights, images = example(np.float32)
    others = example(np.float32, 7)[1][4:] if second else None
    options = {"batch_stats": mode, "output": output, "block_size": block_size, "engine": engine}
    found = empirical_ntk(fn, weights, images, others, **options)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (weights, images, others))
    expected = by_jacobian(fn, *wide, output)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max(), rtol=1e-6)


def test_auto_is_one_of_them():
    weights, images = example()
    np.testing.assert_array_equal(
        empirical_ntk(network, weights, images), empirical_ntk(network, weights, images, engine="layerwise")
    )


def test_engines_refuse_with_the_one_to_take(monkeypatch):
    weights, images = example()
    with pytest.raises(InputError, match="`engine` must be 'auto' or 'layerwise' or 'neural_tangents' or"):
        empirical_ntk(network, weights, images, engine="jax")  # pyright: ignore
    with pytest.raises(InputError, match=r"a coupled batch without blocks\. Take `engine='layerwise'`"):
        empirical_ntk(coupled, weights, images, batch_stats="coupled", block_size=2, engine="neural_tangents")
    with pytest.raises(InputError, match=r"half precision\. Take `engine='layerwise'`"):
        empirical_ntk(network, *example(jnp.bfloat16), engine="neural_tangents")

    def fails(*_, **__):
        raise TypeError("linearize() got multiple values\nand more")

    monkeypatch.setattr(engines.neural_tangents_library(), "empirical_ntk_fn", fails)
    with pytest.raises(InputError, match=r"it fails with TypeError: linearize\(\) got multiple values\. Take"):
        empirical_ntk(lambda v, x: network(v, x), weights, images, engine="neural_tangents")
    monkeypatch.setattr(engines, "neural_tangents_library", lambda: __import__("no_such_library"))
    with pytest.raises(InputError, match=r"neural-tangents cannot be imported \(No module named 'no_such_library'\)"):
        empirical_ntk(lambda v, x: network(v, x) + 0, weights, images, engine="neural_tangents")


# --- half precision -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(("mode", "fn"), [("frozen", network), ("coupled", coupled)])
def test_half_precision_is_summed_in_single(dtype, mode, fn):
    weights, images = example(dtype)
    found = empirical_ntk(fn, weights, images, batch_stats=mode)
    assert found.dtype == jnp.float32
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (weights, images))
    expected = by_jacobian(fn, *wide, None, "sum")
    np.testing.assert_allclose(found, expected, atol=8 * float(jnp.finfo(dtype).eps) * np.abs(expected).max())
    assert condition_number(found).health == "full rank"


@pytest.mark.parametrize(("dtype", "features"), [(jnp.bfloat16, 1000), (jnp.float16, 70_000)])
@pytest.mark.parametrize("mode", ["frozen", "coupled"])
def test_sums_of_many_terms_lose_nothing(dtype, features, mode):
    """In bfloat16 a sum of ones stands still at 256; in float16 nothing is larger than 65,504."""
    images = jnp.ones((2, features), dtype)
    kernel = empirical_ntk(lambda w, x: x @ w, jnp.zeros((features, 1), dtype), images, batch_stats=mode)
    np.testing.assert_array_equal(kernel, np.full((2, 2), features, np.float32))


def test_positions_are_summed_in_single_precision():
    """One weight that sees 1000 ones: its gradient is 1000, which bfloat16 would make of 1000 additions 256."""
    images = jnp.ones((2, 1000, 1), jnp.bfloat16)
    fn = lambda w, x: jnp.einsum("npc,cd->npd", x, w).sum(1)  # noqa: E731
    kernel = empirical_ntk(fn, jnp.zeros((1, 1), jnp.bfloat16), images)
    np.testing.assert_array_equal(kernel, np.full((2, 2), 1000.0**2, np.float32))


def test_parameters_of_several_precisions():
    weights, images = example()
    mixed = weights | {"linear": weights["linear"].astype(jnp.bfloat16)}
    fn = lambda v, x: network(v | {"linear": v["linear"].astype(jnp.float64)}, x)  # noqa: E731
    found = empirical_ntk(fn, mixed, images, trainable=lambda path: path != "linear")
    rounded = weights | {"linear": mixed["linear"].astype(jnp.float64)}
    expected = empirical_ntk(network, rounded, images, trainable=lambda path: path != "linear")
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(empirical_ntk(fn, mixed, images), empirical_ntk(network, rounded, images), rtol=1e-2)


# --- what is not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["layerwise", "neural_tangents"])
@pytest.mark.parametrize("mode", ["frozen", "coupled"])
def test_logits_that_are_no_numbers_have_no_finite_kernel(engine, mode):
    """The derivatives are finite: only the logits of the second image say that something is wrong."""
    weights, images = example()
    shift = jnp.asarray([0.0, np.nan, 0.0, 0.0])

    def fn(v, x):
        bad = (x[:, 0, 0, 0] == images[1, 0, 0, 0])[:, None]
        return network(v, x) + jnp.where(bad, shift[1], 0.0)

    kernel = np.asarray(empirical_ntk(fn, weights, images, batch_stats=mode, engine=engine))
    assert condition_number(kernel) == (np.inf, "not finite")
    others = np.ix_([0, 2, 3], [0, 2, 3])
    np.testing.assert_allclose(kernel[others], by_jacobian(network, weights, images, None, "sum")[others], rtol=1e-10)
    assert np.isnan(kernel[1]).all()


# --- what comes in --------------------------------------------------------------------------------


def test_lists_of_images_are_stacked_and_other_things_refused():
    weights, images = example()
    np.testing.assert_array_equal(
        empirical_ntk(network, weights, list(images)),
        empirical_ntk(network, weights, images),  # pyright: ignore
    )
    with pytest.raises(InputError, match=r"`images` must be a tree of arrays \(n, \.\.\.\) with the same n.*: 1, "):
        empirical_ntk(network, weights, {"x": images, "mask": images[:1]})
    with pytest.raises(InputError, match=r"a list of images of one shape; it is list"):
        empirical_ntk(network, weights, [images[0], images[1][:2]])  # pyright: ignore
