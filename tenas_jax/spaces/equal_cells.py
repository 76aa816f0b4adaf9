"""Architectures that are equal: what is computed for one of them holds for all."""

import itertools

import numpy as np
from jaxtyping import Bool

from tenas_jax.spaces.cell_graph import Mask
from tenas_jax.spaces.space import SearchSpace

MOST_NODES = 6  # of a cell, inputs aside, whose orders are all tried: 720


def representatives(
    space: SearchSpace, masks: Bool[np.ndarray, "m cells edges ops"]
) -> Bool[np.ndarray, "m cells edges ops"]:
    """For each architecture one that is equal to it: the same for all that are equal, whatever else is asked about.

    Args:
        space: the search space.
        masks: single architectures.

    Returns:
        (m, cells, edges, operators). Where a space knows its equal cells (NAS-Bench-201) the first of them;
        elsewhere the smallest that the order of a cell's nodes allows, whatever the operators do. Where a
        custom network function is given nothing is known of that order, and with more than `MOST_NODES` there are
        too many: each architecture stands for itself.
    """
    # A space that was made of another one by other operators or another network has inherited what no longer holds.
    if space.representatives is not None and (space.decisions or not space.is_custom):
        return space.representatives(space, masks)
    if space.decisions or space.network is not None or space.none < 0 or len(space.inner_nodes) > MOST_NODES:
        return masks
    return np.stack([_in_smallest_order(space, mask) for mask in masks])


def _in_smallest_order(space: SearchSpace, mask: Mask) -> Mask:
    """Every node sums what enters it, so nodes can change places, but for inputs and the one output of a cell.

    Where nodes are concatenated (DARTS) the order of channels says nothing before training.
    """
    # Properties are computed whenever they are asked for, and this runs for every order of every architecture.
    nodes, inputs, none = space.nodes, space.inputs, space.none
    last = nodes if len(space.output_nodes) > 1 else nodes - 1
    numbers = {edge: e for e, edge in enumerate(space.edges)}
    cells = []
    for choice in space.choice(mask).tolist():
        orders = []
        kept = [(a, b, o) for (a, b), o in zip(space.edges, choice, strict=True) if o != none]
        for order in itertools.permutations(range(inputs, last)):
            place = [*range(inputs), *order, *range(last, nodes)]
            if all((place[a], place[b]) in numbers for a, b, _ in kept):
                moved = [none] * len(numbers)
                for a, b, operator in kept:
                    moved[numbers[place[a], place[b]]] = operator
                orders.append(moved)
        cells.append(min(orders))
    return space.one_hot(np.array(cells))
