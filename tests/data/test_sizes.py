"""Images of any size: resized, cropped and pooled as the documentation says, in bounded memory, or refused."""

import io
import os
import stat
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from tenas_jax.data import ImageSource, image_batch, npz, open_images, patch_batch, pictures
from tenas_jax.data import source as source_module
from tenas_jax.data.source import Pixels, own_statistics
from tenas_jax.errors import InputError

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from common.fuzz_images import KINDS, fuzz_images


def random_images(rng, count, height, width):
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def read_all(source):
    return source.read(np.arange(source.size))


def folder_of(path, images):
    path.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(path / f"{number}.png")
    return path


# Pooling


@pytest.mark.parametrize(("height", "width", "side"), [(30, 30, 4), (40, 50, 4), (7, 5, 3), (9, 12, 4), (5, 5, 5)])
def test_pooling_averages_equal_areas_of_any_size(rng, height, width, side):
    """By brute force: every pixel becomes side x side equal ones, of which whole blocks are averaged."""
    images = random_images(rng, 3, height, width)
    source = ImageSource("test", 3, (height, width, 3), images.__getitem__, (0.0,) * 3, (1.0,) * 3, "", 4)
    whole = np.asarray(image_batch(jax.random.key(2), source, 3), np.float64)
    fine = whole.repeat(side, 1).repeat(side, 2)
    expected = fine.reshape(3, side, height, side, width, 3).mean((2, 4))
    np.testing.assert_allclose(image_batch(jax.random.key(2), source, 3, side=side), expected, rtol=2e-6)


@pytest.mark.parametrize("form", ["npz", "folder"])
@pytest.mark.parametrize(("height", "width"), [(30, 30), (40, 50), (12, 12)])
def test_images_of_any_size_make_the_batches_of_a_search(tmp_path, rng, form, height, width):
    images = random_images(rng, 9, height, width)
    path = folder_of(tmp_path / "pictures", images) if form == "folder" else tmp_path / "own.npz"
    if form == "npz":
        np.savez(path, x=images)
    source = open_images(path=path)
    assert source.shape == ((32, 32, 3) if form == "folder" else (height, width, 3))
    for side in (4, 8):
        assert image_batch(jax.random.key(0), source, 8, side=side).shape == (8, side, side, 3)
    assert patch_batch(jax.random.key(0), source, 20).shape == (20, 3, 3, 3)


# Sides


def test_pictures_of_one_size_are_resized_as_others_are(tmp_path, rng):
    images = random_images(rng, 2, 40, 50)
    found = read_all(open_images(path=folder_of(tmp_path / "pictures", images)))
    for image, small in zip(images, found, strict=True):
        np.testing.assert_array_equal(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR), small)


@pytest.mark.parametrize(("height", "width"), [(30, 30), (40, 50), (16, 16)])
def test_a_side_means_the_same_for_an_npz_and_a_folder(tmp_path, rng, height, width):
    images = random_images(rng, 5, height, width)
    np.savez(tmp_path / "own.npz", x=images)
    np.savez_compressed(tmp_path / "packed.npz", x=images)
    folder = open_images(path=folder_of(tmp_path / "pictures", images), side=16)
    for name in ("own.npz", "packed.npz"):
        source = open_images(path=tmp_path / name, side=16)
        assert (source.shape, source.crop_padding) == ((16, 16, 3), 2)
        np.testing.assert_array_equal(read_all(source), read_all(folder))
        np.testing.assert_allclose(source.std, folder.std, rtol=1e-12)
        same = source.fingerprint == open_images(path=tmp_path / name).fingerprint
        assert same == (height == width == 16)
    np.testing.assert_array_equal(source.read(np.array([3, 1])), read_all(folder)[[3, 1]])


def test_a_side_cuts_the_original_batches_too(tmp_path, rng):
    import pickle

    images = random_images(rng, 4, 32, 32)
    rows = images.transpose(0, 3, 1, 2).reshape(4, -1)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": rows}))
    np.savez(tmp_path / "own.npz", x=images)
    batch, array = (open_images("cifar10", tmp_path / name, side=16) for name in ("data_batch_1", "own.npz"))
    assert batch.shape == (16, 16, 3)
    np.testing.assert_array_equal(read_all(batch), read_all(array))


