"""Data sets that tensorflow-datasets prepares, read at random access and without TensorFlow."""

import hashlib
import os
import socket
import urllib.request
from dataclasses import dataclass

import numpy as np

from tenas_jax.data.pictures import SMALL_SIDE, decode
from tenas_jax.data.source import Pixels
from tenas_jax.errors import InputError

LABELLED_POOL = 4096
"""Images of the wanted labels to look for: records lie in random order, and to read all 1.3 million takes minutes."""


@dataclass(frozen=True)
class Prepared:
    """How to open one data set.

    Attributes:
        tfds_name: in tensorflow-datasets.
        host: that it is downloaded from; empty where it is not.
        labels: keep the images whose label, counted from 0, is below this; None keeps all.
        squash: height and width to resize to where images differ in size; None where they do not.
    """

    tfds_name: str
    host: str
    labels: int | None = None
    squash: int | None = None


PREPARED = {
    "cifar10": Prepared("cifar10", "www.cs.toronto.edu"),
    "cifar100": Prepared("cifar100", "www.cs.toronto.edu"),
    "imagenet16-120": Prepared("imagenet_resized/16x16", "image-net.org", labels=120),
    "imagenet": Prepared("imagenet2012", "", squash=SMALL_SIDE),
}


def prepared_pixels(dataset: str, *, data_dir: str | os.PathLike[str] | None = None, side: int | None = None) -> Pixels:
    """Opens the training images of a data set in tensorflow-datasets; prepares it first where that has not been done.

    Args:
        dataset: a name in `PREPARED`.
        data_dir: where tensorflow-datasets keeps its data; None: the environment variable `TFDS_DATA_DIR`, or its
            default.
        side: see `pictures.decode`.

    Returns:
        The images; of ImageNet16-120 the first 4096, which are a random choice since the records lie in random order.

    Raises:
        InputError: where the data set is not prepared and cannot be, or is stored without random access.
    """
    kind = PREPARED[dataset]
    records = _open_records(kind, dataset, data_dir)
    chosen = _labels_below(records, kind, kind.labels) if kind.labels is not None else np.arange(len(records))
    if len(chosen) == 0:
        raise InputError(f"{kind.tfds_name} holds no image of the {kind.labels} labels of {dataset}; prepare it again.")

    def read(indices: np.ndarray) -> np.ndarray:
        positions = chosen[np.asarray(indices)]
        examples = _fetch(records, positions.tolist(), kind)
        names = [f"record {position} of {kind.tfds_name}" for position in positions]
        images = [decode(e["image"], name, side, kind.squash) for e, name in zip(examples, names, strict=True)]
        return np.stack(images) if images else np.empty((0, *shape), np.uint8)

    shape = (0, 0, 3)
    shape = read(np.array([0])).shape[1:]
    info = records.dataset_info
    identity = f"{info.full_name} train {len(records)} {len(chosen)} {side} {kind.squash}"
    return Pixels(len(chosen), shape, read, hashlib.sha256(identity.encode()).hexdigest())


def prepared_records(
    dataset: str, split: str, *, data_dir: str | os.PathLike[str] | None = None, side: int | None = None
):
    """The records of a split, images still encoded, and what reads the images at some positions.

    Args:
        dataset: a name in `PREPARED`.
        split: "train" or "test".
        data_dir: see `prepared_pixels`.
        side: see `pictures.decode`.

    Returns:
        The records, and a function of positions (n,) that returns uint8 (n, h, w, 3).

    Raises:
        InputError: as `prepared_pixels`.
    """
    kind = PREPARED[dataset]
    records = _open_records(kind, dataset, data_dir, split)

    def read(indices: np.ndarray) -> np.ndarray:
        positions = np.asarray(indices).tolist()
        examples = _fetch(records, positions, kind)
        names = [f"record {position} of {kind.tfds_name}" for position in positions]
        return np.stack([decode(e["image"], name, side, kind.squash) for e, name in zip(examples, names, strict=True)])

    return records, read


def _open_records(kind: Prepared, dataset: str, data_dir: str | os.PathLike[str] | None, split: str = "train"):
    """The records of a split, images still encoded."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(kind.tfds_name, data_dir=data_dir)
        if not builder.info.splits:
            _check_host(kind)
            builder = tfds.builder(kind.tfds_name, data_dir=data_dir, file_format="array_record")
            builder.download_and_prepare()
        # Images stay encoded: labels are looked at without decoding, and the same code decodes pictures of any origin.
        decoders = {"image": tfds.decode.SkipDecoding()}
        return builder.as_data_source(split, decoders=decoders)  # pyright: ignore[reportCallIssue] (its decorator)
    except (Exception, SystemExit) as error:  # downloads, manual steps, formats: whatever its modules raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300].rstrip(".: ")
        prepare = f"t.builder('{kind.tfds_name}', data_dir='DIR', file_format='array_record').download_and_prepare()"
        raise InputError(
            f"{dataset} could not be opened through tensorflow-datasets ({reason}); prepare it in a new folder DIR "
            f'with `python -c "import tensorflow_datasets as t; {prepare}"` and set TFDS_DATA_DIR=DIR, or give '
            "the images with --data PATH."
        ) from error


def _check_host(kind: Prepared) -> None:
    """Raises OSError where the download cannot start, about which tensorflow-datasets tries for minutes."""
    if kind.host and not urllib.request.getproxies():
        try:
            socket.create_connection((kind.host, 443), timeout=10).close()
        except OSError as error:
            raise OSError(f"it is not prepared, and {kind.host} cannot be reached to download it: {error}") from error


def _fetch(records, positions: list[int], kind: Prepared) -> list[dict]:
    """The examples at some positions."""
    try:
        return records.__getitems__(positions)
    except Exception as error:  # the readers of the format raise RuntimeError and errors of their own
        raise InputError(
            f"the records of {kind.tfds_name} in {records.dataset_info.data_dir} cannot be read ({error}); "
            "delete that folder and prepare the data set again."
        ) from error


def _labels_below(records, kind: Prepared, bound: int) -> np.ndarray:
    """Positions of the first `LABELLED_POOL` records whose label is below `bound`."""
    found: list[int] = []
    for start in range(0, len(records), 1024):
        positions = range(start, min(start + 1024, len(records)))
        examples = _fetch(records, list(positions), kind)
        found += [p for p, example in zip(positions, examples, strict=True) if example["label"] < bound]
        if len(found) >= LABELLED_POOL:
            break
    return np.asarray(found[:LABELLED_POOL], np.int64)
