"""What architectures share is computed once: the same values as one by one, whatever is evaluated beside."""

import jax
import numpy as np
import pytest

from tenas_jax import NAS_BENCH_201, SearchSpace, analytic_ntk
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.ntk.gaussian_kernels import Settings
from tenas_jax.scores import cell_kernels, later_cells, shared_work
from tenas_jax.scores.grouped_program import GroupedProgram, grouped
from tenas_jax.scores.kernel_routes import Operators, routes
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.shared_kernels import KernelWork
from tenas_jax.scores.shared_patterns import PatternWork
from tenas_jax.scores.shared_work import Rows, SharedProgram
from tenas_jax.spaces.cell_graph import complete_edges
from tenas_jax.spaces.operators import relu_conv_bn
from tenas_jax.spaces.skeleton import Skeleton


def whole(space):
    return np.stack(list(space.enumerate()))


def refused(*arguments):
    raise AssertionError("what is shared must not be evaluated one by one")


def kernels(space, images, skeleton, settings, masks, plain=refused):
    work = KernelWork(space, skeleton, settings, len(images))
    return SharedProgram(space, work, MaskProgram(plain))(masks, images)


@pytest.mark.parametrize(
    ("skeleton", "settings"),
    [
        (Skeleton(16, 1, stages=1), Settings("standard", batch_norm="none")),
        (Skeleton(16, 2, stages=2), Settings("standard")),
    ],
)
def test_kernels_are_those_of_one_architecture_at_a_time(rng, skeleton, settings):
    images = rng.normal(size=(3, 2, 2, 3))
    masks = NAS_BENCH_201.sample(jax.random.key(1), 12)
    found = kernels(NAS_BENCH_201, images, skeleton, settings, masks)

    @jax.jit
    def alone(mask):
        return analytic_ntk(NAS_BENCH_201, mask, images, skeleton=skeleton, settings=settings)

    expected = np.stack([alone(mask) for mask in masks])
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())


def distances(space, skeleton, patches, masks, plain=refused, key=None):
    key = jax.random.key(3) if key is None else key
    net = CellNetwork(space, skeleton)
    work = PatternWork(net, lambda images: (key, images), lambda apart: apart, len(patches))
    return SharedProgram(space, work, MaskProgram(plain))(masks, patches)


def test_distances_are_those_of_the_patterns_of_every_architecture(rng):
    skeleton = NAS_BENCH_201.skeleton("regions")._replace(channels=2, cells=2)
    patches = rng.normal(size=(20, 3, 3, 2))
    masks = NAS_BENCH_201.sample(jax.random.key(2), 12)
    found = distances(NAS_BENCH_201, skeleton, patches, masks)
    net = CellNetwork(NAS_BENCH_201, skeleton)
    variables = net.initial(jax.random.key(3), patches.shape, patches.dtype, np.ones(NAS_BENCH_201.mask_shape, bool))
    bits = jax.jit(lambda mask: net.apply(variables, patches, mask, method="activation_bits"))
    for mask, apart in zip(masks, found, strict=True):
        on = np.asarray(bits(mask))
        np.testing.assert_array_equal(apart, (on[:, None] != on[None]).sum(-1))


def half_pooled(read, name, x, channels, stride):
    """Linear in what enters, and with weights of its own besides."""
    pooled = read.average_pool(x, window=3, stride=stride, padding=1)
    return read.add([pooled, relu_conv_bn(read, f"{name}.conv", x, channels, stride, kernel=3)])


def shifted(read, name, x, channels, stride):
    """The upper left half of every map, which no other operator is a multiple of."""
    del name, channels, stride
    return read.crop(x, offset=1, stride=1)


OWN = SearchSpace(
    name="own",
    operators=("none", "skip_connect", "half_pooled", "shifted"),
    edges=complete_edges(1, 3),
    definitions={"half_pooled": half_pooled, "shifted": shifted},
)


@pytest.mark.parametrize("batch_norm", ["none", "mean-field"])
def test_kernels_of_an_own_space(rng, batch_norm):
    skeleton, settings = Skeleton(8, 2, stages=1), Settings("standard", batch_norm=batch_norm)
    images = rng.normal(size=(3, 3, 3, 3))
    masks = whole(OWN)
    found = kernels(OWN, images, skeleton, settings, masks)

    @jax.jit
    def alone(mask):
        return analytic_ntk(OWN, mask, images, skeleton=skeleton, settings=settings)

    expected = np.stack([alone(mask) for mask in masks])
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())


