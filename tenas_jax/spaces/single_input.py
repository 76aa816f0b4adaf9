"""Cells with one input, stacked and scored as those of NAS-Bench-201 (Dong and Yang 2020, section 2)."""

from dataclasses import replace

from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.family import Family
from tenas_jax.spaces.operators import Reading, Value, relu_conv_bn
from tenas_jax.spaces.preset import Preset
from tenas_jax.spaces.score import Kernel, Patterns, Score, of_kernel, of_patterns
from tenas_jax.spaces.skeleton import Purpose, Skeleton
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


_NTK = Skeleton(channels=3, cells=1)
_THIN = Skeleton(channels=1, cells=1, stages=1, stem=False, classes=0)
_SKELETONS: dict[Purpose, Skeleton] = {
    # For the NTK and for linear regions the networks of the released TE-NAS, for costs the one that is trained (Dong and
    # Yang 2020, section 2.1).
    "ntk": _NTK,
    "regions": _THIN,
    "trained": Skeleton(channels=16, cells=5),
}

# Patterns that are compared pair by pair: quadratic in time and memory.
COMPARED = 128


def scores(ntk: Skeleton, thin: Skeleton) -> dict[str, Score]:
    """What an architecture can be scored by, costs aside.

    Args:
        ntk: how cells are stacked for the NTK.
        thin: how they are stacked for linear regions.

    Returns:
        By name.
    """
    # One table, not split: it is read as a whole.
    # The settings of the released code (TE-NAS, commit 9df78ff), and of the paper's text: batch 32, 5000 samples.
    kernel = Kernel(ntk._replace(channels=3), "empirical", images=72, side=None, batch_stats="coupled", fan="fan_out")
    patterns = Patterns(thin._replace(channels=1, cells=1), channels=1, samples=1000, batches=3)
    three_stages = ntk._replace(channels=16)
    return {
        **of_kernel(Kernel(three_stages)),
        **of_kernel(Kernel(three_stages._replace(stages=1)), "_one_stage", ", a network of one stage"),
        **of_kernel(
            Kernel(three_stages._replace(stages=1, cells=1), images=16, grey=True, batch_norm="none"),
            "_no_batch_norm",
            ", one cell without batch norm, grey images",
        ),
        **of_kernel(
            Kernel(three_stages, parametrisation="ntk"),
            "_ntk_parametrisation",
            ", every layer counting alike",
            "condition_number",
        ),
        **of_patterns(
            Patterns(thin._replace(channels=3, cells=1)),
            "",
            "",
            "linear_regions",
            "effective_regions",
            "hamming_log_determinant",
        ),
        # Patches of a thin network share patterns, and equal patterns have no determinant: whole images do not.
        **of_patterns(Patterns(ntk._replace(channels=4), side=8, samples=32, whole=True), "", "", "hamming"),
        **of_patterns(
            Patterns(thin._replace(channels=1, cells=1), channels=1),
            "_one_channel",
            ", one channel, grey patches (TE-NAS)",
            "linear_regions",
        ),
        **of_patterns(
            Patterns(thin._replace(channels=16, cells=1), samples=COMPARED),
            "_wide",
            ", one cell of 16 channels",
            "effective_regions",
        ),
        **of_patterns(
            Patterns(thin._replace(channels=3, cells=3), samples=COMPARED),
            "_deep",
            ", three cells of 3 channels",
            "effective_regions",
        ),
        **of_kernel(kernel, "_released", ", the released code's settings", "condition_number"),
        **of_patterns(patterns, "_released", ", the released code's settings", "linear_regions"),
        **of_kernel(kernel._replace(images=32), "_paper", ", the paper's settings", "condition_number"),
        **of_patterns(patterns._replace(batches=5), "_paper", ", the paper's settings", "linear_regions"),
    }


RELEASED = Preset(
    ("condition_number_released", "linear_regions_released"), repeats=3, rule="removal", fresh=True, prune_number=1
)
# `docs/ranking.md` says how they were chosen, and what each of them sees.
DEFAULT_SCORES = (
    "condition_number_no_batch_norm",
    "trace_over_smallest",
    "effective_regions_deep",
    "live_spatial_convolutions",
)
PRESETS = {
    "default": Preset(DEFAULT_SCORES, repeats=1, rule="completion", paths=192),
    "paper": replace(RELEASED, scores=("condition_number_paper", "linear_regions_paper")),
    "released": RELEASED,
}

SINGLE_INPUT = Family(
    network=nas_bench_201,
    reductions=reductions,
    strides=(1,),
    skeletons=_SKELETONS,
    concatenates=False,
    takes_any_channels=False,
    presets=PRESETS,
    imagenet_presets=PRESETS,
    scores=scores,
    has_closed_form=True,
    default_scores=DEFAULT_SCORES,
)
