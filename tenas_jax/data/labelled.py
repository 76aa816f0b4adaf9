"""Images with their classes, for training: the same sources as for a search, and which class each image is of."""

import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from tenas_jax.data import opening
from tenas_jax.data._pickles import load_pickle
from tenas_jax.data.npz import npz_pixels
from tenas_jax.data.pictures import SUFFIXES, cropped, folder_pixels
from tenas_jax.data.prepared import PREPARED, prepared_records
from tenas_jax.data.rows import rows_pixels
from tenas_jax.data.source import ImageSource, Pixels, own_statistics
from tenas_jax.errors import InputError, printable

MOST_CLASSES = 1 << 20
LABEL_KEYS = ("labels", "fine_labels", b"labels", b"fine_labels")
TEST_FILES = {"data_batch_1": "test_batch", "train": "test", "train_data_batch_1": "val_data"}
"""By the first training file of an original folder, the file with its test images."""


@dataclass(frozen=True)
class LabelledImages:
    """Images and classes.

    Attributes:
        source: the images.
        labels: int (n,), the class of each, from 0.
        classes: how many there are.
        chosen: int (n,), which images of the source these are.
    """

    source: ImageSource
    labels: Int[np.ndarray, " n"]
    classes: int
    chosen: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Int[np.ndarray, " b"]) -> np.ndarray:
        """Pixels of some images.

        Args:
            indices: in [0, n).

        Returns:
            uint8 (b, h, w, 3).
        """
        return self.source.read(self.chosen[indices])

    def part(self, indices: Int[np.ndarray, " m"]) -> "LabelledImages":
        """Some of the images.

        Args:
            indices: in [0, n).
        """
        return replace(self, labels=self.labels[indices], chosen=self.chosen[indices])

    def split(self, share: float, seed: int) -> tuple["LabelledImages", "LabelledImages"]:
        """Two parts that share no image.

        Args:
            share: of the second part.
            seed: decides which images go where.

        Raises:
            InputError: where a part would be empty.
        """
        held_out = round(len(self) * share)
        if not 0 < held_out < len(self):
            raise InputError(
                f"a share of {share} of {len(self)} images leaves a part empty; choose another --val-share, or give "
                "--val-data."
            )
        order = np.random.default_rng(seed).permutation(len(self))
        return self.part(np.sort(order[held_out:])), self.part(np.sort(order[:held_out]))


