"""Indicators of a mask on a data set: what the search asks for, put together from kernels, regions and images.

An indicator is evaluated with a key: it decides images and initialisations, so all masks of one call see the same ones.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from tenas_jax.data import ImageSource, image_batch, patch_batch
from tenas_jax.networks.finite import CellNetwork, Fan
from tenas_jax.networks.finite_scan import ScannedNetwork
from tenas_jax.ntk.analytic import analytic_ntk
from tenas_jax.ntk.empirical import empirical_ntk, is_weight
from tenas_jax.ntk.gaussian_kernels import Settings
from tenas_jax.ntk.spectrum import condition_numbers
from tenas_jax.patterns.hamming import hamming_kernel, regularised_log_determinant
from tenas_jax.patterns.regions import SATURATED, count_hashes, hash_patterns
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace

Masks = Bool[np.ndarray, "m cells edges ops"]


class Scores(NamedTuple):
    """What an indicator says of some masks.

    Attributes:
        values: (repeats, m), float64; infinite where a kernel is not of full rank.
        health: (repeats, m) strings: of a kernel as `ntk.Health`, of a count "counted" or "saturated", of activation
            patterns "distinct" or "shared", where two inputs have the same.
    """

    values: Float[np.ndarray, "repeats m"]
    health: np.ndarray


class Indicator(NamedTuple):
    """A score of masks.

    Attributes:
        name: as in records.
        lower_is_better: the direction.
        evaluate: `(key, masks) -> Scores`.
        program: what was compiled for it.
    """

    name: str
    lower_is_better: bool
    evaluate: Callable[[Key[Array, ""], Masks], Scores]
    program: MaskProgram


def _repeated(key, repeats: int, evaluate: Callable[[Any], tuple[np.ndarray, np.ndarray]]) -> Scores:
    results = [evaluate(jax.random.fold_in(key, repeat)) for repeat in range(repeats)]
    return Scores(np.stack([values for values, _ in results]), np.stack([health for _, health in results]))


def analytic_condition_number(
    space: SearchSpace,
    source: ImageSource,
    *,
    skeleton: Skeleton,
    settings: Settings = Settings(),
    images: int = 8,
    side: int = 4,
    repeats: int = 1,
) -> Indicator:
    """The condition number of the analytic NTK; only the images depend on the key.

    Args:
        space: the search space.
        source: of images.
        skeleton: how cells are stacked.
        settings: which limit is taken.
        images: of a batch.
        side: to which images are average-pooled; what the kernel costs grows with its fourth power.
        repeats: batches.
    """
    program = MaskProgram(lambda mask, batch: analytic_ntk(space, mask, batch, skeleton=skeleton, settings=settings))

    def evaluate(key, masks):
        def once(key):
            return condition_numbers(program(masks, image_batch(key, source, images, side=side)))

        return _repeated(key, repeats, once)

    return Indicator("condition_number", True, evaluate, program)


def empirical_condition_number(
    space: SearchSpace,
    source: ImageSource,
    *,
    skeleton: Skeleton,
    fan: Fan = "fan_out",
    batch_stats: Literal["frozen", "coupled"] = "coupled",
    images: int = 72,
    side: int | None = None,
    repeats: int = 3,
) -> Indicator:
    """The condition number of the empirical NTK at initialisation (TE-NAS, Chen et al. 2021, section 3.1.1).

    Args:
        space: the search space.
        source: of images.
        skeleton: how cells are stacked.
        fan: of the Kaiming initialisation.
        batch_stats: see `ntk.empirical_ntk`.
        images: of a batch.
        side: to which images are average-pooled; None leaves them.
        repeats: initialisations, each with a batch of its own.
    """
    net = finite_network(space, skeleton, fan)

    def kernel(mask, key, batch):
        variables = net.init(key, batch, np.ones(space.mask_shape, bool))
        return network_ntk(net, mask, variables, batch, batch_stats=batch_stats)

    program = MaskProgram(kernel)

    def evaluate(key, masks):
        def once(key):
            weights, batch = jax.random.split(key)
            return condition_numbers(program(masks, weights, image_batch(batch, source, images, side=side)))

        return _repeated(key, repeats, once)

    return Indicator("condition_number", True, evaluate, program)


def finite_network(space: SearchSpace, skeleton: Skeleton, fan: Fan) -> CellNetwork:
    """The Flax module of a cell network: few edges run faster written out, a DARTS cell's many compile as a loop.

    Args:
        space: the search space.
        skeleton: how cells are stacked.
        fan: of the Kaiming initialisation.
    """
    module = CellNetwork if len(space.edges) <= 6 else ScannedNetwork
    return module(space, skeleton, fan)


def network_ntk(
    net: CellNetwork,
    mask: Bool[Any, "cells edges ops"],
    variables: Any,
    images: Float[Array, "n h w c"],
    *,
    batch_stats: Literal["frozen", "coupled"],
) -> Float[Array, "n n"]:
    """The empirical NTK of a cell network, by the parameters that the released TE-NAS differentiates by.

    Args:
        net: the network.
        mask: alive operators.
        variables: of the network.
        images: (n, h, w, c).
        batch_stats: see `ntk.empirical_ntk`; frozen ones come from a forward pass of the same images.

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
    block = 8 if coupled else None
    return empirical_ntk(apply, variables, images, batch_stats=batch_stats, trainable=is_weight, block_size=block)


