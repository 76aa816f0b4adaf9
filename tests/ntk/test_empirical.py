"""The empirical NTK against Jacobians, finite differences and neural-tangents; spectra against closed forms."""

import subprocess
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

import tenas_jax.ntk.empirical as ntk
import tenas_jax.ntk.spectrum as spectra
from tenas_jax.errors import InputError
from tenas_jax.ntk import neural_tangents as _neural_tangents

CLASSES = 3


def normalise(x, mean, variance, norm):
    shape = (1,) * (x.ndim - 1) + (-1,)
    scale, shift, mean, variance = (v.reshape(shape) for v in (norm["scale"], norm["bias"], mean, variance))
    return (x - mean) / jnp.sqrt(variance + 1e-5) * scale + shift


def forward(variables, images, stored):
    """Convolution, batch norm, ReLU, mean over positions, linear layer; images (n, 6, 6, 2)."""
    params = variables["params"]
    x = jax.lax.conv_general_dilated(
        images,
        params["conv"]["kernel"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )
    statistics = variables["batch_stats"] if stored else (x.mean((0, 1, 2)), x.var((0, 1, 2)))
    x = jax.nn.relu(normalise(x, *statistics, params["norm"])).mean((1, 2))
    return jnp.dot(x, params["linear"]["kernel"], precision="highest") + params["linear"]["bias"].reshape(1, -1)


def coupled_forward(variables, images):
    return forward(variables, images, stored=False)


def frozen_forward(variables, images):
    return forward(variables, images, stored=True)


def example(dtype=np.float64, n=6):
    rng = np.random.default_rng(1)
    params = {
        "conv": {"kernel": rng.normal(size=(3, 3, 2, 4))},
        "norm": {"scale": rng.uniform(0.5, 1.5, size=4), "bias": rng.normal(size=4)},
        "linear": {"kernel": rng.normal(size=(4, CLASSES)), "bias": rng.normal(size=CLASSES)},
    }
    variables = {"params": params, "batch_stats": (rng.normal(size=4), rng.uniform(0.5, 2, size=4))}
    cast = jax.tree.map(lambda x: jnp.asarray(x, dtype), variables)
    return cast, jnp.asarray(rng.normal(size=(n, 6, 6, 2)), dtype)


def brute_force(apply_fn, variables, images, output, keep=lambda path: True):
    """The Jacobian of all logits of the whole batch, leaf by leaf, contracted with NumPy."""
    jacobian = jax.jacobian(lambda params: apply_fn(variables | {"params": params}, images))(variables["params"])
    kernel = 0.0
    for path, leaf in jax.tree_util.tree_flatten_with_path(jacobian)[0]:
        if not keep(jax.tree_util.keystr(path)):
            continue
        rows = np.asarray(leaf).reshape(len(images), CLASSES, -1)
        if output == "sum":
            rows = rows.sum(1, keepdims=True)
        kernel = kernel + sum(rows[:, c] @ rows[:, c].T for c in range(rows.shape[1])) / rows.shape[1]
    return kernel


@cache
def program_of(apply_fn, options):
    return jax.jit(lambda v, x: ntk.empirical_ntk(apply_fn, v, x, **dict(options)))


def kernel_of(apply_fn, variables, images, **options):
    """As one compiled program for all tests: quicker here than operation by operation."""
    return program_of(apply_fn, tuple(options.items()))(variables, images)


# --- the kernel -----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["sum", "trace"])
@pytest.mark.parametrize(("batch_stats", "apply_fn"), [("frozen", frozen_forward), ("coupled", coupled_forward)])
@pytest.mark.parametrize("block_size", [None, 4])
def test_kernel_is_the_contracted_jacobian(batch_stats, apply_fn, output, block_size):
    variables, images = example()
    kernel = kernel_of(apply_fn, variables, images, batch_stats=batch_stats, output=output, block_size=block_size)
    assert kernel.dtype == jnp.float64
    np.testing.assert_allclose(kernel, brute_force(apply_fn, variables, images, output), rtol=1e-11)


def test_frozen_kernel_is_made_of_gradients_of_one_image_each():
    variables, images = example()
    rows = []
    for image in images:
        gradient = jax.grad(lambda p, image=image: frozen_forward(variables | {"params": p}, image[None]).sum())
        rows.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient(variables["params"]))]))
    np.testing.assert_allclose(kernel_of(frozen_forward, variables, images), np.array(rows) @ np.array(rows).T)