def test_distances_of_an_own_space(rng):
    skeleton = NAS_BENCH_201.skeleton("regions")._replace(channels=2, cells=2)
    patches, masks = rng.normal(size=(12, 3, 3, 2)), whole(OWN)[::3]
    found = distances(OWN, skeleton, patches, masks)
    net = CellNetwork(OWN, skeleton)
    variables = net.initial(jax.random.key(3), patches.shape, patches.dtype, np.ones(OWN.mask_shape, bool))
    bits = jax.jit(lambda mask: net.apply(variables, patches, mask, method="activation_bits"))
    for mask, apart in zip(masks, found, strict=True):
        on = np.asarray(bits(mask))
        np.testing.assert_array_equal(apart, (on[:, None] != on[None]).sum(-1))


def test_no_value_depends_on_its_company_or_on_how_much_is_held(rng, monkeypatch):
    skeleton, settings = Skeleton(4, 1, stages=1), Settings("standard", batch_norm="none")
    images, masks = rng.normal(size=(3, 2, 2, 3)), NAS_BENCH_201.sample(jax.random.key(5), 40)
    work = KernelWork(NAS_BENCH_201, skeleton, settings, len(images))
    program = SharedProgram(NAS_BENCH_201, work, MaskProgram(refused))
    together = program(masks, images)
    few = [7, 31, 2]
    np.testing.assert_array_equal(program(masks[few], images), together[few])
    # Tables of a row or two: every architecture is a block of its own.
    monkeypatch.setattr(shared_work, "MOST_BYTES", 1)
    program = SharedProgram(NAS_BENCH_201, work, MaskProgram(refused))
    np.testing.assert_array_equal(program(masks, images), together)


def test_later_cells_depend_neither_on_company_nor_on_how_much_is_held(rng, monkeypatch):
    skeleton, settings = Skeleton(4, 1, stages=2), Settings("standard")
    images, masks = rng.normal(size=(3, 2, 2, 3)), NAS_BENCH_201.sample(jax.random.key(5), 40)
    together = kernels(NAS_BENCH_201, images, skeleton, settings, masks)
    monkeypatch.setattr(cell_kernels, "MOST_ROWS", 1)
    monkeypatch.setattr(cell_kernels, "CAPACITY", 64)  # tables of a few architectures
    work = KernelWork(NAS_BENCH_201, skeleton, settings, len(images))
    program = SharedProgram(NAS_BENCH_201, work, MaskProgram(refused))
    np.testing.assert_array_equal(program(masks, images), together)
    assert len(work.plan(NAS_BENCH_201.choices(masks)[:, 0]).parts) > 2
    few = [7, 31, 2]
    np.testing.assert_array_equal(program(masks[few], images), together[few])


def test_every_architecture_has_the_rows_that_its_last_node_needs():
    pool = np.full((4, 4), 0.25)
    nothing, same = np.zeros((4, 4)), np.eye(4)
    operators = Operators([[nothing], [same], [nothing], [nothing], [pool]], [False, False, True, True, False])
    masks = NAS_BENCH_201.sample(jax.random.key(8), 300)
    plan = routes(NAS_BENCH_201, operators, NAS_BENCH_201.choices(masks)[:, 0])
    ends = np.unique(plan.sums[:, -1], axis=0)

    def made(inputs, steps):
        """What rows are made of, as text, step by step as a table is filled."""
        found = ["", *inputs]
        for step in steps:
            found += [f"fresh{operator}({found[row]})" for operator, row in step.terms]
            found += ["+".join(found[row] for row in rows if row) for rows in step.sources]
            found += [f"map{number}({found[row]})" for number, row in step.pieces]
            found += ["+".join(found[row] for row in rows if row) for rows in step.kernels]
        return found

    first = made(["x"], plan.steps)
    seen = 0
    for part, later in later_cells.parts(plan, 1, ends, 100):
        own = [f"input{number}" for number in range(len(later.sums))]
        rows = made(own, later.steps)
        assert len(rows) <= 100
        for number, (theirs, sums) in enumerate(zip(ends[part], later.sums, strict=True)):
            assert [rows[row] for row in sums] == [first[row].replace("x", own[number]) for row in theirs]
        seen += len(later.sums)
    assert seen == len(ends)


