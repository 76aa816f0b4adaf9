"""Image sources and the batches drawn from them."""

import io
import os
import pickle
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import outside_file

from tenas_jax.data import DATASETS, ImageSource, image_batch, open_images, patch_batch
from tenas_jax.data import prepared as prepared_module
from tenas_jax.data._pickles import load_pickle
from tenas_jax.data.opening import STATISTICS
from tenas_jax.data.pictures import decode
from tenas_jax.data.prepared import Prepared
from tenas_jax.data.synthetic import POOL, RADII, _radii, draw_image
from tenas_jax.errors import InputError


def random_images(rng: np.random.Generator, count: int, side: int = 32) -> np.ndarray:
    return rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def array_source(images: np.ndarray, *, padding: int = 4) -> ImageSource:
    """A source whose normalisation is the identity, so that batches show raw pixels."""
    shape = images.shape[1:]
    return ImageSource("test", len(images), shape, images.__getitem__, (0.0,) * 3, (1.0,) * 3, "0" * 64, padding)


def read_all(source: ImageSource) -> np.ndarray:
    return source.read(np.arange(source.size))


# Batches


def test_image_batch_is_distinct_images_normalised_channel_by_channel(rng):
    images = random_images(rng, 10, 8)
    mean, std = (100.0, 120.0, 90.0), (50.0, 60.0, 70.0)
    source = ImageSource("test", 10, (8, 8, 3), images.__getitem__, mean, std, "", 4)
    batch = image_batch(jax.random.key(1), source, 7, augment=False)
    assert batch.shape == (7, 8, 8, 3)
    assert batch.dtype == jnp.float32
    raw = np.rint(np.asarray(batch, np.float64) * std + mean).astype(np.uint8)
    found = [[bool((image == other).all()) for other in images].index(True) for image in raw]
    assert len(set(found)) == 7
    np.testing.assert_allclose(batch, (images[found].astype(np.float64) - mean) / std, rtol=1e-5, atol=1e-6)


def test_batches_follow_the_key(rng):
    source = array_source(random_images(rng, 50, 8))
    first, again = (image_batch(jax.random.key(3), source, 20) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, image_batch(jax.random.key(4), source, 20))
    first, again = (patch_batch(jax.random.key(3), source, 20, channels=1) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, patch_batch(jax.random.key(4), source, 20, channels=1))


@pytest.mark.parametrize("padding", [2, 4])
def test_augmentation_shows_every_shift_and_flip_and_only_those(rng, padding):
    side, count = 8, 3000
    image = rng.integers(1, 256, (side, side, 3), dtype=np.uint8)
    source = array_source(np.broadcast_to(image, (count, side, side, 3)), padding=padding)
    expected = {}
    for flip in (False, True):
        framed = np.zeros((side + 2 * padding, side + 2 * padding, 3))
        framed[padding : padding + side, padding : padding + side] = image[:, ::-1] if flip else image
        for top in range(2 * padding + 1):
            for left in range(2 * padding + 1):
                expected[framed[top : top + side, left : left + side].tobytes()] = (flip, top, left)
    batch = np.asarray(image_batch(jax.random.key(0), source, count), np.float64)
    seen = [expected[picture.tobytes()] for picture in batch]  # a KeyError here is a wrong picture
    assert set(seen) == set(expected.values())
    flips = np.mean([flip for flip, _, _ in seen])
    assert abs(flips - 0.5) < 4 * 0.5 / np.sqrt(count)
    tops = np.mean([top for _, top, _ in seen])
    assert abs(tops - padding) < 4 * np.sqrt(((2 * padding + 1) ** 2 - 1) / 12 / count)


def test_what_comes_in_from_outside_is_black_before_normalisation():
    white = np.full((200, 16, 16, 3), 255, np.uint8)
    source = ImageSource("test", 200, (16, 16, 3), white.__getitem__, (100.0, 50.0, 25.0), (50.0, 25.0, 5.0), "", 2)
    batch = np.asarray(image_batch(jax.random.key(0), source, 200))
    for channel, (black, full) in enumerate([(-2.0, 3.1), (-2.0, 8.2), (-5.0, 46.0)]):
        np.testing.assert_allclose(np.unique(batch[..., channel]), [black, full], rtol=1e-6)


