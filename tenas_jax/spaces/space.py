"""Search spaces as data: operators, edges, masks, and architectures as strings.

A mask, bool `(cells, edges, operators)`, is the architecture: it says which operators are alive on which edge. A
supernet, a half-pruned network and a single architecture differ in nothing else.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Key

from tenas_jax.errors import InputError
from tenas_jax.spaces import strings as genotypes
from tenas_jax.spaces.operators import OPERATORS, Operator
from tenas_jax.spaces.references import Source, find_source
from tenas_jax.spaces.skeleton import SKELETONS, Family, Purpose, Skeleton
from tenas_jax.spaces.validation import check_definition

Mask = Bool[np.ndarray, "cells edges ops"]


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Cells as graphs whose edges choose among operators.

    Attributes:
        name: the space's name, as in records.
        operators: names in the order of a mask's last axis; "none" is an operator like any other.
        cells: kinds of cells, in the order of a mask's first axis.
        inputs: how many nodes are inputs of a cell; they are the first nodes.
        edges: (source node, target node), in the order of a mask's middle axis, sorted by target; see `complete_edges`.
        kept_edges: how many input edges a node of a final architecture has; None for all. The others hold "none".
        definitions: operators that are not in `operators.OPERATORS`, by name.
        network: how cells are stacked, `network(read, space, weights, images, skeleton, cell)`, see
            `stacking.nas_bench_201`; None: NAS-Bench-201's network for one input and DARTS's for two.
        skeletons: sizes of networks by purpose, where they are not those of `skeleton.SKELETONS`.
        formatter: architecture, as operator numbers (cells, edges), to string.
        parser: string to operator numbers.
        source: where `find_space` found the space.

    Raises:
        InputError: for a definition that is no search space; the sentence says why.
    """

    name: str
    operators: tuple[str, ...]
    cells: tuple[str, ...] = ("cell",)
    inputs: int = 1
    edges: tuple[tuple[int, int], ...]
    kept_edges: int | None = None
    definitions: Mapping[str, Operator] = field(default_factory=dict, hash=False)
    network: Callable[..., Any] | None = None
    skeletons: Mapping[Purpose, Skeleton] = field(default_factory=dict, hash=False)
    formatter: Callable[["SearchSpace", np.ndarray], str] = genotypes.format_cells
    parser: Callable[["SearchSpace", str], np.ndarray] = genotypes.parse_cells
    source: Source | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuses what is no search space."""
        check_definition(self)

    def __reduce__(self):
        """A space that comes from a file travels as its text, since the functions in it could not be found elsewhere."""
        if self.source is not None:
            return _from_source, (self.source,)
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return _from_values, (values,)

    @property
    def family(self) -> Family:
        """Whose network, skeletons, scores and settings are taken where the space has none of its own: by its inputs."""
        return "nasbench201" if self.inputs == 1 else "darts"

    @property
    def is_own(self) -> bool:
        """Whether something of the space's own decides what its networks compute."""
        return bool(self.definitions) or self.network is not None

    def skeleton(self, purpose: Purpose) -> Skeleton:
        """How cells are stacked.

        Args:
            purpose: for the NTK, for linear regions, or as the network is trained.
        """
        return self.skeletons.get(purpose, SKELETONS[self.family][purpose])

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
    def size(self) -> int:
        """How many single architectures there are with any operator on any edge."""
        return len(self.operators) ** (len(self.cells) * len(self.edges))

    def supernet(self) -> Mask:
        """Every operator on every edge, except "none" (as TE-NAS starts)."""
        alive = np.array([operator != "none" for operator in self.operators])
        return np.broadcast_to(alive, self.mask_shape).copy()

    def one_hot(self, choice: np.ndarray) -> Mask:
        """Masks of single architectures.

        Args:
            choice: operator numbers (..., cells, edges).

        Returns:
            bool (..., cells, edges, operators).
        """
        return np.eye(len(self.operators), dtype=bool)[choice]

    def choice(self, mask: Mask) -> np.ndarray:
        """Operator numbers (cells, edges) of a single architecture.

        Args:
            mask: bool (cells, edges, operators) with one operator an edge.

        Raises:
            InputError: where an edge has several operators, or none.
        """
        self.check(mask)
        crowded = np.argwhere(mask.sum(-1) > 1)
        if len(crowded):
            cell, edge = crowded[0]
            raise InputError(
                f"a single architecture has one operator an edge; edge {edge} of cell {cell} has "
                f"{int(mask[cell, edge].sum())}. Prune the mask before it is printed."
            )
        return mask.argmax(-1)

    def check(self, mask: Mask) -> None:
        """Refuses what is not a mask of this space.

        Args:
            mask: what should be bool (cells, edges, operators).

        Raises:
            InputError: for another shape or dtype, or an edge with nothing alive.
        """
        mask = np.asarray(mask)
        if mask.shape != self.mask_shape or mask.dtype != bool:
            raise InputError(
                f"`mask` must be bool {self.mask_shape} (cells, edges, operators) for {self.name}; "
                f"it is {mask.dtype} {mask.shape}. Start from `supernet()` or `parse(...)`."
            )
        empty = np.argwhere(~mask.any(-1))
        if len(empty):
            cell, edge = empty[0]
            raise InputError(
                f"`mask` must keep an operator on every edge; edge {edge} of cell {cell} has none. "
                'An edge that is to carry nothing keeps the operator "none".'
            )

    def format(self, mask: Mask) -> str:
        """The architecture string of a mask with one operator an edge.

        Args:
            mask: bool (cells, edges, operators).

        Raises:
            InputError: where the mask is not a single architecture.

        Examples:
            >>> NAS_BENCH_201.format(NAS_BENCH_201.one_hot(np.array([[3, 1, 0, 0, 2, 0]])))
            '|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|nor_conv_1x1~1|none~2|'
        """
        return self.formatter(self, self.choice(mask))

    def parse(self, architecture: str) -> Mask:
        """The mask of an architecture string.

        Args:
            architecture: as `format` prints it; for DARTS also as JSON.

        Raises:
            InputError: for text of another form, a wrong operator, node or count.

        Examples:
            >>> mask = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|nor_conv_1x1~1|none~2|")
            >>> mask.shape, NAS_BENCH_201.choice(mask).tolist()
            ((1, 6, 5), [[3, 1, 0, 0, 2, 0]])
        """
        return self.one_hot(self.parser(self, architecture))

    def sample(self, key: Key[Array, ""], n: int) -> Bool[np.ndarray, "n cells edges ops"]:
        """Random single architectures, all equally likely.

        Args:
            key: a JAX key.
            n: how many.

        Examples:
            >>> import jax
            >>> masks = NAS_BENCH_201.sample(jax.random.key(0), 10)
            >>> masks.shape, masks.sum(-1).max().item()
            ((10, 1, 6, 5), 1)
        """
        rng = host_generator(key)
        choice = rng.integers(len(self.operators), size=(n, *self.mask_shape[:2]))
        if self.kept_edges is None:
            return self.one_hot(choice)
        none = self.operators.index("none")
        choice = rng.integers(len(self.operators) - 1, size=choice.shape)
        choice += choice >= none
        for target in range(self.inputs, self.nodes):
            entering = [e for e, (_, end) in enumerate(self.edges) if end == target]
            order = rng.permuted(np.broadcast_to(entering, (n, len(self.cells), len(entering))), axis=-1)
            np.put_along_axis(choice, order[..., self.kept_edges :], none, axis=-1)
        return self.one_hot(choice)

    def enumerate(self) -> Iterator[Mask]:
        """All single architectures; the last edge's operator changes fastest.

        Raises:
            InputError: where the space is too large to enumerate (over a million, or nodes that choose their input edges).
        """
        if self.kept_edges is not None or self.size > 1_000_000:
            raise InputError(f"{self.name} is too large to enumerate; draw architectures with `sample(key, n)`.")
        cells, edges, operators = self.mask_shape
        for choice in itertools.product(range(operators), repeat=cells * edges):
            yield self.one_hot(np.reshape(choice, (cells, edges)))

    def is_connected(self, mask: Mask) -> bool:
        """Whether in every cell some path of operators other than "none" leads from an input to the last node.

        Where nodes are concatenated (DARTS), any node but the inputs will do.

        Args:
            mask: bool (cells, edges, operators).
        """
        carrying = [number for number, operator in enumerate(self.operators) if operator != "none"]
        for cell in np.any(np.asarray(mask)[..., carrying], axis=-1):
            reached = set(range(self.inputs))
            for carries, (source, target) in zip(cell, self.edges, strict=True):
                if carries and source in reached:
                    reached.add(target)
            outputs = {self.nodes - 1} if self.inputs == 1 else set(range(self.inputs, self.nodes))
            if not reached & outputs:
                return False
        return True


