"""Many masks by one compiled program, on one device and on several."""

import itertools
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax import NAS_BENCH_201, analytic_ntk
from tenas_jax.command_line import cpu_count
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.scores.mask_program import CHUNK, MaskProgram, beside_each_other
from tenas_jax.spaces.skeleton import Skeleton


def weighed(mask, weights):
    return jnp.tanh((jnp.where(mask, weights, jnp.zeros_like(weights))).sum((0, 1)))


@pytest.mark.parametrize("count", [1, 2, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_every_mask_gets_its_value_in_order(rng, count):
    masks = rng.random((count, *NAS_BENCH_201.mask_shape)) > 0.5
    weights = rng.normal(size=NAS_BENCH_201.mask_shape)
    program = MaskProgram(weighed)
    expected = np.tanh((masks * weights).sum((1, 2)))
    np.testing.assert_allclose(program(masks, weights), expected, rtol=1e-12)
    assert program.compilations == 1


def test_results_go_where_they_are_wanted(rng):
    masks = rng.random((CHUNK + 5, *NAS_BENCH_201.mask_shape)) > 0.5
    weights = rng.normal(size=NAS_BENCH_201.mask_shape)
    program = MaskProgram(lambda mask, weights: {"a": weighed(mask, weights), "b": mask.sum()}, chunk=8)
    table = {"a": np.full((len(masks) + 2, 5), 7.0), "b": np.full(len(masks) + 2, 7)}
    program.fill(jax.tree.map(lambda rows: rows[1:-1], table), masks, weights)
    for found, expected in zip(jax.tree.leaves(table), jax.tree.leaves(program(masks, weights)), strict=True):
        np.testing.assert_array_equal(found[1:-1], expected)
        assert (found[[0, -1]] == 7).all()
    assert program.compilations == 1


def test_small_masks_are_not_shared_among_threads():
    """XLA shares what takes long, a sine of many numbers, unless every thread has masks of its own."""

    def sines(mask, numbers):
        return jnp.sin(numbers + mask.sum().astype(float))

    for many in (False, True):
        [program] = MaskProgram(sines, many=many)._programs(np.ones((2, 3), bool), (np.ones((512, 512)),))
        shared = '"outer_dimension_partitions":["' in program.as_text()
        assert shared == (not many and cpu_count() > 1)


SCRIPT = textwrap.dedent("""
    import sys
    import jax
    import numpy as np
    from tenas_jax import SearchSpace, analytic_ntk
    from tenas_jax.networks.finite import CellNetwork
    from tenas_jax.spaces.skeleton import Skeleton
    from tenas_jax.scores.mask_program import MaskProgram

    operators = ("none", "skip_connect", "nor_conv_3x3")
    space = SearchSpace(name="small", operators=operators, edges=((0, 1), (0, 2), (1, 2)))
    masks = space.sample(jax.random.key(0), 77)
    images = np.random.default_rng(0).normal(size=(4, 4, 4, 3)).astype(np.float32)
    kernel = MaskProgram(lambda mask, images: analytic_ntk(space, mask, images, skeleton=Skeleton(16, 1, stages=1)))
    net = CellNetwork(space, space.skeleton("regions")._replace(channels=3))

    def bits(mask, images):
        variables = net.initial(jax.random.key(1), images.shape, images.dtype, np.ones(space.mask_shape, bool))
        return net.apply(variables, images, mask, method="activation_bits").sum(1)

    np.savez(sys.argv[1], kernels=kernel(masks, images), bits=MaskProgram(bits)(masks, images))
    print(jax.local_device_count())
""")


def test_several_devices_give_the_same_bits_as_one(tmp_path):
    results = []
    for devices in (1, 3):
        flags = f"--xla_force_host_platform_device_count={devices}"
        path = tmp_path / f"{devices}.npz"
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, path],
            env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [str(devices)]
        with np.load(path) as saved:
            results.append({name: saved[name] for name in saved})
    for name, value in results[0].items():
        assert len(value) == 77
        assert np.array_equal(value, results[1][name])


@pytest.mark.slow
def test_masks_side_by_side_as_on_an_accelerator(rng, monkeypatch):
    """The other route, forced: masks are a batch dimension, and every mask still has its own value."""
    masks = NAS_BENCH_201.sample(jax.random.key(0), CHUNK + 3)
    images = rng.normal(size=(3, 4, 4, 3))
    net = CellNetwork(NAS_BENCH_201, Skeleton(channels=2, cells=1, stages=1))
    variables = net.initial(jax.random.key(1), images.shape, images.dtype)

    def kernel(mask, images):
        return analytic_ntk(NAS_BENCH_201, mask, images, skeleton=Skeleton(4, 1, stages=1))

    def logits(mask, images):
        return net.apply(variables, images, mask)

    found = {}
    for backend in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        programs = [MaskProgram(function) for function in (kernel, logits, weighed)]
        arguments = [images, images, rng.normal(size=NAS_BENCH_201.mask_shape) if not found else found["cpu"][1]]
        found[backend] = [p(masks, a) for p, a in zip(programs, arguments, strict=True)], arguments[2]
        assert [program.compilations for program in programs] == [1, 1, 1]
    for one_by_one, side_by_side in zip(found["cpu"][0], found["gpu"][0], strict=True):
        assert len(side_by_side) == len(masks)
        np.testing.assert_allclose(side_by_side, one_by_one, rtol=1e-10, atol=1e-12)


def test_evaluations_beside_each_other_yield_what_they_yield_alone(rng):
    programs = [MaskProgram(weighed) for _ in range(5)]
    masks = rng.random((40, *NAS_BENCH_201.mask_shape)) > 0.5
    weights = rng.normal(size=(5, 3, *NAS_BENCH_201.mask_shape))
    found = beside_each_other(
        [(program(masks, one) for one in own) for program, own in zip(programs, weights, strict=True)]
    )
    for own, results in zip(weights, found, strict=True):
        np.testing.assert_array_equal(results, [MaskProgram(weighed)(masks, one) for one in own])
    assert beside_each_other([]) == []


def test_after_an_exception_the_other_evaluations_end():
    def fails():
        yield 0
        raise ValueError("one of them")

    with pytest.raises(ValueError, match="one of them"):
        beside_each_other([fails(), itertools.count()])  # would never end by itself
