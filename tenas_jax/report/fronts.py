"""What a page shows of hardware: latencies and energies of what was found, and the front of a search for one."""

from typing import Any

import numpy as np

from tenas_jax.report.directions import told
from tenas_jax.report.listed import first_ones
from tenas_jax.report.listing import number
from tenas_jax.report.plots import Plot, scatter
from tenas_jax.report.run_files import Run, Table


def facts(run: Run) -> list[tuple[str, str, str]]:
    """Measures of what was found: name, value, words.

    Args:
        run: of a search.
    """
    found = []
    for one in run.result.get("measures") or []:
        value = "unknown" if one["value"] is None else f"{number(one['value'])} {one['unit']}"
        words = [f"on {one['on']}"]
        if "spread" in one:
            words.append(f"measured, half of the repeats within {number(one['spread'])} ms")
        if "predicted" in one:
            words.append(f"predicted {number(one['predicted'])} ms, wrong by {number(one['error'])} ms on average")
        if one.get("noise"):
            words.append("these latencies are noise: repeats spread more than architectures differ")
        if "most" in one:
            words.append(f"at most {number(one['most'])} {one['unit']} were asked for")
        found.append((str(one["name"]), value, "; ".join(words)))
    return found


def plots(run: Run, table: Table) -> list[Plot]:
    """Score against cost of everything that was scored, with the front.

    Args:
        run: of a search for a front.
        table: its architectures, in the order of the page.
    """
    if run.costs is None or "pareto" not in run.result:
        return []
    about, held = run.result["pareto"], {name: place for place, name in enumerate(run.costs.strings)}
    order = np.array([held[name] for name in table.strings])
    cost, score = (run.costs.numbers()[name][order] for name in (about["column"], "score"))
    rows = {name: place for place, name in enumerate(table.strings)}
    front = [rows[point["architecture"]] for point in run.result["front"]]
    on = f" on {about['on']}" if about["on"] else ""
    below = f"{told(about['name'])}{on}, {about['unit']}"
    plot = scatter(
        cost, score, below, "score (higher is better)", marked=front, front=front, data={"dots": "all"}, most=3000
    )
    return [plot]


def front(run: Run) -> dict[str, Any] | None:
    """The architectures of the front with small drawings, the cheapest first.

    Args:
        run: of a search.
    """
    points = run.result.get("front")
    if not points:
        return None
    about = run.result["pareto"]
    columns = {"score": np.array([float(p["score"]) for p in points])}
    columns[about["column"]] = np.array([float(p["cost"]) for p in points])
    if points[0].get("measured") is not None:
        columns["measured_ms"] = np.array([float(p["measured"]) for p in points])
    table = Table([p["architecture"] for p in points], columns)
    return {"title": "Architectures of the front", **first_ones(run, table, len(points))}
