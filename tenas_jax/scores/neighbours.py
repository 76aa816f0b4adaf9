"""Architectures that are one change apart, and means over them.

A change is another operator on an edge or, where a node chooses its inputs, another input with the same operator: what
`search.evolution.mutate` does.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from tenas_jax.spaces.cell_graph import CellGraph

NEIGHBOURHOOD = 2  # how often the mean of the neighbours counts beside an architecture itself

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
    values = np.asarray(values, float)
    total, present = _sums(values, choices, space)
    missing = space.neighbours - present
    return np.where(present == 0, values, (total + missing * values) / max(space.neighbours, 1))


def smoothed(values: Float[np.ndarray, " m"], choices: Choices, space: CellGraph) -> Float[np.ndarray, " m"]:
    """Values, and twice the mean of those one change away: what rankings go by.

    Scores of one network are noisy. Its neighbours share most of the cell, and their noise is their own.

    Args:
        values: as `neighbour_mean`.
        choices: as `neighbour_mean`.
        space: the search space.
    """
    return values + NEIGHBOURHOOD * neighbour_mean(values, choices, space)


def smoothed_in_part(values: Float[np.ndarray, " m"], choices: Choices, space: CellGraph) -> Float[np.ndarray, " m"]:
    """As `smoothed`, where most neighbours of some and hardly one of others are known, as in an evolution.

    The neighbours of a good architecture are worse. Would a neighbour that is not known count as the architecture itself,
    then the best, whose surroundings are known best, would lose against those that nobody looked around. So it counts as
    neighbours of such an architecture do on average: by the line through all pairs that are known.

    Args:
        values: as `neighbour_mean`.
        choices: as `neighbour_mean`.
        space: the search space.
    """
    total, present = _sums(values, choices, space)
    pairs = present.sum()
    if not pairs:
        return (1 + NEIGHBOURHOOD) * values
    mean = total.sum() / pairs
    variance = (present * (values - mean) ** 2).sum() / pairs
    shared = ((values - mean) * (total - present * mean)).sum() / pairs
    expected = mean + (shared / variance if variance > 0 else 0) * (values - mean)
    return values + NEIGHBOURHOOD * (total + (space.neighbours - present) * expected) / space.neighbours


def with_neighbours(choices: Choices, space: CellGraph) -> Choices:
    """Some architectures, and behind them all that are another operator on one edge away, each once.

    Args:
        choices: operators (m, cells, edges), all different, of a space whose nodes do not choose their inputs.
        space: the search space.
    """
    found, alternatives = [choices], space.alternatives()
    for cell, edge in np.ndindex(choices.shape[1:]):
        for operator in np.flatnonzero(alternatives[cell, edge]):
            changed = choices.copy()
            changed[:, cell, edge] = operator
            found.append(changed)
    everything = np.concatenate(found)
    masks = space.one_hot(everything)
    everything = space.normal(masks[space.valid(masks)]).argmax(-1)
    _, first = np.unique(everything.reshape(len(everything), -1), axis=0, return_index=True)
    return everything[np.sort(first)]


def _sums(values: Float[np.ndarray, " m"], choices: Choices, space: CellGraph) -> tuple[np.ndarray, np.ndarray]:
    """Of the neighbours at hand: the sum of their values, and how many there are."""
    total, present = np.zeros(len(values)), np.zeros(len(values))
    for rows, groups in _groups(choices, space):
        # np.add.at: a row may stand in several groups of one kind of change.
        np.add.at(total, rows, np.bincount(groups, values[rows])[groups] - values[rows])
        np.add.at(present, rows, np.bincount(groups)[groups] - 1)
    return total, present


def _groups(choices: Choices, space: CellGraph) -> Iterator[tuple[Rows, Rows]]:
    """Rows of `choices` and a number for each; rows with one number are neighbours, by one kind of change."""
    flat, everyone = choices.reshape(len(choices), np.prod(choices.shape[1:])), np.arange(len(choices))
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
