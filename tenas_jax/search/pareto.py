"""The front of a search: architectures that no other one beats in score and in cost, from the cheapest on."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tenas_jax.command_line import say
from tenas_jax.records.files import sha256_of, write_csv
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.report.listing import pareto_front
from tenas_jax.search.job import Job
from tenas_jax.search.measures import Measure, spelled
from tenas_jax.spaces.space import SearchSpace

FRONT, COSTS = "front.csv", "costs.csv"


class FrontPoint(NamedTuple):
    """An architecture of a front.

    Attributes:
        architecture: its string.
        score: larger is better; what the strategy went by.
        cost: in the unit of the measure.
        measured: latency on the device at hand, in milliseconds, where the cost is a prediction of it; None otherwise.
    """

    architecture: str
    score: float
    cost: float
    measured: float | None = None


def keep_front(
    job: Job, folder: RunFolder, choices: Int[np.ndarray, "m cells edges"], scores: Float[np.ndarray, " m"]
) -> dict[str, Any]:
    """Finds the front of what was scored, and writes `front.csv` and `costs.csv`, all that it was found among.

    Args:
        job: the search, with a cost.
        folder: of the run.
        choices: operator numbers of everything that was scored.
        scores: larger is better.

    Returns:
        For the result: `pareto`, what the cost is, `front`, its points, and `files`.
    """
    measure, space = job.asked.pareto, job.space
    assert measure is not None
    masks = space.one_hot(choices)
    strings, costs = space.formats(masks), connected_costs(measure, space, choices)
    places = pareto_front(costs, scores)
    points = [FrontPoint(strings[n], float(scores[n]), float(costs[n])) for n in places]
    if job.asked.goes_by_measured and job.asked.measured and measure.name == "latency":
        say(f"measuring the latency of the {len(points)} architectures of the front")
        known = [job.asked.measured.of(mask) for mask in masks[places]]
        points = [p._replace(measured=one["milliseconds"]) for p, one in zip(points, known, strict=True)]
    column = f"{measure.name}_{measure.unit.lower()}" if measure.on else measure.name
    write_csv(folder.path / COSTS, strings, {"score": scores, column: costs})
    columns = {"score": np.array([p.score for p in points]), column: np.array([p.cost for p in points])}
    if points and points[0].measured is not None:
        columns["measured_ms"] = np.array([p.measured for p in points])
    write_csv(folder.path / FRONT, [p.architecture for p in points], columns)
    return {
        "pareto": {"name": measure.name, "unit": measure.unit, "on": measure.on, "column": column},
        "front": [p._asdict() for p in points],
        "files": {name: sha256_of(folder.path / name) for name in (FRONT, COSTS)},
    }


def connected_costs(
    measure: Measure, space: SearchSpace, choices: Int[np.ndarray, "m cells edges"]
) -> Float[np.ndarray, " m"]:
    """The cost of architectures; NaN where no input reaches the output: what computes nothing is cheap, and no answer.

    Args:
        measure: the cost.
        space: the search space.
        choices: operator numbers.
    """
    masks = space.one_hot(choices)
    return np.where(space.connected(masks), measure.values(space, masks).astype(float), np.nan)


def say_front(result: dict[str, Any]) -> None:
    """The front as lines of progress.

    Args:
        result: with what `keep_front` has returned.
    """
    about = result["pareto"]
    where = f" on {about['on']}" if about["on"] else ""
    say(f"the front of score and {about['name']}{where}, {len(result['front'])} architectures, the cheapest first:")
    for point in result["front"]:
        also = f", measured {point['measured']:.4g} ms" if point["measured"] is not None else ""
        say(f"  {spelled(point['cost'], about['unit'])}{also}, score {point['score']:.4g}: {point['architecture']}")
