"""Programs of plain calls: kept while a function computes the same, never used when it does not."""

import functools
import gc
import sys
import types
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tenas_jax
from tenas_jax import activation_patterns, empirical_ntk, evaluate
from tenas_jax.function_identity import identity
from tenas_jax.program_cache import PROGRAMS, Kept, ProgramCache

FACTOR = 1.0


@pytest.fixture(autouse=True)
def built(monkeypatch):
    """How many programs were built, from an empty cache."""
    counts = []
    keep = ProgramCache._keep

    def counting(self, key, found, kept):
        counts.append(key)
        keep(self, key, found, kept)

    tenas_jax.clear_cache()
    monkeypatch.setattr(ProgramCache, "_keep", counting)
    return counts


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(4, 3)))


WEIGHTS = {"w": jnp.asarray(np.random.default_rng(1).normal(size=(3, 2)))}


def gram(images, scale):
    """The kernel of the sum of two logits `scale * x @ w` by the weights, written down by hand."""
    rows = np.repeat(scale * np.asarray(images)[:, :, None], 2, axis=2).reshape(len(images), -1)
    return rows @ rows.T


# --- the same function ----------------------------------------------------------------------------


def test_a_second_call_builds_nothing(images, built):
    def make():
        return lambda v, x: x @ v["w"]

    for scale in (1.0, 2.0, 3.0):
        # New weights, new images and a new function object of the same code.
        kernel = empirical_ntk(make(), {"w": scale * WEIGHTS["w"]}, scale * images)
        np.testing.assert_allclose(kernel, gram(images, scale), rtol=1e-12)
    assert len(built) == 1
    empirical_ntk(make(), WEIGHTS, images, output="trace")
    empirical_ntk(make(), WEIGHTS, images[:3])
    empirical_ntk(make(), WEIGHTS, images, trainable=lambda path: path == "w")
    assert len(built) == 3
    tenas_jax.clear_cache()
    assert len(PROGRAMS) == 0


def test_shared_cells_are_not_mixed_up(images):
    """Two functions of one code: what their closures hold decides."""

    def scaled(scale):
        return lambda v, x: scale * (x @ v["w"])

    for scale in (2.0, 3.0, 2.0, jnp.asarray(5.0), np.float64(7.0), np.array(11.0)):
        np.testing.assert_allclose(empirical_ntk(scaled(scale), WEIGHTS, images), gram(images, float(scale)))


def test_a_variable_that_is_bound_anew_counts(images):
    scale = 2.0

    def fn(v, x):
        return scale * (x @ v["w"])

    np.testing.assert_allclose(empirical_ntk(fn, WEIGHTS, images), gram(images, 2.0))
    scale = 3.0
    np.testing.assert_allclose(empirical_ntk(fn, WEIGHTS, images), gram(images, 3.0))


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: np.array([2.0]), lambda box: box.__setitem__(0, 3.0)),
        (lambda: [2.0], lambda box: box.__setitem__(0, 3.0)),
        (lambda: {0: 2.0}, lambda box: box.__setitem__(0, 3.0)),
        (lambda: [jnp.asarray(2.0)], lambda box: box.__setitem__(0, jnp.asarray(3.0))),
    ],
    ids=["numpy", "list", "dict", "list of arrays"],
)
def test_what_changes_in_place_counts(images, make, change):
    box = make()

    def fn(v, x):
        return jnp.asarray(box[0]) * (x @ v["w"])

    np.testing.assert_allclose(empirical_ntk(fn, WEIGHTS, images), gram(images, 2.0))
    change(box)
    np.testing.assert_allclose(empirical_ntk(fn, WEIGHTS, images), gram(images, 3.0))


def helper(x):
    return FACTOR * x


def test_globals_and_what_they_call_count(images, monkeypatch, built):
    def fn(v, x):
        return helper(x @ v["w"])

    np.testing.assert_allclose(empirical_ntk(fn, WEIGHTS, images), gram(images, 1.0))
    empirical_ntk(fn, WEIGHTS, images)
    assert len(built) == 1
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    np.testing.assert_allclose(empirical_ntk(fn, WEIGHTS, images), gram(images, 3.0))


