"""Results of a long evaluation, kept shard by shard: nothing is ever half-written, and an interrupted run goes on."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tenas_jax.errors import InputError
from tenas_jax.records.files import replace_file

SIZE = 256  # architectures of a shard: seconds of work


class Table(NamedTuple):
    """Scores of some architectures.

    Attributes:
        values: by score (repeats, m), float64; NaN where no input reaches the output.
        health: by score (repeats, m) strings; "disconnected" where no input reaches the output.
    """

    values: dict[str, Float[np.ndarray, "repeats m"]]
    health: dict[str, np.ndarray]


class Shards:
    """A folder with one file a finished shard, and the identity of the evaluation."""

    def __init__(self, path: Path, identity: dict[str, Any]):
        """Opens or creates the folder.

        Args:
            path: the folder.
            identity: everything that decides the results; plain JSON values.

        Raises:
            InputError: where the folder belongs to another evaluation, or cannot be written.
        """
        self.path = path
        content = json.dumps(identity, indent=2, sort_keys=True)
        try:
            path.mkdir(parents=True, exist_ok=True)
            recorded = path / "identity.json"
            if not recorded.exists():
                replace_file(recorded, content.encode())
            elif recorded.read_text() != content:
                raise InputError(
                    f"{path} holds the beginning of another ranking; finish that one with its own command, choose "
                    "another --output, or remove the folder."
                )
        except OSError as error:
            raise self._unwritable(error) from error

    def load(self, number: int) -> Table | None:
        """A finished shard, or None; a damaged file counts as not finished.

        Args:
            number: of the shard.
        """
        try:
            with np.load(self._file(number), allow_pickle=False) as saved:
                names = [name.removeprefix("value ") for name in saved if name.startswith("value ")]
                return Table(
                    {name: saved[f"value {name}"] for name in names}, {name: saved[f"health {name}"] for name in names}
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, number: int, table: Table) -> None:
        """Keeps a shard; it is on the disc when this returns.

        Args:
            number: of the shard.
            table: its results.

        Raises:
            InputError: where it cannot be written.
        """
        arrays = {f"value {name}": value for name, value in table.values.items()}
        arrays |= {f"health {name}": value for name, value in table.health.items()}
        beside = self.path / f".{number}.{os.getpid()}.npz"
        try:
            with beside.open("wb") as file:
                np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._file(number))
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise self._unwritable(error) from error

    def _file(self, number: int) -> Path:
        return self.path / f"{number:07d}.npz"

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"{self.path} cannot be written ({error.strerror}); make room or choose another --output, and run again: "
            "what is finished is kept."
        )
