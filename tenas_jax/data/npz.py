"""Images in an `.npz`: numpy's archive of arrays, read image by image from where they lie."""

import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from tenas_jax.data.source import Pixels, hash_files
from tenas_jax.errors import InputError, printable

LARGEST_IN_MEMORY = 2 << 30
"""Bytes that an array may have which cannot stay on disk: all of ImageNet16 have one."""


def npz_pixels(path: Path) -> Pixels:
    """Opens the member `x`, uint8 (n, h, w, 3), of an `.npz`; no other member is read.

    What `np.savez` wrote stays on disk and is read image by image; what `np.savez_compressed` wrote must be loaded.

    Args:
        path: the file.

    Returns:
        The images.

    Raises:
        InputError: where the file is no readable `.npz`, has no `x`, `x` is not uint8 (n, h, w, 3), holds another number
            of pixels than it says, or would take more than 2 GiB of memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if "x.npy" not in archive.namelist():
                members = ", ".join(printable(n.removesuffix(".npy")) for n in archive.namelist()[:20]) or "nothing"
                raise InputError(f"{path} must hold an array `x`, uint8 (n, h, w, 3); it holds {members}.")
            read, shape = _checked(path, archive, archive.getinfo("x.npy"))
    except InputError:
        raise
    except Exception as error:  # a damaged archive raises errors of zipfile, zlib, numpy and struct
        raise InputError(
            f"{path} cannot be read as an .npz ({printable(str(error)[:200]) or type(error).__name__}); it must hold `x`, "
            "uint8 (n, h, w, 3), as written by `np.savez(path, x=images)`."
        ) from error
    count, height, width, _ = shape
    return Pixels(count, (height, width, 3), read, hash_files([path]))


def _checked(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> tuple[Callable[[np.ndarray], np.ndarray], tuple[int, ...]]:
    """How to read the images of a member, and their shape (n, h, w, 3), once both are known to be right."""
    with archive.open(member) as file:
        shape, fortran, dtype = _array_header(file)
        if not dtype.hasobject and file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(
                f"`x` says that it has the shape {shape} and the type {dtype}, and is followed by "
                f"{member.file_size - file.tell()} bytes"
            )
        small = member.file_size <= LARGEST_IN_MEMORY
        _check_images(path, shape, dtype, lambda: small and bool(np.isnan(_array(file, shape, dtype)).any()))
        if member.compress_type == zipfile.ZIP_STORED and not fortran:
            while file.read(1 << 20):
                pass  # reading to the end checks the member's checksum
            return _from_disk(path, _data_offset(path, member), shape), shape
        if not small:
            raise InputError(
                f"`x` in {path} would take {member.file_size / 2**30:.1f} GiB of memory; {LARGEST_IN_MEMORY >> 30} are the "
                "most. Save it with `np.savez(path, x=np.ascontiguousarray(images))`, whose images stay on disk."
            )
        images = _array(file, shape, dtype, "F" if fortran else "C")
    return lambda indices: images[indices], shape


def _array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and dtype of an array in numpy's own format; leaves the file at its data."""
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    return read_header[np.lib.format.read_magic(file)](file)


def _array(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype, order: str = "C") -> np.ndarray:
    """The array whose data follow, of the length that has been checked; at the file's end its checksum is compared."""
    flat = np.empty(math.prod(shape), dtype)
    room, place = memoryview(flat.view(np.uint8)), 0  # pyright: ignore[reportArgumentType] (numpy arrays are buffers)
    while block := file.read(1 << 20):
        room[place : place + len(block)] = block
        place += len(block)
    if place != len(room):
        raise EOFError("it ends too early")
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _data_offset(path: Path, member: zipfile.ZipInfo) -> int:
    """Where in the file the data of an uncompressed array begins."""
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)  # the lengths of name and extra field close a zip member's 30-byte header
        lengths = np.frombuffer(file.read(4), "<u2")
        file.seek(int(lengths.sum()), 1)
        _array_header(file)
        return file.tell()


def _from_disk(path: Path, offset: int, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Reads images at their place in the file; unlike a memory map it survives a file that is cut meanwhile."""
    opened, length = _stamp(path), math.prod(shape[1:])

    def read(indices: np.ndarray) -> np.ndarray:
        images = np.empty((len(indices), *shape[1:]), np.uint8)
        try:
            with path.open("rb") as file:
                for place, index in enumerate(indices):
                    file.seek(offset + range(shape[0])[index] * length)
                    if file.readinto(images[place].data) != length:
                        raise EOFError("it ends too early")
            if _stamp(path) != opened:
                raise OSError("it is not the file that was opened")
        except (OSError, EOFError) as error:
            raise InputError(
                f"{path} was changed while its images were in use ({error}); start again, and leave it as it is."
            ) from error
        return images

    return read


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes with a file."""
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _check_images(path: Path, shape: tuple[int, ...], dtype: np.dtype, holds_nan: Callable[[], bool]) -> None:
    """Raises InputError unless these are shape and dtype of images; looks for NaN only among floats."""
    if dtype != np.uint8:
        nan = " and holds NaN" if dtype.kind == "f" and holds_nan() else ""
        raise InputError(
            f"`x` in {path} must be uint8, 0 to 255; it is {dtype}{nan}. Save pixels as they are before any scaling."
        )
    if len(shape) != 4 or shape[3] != 3:
        raise InputError(f"`x` in {path} must have the shape (n, h, w, 3), channels last; it has {shape}.")
    if 0 in shape:
        raise InputError(f"`x` in {path} must hold at least one image of one pixel; it has the shape {shape}.")
