"""Architectures that are one change apart, and means over them.

A change is another operator on an edge or, where a node chooses its inputs, another input with the same operator: what
`search.evolution.mutate` does.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from tenas_jax.spaces.cell_graph import CellGraph

Choices = Int[np.ndarray, "m cells edges"]
Rows = Int[np.ndarray, " p"]


def neighbour_mean(values: Float[np.ndarray, " m"], choices: Choices, space: CellGraph) -> Float[np.ndarray, " m"]:
    """The mean over all architectures that are one change away.

    A neighbour that is not among those at hand counts as the architecture itself, so that a mean over few says little.

    Args:
        values: finite, of distinct architectures.
        choices: their operators (m, cells, edges).
        space: the search space.

    Returns:
        (m,); the values themselves where the space has one architecture only.
    """
    values, neighbours = np.asarray(values, float), space.neighbours
    total, present = np.zeros(len(values)), np.zeros(len(values))
    for rows, groups in _groups(choices, space):
        # np.add.at: a row may stand in several groups of one kind of change.
        np.add.at(total, rows, np.bincount(groups, values[rows])[groups] - values[rows])
        np.add.at(present, rows, np.bincount(groups)[groups] - 1)
    alone = present == 0
    return np.where(alone, values, (total + (neighbours - present) * values) / max(neighbours, 1))


def smoothed(values: Float[np.ndarray, " m"], choices: Choices, space: CellGraph) -> Float[np.ndarray, " m"]:
    """Values, and the mean of those one change away: what rankings and evolutions go by.

    Scores of one network are noisy. Its neighbours share most of the cell, and their noise is their own.

    Args:
        values: as `neighbour_mean`.
        choices: as `neighbour_mean`.
        space: the search space.
    """
    return values + neighbour_mean(values, choices, space)


def _groups(choices: Choices, space: CellGraph) -> Iterator[tuple[Rows, Rows]]:
    """Rows of `choices` and a number for each; rows with one number are neighbours, by one kind of change."""
    flat, everyone = choices.reshape(len(choices), -1), np.arange(len(choices))
    for edge in range(flat.shape[1]):
        yield everyone, _numbered(np.delete(flat, edge, axis=1))
    if not space.chooses_inputs:
        return
    for cell in range(len(space.cells)):
        for node in space.inner_nodes:
            rows, rests = [], []
            for edge in space.entering(node):
                held = np.flatnonzero(choices[:, cell, edge] != space.none)
                rest = choices[held]
                # What stays when an input is given up, and the operator that looks for another one.
                operator, rest[:, cell, edge] = rest[:, cell, edge].copy(), space.none
                rows.append(held)
                rests.append(np.column_stack([rest.reshape(len(held), flat.shape[1]), operator]))
            yield np.concatenate(rows), _numbered(np.concatenate(rests))


def _numbered(keys: Int[np.ndarray, "p k"]) -> Rows:
    """Equal rows have equal numbers."""
    if not len(keys):
        return np.zeros(0, int)
    return np.unique(keys, axis=0, return_inverse=True)[1].ravel()
