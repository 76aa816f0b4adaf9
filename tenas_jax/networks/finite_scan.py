"""Reads the network of a space as feature maps, one `lax.scan` over the edges of a cell: compiled once for all of a stride.

A DARTS supernet has 28 edges of 8 operators. Written out, its program takes minutes to compile, and each of its 500 weights
is drawn by a separate program. Here the weights of a cell's edges are stacked, an edge is one turn of a scan, and one
call draws all weights. For the same weights the numbers are those of `finite.py`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tenas_jax.networks.custom_layer import Initialiser
from tenas_jax.networks.feature_reading import FeatureReading
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.networks.initial_weights import Declaration, Parameters, drawn_at_once, flax_keys
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import bound_operators

Nodes = Float[Array, "nodes b h w c"]


def scanned_cell(
    read: "ScannedReading",
    space: SearchSpace,
    name: str,
    weights,
    inputs: Sequence[Float[Array, "b h w c"]],
    channels: int,
    *,
    reduce: bool = False,
) -> list[Array]:
    """A cell as `spaces.stacking.cell` has it, by one `lax.scan` over its edges.

    Args:
        read: the reading.
        space: the search space.
        name: path of the cell.
        weights: (edges, operators) from `edge_weights`.
        inputs: the `space.inputs` input nodes.
        channels: channels of every node.
        reduce: edges that leave an input node have stride 2.

    Returns:
        The values of all nodes, inputs first.
    """
    count = space.inputs
    edges, from_input = np.array(space.edges), np.array([source < count for source, _ in space.edges])
    outer = jnp.stack(inputs)
    batch, height, width = inputs[0].shape[:3]
    sides = (-(-height // 2), -(-width // 2)) if reduce else (height, width)
    inner = jnp.zeros((space.nodes - count, batch, *sides, channels), outer.dtype)
    loop = partial(read.loop, space, name, channels)
    if reduce:
        # Input nodes are larger than the others, so their edges are scanned separately, and first.
        inner = loop(2, weights[from_input], edges[from_input] - [0, count], inner, outer)
        inner = loop(1, weights[~from_input], edges[~from_input] - count, inner)
    else:
        inner = loop(1, weights, edges, jnp.concatenate([outer, inner]))[count:]
    return [*inputs, *inner]


class ScannedReading(FeatureReading):
    """Feature maps flow through the network; the parameters of a cell's edges are stacked, (edges, ...).

    Attributes:
        cell: see `FeatureReading`.
    """

    cell = staticmethod(scanned_cell)

    def loop(
        self,
        space: SearchSpace,
        name: str,
        channels: int,
        stride: int,
        weights: Any,
        edges: np.ndarray,
        nodes: Nodes,
        sources: Nodes | None = None,
    ) -> Nodes:
        """Adds edges of one stride to the nodes that they enter.

        Args:
            space: the search space.
            name: path of the cell.
            channels: channels of every node.
            stride: of the edges.
            weights: (e, operators) shares of the operators.
            edges: (e, 2) source and target, sorted by target, so that a node is complete when the first edge leaves it.
            nodes: the values so far.
            sources: where the edges come from; by default from `nodes` themselves.

        Returns:
            The nodes, with the edges added.
        """
        path = f"{name}.stride{stride}"
        origin = nodes if sources is None else sources

        def edge(read: FeatureReading, share, x):
            return read.edges(x, share[None], bound_operators(read, space, channels, stride), ["edge"])[0]

        one = FeatureReading(None)
        share = jnp.asarray(weights)
        jax.eval_shape(partial(edge, one), share[0], origin[0])
        stacked, statistics = self._stacked(path, len(edges), one.declared, nodes.dtype)

        def turn(nodes, items):
            parameters, statistics, share, (source, target) = items
            read = FeatureReading(parameters, statistics)
            value = edge(read, share, (nodes if sources is None else sources)[source])
            return nodes.at[target].add(value), (read.bits, read.moments)

        nodes, (bits, moments) = jax.lax.scan(turn, nodes, (stacked, statistics, share, jnp.asarray(edges)))
        self.bits += [jnp.moveaxis(on, 0, 1).reshape(on.shape[1], -1) for on in bits]
        self.moments |= {f"{path}.{inner}": moment for inner, moment in moments.items()}
        return nodes

    def _stacked(self, path: str, count: int, declared: Mapping[str, Declaration], dtype):
        """What one edge declares, for all edges of a scan: parameters, and the statistics of its batch norms if any."""
        parameters = {
            inner: self.parameter(
                f"{path}.{inner}", (count, *d.shape), d.kind, dtype, d.initial and partial(_each_edge, d.initial)
            )
            for inner, d in declared.items()
        }
        if self._statistics is None:
            return parameters, None
        norms = [inner.removesuffix(".scale") for inner in declared if inner.endswith(".scale")]
        return parameters, {inner: self._statistics[f"{path}.{inner}"] for inner in norms}


class ScannedNetwork(CellNetwork):
    """`CellNetwork` for spaces with many edges: stacked parameters, and a mask that is always data.

    Parameters are named `cell0.stride1.edge.OPERATOR...`, with a first axis for the edges of that stride in that cell.
    """

    reading: ClassVar[type[FeatureReading]] = ScannedReading

    def _parameters(self, declared: Mapping[str, Declaration], dtype) -> Parameters:
        if not self.is_initializing():
            return {name: self.param(name, lambda _, d=d: jnp.zeros(d.shape, dtype)) for name, d in declared.items()}
        drawn = drawn_at_once(self.make_rng("params"), self.fan, declared, dtype)
        return {name: self.param(name, lambda _, value=value: value) for name, value in drawn.items()}

    @nn.nowrap
    def _drawn(self, key, declared: Mapping[str, Declaration], dtype) -> Parameters:
        return drawn_at_once(flax_keys(key, 1)[0], self.fan, declared, dtype)


def _each_edge(initial: Initialiser, key, shape: tuple[int, ...], dtype) -> Array:
    """A custom layer's parameter (edges, ...), drawn for each edge."""
    return jnp.stack([initial(edge_key, shape[1:], dtype) for edge_key in jax.random.split(key, shape[0])])
