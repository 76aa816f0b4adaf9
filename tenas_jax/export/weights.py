"""Weights under the names of other frameworks, and as safetensors with a description beside them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from tenas_jax.errors import InputError
from tenas_jax.networks.stand_alone import Blueprint, StandAlone
from tenas_jax.records.files import write_bytes
from tenas_jax.train.job import blueprint_from, described

WEIGHTS, DESCRIPTION = "model.safetensors", "architecture.json"
AXES = {4: (3, 2, 0, 1), 2: (1, 0)}  # (k, k, in, out) to (out, in, k, k), and (in, out) to (out, in)


class Loaded(NamedTuple):
    """A network that was saved.

    Attributes:
        model: the Linen module; `model.apply(variables, images)` gives logits.
        variables: parameters and running statistics.
        blueprint: what the network is.
    """

    model: StandAlone
    variables: dict[str, Any]
    blueprint: Blueprint


def torch_state(variables: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """A state dict of PyTorch.

    Args:
        variables: of a `StandAlone`.
        names: path of each layer in the PyTorch network, by our name.

    Returns:
        Arrays by PyTorch's names; layers that are not named are left out.
    """
    suffixes = {"kernel": "weight", "scale": "weight", "bias": "bias"}
    found = {}
    for name, value in variables["params"].items():
        layer, _, kind = name.rpartition(".")
        if layer in names:
            array = np.asarray(value)
            array = array.transpose(AXES.get(array.ndim, (0,)))
            found[f"{names[layer]}.{suffixes[kind]}"] = np.ascontiguousarray(array)
    for layer, moments in variables["batch_stats"].items():
        if layer in names:
            for kind, value in zip(("running_mean", "running_var"), moments, strict=True):
                found[f"{names[layer]}.{kind}"] = np.asarray(value)
    return found


def from_torch_state(
    blueprint: Blueprint, state: Mapping[str, Any], names: Mapping[str, str], side: int = 32
) -> dict[str, Any]:
    """Our variables of a state dict of PyTorch.

    Args:
        blueprint: the network.
        state: arrays by PyTorch's names.
        names: path of each layer in the PyTorch network, by our name.
        side: of the images.

    Raises:
        InputError: where a tensor is missing, of another shape, or left over.
    """
    rest = {name: np.asarray(value) for name, value in state.items() if not name.endswith("num_batches_tracked")}

    def take(layer: str, kind: str, shape: tuple[int, ...]) -> Any:
        name = f"{names.get(layer, layer)}.{kind}"
        if name not in rest:
            raise InputError(f"the state dict must hold {name!r}, for {layer} of this network; it does not.")
        array = rest.pop(name)
        array = array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim, (0,)))
        if array.shape != shape:
            raise InputError(
                f"{name!r} has the shape {array.shape}, axes in our order; {layer} of this network has {shape}."
            )
        return jnp.asarray(array)

    parameters, statistics = {}, {}
    for name, declared in blueprint.declared((1, side, side, 3)).items():
        layer, _, kind = name.rpartition(".")
        parameters[name] = take(layer, "bias" if kind == "bias" else "weight", declared.shape)
        if kind == "scale":
            statistics[layer] = tuple(take(layer, moment, declared.shape) for moment in ("running_mean", "running_var"))
    left = sorted(name for name in rest if not name.startswith("auxiliary"))
    if left:
        raise InputError(
            f"the state dict holds {len(left)} tensors that this network has no place for, such as {left[0]!r}."
        )
    return {"params": parameters, "batch_stats": statistics}


def flax_variables(variables: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Variables of the Flax network that is written.

    Args:
        variables: of a `StandAlone`.
        names: path of each layer in the written network, by our name.
    """
    params, moments = {}, {}
    for name, value in variables["params"].items():
        layer, _, kind = name.rpartition(".")
        if layer in names:
            params[f"{names[layer]}.{kind}"] = value
    for layer, (mean, variance) in variables["batch_stats"].items():
        if layer in names:
            moments |= {f"{names[layer]}.mean": mean, f"{names[layer]}.var": variance}
    return {"params": unflatten_dict(params, sep="."), "batch_stats": unflatten_dict(moments, sep=".")}


