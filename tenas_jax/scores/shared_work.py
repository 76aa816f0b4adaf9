"""Many architectures of a space whose cells are alike in their beginnings: what they share is computed once.

The first cell is evaluated as a tree (`sharing.py`): every distinct output of an operator once, every distinct sum of them
once, and for each architecture only the sum in its last node and what comes after it. Every piece is evaluated by itself,
by a separate program (`mask_program.py`), so no value depends on what else is evaluated beside it. What is held at a
time is bounded by `MOST_BYTES`, whatever the number of architectures.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.scores.mask_program import MaskProgram, put
from tenas_jax.scores.sharing import is_shared
from tenas_jax.spaces.network import network
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace

BLOCK = 8192  # architectures whose beginnings are held at a time, at most: seconds of work
MOST_BYTES = 2**27  # of the tables of one block
CAPACITY = 512  # rows of a table at first: more than a block needs, so that one program serves all of them
CLOSE_AT_HAND = 2**18  # bytes that a processor need not fetch again
_ALIGNED = 64  # bytes; JAX copies arrays of the host that begin elsewhere


class Plan(Protocol):
    """What some architectures share, which holds for every draw of images and weights."""

    @property
    def rows(self) -> int:
        """How many rows of values they take."""
        ...


class Block(NamedTuple):
    """Architectures that are evaluated together.

    Attributes:
        places: of them among all.
        plan: what they share.
    """

    places: Int[np.ndarray, " m"]
    plan: Any


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
    """How the values of one reading are shared."""

    @property
    def programs(self) -> list[MaskProgram]:
        """What it compiles."""
        ...

    def row_bytes(self, begun: Any) -> int:
        """Of one row of values."""
        ...

    def begin(self, *arguments: Any) -> Any:
        """What comes before the first cell, for arrays that all architectures share."""
        ...

    def plan(self, choice: Int[np.ndarray, "m edges"]) -> Plan:
        """What architectures share, by the operators of their first cells; `begin` was called before."""
        ...

    def grow(self, begun: Any, plan: Any) -> Tables:
        """The tree of the first cell; what it returns is good until it is called again."""
        ...

    def finish(self, requests: Int[np.ndarray, "m fields"], begun: Any, plan: Any, tables: Sequence[Any]) -> Any:
        """The sum in the last node, and what comes after it; a request is operators, terms by node, and the record."""
        ...

    def release(self) -> None:
        """Gives the memory of its tables back."""
        ...


class SharedProgram:
    """A drop-in for `MaskProgram` that shares the work of single architectures of a small space.

    Attributes:
        plain: the program that takes one mask after the other.
        compilations: how often something has been compiled.
        compile_seconds: how long tracing and compiling took.
    """

    def __init__(self, space: SearchSpace, work: Work, plain: MaskProgram):
        """Shares by `work`; `plain` takes half-pruned masks, and all where a network cannot be shared."""
        self._space, self._work, self.plain = space, work, plain
        self._planned: tuple[bytes, list[Block]] = b"", []
        self._held = 0  # blocks within which memory is kept

    @property
    def compilations(self) -> int:
        """How often something has been compiled."""
        return sum(program.compilations for program in (*self._work.programs, self.plain))

    @property
    def compile_seconds(self) -> float:
        """How long tracing and compiling took."""
        return sum(program.compile_seconds for program in (*self._work.programs, self.plain))

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
            return self.plain(masks, *arguments)
        try:
            shared = self._tree(masks[single].argmax(-1).astype(np.int32), arguments)
        except NotShared:
            return self.plain(masks, *arguments)
        if single.all():
            return shared
        place = np.argsort(np.concatenate([np.flatnonzero(single), np.flatnonzero(~single)]))
        others = self.plain(masks[~single], *arguments)
        return jax.tree.map(lambda *parts: np.concatenate(parts)[place], shared, others)

    def release(self) -> None:
        """Gives back the memory that it holds between calls, unless that is `held`; what is compiled stays."""
        if not self._held:
            self._planned = b"", []
            self._work.release()

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block of several calls, between which plans and tables are kept; its end is a `release`."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self.release()

    def _tree(self, choice, arguments):
        begun = self._work.begin(*arguments)
        blocks = self._blocks(choice, begun)
        results = [self._block(choice[block.places], block, begun) for block in blocks]
        place = np.argsort(np.concatenate([block.places for block in blocks]))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[place], *results)

    def _blocks(self, choice, begun) -> list[Block]:
        """In an order in which neighbours share most of the tree; those of the last call are kept for its next draw."""
        most = max(MOST_BYTES // self._work.row_bytes(begun), 1)

        def halved(places) -> list[Block]:
            plan = self._work.plan(choice[places, 0]) if len(places) <= BLOCK else None
            if plan is not None and (len(places) == 1 or plan.rows <= most):
                return [Block(places, plan)]
            middle = (len(places) + 1) // 2
            return halved(places[:middle]) + halved(places[middle:])

        asked = choice.tobytes()
        if self._planned[0] != asked:
            self._planned = asked, halved(np.lexsort(choice.reshape(len(choice), -1).T[::-1]))
        return self._planned[1]

    def _block(self, choice, block: Block, begun):
        tables = self._work.grow(begun, block.plan)
        recorded = tables.recorded[:, None]
        requests = np.concatenate([choice.reshape(len(choice), -1), tables.sums.reshape(len(choice), -1), recorded], 1)
        held = [table for table in (tables.terms, tables.records) if table is not None]
        return self._work.finish(requests.astype(np.int32), begun, block.plan, held)


class Rows:
    """A table that grows, in memory that is taken once: rows of arrays, whose values are those of an array or a tree.

    Its arrays are longer than what they hold, so that programs see few sizes. What has not been written is never read.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        """A table without rows, whose arrays come with the first ones and have room for so many."""
        self.arrays: Any = None
        self._size, self._capacity = 0, capacity

    def __len__(self) -> int:
        """The number of rows."""
        return self._size

    def clear(self) -> None:
        """Forgets the rows; the memory stays."""
        self._size = 0

    def release(self) -> None:
        """Forgets the rows and gives their memory back."""
        self.arrays, self._size = None, 0

    def append(self, rows: Any) -> int:
        """Puts rows behind those that are there.

        Args:
            rows: (rows, ...), or a tree of such arrays.

        Returns:
            The number of the first of them.
        """
        start = self._reserve(len(jax.tree.leaves(rows)[0]), rows)
        put(self.arrays, slice(start, self._size), rows)
        return start

    def take(self, count: int) -> Any:
        """Room for rows behind those that are there, of a table that has some: to be written before anything is read.

        Args:
            count: of rows.

        Returns:
            (count, ...), or a tree of such arrays: the memory of the table itself.
        """
        start = self._reserve(count, self.arrays)
        return jax.tree.map(lambda table: table[start : self._size], self.arrays)

    def append_sums(self, table: "Rows", rows: Int[np.ndarray, "r terms"]) -> int:
        """Puts sums of rows of a table, in their order, behind those that are there.

        Args:
            table: of which they are the sums; it may be this one.
            rows: which; row 0 is zero, and columns behind the last that is not are left out.

        Returns:
            The number of the first of them.
        """
        rows = rows[:, : 1 + int(np.flatnonzero(rows.any(0)).max(initial=0))]
        start = self._reserve(len(rows), table.arrays)
        for total, values in zip(jax.tree.leaves(self.arrays), jax.tree.leaves(table.arrays), strict=True):
            _sum(values, rows, total[start : self._size])
        return start

    def _reserve(self, count: int, like: Any) -> int:
        """Room for so many more rows like these; the number of the first."""
        start, end = self._size, self._size + count
        held = jax.tree.leaves(self.arrays)
        if not held or end > len(held[0]):
            capacity = max(self._capacity, 2 ** (end - 1).bit_length())
            fresh = [_aligned((capacity, *leaf.shape[1:]), leaf.dtype) for leaf in jax.tree.leaves(like)]
            for new, old in zip(fresh, held, strict=False):
                new[:start] = old[:start]
            self.arrays = jax.tree.unflatten(jax.tree.structure(like), fresh)
        self._size = end
        return start


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that JAX uses where it is. Memory that is not written to is not taken."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + _ALIGNED, np.uint8)
    start = -memory.ctypes.data % _ALIGNED
    return memory[start : start + size].view(dtype).reshape(shape)


