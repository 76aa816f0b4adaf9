"""A training, resolved: every option checked, everything opened."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tenas_jax.command_line import check_seed
from tenas_jax.data.labelled import LabelledImages, open_labelled
from tenas_jax.errors import InputError
from tenas_jax.networks.stand_alone import Blueprint
from tenas_jax.records import seal
from tenas_jax.spaces.registry import find_space, identity_of
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.train.config import OVERRIDES, SIZES, VAL_SHARE, Config
from tenas_jax.train.recipe import Recipe, recipe, usual_recipe


@dataclass(frozen=True)
class Job:
    """All that a training is made of.

    Attributes:
        blueprint: the network.
        recipe: how it is trained.
        train: images to train on.
        val: images to evaluate on.
        output: the run's folder; of several seeds, the folder of their folders.
        identity: everything that decides the metrics, but for the seed; plain JSON values.
        labels: what the result repeats.
    """

    blueprint: Blueprint
    recipe: Recipe
    train: LabelledImages
    val: LabelledImages
    output: Path
    identity: dict[str, Any]
    labels: dict[str, Any]


def blueprint_of(space: SearchSpace, architecture: str, settings: Recipe, classes: int) -> Blueprint:
    """The network that a recipe trains.

    Args:
        space: the search space.
        architecture: as the space writes it.
        settings: the recipe.
        classes: of the images.

    Raises:
        InputError: for an architecture of another space, or a network that cannot be.
    """
    choice = tuple(tuple(int(o) for o in cell) for cell in space.choice(space.parse(architecture)))
    found = Blueprint(space, choice, settings.skeleton(space, classes), settings.images, settings.auxiliary > 0)
    found.check()
    return found


def described(blueprint: Blueprint, reference: str) -> dict[str, Any]:
    """A network as plain JSON values, from which `blueprint_from` makes it again.

    Args:
        blueprint: the network.
        reference: how `find_space` finds its space.
    """
    return {
        "space": reference,
        "architecture": blueprint.space.format(blueprint.mask),
        "skeleton": blueprint.skeleton._asdict(),
        "images": blueprint.images,
        "auxiliary": blueprint.auxiliary,
    }


def blueprint_from(values: Mapping[str, Any]) -> Blueprint:
    """The network that `described` has written.

    Args:
        values: from a file.

    Raises:
        InputError: where they describe none.
    """
    try:
        space = find_space(values["space"])
        choice = tuple(tuple(int(o) for o in cell) for cell in space.choice(space.parse(values["architecture"])))
        found = Blueprint(space, choice, Skeleton(**values["skeleton"]), values["images"], values["auxiliary"])
    except (KeyError, TypeError) as error:
        raise InputError(f"this describes no network ({error!r}); it must be what this package has written.") from error
    found.check()
    return found


def searched(run: Path) -> tuple[str, str]:
    """The space and the architecture that a search has found.

    Args:
        run: the folder of a finished search.

    Raises:
        InputError: where there is none.
    """
    path = run / "result.json"
    if not path.is_file():
        raise InputError(
            f"{run} holds no finished search: there is no {path.name}. Finish the search, or name another folder."
        )
    found = seal.unsealed(path.read_bytes())
    if found.state is seal.State.DAMAGED or not {"space", "architecture"} <= found.content.keys():
        raise InputError(f"{path} is damaged or no result of a search; run the search again.")
    return str(found.content["space"]), str(found.content["architecture"])


def resolve(config: Config) -> Job:
    """Checks and opens everything that a training needs.

    Args:
        config: as the command line names it.

    Raises:
        InputError: for bad input, in one sentence.
    """
    _check(config)
    reference, architecture = _what(config)
    space = find_space(reference)
    name = config.preset or usual_recipe(space)
    settings = _overridden(recipe(name, space), config)
    if settings.drop_path and space.decisions:
        raise InputError(
            f"--drop-path drops operators on the edges of cells, and {space.name} decides on other things; leave it out."
        )
    space.parse(architecture)  # before images are opened
    side = config.side or (256 if settings.resized_crop else None)
    train, val = _images(config, side)
    if settings.batch > len(train):
        raise InputError(
            f"a batch of {settings.batch} images was asked for, and there are {len(train)} to train on; take a smaller "
            "--batch."
        )
    blueprint = blueprint_of(space, architecture, settings, train.classes)
    blueprint.declared((1, *settings.side(train.source.shape), 3))
    network = described(blueprint, reference)
    identity = {
        "network": network,
        "definition": identity_of(space),
        "recipe": asdict(settings),
        "train": train.source.identity | {"images": len(train), "shape": list(train.source.shape)},
        "val": val.source.identity | {"images": len(val)},
        "val_share": None if config.val_data else config.val_share or VAL_SHARE,
    }
    labels = {**network, "preset": name, "dataset": train.source.name}
    output = config.output or (config.run or Path("runs") / f"train-{space.name}") / f"train-{name}"
    return Job(blueprint, settings, train, val, output, identity, labels)


def _what(config: Config) -> tuple[str, str]:
    """Reference of the space, and the architecture."""
    if (config.architecture is None) == (config.run is None):
        raise InputError("give either --architecture STRING or --run RUN, the folder of a finished search.")
    if config.run is not None:
        space, architecture = searched(config.run)
        return config.space or space, architecture
    assert config.architecture is not None
    usual = "darts" if "normal" in config.architecture else "nasbench201"
    return config.space or usual, config.architecture


def _images(config: Config, side: int | None) -> tuple[LabelledImages, LabelledImages]:
    whole = open_labelled(config.dataset, config.data, side=side)
    if config.val_data is None:
        return whole.split(config.val_share or VAL_SHARE, 0)
    val = open_labelled(config.dataset, config.val_data, side=side)
    if val.classes > whole.classes or val.source.shape != whole.source.shape:
        raise InputError(
            f"{val.source.name} must have the classes and the size of {whole.source.name}, {whole.classes} and "
            f"{whole.source.shape}; it has {val.classes} and {val.source.shape}."
        )
    # By one normalisation, that of the images that are trained on.
    return whole, replace(val, source=replace(val.source, mean=whole.source.mean, std=whole.source.std))


def _overridden(settings: Recipe, config: Config) -> Recipe:
    given = {name: value for name in OVERRIDES if (value := getattr(config, name)) is not None}
    sizes = {name: value for name in SIZES if (value := getattr(config, name)) is not None}
    return replace(settings, **given, sizes={**settings.sizes, **sizes})


_LEAST = {
    "epochs": 1, "batch": 1, "accumulate": 1, "channels": 1, "cells": 1, "side": 1, "keep": 1, "workers": 0, "crop": 0,
    "cutout": 0, "warmup_epochs": 0, "weight_decay": 0, "auxiliary": 0,
}  # fmt: skip
_SHARES = ("smoothing", "drop_path", "ema", "jitter", "val_share")


def _check(config: Config) -> None:
    """Refuses options that make no sense."""
    for name, least in _LEAST.items():
        value = getattr(config, name)
        if value is not None and not value >= least:
            raise InputError(f"--{name.replace('_', '-')} must be at least {least}; it is {value}.")
    for name in _SHARES:
        value = getattr(config, name)
        if value is not None and not 0 <= value < 1:
            raise InputError(f"--{name.replace('_', '-')} must be from 0 to below 1; it is {value}.")
    for name in ("rate", "clip"):
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"--{name} must be above 0; it is {value}.")
    if config.schedule not in (None, "cosine", "linear"):
        raise InputError(f"--schedule must be cosine or linear; it is {config.schedule!r}.")
    if len(set(config.seeds)) != len(config.seeds) or not config.seeds:
        raise InputError(f"--seeds must name different seeds, as in 0,1,2; they are {config.seeds}.")
    for seed in config.seeds:
        check_seed(seed)
