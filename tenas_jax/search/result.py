"""A search from Python: `tenas_jax.search(...)` returns what the command line leaves in a folder, as an object."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tenas_jax.errors import InputError
from tenas_jax.networks.stand_alone import Blueprint, StandAlone
from tenas_jax.report.options import config_of
from tenas_jax.report.page import found_cells, in_notebook, report, scores_of
from tenas_jax.report.run_files import Run, read_run
from tenas_jax.report.svg import to_svg
from tenas_jax.report.tables import table_of
from tenas_jax.search.config import Config
from tenas_jax.search.pareto import FrontPoint
from tenas_jax.spaces.registry import find_space
from tenas_jax.spaces.space import SearchSpace


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Attributes:
        folder: of the run, with all its files.
        space: the search space.
        architecture: its string.
        record: what is in `result.json`: costs, seconds, versions, settings.
        rounds: what is in `rounds.jsonl`, a dict a round.
    """

    folder: Path
    space: SearchSpace
    architecture: str
    record: dict[str, Any]
    rounds: list[dict[str, Any]]

    @property
    def mask(self) -> np.ndarray:
        """The architecture as a mask, bool (cells, edges, operators)."""
        return self.space.parse(self.architecture)

    @cached_property
    def run(self) -> Run:
        """The run as its page sees it."""
        return read_run(self.folder)._replace(space=self.space)

    @property
    def scores(self) -> dict[str, float]:
        """Scores of the architecture by name, as far as the run recorded them, and its costs."""
        return scores_of(self.run) | {name: float(value) for name, value in self.record["cost"].items()}

    @property
    def front(self) -> list[FrontPoint]:
        """The architectures that no other one beats in score and cost, the cheapest first; empty without `pareto`."""
        return [FrontPoint(**point) for point in self.record.get("front", [])]

    @property
    def table(self) -> dict[str, list[Any]]:
        """Everything that was scored, by column: `pandas.DataFrame(result.table)`, `polars.DataFrame(result.table)`."""
        return table_of(self.run)

    def model(self, classes: int | None = None) -> StandAlone:
        """The network of the architecture as a Flax module, to be trained: `model.init(key, images)`.

        Args:
            classes: of its head; by default as many as its space has.
        """
        skeleton = self.space.skeleton("trained")
        skeleton = skeleton if classes is None else skeleton._replace(classes=classes)
        choice = tuple(tuple(int(operator) for operator in cell) for cell in self.space.choice(self.mask))
        return StandAlone(Blueprint(self.space, choice, skeleton))

    def report(self) -> str:
        """The page of the run, HTML."""
        return report(self.run)

    def __str__(self) -> str:
        """The architecture."""
        return self.architecture

    def _repr_html_(self) -> str:
        """The cells, for notebooks."""
        return in_notebook([to_svg(usual) for _, usual, _ in found_cells(self.run)], self.architecture)


def search(callback: Callable[[dict[str, Any]], None] | None = None, **options: Any) -> SearchResult:
    """Finds an architecture: `python -m tenas_jax.search` from Python, with the same options, files and resumption.

    Args:
        callback: gets every record of a round once it is on the disc, a dict with `round`, `seconds` and what was scored:
            the place to log to TensorBoard, Weights & Biases or MLflow, or to raise in order to stop.
        **options: those of the command line by their names, with underscores: `space="darts"`, `seed=1`,
            `max_params=1_000_000`, `max_latency="20ms"`, `output="runs/mine"`; `predictor` may be the function itself.

    Returns:
        What was found.

    Raises:
        InputError: for bad input, in one sentence.
    """
    from tenas_jax.search.command import run
    from tenas_jax.search.job import resolve

    config = config_of(Config, options)
    if config.seeds is not None:
        raise InputError("`seeds` belongs to the command line; from Python, call `search` once a seed.")
    run(config, callback)
    folder = resolve(config).output
    read = read_run(folder)
    return SearchResult(folder, find_space(config.space), read.result["architecture"], read.result, read.rounds)
