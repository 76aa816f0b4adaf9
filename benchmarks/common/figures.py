"""Figures in documents: marked in their text, computed from the result files, written or compared.

A mark is a comment of HTML, which no renderer shows. In a line of text it holds an expression and a format of Python:

    takes <!--= rank_speed.ours.seconds * 1000 ; .1f -->3.2<!----> ms an architecture

Names of an expression are the files in `results/`, and `published` for `published.json`. Keys follow a dot; brackets take
what is no name; of a list of rows, `rows(score="flops", images=None)` is the one row with these values. A mark opens no
line. Lines of their own hold a block, a table of `common.tables`:

    <!-- block: rank_speed -->

    ...

    <!-- end -->
"""

import re
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from common.markdown import read
from common.records import RESULTS, ROOT
from common.tables import TABLES

BLOCKS = {table.__name__: table for table in TABLES}
FIGURE = re.compile(
    r"(?P<open><!--= (?P<expression>[^;]*?) (?:; (?P<format>\S+) )?-->)(?P<shown>[^<]*)(?P<close><!---->)"
)
BLOCK = re.compile(
    r"(?P<open>^<!-- block: (?P<name>\w+) -->\n\n)(?P<shown>.*?)(?P<close>\n\n<!-- end -->$)", re.M | re.S
)
# Renderers take a line that a comment opens for HTML, and nothing else in it for Markdown.
OPENS_A_LINE = re.compile(r"^\s*(?:[-*>]|\d+\.)?\s*<!--=", re.M)
# What is neither prose nor a figure that is claimed: code, formulas, comments, addresses, pictures.
NO_PROSE = re.compile(r"^```.*?^```|^    .*?$|`[^`\n]*`|<!--.*?-->|\]\([^)]*\)|<[^>\n]+>", re.M | re.S)
# A number with a fraction, or with a unit that only a measurement has.
MEASURED = re.compile(
    r"(?<![\w.])-?\d*\.\d+|(?<![\w.])\d[\d,]*(?= (?:s|ms|min|minutes|hours|days|GB|GiB|MB|MiB|%|times as|points?)\b|%)"
)


class Node:
    """A dictionary or list of a result file: keys are attributes, and a call picks the one row with the given values."""

    def __init__(self, value: Any, name: str):
        self._value, self._name = value, name

    def __getattr__(self, key: str) -> Any:
        return self[key]

    def __getitem__(self, key: str | int) -> Any:
        try:
            return _node(self._value[key], f"{self._name}.{key}")
        except (KeyError, IndexError, TypeError):
            known = list(self._value) if isinstance(self._value, dict) else type(self._value).__name__
            raise LookupError(f"{self._name} has no {key!r}, but {known}") from None

    def __call__(self, **values: Any) -> Any:  # noqa: D102
        rows = [row for row in self._value if all(row.get(key) == value for key, value in values.items())]
        if len(rows) != 1:
            raise LookupError(f"{self._name} has {len(rows)} rows with {values}")
        return _node(rows[0], f"{self._name}({values})")

    def __iter__(self) -> Iterator[Any]:
        values = self._value.values() if isinstance(self._value, dict) else self._value
        return (_node(value, f"{self._name}[]") for value in values)

    def __len__(self) -> int:
        return len(self._value)


def _node(value: Any, name: str) -> Any:
    return Node(value, name) if isinstance(value, dict | list) else value


@cache
def _files() -> dict[str, Any]:
    names = [*(path.stem for path in sorted(RESULTS.glob("*.json"))), "published"]
    return {name: Node(read(name), name) for name in names}


def value_of(expression: str) -> Any:
    """The value of an expression over the result files."""
    functions = {"mean": statistics.mean, "median": statistics.median}
    functions |= {f.__name__: f for f in (abs, len, max, min, round, sum)}
    return eval(expression, {"__builtins__": {}, **functions, **_files()})  # of our own documents


def shown(expression: str, format_of: str | None) -> str:
    """A figure as it stands in a text."""
    return format(value_of(expression), format_of or "")


def refreshed(text: str) -> str:
    """A document with every figure and block as the result files have them now."""
    text = FIGURE.sub(lambda m: m["open"] + shown(m["expression"], m["format"]) + m["close"], text)
    return BLOCK.sub(lambda m: m["open"] + BLOCKS[m["name"]]() + m["close"], text)


def unmarked(text: str) -> list[str]:
    """Numbers in prose that look measured and have no mark, each with what stands around it."""
    prose = NO_PROSE.sub(" ", BLOCK.sub(" ", FIGURE.sub(" ", text)))
    return [prose[max(0, m.start() - 30) : m.end() + 20].replace("\n", " ") for m in MEASURED.finditer(prose)]


def documents() -> list[Path]:
    """The README and all pages of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
