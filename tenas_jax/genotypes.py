"""Architectures as strings, and which of them are equal.

NAS-Bench-201 writes a cell as `|op~source|+|op~source|op~source|+...`, one group of edges a node (Dong and Yang 2020).
"""

import re
from typing import TYPE_CHECKING

import numpy as np

from tenas_jax.errors import InputError

if TYPE_CHECKING:
    from tenas_jax.space import SearchSpace


def format_nasbench201(space: "SearchSpace", choice: np.ndarray) -> str:
    """The official string of a NAS-Bench-201 cell.

    Args:
        space: the space.
        choice: operator numbers (1, edges).
    """
    nodes: dict[int, list[str]] = {}
    for operator, (source, target) in zip(choice[0], space.edges, strict=True):
        nodes.setdefault(target, []).append(f"{space.operators[operator]}~{source}")
    return "+".join(f"|{'|'.join(edges)}|" for edges in nodes.values())


def parse_nasbench201(space: "SearchSpace", architecture: str) -> np.ndarray:
    """Operator numbers (1, edges) of an official string.

    Args:
        space: the space.
        architecture: the string.

    Raises:
        InputError: for a wrong number of nodes or edges, an unknown operator or a wrong source node.
    """
    nodes = architecture.strip().split("+")
    expected = sorted({target for _, target in space.edges})
    if len(nodes) != len(expected):
        raise InputError(
            f"the architecture {architecture!r} has {len(nodes)} nodes between `+`; {space.name} has {len(expected)}."
        )
    choice = []
    for target, node in zip(expected, nodes, strict=True):
        sources = [source for source, end in space.edges if end == target]
        if not re.fullmatch(r"\|([^|]+\|)+", node) or node.count("|") != len(sources) + 1:
            raise InputError(
                f"node {target} of the architecture {architecture!r} is {node!r}; it needs {len(sources)} edge(s) as "
                f"`|{'|'.join(f'OPERATOR~{source}' for source in sources)}|`."
            )
        for source, edge in zip(sources, node.strip("|").split("|"), strict=True):
            operator, _, start = edge.partition("~")
            if operator not in space.operators:
                raise InputError(
                    f"the architecture {architecture!r} has the unknown operator {operator!r}; "
                    f"{space.name} has {', '.join(space.operators)}."
                )
            if start != str(source):
                raise InputError(
                    f"in the architecture {architecture!r} the edge {edge!r} of node {target} must come from node "
                    f"{source}: write `{operator}~{source}`."
                )
            choice.append(space.operators.index(operator))
    return np.array([choice])


def isomorphism_string(space: "SearchSpace", choice: np.ndarray) -> str:
    """NAS-Bench-201's own string for cells that it takes for equal: 6,466 classes (Dong and Yang 2020, section 2).

    Skips vanish into their source, an edge without input counts as zero, and what a node sums is sorted. It does not tell
    one convolution that is used twice from two convolutions.

    Args:
        space: NAS-Bench-201.
        choice: operator numbers (1, edges).
    """
    zero = "#"
    nodes = {0: "0"}
    for target in range(1, space.nodes):
        terms = []
        for number, (source, end) in zip(choice[0], space.edges, strict=True):
            operator = space.operators[number]
            if end != target:
                continue
            if operator == "none" or nodes[source] == zero:
                terms.append(zero)
            elif operator == "skip_connect":
                terms.append(nodes[source])
            else:
                terms.append(f"({nodes[source]})@{operator}")
        nodes[target] = "+".join(sorted(terms))
    return nodes[space.nodes - 1]
