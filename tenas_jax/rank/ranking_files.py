"""The files of a ranking: a csv with its record beside it. One owner, and a finished ranking is never written over."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tenas_jax.command_line import say
from tenas_jax.errors import InputError
from tenas_jax.records import seal
from tenas_jax.records.files import check_is_file, remove_left_overs, sha256_of, write_csv, write_text
from tenas_jax.records.lock import Lock

TAKEN = (".json", ".png", ".svg", ".html", ".gz")
"""Endings that say something else than csv: all but the last are those of the files beside it."""


class Finished(NamedTuple):
    """A ranking that was finished before.

    Attributes:
        strings: architectures, the best first.
        columns: by name (m,), in their order.
        record: what is in the json file.
    """

    strings: list[str]
    columns: dict[str, np.ndarray]
    record: dict[str, Any]


def check_output(output: Path) -> None:
    """Refuses what a ranking cannot be written to, before any work.

    Args:
        output: of the csv.

    Raises:
        InputError: for a folder, a device, no name, or the name of one of the files beside it.
    """
    if not output.name:
        raise InputError(f"--output must name a csv file; it is {str(output)!r}.")
    if output.suffix.lower() in TAKEN:
        raise InputError(
            f"--output names the csv; {output.suffix} is not its ending: the record, the plots and compressed files have "
            f"it. Give {output.with_suffix('.csv')}, for instance; it is {str(output)!r}."
        )
    for path in (output, output.with_suffix(".json")):
        check_is_file(path)


class RankingFiles:
    """Owned until `close`, or the end of a `with` block.

    Attributes:
        csv: the scores.
        json: the record.
        parts: folder of the shards of a ranking that is not finished.
        finished: the ranking, where it was finished before.
    """

    def __init__(self, output: Path, identity: dict[str, Any]):
        """Becomes the owner.

        Args:
            output: of the csv.
            identity: everything that decides the ranking; plain JSON values.

        Raises:
            InputError: where another process is the owner, where the files are another ranking's or have no record, or
                where their folder cannot be written.
        """
        self.csv, self.json = output, output.with_suffix(".json")
        self.parts = output.with_name(f"{output.name}.parts")
        self._identity = json.loads(json.dumps(identity))
        try:
            # Of the record, which is what two rankings of one name would share.
            self._lock = Lock(output.with_name(f".{self.json.name}.lock"), f"the ranking {output}")
        except OSError as error:
            raise InputError(f"{output} cannot be written ({error.strerror}); choose another --output.") from error
        try:
            for path in (self.csv, self.json, self.parts):
                remove_left_overs(path.parent, path.name)
            self.finished = self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "RankingFiles":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the files up; a second time does nothing."""
        self._lock.release()

    def _read(self) -> Finished | None:
        if not self.json.exists():
            # The csv of this ranking comes before its record, and its shards go after both.
            if self.csv.exists() and not self.parts.exists():
                raise InputError(f"{self.csv} is there and would be lost; {self._advice()}")
            return None
        recorded = seal.unsealed(check_is_file(self.json).read_bytes())
        if recorded.state is not seal.State.WHOLE or "identity" not in recorded.content:
            kind = "damaged" if recorded.state is seal.State.DAMAGED else "of something else, or of an earlier version"
            raise InputError(
                f"{self.json}, the record beside {self.csv}, is {kind}, and would be lost; {self._advice()}"
            )
        self._check_same(recorded.content)
        if not self.csv.exists():
            say(f"{self.csv} is missing: it is computed again")
            return None
        data = self.csv.read_bytes()
        if hashlib.sha256(data).hexdigest() != recorded.content["csv_sha256"]:
            raise InputError(
                f"{self.csv} is not what its ranking wrote: it is damaged, or was edited; {self._advice()}"
            )
        strings, columns = _parsed(data)
        return Finished(strings, columns, recorded.content)

    def _check_same(self, record: dict[str, Any]) -> None:
        before = record["identity"]
        differing = sorted(k for k in before.keys() | self._identity.keys() if before.get(k) != self._identity.get(k))
        if record["output"] != self.csv.name:
            differing.append("output")
        if differing:
            raise InputError(
                f"{self.csv} holds another finished ranking (it differs in {', '.join(differing)}); {self._advice()}"
            )

    def _advice(self) -> str:
        return "move it away, or choose another --output."

    def write(self, strings: list[str], columns: dict[str, np.ndarray], record: dict[str, Any]) -> dict[str, Any]:
        """Writes scores and record, in this order; both are on the disc when this returns.

        Args:
            strings: architectures, the best first.
            columns: by name, in their order.
            record: plain JSON values.

        Returns:
            The record as it is kept.
        """
        write_csv(self.csv, strings, columns)
        made = sha256_of(self.csv)
        whole = {**record, "output": self.csv.name, "csv_sha256": made, "identity": self._identity}
        self.write_record(whole)
        return whole

    def write_record(self, record: dict[str, Any]) -> None:
        """Writes the record anew.

        Args:
            record: as `write` has returned it, with more in it.
        """
        write_text(self.json, seal.sealed(record).decode())


def _parsed(data: bytes) -> tuple[list[str], dict[str, np.ndarray]]:
    names, *rows = csv.reader(data.decode().splitlines())
    texts = dict(zip(names, zip(*rows, strict=True), strict=True))
    strings = list(texts.pop("architecture"))
    return strings, {
        name: np.array(column) if name.endswith("_health") else np.array(column, float)
        for name, column in texts.items()
    }