def test_groups_are_of_one_kind():
    requests = np.array([[2, 10], [0, 11], [2, 12], [2, 13], [0, 14], [1, 15]])
    groups, places = grouped(requests, 2)
    np.testing.assert_array_equal(
        groups, [[[0, 11], [0, 14]], [[1, 15], [1, 0]], [[2, 10], [2, 12]], [[2, 13], [2, 0]]]
    )
    np.testing.assert_array_equal(groups.reshape(-1, 2)[places], requests)


def test_groups_go_where_they_are_wanted(rng):
    table = rng.normal(size=(20, 3))
    requests = np.array([[kind, row, 19 - row] for row in range(19) for kind in (2, 0, row % 3)], np.int32)
    expected = [kind * table[first] + table[second] for kind, first, second in requests]
    program = GroupedProgram(lambda kind, rows, table: kind.astype(float) * table[rows[0]] + table[rows[1]], 4, chunk=2)
    np.testing.assert_allclose(program(requests, table), expected, rtol=1e-14)
    rows = Rows()
    rows.append(table)
    program.fill(rows.take(len(requests)), requests, rows.arrays)
    np.testing.assert_array_equal(rows.arrays[20 : len(rows)], program(requests, table))
    np.testing.assert_array_equal(rows.arrays[:20], table)


def test_what_has_the_same_kernels_is_one_route():
    pool = np.full((4, 4), 0.25)
    nothing, same = np.zeros((4, 4)), np.eye(4)
    operators = Operators([[nothing], [same], [nothing], [nothing], [pool]], [False, False, True, True, False])
    cells = [
        "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|nor_conv_1x1~1|none~2|",
        "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|nor_conv_1x1~2|",  # the same by another node
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|",  # two convolutions in parallel
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|avg_pool_3x3~2|",
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|avg_pool_3x3~1|skip_connect~2|",  # mirrored
        "|nor_conv_3x3~0|+|skip_connect~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|",
    ]
    choice = NAS_BENCH_201.choices(np.stack([NAS_BENCH_201.parse(cell) for cell in cells]))[:, 0]
    plan = routes(NAS_BENCH_201, operators, choice)
    last = [tuple(rows) for rows in plan.sums[:, -1]]
    assert last[0] == last[1]
    assert last[3] == last[4]
    assert len(set(last)) == 4
    first, second = sorted(last[2])[-2:]
    assert first == second == max(last[0])  # twice the same kernel
    # Of all 15,625 cells, what is held is a matter of the space: as many rows as the cell has different beginnings.
    every = NAS_BENCH_201.choices(NAS_BENCH_201.enumerated())[:, 0]
    assert routes(NAS_BENCH_201, operators, every).rows < 300


def test_a_table_keeps_its_memory_and_its_rows():
    table = Rows()
    assert table.append({"a": np.array([[0.0, 0], [2, 3], [4, 5]])}) == 0
    held = table.arrays["a"]
    assert held.ctypes.data % 64 == 0  # JAX takes it without copying
    assert table.append({"a": np.ones((2, 2))}) == 3
    assert table.arrays["a"] is held
    assert table.append_sums(table, np.array([[4, 1, 0], [2, 0, 0]])) == 5
    np.testing.assert_array_equal(table.arrays["a"][5:7], [[3, 4], [4, 5]])
    table.append({"a": np.ones((1000, 2))})
    np.testing.assert_array_equal(table.arrays["a"][:3], [[0, 0], [2, 3], [4, 5]])
    table.clear()
    assert len(table) == 0


def test_tables_are_held_as_long_as_a_block_lasts(rng):
    images = rng.normal(size=(3, 2, 2, 3))
    work = KernelWork(NAS_BENCH_201, Skeleton(16, 1, stages=1), Settings("standard", batch_norm="none"), 3)
    program = SharedProgram(NAS_BENCH_201, work, MaskProgram(refused))
    masks = NAS_BENCH_201.sample(jax.random.key(2), 5)
    expected = program(masks, images)
    program.release()
    with program.held():
        np.testing.assert_array_equal(program(masks, images), expected)
        program.release()
        held = work._stack[0]._kernels.arrays
        assert held is not None
        np.testing.assert_allclose(program(masks, images[::-1]), expected[:, ::-1, ::-1], rtol=1e-12)
        assert work._stack[0]._kernels.arrays.nngp is held.nngp, "tables are filled again, not made again"
    assert work._stack[0]._kernels.arrays is None
    np.testing.assert_array_equal(program(masks, images), expected)
