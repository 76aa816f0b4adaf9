"""Cells with one input, stacked and scored as those of NAS-Bench-201 (Dong and Yang 2020, section 2)."""

from dataclasses import replace

from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.family import Family
from tenas_jax.spaces.operators import Reading, Value, relu_conv_bn
from tenas_jax.spaces.preset import Preset
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.stacking import cell, finish


def residual_block(read: Reading[Value], name: str, x: Value, channels: int) -> Value:
    """NAS-Bench-201's reduction: two 3x3 blocks, the first of stride 2, beside an average-pool shortcut."""
    main = relu_conv_bn(read, f"{name}.first", x, channels, 2, kernel=3)
    main = relu_conv_bn(read, f"{name}.second", main, channels, 1, kernel=3)
    pooled = read.average_pool(x, window=2, stride=2, padding=0)
    return read.add([read.convolution(f"{name}.shortcut", pooled, channels), main])


def nas_bench_201(
    read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell
) -> Value:
    """The network of NAS-Bench-201: a stem, stages of equal cells with residual reductions between, and a head."""
    x, channels = images, skeleton.channels
    if skeleton.stem:
        x = read.batch_norm("stem.norm", read.convolution("stem.conv", x, channels, kernel=3))
    for stage in range(skeleton.stages):
        if stage > 0:
            channels *= 2
            x = residual_block(read, f"stage{stage}.reduction", x, channels)
        for n in range(skeleton.cells):
            x = cell(read, space, f"stage{stage}.cell{n}", weights[0], [x], channels)[-1]
    return finish(read, x, skeleton)


def reductions(skeleton: Skeleton) -> int:
    """How often the network halves the sides of its images.

    Args:
        skeleton: how cells are stacked.
    """
    return skeleton.stages - 1


# The released code's settings (TE-NAS, commit 9df78ff, NAS-Bench-201).
RELEASED = Preset(
    ntk="empirical",
    trainability=True,
    ntk_images=72,
    ntk_side=None,
    ntk_repeats=3,
    ntk_channels=3,
    batch_stats="coupled",
    fan="fan_out",
    expressivity="linear_regions",
    region_channels=1,
    region_width=1,
    region_cells=1,
    region_patch=3,
    region_samples=1000,
    region_batches=3,
    region_repeats=3,
    rule="removal",
    paths=0,
    fresh=True,
    prune_number=1,
)

PRESETS = {
    "default": Preset(
        ntk="analytic",
        trainability=True,
        ntk_images=8,
        ntk_side=4,
        ntk_repeats=1,
        ntk_channels=16,
        batch_stats="frozen",
        fan="fan_in",
        expressivity="linear_regions",
        region_channels=3,
        region_width=3,
        region_cells=1,
        region_patch=3,
        region_samples=1000,
        region_batches=1,
        region_repeats=1,
        rule="completion",
        paths=96,
        fresh=False,
        prune_number=None,
    ),
    # The paper's text: batch 32, 5000 samples; the rest as released.
    "paper": replace(RELEASED, ntk_images=32, region_batches=5),
    "released": RELEASED,
}

SINGLE_INPUT = Family(
    network=nas_bench_201,
    reductions=reductions,
    strides=(1,),
    # For the NTK and for linear regions the networks of the released TE-NAS, for costs the one that is trained (Dong and
    # Yang 2020, section 2.1).
    skeletons={
        "ntk": Skeleton(channels=3, cells=1),
        "regions": Skeleton(channels=1, cells=1, stages=1, stem=False, classes=0),
        "trained": Skeleton(channels=16, cells=5),
    },
    concatenates=False,
    presets=PRESETS,
    imagenet_presets=PRESETS,
    default_scores=("condition_number", "effective_regions_wide", "effective_regions_deep", "flops"),
)
