"""Names of layers in the published PyTorch networks of NAS-Bench-201 and DARTS, for their state dicts.

NAS-Bench-201: the network of one cell (`TinyNetwork` in the library of Dong and Yang). DARTS: `NetworkCIFAR` and
`NetworkImageNet` of Liu et al.; there the order of a cell's operators is that of the genotype as it was written.
"""

import re
from collections.abc import Mapping
from typing import Any

from tenas_jax.errors import InputError
from tenas_jax.export.weights import from_torch_state
from tenas_jax.networks.stand_alone import Blueprint
from tenas_jax.spaces.two_inputs import darts_reductions

_PAIR = re.compile(r"[(\[]\s*['\"](\w+)['\"]\s*,\s*(\d+)\s*[)\]]")
_SEPARABLE = {
    "first.depthwise": "op.1", "first.pointwise": "op.2", "first.norm": "op.3",
    "second.depthwise": "op.5", "second.pointwise": "op.6", "second.norm": "op.7",
    "depthwise": "op.1", "pointwise": "op.2", "norm": "op.3",
}  # fmt: skip
_BLOCK = {"conv": "op.1", "norm": "op.2"}
_REDUCED = {"even": "conv_1", "odd": "conv_2", "norm": "bn"}
_AUXILIARY = {
    "auxiliary.first": "features.2", "auxiliary.first_norm": "features.3", "auxiliary.second": "features.5",
    "auxiliary.second_norm": "features.6", "auxiliary.linear": "classifier",
}  # fmt: skip
_DARTS_TOP = {
    "small": {"stem.conv": "stem.0", "stem.norm": "stem.1"},
    "imagenet": {
        "stem.first.conv": "stem0.0", "stem.first.norm": "stem0.1", "stem.second.conv": "stem0.3",
        "stem.second.norm": "stem0.4", "stem.third.conv": "stem1.1", "stem.third.norm": "stem1.2",
    },
}  # fmt: skip


def published_names(blueprint: Blueprint, genotype: str | None = None, side: int = 32) -> dict[str, str]:
    """Path of every layer in the published network, by our name.

    Args:
        blueprint: the network.
        genotype: of DARTS: as it was written, which decides the order of operators; None: as this package prints it.
        side: of the images.

    Raises:
        InputError: for a space without a published network, or a genotype of another architecture.
    """
    space = blueprint.space
    if space.network is not None or space.name not in ("nasbench201", "darts"):
        raise InputError(f"published state dicts are those of nasbench201 and darts; {space.name} has none.")
    layers = {name.rpartition(".")[0] for name in blueprint.declared((1, side, side, 3))}
    if space.inputs == 1:
        return {layer: _nas_bench_201(blueprint, layer) for layer in layers}
    written = genotype or space.format(blueprint.mask)
    if not (space.parse(written) == blueprint.mask).all():
        raise InputError("`genotype` must be that of the network, in any order of a node's pairs; it is another one.")
    numbers = _numbers(blueprint, written)
    return {layer: _darts(blueprint, numbers, layer) for layer in layers}


def import_published(
    blueprint: Blueprint, state: Mapping[str, Any], *, genotype: str | None = None, side: int = 32
) -> dict[str, Any]:
    """Variables of a published PyTorch network.

    Args:
        blueprint: the network.
        state: its state dict, as arrays (`{name: tensor.numpy() for name, tensor in ...}`).
        genotype: see `published_names`.
        side: of the images.

    Raises:
        InputError: as `published_names`, and for tensors that are missing, of another shape, or left over.
    """
    return from_torch_state(blueprint, state, published_names(blueprint, genotype, side), side)


def _nas_bench_201(blueprint: Blueprint, layer: str) -> str:
    top = {"stem.conv": "stem.0", "stem.norm": "stem.1", "head.norm": "lastact.0", "head.linear": "classifier"}
    if layer in top:
        return top[layer]
    stage, part, *rest = layer.split(".")
    before = int(stage.removeprefix("stage")) * (blueprint.skeleton.cells + 1)
    if part == "reduction":
        cell = f"cells.{before - 1}"
        if rest == ["shortcut"]:
            return f"{cell}.downsample.1"
        block = {"first": "conv_a", "second": "conv_b"}[rest[0]]
        return f"{cell}.{block}.{_BLOCK[rest[1]]}"
    edge, _, kind = rest
    number = before + int(part.removeprefix("cell"))
    return f"cells.{number}.layers.{edge.removeprefix('edge')}.{_BLOCK[kind]}"


def _numbers(blueprint: Blueprint, genotype: str) -> dict[tuple[int, int], int]:
    """Place of each edge's operator in the published cell, by (cell, edge): pairs in the order they were written."""
    pairs = [int(source) for _, source in _PAIR.findall(genotype)]
    space, each = blueprint.space, len(_PAIR.findall(genotype)) // 2
    found = {}
    for cell in range(2):
        sources = pairs[cell * each : (cell + 1) * each]
        for place, source in enumerate(sources):
            target = space.inputs + place // 2
            found[cell, space.edges.index((source, target))] = place
    return found


def _darts(blueprint: Blueprint, numbers: dict[tuple[int, int], int], layer: str) -> str:
    top = {**_DARTS_TOP[blueprint.images], "head.linear": "classifier"}
    if layer in top:
        return top[layer]
    if layer in _AUXILIARY:
        return f"auxiliary_head.{_AUXILIARY[layer]}"
    cell, part, rest = layer.split(".", 2)
    number = int(cell.removeprefix("cell"))
    if part.startswith("preprocess"):
        inside = _REDUCED if _reduced(blueprint, number, part) else _BLOCK
        return f"cells.{number}.{part}.{inside[rest]}"
    operator, kind = rest.split(".", 1)
    reduces = number in _reductions(blueprint)
    place = numbers[int(reduces), int(part.removeprefix("edge"))]
    inside = _REDUCED if operator == "skip_connect" else _SEPARABLE
    return f"cells.{number}._ops.{place}.{inside[kind]}"


def _reductions(blueprint: Blueprint) -> set[int]:
    return darts_reductions(blueprint.skeleton)


def _reduced(blueprint: Blueprint, cell: int, part: str) -> bool:
    """Whether an input is reduced on its way in: the older one behind a reduction, or behind ImageNet's stem."""
    behind = cell - 1 in _reductions(blueprint) or (cell == 0 and blueprint.images == "imagenet")
    return part == "preprocess0" and behind