class Scaled:
    factor = 2.0

    def __init__(self):
        self.own = 1.0

    def __call__(self, v, x):
        return self.factor * self.own * (x @ v["w"])

    def method(self, v, x):
        return self(v, x)


def test_attributes_of_objects_and_classes_count(images, monkeypatch, built):
    net = Scaled()
    for fn in (net, net.method):
        np.testing.assert_allclose(empirical_ntk(fn, WEIGHTS, images), gram(images, net.own * Scaled.factor))
        net.own *= 2
        np.testing.assert_allclose(empirical_ntk(fn, WEIGHTS, images), gram(images, net.own * Scaled.factor))
    count = len(built)
    empirical_ntk(net.method, WEIGHTS, images)
    assert len(built) == count
    monkeypatch.setattr(Scaled, "factor", 5.0)
    np.testing.assert_allclose(empirical_ntk(net, WEIGHTS, images), gram(images, net.own * 5.0))


def test_attributes_of_somebodys_modules_count(images, monkeypatch):
    module = types.ModuleType("somebodys")
    module.factor = 2.0  # pyright: ignore
    monkeypatch.setitem(sys.modules, "somebodys", module)

    def fn(v, x):
        import somebodys  # pyright: ignore[reportMissingImports]

        return somebodys.factor * (x @ v["w"])

    np.testing.assert_allclose(empirical_ntk(fn, WEIGHTS, images), gram(images, 2.0))
    module.factor = 3.0  # pyright: ignore
    np.testing.assert_allclose(empirical_ntk(fn, WEIGHTS, images), gram(images, 3.0))


def test_what_cannot_be_looked_into_is_not_kept(images, built):
    rng = np.random.default_rng(0)

    def fn(v, x):
        return rng.normal() * (x @ v["w"])

    assert identity(fn) is None
    first, second = (empirical_ntk(fn, WEIGHTS, images) for _ in range(2))
    assert built == []
    assert not np.allclose(first, second)


def test_unhashable_functions_work(images):
    class Unhashable(Scaled):
        __hash__ = None  # pyright: ignore

        def __eq__(self, other):
            return True

    np.testing.assert_allclose(empirical_ntk(Unhashable(), WEIGHTS, images), gram(images, 2.0))


@pytest.mark.parametrize(
    "value", [1, "a", 2.0, (1, "b"), np.float32(1), np.dtype("f4"), jnp.float32, jax.nn.relu, functools.partial(max, 1)]
)
def test_plain_values_have_an_identity(value):
    assert identity(value) == identity(value)
    assert identity(value, 0.0) != identity(value, -0.0)


# --- what is held ---------------------------------------------------------------------------------


def test_models_are_not_kept_alive(images, built):
    class Net(Scaled):
        pass

    net = Net()
    gone = weakref.ref(net)
    empirical_ntk(net, WEIGHTS, images)
    activation_patterns(functools.partial(lambda net, x: jnp.maximum(net(WEIGHTS, x), 0), net), images)
    assert len(built) == 2
    del net
    gc.collect()
    assert gone() is None
    del Net
    gc.collect()
    assert len(PROGRAMS) == 0  # with the class went its programs


def test_the_cache_is_bounded():
    cache = ProgramCache(max_programs=3, max_bytes=100)
    calls = []

    def find(name, size):
        def build():
            calls.append(name)
            return Kept(lambda: name, size)

        return cache.find([], name, build)()

    for name in "abc":
        assert find(name, 10) == name
    find("a", 10)
    find("d", 10)
    assert len(cache) == 3
    find("a", 10)
    assert calls == list("abcd")  # "b" was the oldest, "a" was used since
    find("b", 90)
    assert cache.held_bytes <= 100
    find("giant", 1000)
    assert "giant" in calls
    assert cache.held_bytes <= 100


