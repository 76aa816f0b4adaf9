"""MnasNet's factorised space (Tan et al. 2019, section 4.1) as in Accel-NASBench: seven blocks, six of 36 options.

A block decides on the expansion of its inverted residuals, their kernel, how many there are and whether they have
squeeze-excitation. The four decisions are one, with an option for every combination, such as `e6k3l2se1`: what a network
costs is then a sum over decisions.
"""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np

from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.chain import CHAIN, DEFAULT_SCORES, presets, skeletons
from tenas_jax.spaces.decisions import Decision
from tenas_jax.spaces.inverted_residual import conv_bn, conv_bn_relu, depthwise_bn
from tenas_jax.spaces.operators import Reading, Value, keep
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import cell

STEM = 32
CHANNELS = (16, 24, 40, 80, 112, 192, 320)  # of blocks
STRIDES = (1, 2, 2, 2, 1, 2, 1)
HEAD = 1280
EXPANSIONS, KERNELS = (1, 4, 6), (3, 5)  # with an expansion of 1 there is no convolution that expands
LAYERS = (3, 3, 3, 3, 3, 4, 3)  # the most of a block
SQUEEZED = 4  # channels of a layer's input to one that squeeze-excitation looks at


def option(expansion: int, kernel: int, layers: int, excited: int) -> str:
    """The name of an option of a block.

    Args:
        expansion: channels inside of an inverted residual, to one that enters.
        kernel: side of the depthwise convolutions.
        layers: how many inverted residuals.
        excited: 1 with squeeze-excitation, 0 without.
    """
    return f"e{expansion}k{kernel}l{layers}se{excited}"


def options(most: int) -> tuple[str, ...]:
    """All options of a block.

    Args:
        most: layers.
    """
    return tuple(itertools.starmap(option, itertools.product(EXPANSIONS, KERNELS, range(1, most + 1), (0, 1))))


def mnasnet(read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell) -> Value:
    """The network; `skeleton.channels` are the stem's, and of `skeleton.stages` the images' resolution is the first."""

    def scaled(channels: int) -> int:
        return max(1, channels * skeleton.channels // STEM)

    halvings = iter(range(1, skeleton.stages))
    before = skeleton.channels
    x = conv_bn_relu(read, "stem", images, before, _stride(2, halvings), kernel=3)
    for number, (channels, stride) in enumerate(zip(CHANNELS, STRIDES, strict=True)):
        places = np.array([space.operators.index(name) for name in options(LAYERS[number])])
        shares = weights[0, number][places].reshape(len(EXPANSIONS), len(KERNELS), LAYERS[number], 2)
        x = _block(read, f"block{number + 1}", x, shares, (before, scaled(channels)), _stride(stride, halvings))
        before = scaled(channels)
    x = conv_bn_relu(read, "head", x, scaled(HEAD))
    return read.head("head.linear", x, skeleton.classes) if skeleton.classes else x


def _stride(stride: int, halvings) -> int:
    """1 once a skeleton has no stages left."""
    return 2 if stride == 2 and next(halvings, None) is not None else 1


def _block(read, name: str, x, shares, channels: tuple[int, int], stride: int):
    """The layers of a block, of which the first is always there; those that are too many let their input through."""
    after = channels[1]
    expansions, kernels, excited = shares.sum((1, 2, 3)), shares.sum((0, 2, 3)), shares.sum((0, 1, 2))
    layers = shares.sum((0, 1, 3))
    layer = partial(_layer, read, (expansions, kernels, excited))
    (x,) = read.edges(x, layers.sum()[None, None], [partial(layer, channels, stride)], [f"{name}.layer1"])
    for number in range(1, len(layers)):
        (x,) = read.cell_inputs([x])
        is_there = np.arange(len(layers)) >= number
        ways = [keep, partial(_repeated, read, layer, after)]
        both = layers @ np.stack([~is_there, is_there], axis=1).astype(float)
        (x,) = read.edges(x, both[None], ways, [f"{name}.layer{number + 1}"])
    return x


def _repeated(read, layer, channels: int, path: str, x):
    return read.add([x, layer((channels, channels), 1, path, x)])


def _layer(read, shares, channels: tuple[int, int], stride: int, path: str, x):
    """An inverted residual; what of it is decided is read from shares, so that one program holds every option."""
    before, after = channels
    expansions, kernels, excited = shares
    widest = EXPANSIONS[-1] * before

    def expand(expansion, path, x):
        return conv_bn_relu(read, f"{path}.expansion{expansion}", x, expansion * before)

    def convolve(kernel, path, x):
        return depthwise_bn(read, f"{path}.kernel{kernel}", x, stride, kernel=kernel)

    def excite(path, x):
        return read.squeeze_excite(f"{path}.excited", x, max(1, before // SQUEEZED))

    x = read.choose(f"{path}.expand", x, expansions, [keep, *(partial(expand, e) for e in EXPANSIONS[1:])], widest)
    x = read.relu(read.choose(f"{path}.depthwise", x, kernels, [partial(convolve, k) for k in KERNELS], widest))
    x = read.choose(f"{path}.gate", x, excited, [keep, excite], widest)
    return conv_bn(read, f"{path}.project", x, after)


MNASNET = SearchSpace(
    name="mnasnet",
    decisions=tuple(Decision(f"block {number + 1}", options(most)) for number, most in enumerate(LAYERS)),
    like=replace(
        CHAIN,
        network=mnasnet,
        skeletons=skeletons(Skeleton(channels=STEM, cells=1, stages=6, classes=1000), stages=3),
        # Where a block has dozens of options, one of all at a time would make hundreds of rounds.
        presets=presets(DEFAULT_SCORES, 3),
        imagenet_presets=presets(DEFAULT_SCORES, 3),
        side=224,
        counts_bias=False,
    ),
)
