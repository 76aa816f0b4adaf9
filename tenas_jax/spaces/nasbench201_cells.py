"""The cells of NAS-Bench-201, and which of them are equal.

Two notions: the benchmark's own, which is coarser than it looks, and an exact one, good for computing a score once for all
cells that share it.
"""

import itertools
from collections import Counter
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from tenas_jax.spaces.cell_graph import NONE, CellGraph, Mask, complete_edges

CELL = CellGraph(
    name="nasbench201",
    operators=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    edges=complete_edges(1, 4),
)


def isomorphism_string(mask: Mask) -> str:
    """NAS-Bench-201's string for cells that it takes for equal: 6,466 classes (Dong and Yang 2020, section 2).

    Skips vanish into their source, an edge without input counts as zero, and what a node sums is sorted. It does not
    tell one convolution that is used twice from two convolutions: see `canonical_string`.

    Args:
        mask: bool (1, 6, 5), one operator an edge.

    Raises:
        InputError: where the mask is not a single architecture of NAS-Bench-201.
    """
    zero = "#"
    nodes = {0: "0"}
    for target, incoming in _incoming(mask).items():
        terms = []
        for operator, source in incoming:
            if operator == NONE or nodes[source] == zero:
                terms.append(zero)
            elif operator == "skip_connect":
                terms.append(nodes[source])
            else:
                terms.append(f"({nodes[source]})@{operator}")
        nodes[target] = "+".join(sorted(terms))
    return nodes[CELL.nodes - 1]


def canonical_string(mask: Mask) -> str:
    """A string that two cells share exactly where they are the same function of the image and of their live weights.

    The cell is rewritten as its convolutions, each applied to a linear form over the cell's input and earlier
    convolutions: skips are the identity, average pooling is linear and passes through sums, and what does not reach the
    output is left out. Convolutions are then numbered in the order, among those that differ in nothing but where they
    are used, that gives the smallest string. A convolution of zeros stays, since its batch norm's shift can be trained.

    Args:
        mask: bool (1, 6, 5), one operator an edge.

    Returns:
        For instance `1=nor_conv_3x3(x);2=nor_conv_3x3(x);1+2+pool(2)`; `x` is the cell's input.

    Raises:
        InputError: as `isomorphism_string`.

    Examples:
        A skip that is written down, and one that is left out:

        >>> from tenas_jax import NAS_BENCH_201
        >>> canonical_string(NAS_BENCH_201.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"))
        '1=nor_conv_3x3(x);1'
        >>> canonical_string(NAS_BENCH_201.parse("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"))
        '1=nor_conv_3x3(x);1'
    """
    units, output = _linear_forms(mask)
    live: set[int] = set()
    waiting = [unit for unit, _ in output]
    while waiting:
        unit = waiting.pop()
        if unit and unit not in live:
            live.add(unit)
            waiting += [source for source, _ in units[unit][1]]
    # Ordering by this text first leaves few orders to try: it ignores only which of several equal units is meant.
    texts = {0: "x"}
    for unit in sorted(live):
        texts[unit] = _text(*units[unit], texts)
    groups = [list(group) for _, group in itertools.groupby(sorted(live, key=texts.__getitem__), key=texts.__getitem__)]
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    return min(_numbered(units, output, list(itertools.chain(*order))) for order in orders)


def first_equal(
    space: CellGraph, masks: Bool[np.ndarray, "m cells edges ops"]
) -> Bool[np.ndarray, "m cells edges ops"]:
    """For each architecture the first of the space with the same canonical string, in which nothing is dead.

    Args:
        space: NAS-Bench-201.
        masks: single architectures.
    """
    first = _first_choices()
    return space.one_hot(np.array([first[canonical_string(mask)] for mask in masks]))


@lru_cache
def _first_choices() -> dict[str, np.ndarray]:
    first: dict[str, np.ndarray] = {}
    for mask in CELL.enumerate():
        first.setdefault(canonical_string(mask), CELL.choice(mask))
    return first


# A linear form: how often each term occurs. A term is (unit, number of poolings); unit 0 is the cell's input, the
# others are the convolutions, and a convolution is (operator, the linear form it is applied to).
_Form = Counter[tuple[int, int]]
_Unit = tuple[str, _Form]


def _incoming(mask: Bool[np.ndarray, "1 edges ops"]) -> dict[int, list[tuple[str, int]]]:
    incoming: dict[int, list[tuple[str, int]]] = {}
    for number, (source, target) in zip(CELL.choice(mask)[0], CELL.edges, strict=True):
        incoming.setdefault(target, []).append((CELL.operators[number], source))
    return incoming


def _linear_forms(mask) -> tuple[dict[int, _Unit], _Form]:
    units: dict[int, _Unit] = {}
    nodes: dict[int, _Form] = {0: Counter({(0, 0): 1})}
    for target, incoming in _incoming(mask).items():
        form: _Form = Counter()
        for operator, source in incoming:
            if operator == "skip_connect":
                form.update(nodes[source])
            elif operator == "avg_pool_3x3":
                form.update({(unit, pools + 1): count for (unit, pools), count in nodes[source].items()})
            elif operator != NONE:
                units[len(units) + 1] = operator, nodes[source]
                form[len(units), 0] += 1
        nodes[target] = form
    return units, nodes[CELL.nodes - 1]


def _text(operator: str, form: _Form, names: dict[int, str]) -> str:
    terms = [f"{'pool(' * pools}{names[unit]}{')' * pools}" for (unit, pools) in form.elements()]
    return f"{operator}({'+'.join(sorted(terms))})"


def _numbered(units: dict[int, _Unit], output: _Form, order: list[int]) -> str:
    names = {0: "x"} | {unit: str(place) for place, unit in enumerate(order, 1)}
    lines = [f"{names[unit]}={_text(*units[unit], names)}" for unit in order]
    return ";".join([*lines, _text("", output, names)[1:-1]])
