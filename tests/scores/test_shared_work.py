"""What architectures share is computed once: the same values as one by one, whatever is evaluated beside."""

import jax
import numpy as np
import pytest

from tenas_jax import NAS_BENCH_201, analytic_ntk
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.ntk.gaussian_kernels import Settings
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.shared_kernels import KernelWork
from tenas_jax.scores.shared_patterns import PatternWork
from tenas_jax.scores.shared_work import SharedProgram
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
    variables = net.init(jax.random.key(3), patches, np.ones(NAS_BENCH_201.mask_shape, bool))
    bits = jax.jit(lambda mask: net.apply(variables, patches, mask, method="activation_bits"))
    for mask, apart in zip(masks, found, strict=True):
        on = np.asarray(bits(mask))
        np.testing.assert_array_equal(apart, (on[:, None] != on[None]).sum(-1))
