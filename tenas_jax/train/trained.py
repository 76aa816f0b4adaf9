"""A trained network, out of the folder of its run."""

from pathlib import Path
from typing import Any, NamedTuple

from tenas_jax.errors import InputError
from tenas_jax.networks.stand_alone import Blueprint
from tenas_jax.records import seal
from tenas_jax.train.checkpoints import Checkpoints
from tenas_jax.train.job import blueprint_from
from tenas_jax.train.recipe import Recipe
from tenas_jax.train.step import Trainer


class Trained(NamedTuple):
    """What a training has made.

    Attributes:
        blueprint: the network.
        variables: of a `StandAlone`.
        epoch: after which they were kept.
        config: of the run, plain JSON values.
        side: height of the images that the network saw.
    """

    blueprint: Blueprint
    variables: dict[str, Any]
    epoch: int
    config: dict[str, Any]
    side: int


def trained(run: Path, *, epoch: int | None = None) -> Trained:
    """The network of a run that `python -m tenas_jax.train` has made.

    Args:
        run: the folder.
        epoch: whose checkpoint; None for the newest that is whole.

    Raises:
        InputError: where the folder holds no such run, or no whole checkpoint.
    """
    path = run / "config.json"
    if not path.is_file() or not (run / "checkpoints").is_dir():
        raise InputError(f"{run} is no folder of a training: {path.name} and checkpoints/ must be in it.")
    found = seal.unsealed(path.read_bytes())
    config = found.content
    if found.state is not seal.State.WHOLE or "network" not in config or "recipe" not in config:
        raise InputError(f"{path} is damaged, or not of a training; train again.")
    blueprint, settings = blueprint_from(config["network"]), Recipe(**config["recipe"])
    height, width = settings.side(tuple(config["train"]["shape"]))
    # One device is enough to read; the state's shapes do not depend on the steps of an epoch.
    state = _one_device(blueprint, settings).start((height, width, 3))
    with Checkpoints(run / "checkpoints", seal.digest(config["network"])) as checkpoints:
        restored = checkpoints.restore(state, most=epoch, least=epoch or 0)
    if restored is None:
        raise InputError(f"{run / 'checkpoints'} holds no whole checkpoint{f' of epoch {epoch}' if epoch else ''}.")
    return Trained(blueprint, restored[1].variables, restored[0], config, height)


def _one_device(blueprint: Blueprint, settings: Recipe) -> Trainer:
    import jax

    return Trainer(blueprint, settings, 1, devices=(jax.local_devices()[0],))
