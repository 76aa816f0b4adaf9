"""The analytic NTK of architectures that begin alike: kernels of shared nodes and operators are computed once.

What is shared `kernel_routes.py` says. Maps are small and depend on no image; kernels are large. So maps are added up by
architecture, and `L K L^T` is computed once for every distinct pair of a map and a source.

Behind the first cell architectures share nothing, and what is left of the images is small: there every step is done for
groups of architectures (`later_cells.py`).
"""

from collections.abc import Sequence
from functools import cached_property, partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from tenas_jax.networks.cost import CostReading, Shape
from tenas_jax.ntk.analytic import first_equal, kernel_matrix
from tenas_jax.ntk.gaussian_kernels import Batch, Kernels, Settings, congruence, input_kernels, relu_kernels
from tenas_jax.ntk.gaussian_maps import Field, gaussian_field
from tenas_jax.ntk.kernel_reading import KernelReading
from tenas_jax.scores.cell_kernels import CellKernels
from tenas_jax.scores.kernel_routes import Operators, Routes, routes
from tenas_jax.scores.later_cells import Later, parts
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.shared_work import Entered, NotShared, Tables, first_cell, row
from tenas_jax.spaces.network import network
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import bound_operators, cell

MOST_CELLS = 4  # of a stack that is done in groups: each has programs of its own


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


class Plan(NamedTuple):
    """What is shared, and what becomes of it.

    Attributes:
        routes: of the first cell.
        ends: (k, terms) where all cells are alike, the distinct last nodes of first cells.
        of: (m,) which of these is an architecture's.
        parts: of these, and how their later cells are filled.
    """

    routes: Routes
    ends: Int[np.ndarray, "k terms"]
    of: Int[np.ndarray, " m"]
    parts: list[tuple[slice, Later]]

    @property
    def rows(self) -> int:
        """How many rows of values they take."""
        return self.routes.rows


