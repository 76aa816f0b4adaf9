"""A run is a folder: `config.json`, `rounds.jsonl`, `result.json`. It has one owner, says what is damaged, and resumes.

Every file is sealed (`seal.py`), the lines of `rounds.jsonl` one to the next and the first to `config.json`. What does not
fit is named and not believed: a round that is damaged is computed again with all that follow, as is a result. Of a finished
run whatever is whole is shown. Folders of format 1, which nothing seals, are shown if they are finished.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenas_jax.command_line import say
from tenas_jax.errors import InputError
from tenas_jax.records import seal
from tenas_jax.records.environment import mixed
from tenas_jax.records.files import (
    check_is_file,
    make_folder,
    remove_left_overs,
    replace_file,
    sha256_of,
    write_all,
)
from tenas_jax.records.lock import Lock
from tenas_jax.records.spent import Spent

RESULT = {"architecture": str, "strategy": str, "config": dict, "rounds": int, "evaluations": int}
"""What a result must hold to be shown."""
LASTING = ("strategy", "dataset", "data_sha256", "seed", "max_params", "max_flops", "preset", "evaluations")
"""What a configuration of format 1 is compared by: the rest has other names by now."""


class RunFolder:
    """The records of one run; owned until `close`, or the end of a `with` block.

    Attributes:
        path: the folder.
        rounds: what earlier sessions of the run have recorded, a dict a round.
        damage: what of the folder could not be believed, a sentence each.
        spent: how long this session and those before it have taken.
        callback: gets every record that is added, once it is on the disc.
    """

    def __init__(self, path: Path, config: dict[str, Any], environment: dict[str, str] | None = None):
        """Opens or creates the folder of a run.

        Args:
            path: the folder.
            config: everything that decides the run's result; plain JSON values.
            environment: from `environment.fingerprint`: what a half-finished run must not change. None: nothing.

        Raises:
            InputError: where another process owns the folder, where it holds a run of another configuration, one half
                finished in another environment or of an earlier version, or where it cannot be written.
        """
        self.path = path
        self.rounds: list[dict[str, Any]] = []
        self.damage: list[str] = []
        self.spent = Spent()
        self.callback: Callable[[dict[str, Any]], None] | None = None
        self._lock: Lock | None = None
        self._whole = b""  # lines that can be believed
        try:
            make_folder(path)
            self._own()
            self._result = self._read("result.json")
            self._open(_plain(config), environment or {})
        except OSError as error:
            self.close()
            raise InputError(
                f"the run folder {path} cannot be written ({error.strerror}); choose another --output."
            ) from error
        except BaseException:
            self.close()
            raise
        self._check_files()
        for sentence in self.damage:
            say(sentence)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the folder up; a second time does nothing."""
        if self._lock is not None:
            self._lock.release()

    @property
    def _rounds_file(self) -> Path:
        return self.path / "rounds.jsonl"

    def _own(self) -> None:
        try:
            self._lock = Lock(self.path / ".lock", f"the run folder {self.path}")
        except OSError:
            if not (self.path / "result.json").exists():
                raise
            say(f"{self.path} cannot be written: it is shown, and stays as it is")  # of a read-only archive
            return
        remove_left_overs(self.path)

    def _open(self, config: dict[str, Any], environment: dict[str, str]) -> None:
        recorded = self._read("config.json")
        lines = check_is_file(self._rounds_file).read_bytes() if self._rounds_file.exists() else b""
        if recorded is not None and recorded.state is seal.State.OLD:
            return self._open_old(config, recorded.content, lines)
        if recorded is None or recorded.state is seal.State.DAMAGED:
            return self._open_unnamed(config, environment, lines, missing=recorded is None)
        begun = recorded.content.pop("environment", {})
        self._check_same(config, recorded.content, config.keys() | recorded.content.keys())
        self._checksum = beginning(config, begun)
        self._believe(lines)
        if self.result() is not None:
            return self._count_rounds()
        if begun != environment:
            raise InputError(mixed(f"the run in {self.path}", begun, environment))
        return self._go_on(lines)

    def _open_unnamed(
        self, config: dict[str, Any], environment: dict[str, str], lines: bytes, *, missing: bool
    ) -> None:
        """Without a whole config.json: a new run, or one whose rounds say themselves that they are of this command."""
        self._checksum = beginning(config, environment)
        self._believe(lines)
        if not self.rounds and (lines or self._result is not None):
            raise InputError(
                f"{self.path} holds a run, but its config.json, which says of what, is "
                f"{'missing' if missing else 'damaged'}, and the rounds are not of this command; choose another --output, "
                "or remove the whole folder."
            )
        if not missing:
            self.damage.append(f"{self.path}/config.json is damaged; it is written anew for this command")
        replace_file(self.path / "config.json", seal.sealed({**config, "environment": environment}))
        if self.result() is None:
            self._go_on(lines)

    def _open_old(self, config: dict[str, Any], recorded: dict[str, Any], lines: bytes) -> None:
        """Format 1: a finished run is shown, as far as it can be read."""
        if self._result is None or self._result.state is not seal.State.OLD or self.result() is None:
            why = "is not finished" if self._result is None else "has a result.json that is damaged"
            raise InputError(
                f"{self.path} was written by an earlier version and {why}: nothing there says whether it is whole. Choose "
                "another --output, or remove the folder."
            )
        self._check_same(config, recorded, [name for name in LASTING if name in recorded and name in config])
        for number, text in enumerate(lines.splitlines()):
            if (record := seal.parsed(text)) is None:
                self._name_damage(number)
                break
            self.rounds.append(record)

    def _check_same(self, config: dict[str, Any], recorded: dict[str, Any], names) -> None:
        differing = sorted(name for name in names if config.get(name) != recorded.get(name))
        if differing:
            raise InputError(
                f"{self.path} holds a run of another configuration (it differs in {', '.join(differing)}); "
                "choose another --output."
            )

    def _believe(self, lines: bytes) -> None:
        """Reads rounds up to the first line that is not what was written there; a kill may have left half a line."""
        for number, text in enumerate(lines.split(b"\n")[:-1]):
            text += b"\n"
            found = seal.read_line(text, number, self._checksum)
            if found is None:
                return self._name_damage(number)
            record, self._checksum = found
            self.spent.learn(record.pop("spent", None))
            self.rounds.append(record)
            self._whole += text

    def _check_files(self) -> None:
        """Whether the files that rounds and the result name are what they were."""
        for record in [*self.rounds, self.result() or {}]:
            for name, wanted in record.get("files", {}).items():
                if (found := sha256_of(self.path / name)) != wanted:
                    how = "damaged, or was edited" if found else "missing"
                    self.damage.append(f"{self.path / name} is {how}; remove the folder to have it made anew")

    def _name_damage(self, number: int) -> None:
        self.damage.append(
            f"{self._rounds_file} is damaged in line {number + 1}: neither that line nor what follows is believed"
        )

    def _count_rounds(self) -> None:
        rounds = (self.result() or {}).get("rounds", 0)
        if len(self.rounds) < rounds and not self.damage:
            self.damage.append(f"{self._rounds_file} ends after {len(self.rounds)} of {rounds} lines")

    def _go_on(self, lines: bytes) -> None:
        """Takes away what is not believed: it is computed again."""
        if self._result is not None:
            self.damage.append(f"{self.path}/result.json is damaged; it is made anew from the rounds")
        if lines != self._whole or not self._rounds_file.exists():
            replace_file(self._rounds_file, self._whole)

    def append(self, record: dict[str, Any]) -> None:
        """Adds a round; it is on the disc when this returns.

        Args:
            record: plain JSON values.
        """
        number = len(self.rounds)
        text = seal.line({**record, "spent": self.spent.total()}, number, self._checksum)
        found = seal.read_line(text, number, self._checksum)
        assert found is not None
        self._checksum = found[1]
        try:
            opened = os.open(self._rounds_file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                write_all(opened, text)
                os.fsync(opened)
            finally:
                os.close(opened)
        except OSError as error:
            raise InputError(
                f"{self._rounds_file} cannot be written ({error.strerror}); make room and run again."
            ) from error
        self.rounds.append(record)
        if self.callback is not None:
            self.callback(record)

    def result(self) -> dict[str, Any] | None:
        """The result of a finished run; None where there is none that can be believed."""
        if self._result is None or self._result.state is seal.State.DAMAGED:
            return None
        content = self._result.content
        shown = self._result.state is seal.State.WHOLE or all(isinstance(content.get(n), t) for n, t in RESULT.items())
        return dict(content) if shown else None

    def finish(self, result: dict[str, Any]) -> None:
        """Writes `result.json`.

        Args:
            result: plain JSON values.

        Raises:
            InputError: where it cannot be written.
        """
        self._write("result.json", seal.sealed(result))
        self._result = seal.Sealed(seal.State.WHOLE, _plain(result))

    def write(self, name: str, content: str) -> None:
        """Writes a file of the folder, all or nothing.

        Args:
            name: of the file.
            content: all of it.

        Raises:
            InputError: where it cannot be written.
        """
        self._write(name, content.encode(errors="backslashreplace"))

    def _write(self, name: str, content: bytes) -> None:
        if self._lock is None:
            return  # shown, and left as it is
        try:
            replace_file(self.path / name, content)
        except OSError as error:
            raise InputError(f"{self.path / name} cannot be written ({error.strerror}); run again.") from error

    def _read(self, name: str) -> seal.Sealed | None:
        path = self.path / name
        return seal.unsealed(check_is_file(path).read_bytes()) if path.exists() else None


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from the disc: tuples are lists."""
    found = seal.parsed(seal.sealed(content)) or {}
    return {name: value for name, value in found.items() if name not in ("format", "sha256")}


def beginning(config: dict[str, Any], environment: dict[str, str]) -> str:
    """What the first line of a journal is chained to.

    Args:
        config: of the run.
        environment: in which it was begun.
    """
    return seal.digest({"config": config, "environment": environment})
