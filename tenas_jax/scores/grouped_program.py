"""Many small evaluations of one kind at a time.

What is done to a small array takes a processor less time than to begin with it. Where many arrays have the same done to
them, it is done to a group of them at once, by one program for groups of one size: the last places of a group may be idle.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from tenas_jax.scores.mask_program import MaskProgram, put

IDLE = -1  # a place that nobody asked for


class GroupedProgram(MaskProgram):
    """A `MaskProgram` whose requests are a kind and rows of a table, evaluated in groups of one kind.

    Attributes:
        size: of a group.
    """

    def __init__(self, function: Callable[..., Any], size: int, name: str | None = None, *, chunk: int | None = None):
        """Takes `function(kind, rows, *arguments)`, which returns an array or a tree of arrays.

        The name is that of a `MaskProgram`; a call takes `chunk` groups. Idle places ask for rows 0.
        """

        def together(request, *arguments):
            if size == 1:  # a program of one reads rows where they are; of several it gathers them first
                return jax.tree.map(lambda leaf: leaf[None], function(request[0, 0], request[0, 1:], *arguments))
            return jax.vmap(lambda rows: function(request[0, 0], rows, *arguments))(request[:, 1:])

        super().__init__(together, name, chunk=chunk, many=True)
        self.size = size

    def __call__(self, requests: Int[np.ndarray, "m fields"], *arguments: Any) -> Any:
        """Evaluates requests with the same further arguments.

        Args:
            requests: kinds and rows.
            *arguments: arrays that all of them share.

        Returns:
            As `MaskProgram`, in the order of the requests. No value depends on which others are in its group.
        """
        groups, places = grouped(requests, self.size)
        results = super().__call__(groups, *arguments)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[places], results)

    def fill(self, rows: Any, requests: Int[np.ndarray, "m fields"], /, *arguments: Any) -> None:
        """As `MaskProgram.fill`: the rows are those of the requests."""
        groups, places = grouped(requests, self.size)
        asked = np.full(len(groups) * self.size, IDLE)
        asked[places] = np.arange(len(requests))
        asked = asked.reshape(len(groups), self.size)

        def put_alive(part: slice, results: Any) -> None:
            alive = asked[part] != IDLE
            put(rows, asked[part][alive], jax.tree.map(lambda found: found[alive], results))

        self._evaluated(groups, arguments, put_alive)


def grouped(
    requests: Int[np.ndarray, "m fields"], size: int
) -> tuple[Int[np.ndarray, "groups size fields"], Int[np.ndarray, " m"]]:
    """Puts requests of one kind together.

    Args:
        requests: kinds and rows.
        size: of a group.

    Returns:
        Groups, with rows 0 where they are idle; and by request its place among all places of groups.
    """
    kinds, counts = np.unique(requests[:, 0], return_counts=True)
    groups = -(-counts // size)
    starts = size * (np.cumsum(groups) - groups)
    places = np.empty(len(requests), np.int64)
    places[np.argsort(requests[:, 0], kind="stable")] = np.concatenate(
        [start + np.arange(count) for start, count in zip(starts, counts, strict=True)]
    )
    filled = np.zeros((size * groups.sum(), requests.shape[1]), np.int32)
    filled[:, 0] = np.repeat(kinds, size * groups)
    filled[places] = requests
    return filled.reshape(-1, size, requests.shape[1]), places
