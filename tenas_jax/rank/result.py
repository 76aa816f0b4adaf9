"""A ranking from Python: `tenas_jax.rank(...)` returns what the command line leaves in files, as an object."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tenas_jax.rank.config import RankConfig
from tenas_jax.report.options import config_of
from tenas_jax.report.page import found_cells, in_notebook, report
from tenas_jax.report.run_files import Run, read_run
from tenas_jax.report.svg import to_svg
from tenas_jax.report.tables import table_of
from tenas_jax.spaces.registry import find_space
from tenas_jax.spaces.space import SearchSpace


@dataclass(frozen=True)
class RankResult:
    """Architectures in order.

    Attributes:
        csv: the file with every score.
        space: the search space.
        record: what is in the json beside it.
    """

    csv: Path
    space: SearchSpace
    record: dict[str, Any]

    @cached_property
    def run(self) -> Run:
        """The ranking as its page sees it."""
        return read_run(self.csv)._replace(space=self.space)

    @property
    def architectures(self) -> list[str]:
        """Their strings, the best first."""
        assert self.run.table is not None
        return self.run.table.strings

    @property
    def architecture(self) -> str:
        """The first one."""
        return self.architectures[0]

    @property
    def mask(self) -> np.ndarray:
        """The first one as a mask, bool (cells, edges, operators)."""
        return self.space.parse(self.architecture)

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """By name, in the order of the architectures."""
        assert self.run.table is not None
        return self.run.table.columns

    @property
    def table(self) -> dict[str, list[Any]]:
        """Every architecture and score: `pandas.DataFrame(result.table)`, `polars.DataFrame(result.table)`."""
        return table_of(self.run)

    def report(self) -> str:
        """The page of the ranking, HTML."""
        return report(self.run)

    def _repr_html_(self) -> str:
        """The cells of the first one, for notebooks."""
        return in_notebook([to_svg(usual) for _, usual, _ in found_cells(self.run, self.run.table)], self.architecture)


def rank(**options: Any) -> RankResult:
    """Ranks architectures: `python -m tenas_jax.rank` from Python, with the same options, files and resumption.

    Args:
        **options: those of the command line by their names: `space="darts"`, `architectures="100"`, `output="ranks/a.csv"`.

    Returns:
        The ranking.

    Raises:
        InputError: for bad input, in one sentence.
    """
    from tenas_jax.rank.command import run

    if isinstance(options.get("architectures"), int | Path):
        options["architectures"] = str(options["architectures"])
    config = config_of(RankConfig, options)
    run(config)
    return RankResult(config.output, find_space(config.space), read_run(config.output).result)