def _sum(values: np.ndarray, rows: Int[np.ndarray, "r terms"], total: np.ndarray) -> None:
    """Sums of rows, some at a time, so that what has been summed is not fetched again for every term."""
    some = max(CLOSE_AT_HAND // max(values[:1].nbytes, 1), 1)
    for start in range(0, len(rows), some):
        numbers, part = rows[start : start + some], total[start : start + some]
        part[...] = values[numbers[:, 0]]
        for column in numbers.T[1:]:
            part += values[column]


def row(table: Any, number: Any) -> Any:
    """One row, whose number may be traced.

    Args:
        table: an array (rows, ...), or a tree of such arrays.
        number: of the row.
    """

    def of(values):
        # As a vector, which has one order in memory: of axes of length 1 XLA chooses others, and copies.
        flat = values.reshape(len(values), -1)
        return jax.lax.dynamic_index_in_dim(flat, number, keepdims=False).reshape(values.shape[1:])

    return jax.tree.map(of, table)


class Entered(Exception):
    """Leaves the reading of a network where its first cell begins."""

    def __init__(self, inputs: Sequence[Any], channels: int, name: str):
        """Takes the cell's inputs, channels and path."""
        super().__init__("the first cell")
        self.inputs, self.channels, self.name = inputs, channels, name


def first_cell(read: Any, space: SearchSpace, images: Any, skeleton: Skeleton) -> Entered:
    """Where the first cell of a network begins; what follows is not read.

    Args:
        read: the reading.
        space: the search space.
        images: of the reading's kind.
        skeleton: how cells are stacked.

    Raises:
        NotShared: where it reduces, or there is none.
    """

    def enter(read, space, name, weights, inputs, channels, *, reduce: bool = False):
        if reduce:
            raise NotShared("the first cell reduces")
        raise Entered(read.cell_inputs(inputs), channels, name)

    try:
        network(read, space, space.whole(), images, skeleton, enter)
    except Entered as entered:
        return entered
    raise NotShared("no cell")


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
