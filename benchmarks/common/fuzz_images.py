"""Damaged and hostile image files: every one is read as images, or refused in one sentence.

`python benchmarks/fuzz_images.py --seed 0 --count 3000` prints the counts as JSON. What is neither is a failure, whose
input is kept in the answer.
"""

import argparse
import base64
import io
import json
import pickle
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tenas_jax.data import open_images
from tenas_jax.errors import InputError

SLOW = 2.0  # seconds for one small file
ENDINGS = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "gif": "GIF", "webp": "WEBP", "tif": "TIFF", "ppm": "PPM"}


def damaged(rng: np.random.Generator, content: bytes) -> bytes:
    """A few changes: bytes replaced, cut out, put in, doubled, or the end cut off."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        place, length = (int(n) for n in rng.integers(0, [max(1, len(changed)), 9]))
        piece = bytes(changed[place : place + length])
        match rng.integers(6):
            case 0:
                changed[place : place + length] = rng.bytes(length)
            case 1:
                del changed[place : place + length]
            case 2:
                changed[place:place] = rng.bytes(length)
            case 3:
                changed[place:place] = piece
            case 4:
                del changed[place:]
            case _:  # numbers that lengths, shapes and offsets are made of
                changed[place : place + 4] = struct.pack("<i", rng.choice([-1, 0, 255, 65536, 2**31 - 1, -(2**31)]))
    return bytes(changed)


def pickles(rng: np.random.Generator, folder: Path) -> Path:
    """A pickle of rows with damage, or a program of random operations of its machine."""
    path = folder / "data_batch_1"
    side = int(rng.integers(1, 5))
    rows = rng.integers(0, 256, (3, 3 * side * side), dtype=np.uint8)
    content = {"data": rows, "labels": [1, 2, int(rng.integers(200))], "mean": rows.mean(0), "name": np.array(["x"])}
    if rng.random() < 0.7:
        path.write_bytes(damaged(rng, pickle.dumps(content, int(rng.integers(6)))))
        return path
    names = [b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"c_codecs\nencode\n"]
    names += [b"cnumpy._core.multiarray\nscalar\n", b"cnumpy._core.numeric\n_frombuffer\n", b"c__builtin__\nbytes\n"]
    values = [
        b"U\x02u1",
        b"U\x01O",
        b"K\x03",
        b"J\xff\xff\xff\xff",
        b"C\x03abc",
        b"U\x06latin1",
        b"N",
        b"\x89",
        b"\x88",
    ]
    glue = [bytes([code]) for code in b"(.0123NabdehijlopqrstuR}]\x81\x85\x86\x87\x93\x94\x95\x97\x98"]
    parts = [part[rng.integers(len(part))] for part in rng.choice(3, 40) for part in [(names, values, glue)[part]]]
    path.write_bytes(b"\x80\x04" + b"".join(parts) + b".")
    return path


def archives(rng: np.random.Generator, folder: Path) -> Path:
    """An .npz with damage to the archive, or to the header of its array."""
    path = folder / "own.npz"
    images = rng.integers(0, 256, (3, int(rng.integers(1, 6)), 4, 3), dtype=np.uint8)
    array, whole = io.BytesIO(), io.BytesIO()
    np.save(array, np.asfortranarray(images) if rng.random() < 0.2 else images)
    save = np.savez_compressed if rng.random() < 0.5 else np.savez
    if rng.random() < 0.5:
        save(whole, x=images, y=images)
        path.write_bytes(damaged(rng, whole.getvalue()))
        return path
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if rng.random() < 0.5 else zipfile.ZIP_STORED) as archive:
        archive.writestr("x.npy", damaged(rng, array.getvalue()))
    return path


def pictures(rng: np.random.Generator, folder: Path) -> Path:
    """A folder of a whole picture and a damaged one, whose ending may be that of another format."""
    from PIL import Image

    image = Image.fromarray(rng.integers(0, 256, (int(rng.integers(1, 40)), 12, 3), dtype=np.uint8))
    image.save(folder / "a.png")
    file = io.BytesIO()
    image.save(file, str(rng.choice(list(ENDINGS.values()))))
    (folder / f"b.{rng.choice(list(ENDINGS))}").write_bytes(damaged(rng, file.getvalue()))
    return folder


KINDS: dict[str, Callable[[np.random.Generator, Path], Path]] = {
    "pickles": pickles,
    "npz": archives,
    "folders": pictures,
}


def outcome(path: Path, side: int | None) -> str:
    """Opens and reads images twice: "read" or "refused"; anything else raises."""
    try:
        source = open_images(path=path, side=side)
        every = np.arange(source.size)
        first, second = source.read(every), source.read(every)
    except InputError as error:
        if len(str(error).splitlines()) != 1:
            raise AssertionError("not one line") from error
        return "refused"
    assert first.dtype == np.uint8
    assert first.shape == (source.size, *source.shape)
    assert (first == second).all(), "other pixels at the second reading"
    return "read"


def fuzz_images(seed: int, count: int) -> dict[str, Any]:
    """Opens so many damaged pickles, archives and folders, a third of each.

    Args:
        seed: random seed.
        count: of files.

    Returns:
        Counts by kind and outcome; `failures`, a list of (kind, error, file in base64); the slowest file's seconds.
    """
    rng = np.random.default_rng(seed)
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    failures, slowest = [], 0.0
    plain = [(np.dtype(name), np.dtype(name).itemsize, np.dtype(name).alignment) for name in ("u1", "i8", "f8", "O")]
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        with tempfile.TemporaryDirectory() as name:
            path = KINDS[kind](rng, Path(name))
            side = 8 if rng.random() < 0.2 else None
            start = time.perf_counter()
            try:
                result = outcome(path, side)
                assert all((d.itemsize, d.alignment) == (size, align) for d, size, align in plain), "numpy is changed"
            except Exception as error:
                file = path if path.is_file() else max(path.glob("b.*"))
                failures.append((kind, repr(error)[:300], base64.b64encode(file.read_bytes()).decode()))
                result = "failed"
            seconds = time.perf_counter() - start
        counts[kind][result if seconds < SLOW else "slow"] += 1
        slowest = max(slowest, seconds)
    found = {kind: dict(sorted(counter.items())) for kind, counter in counts.items()}
    return {"counts": found, "failures": failures, "slowest_seconds": round(slowest, 3)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=3000)
    arguments = parser.parse_args()
    print(json.dumps(fuzz_images(arguments.seed, arguments.count), indent=2))


if __name__ == "__main__":
    main()
