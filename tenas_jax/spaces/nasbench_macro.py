"""NAS-Bench-Macro (Su et al. 2021): eight layers one after another, each one of three; 6,561 architectures.

Layers are in stages of two, three and three, to 64, 128 and 256 channels, and the first of each halves the resolution. A
layer is the identity, or an inverted residual of kernel 3 and expansion 3, or of kernel 5 and expansion 6; where the
identity cannot be, in the first layer of a stage, it is a 1x1 convolution.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Bool

from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.chain import CHAIN, skeletons
from tenas_jax.spaces.decisions import Decision
from tenas_jax.spaces.inverted_residual import conv_bn, conv_bn_relu, inverted_residual
from tenas_jax.spaces.operators import Reading, Value
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import cell

STAGES = (2, 3, 3)  # layers
IDENTITY = "0"
# Kernel and expansion.
BLOCKS = {"1": (3, 3), "2": (5, 6)}


def nas_bench_macro(
    read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell
) -> Value:
    """The network of NAS-Bench-Macro; of `skeleton.stages` the stem's resolution is the first."""
    before = skeleton.channels
    x = conv_bn_relu(read, "stem", images, before, kernel=3) if skeleton.stem else images
    number = 0
    for stage, layers in enumerate(STAGES):
        channels = skeleton.channels * 2 ** (stage + 1)
        for layer in range(layers):
            stride = 2 if layer == 0 and stage + 1 < skeleton.stages else 1
            operators = [partial(_layer, read, option, (before, channels), stride) for option in space.operators]
            if number > 0:
                (x,) = read.cell_inputs([x])
            (x,) = read.edges(x, weights[0, number : number + 1], operators, [f"layer{number}"])
            before, number = channels, number + 1
    x = conv_bn_relu(read, "head", x, 40 * skeleton.channels)
    return read.head("head.linear", x, skeleton.classes) if skeleton.classes else x


def _layer(read, option: str, channels: tuple[int, int], stride: int, name: str, x):
    before, after = channels
    if option == IDENTITY:
        return x if before == after else conv_bn(read, f"{name}.identity", x, after, stride)
    kernel, expansion = BLOCKS[option]
    path = f"{name}.expansion{expansion}"
    return inverted_residual(read, path, x, (before, expansion * before, after), stride, kernel=kernel)


def identities_last(space: CellGraph, masks: Bool[np.ndarray, "m cells edges ops"]) -> np.ndarray:
    """Of each architecture one that is the same network: in every stage identities behind the first layer come last.

    Args:
        space: NAS-Bench-Macro.
        masks: single architectures.

    Returns:
        (m, cells, edges, operators).
    """
    choice, identity = masks.argmax(-1), space.operators.index(IDENTITY)
    for first, last in zip(np.cumsum((0, *STAGES)), np.cumsum(STAGES), strict=False):
        rest = choice[..., first + 1 : last]
        choice[..., first + 1 : last] = np.take_along_axis(rest, np.argsort(rest == identity, -1, kind="stable"), -1)
    return space.one_hot(choice)


NAS_BENCH_MACRO = SearchSpace(
    name="nasbench-macro",
    decisions=tuple(Decision(f"layer {number + 1}", (IDENTITY, *BLOCKS)) for number in range(sum(STAGES))),
    like=replace(
        CHAIN,
        network=nas_bench_macro,
        skeletons=skeletons(Skeleton(channels=32, cells=1, stages=4), stages=4),
        counts_bias=False,
    ),
    representatives=identities_last,
)
