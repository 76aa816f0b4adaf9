"""Our parameters from PyTorch's state of the same network: other names, other axes, the same numbers."""

from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201

ENDS = {"stem.conv": "stem.0", "stem.norm": "stem.1", "head.norm": "lastact.0", "head.linear": "classifier"}


def torch_name(name: str) -> str:
    """PyTorch's name of one of our parameters.

    Args:
        name: such as `stage1.cell0.edge3.nor_conv_3x3.conv.kernel` (NAS-Bench-201) or
            `cell1.edge2.sep_conv_3x3.first.depthwise.kernel` (DARTS).
    """
    place, _, leaf = name.rpartition(".")
    path = place.split(".")
    if place in ENDS:
        module = ENDS[place]
    elif path[0].startswith("stage"):
        module = _nas_bench_201_module(path)
    else:
        module = _darts_module(path)
    return f"{module}.{'bias' if leaf == 'bias' else 'weight'}"


def _nas_bench_201_module(path: list[str]) -> str:
    stage = int(path[0].removeprefix("stage"))
    if path[1:] == ["reduction", "shortcut"]:
        return f"cells.{2 * stage - 1}.downsample.1"
    layer = {"conv": 1, "norm": 2}[path[-1]]
    if path[1] == "reduction":
        block = {"first": "conv_a", "second": "conv_b"}[path[2]]
        return f"cells.{2 * stage - 1}.{block}.op.{layer}"
    source, target = NAS_BENCH_201.edges[int(path[2].removeprefix("edge"))]
    operator = NAS_BENCH_201.operators.index(path[3])
    return f"cells.{2 * stage}.edges.{target}<-{source}.{operator}.op.{layer}"


def _darts_module(path: list[str]) -> str:
    cell = f"cells.{path[0].removeprefix('cell')}"
    if path[1].startswith("preprocess"):
        return f"{cell}.{path[1]}.op.{ {'conv': 1, 'norm': 2}[path[2]] }"
    source, target = DARTS.edges[int(path[1].removeprefix("edge"))]
    operator = f"{cell}.edges.{target - DARTS.inputs}<-{source}._ops.{DARTS.operators.index(path[2])}"
    if path[2] == "skip_connect":
        return f"{operator}.{ {'even': 'convs.0', 'odd': 'convs.1', 'norm': 'bn'}[path[3]] }"
    layer = {"depthwise": 1, "pointwise": 2, "norm": 3}[path[-1]]
    blocks = [{"first": "op_a", "second": "op_b"}[part] for part in path[3:-1]]
    return ".".join([operator, *blocks, "op", str(layer)])


def from_torch(names: Iterable[str], state: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, Array]:
    """Our parameters.

    Args:
        names: ours, all of a network: of a `CellNetwork` or of a `ScannedNetwork` of DARTS.
        state: PyTorch's arrays by their names: convolutions (out, in, k, k), the linear layer (out, in).
        prefix: before PyTorch's names.

    Returns:
        Arrays by our names: convolutions (k, k, in, out), the linear layer (in, out); stacked over scanned edges.
    """
    axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    names = list(names)
    parameters = {}
    for name in names:
        arrays = [np.asarray(state[prefix + torch_name(single)]) for single in _single_names(name, names)]
        arrays = [array.transpose(axes[array.ndim]) for array in arrays]
        parameters[name] = jnp.asarray(np.stack(arrays) if ".stride" in name else arrays[0])
    return parameters


def _single_names(name: str, names: list[str]) -> list[str]:
    """The names that a parameter stacked over edges stands for, in their order; or the name itself."""
    if ".stride" not in name:
        return [name]
    cell, stride, _, rest = name.split(".", 3)
    reduces = any(other.startswith(f"{cell}.stride2.") for other in names)
    chosen = [e for e, (source, _) in enumerate(DARTS.edges) if not reduces or (source < 2) == (stride == "stride2")]
    return [f"{cell}.edge{e}.{rest}" for e in chosen]
