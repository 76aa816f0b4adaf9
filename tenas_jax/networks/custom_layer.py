"""A layer that is not written with the operations of a `Reading`: its parameters, and its output for given ones."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from tenas_jax.errors import InputError

Initialiser = Callable[[Any, tuple[int, ...], Any], Array]
Shapes = dict[str, tuple[tuple[int, ...], Initialiser]]


class Layer(NamedTuple):
    """A layer as parameters and a function.

    Attributes:
        parameters: shape and initialiser, by path.
        apply: `(parameters by path, x) -> y`.
    """

    parameters: Shapes
    apply: Callable[[Mapping[str, Array], Float[Array, "b h w c"]], Float[Array, "b h w c"]]


def open_layer(name: str, layer: Callable[..., Any], x: Any) -> Layer:
    """Opens a Flax Linen module, or a function of feature maps, which has no parameters.

    Args:
        name: of the layer, for complaints.
        layer: the module or function.
        x: the feature maps (b, h, w, c) that enter, or their shape and dtype.

    Raises:
        InputError: for a module with variables besides parameters (batch statistics, for instance), or no layer at all.
    """
    if not isinstance(layer, nn.Module):
        if not callable(layer):
            raise InputError(f"the layer of {name} must be a Flax Linen module or a function; it is {layer!r}.")
        return Layer({}, lambda values, x: layer(x))
    # A module made while another one runs would become a part of that one.
    module = layer.clone(parent=None)
    # What is drawn depends on the shape of what enters alone; modules draw in single precision, unless they say otherwise.
    entering = jax.ShapeDtypeStruct(x.shape, jnp.float32)
    variables: Any = jax.eval_shape(module.init, jax.random.key(0), entering)
    others = sorted(set(variables) - {"params"})
    if others:
        raise InputError(
            f"the module of {name} keeps variables besides its parameters ({', '.join(others)}); leave them to the "
            "operations of the reading, such as `read.batch_norm`."
        )
    leaves: dict[str, Any] = flatten_dict(variables.get("params", {}), sep=".")

    def initialiser(path: str) -> Initialiser:
        def initial(key, shape, dtype):
            del shape
            drawn: dict[str, Any] = flatten_dict(module.init(key, jnp.zeros(x.shape, jnp.float32))["params"], sep=".")
            return drawn[path].astype(dtype)

        return initial

    def apply(values, x) -> Any:
        return module.apply({"params": unflatten_dict(dict(values), sep=".")}, x)

    return Layer({path: (leaf.shape, initialiser(path)) for path, leaf in leaves.items()}, apply)
