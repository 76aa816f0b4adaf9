"""Which architectures a person means: all of a space, some at random, or those of a file."""

import csv
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Key

from tenas_jax.command_line import memory_bytes
from tenas_jax.errors import InputError
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.mnasnet import LAYERS, option
from tenas_jax.spaces.nasbench101 import NAS_BENCH_101, in_first_order
from tenas_jax.spaces.nasbench101_strings import OUTPUT
from tenas_jax.spaces.space import SearchSpace, host_generator

MOST_DRAWN = 10_000_000  # random architectures of one ranking
ROW_BYTES = 5000  # of memory that an architecture takes: benchmarks/rank_driver.py measures it on DARTS, costs only


_GENOTYPE = ("normal", "reduce")


def _mnasnet(row: dict[str, str]) -> str:
    """The options of the seven blocks."""
    try:
        blocks = [[int(row[f"{part}{number}"]) for part in ("e", "k", "l", "se")] for number in range(len(LAYERS))]
    except (ValueError, TypeError) as error:
        raise InputError(f"the columns e0 to se{len(LAYERS) - 1} must hold whole numbers: {error}.") from error
    return "-".join(option(*block) for block in blocks)


# What tables of benchmarks have instead of a column `architecture`.
_ENCODINGS: dict[tuple[str, ...], Callable[[dict[str, str]], str]] = {
    ("code",): lambda row: row["code"],
    ("adjacency", "operators"): lambda row: _usual(f"{row['adjacency']} {row['operators']}"),
    tuple(f"{part}{number}" for number in range(len(LAYERS)) for part in ("e", "k", "l", "se")): _mnasnet,
}


class Listing(NamedTuple):
    """Distinct architectures.

    Attributes:
        masks: (m, cells, edges, operators).
        duplicates: how many were left out because they had come before.
    """

    masks: Bool[np.ndarray, "m cells edges ops"]
    duplicates: int


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Reads a csv or csv.gz.

    Args:
        path: the file.

    Returns:
        The columns' names, and a dict a row.

    Raises:
        InputError: where it cannot be read.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            return names, list(reader)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise InputError(f"{path} cannot be read as csv or csv.gz: {error}.") from error


def names_architectures(columns: list[str]) -> bool:
    """Whether a table says which architecture a row is about, see `row_architecture`.

    Args:
        columns: their names.
    """
    return any(set(needed) <= set(columns) for needed in (("architecture",), _GENOTYPE, *_ENCODINGS))


def row_architecture(row: dict[str, str]) -> str:
    """The architecture of a row: its column `architecture`, or what other benchmarks have instead.

    Of `normal` and `reduce` it is a genotype as DARTS prints it, of NAS-Bench-Macro the column `code`, of NAS-Bench-101 the
    columns `adjacency` and `operators`, and of MnasNet the columns `e0`, `k0`, `l0`, `se0` to `e6`, `k6`, `l6`, `se6` of
    its blocks. A genotype of DARTS that is written as JSON becomes the string that every other table has.

    Args:
        row: with these columns; cells of `normal` and `reduce` are `OPERATOR~INPUT` pairs with spaces between.

    Raises:
        InputError: where the pairs are no genotype.
    """
    text = row.get("architecture")
    if text is not None:
        return _usual(text)
    for columns, encoding in _ENCODINGS.items():
        if set(columns) <= set(row):
            return encoding(row)
    genotype: dict[str, Any] = {f"{cell}_concat": list(DARTS.inner_nodes) for cell in DARTS.cells}
    for cell in DARTS.cells:
        pairs = [pair.partition("~") for pair in (row.get(cell) or "").split()]
        if not all(source.isdecimal() for _, _, source in pairs):
            raise InputError(f"the column {cell} must hold `OPERATOR~INPUT` pairs; it holds {row.get(cell)!r}.")
        genotype[cell] = [[operator, int(source)] for operator, _, source in pairs]
    return DARTS.format(DARTS.parse(json.dumps(genotype)))


