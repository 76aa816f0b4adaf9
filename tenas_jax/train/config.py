"""A training, as the command line names it."""

from dataclasses import dataclass
from pathlib import Path

OVERRIDES = (
    "epochs", "batch", "rate", "weight_decay", "warmup_epochs", "smoothing", "drop_path", "auxiliary", "cutout", "jitter",
    "crop", "clip", "accumulate", "ema", "schedule", "bfloat16",
)  # fmt: skip
"""Fields of a recipe that an option replaces."""
SIZES = ("channels", "cells")
VAL_SHARE = 0.1


@dataclass(frozen=True)
class Config:
    """The options of `python -m tenas_jax.train`; those of `--help` say what each field is."""

    architecture: str | None = None
    run: Path | None = None
    space: str | None = None
    dataset: str | None = None
    data: Path | None = None
    val_data: Path | None = None
    val_share: float | None = None
    side: int | None = None
    preset: str | None = None
    channels: int | None = None
    cells: int | None = None
    epochs: int | None = None
    batch: int | None = None
    rate: float | None = None
    schedule: str | None = None
    warmup_epochs: float | None = None
    weight_decay: float | None = None
    clip: float | None = None
    smoothing: float | None = None
    drop_path: float | None = None
    auxiliary: float | None = None
    crop: int | None = None
    cutout: int | None = None
    jitter: float | None = None
    ema: float | None = None
    accumulate: int | None = None
    bfloat16: bool | None = None
    seeds: tuple[int, ...] = (0,)
    workers: int = 0
    keep: int = 2
    tensorboard: bool = False
    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    output: Path | None = None
