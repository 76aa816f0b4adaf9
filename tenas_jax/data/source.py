"""What every data set is to the rest of the package: images at random access, with their normalisation and identity."""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from tenas_jax.errors import InputError

Triple = tuple[float, float, float]
StatisticsOf = tuple[Triple, Triple]

STATISTICS_IMAGES = 10_000
"""Own data normalises by at most this many images, evenly spaced: more would not change the third digit."""

CHUNK = 512
"""Images read at a time where many are needed."""


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
    total, squares = np.zeros(3), np.zeros(3)
    for start in range(0, len(chosen), CHUNK):
        values = pixels.read(chosen[start : start + CHUNK]).reshape(-1, 3).astype(np.float64)
        total += values.sum(0)
        squares += np.square(values).sum(0)
    count = len(chosen) * pixels.shape[0] * pixels.shape[1]
    mean = total / count
    # Sums of whole numbers are exact in float64 up to 2^53, which a constant channel needs to show up as exactly zero.
    variance = (count * squares - np.square(total)) / count**2
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
