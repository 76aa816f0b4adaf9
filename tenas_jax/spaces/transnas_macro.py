"""TransNAS-Bench-101's macro networks (Duan et al. 2021, section 3.2): four to six modules; 3,256 architectures.

A module is two basic blocks of a ResNet. Its digit says what the first of them does: 1 nothing, 2 doubles the channels, 3
halves the resolution, 4 both; 0 says that there is no module. Channels double one to three times, the resolution halves one
to four times.

What a module computes depends on how often the modules before it have doubled and halved. A supernet is therefore a trellis
(as that of Liu et al. 2019, Auto-DeepLab, section 3.1): behind every module there is a feature map for each width and
resolution that it can have, the sum of all that lead there. An architecture is one path through it, and what lies on no
path costs nothing, so that one program holds them all.
"""

import re
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.errors import InputError
from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.chain import CHAIN, skeletons
from tenas_jax.spaces.decision_strings import format_decisions, parse_decisions
from tenas_jax.spaces.decisions import Decision
from tenas_jax.spaces.inverted_residual import conv_bn
from tenas_jax.spaces.operators import Reading, Value, keep, relu_conv_bn
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import cell
from tenas_jax.spaces.transnas_micro import IN_STEM

LEAST, MOST = 4, 6  # modules
MOST_DOUBLINGS, MOST_HALVINGS = 3, 4
ABSENT = "0"
# By digit: whether the channels double, and whether the resolution halves.
MODULES = {"1": (0, 0), "2": (1, 0), "3": (0, 1), "4": (1, 1)}


class Place(NamedTuple):
    """Where a feature map stands in the trellis.

    Attributes:
        doublings: of the channels, so far.
        halvings: of the resolution, so far; no more than the skeleton has.
    """

    doublings: int
    halvings: int


class Arrived(NamedTuple):
    """A feature map of the trellis.

    Attributes:
        value: of the reading's kind.
        alive: 1 where an architecture of the mask comes by, else 0; may be traced.
    """

    value: Any
    alive: Any


def transnas_macro(
    read: Reading[Value], space: CellGraph, weights, images: Value, skeleton: Skeleton, cell=cell
) -> Value:
    """The network; `skeleton.channels` are those before the first module, and `skeleton.cells` the blocks of a module.

    Of a skeleton of fewer stages the first modules that should halve the resolution do, and later ones keep it.
    """
    alive = (weights[0, 0].sum() > 0).astype(weights.dtype)
    there = {Place(0, 0): Arrived(_stem(read, images, skeleton), alive)}
    for number, decision in enumerate(space.decisions):
        shares = {digit: weights[0, number, space.operators.index(digit)] for digit in decision.options}
        there = _module(read, f"module{number + 1}", there, shares, skeleton)
    if not skeleton.classes:
        if len(there) > 1:
            raise InputError(
                f"several networks of {space.name} end in maps of several shapes; add classes to `skeleton`."
            )
        return next(iter(there.values())).value
    ends = [
        read.edges(
            x,
            alive[None, None],
            [lambda name, x: read.head(name, x, skeleton.classes)],
            [f"head.linear_{place.doublings}_{place.halvings}"],
        )[0]
        for place, (x, alive) in there.items()
    ]
    return read.add(ends)


