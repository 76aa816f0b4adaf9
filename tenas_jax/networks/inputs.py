"""What a function is given: one array, of numbers or of tokens, or a tree of arrays."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from tenas_jax.errors import InputError


def is_readable(batch: Array) -> bool:
    """Whether a batch holds numbers or tokens: bytes are pictures that nobody has normalised.

    Args:
        batch: an array.
    """
    numbers = jnp.issubdtype(batch.dtype, jnp.floating)
    return bool(numbers or (jnp.issubdtype(batch.dtype, jnp.integer) and batch.dtype != jnp.uint8))


def is_tree(inputs: Any) -> bool:
    """Whether inputs are a tree of arrays: a dict, a tuple, or whatever JAX knows as one. A list is a stack of inputs.

    Args:
        inputs: as a function takes them.
    """
    leaves = jax.tree.leaves(inputs)
    is_leaf = len(leaves) == 1 and leaves[0] is inputs
    return not isinstance(inputs, list) and not is_leaf and not isinstance(inputs, jax.Array | np.ndarray)


def numbered(name: str, inputs: Any) -> tuple[Any, Int[Array, " n"]]:
    """A tree of inputs as arrays that are looked up, and the numbers 0, 1, ..., n - 1 that stand for them.

    What treats every input on its own, or slices a batch, then has one array to treat.

    Args:
        name: of the argument, for complaints.
        inputs: arrays (n, ...).

    Raises:
        InputError: where leaves are no arrays, or their first axes differ.
    """
    arrays = jax.tree.map(jnp.asarray, inputs)
    lengths = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(arrays)}
    if len(lengths) != 1 or lengths == {0}:
        found = ", ".join(map(str, sorted(lengths))) or "no leaf"
        raise InputError(
            f"`{name}` must be a tree of arrays (n, ...) with the same n, an input a row; the first axes are: {found}."
        )
    return arrays, jnp.arange(lengths.pop())


def looked_up(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of variables and numbers: `function(variables, inputs)` with the inputs of these numbers.

    Args:
        function: of variables and a tree of inputs.

    Returns:
        A function of `(variables, inputs)` and numbers.
    """

    def of_numbers(both: Any, numbers: Int[Array, " m"]) -> Any:
        variables, inputs = both
        return function(variables, jax.tree.map(lambda leaf: leaf[numbers], inputs))

    return of_numbers
