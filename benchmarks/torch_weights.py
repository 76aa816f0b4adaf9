"""Our parameters from PyTorch's state of the same NAS-Bench-201 network: other names, other axes, the same numbers."""

from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from tenas_jax.space import NAS_BENCH_201


def torch_name(name: str) -> str:
    """PyTorch's name of one of our parameters.

    Args:
        name: such as `stage1.cell0.edge3.nor_conv_3x3.conv.kernel`.
    """
    *path, leaf = name.split(".")
    leaf = "bias" if leaf == "bias" else "weight"
    if path[0] in ("stem", "head"):
        place = {"stem.conv": "stem.0", "stem.norm": "stem.1", "head.norm": "lastact.0", "head.linear": "classifier"}
        return f"{place['.'.join(path)]}.{leaf}"
    stage = int(path[0].removeprefix("stage"))
    if path[1:] == ["reduction", "shortcut"]:
        return f"cells.{2 * stage - 1}.downsample.1.{leaf}"
    layer = {"conv": 1, "norm": 2}[path[-1]]
    if path[1] == "reduction":
        block = {"first": "conv_a", "second": "conv_b"}[path[2]]
        return f"cells.{2 * stage - 1}.{block}.op.{layer}.{leaf}"
    source, target = NAS_BENCH_201.edges[int(path[2].removeprefix("edge"))]
    operator = NAS_BENCH_201.operators.index(path[3])
    return f"cells.{2 * stage}.edges.{target}<-{source}.{operator}.op.{layer}.{leaf}"


def from_torch(names: Iterable[str], state: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, Array]:
    """Our parameters.

    Args:
        names: ours.
        state: PyTorch's arrays by their names: convolutions (out, in, k, k), the linear layer (out, in).
        prefix: before PyTorch's names.

    Returns:
        Arrays by our names: convolutions (k, k, in, out), the linear layer (in, out).
    """
    axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    arrays = {name: np.asarray(state[prefix + torch_name(name)]) for name in names}
    return {name: jnp.asarray(array.transpose(axes[array.ndim])) for name, array in arrays.items()}