def test_pooling_averages_blocks_of_the_very_same_batch(rng):
    source = array_source(random_images(rng, 9))
    key = jax.random.key(5)
    whole = np.asarray(image_batch(key, source, 9), np.float64)
    pooled = np.asarray(image_batch(key, source, 9, side=4))
    for row in range(4):
        for column in range(4):
            block = whole[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            np.testing.assert_allclose(pooled[:, row, column], block.mean((1, 2)), rtol=1e-5)


def test_patches_are_pieces_of_images_from_everywhere(rng):
    # A pixel's colour says where it is from: image, row, column.
    images = np.stack(np.meshgrid(*map(np.arange, (20, 6, 6)), indexing="ij"), -1).astype(np.uint8)
    source = array_source(images)
    patches = np.asarray(patch_batch(jax.random.key(0), source, 20, patch=3)).astype(int)
    assert patches.shape == (20, 3, 3, 3)
    number, top, left = patches[:, 0, 0].T
    assert sorted(number) == list(range(20))  # distinct as long as there are enough
    for patch, n, t, x in zip(patches, number, top, left, strict=True):
        np.testing.assert_array_equal(patch, images[n, t : t + 3, x : x + 3])
    many = np.asarray(patch_batch(jax.random.key(1), source, 1234, patch=3)).astype(int)
    number, top, left = many[:, 0, 0].T
    assert set(np.bincount(number)) == {61, 62}
    assert {(t, x) for t, x in zip(top, left, strict=True)} == {(t, x) for t in range(4) for x in range(4)}


def test_one_channel_patches_show_each_colour_equally_often(rng):
    images = np.zeros((3000, 4, 4, 3), np.uint8) + np.array([0, 1, 2], np.uint8)
    patches = np.asarray(patch_batch(jax.random.key(0), array_source(images), 3000, channels=1))
    assert patches.shape == (3000, 3, 3, 1)
    assert (patches == patches[:, :1, :1]).all()
    counts = np.bincount(patches[:, 0, 0, 0].astype(int), minlength=3)
    assert (abs(counts - 1000) < 4 * np.sqrt(3000 * 2 / 9)).all()


def test_one_channel_is_normalised_as_that_channel():
    grey = np.full((60, 4, 4, 3), 100, np.uint8)
    source = ImageSource("test", 60, (4, 4, 3), grey.__getitem__, (100.0, 90.0, 60.0), (10.0, 5.0, 20.0), "", 4)
    patches = patch_batch(jax.random.key(0), source, 60, channels=1)
    assert set(np.unique(patches).tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key, source: image_batch(key, source, 6), "6 distinct images .* holds 5"),
        (lambda key, source: image_batch(key, source, 0), "`size` must be at least 1; it is 0"),
        (lambda key, source: image_batch(key, source, 2, side=3), "`side` must divide .* it is 3, images are 8x8"),
        (lambda key, source: image_batch(key, source, 2, side=0), "`side` must divide"),
        (lambda key, source: patch_batch(key, source, 0), "`count` must be at least 1"),
        (lambda key, source: patch_batch(key, source, 2, patch=9), "`patch` must fit .* 8x8; it is 9"),
        (lambda key, source: patch_batch(key, source, 2, channels=2), "`channels` must be 3 .* it is 2"),
    ],
)
def test_impossible_batches_are_refused(rng, call, message):
    with pytest.raises(InputError, match=message):
        call(jax.random.key(0), array_source(random_images(rng, 5, 8)))


# Synthetic images


def spectrum(images: np.ndarray) -> np.ndarray:
    """Power of the grey images at the spatial frequencies 1 to 15 cycles an image, averaged over directions."""
    grey = images.astype(np.float64).mean(-1)
    grey -= grey.mean((1, 2), keepdims=True)
    power = np.square(np.abs(np.fft.fft2(grey))).mean(0)
    cycles = np.fft.fftfreq(32, 1 / 32)
    radius = np.rint(np.hypot(cycles[:, None], cycles)).astype(int)
    return np.array([power[radius == r].mean() for r in range(1, 16)])


def slope(power: np.ndarray) -> float:
    return np.polyfit(np.log(np.arange(1, 16)), np.log(power), 1)[0]


def test_synthetic_is_the_default_and_the_same_for_the_same_seed():
    source, again, other = open_images(), open_images("synthetic", seed=0), open_images(seed=1)
    assert (source.name, source.size, source.shape, source.crop_padding) == ("synthetic", POOL, (32, 32, 3), 4)
    assert source.fingerprint == again.fingerprint != other.fingerprint
    chosen = np.array([7, 3, 7, -1 + POOL])
    images = source.read(chosen)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, again.read(chosen))
    np.testing.assert_array_equal(images, np.stack([draw_image(0, int(index)) for index in chosen]))
    assert not np.array_equal(images, other.read(chosen))
    assert len(np.unique(source.read(np.arange(40)).reshape(40, -1), axis=0)) == 40
    with pytest.raises(IndexError):
        source.read(np.array([POOL]))


