"""Max pooling against Flax's, values and gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.networks.pooling import max_pool


def by_flax(x, window, stride, padding):
    return nn.max_pool(x, (window, window), (stride, stride), ((padding, padding), (padding, padding)))


@pytest.mark.parametrize("values", ["distinct", "ties"])
@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("sides", "padding"), [((1, 1), 1), ((4, 4), 0), ((4, 4), 1), ((5, 7), 0), ((6, 3), 1)])
def test_values_and_gradients(rng, values, window, stride, sides, padding):
    x = rng.normal(size=(3, *sides, 2)) if values == "distinct" else rng.integers(2, size=(3, *sides, 2))
    x = jnp.asarray(x, float)
    np.testing.assert_array_equal(max_pool(x, window, stride, padding), by_flax(x, window, stride, padding))
    weights = jnp.asarray(rng.normal(size=by_flax(x, window, stride, padding).shape))
    mine, flax = (
        jax.grad(lambda x, f=f: (weights * f(x, window, stride, padding)).sum())(x) for f in (max_pool, by_flax)
    )
    np.testing.assert_allclose(mine, flax, atol=1e-12)


def test_what_is_not_a_number_stays_so():
    x = jnp.zeros((1, 3, 3, 1)).at[0, 2, 2, 0].set(jnp.nan)
    assert np.isnan(max_pool(x, 3, 1, 1)[0, 1:, 1:, 0]).all()
    assert max_pool(x, 3, 1, 1)[0, 0, 0, 0] == 0
