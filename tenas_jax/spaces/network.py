"""The network of a search space, as a function of a `Reading`."""

from tenas_jax.spaces.operators import Reading, Value
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import cell, edge_weights


def network(read: Reading[Value], space: SearchSpace, mask, images: Value, skeleton: Skeleton, cell=cell) -> Value:
    """Reads the network of a search space.

    Args:
        read: the reading.
        space: the search space.
        mask: (cells, edges, operators) alive operators; may be traced.
        images: the input, of the reading's kind.
        skeleton: how cells are stacked.
        cell: how a cell is put together, with the arguments and result of `cell`.

    Returns:
        The output of the head, of the reading's kind; without a head, the last cell's output.
    """
    stack = space.network or space.family.network
    return stack(read, space, edge_weights(mask), images, skeleton, cell)


def reductions(space: SearchSpace, skeleton: Skeleton) -> int:
    """How often the network of a space halves the sides of its images; 0 for a custom network function.

    Args:
        space: the search space.
        skeleton: how cells are stacked.
    """
    return 0 if space.network is not None else space.family.reductions(skeleton)
