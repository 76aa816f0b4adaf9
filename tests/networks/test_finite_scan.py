"""One `lax.scan` over the edges of a cell gives what the cell written out gives."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.networks.finite import CellNetwork
from tenas_jax.networks.finite_scan import ScannedNetwork
from tenas_jax.spaces.cell_graph import complete_edges
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.registry import SPACES
from tenas_jax.spaces.skeleton import Skeleton

SKELETON = Skeleton(channels=2, cells=1, stages=1)
# Three of its edges: one from the input to each node, one between them.
SPACE = replace(NAS_BENCH_201, name="three_edges", edges=complete_edges(1, 3))


def unstacked(stacked):
    """Variables of a `CellNetwork` from those of a `ScannedNetwork`."""
    result = {}
    for name, values in stacked.items():
        place, _, rest = name.partition(".stride1.edge.")
        if rest:
            parts = [jax.tree.map(lambda v, e=e: v[e], values) for e in range(len(SPACE.edges))]
            result |= {f"{place}.edge{e}.{rest}": part for e, part in enumerate(parts)}
        else:
            result[name] = values
    return result


@pytest.fixture(scope="module")
def networks():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(5, 4, 4, 3)))
    scanned, written_out = ScannedNetwork(SPACE, SKELETON), CellNetwork(SPACE, SKELETON)
    mask = np.ones(SPACE.mask_shape, bool)
    shapes = jax.eval_shape(lambda: scanned.init(jax.random.key(0), images, mask))
    variables = jax.tree.map(lambda leaf: jnp.asarray(1 + rng.normal(size=leaf.shape) / 4), shapes)
    same = {collection: unstacked(values) for collection, values in variables.items()}
    expected = jax.eval_shape(lambda: written_out.init(jax.random.key(0), images, mask))
    assert jax.tree.map(jnp.shape, same) == jax.tree.map(jnp.shape, expected)
    mask = SPACE.supernet()
    mask[0, 1] = [True, False, False, False, False]
    mask[0, 2, 2] = False
    return images, jnp.asarray(mask), (scanned, variables), (written_out, same)


def test_logits_and_batch_statistics(networks):
    images, mask, (scanned, variables), (written_out, same) = networks

    def both(net, variables, mask):
        trained, state = net.apply(variables, images, mask, mutable=["batch_stats"])
        return trained, state["batch_stats"], net.apply(variables, images, mask, train=False)

    mine, seen, frozen = jax.jit(lambda v, m: both(scanned, v, m))(variables, mask)
    theirs, expected, frozen_expected = jax.jit(lambda v, m: both(written_out, v, m))(same, mask)
    np.testing.assert_allclose(mine, theirs, atol=1e-12)
    np.testing.assert_allclose(frozen, frozen_expected, atol=1e-12)
    assert np.ptp(theirs, axis=0).min() > 1e-3
    assert np.abs(theirs - frozen).max() > 1e-3
    assert set(unstacked(seen)) == set(expected)
    for name, moments in expected.items():
        np.testing.assert_allclose(unstacked(seen)[name], moments, atol=1e-12, err_msg=name)


def test_gradients(networks):
    images, mask, (scanned, variables), (written_out, same) = networks

    def gradient(net, variables):
        def loss(params):
            return jnp.sin(net.apply({**variables, "params": params}, images, mask)).sum()

        return jax.jit(jax.grad(loss))(variables["params"])

    mine, theirs = unstacked(gradient(scanned, variables)), gradient(written_out, same)
    for name, expected in theirs.items():
        np.testing.assert_allclose(mine[name], expected, atol=1e-10, err_msg=name)
    assert not np.any(mine["stage0.cell0.edge1.nor_conv_3x3.conv.kernel"])  # a dead operator
    assert np.any(mine["stage0.cell0.edge2.nor_conv_3x3.conv.kernel"])


def test_activation_bits_are_the_same_neurons(networks):
    images, mask, (scanned, variables), (written_out, same) = networks
    mine, theirs = (
        np.asarray(jax.jit(lambda v, m, net=net: net.apply(v, images, m, method="activation_bits"))(v, mask))
        for net, v in ((scanned, variables), (written_out, same))
    )
    assert mine.shape == theirs.shape
    # Written out, a network meets its ReLUs node by node, in a loop edge by edge: the columns are in another order.
    np.testing.assert_array_equal(np.sort(np.packbits(mine, axis=0)), np.sort(np.packbits(theirs, axis=0)))
    assert theirs.any()


def test_a_mask_that_is_known_gives_the_same_logits(networks):
    images, mask, (scanned, variables), _ = networks
    known, data = np.asarray(mask), jax.jit(lambda m: scanned.apply(variables, images, m))(mask)
    np.testing.assert_allclose(jax.jit(lambda: scanned.apply(variables, images, known))(), data, atol=1e-12)


@pytest.mark.parametrize("fan", ["fan_in", "fan_out"])
def test_initial_weights_are_kaiming_normal(fan):
    net = ScannedNetwork(DARTS, SPACES["darts"].skeleton("ntk")._replace(channels=32), fan)
    images, mask = jnp.zeros((2, 4, 4, 3)), DARTS.supernet()
    program = jax.jit(lambda key: net.initial(key, images.shape, images.dtype, mask)["params"])

    def initial(key):
        return jax.device_get(program(key))

    parameters = initial(jax.random.key(0))
    for name, values in parameters.items():
        if name.endswith("kernel"):
            units = values.shape[-2 if fan == "fan_in" else -1]
            variance = 2 / (units * (np.prod(values.shape[-4:-2]) if values.ndim >= 4 else 1))
            # Five standard errors of a sample variance.
            assert abs(np.var(values) / variance - 1) < 5 * (2 / values.size) ** 0.5, name
            assert abs(np.mean(values)) < 5 * (variance / values.size) ** 0.5, name
        else:
            np.testing.assert_array_equal(values, float(name.endswith("scale")))
    drawn = np.concatenate([np.ravel(v) for name, v in parameters.items() if name.endswith("kernel")])
    assert len(np.unique(drawn)) == len(drawn)
    jax.tree.map(np.testing.assert_array_equal, parameters, initial(jax.random.key(0)))
    other = initial(jax.random.key(1))
    assert not np.array_equal(other["stem.conv.kernel"], parameters["stem.conv.kernel"])