class KernelWork:
    """The analytic NTK of a space's networks."""

    def __init__(
        self, space: SearchSpace, skeleton: Skeleton, settings: Settings, images: int, name: str | None = None
    ):
        """Takes the space, how cells are stacked, which limit is taken, and how many images a batch has.

        The name stands for all of these, see `traced_programs.lowered`.
        """
        self._space, self._skeleton, self._settings = space, skeleton, settings
        self._batch = Batch.of(images)
        self._name = name
        self._ends = MaskProgram(self._end, name and f"{name}, ends", many=True)
        self._stack: list[CellKernels] = []  # of all cells where they are done in groups, else of the first
        self._cells: list[tuple[int, int]] = []  # side and channels of every cell
        self._repeats = False  # whether all cells are alike but for these, and not too many

    @property
    def programs(self) -> list[MaskProgram]:
        """What it compiles."""
        return [self._ends, *(program for one in self._stack for program in one.programs)]

    def _reading(self) -> _KnownReading:
        return _KnownReading(self._batch, self._settings)

    def release(self):
        """See `shared_work.Work`."""
        for one in self._stack:
            one.release()

    def begin(self, *arguments):
        """See `shared_work.Work`; the images are the last argument."""
        begun = jax.tree.map(np.asarray, self._begun(arguments[-1]))
        if not self._stack:
            (side, _), row_bytes = self._cells[0], self.row_bytes(begun)
            for place, (smaller, _) in enumerate(self._cells if self._repeats else self._cells[:1]):
                functions = partial(self._added, place), self._congruent, partial(self._left, place)
                called = self._name and f"{self._name}, cell {place} of {self._cells}"
                row_bytes_here = row_bytes * smaller**4 // side**4
                one = CellKernels(*functions, row_bytes_here, is_shared=place == 0, name=called)
                self._stack.append(one)
        return begun

    @cached_property
    def _begun(self):
        return jax.jit(self._before)

    def _before(self, images):
        side, channels = images.shape[1], images.shape[-1]
        self._cells, self._repeats = self._met(Shape(side, channels))
        x = gaussian_field(input_kernels(images, self._batch), side, channels)
        entered = first_cell(self._reading(), self._space, x, self._skeleton)
        return _stacked_sources(entered.inputs), first_equal(images)

    def _met(self, images: Shape) -> tuple[list[tuple[int, int]], bool]:
        """Side and channels of every cell up to the first that is not like its inputs, and whether cells are all alike.

        Read as shapes, of which a whole network is traced in no time.
        """
        space, met = self._space, []

        def entered(read, space, name, weights, values, channels, *, reduce: bool = False):
            values = read.cell_inputs(values)
            if reduce or any((x.side, x.channels) != (values[0].side, channels) for x in values):
                raise NotShared("a cell that reduces, or inputs of several shapes")
            met.append((values[0].side, channels))
            return [*values, *values[-1:] * len(space.inner_nodes)]

        try:
            network(CostReading(), space, space.whole(), images, self._skeleton, entered)
            repeats = len(space.cells) == 1 and space.network is None and len(met) <= MOST_CELLS
        except NotShared:
            repeats = False
        if not met:
            raise NotShared("the first cell reduces, or there is none")
        return met, repeats

    @cached_property
    def _operators(self) -> Operators:
        """What every operator does, in every cell that is like the first."""
        fresh = []
        read: Any = KernelReading(Batch.of(1), self._settings)

        def linear():
            maps = []
            for side, channels in self._alike:
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

    def plan(self, choice: Int[np.ndarray, "m edges"]) -> Plan:
        """See `shared_work.Work`."""
        plan = routes(self._space, self._operators, choice)
        if not self._repeats:
            return Plan(plan, plan.sums[:0, -1], np.arange(0), [])
        # What has the same kernels in all cells is evaluated once.
        ends, of = np.unique(plan.sums[:, -1], axis=0, return_inverse=True)
        most = min((one.most for one in self._stack[1:]), default=0)
        behind = parts(plan, self._space.inputs, ends, most) if len(self._stack) > 1 else ()
        return Plan(plan, ends, of.ravel(), list(behind))

    def _congruent(self, number, rows, maps, kernels) -> Kernels:
        return congruence(row(maps, number), row(kernels, rows[0]))

    def _added(self, place: int, operator, rows, kernels) -> Kernels:
        """What an operator's fresh weights add behind a node of a given kernel."""
        side, channels = self._cells[place]
        known = row(kernels, rows[0])
        maps = {0: jnp.eye(side**2, dtype=known.nngp.dtype)}
        read: Any = self._reading()
        read.known = maps, known
        share = jax.nn.one_hot(operator, len(self._space.operators), dtype=known.nngp.dtype)[None]
        operators = bound_operators(read, self._space, channels, 1)
        [y] = read.edges(Field(maps, {0: known}, None, None, (), side, channels), share, operators, [""])
        return y.fresh

    def grow(self, begun, plan: Plan) -> Tables:
        """See `shared_work.Work`."""
        inputs, _ = begun
        table = self._stack[0].fill(inputs, self._maps(plan, 0), plan.routes.steps)
        return Tables(table, None, plan.routes.sums, np.zeros(len(plan.routes.sums), int))

    def _maps(self, plan: Plan, place: int):
        return plan.routes.maps[self._alike.index(self._cells[place])]

    @property
    def _alike(self) -> list[tuple[int, int]]:
        """Sides and channels that cells have: those of the same ones are alike."""
        return list(dict.fromkeys(self._cells))

    def row_bytes(self, begun) -> int:
        """See `shared_work.Work`."""
        return sum(kernel[0].nbytes for kernel in begun[0])

    def finish(self, requests: Int[np.ndarray, "m fields"], begun, plan: Plan, tables: Sequence[Any]):
        """See `shared_work.Work`."""
        _, first = begun
        if not self._repeats:
            return self._ends(requests, first, *tables)
        found = self._stack[0].leave(plan.ends, first, *tables)
        if len(self._stack) > 1:
            found = np.concatenate(
                [self._behind(found.map(itemgetter(part)), plan, later, first) for part, later in plan.parts]
            )
        return found[plan.of]

    def _behind(self, inputs: Any, plan: Plan, later: Later, first):
        """What comes out of the head, of architectures by what enters the second cell."""
        for place, one in enumerate(self._stack[1:], 1):
            inputs = inputs.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]))
            inputs = one.leave(later.sums, first, one.fill(inputs, self._maps(plan, place), later.steps))
        return inputs

    def _end(self, request, first, kernels):
        """The kernel, by the nodes of the first cell and the operators of others."""
        space = self._space
        cells, edges, operators = space.mask_shape
        choice, sums = request[: cells * edges], request[cells * edges : -1]
        mask = choice.reshape(cells, edges)[..., None] == np.arange(operators, dtype=np.int32)[None, None]
        nodes = [row(kernels, 1 + number) for number in range(space.inputs)]
        sums = sums.reshape(len(space.inner_nodes), -1)
        nodes += [_total(kernels, jnp.maximum((rows > 0).sum(), 1), rows) for rows in sums]
        return self._network(0, mask, nodes, first)

    def _left(self, place: int, terms, rows, first, kernels):
        """What comes out of a cell, by the terms of its last node, the only one that is taken where all cells are alike."""
        node = _total(kernels, terms, rows)
        mask = np.ones(self._space.mask_shape, bool)  # no operator is asked for
        return self._network(place, mask, [node] * self._space.nodes, first)

    def _network(self, place: int, mask, nodes: Sequence[Kernels], first):
        """What follows a cell of given nodes: the inputs of the next one where that is done in groups, or the kernel."""
        read: Any = self._reading()
        met = iter(range(len(self._cells)))

        def put_together(read, space, name, weights, inputs, channels, **options):
            at = next(met)
            if at > place and self._repeats:
                raise Entered(read.cell_inputs(inputs), channels, name)
            if at > place:
                return cell(read, space, name, weights, inputs, channels, **options)
            known = nodes if at == place else [self._zeros(at, nodes[0])] * len(nodes)
            return [gaussian_field(node, *self._cells[at], is_gaussian=False) for node in known]

        # What comes before the cell is in its nodes already; of the images only the shape is asked.
        images = gaussian_field(self._zeros(0, nodes[0]), *self._cells[0])
        try:
            output = network(read, self._space, mask, images, self._skeleton, put_together)
        except Entered as entered:
            return _stacked_sources(entered.inputs)
        return kernel_matrix(output, self._batch, first)

    def _zeros(self, place: int, like: Kernels) -> Kernels:
        side, _ = self._cells[place]
        shape = (len(like.nngp), side**2, side**2, like.nngp.shape[-1])
        return like.map(lambda kernel: jnp.zeros(shape, kernel.dtype))


def _stacked_sources(fields: Sequence[Field]) -> Kernels:
    """The kernels of what enters a cell."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(next(iter(x.sources.values())) for x in fields))


def _identity(side: int, channels: int) -> Field:
    nothing = jnp.zeros((1, side**2, side**2, 1))
    return Field({0: jnp.eye(side**2)}, {0: Kernels(nothing, nothing)}, None, None, (), side, channels)


def _total(kernels: Kernels, terms, rows) -> Kernels:
    """The sum of the first so many rows: large arrays, of which no others are read."""
    # Rows as vectors, which have one order in memory: that of a branch's result would have to be changed afterwards.
    flat = kernels.map(lambda table: table.reshape(len(table), -1))

    def of(count: int, rows):
        return Kernels.total([row(flat, rows[place]) for place in range(count)])

    found = jax.lax.switch(terms - 1, [partial(of, count) for count in range(1, len(rows) + 1)], rows)
    return jax.tree.map(lambda values, table: values.reshape(table.shape[1:]), found, kernels)
