"""Latencies and energies of what a search has found: looked up, predicted or measured, for its result."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tenas_jax.records.run_folder import RunFolder
from tenas_jax.search.job import Job
from tenas_jax.search.limits import check_budget
from tenas_jax.search.measures import spelled


def prepare(job: Job, folder: RunFolder, *, finished: bool) -> None:
    """Opens the latencies that a run's folder holds and, where its search goes by them, calibrates and checks the limits.

    Args:
        job: the search.
        folder: of the run.
        finished: whether there is a result already.

    Raises:
        InputError: for limits that nothing meets, or damaged latencies that a search has gone by.
    """
    measured = job.asked.measured
    if measured is None:
        return
    measured.open(folder)
    if job.asked.goes_by_measured and not finished:
        measured.calibrate(begun=bool(folder.rounds))
        if job.budget:
            check_budget(job.budget, job.space, job.strategy)


def measures_of(job: Job, result: Mapping[str, Any], *, new: bool) -> list[dict[str, Any]]:
    """What is known of the architecture that was found.

    Args:
        job: the search.
        result: with its `architecture`.
        new: whether the result is of this session; by what an earlier one has calibrated is not predicted again.

    Returns:
        Plain JSON values: `name`, `on`, `unit`, `value` and, of limits, `most`; of what was measured also `spread`, the
        batch, and what was predicted. Empty where nothing asks.
    """
    mask, measured = job.space.parse(result["architecture"]), job.asked.measured
    if measured and job.asked.goes_by_measured and not new:
        return []
    found = []
    for measure, most in job.asked.measures():
        value = float(measure.values(job.space, mask))
        found.append(
            {"name": measure.name, "on": measure.on, "unit": measure.unit}
            | {"value": None if math.isnan(value) else value}
            | ({"most": most} if most is not None else {})
        )
    if measured is None:
        return found
    predictions = [one for one in found if one["on"] == measured.measure.on]
    known = measured.of(mask)
    one = {"name": "latency", "on": measured.measure.on, "unit": "ms", "value": known["milliseconds"]}
    one |= {"spread": known["spread"], **measured.identity}
    if measured.fit is not None:
        one |= {"error": measured.fit.error, "noise": measured.fit.is_noise}
    for prediction in predictions:
        one |= {"predicted": prediction["value"]} | ({"most": prediction["most"]} if "most" in prediction else {})
    return [one, *(other for other in found if other not in predictions)]


def measure_lines(measures: Sequence[Mapping[str, Any]]) -> list[str]:
    """For people: what has a limit or was measured in a line of its own, the rest together.

    Args:
        measures: from `measures_of`.
    """
    lines, rest = [], []
    for one in measures:
        value = spelled(math.nan if one["value"] is None else one["value"], one["unit"])
        text = f"{one['name']} on {one['on']}: {value}"
        if "spread" in one:
            text += f" measured, half of the repeats within {one['spread']:.3g} ms"
        if "predicted" in one:
            text += f"; predicted {one['predicted']:.4g} ms, wrong by {one['error']:.3g} ms on average"
        if "most" in one:
            text += f"; at most {spelled(one['most'], one['unit'])} were asked for"
            text += "" if (one["value"] or 0) <= one["most"] else ", which it does not meet"
        if one.get("noise"):
            text += "; these latencies are noise"
        (lines if "most" in one or "spread" in one else rest).append(text)
    return [*lines, *(["; ".join(rest)] if rest else [])]
