"""Views of a network, each one compiled program that several scores are read from.

A score says one thing of an architecture; a view is the work that some scores share: a kernel whose spectrum is taken, or
the activation patterns of a thin network. What a view draws at random, images and weights, is drawn before, once for all
architectures: plain arrays, so that another machine can evaluate masks without the images.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from tenas_jax.data import ImageSource, image_batch, patch_batch
from tenas_jax.errors import InputError
from tenas_jax.networks import cost
from tenas_jax.ntk.analytic import analytic_ntk
from tenas_jax.ntk.gaussian_kernels import Settings
from tenas_jax.ntk.spectrum import log_determinants, statistics
from tenas_jax.patterns.hamming import effective_number, effective_regions, hamming_kernel, regularised_log_determinant
from tenas_jax.patterns.regions import SATURATED, count_hashes, hash_patterns
from tenas_jax.scores.indicators import finite_network, network_ntk
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.presets import preset
from tenas_jax.scores.shared_kernels import KernelWork
from tenas_jax.scores.shared_patterns import PatternWork
from tenas_jax.scores.shared_work import SharedProgram
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace

Masks = Bool[np.ndarray, "m cells edges ops"]
Ntk = Literal["analytic", "empirical"]
# By score: values (m,) in float64 and health (m,) strings.
Readings = dict[str, tuple[Float[np.ndarray, " m"], np.ndarray]]


class Score(NamedTuple):
    """What a score is.

    Attributes:
        lower_is_better: the direction.
        geometric: whether repeats are averaged by their logarithms; condition numbers have large outliers.
        meaning: one line for people.
    """

    lower_is_better: bool
    geometric: bool
    meaning: str


class View(NamedTuple):
    """One program, and what is read from it.

    Attributes:
        draw: `(key, source) -> arrays` that all masks share; host arrays.
        program: `program(masks, *arrays)`.
        read: `(output of the program, masks) -> Readings`.
    """

    draw: Callable[[Any, ImageSource], tuple[np.ndarray, ...]]
    program: MaskProgram | SharedProgram
    read: Callable[[Any, Masks], Readings]


_OF_KERNELS = {
    "condition_number": Score(True, True, "largest over smallest eigenvalue of the NTK (TE-NAS)"),
    "smallest_eigenvalue": Score(False, False, "of the NTK"),
    "trace": Score(False, True, "of the NTK"),
    "entropy": Score(False, False, "of the NTK's normalised eigenvalues, in nats"),
}
_OF_PATTERNS = {
    "linear_regions": Score(False, False, "distinct activation patterns of a thin network (TE-NAS)"),
    "effective_regions": Score(False, True, "the same, patterns that differ in few neurons counting as partly equal"),
    "hamming": Score(False, False, "log-determinant of the Hamming kernel of activation patterns (NASWOT)"),
    "hamming_log_determinant": Score(False, False, "log det(K + I) of the Hamming kernel of a thin network's patterns"),
}
_COSTS = {
    "parameters": Score(False, False, "of the network that is trained"),
    "flops": Score(False, False, "multiply-adds of the network that is trained, for one image"),
}
# What follows a statistic's name says of which network it is.
_VARIANTS = {
    "": "",
    "_one_stage": ", a network of one stage",
    "_one_channel": ", one channel, grey patches (TE-NAS)",
    "_wide": ", one cell of 16 channels",
    "_deep": ", three cells of 3 channels",
}
# Patterns that are compared pair by pair: quadratic in time and memory, and cubic for a determinant.
_COMPARED, _IN_DETERMINANT = 128, 256


class _Kernel(NamedTuple):
    """A view of a kernel, as data."""

    variant: str
    skeleton: Skeleton
    settings: Settings
    images: int
    side: int


class _Patterns(NamedTuple):
    """A view of activation patterns, as data. Without a stem, colours are mixed at random where channels are others."""

    variant: str
    skeleton: Skeleton
    colours: Literal[1, 3]
    side: int
    samples: int
    statistics: tuple[str, ...]
    whole: bool = False  # images pooled to the side, instead of patches


def _definitions(space: SearchSpace, ntk: Ntk) -> list[_Kernel | _Patterns]:
    settings = preset("default", ntk, space=space)
    three_stages = space.skeleton("ntk")._replace(channels=settings.ntk_channels)
    kernel = _Kernel("", three_stages, Settings("standard"), settings.ntk_images, settings.ntk_side or 32)
    region = space.skeleton("regions")._replace(channels=settings.region_width, cells=settings.region_cells)
    samples = settings.region_samples
    counted = ("linear_regions", "effective_regions", "hamming_log_determinant")
    thin = _Patterns("", region, settings.region_channels, settings.region_patch, samples, counted)
    # Patches of a thin network share patterns, and equal patterns have no determinant: whole images do not.
    images = _Patterns("", space.skeleton("ntk")._replace(channels=4), 3, 8, 32, ("hamming",), whole=True)
    if space.family.concatenates:
        return [kernel, thin, images]
    return [
        kernel,
        kernel._replace(variant="_one_stage", skeleton=three_stages._replace(stages=1)),
        thin,
        images,
        _Patterns("_one_channel", region._replace(channels=1), 1, 3, 1000, ("linear_regions",)),
        _Patterns("_wide", region._replace(channels=16), 3, 3, _COMPARED, ("effective_regions",)),
        _Patterns("_deep", region._replace(cells=3), 3, 3, _COMPARED, ("effective_regions",)),
    ]


def _names(definition: _Kernel | _Patterns) -> list[str]:
    statistics = _OF_KERNELS if isinstance(definition, _Kernel) else definition.statistics
    return [f"{statistic}{definition.variant}" for statistic in statistics]


def scores_of(space: SearchSpace) -> dict[str, Score]:
    """All scores that there are for the architectures of a space, by name.

    Args:
        space: the search space.
    """
    found = {}
    for definition in _definitions(space, "analytic"):
        for name in _names(definition):
            score = (_OF_KERNELS | _OF_PATTERNS)[name.removesuffix(definition.variant)]
            found[name] = score._replace(meaning=score.meaning + _VARIANTS[definition.variant])
    return found | _COSTS


def check_scores(space: SearchSpace, names: Sequence[str]) -> None:
    """Refuses what is no score of the space.

    Args:
        space: the search space.
        names: of scores.

    Raises:
        InputError: for an unknown name, a name that comes twice, or no name.
    """
    known = scores_of(space)
    if not names:
        raise InputError(f"at least one score is needed; {space.name} has {', '.join(known)}.")
    for place, name in enumerate(names):
        if name not in known:
            raise InputError(f"the score {name!r} is unknown; {space.name} has {', '.join(known)}.")
        if name in names[:place]:
            raise InputError(f"the score {name} is asked for twice; name it once.")


def need_kernel(names: Sequence[str]) -> bool:
    """Whether a score is read from an NTK.

    Args:
        names: of scores.
    """
    return any(name.startswith(tuple(_OF_KERNELS)) for name in names)


def build_views(space: SearchSpace, names: Sequence[str], ntk: Ntk) -> list[View]:
    """The views that some scores are read from; costs need none.

    Args:
        space: the search space.
        names: of scores, see `scores_of`.
        ntk: which kernel; the patterns do not depend on it.
    """
    views = []
    for definition in _definitions(space, ntk):
        wanted = {name.removesuffix(definition.variant): name for name in _names(definition) if name in names}
        if not wanted:
            continue
        if isinstance(definition, _Kernel):
            views.append(_kernel_view(space, definition, wanted, ntk))
        else:
            views.append(_pattern_view(space, definition, wanted))
    return views


def _host_key(key) -> np.ndarray:
    """A key as plain words, which travel between machines."""
    return np.asarray(jax.random.key_data(key))


def _kernel_view(space: SearchSpace, definition: _Kernel, wanted: dict[str, str], ntk: Ntk) -> View:
    skeleton, settings = definition.skeleton, definition.settings

    def draw(key, source):
        weights, images = jax.random.split(key)
        batch = image_batch(images, source, definition.images, side=definition.side)
        return (_host_key(weights), np.asarray(batch))

    def analytic(mask, words, batch):
        del words  # nothing is drawn at random
        return analytic_ntk(space, mask, batch, skeleton=skeleton, settings=settings)

    def empirical(mask, words, batch):
        net = finite_network(space, skeleton, "fan_in")
        variables = net.init(jax.random.wrap_key_data(words), batch, np.ones(space.mask_shape, bool))
        return network_ntk(net, mask, variables, batch, batch_stats="frozen")

    def read(kernels, masks):
        del masks
        found = statistics(kernels)
        return {name: (getattr(found, statistic), found.health) for statistic, name in wanted.items()}

    plain = MaskProgram(analytic if ntk == "analytic" else empirical)
    if ntk == "empirical":
        return View(draw, plain, read)
    return View(draw, SharedProgram(space, KernelWork(space, skeleton, settings, definition.images), plain), read)


def _pattern_view(space: SearchSpace, definition: _Patterns, wanted: dict[str, str]) -> View:
    skeleton = definition.skeleton
    net = finite_network(space, skeleton, "fan_in")

    def draw(key, source):
        words, patches = jax.random.split(key)
        size, side = definition.samples, definition.side
        if definition.whole:
            drawn = image_batch(patches, source, size, side=side)
        else:
            drawn = patch_batch(patches, source, size, patch=side, channels=definition.colours)
        return (_host_key(words), np.asarray(drawn))

    def inputs(words, patches):
        weights, mixing = jax.random.split(jax.random.wrap_key_data(words))
        # Cells of DARTS begin with convolutions of their own, which take any number of colours.
        if not skeleton.stem and space.inputs == 1 and skeleton.channels != definition.colours:
            mix = jax.random.normal(mixing, (definition.colours, skeleton.channels), patches.dtype)
            patches = jnp.dot(patches, mix, precision="highest")
        return weights, patches

    def patterns(mask, words, patches):
        weights, patches = inputs(words, patches)
        variables = net.init(weights, patches, np.ones(space.mask_shape, bool), method="drawn")
        bits: Any = net.apply(variables, patches, mask, method="activation_bits")
        found = {}
        if "linear_regions" in wanted:
            found["linear_regions"] = count_hashes(hash_patterns(bits))
        if "effective_regions" in wanted:
            found["effective_regions"] = effective_regions(bits[:_COMPARED])
        if "hamming_log_determinant" in wanted:
            found["hamming_log_determinant"] = regularised_log_determinant(hamming_kernel(bits[:_IN_DETERMINANT]))
        if "hamming" in wanted:
            found["hamming"] = bits.shape[1] - hamming_kernel(bits[:_COMPARED])
        return found

    def of_distances(distances):
        distances = distances.astype(jnp.float32)
        found = {"effective_regions": effective_number(distances), "hamming": distances}
        return {statistic: value for statistic, value in found.items() if statistic in wanted}

    def read(found, masks):
        readings = {}
        for statistic, name in wanted.items():
            values = found[statistic]
            samples = definition.samples if statistic == "linear_regions" else min(_COMPARED, definition.samples)
            if statistic == "hamming":
                # Dead neurons differ nowhere; those of the network without them are counted from its definition.
                neurons = cost.costs(space, masks, skeleton=skeleton, side=definition.side).neurons
                readings[name] = log_determinants(neurons[:, None, None] - values)
            elif statistic == "hamming_log_determinant":
                readings[name] = values.astype(np.float64), np.full(len(masks), "counted")
            else:
                health = np.where(values > SATURATED * samples, "saturated", "counted")
                readings[name] = values.astype(np.float64), health
        return readings

    plain = MaskProgram(patterns)
    # Counts of patterns ask for more inputs than can be compared pair by pair.
    if not {"effective_regions", "hamming"} >= set(wanted):
        return View(draw, plain, read)
    work = PatternWork(net, inputs, of_distances, min(_COMPARED, definition.samples))
    return View(draw, SharedProgram(space, work, plain), read)
