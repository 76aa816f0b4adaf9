"""Effective neurons as a score: one program with a traced mask, beside the network of each architecture alone."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from tenas_jax.data import open_images
from tenas_jax.networks.cost import costs
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.scores.programs import score_programs
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.score import Patterns, of_patterns
from tenas_jax.spaces.skeleton import Skeleton

SKELETON = Skeleton(channels=2, cells=1, stages=2)
WORK = Patterns(SKELETON, side=4, samples=6, whole=True)
FAMILY = replace(NAS_BENCH_201.family, scores=lambda ntk, thin: of_patterns(WORK, "", "", "effective_neurons"))
SPACE = replace(NAS_BENCH_201, like=FAMILY)
CELLS = [[3, 1, 3, 2, 4, 3], [0, 1, 0, 2, 3, 0]]


def test_effective_neurons_are_neurons_times_the_mean_participation_ratio():
    masks = SPACE.one_hot(np.array(CELLS)[:, None])
    (program,) = score_programs(SPACE, SPACE.scores)
    words, batches = program.draw(jax.random.key(3), open_images())
    values, health = program.read(program.compiled(masks, words, batches), masks)["effective_neurons"]
    assert set(health) == {"counted"}
    net, (weights, _) = CellNetwork(SPACE, SKELETON), jax.random.split(jax.random.wrap_key_data(jnp.asarray(words)))
    variables = net.initial(weights, batches[0].shape, batches.dtype)
    for value, mask in zip(values, masks, strict=True):
        logs = []
        for layer in net.apply(variables, batches[0], mask, method="activation_layers"):
            bits = np.asarray(layer, float)
            singular = np.linalg.svd(bits - bits.mean(0), compute_uv=False) ** 2
            logs += [np.log(singular.sum() ** 2 / (singular**2).sum())] if singular.sum() > 0 else []
        expected = costs(SPACE, mask, skeleton=SKELETON, side=4).neurons * np.exp(np.mean(logs))
        assert np.isclose(value, expected, rtol=1e-4)
