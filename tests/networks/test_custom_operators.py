"""Custom operators keep weights by name: names that would share weights are refused, with the name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tenas_jax
from tenas_jax import CellNetwork, InputError, SearchSpace, Skeleton, complete_edges, costs
from tenas_jax.networks.operator_check import check_operators


def space_of(operator):
    operators = ("none", "skip_connect", "mine")
    return SearchSpace(name="tiny", operators=operators, edges=complete_edges(1, 3), definitions={"mine": operator})


def twice(first, second):
    """Two convolutions under names of one's choice."""

    def operator(read, name, x, channels, stride):
        x = read.convolution(first.format(name=name), x, channels)
        return read.batch_norm(f"{name}.norm", read.convolution(second.format(name=name), x, channels))

    return operator


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("conv", "{name}.conv", "keeps a weight under the name 'conv', which every edge would share"),
        ("{name}.conv", "{name}.conv", r"keeps two weights under the name '\{name\}.conv', which would be one"),
    ],
)
def test_shared_names_are_refused(first, second, said):
    space = space_of(twice(first, second))
    with pytest.raises(InputError, match=f"the operator 'mine' of tiny {said}"):
        check_operators(space)
    net = CellNetwork(space, Skeleton(channels=2, cells=1, stages=1))
    with pytest.raises(InputError, match=said):
        net.init(jax.random.key(0), jnp.ones((2, 4, 4, 3), "float32"), space.one_hot(np.full((1, 3), 2)))


def test_good_names_are_weights_of_their_own():
    """Counted in the finite network, edge by edge: 2 x 2 weights twice, a scale and a shift, on three edges."""
    space = space_of(twice("{name}.first", "{name}.second"))
    skeleton, images = Skeleton(channels=2, cells=1, stages=1), jnp.ones((2, 4, 4, 3), "float32")
    mask, idle = (space.one_hot(np.full((1, 3), operator)) for operator in (2, 1))
    net = CellNetwork(space, skeleton)
    sizes = []
    for one in (mask, idle):
        variables = jax.eval_shape(lambda key, one=one: net.init(key, images, one), jax.random.key(0))
        sizes.append(sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])))
    assert sizes[0] - sizes[1] == 3 * (4 + 4 + 2 + 2)
    found = costs(space, np.stack([mask, idle]), skeleton=skeleton).parameters
    assert found[0] - found[1] == sizes[0] - sizes[1]


def test_an_operator_that_fails_says_where():
    def fails(read, name, x, channels, stride):
        return read.convolution(f"{name}.conv", x.no_such_thing, channels)

    with pytest.raises(InputError, match=r"fails in .*test_custom_operators\.py, line \d+ \(AttributeError"):
        check_operators(space_of(fails))


def test_masks_are_checked():
    space = space_of(twice("{name}.first", "{name}.second"))
    mask = space.one_hot(np.full((1, 3), 2))
    net, images = CellNetwork(space, Skeleton(channels=2, cells=1, stages=1)), jnp.ones((2, 4, 4, 3), "float32")
    empty = mask.copy()
    empty[0, 1] = False
    with pytest.raises(InputError, match="edge 1 of cell 0 has none"):
        net.init(jax.random.key(0), images, empty)
    for bad in (mask.astype(int), mask[:, :2], mask[0]):
        with pytest.raises(InputError, match=r"`mask` must be bool \(\.\.\., 1, 3, 3\)"):
            costs(space, bad)
        with pytest.raises(InputError, match="`mask` must be"):
            space.is_connected(bad)


def test_the_public_face_is_whole():
    """Every name that is promised is there, and what was a module once is still reached."""
    for name in tenas_jax.__all__:
        assert getattr(tenas_jax, name) is not None
    assert tenas_jax.cost.costs is costs
    assert tenas_jax.models.linen_model is tenas_jax.linen_model
    assert tenas_jax.data.open_images is not None
    assert tenas_jax.KernelSettings().batch_norm
    assert tenas_jax.Macro is Skeleton
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tenas_jax.nothing  # noqa: B018


def test_regions_of_patterns(rng):
    """The two public functions one after the other; distinct rows counted by NumPy."""
    weights, images = jnp.asarray(rng.normal(size=(3, 4))), jnp.asarray(rng.normal(size=(20, 3)))
    patterns = tenas_jax.activation_patterns(lambda x: jax.nn.relu(x @ weights), images)
    assert tenas_jax.count_linear_regions(patterns).count == len(np.unique(np.asarray(images @ weights) > 0, axis=0))
    np.testing.assert_array_equal(tenas_jax.hamming_kernel(patterns), tenas_jax.hamming_kernel(patterns.bits))
    with pytest.raises(InputError, match="`patterns` must be bool"):
        tenas_jax.count_linear_regions([[1, 0]])  # pyright: ignore
