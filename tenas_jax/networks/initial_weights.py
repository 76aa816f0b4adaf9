"""Initial weights of cell networks (He et al. 2015), as `Module.init` of Flax draws them and much sooner.

Flax calls a function for every parameter. For the hundred parameters of a thin network that takes longer than the network
takes for hundreds of masks. Here all weights of one shape are drawn by one call, with the keys that Flax would take.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt32

from tenas_jax.networks.custom_layer import Initialiser

Parameters = Mapping[str, Array]
Fan = Literal["fan_in", "fan_out"]


class Declaration(NamedTuple):
    """A parameter that a network needs.

    Attributes:
        shape: its shape; convolutions are (k, k, in, out), depthwise ones (k, k, 1, channels), the linear layer (in, out).
        kind: "weight" for convolutions and the linear layer, "scale" or "bias"; "custom" of a custom layer.
        initial: the custom layer's initialiser, `(key, shape, dtype) -> array`.
    """

    shape: tuple[int, ...]
    kind: Literal["weight", "scale", "bias", "custom"]
    initial: Initialiser | None = None


def kaiming_deviation(fan: Fan, shape: tuple[int, ...]) -> float:
    """The standard deviation `(2 / fan) ** 0.5` of initial weights (He et al. 2015).

    Args:
        fan: which fan.
        shape: (..., k, k, in, out) of a convolution, or (in, out). A depthwise kernel is (k, k, 1, c): one input an output,
            and PyTorch counts k^2 c as its fan_out.
    """
    return (2 / (math.prod(shape[-4:-2]) * shape[-2 if fan == "fan_in" else -1])) ** 0.5


def initialiser(fan: Fan, declared: Declaration) -> Callable[..., Array]:
    """What `Module.param` takes.

    Args:
        fan: of Kaiming's normal initialisation.
        declared: the parameter.
    """
    return declared.initial or partial(_initial, fan, declared.kind)


def norm_shapes(declared: Mapping[str, Declaration]) -> dict[str, tuple[int, ...]]:
    """The shape of the statistics of every batch norm, by its name.

    Args:
        declared: the parameters of a network.
    """
    return {name.removesuffix(".scale"): d.shape for name, d in declared.items() if d.kind == "scale"}


def unit_moments(shape: tuple[int, ...], dtype) -> tuple[Array, Array]:
    """The mean and variance with which a batch norm begins.

    Args:
        shape: of each.
        dtype: of each.
    """
    return jnp.zeros(shape, dtype), jnp.ones(shape, dtype)


def _initial(fan: Fan, kind: str, key, shape, dtype):
    if kind != "weight":
        return jnp.full(shape, _constant(kind), dtype)
    return jax.random.normal(key, shape, dtype) * jnp.asarray(kaiming_deviation(fan, shape), dtype)


def _constant(kind: str) -> float:
    return float(kind == "scale")


def flax_keys(key: Key[Array, ""], count: int) -> Key[Array, " count"]:
    """The keys of the first `count` parameters that a Flax module asks for.

    Args:
        key: that `Module.init` is given.
        count: how many.
    """
    return _folded(key, _hashes(count, flax.config.flax_fix_rng_separator))


@jax.jit
def _folded(key, numbers):
    return jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)


@lru_cache
def _hashes(count: int, separated: bool) -> UInt32[np.ndarray, " count"]:
    """What `flax.core.scope` folds into a key for the first, the second, ... time that it is asked."""
    content = (number.to_bytes((number.bit_length() + 7) // 8, "big") for number in range(1, count + 1))
    digests = [hashlib.sha1(b"\0" * separated + number, usedforsecurity=False).digest() for number in content]
    return np.array([int.from_bytes(digest[:4], "big") for digest in digests], np.uint32)


def drawn_alike(key: Key[Array, ""], fan: Fan, declared: Mapping[str, Declaration], dtype) -> dict[str, Array]:
    """Every parameter by a key of its own, those of one shape together.

    Args:
        key: that `Module.init` is given.
        fan: of Kaiming's normal initialisation.
        declared: the parameters, in the order in which the module asks for them.
        dtype: of the parameters.

    Returns:
        The same bits as `Module.init` with `initialiser`.
    """
    keys, alike = flax_keys(key, len(declared)), {}
    for place, d in enumerate(declared.values()):
        if d.kind == "weight" and d.initial is None:
            alike.setdefault(d.shape, []).append(place)
    names, found = list(declared), {}
    for shape, places in alike.items():
        deviation = np.asarray(kaiming_deviation(fan, shape), dtype)
        numbers = _normals(keys, np.array(places), deviation, shape)
        with suppress(jax.errors.TracerArrayConversionError):
            numbers = np.asarray(numbers)  # whose rows need no program that takes them apart
        found |= dict(zip([names[place] for place in places], numbers, strict=True))

    def value(place: int, name: str, d: Declaration) -> Any:
        if name in found:
            return found[name]
        return d.initial(keys[place], d.shape, dtype) if d.initial else np.full(d.shape, _constant(d.kind), dtype)

    return {name: value(place, name, d) for place, (name, d) in enumerate(declared.items())}


@partial(jax.jit, static_argnums=3)
def _normals(keys, places, deviation, shape):
    """One program, since every operation by itself would be compiled by itself; the barrier keeps their roundings."""
    numbers = jax.vmap(lambda key: jax.random.normal(key, shape, deviation.dtype))(keys[places])
    return jax.lax.optimization_barrier(numbers) * deviation


def drawn_at_once(key: Key[Array, ""], fan: Fan, declared: Mapping[str, Declaration], dtype) -> dict[str, Array]:
    """All parameters from one call: a call a weight costs more to compile than a network that is a loop over its edges.

    Args:
        key: decides them.
        fan: of Kaiming's normal initialisation.
        declared: the parameters.
        dtype: of the parameters.
    """
    weights = {name: d.shape for name, d in declared.items() if d.kind == "weight"}
    sizes = [math.prod(shape) for shape in weights.values()]
    deviations = [kaiming_deviation(fan, shape) for shape in weights.values()]
    numbers = jax.random.normal(key, (sum(sizes),), dtype) * jnp.asarray(np.repeat(deviations, sizes), dtype)
    pieces = dict(zip(weights, jnp.split(numbers, np.cumsum(sizes)[:-1]), strict=True))

    def value(place: int, name: str, d: Declaration) -> Array:
        if d.initial is not None:
            return d.initial(jax.random.fold_in(key, place), d.shape, dtype)
        return pieces[name].reshape(d.shape) if d.kind == "weight" else jnp.full(d.shape, _constant(d.kind), dtype)

    return {name: value(place, name, d) for place, (name, d) in enumerate(declared.items())}