def _stem(read, images, skeleton: Skeleton):
    channels = skeleton.channels
    if not skeleton.stem:
        return images
    if skeleton.stages - 1 < IN_STEM + MOST_HALVINGS:
        # Of small images one convolution is left of it, as in the micro networks.
        return conv_bn(read, "stem", images, channels, kernel=3)
    return relu_conv_bn(
        read, "stem.second", conv_bn(read, "stem", images, channels // 2, 2, kernel=3), channels, 2, kernel=3
    )


def _module(read, name: str, there: dict[Place, Arrived], shares: dict[str, Any], skeleton: Skeleton):
    """All that is behind a module; what does not come by is not computed, nor written where that is known."""
    main: dict[Place, list[Arrived]] = {}
    beside: dict[Place, list[Arrived]] = {}
    behind: dict[Place, list[Arrived]] = {}
    for place, (x, alive) in there.items():
        for digit, share in shares.items():
            weight, after = share * alive, _after(place, digit, skeleton)
            if after is None or _is_never(weight):
                continue
            if digit == ABSENT:
                (y,) = read.edges(x, weight[None, None], [keep], [name])
                behind.setdefault(after, []).append(Arrived(y, weight))
                continue
            ways = [partial(way, read, digit, place, after, skeleton) for way in (_enter, _shortcut)]
            for values, way in zip((main, beside), ways, strict=True):
                (y,) = read.edges(x, weight[None, None], [way], [name])
                values.setdefault(after, []).append(Arrived(y, weight))
    for place, values in main.items():
        (x, alive), shortcut = _together(read, values), _together(read, beside[place]).value
        (x,) = read.edges(x, alive[None, None], [partial(_leave, read, place, skeleton, shortcut)], [name])
        for number in range(1, skeleton.cells):
            way = partial(_block, read, f"block{number + 1}", place, skeleton)
            (x,) = read.edges(x, alive[None, None], [way], [name])
        behind.setdefault(place, []).append(Arrived(x, alive))
    return {place: _together(read, values) for place, values in behind.items()}


def _together(read, values: list[Arrived]) -> Arrived:
    alive: Any = sum(value.alive for value in values)
    return Arrived(read.add([value.value for value in values]), (alive > 0).astype(alive.dtype))


def _is_never(weight) -> bool:
    return isinstance(weight, np.floating) and weight == 0


def _after(place: Place, digit: str, skeleton: Skeleton) -> Place | None:
    """Where a module leads; None where no architecture of the space goes."""
    doubles, halves = MODULES.get(digit, (0, 0))
    doublings, halvings = place.doublings + doubles, place.halvings + halves
    if doublings > MOST_DOUBLINGS or halvings > MOST_HALVINGS:
        return None
    return Place(doublings, min(halvings, skeleton.stages - 1))


def _widened(before: Place, after: Place, skeleton: Skeleton) -> tuple[int, int]:
    """Channels and stride."""
    return skeleton.channels * 2**after.doublings, 1 + after.halvings - before.halvings


def _enter(read, digit: str, before: Place, after: Place, skeleton: Skeleton, name: str, x):
    """The first convolution of a module."""
    path = f"{name}.block1.first_{before.doublings}{after.doublings}"
    return _conv_bn(read, path, f"{digit}{after.halvings}", x, *_widened(before, after, skeleton))


def _shortcut(read, digit: str, before: Place, after: Place, skeleton: Skeleton, name: str, x):
    if before == after:
        return x
    path = f"{name}.block1.shortcut_{before.doublings}{after.doublings}"
    return _conv_bn(read, path, f"{digit}{after.halvings}", x, *_widened(before, after, skeleton), kernel=1)


def _leave(read, place: Place, skeleton: Skeleton, shortcut, name: str, x, block: str = "block1"):
    """The rest of a block, behind its first convolution."""
    channels = skeleton.channels * 2**place.doublings
    y = _conv_bn(read, f"{name}.{block}.second_{place.doublings}", f"{place.halvings}", read.relu(x), channels)
    return read.relu(read.add([y, shortcut]))


def _block(read, block: str, place: Place, skeleton: Skeleton, name: str, x):
    channels = skeleton.channels * 2**place.doublings
    y = _conv_bn(read, f"{name}.{block}.first_{place.doublings}", f"{place.halvings}", x, channels)
    return _leave(read, place, skeleton, x, name, y, block)


def _conv_bn(read, path: str, here: str, x, channels: int, stride: int = 1, *, kernel: int = 3):
    """Convolutions have the same weights at every resolution; statistics of batch norms are kept by name, one each."""
    x = read.convolution(f"{path}.conv", x, channels, kernel=kernel, stride=stride)
    return read.batch_norm(f"{path}.norm_{here}", x)


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
    ),
    formatter=_format,
    parser=_parse,
    validity=held_by_the_benchmark,
)