def linear_region_count(
    space: SearchSpace,
    source: ImageSource,
    *,
    skeleton: Skeleton,
    fan: Fan = "fan_in",
    channels: Literal[1, 3] = 3,
    patch: int = 3,
    samples: int = 1000,
    batches: int = 1,
    repeats: int = 1,
) -> Indicator:
    """The number of linear regions of a thin network on small patches (TE-NAS, Chen et al. 2021, section 3.1.2).

    Args:
        space: the search space.
        source: of images.
        skeleton: how cells are stacked.
        fan: of the Kaiming initialisation.
        channels: of the patches: 3 for colour, 1 for a random colour channel each.
        patch: side of a patch.
        samples: patches of a batch, which share their batch norm's statistics.
        batches: whose patterns are counted together.
        repeats: initialisations, each with patches of its own.
    """
    net = finite_network(space, skeleton, fan)

    def count(mask, key, patches):
        variables = net.init(key, patches[0], np.ones(space.mask_shape, bool))

        def words(batch):
            bits: Any = net.apply(variables, batch, mask, method="activation_bits")
            return hash_patterns(bits)

        return count_hashes(jnp.concatenate([words(batch) for batch in patches]))

    program = MaskProgram(count)

    def evaluate(key, masks):
        def once(key):
            weights, drawn = jax.random.split(key)
            patches = patch_batch(drawn, source, batches * samples, patch=patch, channels=channels)
            counts = program(masks, weights, patches.reshape(batches, samples, *patches.shape[1:]))
            return counts.astype(float), np.where(counts > SATURATED * batches * samples, "saturated", "counted")

        return _repeated(key, repeats, once)

    return Indicator("linear_regions", False, evaluate, program)


def hamming_log_determinant(
    space: SearchSpace,
    source: ImageSource,
    *,
    skeleton: Skeleton,
    fan: Fan = "fan_in",
    channels: Literal[1, 3] = 3,
    patch: int = 2,
    samples: int = 256,
    repeats: int = 1,
) -> Indicator:
    """`log det(K + I)` of the Hamming kernel of a thin network's activation patterns on small patches.

    A graded number of linear regions, after NASWOT (Mellor et al. 2021, section 3). The neurons are those of the supernet,
    whatever the mask: dead ones agree on all inputs, and add the same constant to every entry of K.

    Args:
        space: the search space.
        source: of images.
        skeleton: how cells are stacked.
        fan: of the Kaiming initialisation.
        channels: of the patches: 3 for colour, 1 for a random colour channel each.
        patch: side of a patch.
        samples: patches, which share their batch norm's statistics; the determinant costs their third power.
        repeats: initialisations, each with patches of its own.
    """
    net = finite_network(space, skeleton, fan)

    def score(mask, key, patches):
        variables = net.init(key, patches, np.ones(space.mask_shape, bool))
        bits: Any = net.apply(variables, patches, mask, method="activation_bits")
        distinct = count_hashes(hash_patterns(bits)) == samples
        value = regularised_log_determinant(hamming_kernel(bits))
        return jnp.stack([value, distinct.astype(value.dtype)])

    program = MaskProgram(score)

    def evaluate(key, masks):
        def once(key):
            weights, drawn = jax.random.split(key)
            found = program(masks, weights, patch_batch(drawn, source, samples, patch=patch, channels=channels))
            return found[:, 0].astype(float), np.where(found[:, 1] > 0, "distinct", "shared")

        return _repeated(key, repeats, once)

    return Indicator("hamming_log_determinant", False, evaluate, program)
