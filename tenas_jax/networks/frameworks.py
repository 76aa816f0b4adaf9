"""Models of Flax Linen, Flax NNX and Equinox as `apply_fn(variables, images)`, batch norm frozen or coupled.

"frozen" normalises by stored statistics, every image on its own; "coupled" by the statistics of the batch, as in
`ntk.empirical_ntk`. Dropout is off in both. Parameters are under `params/...`, all else under other names, so that
`ntk.is_parameter` tells them apart.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from flax import errors, nnx

from tenas_jax.errors import InputError
from tenas_jax.networks.apply_function import BatchStats, ModelFunction


class Model(NamedTuple):
    """What `ntk.empirical_ntk` takes.

    Attributes:
        apply_fn: `apply_fn(variables, images)` returns logits; its `batch_stats` is what the model was made for.
        variables: `{"params": ..., ...}`.
    """

    apply_fn: ModelFunction
    variables: dict[str, Any]


def _check(batch_stats: str) -> None:
    if batch_stats not in ("frozen", "coupled"):
        raise InputError(f"`batch_stats` must be 'frozen' or 'coupled'; it is {batch_stats!r}.")


def linen_model(
    module: nn.Module,
    variables: Mapping[str, Any],
    *,
    batch_stats: BatchStats = "frozen",
    arguments: Mapping[str, Any] | None = None,
) -> Model:
    """A Flax Linen module.

    Linen modules name their mode as they like; `arguments` must say it: `{"train": False}` for "frozen" and
    `{"train": True}` for "coupled", say.

    Args:
        module: called as `module(images, **arguments)`.
        variables: from `module.init`; for "frozen" with the statistics of its batch norms.
        batch_stats: see above.
        arguments: further arguments of the call.

    Returns:
        The function, and the variables.

    Raises:
        InputError: for an unknown `batch_stats` or variables without parameters; when the function is called, for a module
            in eval mode whose statistics are missing, and for one in train mode that should be frozen.

    Examples:
        >>> import jax.numpy as jnp
        >>> module = nn.Dense(3)
        >>> images = jnp.ones((2, 5), "float32")
        >>> model = linen_model(module, module.init(jax.random.key(0), images))
        >>> model.apply_fn(model.variables, images).shape
        (2, 3)
    """
    _check(batch_stats)
    if "params" not in variables:
        raise InputError(
            f"`variables` must have a collection 'params', as `module.init` makes it; they have {sorted(variables)}."
        )
    given = dict(arguments or {})

    def apply_fn(variables, images) -> Any:
        try:
            if batch_stats == "coupled":
                return module.apply(variables, images, mutable=["batch_stats"], **given)[0]
            return module.apply(variables, images, **given)
        except (errors.ScopeCollectionNotFound, errors.ScopeVariableNotFoundError) as error:
            raise InputError(
                f"`variables` must hold the statistics of a module in eval mode; {_sentence(error)} "
                "Run it in train mode with mutable=['batch_stats'] first, or pass `batch_stats='coupled'`."
            ) from error
        except errors.ModifyScopeVariableError as error:
            raise InputError(
                f"`module` must not change its state with `batch_stats='frozen'`; {_sentence(error)} "
                "Pass the `arguments` of its eval mode."
            ) from error

    return Model(ModelFunction(apply_fn, batch_stats), dict(variables))


def _sentence(error: Exception) -> str:
    return str(error).partition(" (https://")[0].rstrip(".") + "."


def nnx_model(module: nnx.Module, *, batch_stats: BatchStats = "frozen") -> Model:
    """A Flax NNX module; the module itself stays as it is.

    Args:
        module: called as `module(images)`.
        batch_stats: see above.

    Returns:
        The function, and `{"params": nnx.Param, "state": all else}`.

    Raises:
        InputError: for an unknown `batch_stats`, or a module without parameters.

    Examples:
        >>> import jax.numpy as jnp
        >>> model = nnx_model(nnx.Linear(5, 3, rngs=nnx.Rngs(0)))
        >>> model.apply_fn(model.variables, jnp.ones((2, 5), "float32")).shape
        (2, 3)
    """
    _check(batch_stats)
    copy = nnx.merge(*nnx.split(module))
    copy.set_attributes(use_running_average=batch_stats == "frozen", deterministic=True, raise_if_not_found=False)
    structure, params, state = nnx.split(copy, nnx.Param, ...)
    if not jax.tree.leaves(params):
        raise InputError(f"`module` must have an `nnx.Param`; {type(module).__name__} has none.")

    def apply_fn(variables, images) -> Any:
        return nnx.merge(structure, variables["params"], variables["state"])(images)

    return Model(ModelFunction(apply_fn, batch_stats), {"params": params, "state": state})


def equinox_model(model: Any, state: Any = None, *, batch_stats: BatchStats = "frozen") -> Model:
    """An Equinox model, which sees one image at a time: it is mapped over the batch under the axis name "batch".

    In the mode "ema" Equinox' batch norm mixes the statistics of the batch with stored ones; the mode "batch" is that of
    other libraries.

    Args:
        model: called as `model(image)`, or as `model(image, state)`, which returns a pair.
        state: from `eqx.nn.make_with_state`, if any.
        batch_stats: see above.

    Returns:
        The function, and `{"params": floating-point arrays of the model, "state": state}`.

    Raises:
        InputError: for an unknown `batch_stats`, a model without parameters, a batch norm without state, one in "frozen"
            that has seen no batch yet, and where Equinox is not installed.

    Examples:
        >>> import equinox as eqx
        >>> import jax.numpy as jnp
        >>> model = equinox_model(eqx.nn.Linear(5, 3, key=jax.random.key(0)))
        >>> model.apply_fn(model.variables, jnp.ones((2, 5))).shape
        (2, 3)
    """
    try:
        import equinox as eqx
    except ImportError as error:
        raise InputError(
            "`equinox_model` needs Equinox, which is not installed. `pip install equinox` brings it."
        ) from error

    _check(batch_stats)

    def is_layer(node):
        return isinstance(node, eqx.nn.BatchNorm | eqx.nn.Dropout)

    norms = [leaf for leaf in jax.tree.leaves(model, is_leaf=is_layer) if isinstance(leaf, eqx.nn.BatchNorm)]
    if norms and state is None:
        raise InputError("`state` must be given for a model with a batch norm; make both by `eqx.nn.make_with_state`.")
    if batch_stats == "frozen" and any(not _has_statistics(norm, state) for norm in norms):
        raise InputError(
            "`state` must hold the statistics of a model in eval mode; a batch norm has seen no batch yet. "
            "Run the model on a batch and keep its state first, or pass `batch_stats='coupled'`."
        )
    model = eqx.nn.inference_mode(model, batch_stats == "frozen")
    model = jax.tree.map(
        lambda leaf: eqx.nn.inference_mode(leaf) if isinstance(leaf, eqx.nn.Dropout) else leaf, model, is_leaf=is_layer
    )
    params, static = eqx.partition(model, eqx.is_inexact_array)
    if not jax.tree.leaves(params):
        raise InputError(f"`model` must have floating-point arrays; {type(model).__name__} has none.")

    def apply_fn(variables, images) -> Any:
        whole = eqx.combine(variables["params"], static)
        if variables["state"] is None:
            return jax.vmap(whole, axis_name="batch")(images)
        # A state object can be used once: a copy leaves the caller's alone.
        fresh = jax.tree.map(lambda leaf: leaf, variables["state"])
        return jax.vmap(whole, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(images, fresh)[0]

    return Model(ModelFunction(apply_fn, batch_stats), {"params": params, "state": state})


def _has_statistics(norm: Any, state: Any) -> bool:
    """Whether an Equinox batch norm has seen a batch."""
    if norm.mode == "ema":
        return not bool(state.get(norm.ema_first_time_index))
    return bool(state.get(norm.batch_counter) > 0)
