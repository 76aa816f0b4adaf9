"""What a run has scored, as plain columns."""

from typing import Any

from tenas_jax.report.listed import seen
from tenas_jax.report.pruned import real, scores_named
from tenas_jax.report.run_files import Run, numbers


def table_of(run: Run) -> dict[str, list[Any]]:
    """Everything that a run has scored, as plain lists.

    Args:
        run: of a search or a ranking.
    """
    if run.kind != "prune":
        table = seen(run) if run.kind == "evolve" else run.table
        return (
            {} if table is None else {"architecture": table.strings} | {n: v.tolist() for n, v in table.columns.items()}
        )
    rows = [(record["round"], candidate) for record in run.rounds for candidate in record["candidates"]]
    found: dict[str, list[Any]] = {"round": [number for number, _ in rows]}
    for name in ("cell", "edge", "source", "target", "operator", "pruned"):
        found[name] = [candidate[name] for _, candidate in rows]
    for name in scores_named(run):
        found[name] = real(run, name, numbers(c["scores"][name] for _, c in rows)).tolist()
    return found | {"total": numbers(c["total"] for _, c in rows).tolist()}
