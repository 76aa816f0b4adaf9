"""Parts of tables in Markdown, from the files in `results/`."""

import json
from typing import Any

from common.records import RESULTS

PARTS = ("all", "development half", "other half")


def read(name: str) -> Any:
    """A file in `results/` by its name; `published` is what others have published."""
    folder = RESULTS.parent if name == "published" else RESULTS
    return json.loads((folder / f"{name}.json").read_text())


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"


def spread(figure) -> str:
    """In brackets; nothing where every seed has the same figure."""
    deviation = figure["standard_deviation"]
    return f" ({deviation:.3f})" if deviation else ""


def figures(value: float) -> str:
    """Three significant figures."""
    return f"{value:.3g}" if value >= 1e5 else f"{float(f'{value:.3g}'):g}"
