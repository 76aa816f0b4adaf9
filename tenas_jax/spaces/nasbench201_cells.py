"""The cells of NAS-Bench-201, and which of them are equal.

Two notions: the benchmark's own, which is coarser than it looks, and an exact one, good for computing a score once for all
cells that share it.
"""

import itertools
from collections import Counter
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int, UInt64

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

    Raises:
        InputError: where a mask is not a single architecture.
    """
    choice = space.choices(masks)
    numbers = np.ravel_multi_index(choice[:, 0].T, [len(CELL.operators)] * len(CELL.edges))
    return space.one_hot(_first_choices()[numbers])


@lru_cache
def _first_choices() -> Int[np.ndarray, "n 1 edges"]:
    """For every cell of the space, in its order, the first that is equal."""
    choices = CELL.numbered(np.arange(CELL.size))
    _, first, of = np.unique(fingerprints(choices[:, 0]), return_index=True, return_inverse=True)
    return choices[first[of.ravel()]]


def fingerprints(choices: Int[np.ndarray, "m edges"]) -> UInt64[np.ndarray, " m"]:
    """Numbers that two cells share exactly where they share their canonical string, of many cells at once.

    Every convolution gets a colour, a hash of its operator and of the linear form that it is applied to, in colours; then,
    twice, also of where it is used. A cell is the sum of its live colours and its output. That tells apart all that is
    different is checked for all cells of the space, see the tests.

    Args:
        choices: operator numbers of the edges.
    """
    forms, output = _form_arrays(choices)
    edges = range(len(CELL.edges))
    operators = choices.T.astype(np.uint64)
    used = np.zeros_like(operators)
    live = _live(forms, output)
    colours = np.zeros((len(edges) + 1, len(choices)), np.uint64)
    for _ in range(3):
        colours = np.zeros((len(edges) + 1, len(choices)), np.uint64)
        for edge in edges:
            colours[edge + 1] = _mixed(operators[edge] + _hashed(forms[edge], colours) + used[edge])
        for edge in edges:
            places = _mixed(_pools(output[:, edge + 1]))
            for user in edges:
                at = live[user] * _mixed(_pools(forms[user][:, edge + 1]) + colours[user + 1])
                places = places + np.where(forms[user][:, edge + 1].any(-1), at, np.uint64(0))
            used[edge] = _mixed(places)
    return (live * _mixed(colours[1:])).sum(0, dtype=np.uint64) + _mixed(_hashed(output, colours))


MOST_POOLS = 4  # along a path, and one more


def _form_arrays(choices) -> tuple[list[np.ndarray], np.ndarray]:
    """The linear forms that the convolution of each edge is applied to, and that of the output: (m, terms, poolings)."""
    kind = {name: number for number, name in enumerate(CELL.operators)}
    empty = np.zeros((len(choices), len(CELL.edges) + 1, MOST_POOLS), np.int64)
    nodes = [empty.copy() for _ in range(CELL.nodes)]
    nodes[0][:, 0, 0] = 1
    applied = []
    for edge, (source, target) in enumerate(CELL.edges):
        operator, form = choices[:, edge], nodes[source]
        pooled = np.concatenate([np.zeros_like(form[..., :1]), form[..., :-1]], -1)
        convolves = (operator == kind["nor_conv_1x1"]) | (operator == kind["nor_conv_3x3"])
        applied.append(np.where(convolves[:, None, None], form, 0))
        nodes[target] += np.where((operator == kind["skip_connect"])[:, None, None], form, 0)
        nodes[target] += np.where((operator == kind["avg_pool_3x3"])[:, None, None], pooled, 0)
        nodes[target][:, edge + 1, 0] += convolves
    return applied, nodes[-1]


def _live(forms, output) -> np.ndarray:
    """(edges, m): which convolutions reach the output."""
    live = output.any(-1).T[1:].astype(np.uint64)
    for user in reversed(range(len(forms))):
        live |= live[user] * forms[user].any(-1).T[1:].astype(np.uint64)
    return live


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """A bijection of 64 bits in which every bit decides about every other (SplitMix64; Steele et al. 2014)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _pools(counts: np.ndarray) -> np.ndarray:
    """A hash of how often a term occurs behind how many poolings."""
    weights = _mixed(np.arange(1, MOST_POOLS + 1, dtype=np.uint64))
    return (counts.astype(np.uint64) * weights).sum(-1, dtype=np.uint64)


def _hashed(form: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A hash of a linear form over terms of these colours."""
    terms = _mixed(_pools(form) ^ colours.T)
    return np.where(form.any(-1), terms, np.uint64(0)).sum(-1, dtype=np.uint64)


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
