"""Tables of a page that a script sorts and filters: all rows, in as few bytes as they need."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenas_jax.report.directions import direction, score_of, told
from tenas_jax.report.run_files import Table, as_json
from tenas_jax.spaces.cell_graph import CellGraph

MOST_BYTES = 1_200_000  # of the rows of a table; the page has to stay below 2 MB
MARKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def number(value: float) -> str:
    """A number for people, of four digits; whole numbers up to a million in full.

    Args:
        value: any.
    """
    value = float(value)
    if value == int(value) if math.isfinite(value) else False:
        return f"{int(value):,}" if abs(value) < 1e12 else f"{value:.4g}"
    return f"{value:.4g}" if math.isfinite(value) else {math.inf: "∞", -math.inf: "−∞"}.get(value, "none")


def plain(value: Any) -> Any:
    """A value of a row as JSON: four digits, and text for what JSON does not have.

    Args:
        value: a number or text.
    """
    if isinstance(value, str):
        return value
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    short = float(f"{value:.4g}") if value != int(value) else value
    return int(short) if short == int(short) and abs(short) < 2**53 else short


def column(space: CellGraph | None, name: str) -> dict[str, str]:
    """The head of a column of scores.

    Args:
        space: the search space.
        name: of the score.
    """
    score = score_of(space, name)
    return {"name": name, "label": told(name), "note": direction(space, name), "title": score.meaning if score else ""}


def rows_of(space: CellGraph | None, table: Table) -> dict[str, Any]:
    """All architectures with their scores.

    Args:
        space: the search space.
        table: of a run.

    Returns:
        For `as_json`: columns, values column by column, and what stands for the names of operators.
    """
    names = list(table.columns)
    heads = [{"name": "place", "label": "place", "note": "", "title": ""}]
    heads += [{"name": "architecture", "label": "architecture", "note": "", "title": ""}]
    heads += [column(space, name) for name in names]
    marks = _marks(space, table.strings)
    template, shortened = _templated(_shortened(table.strings, marks), marks)
    values: list[Any] = [list(range(1, len(table.strings) + 1)), shortened]
    values += [_packed([plain(value) for value in table.columns[name].tolist()]) for name in names]
    found = {"columns": heads, "values": values, "marks": marks, "template": template, "of": len(table.strings)}
    return _limited(found)


def _limited(found: dict[str, Any]) -> dict[str, Any]:
    """The first rows, where all of them are too many bytes."""
    size, count = len(as_json(found["values"])), found["of"]
    if size > MOST_BYTES:
        count = int(count * MOST_BYTES / size)
        found["values"] = [_first(values, count) for values in found["values"]]
    found["shown"] = count
    return found


def _packed(values: list[Any]) -> Any:
    """A column of few different texts as those texts and their numbers: the health of scores is nearly always the same."""
    if not values or not all(isinstance(value, str) for value in values) or len(set(values)) > 50:
        return values
    texts = sorted(set(values))
    place = {text: number for number, text in enumerate(texts)}
    return {"texts": texts, "codes": [place[text] for text in values]}


def _first(values: Any, count: int) -> Any:
    return values[:count] if isinstance(values, list) else {**values, "codes": values["codes"][:count]}


def _marks(space: CellGraph | None, strings: Sequence[str]) -> dict[str, str]:
    """Letters that stand for operators: those that no string has."""
    if space is None:
        return {}
    held = set("".join(strings))
    free = [mark for mark in MARKS if mark not in held]
    operators = sorted(space.operators, key=len, reverse=True)
    return dict(zip(free, operators, strict=False)) if len(free) >= len(operators) else {}


def _shortened(strings: Sequence[str], marks: Mapping[str, str]) -> list[str]:
    found = list(strings)
    for mark, operator in marks.items():
        found = [string.replace(operator, mark) for string in found]
    return found


def _templated(strings: list[str], marks: Mapping[str, str]) -> tuple[str, list[str]]:
    """What all strings have in common, and the marks of each; nothing where they differ in more than their operators."""
    blank, other = dict.fromkeys(map(ord, marks), "#"), {ord("#"): None}
    templates = {string.translate(blank) for string in strings}
    if len(templates) != 1 or any("#" in string for string in strings):
        return "", strings
    (template,) = templates
    common = {ord(letter): None for letter in template if letter != "#"}
    return template, [string.translate(common | other) for string in strings]


def place_among(values: np.ndarray, value: float, lower: bool) -> int:
    """1 for the best: how many are better, plus one. What is not a number is the worst.

    Args:
        values: of all.
        value: of the one in question.
        lower: whether the smallest is the best.
    """
    sign = 1.0 if lower else -1.0
    badness = np.where(np.isnan(values), np.inf, sign * values)
    own = np.inf if math.isnan(value) else sign * value
    return 1 + int((badness < own).sum())


def pareto_front(cost: np.ndarray, goodness: np.ndarray) -> list[int]:
    """The architectures that no other one beats in both, from the cheapest on.

    Args:
        cost: less is better.
        goodness: more is better.
    """
    usable = np.flatnonzero(np.isfinite(cost) & np.isfinite(goodness))
    order = usable[np.lexsort((-goodness[usable], cost[usable]))]
    front, best = [], -math.inf
    for n in order.tolist():
        if goodness[n] > best:
            front.append(n)
            best = float(goodness[n])
    return front
