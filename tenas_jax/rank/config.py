"""A ranking, as the command line names it."""

from dataclasses import dataclass
from pathlib import Path

from tenas_jax.spaces.score import REPEATS


@dataclass(frozen=True)
class RankConfig:
    """The options of `python -m tenas_jax.rank`; those of `--help` say what each field is."""

    space: str = "nasbench201"
    architectures: str = "all"
    scores: str | None = None
    dataset: str | None = None
    data: Path | None = None
    side: int | None = None
    ntk: str | None = None
    ntk_engine: str | None = None
    repeats: int = REPEATS
    seed: int = 0
    benchmark: Path | None = None
    benchmark_column: str | None = None
    ray: str | None = None
    figures: Path | None = None
    output: Path = Path("scores.csv")
