"""What can be chosen: decisions with options, and the arithmetic of their masks.

A mask, bool `(cells, edges, operators)`, is the architecture: it says which options of which decision are alive. A
supernet, a half-pruned network and a single architecture differ in nothing else. In a cell every edge is a decision, and
its options are operators (`cell_graph.py`); a network of stages may have a decision a block. What needs no graph is here.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.errors import InputError

Mask = Bool[np.ndarray, "cells edges ops"]
Choice = Int[np.ndarray, "cells edges"]
MOST_ENUMERATED = 1_000_000  # architectures that are gone through one by one
MOST_DRAWS = 1000  # of as many architectures as are wanted, to find enough that are valid


class Decision(NamedTuple):
    """Something that is decided.

    Attributes:
        name: for people.
        options: names of what it can be.
    """

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What is decided, and how.

    Attributes:
        name: the space's name, as in records.
        operators: names of the options, in the order of a mask's last axis. Of `decisions` they are all that any of them
            has, in the order in which they come.
        cells: names of the groups of decisions, in the order of a mask's first axis.
        decisions: what is decided, where it is not the operators of the edges of a cell; one group.
        validity: of single architectures (m, cells, edges, operators) whether each is one; None where all are.
        normal_form: of single architectures (m, cells, edges, operators) the same ones without what makes no difference, as
            they are drawn, scored and printed; None where everything does.
    """

    name: str
    operators: tuple[str, ...] = ()
    cells: tuple[str, ...] = ("cell",)
    decisions: tuple[Decision, ...] = ()
    validity: Callable[[Any, np.ndarray], np.ndarray] | None = None
    normal_form: Callable[[Any, np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        """Lists the options of all decisions."""
        if self.decisions:
            options = (option for decision in self.decisions for option in decision.options)
            object.__setattr__(self, "operators", tuple(dict.fromkeys(options)))
            object.__setattr__(self, "cells", ("network",))

    @property
    def mask_shape(self) -> tuple[int, int, int]:
        """(cells, edges, operators): groups, decisions in each, options."""
        return len(self.cells), len(self.decisions), len(self.operators)

    def alternatives(self) -> Mask:
        """The options that each decision has; not all have equally many."""
        return np.frombuffer(_alternatives(self.decisions, self.operators), bool).reshape(self.mask_shape).copy()

    def supernet(self) -> Mask:
        """Every option of every decision."""
        return self.alternatives()

    def whole(self) -> Mask:
        """All that a network may have weights for: every option, of a cell also what no single architecture holds."""
        return self.alternatives() if self.decisions else np.ones(self.mask_shape, bool)

    def eligible(self, mask: Mask) -> Mask:
        """What an architecture can choose of a mask.

        Args:
            mask: the options that are alive.
        """
        return mask & self.alternatives()

    def where(self, cell: int, edge: int) -> str:
        """A decision, for people.

        Args:
            cell: its group.
            edge: its number there.
        """
        return f"the decision {self.decisions[edge].name!r}" if self.decisions else f"edge {edge} of cell {cell}"

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
            held = "one operator an edge" if not self.decisions else "one option a decision"
            raise InputError(
                f"a single architecture has {held}; {self.where(cell, edge)} has "
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
            carry = "" if self.decisions else ' An edge that is to carry nothing keeps the operator "none".'
            kept = "an option of every decision" if self.decisions else "an operator on every edge"
            raise InputError(f"`mask` must keep {kept}; {self.where(cell, edge)} has none.{carry}")
        if not self.decisions:
            return
        for _, edge, operator in np.argwhere(mask & ~self.alternatives()).tolist():
            raise InputError(
                f"{self.where(0, edge)} of {self.name} has no option {self.operators[operator]!r}; it has "
                f"{', '.join(self.decisions[edge].options)}."
            )

    def valid(self, masks: Bool[np.ndarray, "m cells edges ops"]) -> Bool[np.ndarray, " m"]:
        """Which single architectures are of this space; all, unless it has a `validity`.

        Args:
            masks: (m, cells, edges, operators).
        """
        return np.ones(len(masks), bool) if self.validity is None else np.asarray(self.validity(self, masks), bool)

    def normal(self, masks: Bool[np.ndarray, "m cells edges ops"]) -> Bool[np.ndarray, "m cells edges ops"]:
        """Single architectures without what makes no difference in them: themselves, unless there is a `normal_form`.

        Args:
            masks: (m, cells, edges, operators).
        """
        return masks if self.normal_form is None else self.normal_form(self, masks)

    def connected(self, masks: Bool[np.ndarray, "m cells edges ops"]) -> Bool[np.ndarray, " m"]:
        """Whether the input reaches the output; where there are no cells, which single architectures are valid.

        Args:
            masks: (m, cells, edges, operators).
        """
        found, single = np.ones(len(masks), bool), (masks.sum(-1) == 1).all((-2, -1))
        if self.validity is not None:
            found[single] = self.valid(masks[single])
        return found

    # How many architectures there are, and which is which.

    def _decided(self) -> list[list[Choice]]:
        """What is decided in each group, one after another: the options of each, as operator numbers of all edges.

        -1 leaves an edge to another decision.
        """
        return [
            [np.where(np.arange(self.mask_shape[1]) == edge, option, -1) for option in np.flatnonzero(alive)]
            for edge, alive in enumerate(self.alternatives()[0])
        ]

    @property
    def size(self) -> int:
        """How many single architectures there are, those counted too that `validity` says are none."""
        return math.prod(int(count) for count in self.alternatives().sum(-1).ravel())

    @property
    def is_enumerable(self) -> bool:
        """Whether the space is small enough to go through."""
        return self.size <= MOST_ENUMERATED

    def numbered(self, numbers: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n cells edges"]:
        """Architectures by their number in the order of `enumerate`; the last decision changes fastest.

        Args:
            numbers: from 0, below `size`, which must fit into 64 bits; those that are not valid have one too.

        Returns:
            Operator numbers (n, cells, edges).
        """
        tables = [np.stack(options) for options in self._decided()]
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
        masks = self.one_hot(self.numbered(np.arange(self.size)))
        return masks if self.validity is None else masks[self.valid(masks)]

    @property
    def neighbours(self) -> int:
        """How many architectures are one change away: another option of one decision."""
        return int((self.alternatives().sum(-1) - 1).sum())

    def drawn(self, rng: np.random.Generator, n: int) -> Int[np.ndarray, "n cells edges"]:
        """Random single architectures in normal form; before it, all valid ones are equally likely.

        Args:
            rng: decides which.
            n: how many.

        Returns:
            Operator numbers (n, cells, edges).

        Raises:
            InputError: where hardly one is valid.
        """
        found = [np.zeros((0, *self.mask_shape[:2]), int)]
        for _ in range(MOST_DRAWS):
            columns = [
                rng.choice(np.flatnonzero(row), n) for row in self.alternatives().reshape(-1, len(self.operators))
            ]
            choice = np.stack(columns, axis=1).reshape(n, *self.mask_shape[:2])
            masks = self.one_hot(choice)
            found.append(self.normal(masks[self.valid(masks)]).argmax(-1))
            if sum(map(len, found)) >= n:
                return np.concatenate(found)[:n]
        raise InputError(
            f"hardly an architecture of {self.name} is valid: {n} were not found in {MOST_DRAWS * n} draws."
        )


@lru_cache
def _alternatives(decisions: tuple[Decision, ...], operators: tuple[str, ...]) -> bytes:
    """As bytes, which nobody can change; asked for every mask that is checked."""
    return np.array([[option in decision.options for option in operators] for decision in decisions]).tobytes()


def check_decisions(decisions: Any) -> None:
    """Refuses what are no decisions.

    Args:
        decisions: what should be a tuple of `Decision`s.

    Raises:
        InputError: for another type, equal or ill-formed names, or a decision without options.
    """
    if not isinstance(decisions, tuple) or not all(isinstance(decision, Decision) for decision in decisions):
        raise InputError(f"`decisions` of a search space must be a tuple of `Decision`s; it is {decisions!r}.")
    for decision in decisions:
        good = isinstance(decision.options, tuple) and all(
            isinstance(option, str) and re.fullmatch(r"\w+", option) for option in decision.options
        )
        if not good or not decision.options or len(set(decision.options)) < len(decision.options):
            raise InputError(
                f"the options of {decision.name!r} must be different names of letters, digits and _, as a tuple; they are "
                f"{decision.options!r}."
            )
        if "none" in decision.options:
            raise InputError(f'the option "none" of {decision.name!r} is an operator of cells; choose another name.')
    names = [decision.name for decision in decisions]
    if len(set(names)) < len(names) or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"decisions must have different names; they are {names!r}.")
