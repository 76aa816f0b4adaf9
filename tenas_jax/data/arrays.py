"""Images that files hold as arrays: `.npz`, and the row pickles that CIFAR and the small ImageNets come in."""

import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from tenas_jax.data._pickles import load_pickle
from tenas_jax.data.source import Pixels, hash_files
from tenas_jax.errors import InputError


def npz_pixels(path: Path) -> Pixels:
    """Opens the member `x`, uint8 (n, h, w, 3), of an `.npz`; no other member is read.

    What `np.savez` wrote stays on disk and is read image by image; what `np.savez_compressed` wrote must be loaded.

    Args:
        path: the file.

    Returns:
        The images.

    Raises:
        InputError: where the file is no readable `.npz`, has no `x`, or `x` is not uint8 (n, h, w, 3).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if "x.npy" not in archive.namelist():
                members = ", ".join(name.removesuffix(".npy") for name in archive.namelist()) or "nothing"
                raise InputError(f"{path} must hold an array `x`, uint8 (n, h, w, 3); it holds {members}.")
            member = archive.getinfo("x.npy")
            with archive.open(member) as file:
                shape, fortran, dtype = _array_header(file)
            _check_images(path, shape, dtype, lambda: _npz_array(path))
            with archive.open(member) as file:
                while file.read(1 << 20):
                    pass  # reading to the end checks the member's checksum
        if member.compress_type == zipfile.ZIP_STORED and not fortran:
            images = np.memmap(path, np.uint8, "r", offset=_data_offset(path, member), shape=shape)
        else:
            images = _npz_array(path)
    except InputError:
        raise
    except Exception as error:  # a damaged archive raises errors of zipfile, zlib, numpy and struct
        raise InputError(
            f"{path} cannot be read as an .npz ({str(error) or type(error).__name__}); it must hold `x`, "
            "uint8 (n, h, w, 3), as written by `np.savez(path, x=images)`."
        ) from error
    count, height, width, _ = shape
    return Pixels(count, (height, width, 3), lambda indices: np.asarray(images[indices]), hash_files([path]))


def _npz_array(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["x"]


def _array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and dtype of an array in numpy's own format; leaves the file at its data."""
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    return read_header[np.lib.format.read_magic(file)](file)


def _data_offset(path: Path, member: zipfile.ZipInfo) -> int:
    """Where in the file the data of an uncompressed array begins."""
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)  # the lengths of name and extra field close a zip member's 30-byte header
        lengths = np.frombuffer(file.read(4), "<u2")
        file.seek(int(lengths.sum()), 1)
        _array_header(file)
        return file.tell()


def _check_images(path: Path, shape: tuple[int, ...], dtype: np.dtype, load: Callable[[], np.ndarray]) -> None:
    """Raises InputError unless these are shape and dtype of images; loads only to tell NaN from other floats."""
    if dtype != np.uint8:
        nan = " and holds NaN" if dtype.kind == "f" and np.isnan(load()).any() else ""
        raise InputError(
            f"`x` in {path} must be uint8, 0 to 255; it is {dtype}{nan}. Save pixels as they are before any scaling."
        )
    if len(shape) != 4 or shape[3] != 3:
        raise InputError(f"`x` in {path} must have the shape (n, h, w, 3), channels last; it has {shape}.")
    if 0 in shape:
        raise InputError(f"`x` in {path} must hold at least one image of one pixel; it has the shape {shape}.")


def rows_pixels(paths: Sequence[Path], *, labels_to: int | None = None) -> Pixels:
    """Opens pickled dicts with `data`, uint8 (n, 3 side side): a row an image, its channels one after another.

    So are published CIFAR-10 and CIFAR-100 (Krizhevsky 2009) and the downsampled ImageNet (Chrabaszcz, Loshchilov and
    Hutter 2017, arXiv 1707.08819).

    Args:
        paths: the files, whose images follow one another.
        labels_to: keep the images whose `labels`, counted from 1, are at most this; None keeps all.

    Returns:
        The images.

    Raises:
        InputError: where a file is missing, is no such dict, or has no labels to choose by.
    """
    parts = [_rows(path, labels_to) for path in paths]
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise InputError(
            f"the batches in {paths[0].parent} must agree in image size; their rows have {widths} numbers."
        )
    starts = np.cumsum([0, *map(len, parts)])
    if starts[-1] == 0:
        raise InputError(f"{paths[0].parent} must hold at least one image; none has a label that was asked for.")
    side = math.isqrt(widths.pop() // 3)

    def read(indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices)
        which = np.searchsorted(starts, indices, side="right") - 1
        rows = np.empty((len(indices), 3 * side * side), np.uint8)
        for part in np.unique(which):
            here = which == part
            rows[here] = parts[part][indices[here] - starts[part]]
        return np.ascontiguousarray(rows.reshape(-1, 3, side, side).transpose(0, 2, 3, 1))

    return Pixels(int(starts[-1]), (side, side, 3), read, hash_files(paths))


def _rows(path: Path, labels_to: int | None) -> np.ndarray:
    """The checked `data` of one file, of the wanted labels only."""
    if not path.is_file():
        raise InputError(
            f"{path} is missing; a folder of original batches must hold all of them, or name one file alone."
        )
    content = load_pickle(path)
    data = content.get("data") if isinstance(content, dict) else None
    if data is None and isinstance(content, dict):
        data = content.get(b"data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise InputError(f"{path} must be a pickled dict with `data`, uint8 (n, 3 side side); its `data` is {found}.")
    side = math.isqrt(data.shape[1] // 3)
    if side == 0 or 3 * side * side != data.shape[1]:
        raise InputError(
            f"{path} must hold square colour images as rows of 3 side side numbers; its rows have {data.shape[1]}."
        )
    if labels_to is None:
        return data
    labels = np.asarray(content.get("labels", content.get(b"labels", ())))
    if labels.shape != (len(data),) or labels.dtype.kind not in "iu":
        raise InputError(f"{path} must hold `labels`, one whole number for each of its {len(data)} images.")
    return data[labels <= labels_to]