def open_labelled(
    dataset: str | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    test: bool = False,
    side: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> LabelledImages:
    """Opens images with their classes.

    Args:
        dataset: `cifar10` or `cifar100`, through tensorflow-datasets; with `path`: how to normalise the images there, as in
            `open_images`.
        path: an `.npz` with `x` uint8 (n, h, w, 3) and `y` whole numbers (n,); the original batches of CIFAR or ImageNet16;
            or a folder with a folder of pictures for each class, in the order of their names.
        test: the images that test: those of tensorflow-datasets, or of an original folder.
        side: height and width to which pictures are cut.
        data_dir: where tensorflow-datasets keeps its data.

    Raises:
        InputError: where images or classes are missing, damaged or of another form.
    """
    if path is not None:
        path = Path(path)
        pixels, labels = _read(path, dataset, test, side)
        name = printable(str(path))
        known = opening.STATISTICS.get(dataset or "")
        source = pixels.named(f"{dataset}:{name}" if dataset else name, known or own_statistics(pixels, name))
        return _labelled(source, labels, name)
    if dataset not in ("cifar10", "cifar100"):
        raise InputError(
            f"images with classes are needed: --dataset cifar10 or cifar100, or --data PATH; the data set is {dataset!r}. "
            "ImageNet and ImageNet16-120 are read from --data, synthetic images have no classes."
        )
    source, labels = _prepared(dataset, test, side, data_dir)
    return _labelled(source, labels, dataset)


def _labelled(source: ImageSource, labels: np.ndarray, name: str) -> LabelledImages:
    labels = np.asarray(labels)
    if labels.shape != (source.size,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"{name} must hold a whole number for each of its {source.size} images; it holds {labels.dtype} {labels.shape}."
        )
    if source.size == 0 or labels.min() < 0 or labels.max() >= MOST_CLASSES:
        raise InputError(f"classes in {name} must be numbers from 0 to {MOST_CLASSES - 1}, and there must be one.")
    return LabelledImages(source, labels.astype(np.int64), int(labels.max()) + 1, np.arange(source.size))


def _prepared(dataset: str, test: bool, side: int | None, data_dir) -> tuple[ImageSource, np.ndarray]:
    records, read = prepared_records(dataset, "test" if test else "train", data_dir=data_dir, side=side)
    labels = np.array([records[position]["label"] for position in range(len(records))], np.int64)
    known = opening.STATISTICS[dataset]
    pixels = Pixels(len(records), read(np.array([0])).shape[1:], read, f"{PREPARED[dataset].tfds_name} {len(records)}")
    return pixels.named(f"{dataset}{' test' if test else ''}", known), labels


def _read(path: Path, dataset: str | None, test: bool, side: int | None) -> tuple[Pixels, np.ndarray]:
    if not path.exists():
        raise InputError(f"{path} does not exist; expected an .npz, original batches, or a folder of a class each.")
    if test and path.is_dir():
        path = _test_part(path)
    batches = opening.original_batches(path)
    if batches:
        kept = 120 if dataset == "imagenet16-120" else None
        return cropped(rows_pixels(batches, labels_to=kept), side), _row_labels(batches, kept)
    if path.is_dir():
        return folder_pixels(path, side=side), _folder_labels(path)
    return cropped(npz_pixels(path), side), _npz_labels(path)


def _test_part(path: Path) -> Path:
    """The file or folder with the test images of an original folder."""
    for batch in opening.original_batches(path)[:1]:
        if batch.name in TEST_FILES:
            return batch.with_name(TEST_FILES[batch.name])
    raise InputError(f"{path} has no test images known by name; give them with --val-data PATH.")


def _row_labels(batches: list[Path], kept: int | None) -> np.ndarray:
    found = []
    for path in batches:
        content = load_pickle(path)
        assert isinstance(content, dict)  # rows_pixels has read it
        given = next((content[key] for key in LABEL_KEYS if key in content), None)
        labels = np.asarray(given if isinstance(given, list | np.ndarray) else [])
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise InputError(f"{path} must hold `labels` or `fine_labels`, a whole number an image.")
        found.append(labels if kept is None else labels[labels <= kept])
    # The small ImageNets count from 1.
    starts_at_one = kept is not None or "train_data_batch" in batches[0].name or batches[0].name == "val_data"
    return np.concatenate(found).astype(np.int64) - int(starts_at_one)


def _folder_labels(path: Path) -> np.ndarray:
    """The class of each picture is the folder below `path` that it lies in; the order is that of `folder_pixels`."""
    pictures = sorted(
        Path(parent, name)
        for parent, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    )
    names = [picture.relative_to(path).parts for picture in pictures]
    if any(len(parts) < 2 for parts in names):
        raise InputError(f"{path} must hold a folder of pictures for each class; some lie in it directly.")
    numbers = {name: number for number, name in enumerate(sorted({parts[0] for parts in names}))}
    return np.array([numbers[parts[0]] for parts in names], np.int64)


def _npz_labels(path: Path) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            if "y.npy" not in archive.namelist():
                raise InputError(f"{path} must hold an array `y`, the class of each image, beside `x`; it has none.")
            with archive.open("y.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
    except InputError:
        raise
    except Exception as error:  # a damaged archive raises errors of zipfile, zlib, numpy and struct
        raise InputError(
            f"the array `y` of {path} cannot be read ({printable(str(error)[:200]) or type(error).__name__}); write the "
            "file with `np.savez(path, x=images, y=classes)`."
        ) from error
