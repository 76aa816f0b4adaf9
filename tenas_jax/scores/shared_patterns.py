"""Activation patterns of architectures that begin alike: their distances add up over ReLUs, shared ones are taken once."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from tenas_jax.networks.finite import CellNetwork
from tenas_jax.networks.images_last import ImagesLastReading, Pattern, convolution_matrix
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.shared_work import NotShared, Rows, Tables, first_cell, first_given, row
from tenas_jax.scores.sharing import Sharing, share
from tenas_jax.spaces.network import network
from tenas_jax.spaces.stacking import bound_operators, cell

Distances = Float[Array, "b b"]


class PatternWork:
    """Hamming distances of the activation patterns of a `CellNetwork`, and what is read from them."""

    def __init__(
        self,
        net: CellNetwork,
        inputs: Callable[..., tuple[Any, Any]],
        read: Callable[[Distances], Any],
        compared: int,
        name: str | None = None,
    ):
        """Takes the network, `inputs(*arguments) -> (key, images)`, and what is read from distances.

        They are those of the first `compared` images, integers (compared, compared). The name stands for all of these, see
        `traced_programs.lowered`.
        """
        self._net, self._inputs, self._read, self._compared = net, inputs, read, compared
        self._space, self._skeleton = net.space, net.skeleton
        self._edges = MaskProgram(self._edge, name and f"{name}, edges", many=True)
        self._ends = MaskProgram(self._end, name and f"{name}, ends", many=True)
        self._values, self._outputs, self._apart, self._records = Rows(), Rows(), Rows(), Rows()
        self._channels, self._name = 0, ""
        self._images: tuple[int, ...] = ()
        self._shapes: dict[str, tuple[int, ...]] = {}

    @property
    def programs(self) -> list[MaskProgram]:
        """What it compiles."""
        return [self._edges, self._ends]

    def release(self):
        """See `shared_work.Work`."""
        for rows in (self._values, self._outputs, self._apart, self._records):
            rows.release()

    def begin(self, *arguments):
        """See `shared_work.Work`."""
        key, images = self._inputs(*arguments)
        # Drawn outside of the program: one with all draws in it takes ten times as long to compile.
        variables = self._net.initial(key, images.shape, images.dtype)
        weights, inputs, distances = self._begun(variables["params"], images)
        return weights, np.asarray(inputs), np.asarray(distances)

    @cached_property
    def _begun(self):
        return jax.jit(self._before)

    def _before(self, parameters: Any, images):
        x = jnp.transpose(images, (3, 1, 2, 0))
        self._images = x.shape
        declared = ImagesLastReading(None)
        jax.eval_shape(lambda x: network(declared, self._space, self._space.whole(), x, self._skeleton), x)
        matrices = {name: convolution_matrix(parameters[name], g) for name, g in declared.geometry.items()}
        # Scales and shifts, and the weights of what is no single product.
        others = {name: value for name, value in parameters.items() if name not in matrices}
        self._shapes = {name: parameters[name].shape for name in matrices}
        weights = others, matrices
        read = self._reading(weights)
        entered = first_cell(read, self._space, x, self._skeleton)
        self._channels, self._name = entered.channels, entered.name
        if {value.shape for value in entered.inputs} != {entered.inputs[0].shape}:
            raise NotShared("inputs of several shapes")
        return weights, jnp.stack(entered.inputs), self._distances(read.patterns)

    def _reading(self, weights):
        others, matrices = weights
        dtype = jax.tree.leaves(weights)[0].dtype
        # What is only asked for its shape costs nothing once compiled.
        absent = {name: jnp.zeros(shape, dtype) for name, shape in self._shapes.items()}
        return ImagesLastReading({**others, **absent}, matrices)

    def _distances(self, patterns: Sequence[Pattern]):
        total: Any = 0
        for pattern in patterns:
            words = pattern.words[:, : self._compared]
            apart = [jax.lax.population_count(word[:, None] ^ word[None, :]) for word in words]
            total += pattern.copies.astype(jnp.uint32) * sum(apart[1:], start=apart[0])
        return jnp.zeros((self._compared, self._compared), jnp.uint32) + jnp.uint32(total)

    def _edge(self, request, weights, values):
        """The output of one operator on one edge, and the distances of the ReLUs in it."""
        number, operator, rows = request[0], request[1], request[2:]

        def along(edge, share):
            source, _ = self._space.edges[edge]
            read: Any = self._reading(weights)
            x = jax.lax.dynamic_index_in_dim(values, rows[source], keepdims=False)
            operators = bound_operators(read, self._space, self._channels, 1)
            [y] = read.edges(x, share, operators, [f"{self._name}.edge{edge}"])
            return y, self._distances(read.patterns)

        share = jax.nn.one_hot(operator, len(self._space.operators), dtype=values.dtype)[None]
        return jax.lax.switch(number, [partial(along, edge) for edge in range(len(self._space.edges))], share)

    def plan(self, choice: Int[np.ndarray, "m edges"]) -> Sharing:
        """See `shared_work.Work`."""
        return share(self._space, choice)

    def grow(self, begun, plan: Sharing) -> Tables:
        """See `shared_work.Work`."""
        weights, inputs, before = begun
        values, outputs, apart, levels = self._values, self._outputs, self._apart, plan.levels
        for table, first in (
            (values, inputs),
            (outputs, np.zeros_like(inputs[:1])),
            (apart, np.zeros_like(before)[None]),
        ):
            table.clear()
            table.append(first)
        for level in levels:
            if len(level.outputs):
                count = len(level.outputs)
                self._edges.fill((outputs.take(count), apart.take(count)), level.outputs, weights, values.arrays)
            if level is not levels[-1]:
                values.append_sums(outputs, level.rows)
        recorded = self._recorded(before, np.concatenate([level.terms for level in levels], axis=1))
        widest = max(level.terms.shape[1] for level in levels)
        padded = [np.pad(level.terms, ((0, 0), (0, widest - level.terms.shape[1]))) for level in levels]
        return Tables(outputs.arrays, self._records.arrays, np.stack(padded, 1), recorded)

    def _recorded(self, before, terms):
        """The distances of the ReLUs in the first cell, one sum for all architectures that have the same ones."""
        noted = self._apart.arrays[: len(self._apart)].any((1, 2))
        terms = np.sort(np.where(noted[terms], terms, 0), axis=1)
        sums, of = np.unique(terms, axis=0, return_inverse=True)
        self._records.clear()
        self._records.append_sums(self._apart, sums)
        self._records.arrays[: len(sums)] += before
        return of.ravel()

    def row_bytes(self, begun) -> int:
        """See `shared_work.Work`."""
        _, values, before = begun
        return values[0].nbytes + before.nbytes

    def finish(self, requests: Int[np.ndarray, "m fields"], begun, plan: Sharing, tables):
        """See `shared_work.Work`."""
        del plan
        weights, inputs, _ = begun
        return self._ends(requests, weights, inputs, *tables)

    def _end(self, request, weights, inputs, outputs, distances):
        space = self._space
        cells, edges, operators = space.mask_shape
        choice, sums, recorded = request[: cells * edges], request[cells * edges : -1], request[-1]
        mask = choice.reshape(cells, edges)[..., None] == np.arange(operators, dtype=np.int32)[None, None]
        read: Any = self._reading(weights)
        sums = sums.reshape(space.nodes - space.inputs, -1)
        nodes = [*inputs, *(read.add([row(outputs, number) for number in numbers]) for numbers in sums)]
        images = jnp.zeros(self._images, inputs.dtype)
        network(read, space, mask, images, self._skeleton, first_given(nodes, read.patterns.clear, cell))
        return self._read(row(distances, recorded) + self._distances(read.patterns))
