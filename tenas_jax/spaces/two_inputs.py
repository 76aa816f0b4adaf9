"""Cells with two inputs, stacked and scored as those of DARTS (Liu et al. 2019, section 3)."""

from dataclasses import replace
from functools import partial

from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.family import Family
from tenas_jax.spaces.operators import Reading, Value, factorized_reduce, relu_conv_bn
from tenas_jax.spaces.single_input import RELEASED
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.stacking import cell, finish


def darts_reductions(skeleton: Skeleton) -> set[int]:
    """Which cells of a DARTS network reduce: those at one and two thirds; of one or two cells the second.

    Args:
        skeleton: how cells are stacked.
    """
    return {skeleton.cells // 3, 2 * skeleton.cells // 3} if skeleton.cells > 2 else {1} & set(range(skeleton.cells))


def darts(read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell) -> Value:
    """The network of DARTS: every cell sees its two predecessors; reduction cells double the channels."""
    x, channels = images, skeleton.channels
    if skeleton.stem:
        x = read.convolution("stem.conv", x, skeleton.stem_multiplier * channels, kernel=3)
        x = read.batch_norm("stem.norm", x)
    before, now, before_is_larger = x, x, False
    for n in range(skeleton.cells):
        reduce = n in darts_reductions(skeleton)
        channels *= 2 if reduce else 1
        # A predecessor from before a reduction has twice the side: it is reduced on the way in.
        first = factorized_reduce if before_is_larger else partial(relu_conv_bn, kernel=1)
        inputs = [
            first(read, f"cell{n}.preprocess0", before, channels, 2 if before_is_larger else 1),
            relu_conv_bn(read, f"cell{n}.preprocess1", now, channels, 1, kernel=1),
        ]
        nodes = cell(read, space, f"cell{n}", weights[int(reduce)], inputs, channels, reduce=reduce)
        before, now, before_is_larger = now, read.concatenate(nodes[space.inputs :]), reduce
    return finish(read, now, skeleton)


def reductions(skeleton: Skeleton) -> int:
    """How often the network halves the sides of its images.

    Args:
        skeleton: how cells are stacked.
    """
    return len(darts_reductions(skeleton))


# The released code's settings for DARTS.
_RELEASED_DARTS = replace(RELEASED, ntk_images=14, ntk_channels=1, region_cells=2, prune_number=3)

PRESETS = {
    "default": replace(
        _RELEASED_DARTS,
        # On random genotypes condition numbers say next to nothing, and the sum of both ranks less than expressivity
        # alone (docs/darts.md). `--ntk` takes them in.
        trainability=False,
        # The analytic kernel has no closed form for a maximum, and most genotypes hold one.
        ntk_side=8,
        ntk_channels=4,
        batch_stats="frozen",
        fan="fan_in",
        # Six cells lose what a pooling loses of four pixels; one channel keeps little beside it.
        expressivity="hamming_log_determinant",
        region_channels=3,
        region_cells=6,
        region_patch=2,
        region_samples=256,
        region_batches=1,
        region_repeats=8,
        rule="completion",
        paths=240,
        fresh=False,
    ),
    "paper": replace(_RELEASED_DARTS, ntk_images=32, region_batches=5),
    "released": _RELEASED_DARTS,
}

# The released code prunes two operators an edge on ImageNet, and takes larger batches.
_IMAGENET_PRESETS = {name: replace(preset, prune_number=2) for name, preset in PRESETS.items()}
_IMAGENET_PRESETS["released"] = replace(_IMAGENET_PRESETS["released"], ntk_images=24)

TWO_INPUTS = Family(
    network=darts,
    reductions=reductions,
    strides=(1, 2),
    # For the NTK and for linear regions the networks of the released TE-NAS, for costs the one that is trained (Liu et al.
    # 2019, section 3.2, whose stem on CIFAR-10 has three times the channels).
    skeletons={
        "ntk": Skeleton(channels=1, cells=2),
        "regions": Skeleton(channels=1, cells=2, stem=False, classes=0),
        "trained": Skeleton(channels=36, cells=20, stem_multiplier=3),
    },
    concatenates=True,
    presets=PRESETS,
    imagenet_presets=_IMAGENET_PRESETS,
    default_scores=("hamming_log_determinant",),
)
