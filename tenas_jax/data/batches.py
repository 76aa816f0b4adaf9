"""Batches of normalised images and patches, as TE-NAS draws them (protocol of the released code, Chen et al. 2021)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tenas_jax.data.source import ImageSource, in_chunks
from tenas_jax.errors import InputError


def image_batch(
    key: PRNGKeyArray, source: ImageSource, size: int, *, augment: bool = True, side: int | None = None
) -> Float[Array, "b h w 3"]:
    """A batch of distinct images, normalised channel by channel: `(pixel - mean) / std`.

    Args:
        key: decides the images and their augmentation.
        source: where they come from.
        size: number of images b.
        augment: whether to flip each from left to right with probability 1/2 and to shift it at random by up to
            `source.crop_padding` pixels each way; what comes in from outside is black before normalisation.
        side: height and width to average-pool to, afterwards, over equal areas: where it does not divide the image's, a
            pixel on the border of two areas counts in each with its share. None leaves the size.

    Returns:
        float32 (b, h, w, 3), or (b, side, side, 3).

    Raises:
        InputError: where the source holds fewer images than the batch, or images smaller than `side`.

    Examples:
        >>> import jax
        >>> from tenas_jax.data import open_images
        >>> image_batch(jax.random.key(0), open_images(), 8, side=4).shape
        (8, 4, 4, 3)
    """
    _check_count("size", size)
    if size > source.size:
        raise InputError(
            f"a batch of {size} distinct images was asked for; {source.name} holds {source.size}. "
            "Give more images or ask for a smaller batch."
        )
    height, width, _ = source.shape
    if side is not None and not 1 <= side <= min(height, width):
        raise InputError(
            f"`side`, to which images are average-pooled, must be between 1 and their size; it is {side}, images of "
            f"{source.name} are {height}x{width}. Give larger ones."
        )
    rng = _generator(key)
    images = source.read(rng.choice(source.size, size, replace=False))
    if augment:
        images = _flip_and_shift(rng, images, source.crop_padding)
    images = _normalise(images, source)
    if side is not None:
        images = _pool(images, side)
    return jnp.asarray(images)


def _pool(images: np.ndarray, side: int) -> np.ndarray:
    """Averages over side x side equal areas."""
    count, height, width, _ = images.shape
    if height % side == 0 and width % side == 0:
        return images.reshape(count, side, height // side, side, width // side, 3).mean((2, 4))
    rows, columns = _shares(height, side), _shares(width, side)
    return np.einsum("ih,nhwc,jw->nijc", rows, images, columns, optimize=True)


def _shares(length: int, parts: int) -> np.ndarray:
    """Which share each of `length` pixels has in each of `parts` equal intervals: (parts, length), rows sum to 1."""
    edges = np.arange(parts + 1)[:, None] * (length / parts)
    covered = np.clip(edges - np.arange(length), 0, 1)  # of each pixel, from the left end to each edge
    return (np.diff(covered, axis=0) * (parts / length)).astype(np.float32)


def patch_batch(
    key: PRNGKeyArray, source: ImageSource, count: int, *, patch: int = 3, channels: int = 3
) -> Float[Array, "n patch patch channels"]:
    """Small square patches, one random place in each of `count` images, normalised as `image_batch` does.

    Images are distinct as long as the source has enough; where `count` is larger than the source, every image gives
    `count / source.size` patches, rounded up or down. There is no flip and, as in the released code, no padding.

    Args:
        key: decides the images, the places and the channels.
        source: where they come from.
        count: number of patches n.
        patch: height and width of a patch.
        channels: 3, or 1 for one random colour channel in each patch, as in the released code.

    Returns:
        float32 (n, patch, patch, channels).

    Raises:
        InputError: where a patch does not fit into an image, or `channels` is neither 1 nor 3.
    """
    _check_count("count", count)
    height, width, _ = source.shape
    if not 1 <= patch <= min(height, width):
        raise InputError(f"`patch` must fit into the images of {source.name}, {height}x{width}; it is {patch}.")
    if channels not in (1, 3):
        raise InputError(f"`channels` must be 3 (colour) or 1 (one random colour channel a patch); it is {channels}.")
    rng = _generator(key)
    passes = [rng.permutation(source.size) for _ in range(-(-count // source.size))]
    indices = np.concatenate(passes)[:count]
    top = rng.integers(height - patch + 1, size=count)
    left = rng.integers(width - patch + 1, size=count)
    patches = np.empty((count, patch, patch, 3), np.uint8)
    place = 0
    for part in in_chunks(indices, source.shape):  # whole images are large; only a part of them is held at a time
        for image in source.read(part):
            patches[place] = image[top[place] : top[place] + patch, left[place] : left[place] + patch]
            place += 1
    values = _normalise(patches, source)
    if channels == 1:
        channel = rng.integers(3, size=(count, 1, 1, 1))
        values = np.take_along_axis(values, channel, axis=3)
    return jnp.asarray(values)


def _check_count(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"`{name}` must be at least 1; it is {value}.")


def _generator(key: PRNGKeyArray) -> np.random.Generator:
    """A host generator that the key decides: images lie on the host, and choosing them there compiles nothing."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())


def _flip_and_shift(rng: np.random.Generator, images: np.ndarray, padding: int) -> np.ndarray:
    """Flips half of the uint8 images and moves each by up to `padding` pixels, black coming in."""
    count, height, width, _ = images.shape
    flip = rng.random(count) < 0.5
    images = np.where(flip[:, None, None, None], images[:, :, ::-1], images)
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    places = rng.integers(2 * padding + 1, size=(count, 2))
    return np.stack([p[top : top + height, left : left + width] for p, (top, left) in zip(padded, places, strict=True)])


def _normalise(images: np.ndarray, source: ImageSource) -> np.ndarray:
    """`(pixel - mean) / std` in float32."""
    return (images.astype(np.float32) - np.asarray(source.mean, np.float32)) / np.asarray(source.std, np.float32)
