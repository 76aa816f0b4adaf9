"""Files that are never half-written, and folders that never go half: in a kill, and in a power cut.

A file is written under a name that nobody can guess, synced, and renamed into its place; then its folder is synced. Until
the last step the disc holds what was there before. What a dead process has left of this is removed by whoever owns the
place next (`lock.py`).
"""

import csv
import errno
import hashlib
import os
import re
import secrets
import stat
from io import StringIO
from pathlib import Path

import numpy as np

from tenas_jax.errors import InputError

NAME = 100  # characters of a file's name that its temporary name takes over: names end at 255 bytes
LEFT_OVER = re.compile(r"\.(?P<name>.+)\.(?:[0-9a-f]{16}\.(?:tmp|gone)|\d+(?:\.npz)?)", re.DOTALL)
"""Temporary files, and folders on their way out; the last form is that of earlier versions."""


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file that is never half-written, and is on the disc when this returns.

    A symbolic link stays one: the file that it leads to is replaced. The mode of a file that was there stays.

    Args:
        path: the file.
        content: all of it.

    Raises:
        InputError: where something stands there that is no file.
        OSError: where it cannot be written; then the old one is still there.
    """
    path = check_is_file(path)
    beside = path.with_name(f".{path.name[:NAME]}.{secrets.token_hex(8)}.tmp")
    try:
        _write_new(beside, content, mode=_mode(path))
        os.replace(beside, path)
    except OSError:
        remove_file(beside)
        raise
    sync_folder(path.parent)


def check_is_file(path: Path) -> Path:
    """Where a file can be written: the place itself, or what a symbolic link there leads to.

    Args:
        path: of a file that is there, or of nothing yet.

    Raises:
        InputError: for a folder, a device, a pipe, no name at all, or a link that leads to itself.
    """
    real = path
    try:
        if path.is_symlink():
            real = Path(os.path.realpath(path))
        kind = real.lstat().st_mode if path.name else stat.S_IFDIR
    except FileNotFoundError:
        return real
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            return path  # writing says so
        raise InputError(f"{str(path)!r} cannot be written ({error.strerror}); choose another file.") from error
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "no ordinary file (a device, a pipe, a socket or a link to itself)"
        raise InputError(f"{str(path)!r} is {what}, and would be replaced by a file; choose another file.")
    return real


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _write_new(path: Path, content: bytes, mode: int | None) -> None:
    """Writes and syncs a file that must not be there: a link that somebody has put there is not followed."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        if mode is not None:
            os.fchmod(opened, mode)
        write_all(opened, content)
        os.fsync(opened)
    finally:
        os.close(opened)


def write_all(opened: int, content: bytes) -> None:
    """Writes everything: the system may take a part at a time.

    Args:
        opened: a file descriptor.
        content: what to write.
    """
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(opened, rest) :]


def sync_folder(path: Path) -> None:
    """Makes sure that names which were put into a folder, or taken out, are so on the disc.

    Args:
        path: the folder.
    """
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # file systems that sync no folders
            raise
    finally:
        os.close(opened)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, so that a power cut does not take them away.

    Args:
        path: the folder.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:
            continue
        sync_folder(folder.parent)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def sha256_of(path: Path) -> str | None:
    """Of a file's content; None where there is no such file.

    Args:
        path: the file.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def remove_file(path: Path) -> None:
    """Removes a file; that there is none, or that it cannot be removed, is no error.

    Args:
        path: the file.
    """
    try:
        os.unlink(path)
    except OSError:
        return


def remove_tree(path: Path) -> None:
    """Removes a folder at once: it loses its name first, so that half of it is never found under that name.

    Args:
        path: the folder; that there is none, or that it cannot be removed, is no error.
    """
    away = path.with_name(f".{path.name[:NAME]}.{secrets.token_hex(8)}.gone")
    try:
        os.rename(path, away)
        sync_folder(path.parent)
    except OSError:
        return
    _remove_all(away)


def _remove_all(path: Path) -> None:
    try:
        entries = list(os.scandir(path))
    except OSError:
        entries = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _remove_all(Path(entry.path))
        else:
            remove_file(Path(entry.path))
    try:
        os.rmdir(path)
    except OSError:
        return


def remove_left_overs(folder: Path, name: str | None = None) -> None:
    """Removes what dead processes have left of writing and removing; only for the owner of the place.

    Args:
        folder: where to look.
        name: of the file or folder that the caller owns; by default all of them, where the folder is the caller's.
    """
    try:
        found = [path for path in folder.iterdir() if (match := LEFT_OVER.fullmatch(path.name)) and (
            name is None or match["name"] == name[:NAME])]  # fmt: skip
    except OSError:
        return
    for path in found:
        if path.is_dir() and not path.is_symlink():
            _remove_all(path)
        else:
            remove_file(path)


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
    """Writes a file of text, all or nothing; makes its folder.

    Args:
        path: the file.
        content: all of it.

    Raises:
        InputError: where it cannot be written.
    """
    # Names of files that are no UTF-8 come as lone surrogates.
    write_bytes(path, content.encode(errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, all or nothing; makes its folder.

    Args:
        path: the file.
        content: all of it.

    Raises:
        InputError: where it cannot be written.
    """
    try:
        make_folder(path.parent)
        replace_file(path, content)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); make room or choose another --output, and run again: what is "
            "finished is kept."
        ) from error
