"""A run is a folder: `config.json`, `rounds.jsonl`, `result.json`. Nothing is ever half-written, and a run resumes."""

import json
import os
from pathlib import Path
from typing import Any

from tenas_jax.errors import InputError
from tenas_jax.records.files import replace_file


class RunFolder:
    """The records of one run.

    Attributes:
        path: the folder.
        rounds: what earlier sessions of the run have recorded, a dict a round.
    """

    def __init__(self, path: Path, config: dict[str, Any]):
        """Opens or creates the folder of a run.

        Args:
            path: the folder.
            config: everything that decides the run's result; plain JSON values.

        Raises:
            InputError: where the folder holds a run of another configuration, or cannot be written.
        """
        self.path = path
        self.rounds: list[dict[str, Any]] = []
        config = json.loads(json.dumps(config))
        try:
            path.mkdir(parents=True, exist_ok=True)
            if (path / "config.json").exists():
                self._resume(config)
            else:
                replace_file(path / "config.json", _as_json(config).encode())
            # Opening for append also tells, before anything is computed, whether the folder can be written.
            with self._rounds_file.open("a"):
                pass
        except OSError as error:
            raise InputError(
                f"the run folder {path} cannot be written ({error.strerror}); choose another --output."
            ) from error

    @property
    def _rounds_file(self) -> Path:
        return self.path / "rounds.jsonl"

    def _resume(self, config: dict[str, Any]) -> None:
        recorded = self._read("config.json")
        differing = sorted(k for k in config.keys() | recorded.keys() if config.get(k) != recorded.get(k))
        if differing:
            raise InputError(
                f"{self.path} holds a run of another configuration (it differs in {', '.join(differing)}); "
                "choose another --output."
            )
        if not self._rounds_file.exists():
            return
        complete = self._rounds_file.read_bytes()
        complete = complete[: complete.rfind(b"\n") + 1]  # a kill may have left half a line
        for number, line in enumerate(complete.splitlines()):
            try:
                self.rounds.append(dict(json.loads(line)))
            except (ValueError, TypeError):
                # Whatever follows a damaged line builds on it: it is computed again.
                complete = b"".join(complete.splitlines(keepends=True)[:number])
                break
        replace_file(self._rounds_file, complete)

    def append(self, record: dict[str, Any]) -> None:
        """Adds a round; it is on the disc when this returns.

        Args:
            record: plain JSON values.
        """
        try:
            with self._rounds_file.open("a") as file:
                file.write(json.dumps(record) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(
                f"{self._rounds_file} cannot be written ({error.strerror}); make room and run again."
            ) from error
        self.rounds.append(record)

    def result(self) -> dict[str, Any] | None:
        """The result of a finished run, or None.

        Raises:
            InputError: where the file has been damaged.
        """
        return self._read("result.json") if (self.path / "result.json").exists() else None

    def finish(self, result: dict[str, Any]) -> None:
        """Writes `result.json`.

        Args:
            result: plain JSON values.

        Raises:
            InputError: where it cannot be written.
        """
        self.write("result.json", _as_json(result))

    def write(self, name: str, content: str) -> None:
        """Writes a file of the folder, all or nothing.

        Args:
            name: of the file.
            content: all of it.

        Raises:
            InputError: where it cannot be written.
        """
        try:
            replace_file(self.path / name, content.encode())
        except OSError as error:
            raise InputError(f"{self.path / name} cannot be written ({error.strerror}); run again.") from error

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / name).read_bytes()))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{self.path}/{name} is damaged, it is not a JSON object; choose another --output, or remove it."
            ) from error


def _as_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
