"""TransNAS-Bench-101's macro networks (Duan et al. 2021, section 3.2): four to six modules; 3,256 architectures.

A module is two basic blocks of a ResNet. Its digit says what the first of them does: 1 nothing, 2 doubles the channels, 3
halves the resolution, 4 both; 0 says that there is no module. Channels double one to three times, the resolution halves one
to four times.

What a module computes depends on how often the modules before it have doubled and halved. A supernet is therefore a trellis
of resolutions (as that of Liu et al. 2019, Auto-DeepLab, section 3.1): behind every module there is a feature map for each
resolution that it can have, the sum of all that lead there, with the channels of the widest, of which the first ones are
there. An architecture is one path through it, and what lies on no path costs nothing, so that one program holds them all.
"""

import re
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.errors import InputError
from tenas_jax.spaces import chain
from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.chain import CHAIN, presets, skeletons
from tenas_jax.spaces.decision_strings import format_decisions, parse_decisions
from tenas_jax.spaces.decisions import Decision
from tenas_jax.spaces.inverted_residual import conv_bn
from tenas_jax.spaces.operators import Reading, Value, keep
from tenas_jax.spaces.score import Patterns, Score, of_patterns
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import cell
from tenas_jax.spaces.transnas_micro import IN_STEM

LEAST, MOST = 4, 6  # modules
MOST_DOUBLINGS, MOST_HALVINGS = 3, 4
ABSENT = "0"
# By digit: whether the channels double, and whether the resolution halves.
MODULES = {"1": (0, 0), "2": (1, 0), "3": (0, 1), "4": (1, 1)}


class Arrived(NamedTuple):
    """What has a resolution.

    Attributes:
        value: of the reading's kind.
        alive: 1 where an architecture of the mask comes by, else 0; may be traced.
    """

    value: Any
    alive: Any


class Layers(NamedTuple):
    """How the convolutions of a module are made.

    Attributes:
        read: the reading.
        channels: that a convolution can have.
        shares: of each, behind the module; may be traced.
        known: whether one width is all that there is.
    """

    read: Any
    channels: tuple[int, ...]
    shares: Any
    known: bool

    def conv_bn(self, path: str, norm: str, x, *, stride: int = 1, kernel: int = 3):
        """A convolution and a batch norm.

        Args:
            path: of both; a convolution has the same weights at every resolution.
            norm: name of the batch norm behind it: its statistics are kept, so that it needs one of its own.
            x: the input.
            stride: of the convolution.
            kernel: its side.
        """
        name, options = f"{path}.conv", {"kernel": kernel, "stride": stride}
        if self.known:
            x = self.read.convolution(name, x, self.channels[int(self.shares.argmax())], **options)
        else:
            x = self.read.convolution_to(name, x, self.channels, self.shares, **options)
        return self.read.batch_norm(f"{path}.norm_{norm}", x)


def transnas_macro(
    read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell
) -> Value:
    """The network; `skeleton.channels` are those before the first module, and `skeleton.cells` the blocks of a module.

    Of a skeleton of fewer stages the first modules that should halve the resolution do, and later ones keep it.
    """
    channels = tuple(skeleton.channels * 2**doublings for doublings in range(MOST_DOUBLINGS + 1))
    alive = (weights[0, 0].sum() > 0).astype(weights.dtype)
    known = isinstance(weights, np.ndarray) and bool(((weights > 0).sum(-1) == 1).all())
    layers = Layers(read, channels, alive * np.eye(len(channels), dtype=weights.dtype)[0], known)
    there = {0: Arrived(_stem(layers, images, skeleton), alive)}
    for number, decision in enumerate(space.decisions):
        shares = {digit: weights[0, number, space.operators.index(digit)] for digit in decision.options}
        layers = layers._replace(shares=_widened(layers.shares, shares))
        there = _module(layers, f"module{number + 1}", there, shares, skeleton)
    if not skeleton.classes:
        if len(there) > 1:
            raise InputError(f"networks of {space.name} end in maps of several shapes; add classes to `skeleton`.")
        return next(iter(there.values())).value
    end = partial(_head, read, skeleton.classes)
    return read.add([read.edges(x, alive[None, None], [end], ["head.linear"])[0] for x, alive in there.values()])