def test_a_seed_draws_the_same_pictures_in_every_release():
    # Whoever changes these changes every recorded run: raise `VERSION`, which the fingerprint holds.
    np.testing.assert_allclose(draw_image(0, 0).mean((0, 1)), [139.798, 126.284, 128.628], atol=0.05)
    np.testing.assert_allclose(draw_image(3, 511).mean((0, 1)), [184.646, 206.532, 217.015], atol=0.05)


def test_reading_hands_out_copies_of_the_pool():
    source = open_images()
    first = source.read(np.array([0]))
    first[:] = 0
    assert source.read(np.array([0])).any()


def test_synthetic_spectrum_falls_like_that_of_photographs():
    fitted = slope(spectrum(read_all(open_images())))
    assert -3.0 < fitted < -2.0
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    assert abs(slope(spectrum(noise))) < 0.1  # the measure itself: white noise is flat


def test_radii_follow_the_power_law():
    radii = _radii(np.random.default_rng(0), 20_000).astype(np.float64)
    assert radii.min() >= RADII[0] * 0.999
    assert radii.max() <= RADII[1] * 1.001
    low, high = RADII[0] ** -2.0, RADII[1] ** -2.0
    for radius in (0.06, 0.1, 0.3):
        beyond = (radius**-2.0 - high) / (low - high)
        assert abs((radii > radius).mean() - beyond) < 4 * np.sqrt(beyond * (1 - beyond) / len(radii))


def test_synthetic_statistics_are_those_of_the_images():
    source = open_images(seed=5)
    values = read_all(source).reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(values.mean(0), source.mean, atol=7)
    np.testing.assert_allclose(values.std(0), source.std, rtol=0.06)
    assert (source.mean, source.std) == STATISTICS["synthetic"]


def test_synthetic_images_resemble_cifar10():
    with np.load(outside_file("TENAS_CIFAR10")) as arrays:
        cifar = arrays["x"]
    ours = read_all(open_images())
    assert abs(slope(spectrum(ours)) - slope(spectrum(cifar))) < 0.35
    ratio = np.log10(spectrum(ours) / spectrum(cifar))
    assert (abs(ratio) < 0.35).all()
    correlations = [np.corrcoef(x.reshape(-1, 3).T.astype(np.float64)) for x in (ours, cifar)]
    assert abs(correlations[0] - correlations[1]).max() < 0.06


def test_a_first_batch_of_synthetic_images_is_quick():
    open_images(seed=1).read(np.arange(2))
    seconds = []
    for seed in (2, 3, 4):  # the best of three: the machine may be busy
        start = time.perf_counter()
        open_images(seed=seed).read(np.arange(72))
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_synthetic_images_of_another_side():
    source = open_images(side=16)
    assert source.shape == (16, 16, 3)
    assert source.crop_padding == 2
    coarse = source.read(np.array([3]))[0].astype(float)
    fine = open_images().read(np.array([3]))[0].reshape(16, 2, 16, 2, 3).mean((1, 3))
    # The same scene at another resolution: grain and edges differ, the leaves do not.
    assert np.corrcoef(coarse.ravel(), fine.ravel())[0, 1] > 0.95


def test_opening_synthetic_images_imports_nothing_heavy():
    code = (
        "import sys, jax; import tenas_jax.data as d; s = d.open_images(); d.image_batch(jax.random.key(0), s, 4);"
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'PIL', 'scipy.stats') if m in sys.modules])"
    )
    assert run_python(code) == "[]"


def run_python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


