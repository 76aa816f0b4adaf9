"""The kernels of one cell of many architectures: a table of rows, filled step by step for groups of architectures.

Steps are those of `kernel_routes.py` for the first cell, of `later_cells.py` for those behind it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from tenas_jax.ntk.gaussian_kernels import Kernels
from tenas_jax.scores.grouped_program import GroupedProgram
from tenas_jax.scores.kernel_routes import Step
from tenas_jax.scores.shared_work import CAPACITY, MOST_BYTES, Rows

GROUP = 64  # kernels of a group, at most
GROUP_BYTES = 2**20  # that they take: what a processor has close at hand
ALONE = 2**17  # bytes of a kernel that is a group of its own: to begin with it takes no time beside the rest
MOST_ROWS = 2**14  # of a table
FEW = 8  # large kernels, or groups, a call


class CellKernels:
    """What is compiled for one cell of a stack, and its tables.

    Attributes:
        fresh: what an operator's fresh weights add behind a kernel.
        mapped: what a linear map makes of a kernel.
        left: what comes out of the cell, by the number of terms of its last node and their rows.
        most: rows that the table of kernels may have.
    """

    def __init__(
        self,
        fresh: Callable[..., Any],
        mapped: Callable[..., Any],
        left: Callable[..., Any],
        row_bytes: int,
        *,
        is_shared: bool,
        name: str | None = None,
    ):
        """Takes what is done to rows, as functions for a `GroupedProgram`, and the bytes of one; shared rows are few.

        The name says which cell of what it is.
        """
        size = group_size(row_bytes)
        shared = 1 if is_shared else size
        self.fresh = GroupedProgram(fresh, shared, name and f"{name}, fresh weights", chunk=FEW)
        self.mapped = GroupedProgram(mapped, shared, name and f"{name}, maps", chunk=FEW)
        self.left = GroupedProgram(left, size, name and f"{name}, left", chunk=None if size == 1 else FEW)
        self.most = max(min(MOST_ROWS, MOST_BYTES // row_bytes), CAPACITY)
        # Of one size from the beginning, so that one program serves all tables; what is not written takes no memory.
        self._kernels, self._maps = Rows(self.most), Rows()

    @property
    def programs(self) -> list[GroupedProgram]:
        """What is compiled."""
        return [self.fresh, self.mapped, self.left]

    def fill(self, inputs: Kernels, maps: Float[np.ndarray, "k p p"], steps: Sequence[Step]) -> Kernels:
        """The table of kernels: zero, the inputs, and what steps make of them.

        Args:
            inputs: rows of kernels.
            maps: of the operators, by number.
            steps: to be taken.

        Returns:
            The table, which is good until it is filled again.
        """
        kernels = self._kernels
        for table in (kernels, self._maps):
            table.clear()
        self._maps.append(maps.astype(inputs.nngp.dtype))
        kernels.append(jax.tree.map(lambda kernel: np.zeros_like(kernel[:1]), inputs))
        kernels.append(inputs)
        for step in steps:
            if len(step.terms):
                self.fresh.fill(kernels.take(len(step.terms)), step.terms, kernels.arrays)
            if len(step.sources):
                kernels.append_sums(kernels, step.sources)
            if len(step.pieces):
                self.mapped.fill(kernels.take(len(step.pieces)), step.pieces, self._maps.arrays, kernels.arrays)
            if len(step.kernels):
                kernels.append_sums(kernels, step.kernels)
        return kernels.arrays

    def leave(self, sums: Int[np.ndarray, "m terms"], first: Int[np.ndarray, " n"], table: Kernels) -> Any:
        """What comes out of the cell: the inputs of the next one, or kernels (m, n, n).

        Args:
            sums: rows whose sum is the last node; zeros come last.
            first: from `analytic.first_equal`.
            table: from `fill`.
        """
        terms = np.maximum((sums > 0).sum(1), 1)
        return self.left(np.column_stack([terms, sums]), first, table)

    def release(self) -> None:
        """Gives the memory of the tables back."""
        self._kernels.release()
        self._maps.release()


def group_size(row_bytes: int) -> int:
    """How many kernels are a group.

    Args:
        row_bytes: of one.
    """
    return 1 if row_bytes >= ALONE else 2 ** (min(GROUP, GROUP_BYTES // row_bytes).bit_length() - 1)
