"""Decisions that follow each other in one network, as the blocks of stage-wise spaces: how they are scored.

What network they make is the space's: there is no usual one.
"""

from tenas_jax.errors import InputError
from tenas_jax.spaces.family import Family
from tenas_jax.spaces.preset import Preset
from tenas_jax.spaces.score import Kernel, Patterns, Score, of_kernel, of_patterns
from tenas_jax.spaces.skeleton import Purpose, Skeleton


def no_network(read, space, weights, images, skeleton, cell):
    """Decisions alone say nothing of what a network computes."""
    raise InputError(f"{space.name} has decisions and no `network`; give it a function that reads them.")


def reductions(skeleton: Skeleton) -> int:
    """How often the network halves the sides of its images, in the stages that a skeleton keeps.

    Args:
        skeleton: its stages.
    """
    return skeleton.stages - 1


def skeletons(trained: Skeleton) -> dict[Purpose, Skeleton]:
    """Sizes of the networks that are scored, for those of a network that is trained.

    Args:
        trained: as it is trained.
    """
    # Small images do not survive the strides of a network for large ones: scored networks keep their resolution.
    return {
        "ntk": trained._replace(channels=16, stages=1),
        "regions": trained._replace(channels=4, stages=1),
        "trained": trained,
    }


def scores(ntk: Skeleton, thin: Skeleton) -> dict[str, Score]:
    """What an architecture can be scored by, costs aside.

    Args:
        ntk: how blocks are stacked for the NTK.
        thin: how they are stacked for linear regions.

    Returns:
        By name.
    """
    statistics = "linear_regions", "effective_regions", "hamming_log_determinant"
    return {
        **of_kernel(Kernel(ntk)),
        **of_patterns(Patterns(thin, side=4, samples=128), "", "", *statistics),
        **of_patterns(Patterns(thin, side=8, samples=32, whole=True), "", "", "hamming"),
    }


DEFAULT_SCORES = ("hamming", "path_spatial_convolutions")


def presets(names: tuple[str, ...]) -> dict[str, Preset]:
    """Settings of a search by some scores.

    Args:
        names: of the scores.
    """
    return {"default": Preset(names, repeats=1, rule="completion", paths=192)}


CHAIN = Family(
    network=no_network,
    reductions=reductions,
    strides=(1,),
    skeletons=skeletons(Skeleton(channels=16, cells=1)),
    concatenates=False,
    takes_any_channels=True,
    presets=presets(DEFAULT_SCORES),
    imagenet_presets=presets(DEFAULT_SCORES),
    scores=scores,
    default_scores=DEFAULT_SCORES,
)
