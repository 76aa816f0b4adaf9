"""Procedurally drawn images with the statistics of natural ones, so that a first run needs no download.

Dead leaves: discs that hide one another, their radii with density proportional to r^-3, show the power spectrum, edges
and occlusions of photographs (Ruderman 1997; Lee, Mumford and Huang 2001, "Occlusion models for natural images"). The
leaves are shaded and textured a little, and their colours agree across channels as far as those of photographs do.
"""

import hashlib

import numpy as np
from jaxtyping import Float, UInt8

from tenas_jax.data.source import Pixels, StatisticsOf

POOL = 512
"""Number of different images of a seed."""

VERSION = 1
"""Raise it with every change of a pixel: it enters the fingerprint."""

LEAVES = 120
SUPERSAMPLING = 2
RADII = (0.047, 1.5)
"""Smallest and largest radius of a leaf, in image sides."""

SYNTHETIC_STATISTICS: StatisticsOf = ((122.3, 120.0, 111.5), (65.4, 64.2, 65.4))
"""Mean and standard deviation of a channel over the pixels of many seeds, so that none need be drawn to know them."""

# Rows: brightness, blue against yellow, green against magenta: the principal axes of the colours of photographs.
_COLOUR_AXES = np.array([[1.0, 1.0, 1.0], [-1.0, -0.1, 1.1], [-0.6, 1.2, -0.6]])
_SCENE_DEVIATION = np.array([48.0, 20.0, 7.0])
_LEAF_DEVIATION = np.array([84.0, 27.0, 9.0])
_MEAN_COLOUR = np.array([123.0, 119.0, 106.0])


def draw_image(seed: int, index: int, side: int = 32) -> UInt8[np.ndarray, "side side 3"]:
    """One image of dead leaves; the same bytes for the same arguments.

    Args:
        seed: of the pool.
        index: of the image in it.
        side: height and width in pixels.

    Returns:
        (side, side, 3).
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    fine = side * SUPERSAMPLING
    grid = (np.arange(fine, dtype=np.float32) + np.float32(0.5)) / np.float32(fine)
    radius = _radii(rng, LEAVES)
    # Centres may lie outside: only so is the middle of the image no different from its edge.
    centre = rng.uniform(-0.3, 1.3, (2, LEAVES)).astype(np.float32)
    down, across = grid[:, None] - centre[0], grid[:, None] - centre[1]
    inside = np.square(down)[:, None, :] + np.square(across)[None, :, :] < np.square(radius)
    inside[:, :, -1] = True  # the last leaf is the background
    leaf = inside.argmax(-1)  # the first leaf that covers a pixel is the one in front
    shade = _shading(rng, leaf, down, across, radius)
    image = _colours(rng, LEAVES)[leaf] * shade[:, :, None] + _texture(rng, leaf)[:, :, None]
    for axis in (0, 1):
        image = _halve(image, axis)
    return np.rint(_film(image)).astype(np.uint8)


def _halve(image: np.ndarray, axis: int) -> np.ndarray:
    """Every second pixel of the image blurred with (1, 3, 3, 1) / 8, as a lens and a good resize blur a photograph."""
    pixels = np.moveaxis(image, axis, 0)
    padded = np.concatenate([pixels[:1], pixels, pixels[-1:]])
    blurred = (padded[:-3:2] + 3 * padded[1:-2:2] + 3 * padded[2:-1:2] + padded[3::2]) / np.float32(8)
    return np.moveaxis(blurred, 0, axis)


def _film(light: np.ndarray) -> np.ndarray:
    """Any brightness to the scale 0 to 255, bending gently towards black and white as film does."""
    centred = (light - np.float32(127.5)) / np.float32(127.5)
    return np.float32(127.5) * (1 + centred / np.sqrt(1 + np.square(centred)))


def _radii(rng: np.random.Generator, count: int) -> Float[np.ndarray, " count"]:
    """Radii with density proportional to r^-3 between the bounds: the inverse of their distribution function."""
    smallest, largest = (bound**-2.0 for bound in RADII)
    return (1 / np.sqrt(smallest + (largest - smallest) * rng.uniform(size=count))).astype(np.float32)


def _colours(rng: np.random.Generator, count: int) -> Float[np.ndarray, "count 3"]:
    """Colours of one scene's leaves: what they have in common, and what each has of its own."""
    scene = rng.normal(size=3) * _SCENE_DEVIATION
    contrast = rng.uniform(0.5, 1.5)
    own = rng.normal(size=(count, 3)) * _LEAF_DEVIATION * contrast
    return (_MEAN_COLOUR + (scene + own) @ _COLOUR_AXES).astype(np.float32)


def _shading(
    rng: np.random.Generator,
    leaf: np.ndarray,
    down: Float[np.ndarray, "side leaves"],
    across: Float[np.ndarray, "side leaves"],
    radius: Float[np.ndarray, " leaves"],
) -> Float[np.ndarray, "side side"]:
    """A brightness gradient across each leaf, all roughly along the scene's one direction of light."""
    light = rng.normal(size=(2, 1)) * 0.12 + rng.normal(size=(2, radius.size)) * 0.08
    slope = (light / np.maximum(radius, 0.1)).astype(np.float32)
    rows, columns = np.ogrid[: leaf.shape[0], : leaf.shape[1]]
    gradient = slope[0][leaf] * down[rows, leaf] + slope[1][leaf] * across[columns, leaf]
    return np.float32(1) + np.clip(gradient, np.float32(-0.6), np.float32(0.6))


def _texture(rng: np.random.Generator, leaf: np.ndarray) -> Float[np.ndarray, "side side"]:
    """Grain: white noise whose strength differs from leaf to leaf, in grey levels."""
    strength = rng.exponential(9.0, size=LEAVES).astype(np.float32)
    return strength[leaf] * rng.standard_normal(leaf.shape, dtype=np.float32)


def synthetic_pixels(seed: int, side: int = 32) -> Pixels:
    """A pool of 512 images, each drawn when it is first asked for.

    Args:
        seed: of the pool.
        side: height and width in pixels.

    Returns:
        The images.
    """
    drawn = np.zeros(POOL, bool)
    pool = np.zeros((POOL, side, side, 3), np.uint8)

    def read(indices: np.ndarray) -> np.ndarray:
        for index in np.unique(np.arange(POOL)[indices]):
            if not drawn[index]:
                pool[index] = draw_image(seed, int(index), side)
                drawn[index] = True
        return pool[indices]

    identity = f"dead leaves, version {VERSION}, seed {seed}, {POOL} images, {side}x{side}"
    return Pixels(POOL, (side, side, 3), read, hashlib.sha256(identity.encode()).hexdigest())
