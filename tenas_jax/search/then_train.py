"""Training behind a search, in the search's folder: `--then-train PRESET`."""

from pathlib import Path

import jax

from tenas_jax.command_line import say
from tenas_jax.search.config import Config
from tenas_jax.spaces.registry import find_space
from tenas_jax.train.command import run as train
from tenas_jax.train.config import Config as TrainConfig
from tenas_jax.train.job import resolve


def _training(config: Config, run: Path | None = None, architecture: str | None = None) -> TrainConfig:
    return TrainConfig(
        run=run, architecture=architecture, space=config.space, dataset=config.dataset, data=config.data,
        preset=config.then_train, seeds=(config.seed,),
    )  # fmt: skip


def check_training(config: Config) -> None:
    """Refuses images without classes and unknown presets before the search, and not after it.

    Args:
        config: of the search.

    Raises:
        InputError: where what is found could not be trained.
    """
    space = find_space(config.space)
    example = space.format(space.sample(jax.random.key(0), 1)[0])
    resolve(_training(config, architecture=example))


def train_found(config: Config, folder: Path) -> None:
    """Trains what was found, inside of the search's folder.

    Args:
        config: of the search.
        folder: of the finished run.

    Raises:
        InputError: as training.
    """
    last = train(_training(config, run=folder))["last"]
    say(f"trained: top-1 {last['top1']:.2f} %, loss {last['loss']:.3f} on the images held out")
