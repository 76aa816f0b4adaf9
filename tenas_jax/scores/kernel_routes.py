"""Which kernels the first cells of some architectures are made of, as numbers, before any kernel is computed.

A node's field is a sum of linear maps of independent sources and of what fresh weights add (`gaussian_maps.py`). What fresh
weights add depends on nothing but their operator and the kernel of the node that they leave. So kernels, sources and terms
are numbered by what they are made of, and all that are made of the same are one. Nothing here depends on images or weights.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tenas_jax.spaces.space import SearchSpace

Rows = Int[np.ndarray, "r terms"]
ZERO, IDENTITY = 0, 1  # of maps; row 0 of kernels is zero, too
_LATEST = np.uint64(2**64 - 1)


class Operators(NamedTuple):
    """What the operators of a cell do to a field.

    Attributes:
        linear: by operator its linear part at every place where the cell is stacked; zero where there is none.
        fresh: by operator whether it adds something with weights of its own.
    """

    linear: list[list[Float[np.ndarray, "p p"]]]
    fresh: list[bool]


class Step(NamedTuple):
    """What one node adds to a table of kernels, in this order.

    Attributes:
        terms: (k, 2) operator, and the row of the kernel that it is applied to.
        sources: (s, terms) rows whose sums are sources.
        pieces: (k, 2) number of a map, and the row of the source that it is applied to.
        kernels: (r, terms) rows whose sums are kernels of the node.
    """

    terms: Int[np.ndarray, "k 2"]
    sources: Rows
    pieces: Int[np.ndarray, "k 2"]
    kernels: Rows


class Routes(NamedTuple):
    """How a table of kernels is filled, and which of its rows architectures refer to.

    Attributes:
        steps: by node. The table begins with zero and the inputs.
        maps: by place where the cell is stacked, and by number.
        sums: (m, nodes that are no inputs, terms) which rows a node is the sum of; zeros come last.
        rows: of the table.
    """

    steps: list[Step]
    maps: list[Float[np.ndarray, "k p p"]]
    sums: Int[np.ndarray, "m nodes terms"]
    rows: int


def routes(space: SearchSpace, operators: Operators, choice: Int[np.ndarray, "m edges"]) -> Routes:
    """Plans the kernels of some architectures.

    Args:
        space: the search space.
        operators: of its cell.
        choice: operators of the first cell's edges.
    """
    return _Planner(space, operators, choice).plan()


class _Numbers:
    """Numbers of things, one for all that are made of the same, with keys that depend on nothing else that is numbered."""

    def __init__(self, first: int, keys: list[np.uint64]):
        self.known: dict[tuple[int, ...], int] = {}
        self._first, self._keys = first, keys

    def of(self, things: Int[np.ndarray, "k fields"], parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of some things, and those among them that are new; `parts` are what their keys are made of."""
        distinct, index, place = np.unique(things, axis=0, return_index=True, return_inverse=True)
        numbers, fresh = np.zeros(len(distinct), np.int64), []
        for at, thing in enumerate(map(tuple, distinct.tolist())):
            if thing not in self.known:
                self.known[thing] = len(self._keys)
                self._keys.append(_key(*(part[index[at]] for part in parts)))
                fresh.append(thing)
            numbers[at] = self.known[thing]
        return numbers[place.ravel()], np.array(fresh, np.int32).reshape(-1, things.shape[1])


def _key(*parts) -> np.uint64:
    text = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1)


