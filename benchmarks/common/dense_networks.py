"""Random fully connected networks in the NTK parametrisation, and their kernels at infinite width."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

INPUTS = 32


class Variances(NamedTuple):
    """Of weights, times the fan-in, and of biases: sigma_w^2 and sigma_b^2.

    Attributes:
        weight: a weight has this variance over its fan-in.
        bias: a bias has this variance.
    """

    weight: float
    bias: float


# Networks in the NTK parametrisation: parameters are standard normal, variances are factors.


def draw(key, width: int, depth: int) -> dict[str, Any]:
    """Parameters of `depth` hidden layers and one output."""
    keys = iter(jax.random.split(key, 6))

    def layer(*shape):
        return {"w": jax.random.normal(next(keys), shape), "b": jax.random.normal(next(keys), (*shape[:-2], shape[-1]))}

    return {"first": layer(INPUTS, width), "hidden": layer(depth - 1, width, width), "readout": layer(width, 1)}


def apply(variances: Variances, activation: Callable, params, x):
    """Outputs (n, 1) of inputs (n, INPUTS)."""

    def dense(x, layer):
        scale = (variances.weight / x.shape[1]) ** 0.5
        return scale * jnp.dot(x, layer["w"]) + variances.bias**0.5 * layer["b"][None]

    x = activation(dense(x, params["first"]))
    if len(params["hidden"]["w"]):
        x, _ = jax.lax.scan(lambda x, layer: (activation(dense(x, layer)), None), x, params["hidden"])
    return dense(x, params["readout"])


# The first part: a line.


def relu_moments(k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E f(u) f(v) and E f'(u) f'(v) of ReLU for (u, v) normal with covariances from k (Cho and Saul 2009)."""
    norm = np.sqrt(np.outer(np.diag(k), np.diag(k)))
    c = np.clip(k / norm, -1, 1)
    np.fill_diagonal(c, 1.0)
    rest = np.pi - np.arccos(c)
    return norm * (np.sqrt(1 - c**2) + rest * c) / (2 * np.pi), rest / (2 * np.pi)


def erf_moments(k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of erf (Williams 1997)."""
    one = 1 + 2 * np.diag(k)
    norm = np.outer(one, one)
    return 2 / np.pi * np.arcsin(2 * k / np.sqrt(norm)), 4 / np.pi / np.sqrt(norm - 4 * k**2)


ACTIVATIONS = {"relu": (jax.nn.relu, relu_moments), "erf": (jax.scipy.special.erf, erf_moments)}


def infinite_kernels(activation: str, variances: Variances, x: np.ndarray, depth: int):
    """NNGP kernel K and NTK T of the output, by their recursion (Jacot et al. 2018, theorem 1; Lee et al. 2019).

    K' = s_w E f f + s_b and T' = K' + s_w E f' f' T, starting from K = T = s_w x x^T / INPUTS + s_b.

    Args:
        activation: its name.
        variances: of the network.
        x: (n, INPUTS).
        depth: hidden layers.

    Returns:
        K and T, (n, n) each.
    """
    moments = ACTIVATIONS[activation][1]
    k = variances.weight * x @ x.T / INPUTS + variances.bias
    t = k
    for _ in range(depth):
        values, slopes = moments(k)
        k = variances.weight * values + variances.bias
        t = k + variances.weight * slopes * t
    return k, t


def critical_weight_variance(bias: float) -> float:
    """The weight variance at which erf networks of a bias variance are critical, chi = s_w E f'^2 = 1, by bisection."""

    def slope(weight):
        q = 1.0
        for _ in range(10000):
            q = weight * 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)) + bias
        return weight * 4 / np.pi / np.sqrt(1 + 4 * q)

    low, high = 0.1, 10.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 1 else (low, middle)
    return round((low + high) / 2, 6)
