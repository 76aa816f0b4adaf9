"""Depthwise and 1 x 1 convolutions of networks that are trained, beside the general routine and its gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.networks.convolution import general_convolution
from tenas_jax.networks.depthwise import unrolled_depthwise
from tenas_jax.networks.training_convolution import train_convolve


@partial(jax.jit, static_argnums=0)
def with_gradients(function, x, weights):
    """Values, and vector-Jacobian products by the input and by the weights."""
    values, pull = jax.vjp(function, x, weights)
    return values, pull(jnp.cos(values))


# Heights with eight, seven, and one equal part; rows that a stride does not divide.
@pytest.mark.parametrize("sides", [(16, 5), (7, 8), (11, 4)])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 1, 2), (5, 2, 2), (1, 2, 1)])
def test_a_depthwise_convolution_and_its_gradients_are_those_of_the_general_routine(sides, kernel, stride, dilation):
    x = jax.random.normal(jax.random.key(0), (2, *sides, 3))
    weights = jax.random.normal(jax.random.key(1), (kernel, kernel, 1, 3))
    general = partial(general_convolution, stride=stride, dilation=dilation, depthwise=True)
    found = with_gradients(lambda x, w: unrolled_depthwise(x, w, stride, dilation), x, weights)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(with_gradients(general, x, weights)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_1x1_convolution_and_its_gradients_are_those_of_the_general_routine(stride):
    x, weights = jax.random.normal(jax.random.key(0), (2, 5, 4, 3)), jax.random.normal(jax.random.key(1), (1, 1, 3, 7))
    general = partial(general_convolution, stride=stride, dilation=1, depthwise=False)
    found = with_gradients(partial(train_convolve, stride=stride), x, weights)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(with_gradients(general, x, weights)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11)


def test_gradients_of_half_precision_are_in_half_precision():
    x, weights = jnp.ones((2, 4, 4, 3), jnp.bfloat16), jnp.ones((1, 1, 3, 5), jnp.bfloat16)
    found = jax.grad(lambda x, w: train_convolve(x, w).astype(jnp.float32).sum(), (0, 1))(x, weights)
    assert [one.dtype for one in found] == [jnp.bfloat16] * 2
    np.testing.assert_array_equal(found[1].astype(np.float32), 32)
