"""Random changes of training images: shift, flip, resized parts, colour jitter, cutout.

What is random is drawn for a whole batch, then applied to the images that this process holds: so the numbers do not depend
on how many processes share a batch.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from tenas_jax.train.recipe import Recipe

AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a resized part (Szegedy et al. 2015)
GREY = (0.299, 0.587, 0.114)  # ITU-R 601: how bright each colour is


class Draws(NamedTuple):
    """What is random of a batch; every array has a row an image.

    Attributes:
        flip: bool (b,).
        shift: whole numbers (b, 2) from 0 to twice the padding: where the image is cut from its padded self.
        part: (b, 4), top, left, height, width of the resized part, as shares of the sides.
        cutout: (b, 2), the middle of the blanked square.
        jitter: (b, 3), factors of brightness, contrast and saturation.
        order: (b, 3), in which order these are applied.
    """

    flip: np.ndarray
    shift: np.ndarray
    part: np.ndarray
    cutout: np.ndarray
    jitter: np.ndarray
    order: np.ndarray

    def rows(self, chosen: slice) -> "Draws":
        """Those of some images.

        Args:
            chosen: which.
        """
        return Draws(*(values[chosen] for values in self))


def draw(rng: np.random.Generator, count: int, recipe: Recipe, side: tuple[int, int], padding: int) -> Draws:
    """Draws what is random of a batch.

    Args:
        rng: a generator.
        count: images b.
        recipe: what is done.
        side: height and width of the images that come out.
        padding: the most that an image moves.
    """
    return Draws(
        rng.random(count) < (0.5 if recipe.flip else 0),
        rng.integers(2 * padding + 1, size=(count, 2)),
        _parts(rng, count),
        rng.integers(side, size=(count, 2)),
        rng.uniform(1 - recipe.jitter, 1 + recipe.jitter, (count, 3)),
        np.argsort(rng.random((count, 3)), axis=1),
    )


def _parts(rng: np.random.Generator, count: int) -> np.ndarray:
    """Parts of an area and a ratio drawn at random, the latter on a log scale; a side that sticks out is cut to one."""
    area = rng.uniform(AREA[0], AREA[1], count)
    low, high = np.log(RATIO)
    ratio = np.exp(rng.uniform(low, high, count))
    sides = np.minimum(np.stack([np.sqrt(area / ratio), np.sqrt(area * ratio)], 1), 1)
    return np.concatenate([rng.random((count, 2)) * (1 - sides), sides], axis=1)


def augment(
    images: UInt8[np.ndarray, "b h w 3"], draws: Draws, recipe: Recipe, mean, std, padding: int
) -> Float[np.ndarray, "b h2 w2 3"]:
    """Changes images and normalises them.

    Args:
        images: pixels.
        draws: one row an image.
        recipe: what is done.
        mean: of each channel, on the scale 0 to 255.
        std: likewise.
        padding: the most that an image moves; 0 for nothing.

    Returns:
        float32; what comes in from outside is black before normalisation, what is cut out is zero after it.
    """
    if recipe.resized_crop:
        images = resized_parts(images, draws.part, recipe.resized_crop)
    elif padding:
        images = shifted(images, draws.shift, padding)
    images = np.where(draws.flip[:, None, None, None], images[:, :, ::-1], images)
    values = images.astype(np.float32)
    if recipe.jitter:
        values = jittered(values, draws.jitter, draws.order)
    values = normalised(values, mean, std)
    return cut_out(values, draws.cutout, recipe.cutout) if recipe.cutout else values


def normalised(values, mean, std) -> Float[np.ndarray, "b h w 3"]:
    """`(pixel - mean) / std`.

    Args:
        values: (b, h, w, 3) on the scale 0 to 255.
        mean: of each channel.
        std: of each channel.
    """
    return (values.astype(np.float32) - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


def shrunk(images: UInt8[np.ndarray, "b h w 3"], side: int) -> np.ndarray:
    """Averages over squares.

    Args:
        images: pixels.
        side: of the squares; 1 leaves the images as they are, what does not fill a square is cut off.

    Returns:
        (b, h / side, w / side, 3), on the same scale.
    """
    if side == 1:
        return images
    height, width = (length // side for length in images.shape[1:3])
    cut = images[:, : height * side, : width * side]
    return cut.reshape(-1, height, side, width, side, 3).mean((2, 4), dtype=np.float32)


def shifted(images: np.ndarray, places: np.ndarray, padding: int) -> np.ndarray:
    """Images cut from their padded selves.

    Args:
        images: (b, h, w, c).
        places: (b, 2) from 0 to twice the padding; the padding leaves an image where it is.
        padding: of every border, black.
    """
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return np.stack([p[top : top + height, left : left + width] for p, (top, left) in zip(padded, places, strict=True)])


def resized_parts(images: np.ndarray, parts: np.ndarray, side: int) -> np.ndarray:
    """Parts of images, resized.

    Args:
        images: uint8 (b, h, w, 3).
        parts: (b, 4), top, left, height, width as shares of the sides.
        side: that comes out.

    Returns:
        uint8 (b, side, side, 3).
    """
    from PIL.Image import Resampling, fromarray

    found = np.empty((len(images), side, side, 3), np.uint8)
    for place, (image, (top, left, height, width)) in enumerate(zip(images, parts, strict=True)):
        rows, columns = image.shape[:2]
        box = (left * columns, top * rows, (left + width) * columns, (top + height) * rows)
        found[place] = np.asarray(fromarray(image).resize((side, side), Resampling.BILINEAR, box=box))
    return found


def jittered(values: np.ndarray, factors: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Brightness, contrast, saturation by factors: an image is mixed with black, with its mean grey, with its greys.

    Args:
        values: float (b, h, w, 3) on the scale 0 to 255.
        factors: (b, 3).
        order: (b, 3), a permutation of 0, 1, 2 an image.
    """
    found = np.empty_like(values)
    for place, image in enumerate(values):
        for kind in order[place]:
            grey = image @ np.asarray(GREY, image.dtype)
            other = (0.0, grey.mean(), grey[..., None])[kind]
            factor = image.dtype.type(factors[place, kind])
            image = np.clip(image * factor + other * (1 - factor), 0, 255).astype(values.dtype)
        found[place] = image
    return found


def cut_out(values: np.ndarray, middles: np.ndarray, side: int) -> np.ndarray:
    """Blanks a square (DeVries and Taylor 2017), of which less is left at the borders.

    Args:
        values: (b, h, w, c).
        middles: (b, 2), anywhere in the image.
        side: of the square.
    """
    inside = []
    for axis in (0, 1):
        place = np.arange(values.shape[1 + axis])[None]
        start = middles[:, axis, None] - side // 2
        inside.append((place >= start) & (place < start + side))
    square = inside[0][:, :, None] & inside[1][:, None, :]
    return np.where(square[..., None], values.dtype.type(0), values)
