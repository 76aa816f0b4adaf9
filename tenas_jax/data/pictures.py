"""Images that files hold as pictures (png, jpg and the like): decoding, resizing, folders of them."""

import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from tenas_jax.data.source import Pixels
from tenas_jax.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")

SMALL_SIDE = 32
"""TE-NAS searches on ImageNet resized to 32x32."""


def decode(encoded: bytes | Path, name: str, side: int | None, squash: int | None) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes one picture.

    Args:
        encoded: the file or its content.
        name: of the picture, for the message.
        side: wanted height and width: the shorter side is resized to 256/224 of it, and its middle cut out, as networks
            for ImageNet are tested. A picture that has this size is left as it is. None: see `squash`.
        squash: where no `side` is given, height and width to resize to, whatever the proportions; None leaves the size.

    Returns:
        RGB, (h, w, 3).

    Raises:
        InputError: where it cannot be decoded.
    """
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as opened:
            picture = opened.convert("RGB")
    except Exception as error:  # Pillow's plugins raise what they like on a damaged file
        raise _unreadable(name, error) from error
    if side is None and squash is not None and picture.size != (squash, squash):
        picture = picture.resize((squash, squash), PIL.Image.Resampling.BILINEAR)
    if side is not None and picture.size != (side, side):
        picture = _resize_and_crop(picture, side)
    return np.asarray(picture, np.uint8)


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(f"{name} cannot be read as an image ({type(error).__name__}); remove it or fetch it again.")


def _resize_and_crop(picture: "Image", side: int) -> "Image":
    """The middle of the picture with its shorter side at 256/224 of `side`."""
    from PIL.Image import Resampling

    shorter = round(side * 256 / 224)
    scale = shorter / min(picture.size)
    width, height = (max(shorter, round(length * scale)) for length in picture.size)
    left, top = (width - side) // 2, (height - side) // 2
    picture = picture.resize((width, height), Resampling.BILINEAR)
    return picture.crop((left, top, left + side, top + side))


def folder_pixels(folder: Path, *, side: int | None = None, squash: int | None = None) -> Pixels:
    """Opens all pictures in a folder and its subfolders, in the order of their names; each is decoded when it is read.

    Args:
        folder: the folder.
        side: see `decode`.
        squash: see `decode`; None: 32 where the pictures differ in size, or else their own size.

    Returns:
        The images. The fingerprint covers names and sizes of the files: their contents can be hundreds of gigabytes.

    Raises:
        InputError: where there is no picture, or one is unreadable.
    """
    paths = sorted(
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    )
    if not paths:
        raise InputError(
            f"{folder} holds no images; expected files ending in {', '.join(SUFFIXES)}, or the original CIFAR or "
            "ImageNet16 batches."
        )
    if side is None and squash is None and not _one_size(paths):
        squash = SMALL_SIDE
    shape = decode(paths[0], str(paths[0]), side, squash).shape

    def read(indices: np.ndarray) -> np.ndarray:
        images = np.empty((len(indices), *shape), np.uint8)
        for place, index in enumerate(indices):
            images[place] = decode(paths[index], str(paths[index]), side, squash)
        return images

    digest = hashlib.sha256(f"{side} {squash}".encode())
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
    return Pixels(len(paths), (shape[0], shape[1], 3), read, digest.hexdigest())


def _one_size(paths: list[Path]) -> bool:
    """Whether all pictures have the size of the first; reads headers only, and none after the first difference."""
    import PIL.Image

    first = None
    for path in paths:
        try:
            with PIL.Image.open(path) as picture:
                size = picture.size
        except Exception as error:
            raise _unreadable(str(path), error) from error
        first = first or size
        if size != first:
            return False
    return True
