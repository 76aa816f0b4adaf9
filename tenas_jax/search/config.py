"""A search, as the command line names it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STRATEGIES = ("prune", "evolve", "exhaustive")
EVALUATIONS = 1000  # of an evolution


@dataclass(frozen=True)
class Config:
    """The options of `python -m tenas_jax.search`; those of `--help` say what each field is."""

    space: str = "nasbench201"
    dataset: str | None = None
    data: Path | None = None
    side: int | None = None
    preset: str = "default"
    ntk: str | None = None
    ntk_engine: str | None = None
    strategy: str = "prune"
    prune_number: int | None = None
    evaluations: int | None = None
    repeats: int | None = None
    max_params: int | None = None
    max_flops: int | None = None
    max_latency: str | None = None
    max_energy: str | None = None
    hardware: Path | None = None
    predictor: str | Callable[..., Any] | None = None
    measure_latency: int | None = None
    pareto: str | None = None
    seed: int = 0
    seeds: str | None = None
    benchmark: Path | None = None
    benchmark_column: str | None = None
    figures: Path | None = None
    output: Path | None = None
    then_train: str | None = None