# .npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, rng, save):
    images, path = random_images(rng, 30, 12), tmp_path / "own.npz"
    save(path, y=np.arange(30), x=images)
    source = open_images(path=path)
    assert (source.name, source.size, source.shape) == (str(path), 30, (12, 12, 3))
    chosen = np.array([4, 0, 29, 4])
    np.testing.assert_array_equal(source.read(chosen), images[chosen])
    np.testing.assert_allclose(source.mean, images.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(source.std, images.std((0, 1, 2)), rtol=1e-12)
    batch = np.asarray(image_batch(jax.random.key(0), source, 30, augment=False), np.float64)
    np.testing.assert_allclose(batch.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(batch.std((0, 1, 2)), 1, atol=1e-5)


def test_npz_in_fortran_order(tmp_path, rng):
    images = random_images(rng, 3, 8)
    np.savez(tmp_path / "own.npz", x=np.asfortranarray(images))
    np.testing.assert_array_equal(read_all(open_images(path=tmp_path / "own.npz")), images)


def test_dataset_says_how_to_normalise_a_path(tmp_path, rng):
    path = tmp_path / "own.npz"
    np.savez(path, x=random_images(rng, 4, 16))
    for dataset in ("cifar10", "cifar100", "imagenet16-120", "imagenet"):
        source = open_images(dataset, path)
        assert source.name == f"{dataset}:{path}"
        assert (source.mean, source.std) == STATISTICS[dataset]
        assert source.crop_padding == 2


def test_fingerprint_is_the_sha256_of_the_file(tmp_path, rng):
    import hashlib

    path = tmp_path / "own.npz"
    np.savez(path, x=random_images(rng, 4))
    assert open_images(path=path).fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()


def test_many_images_are_summarised_by_evenly_spaced_ones(tmp_path, monkeypatch, rng):
    from tenas_jax.data import source as source_module

    images = random_images(rng, 101, 4)
    np.savez(tmp_path / "own.npz", x=images)
    monkeypatch.setattr(source_module, "STATISTICS_IMAGES", 11)
    np.testing.assert_allclose(open_images(path=tmp_path / "own.npz").mean, images[::10].mean((0, 1, 2)), rtol=1e-12)


NAN = np.full((2, 4, 4, 3), np.nan, np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 4, 4, 3), np.uint8)}, "must hold an array `x`.* it holds images"),
        ({}, "it holds nothing"),
        ({"x": np.zeros((2, 4, 4, 3), np.float32)}, "must be uint8, 0 to 255; it is float32. "),
        ({"x": NAN}, "it is float32 and holds NaN"),
        ({"x": np.zeros((2, 4, 4, 3), np.int64)}, "it is int64"),
        ({"x": np.zeros((4, 4, 3), np.uint8)}, r"shape \(n, h, w, 3\), channels last; it has \(4, 4, 3\)"),
        ({"x": np.zeros((2, 3, 4, 4), np.uint8)}, r"channels last; it has \(2, 3, 4, 4\)"),
        ({"x": np.zeros((2, 4, 4, 1), np.uint8)}, r"it has \(2, 4, 4, 1\)"),
        ({"x": np.zeros((0, 4, 4, 3), np.uint8)}, "at least one image"),
        ({"x": np.array([{"a": 1}], object)}, "must be uint8, 0 to 255; it is object"),
        ({"x": np.full((2, 4, 4, 3), 7, np.uint8)}, "the same value in every pixel"),
    ],
)
def test_wrong_npz(tmp_path, arrays, message):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message) as caught:
        open_images(path=path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_npz(tmp_path, rng, save):
    path = tmp_path / "own.npz"
    save(path, x=random_images(rng, 20))
    content = path.read_bytes()
    for damaged in (content[:5000], content[:30_000] + b"damage" + content[30_006:], b"", b"no archive at all"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"own\.npz cannot be read as an \.npz"):
            open_images(path=path)


def test_npz_whose_array_is_shorter_than_it_says(tmp_path, rng):
    buffer = io.BytesIO()
    np.save(buffer, random_images(rng, 4))
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", buffer.getvalue()[:-100])
    with pytest.raises(InputError, match=r"cannot be read as an \.npz"):
        open_images(path=path)


# Original batches


def rows(images: np.ndarray) -> np.ndarray:
    """Images as CIFAR and ImageNet16 store them: all of red, then green, then blue."""
    return np.stack([np.concatenate([image[:, :, channel].ravel() for channel in range(3)]) for image in images])


def python2_pickle(path: Path, data: np.ndarray, labels: list[int], key: str = "labels") -> None:
    """Writes what Python 2 wrote with protocol 2, in which CIFAR is published: byte strings, numpy.core, no codecs."""

    def text(value: bytes) -> bytes:
        return (
            b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + len(value).to_bytes(4, "little") + value
        )

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    dtype = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    shape = number(data.shape[0]) + number(data.shape[1]) + b"\x86"
    array += b"(" + number(1) + shape + dtype + b"\x89" + text(data.tobytes()) + b"tb"
    labelled = b"](" + b"".join(map(number, labels)) + b"e"
    content = b"\x80\x02}(" + text(b"data") + array + text(key.encode()) + labelled
    path.write_bytes(content + text(b"batch_label") + text(b"training batch \xe9") + b"u.")


def test_cifar10_folder_and_single_batch(tmp_path, rng):
    images = random_images(rng, 15)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for number in range(5):
        part = slice(3 * number, 3 * number + 3)
        python2_pickle(folder / f"data_batch_{number + 1}", rows(images[part]), [0, 1, 2])
    # The bytes above are a pickle to the standard library too.
    standard = pickle.loads((folder / "data_batch_1").read_bytes(), encoding="latin1")
    np.testing.assert_array_equal(standard["data"], rows(images[:3]))
    (folder / "batches.meta").write_bytes(b"not looked at")
    for path in (folder, tmp_path):
        source = open_images("cifar10", path)
        assert (source.size, source.shape, source.name) == (15, (32, 32, 3), f"cifar10:{path}")
        chosen = np.array([14, 0, 5, 5, 9])
        np.testing.assert_array_equal(source.read(chosen), images[chosen])
    np.testing.assert_array_equal(read_all(open_images(path=folder / "data_batch_2")), images[3:6])
    (folder / "data_batch_4").unlink()
    with pytest.raises(InputError, match="data_batch_4 is missing"):
        open_images("cifar10", folder)


def test_cifar100_folder(tmp_path, rng):
    images = random_images(rng, 4)
    python2_pickle(tmp_path / "train", rows(images), [0, 1, 2, 99], key="fine_labels")
    source = open_images("cifar100", tmp_path)
    np.testing.assert_array_equal(read_all(source), images)
    assert source.mean == (129.3, 124.1, 112.4)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_imagenet16_keeps_the_first_120_labels(tmp_path, rng, protocol):
    images = random_images(rng, 40, 16)
    labels = rng.permutation(np.repeat([1, 119, 120, 121, 1000], 8))
    for number in range(10):
        part = slice(4 * number, 4 * number + 4)
        content = {"data": rows(images[part]), "labels": labels[part].tolist(), "mean": images.mean(0).ravel()}
        (tmp_path / f"train_data_batch_{number + 1}").write_bytes(pickle.dumps(content, protocol))
    source = open_images("imagenet16-120", tmp_path)
    assert (source.size, source.shape, source.crop_padding) == (24, (16, 16, 3), 2)
    np.testing.assert_array_equal(read_all(source), images[labels <= 120])
    np.testing.assert_array_equal(read_all(open_images(path=tmp_path)), images)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_arrays_and_containers_are_read(tmp_path, protocol):
    content = {
        "a": [1, 2.5, None, True, "text", b"bytes", b""],
        "b": (np.arange(6, dtype=np.int16).reshape(2, 3), np.float32(1.5)),
        b"c": {"d": np.array(["x", "yy"])},
    }
    path = tmp_path / "content"
    path.write_bytes(pickle.dumps(content, protocol))
    loaded = load_pickle(path)
    assert loaded["a"] == content["a"]
    np.testing.assert_array_equal(loaded["b"][0], content["b"][0])
    assert loaded["b"][1] == 1.5
    np.testing.assert_array_equal(loaded[b"c"]["d"], ["x", "yy"])


class Hostile:
    """Pickles as a call of whatever it is given."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("hidden", [False, True])
def test_hostile_pickles_run_nothing(tmp_path, protocol, hidden):
    victim = tmp_path / "victim"
    hostile = [
        Hostile(os.mkdir, str(victim)),
        Hostile(eval, f"__import__('os').mkdir({str(victim)!r})"),
        Hostile(np.save, str(victim), 0),
        Hostile(getattr, "text", "format_map"),
        Hostile(np.fromfile, __file__),
    ]
    for number, attack in enumerate(hostile):
        content = {"data": np.array([attack], object) if hidden else attack, "labels": [1]}
        path = tmp_path / f"data_batch_{number}"
        path.write_bytes(pickle.dumps(content, protocol))
        with pytest.raises(InputError, match="cannot be read as a pickle of numpy arrays and plain containers"):
            open_images("cifar10", path)
        assert not list(tmp_path.glob("victim*"))
    # The same bytes do harm in the ordinary unpickler: the attack is real.
    pickle.loads(pickle.dumps(hostile[0], protocol))
    assert victim.is_dir()


def test_codecs_other_than_latin1_are_refused(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.")
    with pytest.raises(InputError, match="rot13"):
        open_images(path=tmp_path / "data_batch_1")


DATA = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must be a pickled dict with `data`.* is NoneType"),
        ({"labels": [1, 2]}, "must be a pickled dict with `data`"),
        ({"data": DATA.astype(np.float32), "labels": [1, 2]}, r"is float32 \(2, 3072\)"),
        ({"data": DATA[0], "labels": [1]}, r"is uint8 \(3072,\)"),
        ({"data": DATA[:, :3071], "labels": [1, 2]}, "square colour images .* have 3071"),
        ({"data": DATA[:, :0], "labels": [1, 2]}, "square colour images .* have 0"),
        ({"data": DATA, "labels": [1]}, "must hold `labels`, one whole number for each of its 2 images"),
        ({"data": DATA}, "must hold `labels`"),
        ({"data": DATA, "labels": [121, 122]}, "at least one image"),
    ],
)
def test_wrong_batches(tmp_path, content, message):
    path = tmp_path / "train_data_batch_1"
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(InputError, match=message):
        open_images("imagenet16-120", path)


def test_truncated_and_foreign_batches(tmp_path, rng):
    path = tmp_path / "data_batch_1"
    python2_pickle(path, rows(random_images(rng, 2)), [0, 1])
    content = path.read_bytes()
    for damaged in (content[:4000], content[:-1], b"", b"\x1f\x8b a tar file"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="data_batch_1 cannot be read as a pickle"):
            open_images("cifar10", path)


def test_batches_of_different_image_sizes(tmp_path, rng):
    for number in range(1, 6):
        data = rows(random_images(rng, 2, 16 if number == 3 else 32))
        (tmp_path / f"data_batch_{number}").write_bytes(pickle.dumps({"data": data}))
    with pytest.raises(InputError, match="must agree in image size"):
        open_images(path=tmp_path)


# Folders of pictures


def save_picture(path: Path, image: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def test_folder_of_pictures_of_one_size(tmp_path, rng):
    images = random_images(rng, 3, 10)
    for name, image in zip(("b/1.png", "a/2.PNG", "c.bmp"), images, strict=True):
        save_picture(tmp_path / name, image)
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "._c.png").write_text("hidden")
    source = open_images(path=tmp_path)
    assert (source.size, source.shape) == (3, (10, 10, 3))
    np.testing.assert_array_equal(source.read(np.array([2, 0, 1])), images[[2, 1, 0]])
    np.testing.assert_allclose(source.mean, images.mean((0, 1, 2)))


def test_grey_and_transparent_pictures_become_colour(tmp_path, rng):
    grey = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    save_picture(tmp_path / "1.png", grey)
    clear = rng.integers(0, 256, (8, 8, 4), dtype=np.uint8)
    save_picture(tmp_path / "2.png", clear)
    images = read_all(open_images(path=tmp_path))
    np.testing.assert_array_equal(images[0], np.stack([grey] * 3, -1))
    np.testing.assert_array_equal(images[1], clear[:, :, :3])


def test_pictures_of_different_sizes_are_squashed_to_32(tmp_path):
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    save_picture(tmp_path / "1.png", np.broadcast_to(ramp[None, :, None], (96, 64, 3)).copy())
    save_picture(tmp_path / "2.png", np.broadcast_to(ramp[:, None, None], (64, 128, 3)).copy())
    images = read_all(open_images("cifar10", tmp_path))
    assert images.shape == (2, 32, 32, 3)
    halved = ramp.reshape(32, 2).mean(1)
    np.testing.assert_allclose(images[0], np.broadcast_to(halved[None, :, None], (32, 32, 3)), atol=3)
    np.testing.assert_allclose(images[1], np.broadcast_to(halved[:, None, None], (32, 32, 3)), atol=3)


def test_side_cuts_the_middle_out_of_256_224ths(tmp_path):
    # A ramp from left to right: what is left of it says how far the picture was scaled and where it was cut.
    width, height, side = 512, 256, 112
    ramp = np.linspace(0, 255, width)
    save_picture(tmp_path / "1.png", np.broadcast_to(ramp.astype(np.uint8)[None, :, None], (height, width, 3)).copy())
    source = open_images("imagenet", tmp_path, side=side)
    assert source.shape == (side, side, 3)
    scale = 128 / height
    columns = ((np.arange(side) + 0.5 + (width * scale - side) / 2) / scale - 0.5) / (width - 1) * 255
    np.testing.assert_allclose(read_all(source)[0], np.broadcast_to(columns[None, :, None], (side, side, 3)), atol=1.5)
    assert open_images("imagenet", tmp_path).shape == (32, 32, 3)


def test_pictures_of_the_wanted_side_are_left_alone(rng):
    from PIL import Image

    image, file = random_images(rng, 1, 20)[0], io.BytesIO()
    Image.fromarray(image).save(file, "png")
    np.testing.assert_array_equal(decode(file.getvalue(), "it", 20, None), image)
    np.testing.assert_array_equal(decode(file.getvalue(), "it", None, 20), image)


def test_unreadable_pictures_are_named(tmp_path, rng):
    for name in ("1.png", "2.png"):
        save_picture(tmp_path / name, random_images(rng, 1)[0])
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2\.png cannot be read as an image"):
        open_images("cifar10", tmp_path)
    (tmp_path / "2.png").write_bytes(whole[:600])  # the header is whole, the pixels are not
    source = open_images("cifar10", tmp_path)
    with pytest.raises(InputError, match=r"2\.png cannot be read as an image"):
        read_all(source)


def test_folder_fingerprint_follows_names_and_sizes(tmp_path, rng):
    save_picture(tmp_path / "1.png", random_images(rng, 1, 8)[0])
    first = open_images(path=tmp_path).fingerprint
    assert first == open_images(path=tmp_path).fingerprint
    (tmp_path / "1.png").rename(tmp_path / "2.png")
    assert first != open_images(path=tmp_path).fingerprint


# tensorflow-datasets


def encoded_png(image: np.ndarray) -> io.BytesIO:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    file.seek(0)
    return file


def prepare(data_dir: Path, name: str, version: str, images: list[np.ndarray], labels: list[int], features) -> None:
    """Writes a data set in tensorflow-datasets' own format, two shards of array_record, by its own tools."""
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordWriter

    folder = data_dir / name / version
    folder.mkdir(parents=True)
    base, half = name.split("/")[0], len(images) // 2
    shards = [range(half), range(half, len(images))]
    for number, shard in enumerate(shards):
        writer = ArrayRecordWriter(str(folder / f"{base}-train.array_record-0000{number}-of-00002"), "group_size:1")
        for index in shard:
            example = {"image": encoded_png(images[index]), "label": labels[index]}
            example |= {key: f"{key} {index}" for key in features if key not in example}
            writer.write(features.serialize_example(features.encode_example(example)))
        writer.close()
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=base, split="train", filetype_suffix="array_record"
    )
    split = tfds.core.SplitInfo(
        name="train", shard_lengths=[len(shard) for shard in shards], num_bytes=0, filename_template=template
    )
    tfds.folder_dataset.write_metadata(data_dir=folder, features=features, split_infos=[split], check_data=False)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with tiny data sets of three of the names, and the images in them."""
    import tensorflow_datasets as tfds

    generator, folder = np.random.default_rng(1), tmp_path_factory.mktemp("tfds")
    text, label = tfds.features.Text(), tfds.features.ClassLabel(num_classes=1000)
    contents = {}
    for dataset, side in (("cifar10", 32), ("imagenet16-120", 16)):
        contents[dataset] = list(random_images(generator, 20, side))
    contents["imagenet"] = [generator.integers(0, 256, (40 + n, 70 - n, 3), dtype=np.uint8) for n in range(6)]
    image = tfds.features.Image(shape=(32, 32, 3), encoding_format="png")
    features = tfds.features.FeaturesDict(
        {"image": image, "label": tfds.features.ClassLabel(num_classes=10), "id": text}
    )
    prepare(folder, "cifar10", "3.0.2", contents["cifar10"], [n % 10 for n in range(20)], features)
    image = tfds.features.Image(shape=(16, 16, 3), encoding_format="png")
    features = tfds.features.FeaturesDict({"image": image, "label": label})
    labels = [119 + n % 3 for n in range(20)]
    prepare(folder, "imagenet_resized/16x16", "0.1.0", contents["imagenet16-120"], labels, features)
    image = tfds.features.Image(encoding_format="png")
    features = tfds.features.FeaturesDict({"image": image, "label": label, "file_name": text})
    prepare(folder, "imagenet2012", "5.1.0", contents["imagenet"], [0] * 6, features)
    return folder, contents


def test_cifar10_from_tensorflow_datasets(prepared):
    folder, contents = prepared
    source = open_images("cifar10", data_dir=folder)
    assert (source.name, source.size, source.shape) == ("cifar10", 20, (32, 32, 3))
    assert (source.mean, source.std) == STATISTICS["cifar10"]
    chosen = np.array([13, 2, 19, 2])
    np.testing.assert_array_equal(source.read(chosen), [contents["cifar10"][index] for index in chosen])
    assert image_batch(jax.random.key(0), source, 20).shape == (20, 32, 32, 3)
    assert source.read(np.array([], int)).shape == (0, 32, 32, 3)


def test_tensorflow_datasets_are_read_without_tensorflow_and_found_by_the_environment(prepared):
    code = (
        "import sys, numpy as np; from tenas_jax.data import open_images;"
        "s = open_images('cifar10'); print(s.read(np.arange(20)).astype(int).sum(), 'tensorflow' in sys.modules)"
    )
    expected = np.stack(prepared[1]["cifar10"]).astype(int).sum()
    assert run_python(code, TFDS_DATA_DIR=str(prepared[0])) == f"{expected} False"


def test_imagenet16_120_from_tensorflow_datasets_keeps_labels_below_120(prepared, monkeypatch):
    folder, contents = prepared
    source = open_images("imagenet16-120", data_dir=folder)
    assert (source.size, source.shape, source.crop_padding) == (7, (16, 16, 3), 2)
    np.testing.assert_array_equal(read_all(source), contents["imagenet16-120"][::3])
    monkeypatch.setattr(prepared_module, "LABELLED_POOL", 4)
    np.testing.assert_array_equal(
        read_all(open_images("imagenet16-120", data_dir=folder)), contents["imagenet16-120"][:12:3]
    )


def test_imagenet_from_tensorflow_datasets_is_resized(prepared):
    from PIL import Image

    folder, contents = prepared
    source = open_images("imagenet", data_dir=folder)
    expected = [Image.fromarray(x).resize((32, 32), Image.Resampling.BILINEAR) for x in contents["imagenet"]]
    np.testing.assert_array_equal(read_all(source), np.stack([np.asarray(x) for x in expected]))
    real = open_images("imagenet", data_dir=folder, side=28)
    assert real.shape == (28, 28, 3)
    assert real.fingerprint != source.fingerprint


def test_a_data_set_that_is_not_prepared_says_how_to(tmp_path, monkeypatch):
    import urllib.request

    # A host name that no resolver knows (RFC 2606): no network is touched, and no download begins.
    monkeypatch.setitem(prepared_module.PREPARED, "cifar100", Prepared("cifar100", "download.invalid"))
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    with pytest.raises(InputError, match=r"download\.invalid cannot be reached.*download_and_prepare.*--data PATH"):
        open_images("cifar100", data_dir=tmp_path)


def test_a_data_set_prepared_without_random_access_is_refused(tmp_path, prepared):
    import shutil

    folder = tmp_path / "cifar10" / "3.0.2"
    shutil.copytree(prepared[0] / "cifar10" / "3.0.2", folder)
    for path in list(folder.glob("*array_record*")):
        path.rename(folder / path.name.replace("array_record", "tfrecord"))
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(InputError, match=r"[Rr]andom access.*TFRECORD.*in a new folder DIR.*array_record"):
        open_images("cifar10", data_dir=tmp_path)


def test_damaged_records_are_refused(tmp_path, prepared):
    import shutil

    folder = tmp_path / "cifar10" / "3.0.2"
    shutil.copytree(prepared[0] / "cifar10" / "3.0.2", folder)
    for path in folder.glob("*array_record*"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        InputError, match=r"records of cifar10 in .*3\.0\.2 cannot be read .*prepare the data set again"
    ):
        open_images("cifar10", data_dir=tmp_path)


# Names


def test_unknown_names_and_places(tmp_path):
    with pytest.raises(InputError, match=f"must be one of {', '.join(DATASETS)}; it is 'cifar11'"):
        open_images("cifar11")
    with pytest.raises(InputError, match="nowhere does not exist"):
        open_images("cifar10", tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no images"):
        open_images(path=tmp_path)
    with pytest.raises(InputError, match="drawn and not read"):
        open_images("synthetic", tmp_path)
    with pytest.raises(InputError, match="must not be negative; it is -1"):
        open_images(seed=-1)
    with pytest.raises(InputError, match="at least 1 pixel; it is 0"):
        open_images(side=0)


def test_side_is_refused_where_images_have_a_fixed_size(tmp_path, rng):
    np.savez(tmp_path / "own.npz", x=random_images(rng, 4))
    for arguments in ({"path": tmp_path / "own.npz"}, {"dataset": "cifar10"}):
        with pytest.raises(InputError, match="images of a fixed size"):
            open_images(**arguments, side=16)


def test_every_error_is_one_paragraph(tmp_path):
    with pytest.raises(InputError) as caught:
        open_images(path=tmp_path / "nowhere")
    assert "\n" not in str(caught.value)
