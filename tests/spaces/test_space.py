"""Spaces, masks, strings: against brute force, published architectures and random ones."""

import itertools
import json
import warnings
from collections import Counter

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenas_jax.errors import InputError
from tenas_jax.options import SPACE_NAMES
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.nasbench201_cells import canonical_string, isomorphism_string
from tenas_jax.spaces.registry import SPACES
from tenas_jax.spaces.strings import genotype_json
from tenas_jax.spaces.transnas_micro import TRANSNAS_MICRO

CELLS = {name: space for name, space in SPACES.items() if not space.decisions}

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|"

# (normal, reduce) as "operator source" of nodes 2, 2, 3, 3, 4, 4, 5, 5: Liu et al. 2019 and Chen et al. 2021.
PUBLISHED = {
    "DARTS_V1": (
        "sep_conv_3x3 1, sep_conv_3x3 0, skip_connect 0, sep_conv_3x3 1, "
        "skip_connect 0, sep_conv_3x3 1, sep_conv_3x3 0, skip_connect 2",
        "max_pool_3x3 0, max_pool_3x3 1, skip_connect 2, max_pool_3x3 0, "
        "max_pool_3x3 0, skip_connect 2, skip_connect 2, avg_pool_3x3 0",
    ),
    "DARTS_V2": (
        "sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 0, sep_conv_3x3 1, "
        "sep_conv_3x3 1, skip_connect 0, skip_connect 0, dil_conv_3x3 2",
        "max_pool_3x3 0, max_pool_3x3 1, skip_connect 2, max_pool_3x3 1, "
        "max_pool_3x3 0, skip_connect 2, skip_connect 2, max_pool_3x3 1",
    ),
    "TE-NAS CIFAR-10": (
        "dil_conv_3x3 0, sep_conv_5x5 1, sep_conv_3x3 0, sep_conv_3x3 2, "
        "skip_connect 0, dil_conv_5x5 1, sep_conv_3x3 1, sep_conv_5x5 3",
        "sep_conv_5x5 0, sep_conv_5x5 1, sep_conv_5x5 1, sep_conv_5x5 2, "
        "sep_conv_3x3 1, sep_conv_3x3 3, sep_conv_5x5 2, sep_conv_3x3 4",
    ),
    "TE-NAS ImageNet": (
        "sep_conv_3x3 0, skip_connect 1, dil_conv_5x5 1, sep_conv_3x3 2, "
        "sep_conv_3x3 0, dil_conv_5x5 3, sep_conv_3x3 0, dil_conv_3x3 4",
        "dil_conv_3x3 0, sep_conv_5x5 1, dil_conv_3x3 0, sep_conv_3x3 2, "
        "sep_conv_3x3 0, dil_conv_3x3 1, sep_conv_3x3 0, sep_conv_5x5 4",
    ),
}


@pytest.fixture(scope="module")
def all_cells():
    return list(NAS_BENCH_201.enumerate())


def pairs_of(listed):
    return [(operator, int(source)) for operator, source in (item.split() for item in listed.split(", "))]


def printed(normal, reduce):
    return f"Genotype(normal={normal}, normal_concat=range(2, 6), reduce={reduce}, reduce_concat=range(2, 6))"


def sorted_within_nodes(pairs):
    return [pair for i in range(0, 8, 2) for pair in sorted(pairs[i : i + 2], key=lambda pair: pair[1])]


# --- shapes ---------------------------------------------------------------------------------------


def test_spaces_are_those_of_the_papers():
    assert list(SPACES) == list(SPACE_NAMES)
    assert CELLS == {"nasbench201": NAS_BENCH_201, "darts": DARTS, "transnas-micro": TRANSNAS_MICRO}
    assert NAS_BENCH_201.mask_shape == (1, 6, 5)
    assert NAS_BENCH_201.edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert DARTS.mask_shape == (2, 14, 8)
    assert (NAS_BENCH_201.nodes, DARTS.nodes) == (4, 6)
    # The rows of the released code's edge groups (0, 2), (2, 5), (5, 9), (9, 14) enter nodes 2 to 5.
    assert [target for _, target in DARTS.edges] == [2] * 2 + [3] * 3 + [4] * 4 + [5] * 5
    assert [source for source, _ in DARTS.edges] == [*range(2), *range(3), *range(4), *range(5)]


@pytest.mark.parametrize("space", CELLS.values(), ids=CELLS)
def test_supernet_holds_everything_but_none(space):
    mask = space.supernet()
    space.check(mask)
    assert space.operators[0] == "none"
    assert not mask[..., 0].any()
    assert mask[..., 1:].all()
    assert space.is_connected(mask)


