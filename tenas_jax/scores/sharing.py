"""Which values the first cells of some architectures share: a tree of nodes, as numbers, before anything is computed.

The value of a node depends on the operators of the edges that lead to it, and on nothing else of the architecture. So the
cells of a space share their beginnings: of NAS-Bench-201's first node there are five values, of the second one at most
125, and only the sum in the last node belongs to one architecture.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from tenas_jax.spaces.space import SearchSpace

MOST_EDGES = 6  # of a cell: beyond, hardly two of the architectures at hand begin alike


class Level(NamedTuple):
    """What enters one node.

    Attributes:
        outputs: (k, 2 + nodes) the distinct outputs of operators: edge, operator, and the rows of the nodes so far of an
            architecture that has it.
        first: number of the first of these outputs; number 0 is nothing.
        terms: (m, edges in) by architecture the outputs that the node sums, 0 for "none".
        rows: (r, edges in) the distinct sums; of the last node they are not formed.
    """

    outputs: Int[np.ndarray, "k fields"]
    first: int
    terms: Int[np.ndarray, "m edges"]
    rows: Int[np.ndarray, "r edges"]


class Sharing(NamedTuple):
    """The values of some architectures' first cells.

    Attributes:
        levels: by node, inputs aside.
        chain: (m, nodes) by architecture the row of every node; inputs are the first rows, the last node has none.
        outputs: how many outputs of operators there are, nothing counted too.
    """

    levels: list[Level]
    chain: Int[np.ndarray, "m nodes"]
    outputs: int

    @property
    def rows(self) -> int:
        """How many rows of values they take."""
        return self.outputs


def is_shared(space: SearchSpace) -> bool:
    """Whether architectures of a space share enough for a tree: the answer is the space's, not that of a set at hand.

    Args:
        space: the search space.
    """
    alike = not space.chooses_inputs and not space.decisions and space.family.strides == (1,)
    return alike and len(space.edges) <= MOST_EDGES


def share(space: SearchSpace, choice: Int[np.ndarray, "m edges"]) -> Sharing:
    """Finds what is shared.

    Args:
        space: the search space.
        choice: operators of the first cell's edges.
    """
    chain = np.zeros((len(choice), space.nodes), np.int32)
    chain[:, : space.inputs] = np.arange(space.inputs)
    levels, outputs, rows = [], 1, space.inputs
    for target in space.inner_nodes:
        entering = space.entering(target)
        sources = [space.edges[e][0] for e in entering]
        edge = np.broadcast_to(entering, (len(choice), len(entering)))
        fields = np.stack([edge, choice[:, entering], chain[:, sources]], -1).reshape(-1, 3)
        carries = fields[:, 1] != space.none
        distinct, index, place = np.unique(fields[carries], axis=0, return_index=True, return_inverse=True)
        owner = np.flatnonzero(carries)[index]
        requests = np.concatenate([distinct[:, :2], chain[owner // len(entering)]], 1).astype(np.int32)
        terms = np.zeros(len(fields), np.int32)
        terms[carries] = outputs + place.ravel()
        terms = terms.reshape(-1, len(entering))
        sums, of = np.unique(terms, axis=0, return_inverse=True)
        levels.append(Level(requests, outputs, terms, sums))
        outputs += len(distinct)
        if target < space.nodes - 1:
            chain[:, target] = rows + of.ravel()
            rows += len(sums)
    return Sharing(levels, chain, outputs)