def table_name(architecture: str) -> str:
    """What an architecture is called in a table of accuracies: cells of NAS-Bench-101 that are equal have one name.

    Args:
        architecture: as its space prints it.
    """
    if OUTPUT not in architecture:
        return architecture
    try:
        mask = NAS_BENCH_101.parse(architecture)
    except InputError:  # of another space
        return architecture
    return NAS_BENCH_101.format(in_first_order(NAS_BENCH_101, mask[None])[0])


def _usual(architecture: str) -> str:
    """As its space prints it where it can be written in other ways too; anything else as it is."""
    if architecture.lstrip().startswith("{"):
        space = DARTS
    elif OUTPUT in architecture:
        space = NAS_BENCH_101
    else:
        return architecture
    try:
        return space.format(space.parse(architecture))
    except InputError:  # of another space, perhaps; whoever parses it says what is wrong
        return architecture


def check_number(space: SearchSpace, wanted: str) -> None:
    """Refuses a number of architectures that no run could hold, before any of them is drawn.

    Args:
        space: the search space.
        wanted: as `choose` takes it.

    Raises:
        InputError: where the number is not from 1 to the size of the space, or too many for the memory at hand.
    """
    if not wanted.lstrip("+-").isdecimal():
        return
    count = int(wanted) if len(wanted) < 100 else 10**100
    most = min(space.size, MOST_DRAWN)
    if not 1 <= count <= most:
        raise InputError(f"--architectures must be from 1 to {most:,}, or all, or a file; it is {wanted}.")
    memory = memory_bytes()
    if memory is not None and count * ROW_BYTES > memory:
        raise InputError(
            f"a ranking holds all its architectures in memory, some {ROW_BYTES} bytes each: at most "
            f"{memory // ROW_BYTES:,} here; --architectures is {wanted}. Rank parts of them."
        )


def choose(space: SearchSpace, wanted: str, key: Key[Array, ""]) -> Listing:
    """Architectures as the command line names them.

    Args:
        space: the search space.
        wanted: "all", a number of random architectures, or the path of a file: one architecture a line, or a csv or
            csv.gz with a column `architecture` or columns `normal` and `reduce`, or `adjacency` and `operators`.
        key: decides the random ones.

    Raises:
        InputError: for a space too large to enumerate, a number that is not from 1 to the size of the space, a file that
            is missing, empty or has something else in a line.
    """
    if wanted == "all":
        return Listing(space.enumerated(), 0)
    if wanted.lstrip("+-").isdecimal():
        check_number(space, wanted)
        return Listing(_at_random(space, int(wanted), key), 0)
    return _distinct(_from_file(space, Path(wanted)))


def _at_random(space: SearchSpace, count: int, key) -> np.ndarray:
    if space.size <= MOST_DRAWN and space.validity is None:
        # Without repetition: the first so many of a shuffled space.
        return space.one_hot(space.numbered(host_generator(key).permutation(space.size)[:count]))
    # Of so many hardly one comes twice; those that do are drawn again.
    masks, draws = _distinct(space.sample(key, count)).masks, 0
    while len(masks) < count:
        draws += 1
        more = space.sample(jax.random.fold_in(key, draws), count)
        masks = _distinct(np.concatenate([masks, more])).masks[:count]
    return masks


def _from_file(space: SearchSpace, path: Path) -> np.ndarray:
    if path.name.endswith((".csv", ".csv.gz")):
        names, rows = read_rows(path)
        if not names_architectures(names):
            raise InputError(
                f"{path} has no column `architecture`, nor `normal` and `reduce`, nor `adjacency` and `operators`; it has "
                f"{', '.join(names) or 'none'}."
            )
        numbered = list(enumerate(rows, 2))
    else:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"--architectures must be all, a number, or a file that can be read; {path} cannot: {error}."
            ) from error
        numbered = [(number, {"architecture": line.strip()}) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"{path} holds no architecture; write one in each line.")
    masks = []
    for number, row in numbered:
        try:
            masks.append(space.parse(row_architecture(row)))
        except InputError as error:
            raise InputError(f"line {number} of {path}: {error}") from error
    return np.stack(masks)


def _distinct(masks: np.ndarray) -> Listing:
    _, first = np.unique(masks.reshape(len(masks), -1), axis=0, return_index=True)
    return Listing(masks[np.sort(first)], len(masks) - len(first))
