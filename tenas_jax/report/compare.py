"""Several runs on one page: what each has found, and how many agree about every edge."""

from collections import Counter
from typing import Any

import numpy as np

from tenas_jax.report.cells import edge_name
from tenas_jax.report.page import architecture_of, found_cells, render
from tenas_jax.report.run_files import Run, choice_of


def compared(runs: list[Run]) -> str:
    """The page of several runs.

    Args:
        runs: at least two, from `run_files.read_run`.

    Returns:
        HTML.
    """
    rows = [_row(run) for run in runs]
    counts = Counter(row["architecture"] for row in rows if row["architecture"])
    for row in rows:
        row["same"] = counts.get(row["architecture"], 0)
    damage = [f"{run.path.name}: {sentence}" for run in runs for sentence in run.damage]
    title = f"{len(runs)} runs"
    return render(
        "compare.html", title=title, damage=damage, rows=rows, agreement=agreement(runs), distinct=len(counts)
    )


def _row(run: Run) -> dict[str, Any]:
    cost = run.result.get("cost") if isinstance(run.result.get("cost"), dict) else {}
    known = run.result.get("benchmark")
    return {
        "name": str(run.path),
        "kind": run.kind,
        "seed": run.result.get("seed", run.config.get("seed", "")),
        "architecture": architecture_of(run, run.table),
        "cells": found_cells(run, run.table),
        "parameters": cost.get("parameters") if cost else None,
        "flops": cost.get("flops") if cost else None,
        "accuracy": known.get("accuracy") if isinstance(known, dict) else None,
        "seconds": run.result.get("wall_seconds"),
    }


def agreement(runs: list[Run]) -> list[dict[str, Any]]:
    """Edge by edge, how many runs chose which operator; empty where they are not of one space.

    Args:
        runs: any.
    """
    spaces = {run.space for run in runs}
    space = next(iter(spaces))
    if len(spaces) != 1 or space is None:
        return []
    found = [choice_of(space, architecture_of(run, run.table), run.result.get("choice")) for run in runs]
    choices = np.array([choice for choice in found if choice is not None])
    if len(choices) < 2:
        return []
    rows = []
    for cell, kind in enumerate(space.cells):
        for edge, ends in enumerate(space.edges):
            votes = Counter(space.operators[o] for o in choices[:, cell, edge].tolist()).most_common()
            where = edge_name(space, *ends) + (f", {kind}" if len(space.cells) > 1 else "")
            rows.append({"edge": where, "votes": votes, "share": votes[0][1] / len(choices), "of": len(choices)})
    return rows
