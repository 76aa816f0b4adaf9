"""Which cells are equal.

Two notions for NAS-Bench-201: the benchmark's own, which is coarser than it looks, and an exact one, good for computing a
score once for all cells that share it. For all other spaces: cells that differ in the order of nodes.
"""

import itertools
from collections import Counter
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from tenas_jax.spaces.space import NAS_BENCH_201, Mask, SearchSpace

MOST_NODES = 6  # of a cell, inputs aside, whose orders are all tried: 720


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
            if operator == "none" or nodes[source] == zero:
                terms.append(zero)
            elif operator == "skip_connect":
                terms.append(nodes[source])
            else:
                terms.append(f"({nodes[source]})@{operator}")
        nodes[target] = "+".join(sorted(terms))
    return nodes[NAS_BENCH_201.nodes - 1]


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


def representatives(
    space: SearchSpace, masks: Bool[np.ndarray, "m cells edges ops"]
) -> Bool[np.ndarray, "m cells edges ops"]:
    """For each architecture one that is equal to it: the same for all that are equal, whatever else is asked about.

    Args:
        space: the search space.
        masks: single architectures.

    Returns:
        (m, cells, edges, operators). On NAS-Bench-201 the first of the space with the same canonical string, in which
        nothing is dead; elsewhere the smallest that the order of a cell's nodes allows, whatever the operators do. Where a
        space has a network function of its own nothing is known of that order, and with more than `MOST_NODES` there are
        too many: each architecture stands for itself.
    """
    if space == NAS_BENCH_201:
        first = _first_choices()
        return space.one_hot(np.array([first[canonical_string(mask)] for mask in masks]))
    movable = space.nodes - space.inputs
    if space.network is not None or "none" not in space.operators or movable > MOST_NODES:
        return masks
    return np.stack([_in_smallest_order(space, mask) for mask in masks])


@lru_cache
def _first_choices() -> dict[str, np.ndarray]:
    first: dict[str, np.ndarray] = {}
    for mask in NAS_BENCH_201.enumerate():
        first.setdefault(canonical_string(mask), NAS_BENCH_201.choice(mask))
    return first


def _in_smallest_order(space: SearchSpace, mask: Mask) -> Mask:
    """Every node sums what enters it, so nodes can change places, but for inputs and the one output of a cell.

    Where nodes are concatenated (DARTS) the order of channels says nothing before training.
    """
    last = space.nodes - 1 if space.family == "nasbench201" else space.nodes
    numbers = {edge: e for e, edge in enumerate(space.edges)}
    none = space.operators.index("none")
    cells = []
    for choice in space.choice(mask):
        orders = []
        for order in itertools.permutations(range(space.inputs, last)):
            place = [*range(space.inputs), *order, *range(last, space.nodes)]
            moved = np.full(len(space.edges), none)
            kept = [(place[a], place[b], o) for (a, b), o in zip(space.edges, choice, strict=True) if o != none]
            if all((a, b) in numbers for a, b, _ in kept):
                for a, b, operator in kept:
                    moved[numbers[a, b]] = operator
                orders.append(moved.tolist())
        cells.append(min(orders))
    return space.one_hot(np.array(cells))


# A linear form: how often each term occurs. A term is (unit, number of poolings); unit 0 is the cell's input, the
# others are the convolutions, and a convolution is (operator, the linear form it is applied to).
_Form = Counter[tuple[int, int]]
_Unit = tuple[str, _Form]


def _incoming(mask: Bool[np.ndarray, "1 edges ops"]) -> dict[int, list[tuple[str, int]]]:
    incoming: dict[int, list[tuple[str, int]]] = {}
    for number, (source, target) in zip(NAS_BENCH_201.choice(mask)[0], NAS_BENCH_201.edges, strict=True):
        incoming.setdefault(target, []).append((NAS_BENCH_201.operators[number], source))
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
            elif operator != "none":
                units[len(units) + 1] = operator, nodes[source]
                form[len(units), 0] += 1
        nodes[target] = form
    return units, nodes[NAS_BENCH_201.nodes - 1]


def _text(operator: str, form: _Form, names: dict[int, str]) -> str:
    terms = [f"{'pool(' * pools}{names[unit]}{')' * pools}" for (unit, pools) in form.elements()]
    return f"{operator}({'+'.join(sorted(terms))})"


def _numbered(units: dict[int, _Unit], output: _Form, order: list[int]) -> str:
    names = {0: "x"} | {unit: str(place) for place, unit in enumerate(order, 1)}
    lines = [f"{names[unit]}={_text(*units[unit], names)}" for unit in order]
    return ";".join([*lines, _text("", output, names)[1:-1]])