@pytest.mark.parametrize(("batch_stats", "apply_fn"), [("frozen", frozen_forward), ("coupled", coupled_forward)])
def test_kernel_agrees_with_finite_differences(batch_stats, apply_fn):
    """Central differences over every single parameter: no automatic derivative on this route."""
    variables, images = example(n=4)
    flat, restore = ravel_pytree(variables["params"])
    sums = jax.jit(lambda flat: apply_fn(variables | {"params": restore(flat)}, images).sum(1))
    step = 1e-6
    jacobian = np.stack(
        [(sums(flat.at[i].add(step)) - sums(flat.at[i].add(-step))) / (2 * step) for i in range(len(flat))], axis=1
    )
    kernel = kernel_of(apply_fn, variables, images, batch_stats=batch_stats)
    np.testing.assert_allclose(kernel, jacobian @ jacobian.T, rtol=1e-6)


def test_batch_statistics_couple_images():
    variables, images = example()
    changed = images.at[0].multiply(3.0)
    others = np.s_[1:, 1:]
    kernels = {
        mode: [kernel_of(apply_fn, variables, x, batch_stats=mode)[others] for x in (images, changed)]
        for mode, apply_fn in (("frozen", frozen_forward), ("coupled", coupled_forward))
    }
    np.testing.assert_allclose(*kernels["frozen"], rtol=1e-12)
    assert np.abs(np.subtract(*kernels["coupled"])).max() > 1e-2 * np.abs(kernels["coupled"][0]).max()


@pytest.mark.filterwarnings("ignore:size requires ndarray:DeprecationWarning")  # from within implementation 2
@pytest.mark.parametrize("implementation", [1, 2])
def test_frozen_kernel_agrees_with_neural_tangents(implementation):
    variables, images = example()
    reference = _neural_tangents.load().empirical_ntk_fn(
        lambda params, x: frozen_forward(variables | {"params": params}, x),
        trace_axes=(-1,),
        implementation=implementation,
    )
    kernel = kernel_of(frozen_forward, variables, images, output="trace")
    np.testing.assert_allclose(kernel, reference(images, None, variables["params"]), rtol=1e-11)


@pytest.mark.parametrize(("batch_stats", "apply_fn"), [("frozen", frozen_forward), ("coupled", coupled_forward)])
def test_single_precision_agrees_with_double(batch_stats, apply_fn):
    kernels = []
    for dtype in (np.float32, np.float64):
        variables, images = example(dtype)
        kernels.append(kernel_of(apply_fn, variables, images, batch_stats=batch_stats))
        assert kernels[-1].dtype == dtype
    np.testing.assert_allclose(*kernels, rtol=1e-5, atol=1e-5 * np.abs(kernels[1]).max())
    values = [spectra.condition_number(kernel).value for kernel in kernels]
    np.testing.assert_allclose(*values, rtol=1e-3)


def test_trainable_chooses_parameters_by_path():
    variables, images = example()
    weights = kernel_of(coupled_forward, variables, images, batch_stats="coupled", trainable=ntk.is_weight)
    expected = brute_force(coupled_forward, variables, images, "sum", keep=lambda path: "bias" not in path)
    np.testing.assert_allclose(weights, expected, rtol=1e-11)
    head = kernel_of(frozen_forward, variables, images, trainable=lambda path: path == "params/linear/bias")
    # One bias a class, each with derivative 1: the sum of the logits has CLASSES of them.
    np.testing.assert_allclose(head, np.full((6, 6), CLASSES), rtol=1e-15)


@pytest.mark.parametrize(("batch_stats", "apply_fn"), [("frozen", frozen_forward), ("coupled", coupled_forward)])
def test_compiled_and_plain_kernels_agree(batch_stats, apply_fn):
    variables, images = example()
    plain = ntk.empirical_ntk(apply_fn, variables, images, batch_stats=batch_stats, block_size=4)
    compiled = kernel_of(apply_fn, variables, images, batch_stats=batch_stats, block_size=4)
    np.testing.assert_allclose(compiled, plain, rtol=1e-11)


@pytest.mark.parametrize(("compiled", "block_size"), [(False, None), (True, 4)])
@pytest.mark.parametrize(("batch_stats", "apply_fn"), [("frozen", frozen_forward), ("coupled", coupled_forward)])
def test_full_kernel_of_two_batches(batch_stats, apply_fn, compiled, block_size):
    """The Jacobian of each whole batch, contracted with NumPy; "sum" and "trace" are sums of its entries."""
    variables, images = example()
    others = jnp.asarray(np.random.default_rng(5).normal(size=(5, *images.shape[1:])))

    def rows(batch):
        jacobian = jax.jacobian(lambda params: apply_fn(variables | {"params": params}, batch))(variables["params"])
        return np.concatenate([np.reshape(leaf, (len(batch), CLASSES, -1)) for leaf in jax.tree.leaves(jacobian)], 2)

    for second in (None, others):
        expected = np.einsum("aip,bjp->abij", rows(images), rows(images if second is None else second))
        reduced = {"full": expected}
        if second is not None:  # of one batch they have been compared above
            reduced |= {"sum": expected.sum((2, 3)), "trace": np.einsum("abii->ab", expected) / CLASSES}
        for output, values in reduced.items():

            def kernel(v, x, y, output=output):
                options = {"batch_stats": batch_stats, "block_size": block_size}
                return ntk.empirical_ntk(apply_fn, v, x, y, output=output, **options)

            found = (jax.jit(kernel) if compiled else kernel)(variables, images, second)
            np.testing.assert_allclose(found, values, rtol=1e-10, atol=1e-10 * np.abs(values).max())


