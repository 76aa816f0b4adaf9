"""Search spaces as data: cells, how they are stacked and scored, and architectures as strings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Key

from tenas_jax.errors import InputError
from tenas_jax.spaces import strings
from tenas_jax.spaces.cell_graph import CellGraph, Mask
from tenas_jax.spaces.chain import CHAIN
from tenas_jax.spaces.decisions import check_decisions
from tenas_jax.spaces.family import Family
from tenas_jax.spaces.references import Source
from tenas_jax.spaces.score import Score
from tenas_jax.spaces.single_input import SINGLE_INPUT
from tenas_jax.spaces.skeleton import Purpose, Skeleton
from tenas_jax.spaces.two_inputs import TWO_INPUTS
from tenas_jax.spaces.validation import check_cells, check_network

Masks = Bool[np.ndarray, "m cells edges ops"]


@dataclass(frozen=True, kw_only=True)
class SearchSpace(CellGraph):
    """What can be chosen, and the networks it is chosen for.

    The fields of a `CellGraph` say what a cell is, or `decisions` what else is decided.

    Attributes:
        network: how cells are stacked, `network(read, space, weights, images, skeleton, cell)`, see
            `single_input.nas_bench_201`; None: that of its family.
        skeletons: sizes of networks by purpose, where they are not those of its family.
        like: how cells are stacked and scored where the space says nothing else, see `family`.
        formatter: architecture, as operator numbers (cells, edges), to string; by default `strings.format_cells` or, of
            decisions, `strings.format_decisions`.
        parser: string to operator numbers; by default what reads the default strings.
        representatives: of masks (m, cells, edges, operators) of this space for each one that is equal to it, see
            `equal_cells`; None: what holds for any space.
        source: where `registry.find_space` found the space.

    Raises:
        InputError: for a definition that is no search space; the sentence says why.
    """

    network: Callable[..., Any] | None = None
    skeletons: Mapping[Purpose, Skeleton] = field(default_factory=dict, hash=False)
    like: Family | None = field(default=None, hash=False, repr=False)
    formatter: Callable[[CellGraph, np.ndarray], str] = strings.format_cells
    parser: Callable[[CellGraph, str], np.ndarray] = strings.parse_cells
    representatives: Callable[[CellGraph, Masks], Masks] | None = None
    source: Source | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuses what is no search space."""
        check_decisions(self.decisions)
        super().__post_init__()
        check_cells(self)
        check_network(self, self.network, self.skeletons)

    def __reduce__(self):
        """A space that comes from a file travels as its text, since the functions in it could not be found elsewhere."""
        if self.source is not None:
            return space_from, (self.source,)
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return _from_values, (values,)

    @property
    def family(self) -> Family:
        """How cells are stacked and scored: as it says, or as NAS-Bench-201's with one input and DARTS's with more."""
        if self.like is not None:
            return self.like
        return CHAIN if self.decisions else SINGLE_INPUT if self.inputs == 1 else TWO_INPUTS

    @property
    def output_nodes(self) -> list[int]:
        """The nodes that make a cell's output, as its family says: the last one, or all inner ones."""
        return list(self.inner_nodes) if self.family.concatenates else [self.nodes - 1]

    @property
    def is_custom(self) -> bool:
        """Whether custom operators or a custom network function decide what its networks compute."""
        return bool(self.definitions) or self.network is not None

    @property
    def writes_genotypes(self) -> bool:
        """Whether its architectures are printed as genotypes of DARTS."""
        return self.formatter is strings.format_darts

    def skeleton(self, purpose: Purpose) -> Skeleton:
        """How cells are stacked.

        Args:
            purpose: for the NTK, for linear regions, or as the network is trained.
        """
        return self.skeletons.get(purpose, self.family.skeletons[purpose])

    @property
    def scores(self) -> Mapping[str, Score]:
        """What its architectures can be scored by, by name; costs aside."""
        return self.family.scores(self.skeleton("ntk"), self.skeleton("regions"))

    def format(self, mask: Mask) -> str:
        """The architecture string of a mask with one operator an edge.

        Args:
            mask: bool (cells, edges, operators).

        Raises:
            InputError: where the mask is not a single architecture.

        Examples:
            >>> import numpy as np
            >>> from tenas_jax import NAS_BENCH_201
            >>> NAS_BENCH_201.format(NAS_BENCH_201.one_hot(np.array([[3, 1, 0, 0, 2, 0]])))
            '|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|nor_conv_1x1~1|none~2|'
        """
        return self.formatter(self, self.choice(mask))

    def formats(self, masks: Masks) -> list[str]:
        """`format` of many masks.

        Args:
            masks: (m, cells, edges, operators), something alive on every edge.

        Raises:
            InputError: as `format`.
        """
        return [self.formatter(self, choice) for choice in self.choices(masks)]

    def parse(self, architecture: str) -> Mask:
        """The mask of an architecture string.

        Args:
            architecture: as `format` prints it; for DARTS also as JSON.

        Raises:
            InputError: for text of another form, a wrong operator, node or count.

        Examples:
            >>> from tenas_jax import NAS_BENCH_201
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
            >>> from tenas_jax import NAS_BENCH_201
            >>> masks = NAS_BENCH_201.sample(jax.random.key(0), 10)
            >>> masks.shape, masks.sum(-1).max().item()
            ((10, 1, 6, 5), 1)
        """
        return self.one_hot(self.drawn(host_generator(key), n))


def host_generator(key: Key[Array, ""]) -> np.random.Generator:
    """A NumPy generator that is a function of a JAX key.

    Args:
        key: a JAX key.
    """
    import jax

    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _from_values(values: dict[str, Any]) -> SearchSpace:
    return SearchSpace(**values)


def space_from(source: Source) -> SearchSpace:
    """The space that a reference names.

    Args:
        source: the reference, with its text.

    Raises:
        InputError: where it names something else.
    """
    space = source.load()
    if not isinstance(space, SearchSpace):
        raise InputError(f"{source.reference} is no SearchSpace; it is of the type {type(space).__name__}.")
    return replace(space, source=source)
