"""Tables of trained accuracies, to look up what an architecture reaches. Only for reporting: never part of a score."""

import csv
import gzip
import math
import zlib
from pathlib import Path
from typing import NamedTuple

from tenas_jax.errors import InputError


class Standing(NamedTuple):
    """Where an architecture stands in a table.

    Attributes:
        column: the table's column.
        accuracy: the architecture's value there.
        rank: 1 for the best; how many are better, plus one.
        architectures: how many the table holds.
        optimum: the best value.
        best: the architecture that reaches it.
    """

    column: str
    accuracy: float
    rank: int
    architectures: int
    optimum: float
    best: str


class BenchmarkTable(NamedTuple):
    """Accuracies by architecture string.

    Attributes:
        path: where it was read from.
        column: the column that was read.
        accuracies: by architecture.
    """

    path: Path
    column: str
    accuracies: dict[str, float]

    def standing(self, architecture: str) -> Standing:
        """Looks an architecture up.

        Args:
            architecture: its string.

        Raises:
            InputError: where the table does not hold it.
        """
        if architecture not in self.accuracies:
            raise InputError(
                f"{self.path} does not hold the architecture {architecture}; give a table of the whole space."
            )
        accuracy = self.accuracies[architecture]
        best = max(self.accuracies, key=self.accuracies.__getitem__)
        rank = 1 + sum(value > accuracy for value in self.accuracies.values())
        return Standing(self.column, accuracy, rank, len(self.accuracies), self.accuracies[best], best)


def read_table(path: Path, column: str | None = None) -> BenchmarkTable:
    """Reads a csv or csv.gz with a column `architecture` and a column of accuracies.

    Args:
        path: the file.
        column: which accuracies; may be None where a single column holds `accuracy` in its name.

    Raises:
        InputError: where the file or a column is missing, or a value is not a number.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise InputError(f"the benchmark table {path} cannot be read as csv or csv.gz: {error}.") from error
    column = column or _only_accuracy(path, names)
    for needed in ("architecture", column):
        if needed not in names:
            raise InputError(f"the benchmark table {path} has no column {needed!r}; it has {', '.join(names)}.")
    accuracies = {}
    for line, row in enumerate(rows, 2):
        try:
            accuracies[row["architecture"]] = float(row[column])
        except (TypeError, ValueError) as error:
            raise InputError(f"line {line} of {path} has {row[column]!r} as {column}; a number is needed.") from error
    return BenchmarkTable(path, column, {name: a for name, a in accuracies.items() if not math.isnan(a)})


def _only_accuracy(path: Path, names: list[str]) -> str:
    found = [name for name in names if "accuracy" in name]
    if len(found) != 1:
        raise InputError(
            f"the benchmark table {path} has {len(found)} columns with `accuracy` in their name"
            f"{': ' + ', '.join(found) if found else ''}; name one with --benchmark-column."
        )
    return found[0]