class _Planner:
    def __init__(self, space: SearchSpace, operators: Operators, choice):
        self._space, self._operators, self._choice = space, operators, choice
        places = range(len(operators.linear[0]))
        sizes = [len(operators.linear[0][place]) for place in places]
        # Matrices at all places at once: cells are equal where their maps are equal at every one of them.
        self._maps = [[np.zeros((size, size)) for size in sizes], [np.eye(size) for size in sizes]]
        self._map_numbers = {_content(one): number for number, one in enumerate(self._maps)}
        self._keys = [_LATEST, *(_key(np.array([number])) for number in range(space.inputs))]
        self._terms, self._sums, self._pieces = (_Numbers(0, self._keys) for _ in range(3))
        m, numbers = len(choice), space.nodes - 1
        self._forms = np.zeros((space.nodes, m, numbers), np.int64)  # maps of sources, by node
        self._sources = np.zeros((m, numbers), np.int64)  # rows of the sources
        self._kernels = np.zeros((m, space.nodes), np.int64)  # rows of the nodes' kernels
        for number in range(space.inputs):
            self._forms[number, :, number] = IDENTITY
            self._sources[:, number] = self._kernels[:, number] = 1 + number

    def plan(self) -> Routes:
        space, steps, sums = self._space, [], []
        for node in space.inner_nodes:
            entering = space.entering(node)
            left = [space.edges[edge][0] for edge in entering]
            terms, made = self._fresh(entering, left)
            step, kernel = self._node(node, terms, self._linear(node, entering, left), made)
            steps.append(step)
            sums.append(kernel)
        widest = max(kernel.shape[1] for kernel in sums)
        padded = np.stack([np.pad(kernel, ((0, 0), (0, widest - kernel.shape[1]))) for kernel in sums], 1)
        return Routes(
            steps, [np.stack(of_place) for of_place in zip(*self._maps, strict=True)], padded, len(self._keys)
        )

    def _fresh(self, entering, left):
        """Rows of what fresh weights add on every edge (m, edges), and the terms that are new."""
        things = np.stack([self._choice[:, entering], self._kernels[:, left]], -1).reshape(-1, 2)
        adds = np.array(self._operators.fresh)[things[:, 0]] & (things[:, 1] > 0)
        rows = np.zeros(len(things), np.int64)
        keys = np.array(self._keys)
        rows[adds], made = self._terms.of(things[adds], [things[adds][:, 0], keys[things[adds][:, 1]]])
        return self._ordered(rows.reshape(-1, len(entering))), made

    def _linear(self, node, entering, left) -> np.ndarray:
        """Maps of the node's field (m, sources): sums over edges of an operator's map behind that of the node it leaves."""
        applied = np.stack([self._forms[source] for source in left], -1)  # (m, sources, edges)
        chosen = np.broadcast_to(self._choice[:, None, entering], applied.shape)
        things = np.stack([chosen, applied], -1).reshape(-1, 2 * len(entering))
        distinct, place = np.unique(things, axis=0, return_inverse=True)
        numbers = np.array([self._map(thing.reshape(-1, 2)) for thing in distinct])
        return numbers[place.ravel()].reshape(applied.shape[:2])

    def _map(self, summands) -> int:
        total = [matrix.copy() for matrix in self._maps[ZERO]]
        for operator, number in summands.tolist():
            if number != ZERO:
                for place, matrix in enumerate(self._operators.linear[operator]):
                    total[place] += matrix @ self._maps[number][place]
        content = _content(total)
        if content not in self._map_numbers:
            self._map_numbers[content] = len(self._maps)
            self._maps.append(total)
        return self._map_numbers[content]

    def _node(self, node, terms, form, made) -> tuple[Step, np.ndarray]:
        """One node's step, and the rows that its kernel is the sum of."""
        last = node == self._space.nodes - 1
        sources = np.zeros((0, terms.shape[1]), np.int32)
        if not last:
            self._sources[:, node], sources = self._one(terms)
        mapped = np.where(form == IDENTITY, self._sources, 0)
        other = form > IDENTITY
        things = np.stack([form[other], self._sources[other]], 1)
        contents = np.array([_key(*one) for one in self._maps])[things[:, 0]]
        mapped[other], pieces = self._pieces.of(things, [contents, np.array(self._keys)[things[:, 1]]])
        rows = self._ordered(np.concatenate([mapped, terms], 1))
        if last:
            return Step(made, sources, pieces, np.zeros((0, rows.shape[1]), np.int32)), rows
        self._kernels[:, node], kernels = self._one(rows)
        self._forms[node] = form
        self._forms[node, :, node] = np.where(self._sources[:, node] > 0, IDENTITY, ZERO)
        return Step(made, sources, pieces, kernels), self._kernels[:, node, None]

    def _one(self, rows) -> tuple[np.ndarray, np.ndarray]:
        """One row for each sum of rows, and the sums that are new: those of more than one."""
        several = rows[:, 1:].any(1)
        of = rows[:, 0].copy()
        padded = np.pad(rows[several], ((0, 0), (0, self._width - rows.shape[1])))
        of[several], made = self._sums.of(padded, [np.array(self._keys)[padded]])
        return of, made

    @property
    def _width(self) -> int:
        return self._space.nodes - 1 + len(self._space.edges)

    def _ordered(self, rows) -> np.ndarray:
        """By what they are made of, so that a sum's roundings depend on nothing else at hand; zeros last."""
        order = np.argsort(np.array(self._keys)[rows], axis=1, kind="stable")
        return np.take_along_axis(rows, order, 1)


def _content(matrices: Sequence[np.ndarray]) -> bytes:
    return b"".join((matrix + 0.0).tobytes() for matrix in matrices)  # no negative zeros
