"""The latency of one architecture on the device at hand: a compiled forward pass of the network that is trained."""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tenas_jax.spaces.cell_graph import Mask
from tenas_jax.spaces.space import SearchSpace

WARM_UPS = 3  # runs that do not count
REPEATS = 30
DTYPE = "float32"


class Latency(NamedTuple):
    """How long a forward pass takes.

    Attributes:
        milliseconds: the median of the repeats.
        spread: the distance of their quartiles, in milliseconds.
        compile_seconds: before.
    """

    milliseconds: float
    spread: float
    compile_seconds: float


def measure_latency(space: SearchSpace, mask: Mask, batch: int = 1, *, repeats: int = REPEATS) -> Latency:
    """Compiles and runs the forward pass of one architecture, with frozen batch norms, on images of the space's side.

    A program that takes masks as data, as those that score, would run all operators of the supernet: so every architecture
    is compiled by itself, and what leads nowhere is left out by the compiler.

    Args:
        space: the search space.
        mask: of a single architecture.
        batch: images of a pass.
        repeats: runs that are timed, after `WARM_UPS` that are not.

    Raises:
        InputError: where the mask is no single architecture, or a custom operator fails.
    """
    from tenas_jax.networks.stand_alone import Blueprint, StandAlone  # takes a second to load

    choice = tuple(tuple(int(operator) for operator in cell) for cell in space.choice(mask))
    module = StandAlone(Blueprint(space, choice, space.skeleton("trained")))
    images = jnp.ones((batch, space.family.side, space.family.side, 3), DTYPE)
    variables = module.initial(jax.random.key(0), images.shape)
    start = time.perf_counter()
    forward = jax.jit(module.apply).lower(variables, images).compile()
    compiled = time.perf_counter()
    for _ in range(WARM_UPS):
        jax.block_until_ready(forward(variables, images))
    seconds = []
    for _ in range(repeats):
        before = time.perf_counter()
        jax.block_until_ready(forward(variables, images))
        seconds.append(time.perf_counter() - before)
    low, middle, high = (1e3 * np.quantile(seconds, [0.25, 0.5, 0.75])).tolist()
    return Latency(middle, high - low, compiled - start)
