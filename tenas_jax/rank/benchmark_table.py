"""Tables of trained accuracies, to look up what an architecture reaches. Only for reporting: never part of a score."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from tenas_jax.errors import InputError
from tenas_jax.rank.architectures import names_architectures, read_rows, row_architecture, table_name
from tenas_jax.spaces.space import SearchSpace


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
        accuracies: by architecture, see `architectures.table_name`.
    """

    path: Path
    column: str
    accuracies: dict[str, float]

    def check_about(self, space: SearchSpace) -> None:
        """Refuses a table that holds no architecture of a space, before any work.

        Args:
            space: the search space.

        Raises:
            InputError: where there is none.
        """
        for name in self.accuracies:
            try:
                space.parse(name)
            except InputError:
                continue
            return
        raise InputError(f"the benchmark table {self.path} holds no architecture of {space.name}.")

    def accuracy(self, architecture: str) -> float:
        """What an architecture reaches; NaN where the table does not hold it.

        Args:
            architecture: its string.
        """
        return self.accuracies.get(table_name(architecture), math.nan)

    def holds(self, architecture: str) -> bool:
        """Whether there is an accuracy of an architecture.

        Args:
            architecture: its string.
        """
        return not math.isnan(self.accuracy(architecture))

    def standing(self, architecture: str) -> Standing:
        """Looks an architecture up.

        Args:
            architecture: its string.

        Raises:
            InputError: where the table does not hold it.
        """
        if not self.holds(architecture):
            raise InputError(
                f"{self.path} does not hold the architecture {architecture}; give a table of the whole space."
            )
        accuracy = self.accuracy(architecture)
        best = max(self.accuracies, key=self.accuracies.__getitem__)
        rank = 1 + sum(value > accuracy for value in self.accuracies.values())
        return Standing(self.column, accuracy, rank, len(self.accuracies), self.accuracies[best], best)


def read_table(path: Path, column: str | None = None) -> BenchmarkTable:
    """Reads a csv or csv.gz with a column `architecture`, or `normal` and `reduce`, and a column of accuracies.

    Args:
        path: the file; or what the packages of NATS-Bench and NAS-Bench-201 read, where they are installed.
        column: which accuracies; may be None where a single column holds `accuracy` in its name. Of NATS-Bench and
            NAS-Bench-201 the data set, by default cifar10.

    Raises:
        InputError: where the file or a column is missing, or a value is not a number.
    """
    if path.is_dir() or path.suffix in (".pth", ".pbz2"):
        return api_table(open_api(path), column or "cifar10", path)
    names, rows = read_rows(path)
    column = column or _only_accuracy(path, names)
    if not names_architectures(names):
        raise InputError(f"the benchmark table {path} has no column 'architecture'; it has {', '.join(names)}.")
    if column not in names:
        raise InputError(f"the benchmark table {path} has no column {column!r}; it has {', '.join(names)}.")
    accuracies = {}
    for line, row in enumerate(rows, 2):
        try:
            architecture = table_name(row_architecture(row))
        except InputError as error:
            raise InputError(f"line {line} of {path}: {error}") from error
        accuracies[architecture] = _accuracy(row[column], f"line {line} of {path}", column)
    accuracies = {name: accuracy for name, accuracy in accuracies.items() if not math.isnan(accuracy)}
    if not accuracies:
        raise InputError(f"the benchmark table {path} holds no accuracy; a row an architecture is needed.")
    return BenchmarkTable(path, column, accuracies)


def _accuracy(text: str | None, where: str, column: str) -> float:
    """A number; NaN, or an empty field, says that there is none."""
    if text == "":
        return math.nan
    try:
        accuracy = float(text)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} has {text!r} as {column}; a number is needed.") from error
    if math.isinf(accuracy):
        raise InputError(f"{where} has {text!r} as {column}; an accuracy is finite.")
    return accuracy


def _only_accuracy(path: Path, names: list[str]) -> str:
    found = [name for name in names if "accuracy" in name]
    if len(found) != 1:
        raise InputError(
            f"the benchmark table {path} has {len(found)} columns with `accuracy` in their name"
            f"{': ' + ', '.join(found) if found else ''}; name one with --benchmark-column."
        )
    return found[0]


def open_api(path: Path) -> Any:
    """Opens NATS-Bench (a folder or .pickle.pbz2) or NAS-Bench-201 (.pth) with its own package.

    Args:
        path: as the package takes it.

    Raises:
        InputError: where the package is not installed, or refuses the file.
    """
    package = "nas_201_api" if path.suffix == ".pth" else "nats_bench"
    try:
        if package == "nas_201_api":
            from nas_201_api import NASBench201API  # pyright: ignore[reportMissingImports]

            return NASBench201API(str(path), verbose=False)
        from nats_bench import create  # pyright: ignore[reportMissingImports]

        return create(str(path), "tss", fast_mode=path.is_dir(), verbose=False)
    except ImportError as error:
        raise InputError(f"{path} needs the package {package}, which is not installed; or give a csv.") from error
    except Exception as error:  # whatever a foreign package raises
        raise InputError(f"{package} cannot read {path}: {error}.") from error


def api_table(api: Any, dataset: str, path: Path = Path("api")) -> BenchmarkTable:
    """All accuracies after 200 epochs of an API object of NATS-Bench or NAS-Bench-201, means over its seeds.

    Args:
        api: the object; `len(api)`, `api.arch(index)` and `api.get_more_info(...)` are used, which both have.
        dataset: cifar10, cifar100 or ImageNet16-120.
        path: where it came from, for messages.

    Raises:
        InputError: where the API does not know the data set.
    """
    accuracies = {}
    for index in range(len(api)):
        try:
            info = api.get_more_info(index, dataset, hp="200", is_random=False)
            accuracies[api.arch(index)] = float(info["test-accuracy"])
        except Exception as error:  # whatever a foreign package raises
            raise InputError(f"{path} has no test accuracy of architecture {index} on {dataset}: {error!r}.") from error
    return BenchmarkTable(path, f"{dataset} test accuracy", accuracies)
