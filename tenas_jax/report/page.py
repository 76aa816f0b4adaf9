"""A run's folder as one page, `report.html`: what was found, and why everything else was not.

One file with its style and its script in it, and nothing to fetch. Every text of a record is escaped, by the templates and
by `svg.py`; the script gets JSON, which it only ever writes as text.
"""

import csv
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from tenas_jax.report import fronts, listed, pruned, trained
from tenas_jax.report.besides import besides
from tenas_jax.report.cells import cell_picture, supernet_picture
from tenas_jax.report.directions import direction, lower_is_better, told
from tenas_jax.report.layout import COMPACT
from tenas_jax.report.listing import number, place_among, rows_of
from tenas_jax.report.paints import DARK, LIGHT, operator_dash, operator_paint
from tenas_jax.report.plots import Plot
from tenas_jax.report.run_files import ACCURACY, Run, Table, as_json, choice_of
from tenas_jax.report.shapes import Picture, straight
from tenas_jax.report.svg import to_svg

Section = dict[str, Any]
BROKEN = (LookupError, TypeError, ValueError, AttributeError, OSError, csv.Error, AssertionError)


@cache
def _templates() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("tenas_jax.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["svg"] = lambda picture, css="": Markup(to_svg(picture, css))
    made.filters["safe_svg"] = Markup
    made.filters["script_json"] = lambda value: Markup(as_json(value))
    return made


def render(template: str, **values: Any) -> str:
    """A page of a template.

    Args:
        template: its name.
        **values: what it shows.
    """
    themes = {"light": LIGHT, "dark": DARK}
    return _templates().get_template(template).render(themes=themes, told=told, number=number, **values)


def report(run: Run) -> str:
    """The page of a run.

    Args:
        run: from `run_files.read_run`.

    Returns:
        HTML.
    """
    table = _table_of(run)
    sections = [*_sections(run, table)]
    space = run.space.name if run.space else "unknown space"
    return render(
        "run.html",
        title=f"{space}: {run.kind}",
        damage=run.damage,
        headline=_part("headline", lambda: _headline(run, table)),
        sections=sections,
        settings=_settings(run),
    )


def _part(name: str, make: Callable[[], Mapping[str, Any] | None]) -> Section:
    """A part of the page; a sentence where the records that it is made of are damaged or of another version."""
    try:
        return {"name": name, "broken": False, **(make() or {"empty": True})}
    except BROKEN:
        return {"name": name, "broken": True}


def _table_of(run: Run) -> Table | None:
    try:
        return listed.seen(run) if run.kind == "evolve" else run.table
    except BROKEN:
        return None


def _sections(run: Run, table: Table | None) -> list[Section]:
    found = []
    if run.kind == "prune":
        found.append(_part("trajectory", lambda: _plots("The way of the search", _WAY, pruned.trajectory(run))))
        found.append(_part("rounds", lambda: _rounds(run)))
    if run.kind == "train":
        found.append(_part("curves", lambda: _plots("Epoch by epoch", "", trained.curves(run))))
    if run.kind == "evolve":
        found.append(_part("generations", lambda: _plots("Generation by generation", "", listed.generations(run))))
    if table is not None and table.strings:
        held = table
        found.append(_part("pareto", lambda: _plots("The front", _PARETO, fronts.plots(run, held))))
        found.append(_part("front-list", lambda: fronts.front(run)))
        accuracies = lambda: _plots("Accuracy against place", _DOTS, listed.against_accuracy(run, held))  # noqa: E731
        found.append(_part("accuracy", accuracies))
        found.append(_part("front", lambda: _plots("Score against cost", _FRONT, listed.front(run, held))))
        found.append(_part("first", lambda: {"title": "The first twenty", **listed.first_ones(run, held)}))
        found.append(
            _part("histograms", lambda: _plots("How the scores are spread", _MARKED, listed.histograms(run, held)))
        )
        found.append(_part("pairs", lambda: _plots("Scores against each other", "", listed.pairs(run, held))))
    found.append(_part("besides", lambda: besides(run)))
    if table is not None and table.strings:
        rows = table
        found.append(_part("table", lambda: {"title": "All architectures", "data": rows_of(run.space, rows)}))
    elif run.kind == "prune":
        found.append(_part("table", lambda: {"title": "All candidates", "data": pruned.candidates_table(run)}))
    return [section for section in found if not section.get("empty")]


_WAY = (
    "Medians over the candidates of each round, with a bar or band from the lowest to the highest. A candidate's score is "
    "the mean over the architectures that hold it (rule “completion”), or the supernet's without it (rule “removal”)."
)
_FRONT = "The line joins architectures that no other one beats in both; the ring is the first one."
_PARETO = "Rings, and the line that joins them, mark the architectures that no other one beats in score and cost."
_DOTS = "Point at a dot to see which architecture it is. The ring is the first one."
_MARKED = "The line is where the first architecture stands."


def _plots(title: str, text: str, plots: list[Plot]) -> Section | None:
    return {"title": title, "text": text, "plots": plots, "kind": "plots"} if plots else None


def _rounds(run: Run) -> Section | None:
    if not run.rounds or run.space is None:
        return None
    shown = pruned.rounds_shown(run)
    steps = [{"labels": r["labels"], "shares": r["shares"]} for r in shown]
    return {
        "title": "Round by round", "rounds": shown, "steps": steps, "pictures": supernets(run),
        "completion": pruned.is_completion(run), "of": len(run.rounds),
    }  # fmt: skip


def supernets(run: Run) -> list[tuple[str, Picture, Picture]]:
    """The supernet's cells: name, drawing, and drawing for a phone.

    Args:
        run: of a known space.
    """
    space = run.space
    assert space is not None
    return [
        (name, supernet_picture(space, _cell(name), cell), supernet_picture(space, _cell(name), cell, COMPACT))
        for cell, name in enumerate(space.cells)
    ]


def _cell(name: str) -> str:
    return name if name == "cell" else f"{name} cell"


def found_cells(run: Run, table: Table | None = None) -> list[tuple[str, Picture, Picture]]:
    """The cells of what was found, as `supernets`; none where it cannot be told.

    Args:
        run: any.
        table: its architectures.
    """
    name = architecture_of(run, table)
    choice = choice_of(run.space, name, run.result.get("choice")) if name else None
    if choice is None or run.space is None:
        return []
    space = run.space
    return [
        (
            kind,
            cell_picture(space, choice[cell], _cell(kind), cell),
            cell_picture(space, choice[cell], _cell(kind), cell, COMPACT),
        )
        for cell, kind in enumerate(space.cells)
    ]


def architecture_of(run: Run, table: Table | None = None) -> str:
    """What a run has found; of a ranking the first; empty where there is nothing yet.

    Args:
        run: any.
        table: its architectures.
    """
    name = run.result.get("architecture") if run.kind != "rank" else None
    if isinstance(name, str):
        return name
    return table.strings[0] if table and table.strings else ""


def _headline(run: Run, table: Table | None) -> Section:
    name = architecture_of(run, table)
    return {
        "architecture": name,
        "cells": found_cells(run, table),
        "legend": _legend(run, name),
        "facts": [*_scores_of_found(run, table, name), *_facts(run)],
        "commands": _commands(run, name),
        "kind": _what(run),
    }


def _what(run: Run) -> str:
    if run.kind in ("rank", "train"):
        return {"rank": "the first of the ranking", "train": "trained"}[run.kind]
    return "found" if "evaluations" in run.result else "the best so far"


def _legend(run: Run, name: str) -> list[tuple[str, Picture]]:
    choice = choice_of(run.space, name, run.result.get("choice")) if name else None
    if choice is None or run.space is None:
        return []
    shown = [n for n in np.unique(choice).tolist() if n != run.space.none]
    return [(run.space.operators[n], _sample(run.space.operators[n], n)) for n in shown]


def _sample(name: str, operator: int) -> Picture:
    line = straight((1, 6), (39, 6), paint=operator_paint(operator), width=2.4, dash=operator_dash(operator))
    return Picture(40, 12, name, [line])


def _scores_of_found(run: Run, table: Table | None, name: str) -> list[tuple[str, str, str]]:
    """Name, value and standing of every score of what was found."""
    found = []
    if table is not None and name in table.strings:
        place, of = table.strings.index(name), len(table.strings)
        for column, values in table.numbers().items():
            if column in (*listed.SUMS, "generation"):
                continue
            rank = place_among(values, float(values[place]), lower_is_better(run.space, column))
            words = f"place {rank:,} of {of:,} that were scored, {direction(run.space, column)}".rstrip(", ")
            found.append(
                (told(column), number(values[place]), words if column != ACCURACY else f"place {rank:,} of {of:,}")
            )
        return found
    for column, held in (run.beside.get("scores") or {}).items():
        values = np.array([float(v) for v in held["random"]])
        rank = place_among(values, float(held["found"]), lower_is_better(run.space, column))
        words = f"place {rank:,} of {len(values) + 1:,}, beside random architectures; {direction(run.space, column)}"
        found.append((told(column), number(float(held["found"])), words))
    return found


def _facts(run: Run) -> list[tuple[str, str, str]]:
    result, found = run.result, trained.facts(run) if run.kind == "train" else []
    cost = result.get("cost") or {}
    if cost:
        found.append(("parameters", f"{int(cost['parameters']):,}", "of the network that is trained"))
        found.append(("multiply-adds", f"{int(cost['flops']):,}", "of the network that is trained"))
    found += fronts.facts(run)
    if known := result.get("benchmark"):
        words = f"rank {known['rank']:,} of {known['architectures']:,}; the optimum is {known['optimum']:.2f}"
        found.append((str(known["column"]), f"{known['accuracy']:.2f}", words))
    if "evaluations" in result:
        found.append(("evaluations", f"{result['evaluations']:,}", "networks times batches"))
    elif "distinct" in result:
        found.append(("architectures", f"{result['architectures']:,}", f"{result['distinct']:,} different functions"))
    if "wall_seconds" in result:
        words = f"{result['compile_seconds']:.1f} s of them compiling"
        found.append(("time", f"{result['wall_seconds']:.1f} s", words))
    found.append(
        ("images", str(result.get("dataset", "unknown")), f"seed {result.get('seed', run.config.get('seed'))}")
    )
    return found


def _commands(run: Run, name: str) -> list[tuple[str, str]]:
    """What a person does next."""
    found = [("make this page again", f"python -m tenas_jax.report {_quoted(str(run.path))}")]
    if run.kind not in ("rank", "train") and name and run.result:
        found.append(("train it", f"python -m tenas_jax.train --run {_quoted(str(run.path))} --data IMAGES"))
        space = str(run.result.get("space", "nasbench201"))
        listing = f"python -m tenas_jax.rank --space {_quoted(space)} --architectures 1000 --output ranks/beside.csv"
        found.append(("rank a thousand others", listing))
    return found


def _quoted(text: str) -> str:
    from shlex import quote

    return quote(text)


def _settings(run: Run) -> list[tuple[str, str]]:
    shown: dict[str, Any] = {}
    for source in (run.config, run.result.get("config"), run.result.get("versions")):
        shown |= source if isinstance(source, dict) else {}
    shown["device"] = run.result.get("device", "unknown")
    return [(str(name), str(value)) for name, value in shown.items()]


def pictures(run: Run) -> dict[str, Picture]:
    """Every drawing and plot of a run's page, by a name for a file.

    Args:
        run: from `run_files.read_run`.
    """
    table = _table_of(run)
    found = {f"cell-{_file_name(name)}": usual for name, usual, _ in found_cells(run, table)}
    for section in _sections(run, table):
        if section.get("kind") == "plots":
            found |= {f"{section['name']}-{n}": plot.picture for n, plot in enumerate(section["plots"])}
        elif section["name"] == "rounds" and not section["broken"]:
            found |= {f"supernet-{_file_name(name)}": usual for name, usual, _ in section["pictures"]}
        elif section["name"] == "besides" and not section["broken"]:
            found["spectrum"] = section["plot"].picture
            found |= {f"kernel-{kernel['name']}": kernel["picture"] for kernel in section["maps"]}
    return found


def _file_name(name: str) -> str:
    """Names of cells may hold anything; a file's may not."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)[:60] or "cell"


def scores_of(run: Run) -> dict[str, float]:
    """The scores of what a run has found, as far as it recorded them.

    Args:
        run: of a search.
    """
    table, name = _table_of(run), architecture_of(run)
    if table is not None and name in table.strings:
        place = table.strings.index(name)
        return {column: float(values[place]) for column, values in table.numbers().items()}
    return {column: float(held["found"]) for column, held in (run.beside.get("scores") or {}).items()}


def in_notebook(drawings: list[str], architecture: str) -> str:
    """Drawings with the paints that a page defines for them, for a notebook.

    Args:
        drawings: SVG.
        architecture: its string.
    """
    return render("notebook.html", drawings=drawings, architecture=architecture)
