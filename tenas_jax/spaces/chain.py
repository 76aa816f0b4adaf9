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


def skeletons(trained: Skeleton, stages: int) -> dict[Purpose, Skeleton]:
    """Sizes of the networks that are scored, for those of a network that is trained.

    Args:
        trained: as it is trained.
        stages: of the networks that are scored, so that maps of 32 x 32 end about as small as in the one that is trained:
            neurons then are where they are in that one, and scores of patterns weigh blocks alike.
    """
    return {
        "ntk": trained._replace(channels=16, stages=stages),
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
    return {
        # Images of 4 x 4 do not survive strides.
        **of_kernel(Kernel(ntk._replace(stages=1))),
        **of_patterns(Patterns(thin, side=4, samples=128), "", "", "linear_regions", "hamming_log_determinant"),
        **of_patterns(Patterns(ntk._replace(channels=4), side=16, samples=16, whole=True), "", "", "hamming"),
    }


DEFAULT_SCORES = ("hamming",)


def presets(names: tuple[str, ...], prune_number: int | None) -> dict[str, Preset]:
    """Settings of a search by some scores.

    Args:
        names: of the scores.
        prune_number: options that go from every decision in a round; None for one of all.
    """
    return {"default": Preset(names, repeats=1, rule="completion", paths=192, prune_number=prune_number)}


CHAIN = Family(
    network=no_network,
    reductions=reductions,
    strides=(1,),
    skeletons=skeletons(Skeleton(channels=16, cells=1), stages=3),
    concatenates=False,
    takes_any_channels=True,
    presets=presets(DEFAULT_SCORES, None),
    imagenet_presets=presets(DEFAULT_SCORES, None),
    scores=scores,
    default_scores=DEFAULT_SCORES,
)
