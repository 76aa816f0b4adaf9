"""Cells as graphs whose edges choose among operators: decisions (`decisions.py`) with nodes between them.

Decisions that are no edges of a cell are read as a chain, each an edge from what comes before it to what comes after:
whoever draws, counts or records edges finds them there.

Whatever has to be known of "none", of the edges that enter a node, or of how many of them an architecture keeps, is asked
here.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.spaces.decisions import Choice, Decisions, Mask
from tenas_jax.spaces.operators import OPERATORS, Operator

NONE = "none"


@dataclass(frozen=True, kw_only=True)
class CellGraph(Decisions):
    """Cells, their edges and operators; "none" is an operator like any other. The fields of `Decisions` come first.

    Attributes:
        inputs: how many nodes are inputs of a cell; they are the first nodes.
        edges: (source node, target node), in the order of a mask's middle axis, sorted by target; see `complete_edges`.
        kept_edges: how many input edges a node of a final architecture has; None for all. The others hold "none".
        definitions: operators that are not in `operators.OPERATORS`, by name.
    """

    inputs: int = 1
    edges: tuple[tuple[int, int], ...] = ()
    kept_edges: int | None = None
    definitions: Mapping[str, Operator] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Makes a chain of decisions that are no edges."""
        super().__post_init__()
        if self.decisions:
            object.__setattr__(self, "edges", tuple((n, n + 1) for n in range(len(self.decisions))))

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
        if self.decisions:
            return super().supernet()
        alive = np.isin(np.arange(len(self.operators)), self.carriers)
        return np.broadcast_to(alive, self.mask_shape).copy()

    def alternatives(self) -> Mask:
        """The operators that an edge can hold: all, or all but "none" where a node chooses its inputs."""
        if self.decisions:
            return super().alternatives()
        return self.supernet() if self.chooses_inputs else np.ones(self.mask_shape, bool)

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
        if self.decisions:
            return super().connected(masks)
        carries = self.carries(masks)
        reached = np.zeros((*carries.shape[:2], self.nodes), bool)
        reached[..., : self.inputs] = True
        for edge, (source, target) in enumerate(self.edges):
            reached[..., target] |= carries[..., edge] & reached[..., source]
        return np.asarray(reached[..., self.output_nodes].any(-1).all(-1))

    # How many architectures there are, and which is which, where nodes choose their inputs.

    def _decided(self) -> list[list[Choice]]:
        """An edge's operator or, where a node chooses its inputs, the operators of all edges that enter it."""
        if not self.chooses_inputs:
            return super()._decided()

        def option(edges, kept, operators):
            choice = np.full(len(self.edges), -1)
            choice[list(edges)] = self.none
            choice[list(kept)] = operators
            return choice

        return [
            [
                option(self.entering(node), kept, operators)
                for kept in itertools.combinations(self.entering(node), self.kept(node))
                for operators in itertools.product(self.carriers, repeat=self.kept(node))
            ]
            for node in self.inner_nodes
        ]

    @property
    def size(self) -> int:
        """How many single architectures there are."""
        if not self.chooses_inputs:
            return super().size
        inputs = math.prod(math.comb(len(self.entering(node)), self.kept(node)) for node in self.inner_nodes)
        operators = len(self.carriers) ** sum(map(self.kept, self.inner_nodes))
        return (inputs * operators) ** len(self.cells)

    @property
    def neighbours(self) -> int:
        """How many architectures are one change away: another operator on an edge or, where nodes choose, another input."""
        if not self.chooses_inputs:
            return super().neighbours
        changes = 0
        for node in self.inner_nodes:
            kept, left_out = self.kept(node), len(self.entering(node)) - self.kept(node)
            changes += kept * (len(self.carriers) - 1) + kept * left_out
        return len(self.cells) * changes

    def drawn(self, rng: np.random.Generator, n: int) -> Int[np.ndarray, "n cells edges"]:
        """As of any decisions; where a node chooses its inputs, any of them with equal chances."""
        if self.decisions:
            return super().drawn(rng, n)
        choice = rng.integers(len(self.operators), size=(n, *self.mask_shape[:2]))
        if not self.chooses_inputs:
            return choice
        choice = self.carriers[rng.integers(len(self.carriers), size=choice.shape)]
        for node in self.inner_nodes:
            entering = self.entering(node)
            order = rng.permuted(np.broadcast_to(entering, (n, len(self.cells), len(entering))), axis=-1)
            np.put_along_axis(choice, order[..., self.kept(node) :], self.none, axis=-1)
        return choice


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
