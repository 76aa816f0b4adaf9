"""The analytic NTK of architectures that begin alike: kernels of shared nodes and operators are computed once.

A node's field is a sum of linear maps of independent sources and of what fresh weights add (`gaussian_maps.py`). Maps are
small and depend on no image; kernels are large. So maps are added up by architecture, and `L K L^T` is computed once for
every distinct pair of a map and a source.
"""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from tenas_jax.ntk.analytic import first_equal, kernel_matrix
from tenas_jax.ntk.gaussian_kernels import Batch, Kernels, Settings, congruence, input_kernels, relu_kernels
from tenas_jax.ntk.gaussian_maps import Field, gaussian_field
from tenas_jax.ntk.kernel_reading import KernelReading
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.shared_work import (
    Entered,
    NotShared,
    Tables,
    capped,
    enter,
    first_given,
    joined,
    row,
    summed,
)
from tenas_jax.scores.sharing import Sharing
from tenas_jax.spaces.network import network
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import bound_operators, cell


class _KnownReading(KernelReading):
    """A reading that knows the kernels of one field already, that of the node which an edge leaves."""

    known: tuple[Any, Kernels] | None = None

    def _realise(self, x: Field) -> Kernels:
        if self.known is not None and x.maps is self.known[0]:
            return self.known[1]
        return super()._realise(x)

    def _rectified(self, x: Field) -> Kernels:
        if self.known is not None and x.maps is self.known[0]:
            return relu_kernels(self.known[1], self._batch)
        return super()._rectified(x)


