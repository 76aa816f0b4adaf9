"""Images in the pickled rows that CIFAR and the small ImageNets come in."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tenas_jax.data._pickles import load_pickle
from tenas_jax.data.source import Pixels, hash_files
from tenas_jax.errors import InputError


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
    labels = content.get("labels", content.get(b"labels"))
    if not _are_labels(labels, len(data)):
        raise InputError(f"{path} must hold `labels`, one whole number for each of its {len(data)} images.")
    return data[np.asarray(labels) <= labels_to]


def _are_labels(labels: Any, count: int) -> bool:
    """Whether these are so many whole numbers; numpy is not asked, which makes arrays of anything and of any size."""
    if isinstance(labels, np.ndarray):
        return labels.shape == (count,) and labels.dtype.kind in "iu"
    if not isinstance(labels, list | tuple) or len(labels) != count:
        return False
    return all(isinstance(label, int | np.integer) and abs(int(label)) < 1 << 62 for label in labels)