@pytest.mark.parametrize("space", CELLS.values(), ids=CELLS)
def test_check_refuses_what_is_no_mask(space):
    with pytest.raises(InputError, match=r"must be a NumPy array, bool \(\d, \d+, \d\).*it is float64"):
        space.check(space.supernet().astype(float))
    with pytest.raises(InputError, match="must be a NumPy array, bool"):
        space.check(space.supernet()[0])
    empty = space.supernet()
    empty[0, 3] = False
    with pytest.raises(InputError, match="must keep an operator on every edge; edge 3 of cell 0 has none"):
        space.check(empty)


def test_a_half_pruned_mask_has_no_string():
    with pytest.raises(InputError, match="one operator an edge; edge 0 of cell 0 has 4"):
        NAS_BENCH_201.format(NAS_BENCH_201.supernet())


# --- NAS-Bench-201 --------------------------------------------------------------------------------


def test_all_nasbench201_strings_round_trip(all_cells):
    strings = [NAS_BENCH_201.format(mask) for mask in all_cells]
    assert len(set(strings)) == 15_625
    parsed = np.stack([NAS_BENCH_201.parse(string) for string in strings])
    np.testing.assert_array_equal(parsed, np.stack(all_cells))


def test_nasbench201_string_means_the_edges_it_names():
    mask = NAS_BENCH_201.parse(CELL)
    named = {edge: NAS_BENCH_201.operators[mask[0, e].argmax()] for e, edge in enumerate(NAS_BENCH_201.edges)}
    assert named == {
        (0, 1): "nor_conv_3x3",
        (0, 2): "nor_conv_3x3",
        (1, 2): "nor_conv_3x3",
        (0, 3): "skip_connect",
        (1, 3): "nor_conv_1x1",
        (2, 3): "avg_pool_3x3",
    }
    assert NAS_BENCH_201.format(mask) == CELL


def test_enumeration_counts_in_base_five(all_cells):
    choice = all_cells[1234].argmax(-1)[0]
    assert int("".join(map(str, choice)), 5) == 1234
    with pytest.raises(InputError, match="too large to enumerate"):
        next(DARTS.enumerate())


def test_connectedness_is_reachability(all_cells):
    for mask in all_cells[::7]:
        adjacency = np.zeros((4, 4), int)
        for e, edge in enumerate(NAS_BENCH_201.edges):
            adjacency[edge] = not mask[0, e, 0]
        paths = sum(np.linalg.matrix_power(adjacency, length) for length in range(1, 4))
        assert NAS_BENCH_201.is_connected(mask) == (paths[0, 3] > 0)


def test_an_edge_with_none_and_another_operator_still_connects():
    mask = np.zeros(NAS_BENCH_201.mask_shape, bool)
    mask[..., 0] = True
    assert not NAS_BENCH_201.is_connected(mask)
    mask[0, 3, 2] = True
    assert NAS_BENCH_201.is_connected(mask)


def test_a_darts_network_needs_both_cells_connected():
    mask = DARTS.parse(printed(*map(pairs_of, PUBLISHED["DARTS_V1"])))
    assert DARTS.is_connected(mask)
    mask[1] = False
    mask[1, :, 0] = True
    assert not DARTS.is_connected(mask)


@pytest.mark.parametrize(
    ("architecture", "complaint"),
    [
        (CELL.replace("skip_connect", "conv_7x7"), "unknown operator 'conv_7x7'"),
        (CELL.replace("avg_pool_3x3~2", "avg_pool_3x3~1"), "must come from node 2: write `avg_pool_3x3~2`"),
        (CELL.replace("+|nor_conv_3x3~0|nor_conv_3x3~1|", ""), "has 2 nodes between `\\+`; nasbench201 has 3"),
        (CELL.replace("|nor_conv_1x1~1|", "|"), "needs 3 edge"),
        (CELL.replace("|nor_conv_1x1~1|", "||"), "needs 3 edge"),
        (CELL[1:], "node 1 of the architecture"),
        (CELL.replace("~2", ""), "must come from node 2"),
        ("", "has 1 nodes"),
    ],
)
def test_bad_nasbench201_strings_are_refused(architecture, complaint):
    with pytest.raises(InputError, match=complaint):
        NAS_BENCH_201.parse(architecture)


def test_isomorphism_strings_are_6466(all_cells):
    assert len({isomorphism_string(mask) for mask in all_cells}) == 6466


def test_isomorphism_string_of_one_cell():
    # Node 2 sums two convolutions; node 3 the input, a convolution of node 1 and a pooled node 2; sorted.
    assert isomorphism_string(NAS_BENCH_201.parse(CELL)) == (
        "(((0)@nor_conv_3x3)@nor_conv_3x3+(0)@nor_conv_3x3)@avg_pool_3x3+((0)@nor_conv_3x3)@nor_conv_1x1+0"
    )


def test_canonical_string_keeps_shared_convolutions_apart():
    shared = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|")
    apart = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|")
    assert canonical_string(shared) == "1=nor_conv_3x3(x);1+1"
    assert canonical_string(apart) == "1=nor_conv_3x3(x);2=nor_conv_3x3(x);1+2"


