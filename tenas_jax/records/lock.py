"""One owner of a place on the disc: a run's folder, the shards of an evaluation, a ranking's files.

The owner holds a file open under `flock`, which ends with the process however that ends, so that what a killed owner has
left is taken over at once. The file says who: process, host, since when. Where the file system knows no `flock`, the file
is made so that only one can make it, and an owner on this host whose process is gone counts as dead.
"""

import errno
import fcntl
import json
import os
import secrets
import socket
import time
import weakref
from pathlib import Path
from typing import Any

from tenas_jax.errors import InputError
from tenas_jax.records.files import make_folder, remove_file, write_all

UNKNOWN = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)
WRITING_SECONDS = 10  # after which a file without an owner's name has no owner


class Lock:
    """Held from when it is made until `release`, the end of a `with` block, or the end of the process."""

    def __init__(self, path: Path, what: str):
        """Becomes the owner.

        Args:
            path: of the file that says who owns the place; its folder is made.
            what: is owned, for the message: "the run folder runs/a".

        Raises:
            InputError: where another process, or another part of this one, is the owner.
            OSError: where the file cannot be written.
        """
        self.path = path
        make_folder(path.parent)
        try:
            opened = _flocked(path, what)
            name = path
        except _NoFlockError:
            opened, name = None, path.with_name(f"{path.name}.owner")
            _created(name, what)
        self._end = weakref.finalize(self, _let_go, opened, name, _read(name))

    def release(self) -> None:
        """Lets go; a second time does nothing."""
        self._end()

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


class _NoFlockError(Exception):
    """The file system knows no `flock`."""


def _let_go(opened: int | None, path: Path, owner: dict[str, Any] | None) -> None:
    """Removes the file while it is still locked, unless it is another's by now, or this is a child of the owner."""
    if owner and owner["process"] == os.getpid() and _read(path) == owner:
        remove_file(path)
    if opened is not None:
        os.close(opened)


def _flocked(path: Path, what: str) -> int:
    while True:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last owner may have removed the file between our opening and locking it.
            if _same(opened, path):
                os.ftruncate(opened, 0)
                write_all(opened, _me())
                return opened
        except BlockingIOError as error:
            owner = _patiently_read(path)
            os.close(opened)
            raise InputError(_in_use(what, owner)) from error
        except OSError as error:
            os.close(opened)
            if error.errno in UNKNOWN:
                raise _NoFlockError from error
            raise
        os.close(opened)


def _same(opened: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened), path.lstat())
    except FileNotFoundError:
        return False


def _created(path: Path, what: str) -> None:
    for _ in range(100):
        try:
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except FileExistsError as error:
            if not _take_away_dead(path):
                advice = f" If that process is gone, remove {path}."
                raise InputError(_in_use(what, _patiently_read(path)) + advice) from error
            continue
        try:
            write_all(opened, _me())
        finally:
            os.close(opened)
        return
    raise InputError(_in_use(what, None))


def _take_away_dead(path: Path) -> bool:
    """Moves the file of a dead owner away; False where its owner may be alive."""
    owner = _patiently_read(path)
    if not _is_dead(owner, path):
        return False
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return True
    if _read(aside) != owner:
        # Another process was faster and owns the place by now: what was moved is theirs.
        os.rename(aside, path)
        return False
    remove_file(aside)
    return True


def _is_dead(owner: dict[str, Any] | None, path: Path) -> bool:
    if owner is None:
        try:
            return time.time() - path.stat().st_mtime > WRITING_SECONDS
        except FileNotFoundError:
            return True
    if owner["host"] != socket.gethostname():
        return False
    return _started(owner["process"]) != owner["started"] or not _is_alive(owner["process"])


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _started(process: int) -> str | None:
    """When a process began, in the kernel's ticks: a number may have been given to another process since."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError, ValueError):
        return None


def _me() -> bytes:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    process = os.getpid()
    me = {"process": process, "host": socket.gethostname(), "since": since, "started": _started(process)}
    me["token"] = secrets.token_hex(8)
    return (json.dumps(me) + "\n").encode()


def _patiently_read(path: Path) -> dict[str, Any] | None:
    """An owner writes its name just after it has become the owner."""
    for _ in range(10):
        if (owner := _read(path)) is not None:
            return owner
        time.sleep(0.02)
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        owner = json.loads(path.read_bytes())
        return {
            "process": int(owner["process"]),
            **{name: owner[name] for name in ("host", "since", "started", "token")},
        }
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _in_use(what: str, owner: dict[str, Any] | None) -> str:
    by = f"process {owner['process']} on {owner['host']} since {owner['since']}" if owner else "another process"
    return f"{what} is in use by {by}; wait for it, end it, or choose another --output."
