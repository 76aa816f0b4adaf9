"""Cells with two inputs, stacked and scored as those of DARTS (Liu et al. 2019, section 3)."""

from dataclasses import replace
from functools import partial

from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.family import Family
from tenas_jax.spaces.operators import Reading, Value, factorized_reduce, relu_conv_bn
from tenas_jax.spaces.preset import Preset
from tenas_jax.spaces.score import REPEATS, Kernel, Patterns, Score, of_kernel, of_patterns
from tenas_jax.spaces.single_input import RELEASED
from tenas_jax.spaces.skeleton import Purpose, Skeleton
from tenas_jax.spaces.stacking import cell, finish


def darts_reductions(skeleton: Skeleton) -> set[int]:
    """Which cells of a DARTS network reduce: those at one and two thirds; of one or two cells the second.

    Args:
        skeleton: how cells are stacked.
    """
    return {skeleton.cells // 3, 2 * skeleton.cells // 3} if skeleton.cells > 2 else {1} & set(range(skeleton.cells))


def darts(read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell) -> Value:
    """DARTS's network as TE-NAS scores it: every cell sees its two predecessors; reduction cells double the channels."""
    x = small_stem(read, images, skeleton)
    return finish(read, _cells(read, space, weights, (x, x), skeleton, cell), skeleton)


def darts_trained(
    read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell
) -> Value:
    """The network that DARTS trains on CIFAR-10: as `darts`, but nothing stands between the last cell and the pooling."""
    x = small_stem(read, images, skeleton)
    x = _cells(read, space, weights, (x, x), skeleton, cell)
    return read.head("head.linear", x, skeleton.classes)


def darts_imagenet(
    read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell
) -> Value:
    """The network that DARTS trains on ImageNet: its stem divides the sides by eight in three steps (Liu et al. 2019)."""
    channels = skeleton.channels
    x = read.convolution("stem.first.conv", images, channels // 2, kernel=3, stride=2)
    x = read.batch_norm("stem.first.norm", x)
    before = relu_conv_bn(read, "stem.second", x, channels, 2, kernel=3)
    now = relu_conv_bn(read, "stem.third", before, channels, 2, kernel=3)
    x = _cells(read, space, weights, (before, now), skeleton, cell, before_is_larger=True)
    return read.head("head.linear", x, skeleton.classes)


def small_stem(read: Reading[Value], images: Value, skeleton: Skeleton) -> Value:
    """A convolution and a batch norm, for images of 32 x 32; the images themselves where the skeleton has no stem.

    Args:
        read: the reading.
        images: the input.
        skeleton: how cells are stacked.
    """
    if not skeleton.stem:
        return images
    x = read.convolution("stem.conv", images, skeleton.stem_multiplier * skeleton.channels, kernel=3)
    return read.batch_norm("stem.norm", x)


def _cells(read, space, weights, inputs, skeleton, cell, *, before_is_larger: bool = False):
    """The cells one behind the other, from the inputs of the first to the last one's output."""
    (before, now), channels = inputs, skeleton.channels
    for n in range(skeleton.cells):
        reduce = n in darts_reductions(skeleton)
        channels *= 2 if reduce else 1
        # A predecessor from before a reduction has twice the side: it is reduced on the way in.
        first = factorized_reduce if before_is_larger else partial(relu_conv_bn, kernel=1)
        entering = [
            first(read, f"cell{n}.preprocess0", before, channels, 2 if before_is_larger else 1),
            relu_conv_bn(read, f"cell{n}.preprocess1", now, channels, 1, kernel=1),
        ]
        nodes = cell(read, space, f"cell{n}", weights[int(reduce)], entering, channels, reduce=reduce)
        before, now, before_is_larger = now, read.concatenate(nodes[space.inputs :]), reduce
    return now


def reductions(skeleton: Skeleton) -> int:
    """How often the network halves the sides of its images.

    Args:
        skeleton: how cells are stacked.
    """
    return len(darts_reductions(skeleton))


_NTK = Skeleton(channels=1, cells=2)
_THIN = Skeleton(channels=1, cells=2, stem=False, classes=0)
_SKELETONS: dict[Purpose, Skeleton] = {
    # For the NTK and for linear regions the networks of the released TE-NAS, for costs the one that is trained (Liu et al.
    # 2019, section 3.2, whose stem on CIFAR-10 has three times the channels).
    "ntk": _NTK,
    "regions": _THIN,
    "trained": Skeleton(channels=36, cells=20, stem_multiplier=3),
}


def scores(ntk: Skeleton, thin: Skeleton) -> dict[str, Score]:
    """What an architecture can be scored by, costs aside.

    Args:
        ntk: how cells are stacked for the NTK.
        thin: how they are stacked for linear regions.

    Returns:
        By name.
    """
    # The settings of the released code, whose batches are larger on ImageNet, and of the paper's text.
    kernel = Kernel(ntk._replace(channels=1), "empirical", images=14, side=None, batch_stats="coupled", fan="fan_out")
    patterns = Patterns(thin._replace(channels=1, cells=2), channels=1, samples=1000, batches=3)
    return {
        # The analytic kernel has no closed form for a maximum, and most genotypes hold one: its moments stand for it.
        **of_kernel(Kernel(ntk._replace(channels=4), "empirical", images=14, side=8, maxima="moments")),
        # Six cells lose what a pooling loses of four pixels; one channel keeps little beside it.
        **of_patterns(
            Patterns(thin._replace(channels=1, cells=6), side=2, samples=256),
            "",
            "",
            "linear_regions",
            "effective_regions",
            "hamming_log_determinant",
        ),
        **of_patterns(Patterns(ntk._replace(channels=4), side=8, samples=32, whole=True), "", "", "hamming"),
        **of_kernel(kernel, "_released", ", the released code's settings", "condition_number"),
        **of_kernel(
            kernel._replace(images=24),
            "_released_imagenet",
            ", the released code's settings on ImageNet",
            "condition_number",
        ),
        **of_patterns(patterns, "_released", ", the released code's settings", "linear_regions"),
        **of_kernel(kernel._replace(images=32), "_paper", ", the paper's settings", "condition_number"),
        **of_patterns(patterns._replace(batches=5), "_paper", ", the paper's settings", "linear_regions"),
    }


_RELEASED = replace(RELEASED, prune_number=3)
PRESETS = {
    # On random genotypes condition numbers say next to nothing, and the sum of both ranks less than expressivity alone
    # (docs/darts.md). `--ntk` takes them in.
    "default": Preset(("hamming_log_determinant",), repeats=REPEATS, rule="completion", paths=240, prune_number=3),
    "paper": replace(_RELEASED, scores=("condition_number_paper", "linear_regions_paper")),
    "released": _RELEASED,
}
# The released code prunes two operators an edge on ImageNet.
_IMAGENET_PRESETS = {name: replace(preset, prune_number=2) for name, preset in PRESETS.items()} | {
    "released": replace(
        _RELEASED, scores=("condition_number_released_imagenet", "linear_regions_released"), prune_number=2
    )
}

TWO_INPUTS = Family(
    network=darts,
    reductions=reductions,
    strides=(1, 2),
    skeletons=_SKELETONS,
    concatenates=True,
    takes_any_channels=True,
    presets=PRESETS,
    imagenet_presets=_IMAGENET_PRESETS,
    scores=scores,
    has_closed_form=True,
    default_scores=("hamming_log_determinant",),
    trained={"small": darts_trained, "imagenet": darts_imagenet},
)
