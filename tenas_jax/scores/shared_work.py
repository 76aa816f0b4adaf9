"""Many architectures of a space whose cells are alike in their beginnings: what they share is computed once.

The first cell is evaluated as a tree (`sharing.py`): every distinct output of an operator once, every distinct sum of them
once, and for each architecture only the sum in its last node and what comes after it. Every piece is evaluated by itself,
by a separate program (`mask_program.py`), so no value depends on what else is evaluated beside it. What is held at a
time is bounded by `MOST_BYTES`, whatever the number of architectures.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.sharing import Sharing, is_shared, share
from tenas_jax.spaces.space import SearchSpace

BLOCK = 1024  # architectures whose beginnings are held at a time, at most
MOST_BYTES = 2**27  # of the tables of one block
CAPACITIES = [32 * 4**power for power in range(12)]  # rows of a table: few sizes, so that few programs are compiled


class Tables(NamedTuple):
    """What architectures of a block refer to by row.

    Attributes:
        terms: arrays that sum up to the values of nodes; row 0 is zero.
        records: what was noted on the way, summed up by architecture; None where nothing is.
        sums: (m, nodes that are no inputs, terms) which rows a node is the sum of.
        recorded: (m,) which record is that of an architecture.
    """

    terms: Any
    records: Any
    sums: Int[np.ndarray, "m nodes terms"]
    recorded: Int[np.ndarray, " m"]


class Work(Protocol):
    """How the values of one reading are shared.

    Attributes:
        alike: see `sharing.share`.
        row_bytes: of an output of an operator.
        programs: what it compiles.
    """

    alike: bool
    programs: list[MaskProgram]

    def row_bytes(self, begun: Any) -> int:
        """Of one output of an operator."""
        ...

    def begin(self, *arguments: Any) -> Any:
        """What comes before the first cell, for arrays that all architectures share."""
        ...

    def grow(self, begun: Any, sharing: Sharing) -> Tables:
        """The tree of the first cell."""
        ...

    def finish(self, requests: Int[np.ndarray, "m fields"], begun: Any, tables: Sequence[Any]) -> Any:
        """The sum in the last node, and what comes after it; a request is operators, terms by node, and the record."""
        ...


class SharedProgram:
    """A drop-in for `MaskProgram` that shares the work of single architectures of a small space.

    Attributes:
        compilations: how often something has been compiled.
        compile_seconds: how long tracing and compiling took.
    """

    def __init__(self, space: SearchSpace, work: Work, plain: MaskProgram):
        """Shares by `work`; `plain` takes half-pruned masks, and all where a network cannot be shared."""
        self._space, self._work, self._plain = space, work, plain

    @property
    def compilations(self) -> int:
        """How often something has been compiled."""
        return sum(program.compilations for program in (*self._work.programs, self._plain))

    @property
    def compile_seconds(self) -> float:
        """How long tracing and compiling took."""
        return sum(program.compile_seconds for program in (*self._work.programs, self._plain))

    def __call__(self, masks: Bool[np.ndarray, "m cells edges ops"], *arguments: Any) -> Any:
        """Evaluates masks with the same further arguments.

        Args:
            masks: (m, cells, edges, ops), m at least 1.
            *arguments: arrays that all masks share, such as keys and images.

        Returns:
            As `MaskProgram`. What becomes of a mask depends on that mask and on the space, not on the others.
        """
        single = (masks.sum(-1) == 1).all((1, 2)) & is_shared(self._space)
        if not single.any():
            return self._plain(masks, *arguments)
        try:
            shared = self._tree(masks[single].argmax(-1).astype(np.int32), arguments)
        except NotShared:
            return self._plain(masks, *arguments)
        if single.all():
            return shared
        place = np.argsort(np.concatenate([np.flatnonzero(single), np.flatnonzero(~single)]))
        others = self._plain(masks[~single], *arguments)
        return jax.tree.map(lambda *parts: np.concatenate(parts)[place], shared, others)

    def _tree(self, choice, arguments):
        begun = self._work.begin(*arguments)
        # Neighbours in this order share most of the tree.
        order = np.lexsort(choice.reshape(len(choice), -1).T[::-1])
        results = [self._block(choice[places], begun) for places in self._blocks(choice, order, begun)]
        place = np.argsort(order)
        return jax.tree.map(lambda *parts: np.concatenate(parts)[place], *results)

    def _blocks(self, choice, order, begun) -> list[np.ndarray]:
        most = max(MOST_BYTES // self._work.row_bytes(begun), 1)

        def halved(places) -> list[np.ndarray]:
            if len(places) == 1 or (len(places) <= BLOCK and self._shared(choice[places]).outputs <= most):
                return [places]
            middle = (len(places) + 1) // 2
            return halved(places[:middle]) + halved(places[middle:])

        return halved(order)

    def _shared(self, choice) -> Sharing:
        return share(self._space, choice[:, 0], alike=self._work.alike)

    def _block(self, choice, begun):
        tables = self._work.grow(begun, self._shared(choice))
        recorded = tables.recorded[:, None]
        requests = np.concatenate([choice.reshape(len(choice), -1), tables.sums.reshape(len(choice), -1), recorded], 1)
        held = [capped(table) for table in (tables.terms, tables.records) if table is not None]
        return self._work.finish(requests.astype(np.int32), begun, held)


def capped(table: Any) -> Any:
    """A table with rows of zeros up to one of a few sizes.

    Args:
        table: an array (rows, ...), or a tree of such arrays.
    """

    def filled(rows):
        size = next(size for size in CAPACITIES if size >= len(rows))
        held = np.zeros((size, *rows.shape[1:]), rows.dtype)
        held[: len(rows)] = rows
        return held

    return jax.tree.map(filled, table)


def joined(*tables: Any) -> Any:
    """Tables one behind the other.

    Args:
        *tables: arrays (rows, ...), or trees of such arrays.
    """
    return jax.tree.map(lambda *parts: np.concatenate(parts), *tables)


def summed(table: Any, rows: Int[np.ndarray, "r terms"]) -> Any:
    """Sums of rows of a table, in their order.

    Args:
        table: an array (rows, ...), or a tree of such arrays.
        rows: which.
    """

    def of(values):
        total = values[rows[:, 0]]
        for column in rows.T[1:]:
            total = total + values[column]
        return total

    return jax.tree.map(of, table)


def row(table: Any, number: Any) -> Any:
    """One row, whose number may be traced.

    Args:
        table: an array (rows, ...), or a tree of such arrays.
        number: of the row.
    """
    return jax.tree.map(lambda values: jax.lax.dynamic_index_in_dim(values, number, keepdims=False), table)


class Entered(Exception):
    """Leaves the reading of a network where its first cell begins."""

    def __init__(self, inputs: Sequence[Any], channels: int, name: str):
        """Takes the cell's inputs, channels and path."""
        super().__init__("the first cell")
        self.inputs, self.channels, self.name = inputs, channels, name


def enter(read: Any, space: SearchSpace, name: str, weights: Any, inputs: Sequence[Any], channels: int, **options: Any):
    """A cell, as `stacking.network` takes it, that is only entered.

    Raises:
        Entered: always.
    """
    del space, weights
    if options.get("reduce"):
        raise NotShared("the first cell reduces")
    raise Entered(read.cell_inputs(inputs), channels, name)


class NotShared(Exception):
    """A network whose first cell has no tree: nodes of several shapes, or values that are not summed."""


def first_given(nodes: Sequence[Any], entered: Callable[[], None], cell: Callable[..., Any]) -> Callable[..., Any]:
    """Cells of which the first one's nodes are known.

    Args:
        nodes: their values.
        entered: called where the first cell is.
        cell: how all others are put together.
    """
    seen: list[str] = []

    def put_together(read, space, name, weights, inputs, channels, **options):
        if seen:
            return cell(read, space, name, weights, inputs, channels, **options)
        seen.append(name)
        entered()
        return list(nodes)

    return put_together
