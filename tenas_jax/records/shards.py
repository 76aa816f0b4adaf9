"""Results of a long evaluation, kept shard by shard: nothing is ever half-written, and an interrupted run goes on.

Every shard ends with a seal: the identity of its evaluation, its number, and a checksum over all of it. What does not fit
is not believed, and computed again.
"""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import numpy as np
from jaxtyping import Float

from tenas_jax.command_line import say
from tenas_jax.errors import InputError
from tenas_jax.records import seal
from tenas_jax.records.environment import mixed
from tenas_jax.records.files import check_is_file, make_folder, remove_left_overs, remove_tree, replace_file
from tenas_jax.records.lock import Lock
from tenas_jax.records.spent import Spent

SIZE = 256  # architectures of a shard: seconds of work
DIGITS = 64  # of a SHA-256


class Table(NamedTuple):
    """Scores of some architectures.

    Attributes:
        values: by score (repeats, m), float64; NaN where no input reaches the output.
        health: by score (repeats, m) strings; "disconnected" where no input reaches the output.
    """

    values: dict[str, Float[np.ndarray, "repeats m"]]
    health: dict[str, np.ndarray]


class Shards:
    """A folder with one file a finished shard, and the identity of the evaluation; owned until `close`.

    Attributes:
        path: the folder.
        spent: how long this session and those before it have taken.
    """

    def __init__(
        self,
        path: Path,
        identity: dict[str, Any],
        environment: dict[str, str] | None = None,
        spent: Spent | None = None,
    ):
        """Opens or creates the folder.

        Args:
            path: the folder.
            identity: everything that decides the results; plain JSON values.
            environment: from `environment.fingerprint`: what must not change on the way. None: nothing.
            spent: of the command whose work this is.

        Raises:
            InputError: where the folder belongs to another evaluation or another process, was begun in another
                environment or by an earlier version, or cannot be written.
        """
        self.path = path
        self.spent = spent or Spent()
        self._lock: Lock | None = None
        self._content = {"identity": json.loads(json.dumps(identity)), "environment": environment or {}}
        self._identity = seal.digest(self._content)
        try:
            make_folder(path)
            self._lock = Lock(path / ".lock", f"the folder {path}")
            remove_left_overs(path)
            self._claim()
        except OSError as error:
            self.close()
            raise self._unwritable(error) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the folder up; a second time does nothing."""
        if self._lock is not None:
            self._lock.release()

    def remove(self) -> None:
        """Removes the folder with all that is in it; the result must be on the disc by then."""
        remove_tree(self.path)
        self.close()

    def _claim(self) -> None:
        file = check_is_file(self.path / "identity.json")
        recorded = seal.unsealed(file.read_bytes()) if file.exists() else None
        if recorded is None or recorded.state is seal.State.DAMAGED:
            # Every shard says whose it is.
            others = [path.name for path in sorted(self.path.glob("*.npz")) if self._of_another(path)]
            if others:
                raise InputError(f"{self.path} holds shards of another ranking ({others[0]}). {self._advice()}")
            replace_file(file, seal.sealed(self._content))
        elif recorded.state is seal.State.OLD:
            raise InputError(
                f"{self.path} holds the beginning of a ranking by an earlier version, and nothing there says whether it is "
                f"whole. {self._advice()}"
            )
        elif recorded.content.get("identity") != self._content["identity"]:
            raise InputError(f"{self.path} holds the beginning of another ranking. {self._advice()}")
        elif recorded.content != self._content:
            raise InputError(
                mixed(f"the work in {self.path}", recorded.content["environment"], self._content["environment"])
            )

    def _advice(self) -> str:
        return "Finish that one with its own command, choose another --output, or remove the folder."

    def _of_another(self, path: Path) -> bool:
        """A whole shard of another identity; a damaged one has no owner."""
        found = _unsealed(path.read_bytes())
        return found is not None and found[0] != self._identity

    def load(self, number: int, *, names: tuple[str, ...] | None = None, shape: tuple[int, int] | None = None):
        """A finished shard.

        Args:
            number: of the shard.
            names: scores that it must hold.
            shape: (repeats, architectures) of each.

        Returns:
            The table; None where the shard is not finished, or damaged: that is said.
        """
        path = self._file(number)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unwritable(error) from error
        table = self._verified(data, number)
        if table is None or not _fits(table, names, shape):
            say(f"{path} is damaged, or of other work: it is computed again")
            return None
        return table

    def _verified(self, data: bytes, number: int) -> Table | None:
        found = _unsealed(data)
        if found is None or found[:2] != (self._identity, number):
            return None
        # The bytes are those that `save` wrote for this very evaluation.
        with np.load(BytesIO(data), allow_pickle=False) as saved:
            self.spent.learn(json.loads(str(saved["spent"])))
            names = [name.removeprefix("value ") for name in saved if name.startswith("value ")]
            return Table(
                {name: saved[f"value {name}"] for name in names}, {name: saved[f"health {name}"] for name in names}
            )

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
        try:
            packed = BytesIO()
            np.savez(packed, spent=json.dumps(self.spent.total()), **arrays)  # pyright: ignore[reportArgumentType]
            replace_file(self._file(number), _sealed(packed, self._identity, number))
        except OSError as error:
            raise self._unwritable(error) from error

    def _file(self, number: int) -> Path:
        return self.path / f"{number:07d}.npz"

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"{self.path} cannot be written ({error.strerror}); make room or choose another --output, and run again: "
            "what is finished is kept."
        )


def _sealed(packed: BytesIO, identity: str, number: int) -> bytes:
    """The archive with its seal as the comment that a zip file may end with: NumPy still reads it."""
    with ZipFile(packed, "a") as archive:
        archive.comment = b"." * _seal_length(identity, number)
    data = packed.getvalue()
    body = data[: -_seal_length(identity, number)]
    return body + _seal(body, identity, number)


def _seal_length(identity: str, number: int) -> int:
    return len(_seal(b"", identity, number))


def _seal(body: bytes, identity: str, number: int) -> bytes:
    says = f"{identity} {number:07d} ".encode()
    return says + hashlib.sha256(says + body).hexdigest().encode()


def _unsealed(data: bytes) -> tuple[str, int] | None:
    """Identity and number of a shard; None where it is not whole."""
    length = _seal_length("0" * DIGITS, 0)
    body, end = data[:-length], data[-length:]
    try:
        identity, number, _ = end.decode("ascii").split(" ")
        whole = number.isdecimal() and end == _seal(body, identity, int(number))
    except ValueError:
        return None
    return (identity, int(number)) if whole else None


def _fits(table: Table, names: tuple[str, ...] | None, shape: tuple[int, int] | None) -> bool:
    if names is not None and set(table.values) != set(names):
        return False
    return all(
        values.dtype == np.float64
        and table.health[name].dtype.kind == "U"
        and values.shape == table.health[name].shape
        and (shape is None or values.shape == shape)
        for name, values in table.values.items()
    )