def test_arrays_in_closures_are_counted(images):
    weights = WEIGHTS["w"]
    activation_patterns(lambda x: jax.nn.relu(x @ weights), images)
    assert PROGRAMS.held_bytes >= weights.nbytes
    tenas_jax.clear_cache()
    activation_patterns(functools.partial(lambda w, x: jax.nn.relu(x @ w), weights), images)
    assert PROGRAMS.held_bytes < weights.nbytes


# --- within transformations -----------------------------------------------------------------------


def test_transformations_keep_nothing(images, built):
    def fn(v, x):
        return jnp.tanh(x @ v["w"])

    plain = empirical_ntk(fn, WEIGHTS, images)
    assert len(built) == 1
    compiled = jax.jit(lambda v, x: empirical_ntk(fn, v, x))(WEIGHTS, images)
    mapped = jax.vmap(lambda v: empirical_ntk(fn, v, images))({"w": WEIGHTS["w"][None]})[0]
    closed_over = jax.jit(lambda scale: empirical_ntk(lambda v, x: fn(v, scale * x), WEIGHTS, images))(1.0)
    gradient = jax.grad(lambda v: empirical_ntk(fn, v, images).sum())(WEIGHTS)["w"]
    assert len(built) == 1
    for kernel in (compiled, mapped, closed_over):
        np.testing.assert_allclose(kernel, plain, rtol=1e-12)
    step = jnp.zeros_like(WEIGHTS["w"]).at[0, 0].set(1e-6)
    sums = [empirical_ntk(fn, {"w": WEIGHTS["w"] + sign * step}, images).sum() for sign in (1, -1)]
    np.testing.assert_allclose(gradient[0, 0], (sums[0] - sums[1]) / 2e-6, rtol=1e-6)


def test_patterns_within_a_transformation(images, built):
    fn = functools.partial(lambda w, x: jax.nn.relu(x @ w), WEIGHTS["w"])
    plain = activation_patterns(fn, images)
    assert plain.bits.tolist() == (np.asarray(images @ WEIGHTS["w"]) > 0).tolist()
    activation_patterns(fn, -images)
    activation_patterns(functools.partial(fn.func, -WEIGHTS["w"]), images)
    assert len(built) == 1
    assert jax.jit(lambda x: activation_patterns(fn, x))(images).bits.tolist() == plain.bits.tolist()
    assert len(built) == 1


def test_precision_is_a_part_of_the_key(images):
    def fn(v, x):
        return x @ v["w"]

    assert empirical_ntk(fn, WEIGHTS, images).dtype == jnp.float64
    jax.config.update("jax_enable_x64", False)
    try:
        narrow = {"w": np.asarray(WEIGHTS["w"])}
        assert empirical_ntk(fn, narrow, np.asarray(images)).dtype == jnp.float32
    finally:
        jax.config.update("jax_enable_x64", True)
    assert empirical_ntk(fn, narrow, np.asarray(images)).dtype == jnp.float64


# --- many models ----------------------------------------------------------------------------------


def test_stacked_models_are_evaluated_one_by_one(images, built):
    def fn(v, x):
        return jax.nn.relu(x @ v["w"]) @ v["out"]

    rng = np.random.default_rng(2)
    stack = {"w": jnp.asarray(rng.normal(size=(3, 3, 8))), "out": jnp.asarray(rng.normal(size=(3, 8, 2)))}
    found = evaluate(fn, stack, images, stacked=True)
    assert len(built) == 2  # the kernel's program and that of the patterns
    for number in range(3):
        single = evaluate(fn, jax.tree.map(lambda leaf, number=number: leaf[number], stack), images)
        assert found.model(number) == single
    assert str(found).splitlines()[0].count("full rank") == 3
    assert found.ntk.trace.shape == found.linear_regions.count.shape == (3,)  # pyright: ignore
    with pytest.raises(tenas_jax.InputError, match="the lengths of that axis are: 2, 3"):
        evaluate(fn, stack | {"out": stack["out"][:2]}, images, stacked=True)