# Bounds


def test_statistics_of_large_images_take_memory_by_bytes(rng, monkeypatch):
    """600 images of 128 x 128 are 30 MB; read at once, and as float64, they were 500."""
    image = random_images(rng, 1, 128, 128)[0]
    monkeypatch.setattr(source_module, "CHUNK", 1 << 20)
    asked = []

    def read(indices):
        asked.append(len(indices))
        return np.stack([image ^ np.uint8(index % 3) for index in indices])

    pixels = Pixels(600, (128, 128, 3), read, "")
    tracemalloc.start()
    mean, std = own_statistics(pixels, "it")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(asked) == (1 << 20) // (128 * 128 * 3) == 21
    assert peak < 10_000_000
    every = np.stack([image ^ np.uint8(index) for index in range(3)]).reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(mean, every.mean(0), rtol=1e-13)
    np.testing.assert_allclose(std, every.std(0), rtol=1e-11)
    asked.clear()
    source = pixels.named("it", (mean, std))
    assert patch_batch(jax.random.key(0), source, 1000).shape == (1000, 3, 3, 3)
    assert max(asked) == 21


def png_that_says(width, height):
    """A picture of a few bytes whose header names any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b"x"), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", __import__("zlib").crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (13_000, 13_000), (30_000, 30_000), (1 << 30, 1)])
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(tmp_path, width, height, recwarn):
    folder_of(tmp_path, np.zeros((1, 8, 8, 3), np.uint8))
    (tmp_path / "large.png").write_bytes(png_that_says(width, height))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"large\.png (has|is too large).*; the most is 64 million\. Scale it down"):
        open_images("cifar10", tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert not [warning for warning in recwarn if "Decompression" in str(warning.message)]


def test_a_picture_of_exactly_the_most_pixels_is_read(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST_PICTURE", 64)
    folder_of(tmp_path, random_images(rng, 2, 8, 8))
    assert open_images(path=tmp_path).size == 2
    folder_of(tmp_path, random_images(rng, 1, 8, 9))
    with pytest.raises(InputError, match=r"0\.png has 9 x 8 pixels"):
        open_images(path=tmp_path)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_compressed_array_is_refused_by_its_declared_size(tmp_path, dtype):
    """3 GiB of zeros in 3 MB would be; here of ones that never exist, for nothing of them is unpacked."""
    path = tmp_path / "own.npz"
    head = io.BytesIO()
    shape = ((3 << 30) // 3072 // np.dtype(dtype).itemsize, 32, 32, 3)
    np.lib.format.write_array_header_1_0(head, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", head.getvalue() + bytes(1 << 16))
    content = bytearray(path.read_bytes())
    size = len(head.getvalue()) + (3 << 30)
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + place
        content[start : start + 4] = struct.pack("<I", size)
    path.write_bytes(content)
    message = r"3\.0 GiB of memory; 2 are the most.*np\.savez" if dtype == np.uint8 else "it is float32"
    tracemalloc.start()
    with pytest.raises(InputError, match=message):
        open_images(path=path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_an_array_that_must_be_loaded_is_within_its_bound(tmp_path, rng, monkeypatch):
    images = random_images(rng, 3, 8, 8)
    for save, array in ((np.savez_compressed, images), (np.savez, np.asfortranarray(images))):
        save(tmp_path / "own.npz", x=array)
        monkeypatch.setattr(npz, "LARGEST_IN_MEMORY", 1000)
        np.testing.assert_array_equal(read_all(open_images(path=tmp_path / "own.npz")), images)
        monkeypatch.setattr(npz, "LARGEST_IN_MEMORY", 600)
        with pytest.raises(InputError, match=r"of memory; .* are the most"):
            open_images(path=tmp_path / "own.npz")
    np.savez(tmp_path / "own.npz", x=images)  # stays on disk
    assert open_images(path=tmp_path / "own.npz").size == 3


# Archives that lie, or change


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("claimed", [8, 9, 11, 12, 1 << 40])
def test_pixels_are_never_bytes_of_another_member(tmp_path, rng, compression, claimed):
    """An array that claims more images than follow, before another member of the archive, or fewer."""
    member = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (claimed, 8, 8, 3)}
    np.lib.format.write_array_header_1_0(member, header)
    member.write(random_images(rng, 10, 8, 8).tobytes())
    with zipfile.ZipFile(tmp_path / "own.npz", "w", compression) as archive:
        archive.writestr("x.npy", member.getvalue())
        archive.writestr("y.npy", rng.bytes(5000))
    with pytest.raises(
        InputError, match=rf"cannot be read as an \.npz .*\({claimed}, 8, 8, 3\).*followed by 1920 bytes"
    ):
        open_images(path=tmp_path / "own.npz")


@pytest.mark.parametrize("change", ["cut", "replaced", "removed"])
def test_an_archive_that_changes_while_it_is_in_use_is_named(tmp_path, rng, change):
    path = tmp_path / "own.npz"
    np.savez(path, x=random_images(rng, 10, 32, 32))
    source = open_images(path=path)
    if change == "cut":  # a memory map would end the process with SIGBUS
        os.truncate(path, 1000)
    elif change == "replaced":
        np.savez(tmp_path / "new.npz", x=random_images(rng, 10, 32, 32))
        (tmp_path / "new.npz").replace(path)
    else:
        path.unlink()
    with pytest.raises(InputError, match=r"own\.npz was changed while its images were in use"):
        read_all(source)


# Pictures


def test_an_eps_in_disguise_starts_no_ghostscript(tmp_path, monkeypatch):
    """Pillow goes by the content, and draws an EPS by running `gs`; a stand-in for it leaves a trace."""
    programs, trace = tmp_path / "bin", tmp_path / "trace"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch '{trace}'\n")
    (programs / "gs").chmod((programs / "gs").stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    picture = tmp_path / "pictures" / "cat.png"
    picture.parent.mkdir()
    picture.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(InputError, match=r"cat\.png cannot be read as an image in one of the formats PNG, JPEG"):
        open_images(path=picture.parent)
    assert not trace.exists()
    with Image.open(picture) as opened, pytest.raises(OSError, match=r"."):
        opened.load()
    assert trace.exists(), "the attack is real"


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "ppm"])
def test_every_suffix_is_read_whatever_its_format(tmp_path, rng, ending):
    image = Image.fromarray(np.full((32, 32, 3), 90, np.uint8) + rng.integers(0, 3, (32, 32, 3), dtype=np.uint8))
    image.save(tmp_path / f"a.{ending}")
    image.save(tmp_path / f"b.{ending}", "PNG")  # the content decides
    found = read_all(open_images("cifar10", tmp_path))
    assert abs(found.astype(int) - np.asarray(image)).max() <= (80 if ending == "gif" else 8)


def test_names_that_are_no_text_do_not_matter(tmp_path, rng):
    folder_of(tmp_path, random_images(rng, 2, 8, 8))
    name = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    os.rename(tmp_path / "0.png", name)
    source = open_images(path=tmp_path)
    assert read_all(source).shape == (2, 32, 32, 3)
    with open(name, "wb") as file:
        file.write(b"no picture")
    with pytest.raises(InputError, match=r"\\udcff\\udcfe\.png cannot be read") as caught:
        open_images(path=tmp_path)
    str(caught.value).encode()  # can be printed
    archive = tmp_path / os.fsdecode(b"\xff.npz")
    np.savez(archive, x=random_images(rng, 2, 8, 8))
    open_images(path=archive).name.encode()


def test_damaged_and_hostile_files_are_read_or_refused():
    found = fuzz_images(seed=0, count=600)
    assert found["failures"] == []
    assert set(found["counts"]) == set(KINDS)
    for counts in found["counts"].values():
        assert counts["read"] > 5
        assert counts["refused"] > 50
        assert set(counts) <= {"read", "refused", "slow"}
