"""The network of an architecture as a model, in one call."""

import numpy as np
from jaxtyping import Bool

from tenas_jax.networks.stand_alone import StandAlone
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.train.job import blueprint_of
from tenas_jax.train.recipe import recipe, usual_recipe


def trained_network(
    space: SearchSpace,
    mask: Bool[np.ndarray, "cells edges ops"],
    *,
    classes: int = 10,
    preset: str | None = None,
    auxiliary: bool = False,
) -> StandAlone:
    """The network of one architecture as it is trained, as a Flax Linen module.

    Args:
        space: the search space.
        mask: one operator an edge, from `parse` or `sample` of the space.
        classes: of the images.
        preset: whose sizes it has, one of `train.recipe.RECIPES`; None: those of the space's published networks for CIFAR.
        auxiliary: whether it has the auxiliary head that the preset trains with.

    Returns:
        `module.init(key, images)` draws variables, `module.apply(variables, images)` gives logits; for NNX there is
        `StandAloneNNX(module.blueprint, rngs=...)`.

    Raises:
        InputError: for a mask that is no single architecture of the space, an unknown preset, or no classes.

    Examples:
        >>> from tenas_jax import NAS_BENCH_201
        >>> mask = NAS_BENCH_201.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|")
        >>> shapes = trained_network(NAS_BENCH_201, mask).blueprint.declared((1, 32, 32, 3))
        >>> sum(int(np.prod(d.shape)) for d in shapes.values())
        344346
    """
    settings = recipe(preset or usual_recipe(space), space)
    blueprint = blueprint_of(space, space.format(mask), settings, classes)
    return StandAlone(blueprint._replace(auxiliary=auxiliary and blueprint.auxiliary))
