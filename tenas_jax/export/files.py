"""Files that stand alone: source code of a network with its weights beside it, and ONNX."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict

from tenas_jax.errors import InputError
from tenas_jax.export.dialects import Flax, Torch
from tenas_jax.export.source import written
from tenas_jax.export.weights import flax_variables, torch_state, write_tensors
from tenas_jax.networks.stand_alone import Blueprint
from tenas_jax.records.files import write_bytes

TORCH_LOAD = '''

def load(path="{weights}"):
    """The network with its weights, in evaluation mode; needs safetensors."""
    from safetensors.torch import load_file

    network = Network()
    network.load_state_dict(load_file(path), strict=False)  # counters of batches are not kept
    return network.eval()
'''
FLAX_LOAD = '''

def load(path="{weights}"):
    """The network and its variables: `network.apply(variables, images)`; needs safetensors."""
    from flax.traverse_util import unflatten_dict
    from safetensors.flax import load_file

    return Network(), unflatten_dict(load_file(path), sep="/")
'''


def _doc(blueprint: Blueprint, axes: str) -> str:
    skeleton = blueprint.skeleton
    return (
        f'"""The network of one architecture, which stands alone; images are {axes}, normalised as in its training.\n\n'
        f"Space {blueprint.space.name}, {skeleton.channels} channels, {skeleton.cells} cells, {skeleton.classes} classes:\n"
        f'{blueprint.space.format(blueprint.mask)}\n"""\n\n'
    )


def torch_file(blueprint: Blueprint, source: str, weights: str = "network_torch.safetensors") -> str:
    """A file of PyTorch with the network, which imports nothing of this package.

    Args:
        blueprint: the network.
        source: its classes, see `source.written`.
        weights: name of the file with its weights.
    """
    return f"{_doc(blueprint, '(b, 3, h, w)')}{Torch.header}\n\n{source}{TORCH_LOAD.format(weights=weights)}"


def flax_file(blueprint: Blueprint, source: str, weights: str = "network_flax.safetensors") -> str:
    """A file of Flax Linen with the network, which imports nothing of this package.

    Args:
        blueprint: the network.
        source: its classes, see `source.written`.
        weights: name of the file with its weights.
    """
    return f"{_doc(blueprint, '(b, h, w, 3)')}{Flax.header}\n\n{source}{FLAX_LOAD.format(weights=weights)}"


def write_torch(path: Path, blueprint: Blueprint, variables: Mapping[str, Any]) -> None:
    """Writes `network_torch.py` and its weights.

    Args:
        path: the folder.
        blueprint: the network.
        variables: of a `StandAlone`.

    Raises:
        InputError: for a custom layer, or where they cannot be written.
    """
    source, names = written(blueprint, Torch())
    write_bytes(path / "network_torch.py", torch_file(blueprint, source).encode())
    write_tensors(path / "network_torch.safetensors", torch_state(variables, names))


def write_flax(path: Path, blueprint: Blueprint, variables: Mapping[str, Any]) -> None:
    """Writes `network_flax.py` and its weights.

    Args:
        path: the folder.
        blueprint: the network.
        variables: of a `StandAlone`.

    Raises:
        InputError: for a custom layer, or where they cannot be written.
    """
    source, names = written(blueprint, Flax())
    write_bytes(path / "network_flax.py", flax_file(blueprint, source).encode())
    arrays: Any = flatten_dict(flax_variables(variables, names), sep="/")
    write_tensors(path / "network_flax.safetensors", arrays)


def torch_network(blueprint: Blueprint, variables: Mapping[str, Any]) -> Any:
    """The network that `write_torch` writes, with weights, as a module of PyTorch in evaluation mode.

    Args:
        blueprint: the network.
        variables: of a `StandAlone`.

    Raises:
        InputError: for a custom layer, and where PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError("PyTorch is needed and not installed; `pip install 'tenas-jax[onnx]'` brings it.") from error
    source, names = written(blueprint, Torch())
    space: dict[str, Any] = {}
    exec(compile(Torch.header + source, "network_torch.py", "exec"), space)
    network = space["Network"]()
    state = {name: torch.from_numpy(value.copy()) for name, value in torch_state(variables, names).items()}
    network.to(next(iter(state.values())).dtype).load_state_dict(state, strict=False)
    return network.eval()


def write_onnx(path: Path, blueprint: Blueprint, variables: Mapping[str, Any], side: int) -> None:
    """Writes `network.onnx`, by PyTorch's exporter; any number of images (b, 3, side, side) goes in.

    Args:
        path: the folder.
        blueprint: the network.
        variables: of a `StandAlone`.
        side: height and width of the images.

    Raises:
        InputError: for a custom layer, where the exporter is not installed, or where nothing can be written.
    """
    network = torch_network(blueprint, variables)
    import torch

    try:
        import onnxscript
    except ImportError as error:
        raise InputError(
            "PyTorch's ONNX exporter needs onnx and onnxscript; `pip install 'tenas-jax[onnx]'` brings them."
        ) from error
    del onnxscript
    example = torch.zeros(2, 3, side, side, dtype=next(network.parameters()).dtype)
    with warnings.catch_warnings(action="ignore"):  # of the exporter, about its own parts
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    write_bytes(path / "network.onnx", program.model_proto.SerializeToString())
