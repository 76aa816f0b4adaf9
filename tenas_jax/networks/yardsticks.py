"""What a training-free score has to be better than: sizes and counts of what lies on a path from an input to the output.

A cost (`cost.py`) also counts operators that no signal reaches, or whose output goes nowhere. Here they do not count: an
operator is live where operators other than "none" lead from an input of its cell to it and from it to the cell's output.
Plain integers, read from the network's definition.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.networks.cost import Cost, costs, prices
from tenas_jax.networks.longest_path import longest_path
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace

Numbers = Int[np.ndarray, "..."]


class Yardsticks(NamedTuple):
    """Sizes of networks, each (...); all 0 where no input reaches the output. Larger is taken for better.

    Attributes:
        live_parameters: of the network without its dead operators.
        live_multiply_adds: its multiply-adds for one image, see `cost.Cost`.
        live_convolutions: live convolutions of its cells; depthwise ones count as convolutions. Where costs do not add up
            over decisions (TransNAS-Bench-101's macro networks), here and below those of the whole network count.
        live_spatial_convolutions: those of them that look at more than one position, such as 3x3.
        path_convolutions: convolutions summed over all paths through a cell, one that lies on two paths counting twice; of
            all cells.
        path_spatial_convolutions: the same of convolutions that look at more than one position, such as 3x3.
        depth: convolutions on the longest path through a cell, summed over cells.
    """

    live_parameters: Numbers
    live_multiply_adds: Numbers
    live_convolutions: Numbers
    live_spatial_convolutions: Numbers
    path_convolutions: Numbers
    path_spatial_convolutions: Numbers
    depth: Numbers


def live_operators(
    space: SearchSpace, mask: Bool[Any, "... cells edges ops"]
) -> Bool[np.ndarray, "... cells edges ops"]:
    """The operators of a mask that lie on a path from an input to the output.

    Args:
        space: the search space.
        mask: alive operators, one mask or many.

    Returns:
        The mask without operators that are dead; empty where some cell has no path, so that nothing of the network counts.

    Examples:
        The convolution on the edge from node 0 to node 1 leads nowhere:

        >>> from tenas_jax import NAS_BENCH_201
        >>> mask = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|")
        >>> live_operators(NAS_BENCH_201, mask).any(-1).tolist(), NAS_BENCH_201.operators[1]
        ([[False, False, False, True, False, False]], 'skip_connect')
    """
    mask = np.asarray(mask, bool)
    carrying, outputs = space.carries(mask), space.output_nodes
    edges = list(enumerate(space.edges))
    reached = _outer_nodes(space, carrying, list(range(space.inputs)))
    for number, (source, target) in edges:
        reached[..., target] |= carrying[..., number] & reached[..., source]
    leading = _outer_nodes(space, carrying, outputs)
    for number, (source, target) in reversed(edges):
        leading[..., source] |= carrying[..., number] & leading[..., target]
    sources, targets = np.array(space.edges).T
    live = np.asarray(mask) & (reached[..., sources] & leading[..., targets])[..., None]
    live &= np.isin(np.arange(mask.shape[-1]), space.carriers)
    connected = np.asarray(reached[..., outputs].any(-1).all(-1))
    return live & connected[..., None, None, None]


def _outer_nodes(space: SearchSpace, carrying: np.ndarray, nodes: list[int]) -> np.ndarray:
    """(..., cells, nodes): whether a node is one of these."""
    return np.broadcast_to(np.isin(np.arange(space.nodes), nodes), (*carrying.shape[:-1], space.nodes)).copy()


def yardsticks(
    space: SearchSpace,
    mask: Bool[Any, "... cells edges ops"],
    *,
    skeleton: Skeleton | None = None,
    side: int | None = None,
) -> Yardsticks:
    """All yardsticks of one network or of a stack.

    Args:
        space: the search space.
        mask: alive operators, one mask or many.
        skeleton: how cells are stacked; by default as in the networks that are trained.
        side: of the images.

    Returns:
        Integers (...).

    Examples:
        Two convolutions in a row, and a third that leads nowhere; each cell is there 15 times:

        >>> from tenas_jax import NAS_BENCH_201
        >>> mask = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_1x1~1|none~2|")
        >>> [int(number) for number in yardsticks(NAS_BENCH_201, mask)[2:]]
        [30, 15, 30, 15, 30]
    """
    skeleton, side = skeleton or space.skeleton("trained"), side or space.family.side
    if space.family.counts is not None:
        mask = np.asarray(mask)
        found = space.family.counts(space, mask.reshape(-1, *space.mask_shape), skeleton, side)
        return Yardsticks(*(np.reshape(found[name], mask.shape[:-3]) for name in Yardsticks._fields))
    if not space.family.costs_add_up:
        return _of_chains(space, np.asarray(mask, bool), skeleton, side)
    live = live_operators(space, mask)
    base, shares = prices(space, skeleton, side)
    connected = live.any((-3, -2, -1))
    flat = live.reshape(*live.shape[:-3], -1).astype(np.int64)
    whole = Cost(*(fixed * connected + flat @ share.ravel() for fixed, share in zip(base, shares, strict=True)))
    convolutions = shares.convolutions
    return Yardsticks(
        live_parameters=whole.parameters,
        live_multiply_adds=whole.flops,
        live_convolutions=flat @ convolutions.ravel(),
        live_spatial_convolutions=flat @ shares.spatial_convolutions.ravel(),
        path_convolutions=_over_paths(space, live, convolutions),
        path_spatial_convolutions=_over_paths(space, live, shares.spatial_convolutions),
        depth=_longest(space, live, convolutions),
    )


def _of_chains(space: SearchSpace, mask: np.ndarray, skeleton: Skeleton, side: int) -> Yardsticks:
    """Of decisions that follow each other everything lies on the one path; the stem and the linear layer count too."""
    whole = costs(space, mask, skeleton=skeleton, side=side)
    convolutions, spatial = whole.convolutions, whole.spatial_convolutions
    depth = longest_path(space, mask, skeleton, side)
    return Yardsticks(whole.parameters, whole.flops, convolutions, spatial, convolutions, spatial, depth)


def _over_paths(space: SearchSpace, live: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights of operators summed over all paths; a path takes one operator of every edge on it."""
    paths, summed = np.zeros((2, *live.shape[:-2], space.nodes), np.int64)
    paths[..., : space.inputs] = 1
    for number, (source, target) in enumerate(space.edges):
        operators = live[..., number, :]
        here = (operators * weights[..., number, :]).sum(-1)
        summed[..., target] += operators.sum(-1) * summed[..., source] + here * paths[..., source]
        paths[..., target] += operators.sum(-1) * paths[..., source]
    return summed[..., space.output_nodes].sum((-2, -1))


def _longest(space: SearchSpace, live: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The largest sum of weights on a path, of all cells."""
    longest = np.zeros((*live.shape[:-2], space.nodes), np.int64)
    for number, (source, target) in enumerate(space.edges):
        operators = live[..., number, :]
        here = longest[..., source] + (operators * weights[..., number, :]).max(-1)
        longest[..., target] = np.maximum(longest[..., target], np.where(operators.any(-1), here, 0))
    return longest[..., space.output_nodes].max(-1).sum(-1)
