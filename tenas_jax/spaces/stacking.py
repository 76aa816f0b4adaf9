"""What cell networks are made of, written once against the operations of a `Reading`.

A network function stacks cells and reads them through a `Reading`; what it is made of stands here.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.operators import Operator, Reading, Value
from tenas_jax.spaces.skeleton import Skeleton


def edge_weights(mask):
    """Weights of the operators on every edge: alive ones share one unit equally.

    Args:
        mask: bool or float (..., operators), which operators are alive.

    Returns:
        The weights, same shape; an edge with nothing alive gets zeros.
    """
    alive = mask.astype(float)
    total = alive.sum(axis=-1, keepdims=True)
    return alive / (total + (total == 0).astype(float))


class BoundOperator(NamedTuple):
    """An operator of an edge: `operator(path, x)`.

    Attributes:
        name: of the operator.
        read: the reading.
        definition: what it does.
        channels: of the edge's value.
        stride: of the edge.
    """

    name: str
    read: Any
    definition: Operator
    channels: int
    stride: int

    def __call__(self, path: str, x: Any) -> Any:
        """The operator's output; its weights are found under its name behind the path.

        Args:
            path: of the edge.
            x: what enters.
        """
        return self.definition(self.read, f"{path}.{self.name}", x, self.channels, self.stride)


def bound_operators(read: Reading[Value], space: CellGraph, channels: int, stride: int) -> list[BoundOperator]:
    """The operators of an edge, as `Reading.edges` takes them.

    Args:
        read: the reading.
        space: the search space.
        channels: of the edge's value.
        stride: of the edge.
    """
    return [BoundOperator(name, read, space.operator(name), channels, stride) for name in space.operators]


def cell(
    read: Reading[Value],
    space: CellGraph,
    name: str,
    weights,
    inputs: Sequence[Value],
    channels: int,
    *,
    reduce: bool = False,
) -> list[Value]:
    """One cell: every node sums its incoming edges.

    Args:
        read: the reading.
        space: the search space, for nodes, edges and operators.
        name: path of the cell.
        weights: (edges, operators) from `edge_weights`.
        inputs: the `space.inputs` input nodes.
        channels: channels of every node.
        reduce: edges that leave an input node have stride 2.

    Returns:
        The values of all nodes, inputs first.
    """
    nodes = list(read.cell_inputs(inputs))
    incoming: dict[int, list[Value]] = {node: [] for node in space.inner_nodes}
    for source in range(space.nodes - 1):
        if source in space.inner_nodes:
            nodes.append(read.add(incoming[source]))
        stride = 2 if reduce and source < space.inputs else 1
        leaving = [e for e, (start, _) in enumerate(space.edges) if start == source]
        if not leaving:
            continue
        operators = bound_operators(read, space, channels, stride)
        names = [f"{name}.edge{e}" for e in leaving]
        for e, value in zip(leaving, read.edges(nodes[source], weights[leaving, :], operators, names), strict=True):
            incoming[space.edges[e][1]].append(value)
    nodes.append(read.add(incoming[space.nodes - 1]))
    return nodes


def finish(read: Reading[Value], x: Value, skeleton: Skeleton) -> Value:
    """Batch norm and ReLU; then, where there are classes, global average pooling and the linear layer."""
    x = read.relu(read.batch_norm("head.norm", x))
    return read.head("head.linear", x, skeleton.classes) if skeleton.classes else x
