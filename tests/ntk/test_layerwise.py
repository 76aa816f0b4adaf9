"""Gradients of single images, layer by layer, against whole Jacobians; which parameters count as a layer's weights."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.ntk import empirical as ntk
from tenas_jax.ntk import engines, layerwise

IMAGES = 4
SHAPE = (7, 6, 4)


def convolve(x, w, **options):
    options = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")} | options
    return jax.lax.conv_general_dilated(x, w, **options)


def pooled(x):
    """Three outputs, each another smooth function of the feature maps (n, ..., c)."""
    x = jnp.tanh(x).reshape(len(x), -1)
    return jnp.stack([x.sum(1), (x**2).sum(1), (x[:, 1:] * x[:, :-1]).sum(1)], 1)


def plain(w, x):
    return pooled(convolve(x, w))


def strided(w, x):
    return pooled(convolve(x, w, window_strides=(2, 1), padding=[(0, 2), (1, 0)]))


def dilated(w, x):
    return pooled(convolve(x, w, rhs_dilation=(1, 2), padding="VALID"))


def upsampled(w, x):
    return pooled(convolve(x, w, lhs_dilation=(2, 3), padding=[(2, 1), (-1, 2)]))


def grouped(w, x):
    return pooled(convolve(x, w, feature_group_count=2))


def depthwise(w, x):
    return pooled(convolve(x, w, feature_group_count=4, window_strides=(2, 2)))


def channels_first(w, x):
    y = convolve(x.transpose(0, 3, 1, 2), w, dimension_numbers=("NCHW", "OIHW", "NCHW"))
    return pooled(y)


def one_dimensional(w, x):
    return pooled(convolve(x[:, :, 0], w, window_strides=(1,), dimension_numbers=("NWC", "WIO", "NWC")))


def token_wise(w, x):
    return pooled(x.reshape(len(x), -1, 4) @ w)


def contracted_twice(w, x):
    return pooled(jnp.einsum("nhwc,wco->nho", x, w))


def weight_first(w, x):
    return pooled(jax.vmap(lambda image: w @ image.reshape(-1, 4).T)(x))


def reordered(w, x):
    return pooled(x.reshape(len(x), -1) @ w.reshape(3, -1).T)


LAYERS = {
    plain: (3, 3, 4, 5),
    strided: (3, 2, 4, 5),
    dilated: (3, 2, 4, 2),
    upsampled: (3, 3, 4, 2),
    grouped: (3, 3, 2, 6),
    depthwise: (3, 3, 1, 8),
    channels_first: (5, 4, 3, 3),
    one_dimensional: (3, 4, 2),
    token_wise: (4, 3),
    contracted_twice: (6, 4, 2),
    weight_first: (3, 4),
    reordered: (3, 7, 24),
}


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(IMAGES, *SHAPE)))


def layers_of(fn, parameters, images):
    program = layerwise.program_of(jax.make_jaxpr(fn)(parameters, images[:1]), calls=layerwise.PLAIN_CALLS)
    return layerwise._layers(program, len(parameters))


@cache
def jacobian_of(fn):
    return jax.jit(jax.jacobian(fn))


def expected(fn, parameters, images, others, full):
    rows = [
        np.concatenate([np.reshape(leaf, (len(batch), 3, -1)) for leaf in jacobian_of(fn)(parameters, batch)], 2)
        for batch in (images, others)
    ]
    kernel = np.einsum("aip,bjp->abij", *rows)
    return kernel if full else np.einsum("abii->ab", kernel) / 3


def assert_equal_to_jacobian(fn, parameters, images, others=None, output="trace"):
    found = jax.jit(lambda p, x, y: ntk.empirical_ntk(fn, p, x, y, output=output))(parameters, images, others)
    values = expected(fn, parameters, images, images if others is None else others, output == "full")
    np.testing.assert_allclose(found, values, rtol=1e-10, atol=1e-11 * np.abs(values).max())


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_layers_equal_the_contracted_jacobian(layer, images, rng, monkeypatch):
    """Both ways of contracting, whichever needs fewer multiplications; groups have one way only."""
    parameters = [jnp.asarray(rng.normal(size=LAYERS[layer]))]
    others = jnp.asarray(rng.normal(size=(3, *SHAPE)))

    def fn(parameters, x):
        return layer(parameters[0], x)

    (found,) = layers_of(fn, parameters, images)
    for by_positions in [False] if found.groups > 1 else [False, True]:
        monkeypatch.setattr(layerwise, "_few_positions", lambda *_, chosen=by_positions: chosen)
        assert_equal_to_jacobian(fn, parameters, images)
        assert_equal_to_jacobian(fn, parameters, images, others, output="full")


def test_few_positions_are_chosen_where_they_need_fewer_multiplications():
    def chosen(side, channels):
        images, weights = jnp.zeros((1, side, side, channels)), jnp.zeros((3, 3, channels, channels))
        (layer,) = layers_of(lambda p, x: pooled(convolve(x, p[0])), [weights], images)
        x = np.zeros((8, channels, 1, side + 2, side + 2))
        return layerwise._few_positions(layer, x, np.zeros((8, 1, side**2, channels)), 8, True)

    # For a pair of 8 images: 4^4 (9 c + c) = 1.3 M multiplications against (4^2 / 8 + 1) 9 c^2 = 7 M.
    assert chosen(4, 512)
    # 32^4 (9 c + c) = 168 M against (32^2 / 8 + 1) 9 c^2 = 297 k.
    assert not chosen(32, 16)


# --- parameters that are no layer's weights ---------------------------------------------------------


def twice(parameters, x):
    return pooled(convolve(convolve(x, parameters[0]), parameters[0]))


def decayed(parameters, x):
    return pooled(convolve(x, parameters[0])) + (parameters[0] ** 2).sum()


def normalised(parameters, x):
    w = parameters[0]
    return pooled(convolve(x, (w - w.mean()) / w.std()))


def scanned(parameters, x):
    return pooled(jax.lax.scan(lambda y, _: (jnp.tanh(convolve(y, parameters[0])), None), x, length=2)[0])


def checkpointed(parameters, x):
    return pooled(jax.checkpoint(lambda w, x: convolve(x, w))(parameters[0], x))


@pytest.mark.parametrize("fn", [twice, decayed, normalised, scanned, checkpointed], ids=lambda fn: fn.__name__)
def test_other_parameters_get_their_gradients_from_jax(fn, images, rng):
    parameters = [jnp.asarray(rng.normal(size=(3, 3, 4, 4))) / 6]
    assert layers_of(fn, parameters, images) == []
    assert_equal_to_jacobian(fn, parameters, images)


@jax.custom_vjp
def straight_through(x):
    return jnp.round(x)


straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, gradient: (gradient,))


def test_layers_mix_with_everything_else(images, rng):
    """A compiled function, a custom derivative, a bias, a scale and an unused parameter; a product of two parameters."""
    shapes = [(3, 3, 4, 5), (1, 1, 1, 5), (5, 3), (3, 2), (2,), (1, 3)]
    parameters = [jnp.asarray(rng.normal(size=shape)) for shape in shapes]

    def fn(p, x):
        x = jax.jit(lambda w, x: convolve(x, w))(p[0], x) * p[1]
        x = jax.nn.relu(straight_through(4 * x) / 4).mean((1, 2))
        return x @ p[2] @ (p[3] @ p[3].T) + p[5]

    assert sorted(layer.parameter for layer in layers_of(fn, parameters, images)) == [0, 2]
    assert_equal_to_jacobian(fn, parameters, images)


def test_kernels_are_mapped_and_differentiated(images, rng):
    """`vmap` against one kernel at a time; `grad` against central differences."""
    stack = [jnp.asarray(rng.normal(size=(2, 3, 3, 4, 5)))]

    def fn(parameters, x):
        return plain(parameters[0], x)

    def total(parameters, images):
        return (jnp.sin(ntk.empirical_ntk(fn, parameters, images) / 100)).sum()

    mapped = jax.vmap(lambda p: ntk.empirical_ntk(fn, p, images))(stack)
    singles = [ntk.empirical_ntk(fn, [weights], images) for weights in stack[0]]
    np.testing.assert_allclose(mapped, np.stack(singles), rtol=1e-10)
    weights, direction = stack[0]
    step = 1e-5
    differences = [total([weights + sign * step * direction], images) for sign in (1, -1)]
    slope = (jax.grad(total)([weights], images)[0] * direction).sum()
    np.testing.assert_allclose(slope, (differences[0] - differences[1]) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize(("compiled", "others"), [(False, None), (True, 5)])
def test_more_rows_than_are_held(others, compiled, images, rng, monkeypatch):
    """Seven images in blocks of one and groups of two or three, against all at once."""
    images = jnp.asarray(rng.normal(size=(7, *SHAPE)))
    second = None if others is None else jnp.asarray(rng.normal(size=(others, *SHAPE)))
    parameters = [jnp.asarray(rng.normal(size=(3, 3, 4, 5)))]

    def kernel(parameters, images, second, block_size=None):
        def fn(parameters, x):
            return plain(parameters[0], x)

        return ntk.empirical_ntk(fn, parameters, images, second, output="full", block_size=block_size)

    whole = kernel(parameters, images, second)
    # An image's rows: inputs of 4 and derivatives of 5 channels and 3 outputs.
    row = 8 * 7 * 6 * (4 + 3 * 5)
    for held in (0, 2 * row, 3 * row):
        monkeypatch.setattr(engines, "_HELD_BYTES", held)
        blocks = jax.jit(kernel, static_argnums=3) if compiled else kernel
        np.testing.assert_allclose(blocks(parameters, images, second, 1), whole, rtol=1e-10, atol=1e-10)
