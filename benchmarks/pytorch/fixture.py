"""Small reference values of the PyTorch networks, for tests that run without PyTorch and without any outside file.

The keys, for SPACE in `nasbench201` and `darts` and MASK in `full`, `part` and `single`, everything float64:

- `SPACE/images` (n, 3, h, w), `SPACE/patches` (n, 1, 3, 3); `SPACE/ntk_net/NAME` and `SPACE/lr_net/NAME`, the weights;
- `SPACE/MASK/mask`, bool (cells, edges, operators); `SPACE/MASK/logits`, `SPACE/MASK/ntk`, `SPACE/MASK/condition_number`;
- `SPACE/MASK/linear_regions`, `SPACE/MASK/n_neurons`: distinct patterns among the patches, and neurons in a pattern.

Weights and pixels are drawn by NumPy from fixed seeds, so the same file comes out of every PyTorch. Batch norm's scales and
shifts are drawn too, around 1 and 0: a route that forgets one of them does not pass.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import io
import lzma
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pytorch.indicators import activation_patterns, condition_number, linear_regions, ntk
from pytorch.networks import MASK_SHAPES, OPERATORS, Space, ntk_network, region_network

SIDES = {"nasbench201": 8, "darts": 6}  # 6: after the reduction 3, an odd side
IMAGES, PATCHES = 4, 60
CLUSTER_WIDTHS = {"nasbench201": 0.03, "darts": 0.005}


def evaluate(space: Space, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits, kernel, condition number and regions for the weights, inputs and masks in `values`.

    Args:
        space: the search space.
        values: by the keys above, with or without what is returned here.

    Returns:
        What belongs to `SPACE/MASK/`, without the masks.
    """
    networks = {"ntk_net": ntk_network(space).double(), "lr_net": region_network(space).double()}
    for part, network in networks.items():
        network.load_state_dict(
            {name: torch.as_tensor(values[f"{space}/{part}/{name}"]) for name in network.state_dict()}
        )
    images, patches = (torch.as_tensor(values[f"{space}/{name}"]) for name in ("images", "patches"))
    results = {}
    for name in ("full", "part", "single"):
        mask = torch.as_tensor(values[f"{space}/{name}/mask"])
        kernel = ntk(networks["ntk_net"], images, mask)
        thin = networks["lr_net"]
        found = {
            "logits": networks["ntk_net"](images, mask).detach().numpy(),
            "ntk": kernel.numpy(),
            "condition_number": np.array(condition_number(kernel)),
            "linear_regions": np.array(linear_regions(thin, patches, mask, batch=len(patches))),
            "n_neurons": np.array(activation_patterns(thin, patches, mask).shape[1]),
        }
        results |= {f"{space}/{name}/{key}": value for key, value in found.items()}
    return results


def small_reference(space: Space) -> dict[str, np.ndarray]:
    """Weights, inputs and masks drawn from a fixed seed, and what the networks make of them."""
    rng = np.random.default_rng(list(OPERATORS).index(space))
    side = SIDES[space]
    values = {
        f"{space}/images": _rounded(rng.normal(size=(IMAGES, 3, side, side))),
        f"{space}/patches": _rounded(_clustered(rng, CLUSTER_WIDTHS[space])),
    }
    for part, network in (("ntk_net", ntk_network(space)), ("lr_net", region_network(space))):
        values |= {f"{space}/{part}/{name}": _drawn(rng, name, weight) for name, weight in _parameters(network)}
    values |= {f"{space}/{name}/mask": mask for name, mask in _masks(space, rng).items()}
    return values | evaluate(space, values)


def _clustered(rng: np.random.Generator, width: float) -> np.ndarray:
    """Patches near a few prototypes: some share their pattern, so that a count is neither 1 nor the number of patches."""
    prototypes = rng.normal(size=(12, 1, 3, 3))
    return prototypes[rng.integers(12, size=PATCHES)] + rng.normal(size=(PATCHES, 1, 3, 3)) * width


def _parameters(network: nn.Module) -> list[tuple[str, Tensor]]:
    return list(network.state_dict().items())


def _drawn(rng: np.random.Generator, name: str, weight: Tensor) -> np.ndarray:
    """Kaiming normal (fan_in) for convolutions and the linear layer, 1 and 0 plus noise for the rest."""
    noise = rng.normal(size=tuple(weight.shape))
    if weight.ndim > 1:
        return _rounded(noise * math.sqrt(2 / math.prod(weight.shape[1:])))
    return _rounded(noise / 4 + (1 if name.endswith("weight") else 0))


def _rounded(values: np.ndarray) -> np.ndarray:
    """To float16 and back: half the bytes after compression, and any precision holds the same numbers."""
    return values.astype(np.float16).astype(np.float64)


def _masks(space: Space, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Everything but `none`; a half-pruned mask; one operator an edge, of which one `none`."""
    full = np.ones(MASK_SHAPES[space], bool)
    full[..., 0] = False
    operators = full.shape[-1]
    chosen = 1 + rng.integers(operators - 1, size=full.shape[:2])
    single = np.arange(operators) == chosen[..., None]
    part = full & (rng.random(full.shape) < 0.5) | single
    part[0, 1, 0] = True
    single[0, 1] = np.arange(operators) == 0
    return {"full": full, "part": part, "single": single}


def read_small_reference(path: Path) -> dict[str, np.ndarray]:
    """Reads a file that `write_fixtures` wrote, by the keys above."""
    with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as file:
        return dict(file)


def write_fixtures(folder: Path) -> list[Path]:
    """Writes `reference_small.npz.xz`; compressed as a whole, since an .npz of 1,600 small arrays is mostly headers.

    Args:
        folder: where to; it is created.

    Returns:
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **small_reference("nasbench201"), **small_reference("darts"))
    path = folder / "reference_small.npz.xz"
    path.write_bytes(lzma.compress(buffer.getvalue(), preset=9))
    return [path]
