"""Indicators against the same computation by hand, one mask at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.data import image_batch, open_images, patch_batch
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.scores.indicators import indicator
from tenas_jax.scores.mask_program import CHUNK, MaskProgram
from tenas_jax.scores.scorer import prepare
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.registry import SPACES
from tenas_jax.spaces.score import Kernel, Patterns, of_kernel, of_patterns
from tenas_jax.spaces.skeleton import Skeleton

SOURCE = open_images()
FULL = np.ones(NAS_BENCH_201.mask_shape, bool)
MASKS = np.concatenate([NAS_BENCH_201.supernet()[None], NAS_BENCH_201.sample(jax.random.key(1), 3)])
KEY = jax.random.key(7)


@pytest.mark.parametrize("count", [1, 2, CHUNK, 2 * CHUNK + 5])
def test_masks_are_evaluated_in_order_by_one_program(rng, count):
    masks = rng.random((count, 1, 6, 5)) > 0.5
    program = MaskProgram(lambda mask, weights: jnp.where(mask, weights, 0.0).sum((0, 2)))
    weights = rng.normal(size=(1, 6, 5))
    for _ in range(2):
        np.testing.assert_allclose(program(masks, jnp.asarray(weights)), (masks * weights).sum((1, 3)), atol=1e-12)
    program(masks[:1], jnp.asarray(2 * weights))
    assert program.compilations == 1
    assert program.compile_seconds > 0


def test_region_counts_are_sets_of_patterns_of_shared_weights():
    skeleton = SPACES["nasbench201"].skeleton("regions")
    (definition,) = of_patterns(
        Patterns(skeleton, channels=1, samples=40, batches=2), "", "", "linear_regions"
    ).values()
    count = indicator(NAS_BENCH_201, SOURCE, "linear_regions", definition, repeats=2)
    scores = count.evaluate(KEY, MASKS)
    assert scores.values.shape == scores.health.shape == (2, 4)
    np.testing.assert_array_equal(count.evaluate(KEY, MASKS[2:]).values, scores.values[:, 2:])
    assert count.program.compilations == 1

    net = CellNetwork(NAS_BENCH_201, skeleton)
    for repeat in range(2):
        weights, drawn = jax.random.split(jax.random.fold_in(KEY, repeat))
        batches = np.split(patch_batch(drawn, SOURCE, 80, patch=3, channels=1), 2)
        words, _ = jax.random.split(weights)  # the other key mixes colours, where the channels are others
        variables = net.initial(words, batches[0].shape, batches[0].dtype, FULL)  # of the supernet, whatever the mask
        for place, mask in enumerate(MASKS):
            bits = [net.apply(variables, jnp.asarray(b), mask, method="activation_bits") for b in batches]
            found = len({row.tobytes() for row in np.concatenate(bits)})
            assert scores.values[repeat, place] == found
            assert scores.health[repeat, place] == ("saturated" if found > 76 else "counted")


def test_one_definition_under_two_names_is_two_scores():
    """As of a space whose network has one stage, where the condition number is that of one stage too."""
    skeleton = SPACES["nasbench201"].skeleton("regions")
    (definition,) = of_patterns(Patterns(skeleton, channels=1, samples=40), "", "", "linear_regions").values()
    masks = NAS_BENCH_201.sample(KEY, 3)
    values = prepare(NAS_BENCH_201, {"one": definition, "other": definition}, SOURCE, repeats=1)(masks).values
    np.testing.assert_array_equal(values["one"], values["other"])
    np.testing.assert_array_equal(np.isfinite(values["one"][0]), NAS_BENCH_201.connected(masks))


@pytest.mark.parametrize("samples", [3, 40])
def test_log_determinants_are_those_of_patterns_of_shared_weights(samples):
    skeleton = SPACES["nasbench201"].skeleton("regions")
    patterns = Patterns(skeleton, channels=1, side=2, samples=samples)
    (definition,) = of_patterns(patterns, "", "", "hamming_log_determinant").values()
    log_determinant = indicator(NAS_BENCH_201, SOURCE, "hamming_log_determinant", definition, repeats=2)
    scores = log_determinant.evaluate(KEY, MASKS)
    assert scores.values.shape == scores.health.shape == (2, 4)
    np.testing.assert_array_equal(log_determinant.evaluate(KEY, MASKS[2:]).values, scores.values[:, 2:])
    net = CellNetwork(NAS_BENCH_201, skeleton)
    for repeat in range(2):
        weights, drawn = jax.random.split(jax.random.fold_in(KEY, repeat))
        patches = jnp.asarray(patch_batch(drawn, SOURCE, samples, patch=2, channels=1))
        words, _ = jax.random.split(weights)
        variables = net.initial(words, patches.shape, patches.dtype, FULL)
        for place, mask in enumerate(MASKS):
            bits = np.asarray(net.apply(variables, patches, mask, method="activation_bits"))
            # A stand-alone network has live neurons only, of 12 convolutions and the end. The dead agree on all inputs.
            dead = 13 * 2 * 2 - bits.shape[1]
            agreements = (bits[:, None] == bits[None]).sum(-1) + dead
            expected = np.linalg.slogdet(agreements + np.eye(samples))[1]
            np.testing.assert_allclose(scores.values[repeat, place], expected, rtol=1e-10)
            distinct = len({row.tobytes() for row in bits}) == samples
            assert scores.health[repeat, place] == ("distinct" if distinct else "shared")
    assert ("distinct" if samples == 3 else "shared") in scores.health


@pytest.mark.slow
@pytest.mark.parametrize("batch_stats", ["frozen", "coupled"])
def test_condition_numbers_are_those_of_explicit_gradients(batch_stats):
    skeleton = Skeleton(channels=1, cells=1, stages=1)
    kernel = Kernel(skeleton, "empirical", images=4, side=4, batch_stats=batch_stats, fan="fan_out")
    definition = of_kernel(kernel)["condition_number"]
    scores = indicator(NAS_BENCH_201, SOURCE, "condition_number", definition).evaluate(KEY, MASKS[1:3])
    weights, batch = jax.random.split(jax.random.fold_in(KEY, 0))
    images = jnp.asarray(image_batch(batch, SOURCE, 4, side=4))
    net = CellNetwork(NAS_BENCH_201, skeleton, "fan_out")
    variables = net.initial(weights, images.shape, images.dtype, FULL)
    for place, mask in enumerate(MASKS[1:3]):
        _, state = net.apply(variables, images, mask, mutable=["batch_stats"])

        def logits(params, mask=mask, state=state):
            if batch_stats == "coupled":
                return net.apply({**variables, "params": params}, images, mask).sum(1)
            return net.apply({**state, "params": params}, images, mask, train=False).sum(1)

        rows = jax.jit(jax.jacrev(logits))(variables["params"])
        jacobian = np.concatenate([row.reshape(4, -1) for name, row in rows.items() if "bias" not in name], axis=1)
        singular = np.linalg.svd(jacobian, compute_uv=False)
        condition = (singular[0] / singular[-1]) ** 2
        if condition < 1e13:
            np.testing.assert_allclose(scores.values[0, place], condition, rtol=1e-5)
            assert scores.health[0, place] == "full rank"
        else:
            assert scores.values[0, place] == np.inf
            assert scores.health[0, place] == "rank-deficient"