def save(
    path: Path, blueprint: Blueprint, variables: Mapping[str, Any], reference: str, about: Mapping[str, Any]
) -> None:
    """Writes `model.safetensors` and `architecture.json` into a folder.

    Args:
        path: the folder.
        blueprint: the network.
        variables: of a `StandAlone`.
        reference: how `find_space` finds its space.
        about: what else the description says; plain JSON values.

    Raises:
        InputError: where they cannot be written.
    """
    arrays = {f"params/{name}": np.asarray(value) for name, value in variables["params"].items()}
    for name, (mean, variance) in variables["batch_stats"].items():
        arrays |= {f"batch_stats/{name}/mean": np.asarray(mean), f"batch_stats/{name}/var": np.asarray(variance)}
    description = {"network": described(blueprint, reference), **about}
    write_tensors(path / WEIGHTS, arrays)
    write_bytes(path / DESCRIPTION, (json.dumps(description, indent=2) + "\n").encode())


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as safetensors, all or nothing.

    Args:
        path: the file.
        arrays: by name.

    Raises:
        InputError: where it cannot be written.
    """
    from safetensors.numpy import save as as_bytes

    write_bytes(path, as_bytes({name: np.ascontiguousarray(value) for name, value in arrays.items()}))


def load(path: str | Path) -> Loaded:
    """A network that `save` or `python -m tenas_jax.export` has written.

    Args:
        path: the folder.

    Raises:
        InputError: where the folder holds none, or files that do not belong together.

    Examples:
        >>> import tempfile
        >>> import jax
        >>> from tenas_jax import NAS_BENCH_201, trained_network
        >>> mask = NAS_BENCH_201.parse("|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|")
        >>> model, images = trained_network(NAS_BENCH_201, mask), jnp.zeros((1, 8, 8, 3), jnp.float32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Path(folder), model.blueprint, model.init(jax.random.key(0), images), "nasbench201", {})
        ...     found = load(folder)
        >>> found.model.apply(found.variables, images).shape
        (1, 10)
    """
    path = Path(path)
    try:
        description = json.loads((path / DESCRIPTION).read_text())
        arrays = _read_tensors(path / WEIGHTS)
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{path} must hold {DESCRIPTION} and {WEIGHTS} as `python -m tenas_jax.export` writes them ({error.strerror}: "
            f"{Path(str(error.filename)).name})."
        ) from error
    except ValueError as error:
        raise InputError(f"{path / DESCRIPTION} is no JSON ({error}); export the network again.") from error
    blueprint = blueprint_from(description.get("network", {}) if isinstance(description, dict) else {})
    parameters = {n.partition("/")[2]: jnp.asarray(v) for n, v in arrays.items() if n.startswith("params/")}
    moments: Any = flatten_dict({})
    for name, value in arrays.items():
        if name.startswith("batch_stats/"):
            moments[name] = jnp.asarray(value)
    layers = [name.split("/")[1] for name in moments if name.endswith("/mean")]
    try:
        statistics = {n: (moments[f"batch_stats/{n}/mean"], moments[f"batch_stats/{n}/var"]) for n in layers}
    except KeyError as error:
        raise InputError(f"{path / WEIGHTS} misses {error}; export the network again.") from error
    side = int(description.get("side", 32))
    wanted = {name: declared.shape for name, declared in blueprint.declared((1, side, side, 3)).items()}
    if wanted != {name: value.shape for name, value in parameters.items()}:
        raise InputError(f"{path / WEIGHTS} holds the weights of another network than {DESCRIPTION} describes.")
    dtype = next(iter(parameters.values())).dtype
    return Loaded(StandAlone(blueprint, dtype), {"params": parameters, "batch_stats": statistics}, blueprint)


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        return from_bytes(path.read_bytes())
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no safetensors ({error}); export the network again.") from error
