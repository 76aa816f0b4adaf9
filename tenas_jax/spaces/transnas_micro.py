"""TransNAS-Bench-101's micro cells (Duan et al. 2021, section 3.2): four nodes, four operators, 4,096 architectures.

Cells are those of NAS-Bench-201 without pooling. Its networks have no residual blocks: where the resolution halves, the
edges that leave a cell's input have the stride, and the channels double.
"""

from dataclasses import replace

from tenas_jax.spaces.cell_graph import CellGraph, complete_edges
from tenas_jax.spaces.operators import Reading, Value, relu_conv_bn
from tenas_jax.spaces.single_input import SINGLE_INPUT
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import cell, finish

# Modules of the network that is trained: whether the first of their cells halves the resolution.
MODULES = (True, False, True, False, True)
IN_STEM = 2  # halvings before the first cell


def halvings(skeleton: Skeleton) -> int:
    """How often cells halve the sides of what they see; a skeleton of fewer stages has a stem that does not.

    Args:
        skeleton: how cells are stacked.
    """
    return min(skeleton.stages - 1, sum(MODULES))


def transnas_micro(
    read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell
) -> Value:
    """The network; `skeleton.channels` are those before the first cell, and `skeleton.cells` those of a module."""
    x, channels = images, skeleton.channels
    within = halvings(skeleton)
    stride = 2 if skeleton.stages - 1 == IN_STEM + within else 1
    if skeleton.stem:
        x = read.batch_norm("stem.norm", read.convolution("stem.conv", x, -(-channels // 2), kernel=3, stride=stride))
        x = relu_conv_bn(read, "stem.second", x, channels, stride, kernel=3)
    # Fewer halvings are one after another, behind a module that keeps the resolution.
    for module, reduces in enumerate(MODULES if within == sum(MODULES) else (False, *[True] * within)):
        for n in range(skeleton.cells):
            halves = reduces and n == 0
            channels *= 2 if halves else 1
            x = cell(read, space, f"module{module}.cell{n}", weights[0], [x], channels, reduce=halves)[-1]
    return finish(read, x, skeleton)


def reductions(skeleton: Skeleton) -> int:
    """How often the network halves the sides of its images.

    Args:
        skeleton: how cells are stacked.
    """
    return skeleton.stages - 1


TRANSNAS_MICRO = SearchSpace(
    name="transnas-micro",
    operators=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"),
    edges=complete_edges(1, 4),
    like=replace(
        SINGLE_INPUT,
        network=transnas_micro,
        reductions=reductions,
        strides=(1, 2),
        skeletons={
            **SINGLE_INPUT.skeletons,
            "trained": Skeleton(channels=64, cells=2, stages=1 + IN_STEM + sum(MODULES), classes=47),
        },
        side=256,
    ),
)