def _head(read, classes: int, name: str, x):
    return read.head(name, x, classes)


def _stem(layers: Layers, images, skeleton: Skeleton):
    if not skeleton.stem:
        return images
    if skeleton.stages - 1 < IN_STEM + MOST_HALVINGS:
        # Of small images one convolution is left of it, as in the micro networks.
        return layers.conv_bn("stem", "0", images)
    x = conv_bn(layers.read, "stem.first", images, skeleton.channels // 2, 2, kernel=3)
    return layers.conv_bn("stem.second", "0", layers.read.relu(x), stride=2)


def _widened(widths, shares: dict[str, Any]):
    """Shares of the widths behind a module; what would be too wide is no architecture of the space."""
    doubled = widths @ np.eye(len(widths), k=1, dtype=widths.dtype)
    return widths * _total(shares, doubles=0) + doubled * _total(shares, doubles=1)


def _total(shares: dict[str, Any], doubles: int):
    return sum(share for digit, share in shares.items() if MODULES.get(digit, (0, 0))[0] == doubles)


def _module(layers: Layers, name: str, there: dict[int, Arrived], shares: dict[str, Any], skeleton: Skeleton):
    """What is behind a module, by resolution; what does not come by is not computed, nor written where that is known."""
    main: dict[int, list[Arrived]] = {}
    beside: dict[int, list[Arrived]] = {}
    behind: dict[int, list[Arrived]] = {}
    for halvings, (x, alive) in there.items():
        if ABSENT in shares:
            _arrive(layers.read, behind, halvings, x, alive, {keep: shares[ABSENT]}, name)
        for halves in (0, 1):
            after = min(halvings + halves, skeleton.stages - 1)
            plain, wide = (share for digit, share in shares.items() if digit in MODULES and MODULES[digit][1] == halves)
            if halvings + halves > MOST_HALVINGS:
                continue
            stride, norm = 1 + after - halvings, f"{after}_from_{halvings}" if halves else str(after)
            first, shortcut = (partial(way, layers, norm, stride) for way in (_first, _shortcut))
            _arrive(layers.read, main, after, x, alive, {first: plain + wide}, name)
            ways = {keep: plain, shortcut: wide} if stride == 1 else {shortcut: plain + wide}
            _arrive(layers.read, beside, after, x, alive, ways, name)
    for halvings, values in main.items():
        x, shortcut = _together(layers.read, values), _together(layers.read, beside[halvings])
        for number in range(1, skeleton.cells + 1):
            way = partial(_block, layers, number, halvings, shortcut.value)
            (y,) = layers.read.edges(x.value, x.alive[None, None], [way], [name])
            x = shortcut = Arrived(y, x.alive)
        behind.setdefault(halvings, []).append(x)
    return {halvings: _together(layers.read, values) for halvings, values in behind.items()}


def _arrive(read, at: dict[int, list[Arrived]], halvings: int, x, alive, ways: dict[Any, Any], name: str) -> None:
    """Adds what the ways from one resolution make, where any of them is taken."""
    row = [share * alive for share in ways.values()]
    if isinstance(row[0], np.floating) and not any(row):
        return
    known = isinstance(row[0], np.floating)
    weights: Any = np.array(row) if known else jnp.stack(row)
    (y,) = read.edges(x, weights[None], list(ways), [name])
    at.setdefault(halvings, []).append(Arrived(y, weights.sum()))


def _together(read, values: list[Arrived]) -> Arrived:
    alive: Any = sum(value.alive for value in values)
    return Arrived(read.add([value.value for value in values]), (alive > 0).astype(alive.dtype))


def _first(layers: Layers, norm: str, stride: int, name: str, x):
    """The convolution that changes the shape."""
    return layers.conv_bn(f"{name}.block1.first", norm, x, stride=stride)


def _shortcut(layers: Layers, norm: str, stride: int, name: str, x):
    return layers.conv_bn(f"{name}.block1.shortcut", norm, x, stride=stride, kernel=1)


def _block(layers: Layers, number: int, halvings: int, shortcut, name: str, x):
    """A basic block; the first convolution of a module's first block lies before it."""
    read, path = layers.read, f"{name}.block{number}"
    y = x if number == 1 else layers.conv_bn(f"{path}.first", str(halvings), x)
    y = layers.conv_bn(f"{path}.second", str(halvings), read.relu(y))
    return read.relu(read.add([y, shortcut]))


def held_by_the_benchmark(space: CellGraph, masks: Bool[np.ndarray, "m cells edges ops"]) -> Bool[np.ndarray, " m"]:
    """Which single architectures are of the benchmark: they double and halve as often as they may.

    Args:
        space: TransNAS-Bench-101's macro networks.
        masks: single architectures.
    """
    doubles, halves = (np.array([MODULES.get(digit, (0, 0))[which] for digit in space.operators]) for which in (0, 1))
    choice = masks[:, 0].argmax(-1)
    absent = choice == space.operators.index(ABSENT)
    doublings, halvings = doubles[choice].sum(-1), halves[choice].sum(-1)
    last = (absent[:, :-1] <= absent[:, 1:]).all(-1)
    return last & (doublings >= 1) & (doublings <= MOST_DOUBLINGS) & (halvings >= 1) & (halvings <= MOST_HALVINGS)


def _format(space: CellGraph, choice: np.ndarray) -> str:
    return format_decisions(space, choice).rstrip(ABSENT)


def _parse(space: CellGraph, architecture: str) -> Int[np.ndarray, "1 decisions"]:
    code = architecture.strip()
    if not re.fullmatch(f"[{''.join(MODULES)}]{{{LEAST},{MOST}}}", code):
        raise InputError(
            f"the architecture {architecture!r} is none of {space.name}: it has {LEAST} to {MOST} digits from 1 to 4, as "
            "in 1132."
        )
    doublings, halvings = (sum(MODULES[digit][which] for digit in code) for which in (0, 1))
    if not (1 <= doublings <= MOST_DOUBLINGS and 1 <= halvings <= MOST_HALVINGS):
        raise InputError(
            f"the architecture {architecture!r} is none of {space.name}: it doubles the channels {doublings} times and "
            f"halves the resolution {halvings} times; 1 to {MOST_DOUBLINGS} and 1 to {MOST_HALVINGS} are possible."
        )
    return parse_decisions(space, code.ljust(MOST, ABSENT))


def scores(ntk: Skeleton, thin: Skeleton) -> dict[str, Score]:
    """What a network can be scored by, costs aside.

    Args:
        ntk: how modules are stacked for the NTK.
        thin: how they are stacked for linear regions.

    Returns:
        By name.
    """
    # The smallest images that can be halved four times.
    patterns = Patterns(ntk._replace(channels=2), side=2**MOST_HALVINGS, samples=16, whole=True)
    return chain.scores(ntk, thin) | of_patterns(patterns, "", "", "effective_neurons")


# `docs/ranking.md` says what it sees beyond the number of neurons.
DEFAULT_SCORES = ("effective_neurons",)

TRANSNAS_MACRO = SearchSpace(
    name="transnas-macro",
    decisions=tuple(
        Decision(f"module {number}", (*MODULES, *([ABSENT] if number > LEAST else []))) for number in range(1, MOST + 1)
    ),
    like=replace(
        CHAIN,
        network=transnas_macro,
        skeletons=skeletons(
            Skeleton(channels=64, cells=2, stages=1 + IN_STEM + MOST_HALVINGS, classes=47), stages=1 + MOST_HALVINGS
        ),
        side=256,
        costs_add_up=False,
        counts_bias=False,
        scores=scores,
        presets=presets(DEFAULT_SCORES, None),
        imagenet_presets=presets(DEFAULT_SCORES, None),
        default_scores=DEFAULT_SCORES,
    ),
    formatter=_format,
    parser=_parse,
    validity=held_by_the_benchmark,
)
