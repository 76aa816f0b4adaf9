"""What every data set is to the rest of the package: images at random access, with their normalisation and identity."""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from tenas_jax.errors import InputError

Triple = tuple[float, float, float]
StatisticsOf = tuple[Triple, Triple]

STATISTICS_IMAGES = 10_000
"""Custom images are normalised by at most this many images, evenly spaced: more would not change the third digit."""

CHUNK = 32 << 20
"""Bytes of images that are held at a time where many are needed."""


@dataclass(frozen=True)
class ImageSource:
    """Images at random access.

    Attributes:
        name: what a record of a run says: `"synthetic"`, `"cifar10"`, `"cifar10:PATH.npz"`, `"PATH.npz"`.
        size: number of images.
        shape: (h, w, 3) of each image that `read` returns.
        read: indices (n,) in [0, size) to uint8 (n, h, w, 3).
        mean: of each colour channel, on the scale 0 to 255.
        std: standard deviation of each colour channel, on the same scale.
        fingerprint: sha256, hexadecimal, of what decides the pixels: the contents of data files; names and sizes for a
            folder of images; name and version for tensorflow-datasets; the generator's parameters for synthetic ones.
        crop_padding: pixels that a random crop may run over the edge: 4, or 2 for images of 16x16 (TE-NAS's settings).
    """

    name: str
    size: int
    shape: tuple[int, int, int]
    read: Callable[[Int[np.ndarray, " n"]], UInt8[np.ndarray, "n h w 3"]]
    mean: Triple
    std: Triple
    fingerprint: str
    crop_padding: int

    @property
    def identity(self) -> dict[str, object]:
        """What decides the images, for the identity of a run; plain JSON values."""
        return {
            "dataset": self.name,
            "data_sha256": self.fingerprint,
            "data_mean": self.mean,
            "data_std": self.std,
        }


@dataclass(frozen=True)
class Pixels:
    """Images before anyone has said how to normalise them; the attributes are those of `ImageSource`."""

    size: int
    shape: tuple[int, int, int]
    read: Callable[[np.ndarray], np.ndarray]
    fingerprint: str

    def named(self, name: str, statistics: StatisticsOf) -> ImageSource:
        """The source with a name and a normalisation.

        Args:
            name: for records.
            statistics: (mean, std), each a number a channel on the scale 0 to 255.
        """
        padding = 2 if min(self.shape[:2]) <= 16 else 4
        return ImageSource(name, self.size, self.shape, self.read, *statistics, self.fingerprint, padding)


def in_chunks(indices: np.ndarray, shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Cuts indices of images into pieces that hold at most 32 MiB of pixels, or one image.

    Args:
        indices: of the images.
        shape: (h, w, 3) of each.
    """
    step = max(1, CHUNK // math.prod(shape))
    for start in range(0, len(indices), step):
        yield indices[start : start + step]


def own_statistics(pixels: Pixels, name: str) -> StatisticsOf:
    """Mean and standard deviation of each channel over all pixels (of at most 10,000 evenly spaced images).

    Args:
        pixels: the images.
        name: for the message.

    Returns:
        (mean, std) on the scale 0 to 255.

    Raises:
        InputError: where a channel is constant, so that nothing can be divided by its deviation.
    """
    chosen = np.unique(np.linspace(0, pixels.size - 1, min(pixels.size, STATISTICS_IMAGES)).astype(np.int64))
    histogram = np.zeros((3, 256), np.int64)
    for part in in_chunks(chosen, pixels.shape):
        values = pixels.read(part)
        histogram += [np.bincount(values[..., channel].ravel(), minlength=256) for channel in range(3)]
    count = len(chosen) * pixels.shape[0] * pixels.shape[1]
    total = (histogram @ np.arange(256)).tolist()
    squares = (histogram @ np.square(np.arange(256))).tolist()
    mean = np.array([t / count for t in total])
    # Of Python's exact whole numbers, so that a constant channel shows up as exactly zero.
    variance = np.array([(count * s - t * t) / count**2 for s, t in zip(squares, total, strict=True)])
    if (variance <= 0).any():
        raise InputError(
            f"{name} has a colour channel with the same value in every pixel, which cannot be normalised; "
            "give images that differ, or say with `dataset` how to normalise them."
        )
    std = np.sqrt(variance)
    return (mean[0].item(), mean[1].item(), mean[2].item()), (std[0].item(), std[1].item(), std[2].item())


def hash_files(paths: Iterable[str | os.PathLike[str]]) -> str:
    """The sha256, hexadecimal, of the contents of files one after another.

    Args:
        paths: in the order that counts.
    """
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
