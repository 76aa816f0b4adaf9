"""Cells as graphs whose edges choose among operators, and the arithmetic of their masks.

A mask, bool `(cells, edges, operators)`, is the architecture: it says which operators are alive on which edge. A supernet,
a half-pruned network and a single architecture differ in nothing else.

Whatever has to be known of "none", of the edges that enter a node, or of how many of them an architecture keeps, is asked
here.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.errors import InputError
from tenas_jax.spaces.operators import OPERATORS, Operator

Mask = Bool[np.ndarray, "cells edges ops"]
Choice = Int[np.ndarray, "cells edges"]
NONE = "none"
MOST_ENUMERATED = 1_000_000  # architectures that are gone through one by one


@dataclass(frozen=True, kw_only=True)
class CellGraph:
    """Cells, their edges and operators.

    Attributes:
        name: the space's name, as in records.
        operators: names in the order of a mask's last axis; "none" is an operator like any other.
        cells: kinds of cells, in the order of a mask's first axis.
        inputs: how many nodes are inputs of a cell; they are the first nodes.
        edges: (source node, target node), in the order of a mask's middle axis, sorted by target; see `complete_edges`.
        kept_edges: how many input edges a node of a final architecture has; None for all. The others hold "none".
        definitions: operators that are not in `operators.OPERATORS`, by name.
    """

    name: str
    operators: tuple[str, ...]
    cells: tuple[str, ...] = ("cell",)
    inputs: int = 1
    edges: tuple[tuple[int, int], ...]
    kept_edges: int | None = None
    definitions: Mapping[str, Operator] = field(default_factory=dict, hash=False)

    def operator(self, name: str) -> Operator:
        """What an operator does, see `operators.Operator`.

        Args:
            name: one of `operators`.
        """
        return self.definitions[name] if name in self.definitions else OPERATORS[name]

    @property
    def mask_shape(self) -> tuple[int, int, int]:
        """(cells, edges, operators)."""
        return len(self.cells), len(self.edges), len(self.operators)

    @property
    def nodes(self) -> int:
        """Number of nodes of a cell, inputs included."""
        return max(target for _, target in self.edges) + 1

    @property
    def inner_nodes(self) -> range:
        """The nodes that are no inputs."""
        return range(self.inputs, self.nodes)

    @property
    def output_nodes(self) -> list[int]:
        """The nodes that make a cell's output: the last, or with several inputs, as in DARTS, all inner ones."""
        return [self.nodes - 1] if self.inputs == 1 else list(self.inner_nodes)

    @property
    def none(self) -> int:
        """The number of the operator "none"; -1 where there is none."""
        return self.operators.index(NONE) if NONE in self.operators else -1

    @property
    def carriers(self) -> Int[np.ndarray, " c"]:
        """The numbers of the operators that carry a signal: all but "none"."""
        return np.flatnonzero([operator != NONE for operator in self.operators])

    @property
    def chooses_inputs(self) -> bool:
        """Whether a node of a final architecture keeps some of its input edges only (DARTS)."""
        return self.kept_edges is not None

    def entering(self, node: int) -> list[int]:
        """The edges that enter a node.

        Args:
            node: its number.
        """
        return [edge for edge, (_, target) in enumerate(self.edges) if target == node]

    def kept(self, node: int) -> int:
        """How many of the edges that enter a node carry something in a final architecture, where nodes choose their inputs.

        Args:
            node: its number.
        """
        entering = len(self.entering(node))
        return entering if self.kept_edges is None else min(self.kept_edges, entering)

    def carries(self, mask: Bool[np.ndarray, "*m cells edges ops"]) -> Bool[np.ndarray, "*m cells edges"]:
        """Which edges have an operator alive that carries a signal.

        Args:
            mask: bool (..., cells, edges, operators).
        """
        return np.any(mask[..., self.carriers], axis=-1)

    def supernet(self) -> Mask:
        """Every operator on every edge, except "none" (as TE-NAS starts)."""
        alive = np.isin(np.arange(len(self.operators)), self.carriers)
        return np.broadcast_to(alive, self.mask_shape).copy()

    def alternatives(self) -> Mask:
        """The operators that an edge can hold: all, or all but "none" where a node chooses its inputs."""
        return self.supernet() if self.chooses_inputs else np.ones(self.mask_shape, bool)

    def eligible(self, mask: Mask) -> Mask:
        """What an architecture can choose of a mask; where a node chooses its inputs, "none" says that an edge is dropped.

        Args:
            mask: the operators that are alive.
        """
        return mask & self.alternatives()

    def one_hot(self, choice: np.ndarray) -> np.ndarray:
        """Masks of single architectures.

        Args:
            choice: operator numbers (..., cells, edges).

        Returns:
            bool (..., cells, edges, operators).
        """
        return np.eye(len(self.operators), dtype=bool)[choice]

    def choice(self, mask: Mask) -> Choice:
        """Operator numbers (cells, edges) of a single architecture.

        Args:
            mask: bool (cells, edges, operators) with one operator an edge.

        Raises:
            InputError: where an edge has several operators, or none.
        """
        self.check(mask)
        return self.choices(mask[None])[0]

    def choices(self, masks: Bool[np.ndarray, "m cells edges ops"]) -> Int[np.ndarray, "m cells edges"]:
        """`choice` of many masks of this space.

        Args:
            masks: (m, cells, edges, operators), something alive on every edge.

        Raises:
            InputError: where an edge has several operators.
        """
        crowded = np.argwhere(masks.sum(-1) > 1)
        if len(crowded):
            number, cell, edge = crowded[0]
            raise InputError(
                f"a single architecture has one operator an edge; edge {edge} of cell {cell} has "
                f"{int(masks[number, cell, edge].sum())}. Prune the mask before it is printed."
            )
        return masks.argmax(-1)

    def check(self, mask: Mask) -> None:
        """Refuses what is not a mask of this space.

        Args:
            mask: what should be bool (cells, edges, operators).

        Raises:
            InputError: for another type, shape or dtype, or an edge with nothing alive.
        """
        if not isinstance(mask, np.ndarray) or mask.shape != self.mask_shape or mask.dtype != bool:
            what = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else f"a {type(mask).__name__}"
            raise InputError(
                f"`mask` must be a NumPy array, bool {self.mask_shape} (cells, edges, operators) for {self.name}; "
                f"it is {what}. Start from `supernet()` or `parse(...)`."
            )
        empty = np.argwhere(~mask.any(-1))
        if len(empty):
            cell, edge = empty[0]
            raise InputError(
                f"`mask` must keep an operator on every edge; edge {edge} of cell {cell} has none. "
                'An edge that is to carry nothing keeps the operator "none".'
            )

    def is_connected(self, mask: Mask) -> bool:
        """Whether in every cell some path of operators other than "none" leads from an input to the output.

        The output is the last node; where nodes are concatenated (DARTS), any node but the inputs will do.

        Args:
            mask: bool (cells, edges, operators).

        Raises:
            InputError: where it is no mask of this space.
        """
        self.check(mask)
        return bool(self.connected(mask[None])[0])

    def connected(self, masks: Bool[np.ndarray, "m cells edges ops"]) -> Bool[np.ndarray, " m"]:
        """`is_connected` of many masks.

        Args:
            masks: (m, cells, edges, operators).
        """
        carries = self.carries(masks)
        reached = np.zeros((*carries.shape[:2], self.nodes), bool)
        reached[..., : self.inputs] = True
        for edge, (source, target) in enumerate(self.edges):
            reached[..., target] |= carries[..., edge] & reached[..., source]
        return np.asarray(reached[..., self.output_nodes].any(-1).all(-1))

    # How many architectures there are, and which is which.

    def _decisions(self) -> list[list[Int[np.ndarray, " edges"]]]:
        """What has to be decided in a cell, one after another: the options of each, as operator numbers of all edges.

        An edge's operator or, where a node chooses its inputs, the operators of all edges that enter it; -1 leaves an edge
        to another decision.
        """

        def option(edges, none, kept, operators):
            choice = np.full(len(self.edges), -1)
            choice[list(edges)] = none
            choice[list(kept)] = operators
            return choice

        if not self.chooses_inputs:
            return [[option([], 0, [e], o) for o in range(len(self.operators))] for e in range(len(self.edges))]
        return [
            [
                option(self.entering(node), self.none, kept, operators)
                for kept in itertools.combinations(self.entering(node), self.kept(node))
                for operators in itertools.product(self.carriers, repeat=self.kept(node))
            ]
            for node in self.inner_nodes
        ]

    @property
    def size(self) -> int:
        """How many single architectures there are."""
        if not self.chooses_inputs:
            return len(self.operators) ** (len(self.cells) * len(self.edges))
        inputs = math.prod(math.comb(len(self.entering(node)), self.kept(node)) for node in self.inner_nodes)
        operators = len(self.carriers) ** sum(map(self.kept, self.inner_nodes))
        return (inputs * operators) ** len(self.cells)

    @property
    def is_enumerable(self) -> bool:
        """Whether the space is small enough to go through."""
        return self.size <= MOST_ENUMERATED

    def numbered(self, numbers: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n cells edges"]:
        """Architectures by their number in the order of `enumerate`; the last decision changes fastest.

        Args:
            numbers: from 0, below `size`, which must fit into 64 bits.

        Returns:
            Operator numbers (n, cells, edges).
        """
        tables = [np.stack(options) for options in self._decisions()]
        digits = np.unravel_index(numbers, [len(table) for table in tables] * len(self.cells))
        cells = []
        for cell in range(len(self.cells)):
            chosen = digits[cell * len(tables) : (cell + 1) * len(tables)]
            cells.append(np.max([table[digit] for table, digit in zip(tables, chosen, strict=True)], axis=0))
        return np.stack(cells, axis=1)

    def enumerate(self) -> Iterator[Mask]:
        """All single architectures; the last decision, on most spaces the last edge's operator, changes fastest.

        Raises:
            InputError: for a space of more than a million.
        """
        yield from self.enumerated()

    def enumerated(self) -> Bool[np.ndarray, "m cells edges ops"]:
        """What `enumerate` yields, in one array.

        Raises:
            InputError: as `enumerate`.
        """
        if not self.is_enumerable:
            raise InputError(f"{self.name} is too large to enumerate; draw architectures with `sample(key, n)`.")
        return self.one_hot(self.numbered(np.arange(self.size)))

    @property
    def neighbours(self) -> int:
        """How many architectures are one change away: another operator on an edge or, where nodes choose, another input."""
        if not self.chooses_inputs:
            return len(self.cells) * len(self.edges) * (len(self.operators) - 1)
        changes = 0
        for node in self.inner_nodes:
            kept, left_out = self.kept(node), len(self.entering(node)) - self.kept(node)
            changes += kept * (len(self.carriers) - 1) + kept * left_out
        return len(self.cells) * changes


def complete_edges(inputs: int, nodes: int) -> tuple[tuple[int, int], ...]:
    """An edge from every node to every later one that is no input, sorted by target.

    Args:
        inputs: how many of the nodes are inputs.
        nodes: how many nodes, inputs included.

    Returns:
        (source, target) pairs.

    Examples:
        >>> complete_edges(1, 3)
        ((0, 1), (0, 2), (1, 2))
        >>> len(complete_edges(2, 6))  # of a cell of DARTS
        14
    """
    return tuple((source, target) for target in range(inputs, nodes) for source in range(target))
