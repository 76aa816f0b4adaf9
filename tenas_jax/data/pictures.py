"""Images that files hold as pictures (png, jpg and the like): decoding, resizing, folders of them."""

import hashlib
import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from tenas_jax.data.source import Pixels, in_chunks
from tenas_jax.errors import InputError, printable

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Those of the suffixes: Pillow would go by the content, and start Ghostscript for an EPS that is named cat.png."""

LARGEST_PICTURE = 64_000_000
"""Pixels of one picture: decoding this many takes half a gigabyte, and a small file can hold any number."""

HEADERS = 10_000
"""Pictures of a folder whose headers are read when it is opened, evenly spaced."""

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

    with _opened(encoded, name) as opened:
        try:
            with warnings.catch_warnings(action="ignore"):
                picture = opened.convert("RGB")
        except Exception as error:  # Pillow's plugins raise what they like on a damaged file
            raise _unreadable(name, error) from error
    if side is None and squash is not None and picture.size != (squash, squash):
        picture = picture.resize((squash, squash), PIL.Image.Resampling.BILINEAR)
    if side is not None and picture.size != (side, side):
        picture = _resize_and_crop(picture, side)
    return np.asarray(picture, np.uint8)


def _opened(encoded: bytes | Path, name: str) -> "Image":
    """The picture with its header read and its pixels not yet decoded."""
    import PIL.Image

    file = io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded
    try:
        with warnings.catch_warnings(action="ignore"):  # of tags that say nothing here, and of sizes below the limit
            picture = PIL.Image.open(file, formats=FORMATS)
    except PIL.Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large ({error}); {_SMALLER}") from error
    except Exception as error:
        raise _unreadable(name, error) from error
    width, height = picture.size
    if width * height > LARGEST_PICTURE:
        picture.close()
        raise InputError(f"{name} has {width} x {height} pixels; {_SMALLER}")
    return picture


_SMALLER = f"the most is {LARGEST_PICTURE // 10**6} million. Scale it down, or remove it."


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name} cannot be read as an image in one of the formats {', '.join(FORMATS)} ({type(error).__name__}); remove it "
        "or fetch it again."
    )


def _resize_and_crop(picture: "Image", side: int) -> "Image":
    """The middle of the picture with its shorter side at 256/224 of `side`."""
    from PIL.Image import Resampling

    shorter = round(side * 256 / 224)
    scale = shorter / min(picture.size)
    width, height = (max(shorter, round(length * scale)) for length in picture.size)
    left, top = (width - side) // 2, (height - side) // 2
    picture = picture.resize((width, height), Resampling.BILINEAR)
    return picture.crop((left, top, left + side, top + side))


def cropped(pixels: Pixels, side: int | None) -> Pixels:
    """Images whose shorter side is resized to 256/224 of `side` and whose middle is cut out, see `decode`.

    Args:
        pixels: the images.
        side: wanted height and width; None, or the one they have, leaves them alone.

    Returns:
        The images, side x side, with their fingerprint.
    """
    if side is None or pixels.shape[:2] == (side, side):
        return pixels
    wanted = side

    def read(indices: np.ndarray) -> np.ndarray:
        from PIL.Image import fromarray

        images = np.empty((len(indices), wanted, wanted, 3), np.uint8)
        place = 0
        for part in in_chunks(np.asarray(indices), pixels.shape):
            for image in pixels.read(part):
                images[place] = np.asarray(_resize_and_crop(fromarray(image), wanted))
                place += 1
        return images

    fingerprint = hashlib.sha256(f"{pixels.fingerprint} {side}".encode()).hexdigest()
    return Pixels(pixels.size, (side, side, 3), read, fingerprint)


def folder_pixels(folder: Path, *, side: int | None = None, squash: int = SMALL_SIDE) -> Pixels:
    """Opens all pictures in a folder and its subfolders, in the order of their names; each is decoded when it is read.

    Args:
        folder: the folder.
        side: see `decode`.
        squash: see `decode`.

    Returns:
        The images. The fingerprint covers names and sizes of the files: their contents can be hundreds of gigabytes.

    Raises:
        InputError: where there is no picture, or one is unreadable or too large; of more than 10,000 pictures some are
            found out only when they are read.
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
    for index in np.unique(np.linspace(0, len(paths) - 1, min(len(paths), HEADERS)).astype(np.int64)):
        _opened(paths[index], printable(str(paths[index]))).close()
    shape = decode(paths[0], printable(str(paths[0])), side, squash).shape

    def read(indices: np.ndarray) -> np.ndarray:
        images = np.empty((len(indices), *shape), np.uint8)
        for place, index in enumerate(indices):
            images[place] = decode(paths[index], printable(str(paths[index])), side, squash)
        return images

    digest = hashlib.sha256(f"{side} {squash}".encode())
    for path in paths:
        digest.update(os.fsencode(path.relative_to(folder).as_posix()) + f" {path.stat().st_size}\n".encode())
    return Pixels(len(paths), (shape[0], shape[1], 3), read, digest.hexdigest())