def test_full_kernel_agrees_with_neural_tangents():
    variables, images = example()
    reference = _neural_tangents.load().empirical_ntk_fn(
        lambda params, x: frozen_forward(variables | {"params": params}, x), trace_axes=(), implementation=1
    )
    kernel = kernel_of(frozen_forward, variables, images, output="full", block_size=2)
    np.testing.assert_allclose(kernel, reference(images, None, variables["params"]), rtol=1e-9, atol=1e-10)


def test_a_weight_that_is_not_finite_is_flagged():
    variables, images = example()
    variables["params"]["linear"]["kernel"] = variables["params"]["linear"]["kernel"].at[0, 0].set(np.nan)
    kernel = kernel_of(frozen_forward, variables, images)
    assert spectra.condition_number(kernel) == (np.inf, "not finite")


def test_bad_arguments_are_refused():
    variables, images = example()
    with pytest.raises(InputError, match="they are uint8"):
        ntk.empirical_ntk(frozen_forward, variables, images.astype("uint8"))
    with pytest.raises(InputError, match="at least two"):
        ntk.empirical_ntk(frozen_forward, variables, images[:1])
    with pytest.raises(InputError, match=r"one array, logits \(n, classes\) with n = 6"):
        ntk.empirical_ntk(lambda v, x: frozen_forward(v, x).sum(1), variables, images)
    with pytest.raises(InputError, match="one array"):
        ntk.empirical_ntk(lambda v, x: (frozen_forward(v, x), v["batch_stats"]), variables, images)
    with pytest.raises(InputError, match=r"`others` must be at least two"):
        ntk.empirical_ntk(frozen_forward, variables, images, images[:1])
    with pytest.raises(InputError, match=r"like `images`, float64 \(m, 6, 6, 2\); they are float32 \(6, 6, 6, 2\)"):
        ntk.empirical_ntk(lambda v, x: x[:, 0, 0], variables, images, images.astype("float32"))
    strange = variables | {"params": variables["params"] | {"steps": jnp.array(3)}}
    with pytest.raises(InputError, match="'params/steps' is int64"):
        ntk.empirical_ntk(frozen_forward, strange, images)
    with pytest.raises(InputError, match="'params/steps' is float"):
        ntk.empirical_ntk(frozen_forward, variables | {"params": variables["params"] | {"steps": 0.5}}, images)
    with pytest.raises(InputError, match="must name at least one parameter"):
        ntk.empirical_ntk(frozen_forward, variables, images, trainable=lambda path: False)
    with pytest.raises(InputError, match="`batch_stats` must be 'frozen' or 'coupled'; it is 'froze'"):
        ntk.empirical_ntk(frozen_forward, variables, images, batch_stats="froze")  # pyright: ignore
    with pytest.raises(InputError, match="`output` must be"):
        ntk.empirical_ntk(frozen_forward, variables, images, output="mean")  # pyright: ignore
    with pytest.raises(InputError, match="`block_size` must be at least 1"):
        ntk.empirical_ntk(frozen_forward, variables, images, block_size=0)


# --- its spectrum ---------------------------------------------------------------------------------


def rotated(eigenvalues, rng):
    basis = np.linalg.qr(rng.normal(size=(len(eigenvalues),) * 2))[0]
    return (basis * eigenvalues) @ basis.T


def test_spectrum_of_a_known_matrix(rng):
    eigenvalues = np.array([0.5, 1.0, 4.0, 32.0])
    found, health = spectra.spectrum(rotated(eigenvalues, rng))
    np.testing.assert_allclose(found, eigenvalues, rtol=1e-12)
    assert health == "full rank"
    value, health = spectra.condition_number(rotated(eigenvalues, rng))
    np.testing.assert_allclose(value, 64.0, rtol=1e-12)
    assert health == "full rank"
    # The symmetric part counts: [[2, 1], [1, 2]] has eigenvalues 1 and 3.
    np.testing.assert_allclose(spectra.spectrum(np.array([[2.0, 1.001], [0.999, 2.0]])).eigenvalues, [1, 3], rtol=1e-12)


@given(st.floats(1e-3, 1e3), st.floats(-1, 1))
def test_condition_number_of_two_images_in_closed_form(scale, correlation):
    value, health = spectra.condition_number(scale * np.array([[1, correlation], [correlation, 1]]))
    smallest, largest = 1 - abs(correlation), 1 + abs(correlation)
    if smallest > 1e-9:
        assert health == "full rank"
        np.testing.assert_allclose(value, largest / smallest, rtol=1e-6)
    if smallest == 0:
        assert (value, health) == (np.inf, "rank-deficient")


