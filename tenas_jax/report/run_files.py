"""The files of a run as a page needs them: whatever can be read, with a sentence about what cannot.

Nothing is locked, written or run: a folder may be another process's, or come from somebody else.
"""

import csv
import hashlib
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tenas_jax.errors import InputError, printable
from tenas_jax.records import seal
from tenas_jax.records.run_folder import beginning
from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.registry import SPACES
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.strings import parse_cells

ACCURACY = "accuracy"


class Table(NamedTuple):
    """Architectures and their scores.

    Attributes:
        strings: of the architectures, the best first.
        columns: by name (m,), numbers or health.
    """

    strings: list[str]
    columns: dict[str, np.ndarray]

    def numbers(self) -> dict[str, np.ndarray]:
        """The columns that hold numbers."""
        return {name: values for name, values in self.columns.items() if values.dtype.kind == "f"}


class Run(NamedTuple):
    """What there is of a run.

    Attributes:
        path: the folder, or the csv of a ranking.
        kind: a strategy of the search, or "rank".
        space: its search space; None where nothing says which.
        config: what decides the result.
        rounds: what was recorded, a dict a round.
        result: of a finished run, empty otherwise.
        table: every architecture, where the run lists them.
        beside: the kernels and scores of what was found beside others, see `search.beside`; empty without.
        damage: what cannot be believed or read, a sentence each.
        costs: of a search for a front, the score and cost of everything that was scored; None without.
    """

    path: Path
    kind: str
    space: CellGraph | None
    config: dict[str, Any]
    rounds: list[dict[str, Any]]
    result: dict[str, Any]
    table: Table | None
    beside: dict[str, Any]
    damage: list[str]
    costs: Table | None = None


def read_run(path: Path) -> Run:
    """Reads the folder of a search, or the files of a ranking.

    Args:
        path: the folder; or the csv, or its json.

    Raises:
        InputError: where there is no run.
    """
    if path.is_dir():
        return _read_search(path)
    if path.with_suffix(".csv").is_file():
        return _read_ranking(path.with_suffix(".csv"))
    raise InputError(
        f"{str(path)!r} is no run: give the folder of a search, or the csv of a ranking; `runs` holds those of searches."
    )


def _read_search(path: Path) -> Run:
    damage: list[str] = []
    config = _object(path / "config.json", damage)
    if not config and not (path / "rounds.jsonl").exists() and not (path / "result.json").exists():
        raise InputError(
            f"{str(path)!r} holds no run: it has no config.json, rounds.jsonl or result.json that is whole."
        )
    environment = config.pop("environment", {})
    rounds = _rounds(path / "rounds.jsonl", config, environment, damage)
    result = _object(path / "result.json", damage) if (path / "result.json").exists() else {}
    if not result:
        damage.append("This run is not finished: the page shows what there is. The same command goes on with it.")
    elif isinstance(result.get("rounds"), int) and len(rounds) < result["rounds"]:
        damage.append(f"rounds.jsonl has {len(rounds)} of {result['rounds']} rounds: it is damaged, or was cut.")
    network = config.get("network") if isinstance(config.get("network"), dict) else {}
    kind = "train" if "recipe" in config else str(config.get("strategy") or result.get("strategy") or "prune")
    table = _table(path / "scores.csv", damage) if (path / "scores.csv").exists() else None
    _check_files(path, [*rounds, result], damage)
    beside = _object(path / "beside.json", damage) if (path / "beside.json").exists() else {}
    costs = _table(path / "costs.csv", damage) if (path / "costs.csv").exists() else None
    space = space_of(config.get("space", config.get("definition", result.get("space"))))
    result = {**({"architecture": network["architecture"]} if network and "architecture" in network else {}), **result}
    return Run(path, kind, space, config, rounds, result, table, beside, damage, costs)


def benchmark_path(path: Path) -> Path:
    """Where a ranking keeps the accuracies of its architectures, for its page alone.

    Args:
        path: of its csv.
    """
    return path.with_name(f"{path.stem}.benchmark.csv")


def _read_ranking(path: Path) -> Run:
    damage: list[str] = []
    record_file = path.with_suffix(".json")
    record = _object(record_file, damage)
    table = _table(path, damage)
    if table is None:
        raise InputError(f"{str(path)!r} is no ranking: it has no column `architecture`, or cannot be read.")
    if not record:
        damage.append(f"{printable(record_file.name)} is missing or damaged: what was ranked and how is not known.")
    elif record.get("csv_sha256") != hashlib.sha256(path.read_bytes()).hexdigest():
        damage.append(f"{printable(path.name)} is not what the ranking wrote: it is damaged, or was edited.")
    beside = benchmark_path(path)
    if beside.is_file() and (known := _table(beside, damage)) is not None and ACCURACY in known.columns:
        held = dict(zip(known.strings, known.columns[ACCURACY].tolist(), strict=True))
        table.columns[ACCURACY] = np.array([held.get(name, math.nan) for name in table.strings])
    config = record.get("identity", {}) if isinstance(record.get("identity"), dict) else {}
    space = space_of(config.get("space", record.get("space")))
    return Run(path, "rank", space, config, [], record, table, {}, damage)


