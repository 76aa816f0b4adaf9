"""Files that are never half-written."""

import csv
import os
from io import StringIO
from pathlib import Path

import numpy as np

from tenas_jax.errors import InputError


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file that is never half-written: beside it first, then in its place.

    Args:
        path: the file.
        content: all of it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def write_csv(path: Path, strings: list[str], columns: dict[str, np.ndarray]) -> None:
    """Writes a row an architecture, all or nothing.

    Args:
        path: the file.
        strings: architectures.
        columns: by name, in the order of the strings.

    Raises:
        InputError: where the file cannot be written.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["architecture", *columns])
    writer.writerows(zip(strings, *(values.tolist() for values in columns.values()), strict=True))
    write_text(path, text.getvalue())


def write_text(path: Path, content: str) -> None:
    """Writes a file, all or nothing; makes its folder.

    Args:
        path: the file.
        content: all of it.

    Raises:
        InputError: where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content.encode())
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); make room or choose another --output, and run again: what is "
            "finished is kept."
        ) from error
