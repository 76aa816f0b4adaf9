"""The analytic NTK of architectures that begin alike: kernels of shared nodes and operators are computed once.

What is shared `kernel_routes.py` says. Maps are small and depend on no image; kernels are large. So maps are added up by
architecture, and `L K L^T` is computed once for every distinct pair of a map and a source.
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
from tenas_jax.scores.kernel_routes import Operators, Routes, routes
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.shared_work import NotShared, Rows, Tables, first_given, row
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
        programs: what it compiles.
    """

    def __init__(self, space: SearchSpace, skeleton: Skeleton, settings: Settings, images: int):
        """Takes the space, how cells are stacked, which limit is taken, and how many images a batch has."""
        self._space, self._skeleton, self._settings = space, skeleton, settings
        self._batch = Batch.of(images)
        self._fresh, self._mapped, self._ends = map(MaskProgram, (self._added, self._congruent, self._end))
        self.programs = [self._fresh, self._mapped, self._ends]
        self._kernels, self._maps = Rows(), Rows()
        self._cells: list[tuple[int, int]] = []  # side and channels of every cell
        self._repeats = False  # whether all cells are alike but for these

    def _reading(self) -> _KnownReading:
        return _KnownReading(self._batch, self._settings)

    def release(self):
        """See `shared_work.Work`."""
        for rows in (self._kernels, self._maps):
            rows.release()

    def begin(self, *arguments):
        """See `shared_work.Work`; the images are the last argument."""
        return jax.tree.map(np.asarray, self._begun(arguments[-1]))

    @cached_property
    def _begun(self):
        return jax.jit(self._before)

    def _before(self, images):
        space, met, sources = self._space, [], []

        def entered(read, space, name, weights, values, channels, *, reduce: bool = False):
            values = read.cell_inputs(values)
            if reduce or any((x.side, x.channels) != (values[0].side, channels) for x in values):
                raise NotShared("a cell that reduces, or inputs of several shapes")
            met.append((values[0].side, channels))
            sources.append([next(iter(value.sources.values())) for value in values])
            return values + values[-1:] * len(space.inner_nodes)

        x = gaussian_field(input_kernels(images, self._batch), images.shape[1], images.shape[-1])
        try:
            network(self._reading(), space, np.ones(space.mask_shape, bool), x, self._skeleton, entered)
            self._repeats = len(space.cells) == 1 and space.network is None
        except NotShared:
            self._repeats = False
        if not met:
            raise NotShared("the first cell reduces, or there is none")
        self._cells = met
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *sources[0]), first_equal(images)

    @cached_property
    def _operators(self) -> Operators:
        """What every operator does, in every cell that is like the first."""
        cells, fresh = list(dict.fromkeys(self._cells)), []
        read: Any = KernelReading(Batch.of(1), self._settings)

        def linear():
            maps = []
            for side, channels in cells:
                bound = bound_operators(read, self._space, channels, 1)
                found = [operator("", _identity(side, channels)) for operator in bound]
                if any(y.pooled or (y.side, y.channels) != (side, channels) for y in found):
                    raise NotShared("maxima, or values of another shape")
                fresh.append([y.fresh is not None for y in found])
                maps.append([y.maps.get(0, jnp.zeros((side**2, side**2))) for y in found])
            return maps

        maps = jax.jit(linear)()
        if any(adds != fresh[0] for adds in fresh):
            raise NotShared("operators that are linear in some cells only")
        return Operators([list(map(np.asarray, places)) for places in zip(*maps, strict=True)], fresh[0])

    def plan(self, choice: Int[np.ndarray, "m edges"]) -> Routes:
        """See `shared_work.Work`."""
        return routes(self._space, self._operators, choice)

    def _added(self, request, kernels) -> Kernels:
        """What an operator's fresh weights add behind a node of a given kernel."""
        operator, number = request
        side, channels = self._cells[0]
        known = row(kernels, number)
        maps = {0: jnp.eye(side**2, dtype=known.nngp.dtype)}
        read: Any = self._reading()
        read.known = maps, known
        share = jax.nn.one_hot(operator, len(self._space.operators), dtype=known.nngp.dtype)[None]
        operators = bound_operators(read, self._space, channels, 1)
        [y] = read.edges(Field(maps, {0: known}, None, None, (), side, channels), share, operators, [""])
        return y.fresh

    def _congruent(self, request, maps, kernels) -> Kernels:
        return congruence(row(maps, request[0]), row(kernels, request[1]))

    def grow(self, begun, plan: Routes) -> Tables:
        """See `shared_work.Work`."""
        inputs, _ = begun
        kernels, maps = self._kernels, self._maps
        for table in (kernels, maps):
            table.clear()
        kernels.append(jax.tree.map(lambda kernel: np.zeros_like(kernel[:1]), inputs))
        kernels.append(inputs)
        maps.append(plan.maps.astype(inputs.nngp.dtype))
        for step in plan.steps:
            if len(step.terms):
                kernels.append(self._fresh(step.terms, kernels.arrays))
            if len(step.sources):
                kernels.append(kernels.summed(step.sources))
            if len(step.pieces):
                kernels.append(self._mapped(step.pieces, maps.arrays, kernels.arrays))
            if len(step.kernels):
                kernels.append(kernels.summed(step.kernels))
        return Tables(kernels.arrays, None, plan.sums, np.zeros(len(plan.sums), int))

    def row_bytes(self, begun) -> int:
        """See `shared_work.Work`."""
        return sum(kernel[0].nbytes for kernel in begun[0])

    def finish(self, requests: Int[np.ndarray, "m fields"], begun, tables: Sequence[Any]):
        """See `shared_work.Work`; what has the same kernels in all cells is evaluated once."""
        first_field = len(self._space.edges) if self._repeats else 0
        _, first, of = np.unique(requests[:, first_field:], axis=0, return_index=True, return_inverse=True)
        return jax.tree.map(lambda leaf: leaf[of.ravel()], self._ends(requests[first], begun[1], *tables))

    def _end(self, request, first, kernels) -> Float[Any, "n n"]:
        space = self._space
        cells, edges, operators = space.mask_shape
        choice, sums = request[: cells * edges], request[cells * edges : -1]
        mask = choice.reshape(cells, edges)[..., None] == np.arange(operators, dtype=np.int32)[None, None]
        read: Any = self._reading()
        side, channels = self._cells[0]
        nodes = [row(kernels, 1 + number) for number in range(space.inputs)]
        nodes += [_total(kernels, numbers) for numbers in sums.reshape(len(space.inner_nodes), -1)]
        fields = [gaussian_field(node, side, channels, is_gaussian=False) for node in nodes]
        # What comes before the cell is in its nodes already; of the images only the shape is asked.
        images = gaussian_field(jax.tree.map(jnp.zeros_like, nodes[0]), side, channels)
        output = network(read, space, mask, images, self._skeleton, first_given(fields, lambda: None, cell))
        return kernel_matrix(output, self._batch, first)


def _identity(side: int, channels: int) -> Field:
    nothing = jnp.zeros((1, side**2, side**2, 1))
    return Field({0: jnp.eye(side**2)}, {0: Kernels(nothing, nothing)}, None, None, (), side, channels)


def _total(kernels: Kernels, numbers) -> Kernels:
    """The sum of some rows, of which the last ones are zero: large arrays, of which only the others are read."""

    def of(count: int, numbers):
        return Kernels.total([row(kernels, numbers[place]) for place in range(count)])

    branches = [partial(of, count) for count in range(1, len(numbers) + 1)]
    return jax.lax.switch(jnp.maximum((numbers > 0).sum() - 1, 0), branches, numbers)
