"""One function from what a person names on the command line to images."""

import os
from pathlib import Path

from tenas_jax.data.npz import npz_pixels
from tenas_jax.data.pictures import SMALL_SIDE, cropped, folder_pixels
from tenas_jax.data.prepared import prepared_pixels
from tenas_jax.data.rows import rows_pixels
from tenas_jax.data.source import ImageSource, Pixels, StatisticsOf, own_statistics
from tenas_jax.data.synthetic import SYNTHETIC_STATISTICS, synthetic_pixels
from tenas_jax.errors import InputError, printable

# Those of the released TE-NAS code; for ImageNet torchvision's, times 255.
STATISTICS: dict[str, StatisticsOf] = {
    "synthetic": SYNTHETIC_STATISTICS,
    "cifar10": ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": ((129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    "imagenet16-120": ((122.68, 116.66, 104.01), (63.22, 61.26, 65.09)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
DATASETS = tuple(STATISTICS)

LARGEST_SIDE = 1024
"""Pixels: a drawn image of this side takes gigabytes while it is drawn."""

_ORIGINAL_FOLDERS = ("cifar-10-batches-py", "cifar-100-python")


def open_images(
    dataset: str | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    side: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> ImageSource:
    """Opens a source of images.

    Args:
        dataset: `synthetic`, `cifar10`, `cifar100`, `imagenet16-120` or `imagenet`. Alone: that data set, through
            tensorflow-datasets unless it is synthetic (of `imagenet16-120` a random 4096 images). With `path`: how to
            normalise the images there; besides, `imagenet16-120` keeps labels 1 to 120 of the original pickles, and
            `imagenet` resizes pictures to 32x32.
        path: a folder with the original batches of CIFAR or ImageNet16, or one such file; an `.npz` with `x` uint8
            (n, h, w, 3); or a folder of pictures. Without `dataset` its images are normalised by their own mean and
            deviation. Neither of the two means `synthetic`.
        seed: of the synthetic images.
        side: height and width in pixels. Synthetic images are drawn so; of all others the shorter side is resized to
            256/224 of it and the middle cut out, unless they have that size. None: pictures (`imagenet` and folders) are
            resized to 32x32, all others keep their size.
        data_dir: where tensorflow-datasets keeps its data; None: `TFDS_DATA_DIR` or its default.

    Returns:
        The source.

    Raises:
        InputError: where the data set is unknown, or the data are missing, damaged or of another form.

    Examples:
        >>> source = open_images(seed=1)
        >>> source.name, source.shape, source.read([0]).dtype
        ('synthetic', (32, 32, 3), dtype('uint8'))
    """
    if dataset is not None and dataset not in DATASETS:
        raise InputError(f"the data set must be one of {', '.join(DATASETS)}; it is {dataset!r}.")
    if side is not None and not 1 <= side <= LARGEST_SIDE:
        raise InputError(f"`side` must be between 1 and {LARGEST_SIDE} pixels; it is {side}.")
    if path is not None:
        return _open_path(Path(path), dataset, side)
    dataset = dataset or "synthetic"
    if dataset == "synthetic":
        if seed < 0:
            raise InputError(f"the seed of synthetic images must not be negative; it is {seed}.")
        return synthetic_pixels(seed, side or SMALL_SIDE).named(dataset, STATISTICS[dataset])
    pixels = prepared_pixels(dataset, data_dir=data_dir, side=side)
    return pixels.named(dataset, STATISTICS[dataset])


def _open_path(path: Path, dataset: str | None, side: int | None) -> ImageSource:
    """Opens custom images, normalised as the data set or by their statistics."""
    if dataset == "synthetic":
        raise InputError(
            f"synthetic images are drawn and not read from {path}; name another data set, or none, with that path."
        )
    pixels, name = _pixels(path, dataset, side), printable(str(path))
    if dataset is None:
        return pixels.named(name, own_statistics(pixels, name))
    return pixels.named(f"{dataset}:{name}", STATISTICS[dataset])


def _pixels(path: Path, dataset: str | None, side: int | None) -> Pixels:
    """Opens whatever lies at a path."""
    if not path.exists():
        raise InputError(
            f"{path} does not exist; expected an .npz, a folder of images, or original CIFAR or ImageNet16 batches."
        )
    batches = original_batches(path)
    if path.is_dir() and not batches:
        return folder_pixels(path, side=side, squash=16 if dataset == "imagenet16-120" else SMALL_SIDE)
    if batches:
        return cropped(rows_pixels(batches, labels_to=120 if dataset == "imagenet16-120" else None), side)
    return cropped(npz_pixels(path), side)


def original_batches(path: Path) -> list[Path]:
    """The training files, in order, of an original CIFAR or ImageNet16 folder, or one such file; else nothing.

    Args:
        path: of a folder or a file.
    """
    if path.is_file():
        with path.open("rb") as file:
            return [] if path.suffix == ".npz" or file.read(2) == b"PK" else [path]
    for name, count in (("data_batch_", 5), ("train_data_batch_", 10)):
        if any(path.glob(f"{name}[0-9]*")):
            return [path / f"{name}{number}" for number in range(1, count + 1)]
    if (path / "train").is_file():
        return [path / "train"]
    for name in _ORIGINAL_FOLDERS:
        if (path / name).is_dir():
            return original_batches(path / name)
    return []