@pytest.mark.parametrize("smallest", [1e-9, 0.0, -1e-9])
def test_deficiency_is_judged_by_the_kernels_own_precision(rng, smallest):
    kernel = rotated(np.array([smallest, 1.0, 2.0, 3.0]), rng)
    assert spectra.condition_number(kernel.astype(np.float32)) == (np.inf, "rank-deficient")
    assert spectra.condition_number(kernel).health == ("full rank" if smallest > 0 else "rank-deficient")


def test_the_limit_of_deficiency():
    eps = np.finfo(np.float64).eps
    at, above = np.diag([1.0, 2 * eps]), np.diag([1.0, 2.1 * eps])
    assert spectra.condition_number(at).health == "rank-deficient"
    assert spectra.condition_number(above).health == "full rank"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_worst_and_says_so(bad):
    kernel = np.eye(3)
    kernel[0, 1] = bad
    assert spectra.condition_number(kernel) == (np.inf, "not finite")
    assert np.isnan(spectra.spectrum(kernel).eigenvalues).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("batch_stats", "apply_fn"), [("frozen", frozen_forward), ("coupled", coupled_forward)])
def test_identical_images_are_flagged(dtype, batch_stats, apply_fn):
    variables, images = example(dtype)
    distinct = spectra.condition_number(kernel_of(apply_fn, variables, images, batch_stats=batch_stats))
    assert distinct.health == "full rank"
    twins = images.at[3].set(images[1])
    kernel = kernel_of(apply_fn, variables, twins, batch_stats=batch_stats)
    assert spectra.condition_number(kernel) == (np.inf, "rank-deficient")


def test_a_zero_kernel_is_deficient():
    assert spectra.condition_number(np.zeros((3, 3))) == (np.inf, "rank-deficient")


def test_stacks_are_treated_one_by_one(rng):
    kernels = np.stack([rotated(np.array([1.0, 2.0, 8.0]), rng), np.ones((3, 3)), np.full((3, 3), np.nan)])
    values, health = spectra.condition_numbers(kernels.reshape(3, 1, 3, 3))
    assert values.shape == health.shape == (3, 1)
    for kernel, value, state in zip(kernels, values[:, 0], health[:, 0], strict=True):
        assert spectra.condition_number(kernel) == (value, state)
    assert health[:, 0].tolist() == ["full rank", "rank-deficient", "not finite"]


def test_bad_kernels_are_refused():
    for kernel in (np.ones((2, 3)), np.ones(4), np.ones((0, 0)), np.eye(3, dtype=int)):
        with pytest.raises(InputError, match=r"must be floating-point \(..., n, n\); it is"):
            spectra.spectrum(kernel)
    with pytest.raises(InputError, match=r"one matrix \(n, n\); it has shape \(2, 3, 3\)"):
        spectra.condition_number(np.ones((2, 3, 3)))


# --- neural-tangents ------------------------------------------------------------------------------

IMPORT_AND_COMPARE = """
import sys
import jax, jax.core, jax.extend.core, jax.interpreters.ad
import tenas_jax.ntk.empirical
from tenas_jax.ntk import neural_tangents as _neural_tangents

def state():
    return vars(jax.core).copy(), vars(jax.interpreters.ad).copy()

assert "neural_tangents" not in sys.modules, "imported too early"
before, util = state(), (hasattr(jax, "util"), sys.modules.get("jax.util"))
tangents = _neural_tangents.load()
assert state() == before, "an attribute was left behind"
assert (hasattr(jax, "util"), sys.modules.get("jax.util")) == util, "jax.util was left behind"
assert sys.modules.get("neural_tangents.experimental") is None, "the empty module was left behind"
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
assert _neural_tangents.load() is tangents
kernel = tangents.empirical_ntk_fn(lambda p, x: x @ p, vmap_axes=0)(jax.numpy.eye(2), None, jax.numpy.ones((2, 1)))
assert kernel.tolist() == [[1, 0], [0, 1]]
print("done")
"""


def test_importing_neural_tangents_leaves_jax_as_it_was():
    result = subprocess.run([sys.executable, "-c", IMPORT_AND_COMPARE], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "done", result.stderr


def test_a_failed_import_leaves_jax_as_it_was():
    before = vars(jax.core).copy(), vars(jax.interpreters.ad).copy(), sys.modules.get("jax.util")

    def fail():
        with _neural_tangents._supplied():
            assert jax.util.safe_map(lambda a, b: a + b, [1, 2], [3, 4]) == [4, 6]  # pyright: ignore
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (vars(jax.core), vars(jax.interpreters.ad), sys.modules.get("jax.util")) == before