class KernelWork:
    """The analytic NTK of a space's networks.

    Attributes:
        alike: edges that leave a node are independent copies of each other.
        programs: what it compiles.
    """

    alike = True

    def __init__(self, space: SearchSpace, skeleton: Skeleton, settings: Settings, images: int):
        """Takes the space, how cells are stacked, which limit is taken, and how many images a batch has."""
        self._space, self._skeleton, self._settings = space, skeleton, settings
        self._batch = Batch.of(images)
        self._outputs, self._mapped, self._ends = map(MaskProgram, (self._output, self._congruent, self._end))
        self.programs = [self._outputs, self._mapped, self._ends]
        self._channels, self._side, self._name = 0, 0, ""

    def _reading(self) -> _KnownReading:
        return _KnownReading(self._batch, self._settings)

    def begin(self, *arguments):
        """See `shared_work.Work`; the images are the last argument."""
        return jax.tree.map(np.asarray, self._begun(arguments[-1]))

    @cached_property
    def _begun(self):
        return jax.jit(self._before)

    def _before(self, images):
        space = self._space
        x = gaussian_field(input_kernels(images, self._batch), images.shape[1], images.shape[-1])
        try:
            network(self._reading(), space, np.ones(space.mask_shape, bool), x, self._skeleton, enter)
        except Entered as entered:
            self._channels, self._name = entered.channels, entered.name
            inputs = entered.inputs
            if len({(value.side, value.channels) for value in inputs}) > 1 or inputs[0].channels != self._channels:
                raise NotShared("inputs of several shapes") from None
            self._side = inputs[0].side
            sources = [next(iter(value.sources.values())) for value in inputs]
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *sources), first_equal(images)
        raise NotShared("no cell")

    def _output(self, request, maps, realised, sources):
        """What one operator adds behind one node: maps of the sources, and the kernels of fresh weights."""
        edge, operator, rows = request[0], request[1], request[2:]
        # Inputs and nodes are numbered alike everywhere; which node an edge leaves matters to no kernel.
        leaving = jnp.asarray([source for source, _ in self._space.edges])[edge]
        here = rows[leaving]
        read: Any = self._reading()
        numbers = range(maps.shape[1])
        own = row(maps, here)
        x = Field(
            {number: own[number] for number in numbers},
            {number: row(sources, rows[number]) for number in numbers},
            None,
            None,
            (),
            self._side,
            self._channels,
        )
        read.known = x.maps, row(realised, here)
        share = jax.nn.one_hot(operator, len(self._space.operators), dtype=maps.dtype)[None]
        operators = bound_operators(read, self._space, self._channels, 1)
        [y] = read.edges(x, share, operators, [self._name])
        if y.pooled or (y.side, y.channels) != (self._side, self._channels):
            raise NotShared("maxima, or values of another shape")
        nothing = jax.tree.map(jnp.zeros_like, row(sources, 0))
        return jnp.stack([y.maps[number] for number in numbers]), nothing if y.fresh is None else y.fresh

    def _congruent(self, request, maps, sources):
        return congruence(row(maps, request[0]), row(sources, request[1]))

    def grow(self, begun, sharing: Sharing) -> Tables:
        """See `shared_work.Work`."""
        begun, _ = begun
        space, positions = self._space, self._side**2
        dtype, numbers = begun.nngp.dtype, space.nodes - 1
        maps = np.zeros((space.inputs, numbers, positions, positions), dtype)
        maps[np.arange(space.inputs), np.arange(space.inputs)] = np.eye(positions)
        sources = realised = begun
        nothing = jax.tree.map(lambda kernel: np.zeros_like(kernel[:1]), begun)
        outputs, terms = np.zeros_like(maps[:1]), nothing
        placed = np.zeros(sharing.outputs, np.int64)  # where the fresh kernels of an output are among the terms
        sums = []
        for node, level in zip(space.inner_nodes, sharing.levels, strict=True):
            if len(level.outputs):
                found, fresh = self._outputs(level.outputs, capped(maps), capped(realised), capped(sources))
                placed[level.first : level.first + len(found)] = _places(fresh, len(terms.nngp))
                outputs, terms = joined(outputs, found), joined(terms, fresh)
            last = node == space.nodes - 1
            # By architecture for the last node, by distinct sum for the others.
            entering, chain = (level.terms, sharing.chain) if last else (level.rows, _any_chain(level, sharing))
            linear = summed(outputs, entering)
            mapped, terms = self._realised(linear, chain, sources, terms)
            rows = np.concatenate([mapped[:, None], placed[entering]], 1)
            if last:
                sums.append(rows)
                continue
            of = sharing.chain[:, node] - len(maps)
            sums.append(rows[of])
            realised = joined(realised, summed(terms, rows))
            sources = joined(sources, summed(terms, placed[entering]))
            linear[:, node] = np.eye(positions)
            maps = joined(maps, linear)
        widest = max(rows.shape[1] for rows in sums)
        padded = np.stack([np.pad(rows, ((0, 0), (0, widest - rows.shape[1]))) for rows in sums], 1)
        return Tables(terms, None, padded, np.zeros(len(padded), int))

    def _realised(self, linear, chain, sources, terms) -> tuple[np.ndarray, Kernels]:
        """Where among the terms `sum_s L_s K_s L_s^T` of every row of maps is, those that are new behind the others."""
        found = np.zeros(linear.shape[:2], np.int64)
        live = linear.any((2, 3))
        if not live.any():
            return found[:, 0], terms
        flat = np.ascontiguousarray(linear[live]) + 0.0  # no negative zeros
        contents = flat.reshape(len(flat), -1).view(np.dtype((np.void, flat[0].nbytes))).ravel()
        _, first, of = np.unique(contents, return_index=True, return_inverse=True)
        pairs = np.stack([of.ravel(), chain[:, : linear.shape[1]][live]], 1)
        distinct, place = np.unique(pairs, axis=0, return_inverse=True)
        mapped = self._mapped(distinct.astype(np.int32), capped(flat[first]), capped(sources))
        found[live] = 1 + place.ravel()
        combined, of = np.unique(np.sort(found, 1), axis=0, return_inverse=True)
        nothing = jax.tree.map(lambda kernel: np.zeros_like(kernel[:1]), mapped)
        start = len(terms.nngp)
        terms = joined(terms, summed(joined(nothing, mapped), combined))
        return np.where(combined.any(1), start + np.arange(len(combined)), 0)[of.ravel()], terms

    def row_bytes(self, begun) -> int:
        """See `shared_work.Work`; an output comes with about as many mapped sources."""
        return 2 * sum(kernel[0].nbytes for kernel in begun[0])

    def finish(self, requests: Int[np.ndarray, "m fields"], begun, tables: Sequence[Any]):
        """See `shared_work.Work`."""
        return self._ends(requests, *begun, *tables)

    def _end(self, request, inputs, first, terms) -> Float[Any, "n n"]:
        space = self._space
        cells, edges, operators = space.mask_shape
        choice, sums = request[: cells * edges], request[cells * edges : -1]
        mask = choice.reshape(cells, edges)[..., None] == np.arange(operators, dtype=np.int32)[None, None]
        read: Any = self._reading()

        def known(kernels):
            return gaussian_field(kernels, self._side, self._channels, is_gaussian=False)

        nodes = [known(row(inputs, number)) for number in range(space.inputs)]
        for numbers in sums.reshape(len(space.inner_nodes), -1):
            nodes.append(known(_total(terms, numbers)))
        # What comes before the cell is in its nodes already; of the images only the shape is asked.
        nothing = jax.tree.map(jnp.zeros_like, row(inputs, 0))
        images = gaussian_field(nothing, self._side, self._channels)
        output = network(read, space, mask, images, self._skeleton, first_given(nodes, lambda: None, cell))
        return kernel_matrix(output, self._batch, first)


def _total(terms: Kernels, numbers) -> Kernels:
    """The sum of some rows of terms, most of which are zero: large arrays, of which only the others are read."""

    def of(count: int, numbers):
        return Kernels.total([row(terms, numbers[place]) for place in range(count)])

    numbers = -jnp.sort(-numbers)
    branches = [partial(of, count) for count in range(1, len(numbers) + 1)]
    return jax.lax.switch(jnp.maximum((numbers > 0).sum() - 1, 0), branches, numbers)


def _places(fresh: Kernels, start: int) -> np.ndarray:
    """Rows of terms; what is zero has row 0."""
    return np.where(fresh.nngp.any((1, 2, 3, 4)), start + np.arange(len(fresh.nngp)), 0)


def _any_chain(level, sharing: Sharing) -> np.ndarray:
    """For every distinct sum that enters a node the rows of an architecture that has it."""
    _, first = np.unique(level.terms, axis=0, return_index=True)
    return sharing.chain[first]
