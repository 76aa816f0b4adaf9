"""Cells of NAS-Bench-101 as strings, and as the benchmark's adjacency matrix with its operators.

A string has a group a vertex behind the input, `|OPERATOR~SOURCE~SOURCE|`, joined by `+`; the last is the output:
`|conv3x3-bn-relu~0|+|maxpool3x3~0~1|+|output~1~2|`. What the benchmark's tables hold is understood too: the adjacency
matrix row by row as zeros and ones, then the operators with `input` and `output`, between blanks.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tenas_jax.errors import InputError
from tenas_jax.spaces.nasbench101_cells import MOST_EDGES, OPERATORS, VERTICES, Cells, smallest, valid

INPUT, OUTPUT = "input", "output"
_GROUP = re.compile(r"\|([\w-]+)((?:~\d+)+)\|")


def format_cells(cells: Cells) -> list[str]:
    """The strings of some cells, without what is dead in them.

    Args:
        cells: the cells, each with a path from input to output.
    """
    texts = []
    for matrix, operators in smallest(cells):
        names = [*(OPERATORS[number] for number in operators), OUTPUT]
        sources = [[w for w in range(v) if matrix[w][v]] for v in range(1, len(matrix))]
        texts.append(
            "+".join(f"|{'~'.join([name, *map(str, near)])}|" for name, near in zip(names, sources, strict=True))
        )
    return texts


def parse_cell(text: str) -> Cells:
    """The cell of a string, or of the benchmark's adjacency and operators, as the one of `Cells`.

    Args:
        text: of either form.

    Raises:
        InputError: for text of another form, an unknown operator, an edge that does not lead forward, or a cell that the
            benchmark does not hold.
    """
    text = text.strip()
    if not text.startswith("|"):
        return _from_table(text)
    groups = [_GROUP.fullmatch(group) for group in text.split("+")]
    if not all(groups):
        bad = text.split("+")[groups.index(None)]
        raise InputError(
            f"the group {bad!r} of the architecture {text!r} is not of the form `|OPERATOR~SOURCE~SOURCE|`; a cell of "
            "NAS-Bench-101 is `|conv3x3-bn-relu~0|+|output~0~1|`, or its adjacency and operators as the benchmark has them."
        )
    found = [(group[1], [int(source) for source in group[2].split("~")[1:]]) for group in groups if group]
    matrix = np.zeros((len(found) + 1,) * 2, int)
    for vertex, (_, sources) in enumerate(found, 1):
        for source in sources:
            if source >= vertex:
                raise InputError(
                    f"vertex {vertex} of the architecture {text!r} must take what comes before it; not {source}."
                )
            matrix[source, vertex] = 1
    return from_benchmark(matrix, [INPUT, *(name for name, _ in found)])


def _from_table(text: str) -> Cells:
    digits, *names = text.split() or [""]
    side = math.isqrt(len(digits))
    if not names or not re.fullmatch("[01]+", digits) or side**2 != len(digits):
        raise InputError(
            f"the architecture {text!r} is neither `|OPERATOR~SOURCE|+...+|output~SOURCE|` nor the adjacency of a cell of "
            "NAS-Bench-101, n x n zeros and ones, with its operators."
        )
    return from_benchmark(np.array(list(digits), int).reshape(side, side), names)


def from_benchmark(adjacency: Any, operators: Sequence[str]) -> Cells:
    """A cell as the benchmark's `ModelSpec` takes it.

    Args:
        adjacency: (n, n) zeros and ones, above the diagonal, n from 2 to 7.
        operators: n names, the first `input` and the last `output`.

    Returns:
        The one cell, as it is given: `nasbench101_cells.pruned` takes out what is dead.

    Raises:
        InputError: for another shape, an edge that does not lead forward, an unknown operator, or a cell that the benchmark
            does not hold.

    Examples:
        >>> from tenas_jax.spaces.nasbench101_cells import cell_costs
        >>> cell = from_benchmark([[0, 1, 1], [0, 0, 1], [0, 0, 0]], ["input", "conv3x3-bn-relu", "output"])
        >>> int(cell_costs(cell).parameters[0]), format_cells(cell)
        (11051402, ['|conv3x3-bn-relu~0|+|output~0~1|'])
    """
    matrix, names = np.asarray(adjacency), list(operators)
    count = len(names)
    if matrix.shape != (count, count) or not 2 <= count <= VERTICES or not np.isin(matrix, (0, 1)).all():
        raise InputError(
            f"a cell of NAS-Bench-101 has 2 to {VERTICES} vertices, an operator each and an adjacency matrix of zeros and "
            f"ones; this one has {count} operators and a matrix of the shape {matrix.shape}."
        )
    if np.tril(matrix).any():
        raise InputError(
            "an edge of a cell of NAS-Bench-101 leads to a later vertex: the matrix is zero on and below its diagonal."
        )
    if names[0] != INPUT or names[-1] != OUTPUT:
        raise InputError(
            f"the operators of a cell begin with `{INPUT}` and end with `{OUTPUT}`; they are {', '.join(names)}."
        )
    for name in names[1:-1]:
        if name not in OPERATORS:
            raise InputError(f"the operator {name!r} is unknown; NAS-Bench-101 has {', '.join(OPERATORS)}.")
    places = [*range(count - 1), VERTICES - 1]
    edges = np.zeros((1, VERTICES, VERTICES), bool)
    edges[0][np.ix_(places, places)] = matrix
    numbers = np.zeros((1, VERTICES - 2), int)
    numbers[0, : count - 2] = [OPERATORS.index(name) for name in names[1:-1]]
    cell = Cells(edges, numbers)
    if not valid(cell)[0]:
        raise InputError(
            f"a cell of NAS-Bench-101 has a path from input to output and at most {MOST_EDGES} edges on such paths; "
            f"this one has {int(edges.sum())} edges."
        )
    return cell
