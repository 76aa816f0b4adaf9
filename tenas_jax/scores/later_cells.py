"""Which kernels the cells behind the first one are made of, as numbers, before any kernel is computed.

They are made as the first cell's (`kernel_routes.py`), but of inputs that two architectures do not share: each of them has
rows of its own, those that its last node needs. So the steps are the first cell's, in the same order, with a row for every
architecture that takes part.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.scores.kernel_routes import ZERO, Routes, Step


class Later(NamedTuple):
    """How a table of kernels is filled for one later cell of some architectures.

    Attributes:
        steps: as those of `Routes`. The table begins with zero and the inputs, architecture by architecture.
        sums: (m, terms) rows whose sum is the last node.
    """

    steps: list[Step]
    sums: Int[np.ndarray, "m terms"]


def parts(plan: Routes, inputs: int, sums: Int[np.ndarray, "m terms"], most: int) -> Iterator[tuple[slice, Later]]:
    """Later cells of some architectures, so many at a time that a table of `most` rows holds them.

    Args:
        plan: of their first cells.
        inputs: of a cell.
        sums: rows of the first cell's table whose sum is the last node.
        most: rows of a table; one architecture has fewer.

    Yields:
        Which architectures, and how their tables are filled.
    """
    needed = _needed(plan, inputs, sums)
    rows = 1 + np.cumsum(inputs + needed[:, 1 + inputs :].sum(1) + 1)  # the last node has a row, too
    start = 0
    while start < len(sums):
        before = rows[start - 1] - 1 if start else 0
        end = max(int(np.searchsorted(rows - before, most, side="right")), start + 1)
        yield slice(start, end), _later(plan, inputs, sums[start:end], needed[start:end])
        start = end


def _numbered(plan: Routes, inputs: int) -> list[tuple[int, str, np.ndarray]]:
    """By the row of its first kernel what a step's field of that name makes."""
    found, row = [], 1 + inputs
    for step in plan.steps:
        for name, made in step._asdict().items():
            found.append((row, name, made))
            row += len(made)
    return found


def _parents(name: str, made: np.ndarray) -> np.ndarray:
    """The rows that kernels are made of (k, parents)."""
    return made[:, 1:] if name in ("terms", "pieces") else made


def _needed(plan: Routes, inputs: int, sums) -> Bool[np.ndarray, "m rows"]:
    """Which rows take part in the last node."""
    needed = np.zeros((len(sums), plan.rows), bool)
    np.put_along_axis(needed, sums, True, axis=1)
    for first, name, made in reversed(_numbered(plan, inputs)):
        for row, parents in reversed(list(enumerate(_parents(name, made), first))):
            needed[:, parents] |= needed[:, [row]]
    needed[:, ZERO] = False
    return needed


def _later(plan: Routes, inputs: int, sums, needed) -> Later:
    numbers = np.zeros(needed.shape, np.int32)  # row 0 is zero, as in the first cell
    numbers[:, 1 : 1 + inputs] = 1 + np.arange(inputs * len(sums)).reshape(-1, inputs)
    row, steps, fields = 1 + inputs * len(sums), [], {}
    for first, name, made in _numbered(plan, inputs):
        owner, which = np.nonzero(needed[:, first : first + len(made)])
        numbers[owner, first + which] = row + np.arange(len(owner))
        row += len(owner)
        own = numbers[owner[:, None], _parents(name, made)[which]]
        fields[name] = np.column_stack([made[which, :1], own]) if name in ("terms", "pieces") else own
        if name == Step._fields[-1]:
            steps.append(Step(**fields))
    return Later(steps, np.take_along_axis(numbers, sums, 1))