def host_generator(key: Key[Array, ""]) -> np.random.Generator:
    """A NumPy generator that is a function of a JAX key.

    Args:
        key: a JAX key.
    """
    import jax

    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def complete_edges(inputs: int, nodes: int) -> tuple[tuple[int, int], ...]:
    """An edge from every node to every later one that is no input, sorted by target.

    Args:
        inputs: how many of the nodes are inputs.
        nodes: how many nodes, inputs included.

    Returns:
        (source, target) pairs.
    """
    return tuple((source, target) for target in range(inputs, nodes) for source in range(target))


def _from_values(values: dict[str, Any]) -> SearchSpace:
    return SearchSpace(**values)


def find_space(reference: str) -> SearchSpace:
    """A search space by its name, or one of somebody's own.

    Args:
        reference: one of `SPACES`, or `FILE.py:NAME` or `package.module:NAME`, where NAME is a `SearchSpace`.

    Raises:
        InputError: where there is no such space.
    """
    if reference in SPACES:
        return SPACES[reference]
    if ":" not in reference:
        raise InputError(
            f"the search space {reference!r} is unknown; choose one of {', '.join(SPACES)}, or FILE.py:NAME for your own."
        )
    return _from_source(find_source(reference))


def _from_source(source: Source) -> SearchSpace:
    space = source.load()
    if not isinstance(space, SearchSpace):
        raise InputError(f"{source.reference} is no SearchSpace; it is of the type {type(space).__name__}.")
    return replace(space, source=source)


def identity_of(space: SearchSpace) -> Any:
    """What decides a space, as JSON: the name of one of ours; of another one its definition and the hash of its code.

    Args:
        space: the search space.
    """
    if space in SPACES.values():
        return space.name
    return {
        "name": space.name,
        "operators": list(space.operators),
        "cells": list(space.cells),
        "inputs": space.inputs,
        "edges": [list(edge) for edge in space.edges],
        "kept_edges": space.kept_edges,
        "skeletons": {purpose: list(skeleton) for purpose, skeleton in space.skeletons.items()},
        "code_sha256": space.source and space.source.sha256(),
    }


NAS_BENCH_201 = SearchSpace(
    name="nasbench201",
    operators=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    cells=("cell",),
    inputs=1,
    edges=complete_edges(1, 4),
)

DARTS = SearchSpace(
    name="darts",
    operators=(
        "none",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
        "avg_pool_3x3",
        "max_pool_3x3",
    ),
    cells=("normal", "reduce"),
    inputs=2,
    edges=complete_edges(2, 6),
    kept_edges=2,
    formatter=genotypes.format_darts,
    parser=genotypes.parse_darts,
)

SPACES = {space.name: space for space in (NAS_BENCH_201, DARTS)}