def cell_class(choice, rng):
    """What a cell computes at random weights, smallest over all ways to hand the weights to its live convolutions.

    Convolution e is x -> tanh(W_e x) + b_e on vectors, pooling one fixed matrix.
    """
    image, pool, biases = rng.normal(size=3), rng.normal(size=(3, 3)), rng.normal(size=(2, 7, 3))
    weights = rng.normal(size=(2, 7, 3, 3))

    def output(number):
        nodes = [image] + [np.zeros(3)] * 3
        for e, (source, target) in enumerate(NAS_BENCH_201.edges):
            x, operator = nodes[source], NAS_BENCH_201.operators[choice[e]]
            if operator == "skip_connect":
                nodes[target] = nodes[target] + x
            elif operator == "avg_pool_3x3":
                nodes[target] = nodes[target] + pool @ x
            elif operator != "none":
                kind = operator == "nor_conv_3x3"
                nodes[target] = (
                    nodes[target] + np.tanh(weights[int(kind), number[e]] @ x) + biases[int(kind), number[e]]
                )
        return nodes[3]

    start = dict.fromkeys(range(6), 0)
    live = [e for e in range(6) if not np.allclose(output(start), output(start | {e: 6}), atol=1e-12, rtol=0)]
    kinds = [
        [e for e in live if NAS_BENCH_201.operators[choice[e]] == kind] for kind in ("nor_conv_1x1", "nor_conv_3x3")
    ]
    orders = itertools.product(*(itertools.permutations(edges) for edges in kinds))
    values = [output(start | {e: i for edges in order for i, e in enumerate(edges)}) for order in orders]
    return (*map(len, kinds), *np.round(min(map(tuple, values)), 8) + 0.0)


def test_canonical_strings_agree_with_brute_force():
    # Every cell of one convolution type and skips, and random cells of all operators.
    cells = [*itertools.product((0, 1, 3), repeat=6), *np.random.default_rng(1).integers(5, size=(800, 6)).tolist()]
    pairs = {
        (canonical_string(NAS_BENCH_201.one_hot(np.array([cell]))), cell_class(cell, np.random.default_rng(0)))
        for cell in cells
    }
    strings, classes = zip(*pairs, strict=True)
    # One string a class and one class a string; and the set does hold equal cells as well as different ones.
    assert len(set(strings)) == len(pairs) == len(set(classes))
    assert 300 < len(pairs) < len(cells) - 300


