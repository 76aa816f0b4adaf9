"""How a network is trained, as published: sizes, optimiser, schedule, augmentation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tenas_jax.errors import InputError
from tenas_jax.networks.stand_alone_reading import Auxiliary
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace

Schedule = Literal["cosine", "linear"]


@dataclass(frozen=True)
class Recipe:
    """What decides a training beside the architecture, the images and the seed.

    Attributes:
        epochs: passes over the training images.
        batch: images a step, over all devices.
        rate: learning rate at its highest.
        weight_decay: added to the gradient, `decay * weight`, as PyTorch's SGD does.
        sizes: fields of the `Skeleton` that differ from those of the space's trained networks.
        images: the stem, for "small" images or "imagenet".
        schedule: "cosine" or "linear", down to zero at the last step.
        warmup_epochs: over which the rate grows linearly from zero.
        momentum: of SGD.
        nesterov: Nesterov's momentum.
        decay_norms: whether scales and biases decay too, as in the published trainings.
        clip: the largest norm of a gradient; None for any.
        smoothing: of labels: this share of one is spread over all classes.
        drop_path: how often an operator is left out at the end; it grows linearly from 0, epoch by epoch.
        auxiliary: weight of the auxiliary head's loss; 0 for no such head.
        shrink: images are averaged over squares of this side before anything else.
        flip: images are mirrored with probability 1/2.
        crop: pixels that images are moved by at most; None for as many as suit the images.
        resized_crop: side of a random part (8 to 100 % of the area), resized; None for none.
        cutout: side of the square that is blanked; 0 for none.
        jitter: brightness, contrast and saturation are multiplied by 1 - jitter to 1 + jitter.
        accumulate: steps whose gradients are averaged before weights move.
        ema: decay of the moving average of weights that is evaluated; 0 for the weights themselves.
        bfloat16: feature maps and products in bfloat16; weights and batch norms stay in single precision.
    """

    epochs: int
    batch: int
    rate: float
    weight_decay: float
    sizes: Mapping[str, Any] = field(default_factory=dict)
    images: Auxiliary = "small"
    schedule: Schedule = "cosine"
    warmup_epochs: float = 0
    momentum: float = 0.9
    nesterov: bool = False
    decay_norms: bool = True
    clip: float | None = None
    smoothing: float = 0.0
    drop_path: float = 0.0
    auxiliary: float = 0.0
    shrink: int = 1
    flip: bool = True
    crop: int | None = None
    resized_crop: int | None = None
    cutout: int = 0
    jitter: float = 0.0
    accumulate: int = 1
    ema: float = 0.0
    bfloat16: bool = False

    def side(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of what the network sees.

        Args:
            shape: (h, w, 3) of the images.
        """
        if self.resized_crop:
            return self.resized_crop, self.resized_crop
        return shape[0] // self.shrink, shape[1] // self.shrink

    def skeleton(self, space: SearchSpace, classes: int) -> Skeleton:
        """How cells are stacked.

        Args:
            space: the search space.
            classes: of the images.
        """
        return space.skeleton("trained")._replace(**self.sizes, classes=classes)


RECIPES = {
    # Dong and Yang 2020, section 2.3 and appendix.
    "nasbench201": Recipe(epochs=200, batch=256, rate=0.1, weight_decay=5e-4, nesterov=True),
    # Liu et al. 2019, section 3.2 and the released code; TE-NAS (Chen et al. 2021) trains so.
    "darts-cifar": Recipe(
        epochs=600,
        batch=96,
        rate=0.025,
        weight_decay=3e-4,
        sizes={"channels": 36, "cells": 20, "stem_multiplier": 3},
        clip=5.0,
        drop_path=0.2,
        auxiliary=0.4,
        cutout=16,
    ),
    # Chen et al. 2021, appendix; a linear decay is what the released trainings with these numbers take. Their hue is not
    # jittered here.
    "darts-imagenet": Recipe(
        epochs=250,
        batch=768,
        rate=0.5,
        weight_decay=3e-5,
        sizes={"channels": 48, "cells": 14, "stem_multiplier": 1},
        images="imagenet",
        schedule="linear",
        warmup_epochs=5,
        clip=5.0,
        smoothing=0.1,
        auxiliary=0.4,
        resized_crop=224,
        jitter=0.4,
    ),
    # Ours, for minutes on a processor: images of half their side, one cell a stage.
    "quick": Recipe(
        epochs=20,
        batch=64,
        rate=0.1,
        weight_decay=5e-4,
        sizes={"channels": 16, "cells": 1},
        warmup_epochs=1,
        nesterov=True,
        shrink=2,
        crop=2,
    ),
}


def usual_recipe(space: SearchSpace) -> str:
    """The name of the recipe by which architectures of a space are trained where nothing is said.

    Args:
        space: the search space.
    """
    return "darts-cifar" if space.inputs > 1 else "nasbench201"


def recipe(name: str, space: SearchSpace) -> Recipe:
    """A recipe by its name.

    Args:
        name: one of `RECIPES`.
        space: the search space.

    Raises:
        InputError: for another name, a recipe of another space, or a space whose networks are for scores alone.
    """
    if name not in RECIPES:
        raise InputError(f"the preset must be one of {', '.join(RECIPES)}; it is {name!r}.")
    if space.family.counts is not None and not space.family.trained:
        raise InputError(
            f"the costs of {space.name} are those of another network than the one that is scored, and its family does not "
            'say which; give it `trained={"small": NETWORK}`.'
        )
    found = RECIPES[name]
    if found.auxiliary and not space.family.has_auxiliary_head:
        raise InputError(f"the preset {name} trains networks of DARTS, which {space.name} has not; take nasbench201.")
    if name == "quick" and space.inputs > 1:
        # Of three cells the second and the third reduce.
        return Recipe(**{**vars(found), "sizes": {"channels": 8, "cells": 3, "stem_multiplier": 1}})
    return found
