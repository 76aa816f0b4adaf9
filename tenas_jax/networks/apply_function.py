"""What a network is to the rest of the library: a function of variables and images."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from tenas_jax.errors import InputError

BatchStats = Literal["frozen", "coupled"]
ApplyFunction = Callable[[Any, Array], Array]


@dataclass(frozen=True)
class ModelFunction:
    """An `apply_fn(variables, images)` that knows how its batch norms normalise.

    Attributes:
        function: what is called.
        batch_stats: "frozen": by stored statistics; "coupled": by those of the batch.
    """

    function: ApplyFunction
    batch_stats: BatchStats

    def __call__(self, variables: Any, images: Array) -> Array:
        """The logits (n, classes)."""
        return self.function(variables, images)


def batch_stats_of(function: Any, asked: BatchStats | None) -> BatchStats:
    """How a function is to be scored: as its model was made, or as asked; "frozen" where nothing is said.

    Args:
        function: any function; a `ModelFunction`, also within `functools.partial` or `jax.jit`, says it itself.
        asked: by the caller.

    Raises:
        InputError: for an unknown mode, and where a model was made for the other one.
    """
    if asked not in (None, "frozen", "coupled"):
        raise InputError(f"`batch_stats` must be 'frozen' or 'coupled'; it is {asked!r}.")
    inner = function
    while not isinstance(inner, ModelFunction):
        deeper = inner.func if isinstance(inner, functools.partial) else getattr(inner, "__wrapped__", None)
        if deeper is None:
            return asked or "frozen"
        inner = deeper
    if asked not in (None, inner.batch_stats):
        raise InputError(
            f"`batch_stats` must be that of the model, which was made with batch_stats={inner.batch_stats!r}; it is "
            f"{asked!r}. Leave it out, or make the model with batch_stats={asked!r}."
        )
    return inner.batch_stats


def as_batch(name: str, images: Any) -> Array:
    """Images as one array of JAX.

    Args:
        name: of the argument, for complaints.
        images: an array, or a list of arrays of one shape.

    Raises:
        InputError: for anything else.
    """
    if isinstance(images, jax.Array):
        return images
    try:
        if isinstance(images, dict):
            raise TypeError
        return jnp.asarray(images)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"`{name}` must be one array of images (n, ...), or a list of images of one shape; it is "
            f"{type(images).__name__}. A function of several inputs takes them as one array, or closes over the others."
        ) from error