# --- DARTS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_genotypes_round_trip(name):
    normal, reduce = map(pairs_of, PUBLISHED[name])
    mask = DARTS.parse(printed(normal, reduce))
    DARTS.check(mask)
    canonical = printed(sorted_within_nodes(normal), sorted_within_nodes(reduce))
    assert DARTS.format(mask) == canonical
    np.testing.assert_array_equal(DARTS.parse(canonical), mask)
    as_json = genotype_json(DARTS, mask)
    assert json.loads(as_json)["normal_concat"] == [2, 3, 4, 5]
    np.testing.assert_array_equal(DARTS.parse(as_json), mask)
    # Read off the mask edge by edge: dropped edges hold only "none".
    for cell, pairs in enumerate((normal, reduce)):
        kept = {(source, 2 + place // 2): operator for place, (operator, source) in enumerate(pairs)}
        expected = [kept.get(edge, "none") for edge in DARTS.edges]
        assert [DARTS.operators[number] for number in mask[cell].argmax(-1)] == expected
        assert (mask[cell].sum(-1) == 1).all()


@st.composite
def genotype_cells(draw):
    pairs = []
    for node in range(2, 6):
        sources = draw(st.permutations(range(node)))[:2]
        pairs += [(draw(st.sampled_from(DARTS.operators[1:])), source) for source in sources]
    return pairs


@settings(max_examples=100, deadline=None)
@given(genotype_cells(), genotype_cells())
def test_random_genotypes_round_trip(normal, reduce):
    mask = DARTS.parse(printed(normal, reduce))
    assert DARTS.format(mask) == printed(sorted_within_nodes(normal), sorted_within_nodes(reduce))
    np.testing.assert_array_equal(DARTS.parse(DARTS.format(mask)), mask)
    np.testing.assert_array_equal(DARTS.parse(genotype_json(DARTS, mask)), mask)


GENOTYPE = printed(*map(pairs_of, PUBLISHED["DARTS_V2"]))


@pytest.mark.parametrize(
    ("architecture", "complaint"),
    [
        (
            GENOTYPE.replace("dil_conv_3x3", "dil_conv_7x7"),
            "'dil_conv_7x7'.*must name one of the operators skip_connect",
        ),
        (GENOTYPE.replace("dil_conv_3x3", "none"), "must name one of the operators"),
        (
            GENOTYPE.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)"),
            "enters node 5, must take its input from .* 0 to 4",
        ),
        (GENOTYPE.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', -1)"), "must take its input"),
        (GENOTYPE.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)"), "names node 0 a second time"),
        (GENOTYPE.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', True)"), "the number of an input node"),
        (GENOTYPE.replace("('dil_conv_3x3', 2)", "'dil_conv_3x3'"), "the number of an input node"),
        (GENOTYPE.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 2), ('dil_conv_3x3', 3)"), "8 pairs .* lists 9"),
        (GENOTYPE.replace(", ('dil_conv_3x3', 2)", ""), "2 for each of the nodes 2 to 5; it lists 7"),
        (GENOTYPE.replace("normal_concat=range(2, 6)", "normal_concat=range(1, 6)"), "`normal_concat` must be range"),
        (GENOTYPE[: GENOTYPE.index(", reduce=")] + ")", "lacks 'reduce', 'reduce_concat'"),
        (GENOTYPE.replace("reduce_concat", "third_concat"), "lacks 'reduce_concat'"),
        (GENOTYPE[:-1] + ", third=[])", "also has 'third'"),
        (GENOTYPE[:-1], "not of the form `Genotype"),
        (GENOTYPE.replace("Genotype", "print"), "not of the form `Genotype"),
        (GENOTYPE.replace("range(2, 6)", "__import__('os').getpid()"), "not of the form `Genotype"),
        (GENOTYPE.replace("range(2, 6)", "range(2)"), "not of the form `Genotype"),
        (GENOTYPE.replace("range(2, 6)", "range(2, 10**9)"), "not of the form `Genotype"),
        ("Genotype([], [])", "not of the form `Genotype"),
        (CELL, "not of the form `Genotype"),
        ("", "not of the form `Genotype"),
        ("{", "not valid JSON"),
        ("{}", "lacks 'normal'"),
        ('{"normal": 3, "normal_concat": [2, 3, 4, 5], "reduce": 3, "reduce_concat": [2, 3, 4, 5]}', "it lists 3"),
    ],
)
def test_bad_genotypes_are_refused(architecture, complaint):
    with pytest.raises(InputError, match=complaint):
        DARTS.parse(architecture)


def test_a_genotype_that_is_no_python_says_nothing_of_its_own():
    """Python's parser warns of `0if` on standard error, where the answer is one sentence."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(InputError, match="is not of the form"):
            DARTS.parse(GENOTYPE.replace("0", "0if 1else 2", 1))
    assert warned == []


@pytest.mark.parametrize("node", [3, 5])
def test_a_genotype_prints_two_inputs_a_node(node):
    mask = DARTS.parse(GENOTYPE)
    edge = next(e for e, (_, target) in enumerate(DARTS.edges) if target == node and not mask[1, e, 0])
    mask[1, edge] = DARTS.one_hot(np.array(0))
    with pytest.raises(InputError, match=f"2 input edges a node; node {node} of the reduce cell has 1"):
        DARTS.format(mask)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text("|~+nor_cv3x10 ", max_size=60) | st.text("Gen(type){}[]\"',0123:=.", max_size=60))
def test_no_text_raises_anything_but_an_input_error(text):
    for space in SPACES.values():
        with pytest.raises(InputError):
            space.parse(text)


# --- sampling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_samples_are_single_architectures_and_a_function_of_the_key(space):
    masks = space.sample(jax.random.key(3), 40)
    assert masks.shape == (40, *space.mask_shape)
    for mask in masks:
        np.testing.assert_array_equal(space.parse(space.format(mask)), mask)
    np.testing.assert_array_equal(space.sample(jax.random.key(3), 40), masks)
    assert (space.sample(jax.random.key(4), 40) != masks).any()


def test_samples_are_uniform():
    n = 20_000
    counts = NAS_BENCH_201.sample(jax.random.key(0), n).sum(0)
    # Five standard errors of a binomial count: only real bias fails.
    assert np.abs(counts - n / 5).max() < 5 * np.sqrt(n * 0.2 * 0.8)
    masks = DARTS.sample(jax.random.key(0), n)
    last_node = [e for e, (_, target) in enumerate(DARTS.edges) if target == 5]
    kept = ~masks[:, 0, last_node, 0]
    subsets = Counter(map(tuple, np.argwhere(kept)[:, 1].reshape(n, 2).tolist()))
    assert len(subsets) == 10
    assert max(abs(count - n / 10) for count in subsets.values()) < 5 * np.sqrt(n * 0.1 * 0.9)
    operators = masks[:, 1, :, 1:].sum((0, 1))
    drawn = operators.sum()
    assert drawn == 8 * n
    assert np.abs(operators - drawn / 7).max() < 5 * np.sqrt(drawn / 7 * 6 / 7)
