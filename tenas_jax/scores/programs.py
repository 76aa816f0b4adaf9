"""Score programs: what is compiled and drawn for scores that share a kernel or activation patterns.

A score says one thing of an architecture; a program is the work that some scores share. What it draws at random, images and
weights, is drawn before, once for all architectures: plain arrays, so that another machine can evaluate masks without the
images.

The latest programs are kept, so that a second search of one process compiles nothing; `program_cache.clear_cache` forgets
them. They have tables of their own, so each thread has its own programs.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from tenas_jax.data import ImageSource, image_batch, patch_batch
from tenas_jax.networks import cost
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.networks.finite_scan import ScannedNetwork
from tenas_jax.networks.initial_weights import Fan
from tenas_jax.ntk.analytic import analytic_ntk
from tenas_jax.ntk.empirical import empirical_ntk, is_weight
from tenas_jax.ntk.gaussian_kernels import Settings
from tenas_jax.ntk.spectrum import log_determinants, statistics
from tenas_jax.patterns.hamming import (
    effective_number,
    effective_regions,
    hamming_distances,
    hamming_kernel,
    independent_patterns,
    regularised_log_determinant,
)
from tenas_jax.patterns.regions import SATURATED, count_hashes, hash_patterns
from tenas_jax.program_cache import ALSO_CLEARED, context
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.shared_kernels import KernelWork
from tenas_jax.scores.shared_patterns import PatternWork
from tenas_jax.scores.shared_work import SharedProgram
from tenas_jax.spaces.registry import SPACES
from tenas_jax.spaces.score import Kernel, NtkEngine, Patterns, Score
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace

Masks = Bool[np.ndarray, "m cells edges ops"]
# By score: values (m,) in float64 and health (m,) strings.
Readings = dict[str, tuple[Float[np.ndarray, " m"], np.ndarray]]

# Patterns that are compared pair by pair: quadratic in time and memory, and cubic for a determinant.
_COMPARED, _IN_DETERMINANT = 128, 256
MOST_KEPT = 16  # programs of a thread: the scores of a few searches


class _Kept(threading.local):
    """The latest programs of this thread, the least recently used first."""

    def __init__(self) -> None:
        self.programs: OrderedDict[Hashable, ScoreProgram] = OrderedDict()


class ScoreProgram(NamedTuple):
    """One compiled program, and what is read from it.

    Attributes:
        draw: `(key, source) -> arrays` that all masks share; host arrays.
        compiled: `compiled(masks, *arrays)`.
        read: `(output of the program, masks) -> Readings`.
    """

    draw: Callable[[Any, ImageSource], tuple[np.ndarray, ...]]
    compiled: MaskProgram | SharedProgram
    read: Callable[[Any, Masks], Readings]


_KEPT = _Kept()
ALSO_CLEARED.append(lambda: _KEPT.programs.clear())


def score_programs(space: SearchSpace, scores: Mapping[str, Score]) -> list[ScoreProgram]:
    """The programs that some scores are read from; costs need none.

    Args:
        space: the search space.
        scores: by name, see `catalogue.chosen_scores`.
    """
    shared: dict[Kernel | Patterns, dict[str, str]] = {}
    for name, score in scores.items():
        if score.work is not None:
            shared.setdefault(score.work, {})[name] = score.statistic
    return [_program(space, work, wanted) for work, wanted in shared.items()]


def _program(space: SearchSpace, work: Kernel | Patterns, wanted: dict[str, str]) -> ScoreProgram:
    """One that is kept, or a new one."""
    key = (space, work, tuple(wanted.items()), jax.default_backend(), tuple(jax.local_devices()), context())
    kept = _KEPT.programs
    if key not in kept:
        # Of a space of somebody's own the source is not known, and so not whether it has changed.
        name = repr((space.name, work, sorted(wanted.items()))) if SPACES.get(space.name) is space else None
        if isinstance(work, Kernel):
            kept[key] = _of_kernel(space, work, wanted, name)
        else:
            kept[key] = _of_patterns(space, work, wanted, name)
        while len(kept) > MOST_KEPT:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]


def _host_key(key) -> np.ndarray:
    """A key as plain words, which travel between machines."""
    return np.asarray(jax.random.key_data(key))


def _of_kernel(space: SearchSpace, work: Kernel, wanted: dict[str, str], program_name: str | None) -> ScoreProgram:
    settings = Settings(work.parametrisation, work.batch_norm, work.statistics, work.maxima)

    def draw(key, source):
        words, drawn = jax.random.split(key)
        images = np.asarray(image_batch(drawn, source, work.images, side=work.side))
        if work.grey:
            images = np.broadcast_to(images.mean(-1, keepdims=True), images.shape).copy()
        return (_host_key(words), images)

    def analytic(mask, words, batch):
        del words  # nothing is drawn at random
        return analytic_ntk(space, mask, batch, skeleton=work.skeleton, settings=settings)

    def empirical(mask, words, batch):
        net = finite_network(space, work.skeleton, work.fan)
        variables = net.initial(jax.random.wrap_key_data(words), batch.shape, batch.dtype)
        if work.batch_norm == "none":
            # With the mean 0 and variance 1 that it begins with, a batch norm does nothing.
            return empirical_ntk(
                lambda variables, images: jnp.asarray(net.apply(variables, images, mask)),
                variables,
                batch,
                trainable=is_weight,
                engine=work.engine,
            )
        return network_ntk(net, mask, variables, batch, batch_stats=work.batch_stats, engine=work.engine)

    def read(kernels, masks):
        del masks
        found = statistics(kernels)
        return {name: (getattr(found, statistic), found.health) for name, statistic in wanted.items()}

    if work.ntk == "empirical":
        return ScoreProgram(draw, MaskProgram(empirical), read)
    tree = KernelWork(space, work.skeleton, settings, work.images, program_name)
    return ScoreProgram(draw, SharedProgram(space, tree, MaskProgram(analytic)), read)


def _of_patterns(space: SearchSpace, work: Patterns, wanted: dict[str, str], program_name: str | None) -> ScoreProgram:
    net = finite_network(space, work.skeleton, work.fan)
    mixes = not (work.skeleton.stem or space.family.takes_any_channels) and work.skeleton.channels != work.channels

    draw = partial(_draw_inputs, work)

    def inputs(words, batches):
        weights, mixing = jax.random.split(jax.random.wrap_key_data(words))
        if mixes:
            mix = jax.random.normal(mixing, (work.channels, work.skeleton.channels), batches.dtype)
            batches = jnp.dot(batches, mix, precision="highest")
        return weights, batches

    def patterns(mask, words, batches):
        weights, batches = inputs(words, batches)
        variables = net.initial(weights, batches[0].shape, batches.dtype)
        found: list[Any] = [net.apply(variables, batch, mask, method="activation_layers") for batch in batches]
        seen = _Seen(found[0], [jnp.concatenate(layers, axis=1) for layers in found])
        return {statistic: _READ[statistic](seen) for statistic in wanted.values()}

    def first_batch(words, batches):
        weights, batches = inputs(words, batches)
        return weights, batches[0]

    def of_distances(distances):
        return {statistic: _OF_DISTANCES[statistic](distances.astype(jnp.float32)) for statistic in wanted.values()}

    def read(found, masks):
        return {name: _reading(space, work, statistic, found[statistic], masks) for name, statistic in wanted.items()}

    plain = MaskProgram(patterns)
    if not _OF_DISTANCES.keys() >= set(wanted.values()):
        return ScoreProgram(draw, plain, read)
    tree = PatternWork(net, first_batch, of_distances, min(_COMPARED, work.samples), program_name)
    return ScoreProgram(draw, SharedProgram(space, tree, plain), read)


def _draw_inputs(work: Patterns, key, source: ImageSource) -> tuple[np.ndarray, ...]:
    """A key for the weights, and batches of patches or images."""
    words, patches = jax.random.split(key)
    count = work.samples * work.batches
    if work.whole:
        drawn = image_batch(patches, source, count, side=work.side)
    else:
        drawn = patch_batch(patches, source, count, patch=work.side, channels=work.channels)
    return (_host_key(words), np.asarray(drawn).reshape(work.batches, work.samples, *drawn.shape[1:]))


class _Seen(NamedTuple):
    """The activation patterns of some batches.

    Attributes:
        layers: of the first batch, (b, bits) a ReLU.
        bits: of every batch (b, bits), those of all ReLUs one behind another.
    """

    layers: list[Any]
    bits: list[Any]


def _count(seen: _Seen) -> Array:
    return count_hashes(jnp.concatenate([hash_patterns(batch) for batch in seen.bits]))


def _log_determinant(seen: _Seen) -> Array:
    """The log-determinant, and whether all patterns are distinct."""
    few = seen.bits[0][:_IN_DETERMINANT]
    value = regularised_log_determinant(hamming_kernel(few))
    return jnp.stack([value, (count_hashes(hash_patterns(few)) == len(few)).astype(value.dtype)])


# What a program computes of the patterns of its batches, by statistic; `_reading` makes a number and its health of it.
_READ: dict[str, Callable[[_Seen], Array]] = {
    "linear_regions": _count,
    "effective_regions": lambda seen: effective_regions(seen.bits[0][:_COMPARED]),
    "effective_neurons": lambda seen: independent_patterns(seen.layers),
    "hamming": lambda seen: hamming_distances(seen.bits[0][:_COMPARED]),
    "hamming_log_determinant": _log_determinant,
}
# The same of the distances of the first batch's patterns, which add up over ReLUs. Counts are of more inputs than can be
# compared pair by pair, and the determinant is of all neurons, those of dead operators too.
_OF_DISTANCES: dict[str, Callable[[Any], Array]] = {
    "effective_regions": effective_number,
    "hamming": lambda distances: distances,
}


def _reading(space: SearchSpace, work: Patterns, statistic: str, values, masks: Masks):
    if statistic == "effective_neurons":
        neurons = cost.neurons_as_scored(space, masks, work.skeleton, work.side)
        return neurons * values.astype(np.float64), np.full(len(values), "counted")
    if statistic == "hamming":
        # Dead neurons differ nowhere; those of the network without them are counted from its definition.
        neurons = cost.neurons_as_scored(space, masks, work.skeleton, work.side)
        return log_determinants(neurons[:, None, None] - values)
    if statistic == "hamming_log_determinant":
        return values[:, 0].astype(np.float64), np.where(values[:, 1] > 0, "distinct", "shared")
    samples = work.samples * work.batches if statistic == "linear_regions" else min(_COMPARED, work.samples)
    return values.astype(np.float64), np.where(values > SATURATED * samples, "saturated", "counted")


def finite_network(space: SearchSpace, skeleton: Skeleton, fan: Fan) -> CellNetwork:
    """The Flax module of a cell network: few edges run faster written out, a DARTS cell's many compile as a loop.

    Args:
        space: the search space.
        skeleton: how cells are stacked.
        fan: of the Kaiming initialisation.
    """
    module = CellNetwork if len(space.edges) <= 6 or space.decisions else ScannedNetwork
    return module(space, skeleton, fan)


def network_ntk(
    net: CellNetwork,
    mask: Bool[Any, "cells edges ops"],
    variables: Any,
    images: Float[Array, "n h w c"],
    *,
    batch_stats: str,
    engine: NtkEngine = "auto",
) -> Float[Array, "n n"]:
    """The empirical NTK of a cell network, by the parameters that the released TE-NAS differentiates by.

    Args:
        net: the network.
        mask: alive operators.
        variables: of the network.
        images: (n, h, w, c).
        batch_stats: see `ntk.empirical.empirical_ntk`; frozen ones come from a forward pass of the same images.
        engine: see `ntk.empirical.empirical_ntk`.

    Returns:
        (n, n).
    """
    coupled = batch_stats == "coupled"
    if not coupled:
        _, state = net.apply(variables, images, mask, mutable=["batch_stats"])
        variables = {**variables, **state}

    def apply(variables, images) -> Any:
        return net.apply(variables, images, mask, train=coupled)

    # Gradients of the whole batch for every image: a few images at a time keep the working set small.
    # Those of neural-tangents are all at once.
    stats = "coupled" if coupled else "frozen"
    block = 8 if coupled and engine in ("auto", "layerwise") else None
    return empirical_ntk(
        apply, variables, images, batch_stats=stats, trainable=is_weight, block_size=block, engine=engine
    )