def space_of(identity: Any) -> CellGraph | None:
    """The search space that a record names: one of ours, or the cells of somebody's, without its code.

    Args:
        identity: from `registry.identity_of`.
    """
    if isinstance(identity, str):
        return SPACES.get(identity)
    try:
        return CellGraph(
            name=str(identity["name"]), operators=tuple(map(str, identity["operators"])),
            cells=tuple(map(str, identity["cells"])), inputs=int(identity["inputs"]),
            edges=tuple((int(a), int(b)) for a, b in identity["edges"]),
            kept_edges=None if identity["kept_edges"] is None else int(identity["kept_edges"]),
        )  # fmt: skip
    except (LookupError, TypeError, ValueError):
        return None


def choice_of(space: CellGraph | None, architecture: str, recorded: Any = None) -> np.ndarray | None:
    """The operator numbers (cells, edges) of an architecture; None where they cannot be told.

    Args:
        space: its search space.
        architecture: its string.
        recorded: the numbers, where a record has them.
    """
    if space is None:
        return None
    try:
        if recorded is not None:
            found = np.array(recorded, int)
        else:
            found = (
                space.parser(space, architecture)
                if isinstance(space, SearchSpace)
                else parse_cells(space, architecture)
            )
    except (InputError, LookupError, TypeError, ValueError):
        return None
    fits = found.shape == space.mask_shape[:2] and ((found >= 0) & (found < len(space.operators))).all()
    return found if fits else None


def _object(path: Path, damage: list[str]) -> dict[str, Any]:
    """A sealed object; of a newer version, or damaged but readable, its content, marked."""
    name = printable(path.name)
    try:
        data = path.read_bytes()
    except OSError as error:
        damage.append(f"{name} cannot be read ({error.strerror}).")
        return {}
    found = seal.unsealed(data)
    if found.state is not seal.State.DAMAGED:
        return dict(found.content)
    content = seal.parsed(data) or {}
    newer = isinstance(content.get("format"), int) and content["format"] > seal.FORMAT
    if newer:
        damage.append(f"{name} was written by a newer version: what can be read of it is shown.")
    else:
        damage.append(f"{name} is damaged{': what can be read of it is shown' if content else ''}.")
    return {key: value for key, value in content.items() if key not in ("format", "sha256")}


def _rounds(path: Path, config: dict[str, Any], environment: Any, damage: list[str]) -> list[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    except OSError as error:
        damage.append(f"{printable(path.name)} cannot be read ({error.strerror}).")
        return []
    found, checksum = [], beginning(config, environment)
    for number, text in enumerate(lines):
        read = seal.read_line(text + b"\n", number, checksum)
        record = seal.parsed(text) if read is None else read[0]
        if read is None and (record is None or "sha256" in record):
            damage.append(
                f"{printable(path.name)} is damaged in line {number + 1}: that line and what follows is not shown."
            )
            break
        checksum = read[1] if read else checksum
        found.append(record or {})
    return found


def _check_files(path: Path, rounds: list[dict[str, Any]], damage: list[str]) -> None:
    for record in rounds:
        files = record.get("files", {})
        for name, wanted in files.items() if isinstance(files, dict) else ():
            inside = path / Path(str(name)).name
            if not inside.is_file() or hashlib.sha256(inside.read_bytes()).hexdigest() != wanted:
                damage.append(f"{printable(inside.name)} is missing, damaged, or was edited.")


def _table(path: Path, damage: list[str]) -> Table | None:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            names, *rows = csv.reader(file)
        texts = dict(zip(names, zip(*rows, strict=True), strict=True))
        strings = list(texts.pop("architecture"))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, LookupError):
        damage.append(f"{printable(path.name)} is damaged, or cannot be read.")
        return None
    return Table(strings, {name: _column(values) for name, values in texts.items()})


def _column(values: tuple[str, ...]) -> np.ndarray:
    try:
        return np.array(values, float)
    except ValueError:
        return np.array(values)


def numbers(values: Any) -> np.ndarray:
    """Numbers of a record, in which infinities are text.

    Args:
        values: a list.
    """
    return np.array([float(value) for value in values], float)


def as_json(value: Any) -> str:
    """JSON for a page's script: it cannot end the element that it stands in.

    Args:
        value: plain values.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
