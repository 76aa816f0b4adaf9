"""Augmentations, schedules, smoothing and batches against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.data.labelled import LabelledImages, open_labelled
from tenas_jax.data.source import ImageSource
from tenas_jax.errors import InputError
from tenas_jax.train.augment import (
    GREY,
    augment,
    cut_out,
    draw,
    jittered,
    resized_parts,
    shifted,
    shrunk,
)
from tenas_jax.train.batches import EvaluationBatches, TrainBatches, stream
from tenas_jax.train.optimiser import loss, optimiser, schedule
from tenas_jax.train.recipe import Recipe

PLAIN = Recipe(epochs=2, batch=4, rate=0.1, weight_decay=0.0)


@pytest.fixture
def pixels(rng):
    return rng.integers(256, size=(10, 6, 8, 3), dtype=np.uint8)


def labelled(pixels):
    source = ImageSource(
        "test", len(pixels), pixels.shape[1:], lambda i: pixels[i], (10.0, 20.0, 30.0), (2.0, 4.0, 8.0), "0", 1
    )
    return LabelledImages(source, np.arange(len(pixels)) % 3, 3, np.arange(len(pixels)))


def test_shifts_cut_from_a_black_border(pixels):
    places = np.array([[0, 0], [2, 2], [4, 1]] + [[2, 2]] * 7)
    found = shifted(pixels, places, 2)
    assert not found[0, :2].any()
    assert not found[0, :, :2].any()
    np.testing.assert_array_equal(found[0, 2:, 2:], pixels[0, :4, :6])
    np.testing.assert_array_equal(found[1], pixels[1])
    np.testing.assert_array_equal(found[2, :4, 1:], pixels[2, 2:, :7])


def test_cutout_blanks_a_square_around_its_middle(rng):
    values = rng.normal(size=(3, 8, 8, 2)) + 10
    found = cut_out(values, np.array([[4, 4], [0, 7], [2, 3]]), 4)
    expected = values.copy()
    expected[0, 2:6, 2:6] = 0
    expected[1, 0:2, 5:8] = 0
    expected[2, 0:4, 1:5] = 0
    np.testing.assert_array_equal(found, expected)


def test_jitter_is_a_mixture_with_black_mean_grey_and_grey(rng):
    values = rng.uniform(60, 120, (3, 4, 4, 3))
    one, order = 1.0, np.tile([0, 1, 2], (3, 1))
    factors = np.array([[0.5, one, one], [one, 1.2, one], [one, one, 0.3]])
    found = jittered(values, factors, order)
    grey = values @ np.array(GREY)
    np.testing.assert_allclose(found[0], 0.5 * values[0])
    np.testing.assert_allclose(found[1], 1.2 * values[1] - 0.2 * grey[1].mean())
    np.testing.assert_allclose(found[2], 0.3 * values[2] + 0.7 * grey[2][..., None])


def test_jitter_keeps_to_its_order_and_to_the_scale():
    values = np.full((1, 1, 1, 3), 200.0)
    found = jittered(values, np.array([[2.0, 0.5, 1.0]]), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(found, 255.0)


def test_resized_parts_of_a_flat_half(pixels):
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[:, :, 4:] = 200
    np.testing.assert_array_equal(resized_parts(image, np.array([[0, 0.5, 1, 0.5]]), 4), np.full((1, 4, 4, 3), 200))
    np.testing.assert_array_equal(
        resized_parts(pixels[:, :6, :6], np.tile([0.0, 0, 1, 1], (10, 1)), 6), pixels[:, :6, :6]
    )


def test_shrinking_averages(pixels):
    expected = pixels[:, :6, :8].astype(float)
    expected = (expected[:, ::2] + expected[:, 1::2]) / 2
    expected = (expected[:, :, ::2] + expected[:, :, 1::2]) / 2
    np.testing.assert_allclose(shrunk(pixels, 2), expected, rtol=1e-6)


def test_draws_have_the_frequencies_that_are_asked_for():
    rng, recipe = np.random.default_rng(1), Recipe(1, 1, 0.1, 0, jitter=0.4)
    draws = draw(rng, 20000, recipe, (6, 8), 2)
    assert abs(draws.flip.mean() - 0.5) < 4 * 0.5 / np.sqrt(20000)
    for values, count in ((draws.shift[:, 0], 5), (draws.cutout[:, 0], 6), (draws.cutout[:, 1], 8)):
        found = np.bincount(values, minlength=count) / 20000
        assert len(found) == count
        assert np.abs(found - 1 / count).max() < 4 * np.sqrt(1 / count / 20000)
    assert draws.jitter.min() >= 0.6
    assert draws.jitter.max() <= 1.4
    area = draws.part[:, 2] * draws.part[:, 3]
    assert area.min() > 0.03
    assert (draws.part[:, :2] + draws.part[:, 2:] <= 1 + 1e-12).all()


def test_without_augmentation_images_are_normalised(pixels):
    draws = draw(np.random.default_rng(0), 10, Recipe(1, 1, 0.1, 0, flip=False), (6, 8), 0)
    found = augment(pixels, draws, Recipe(1, 1, 0.1, 0, flip=False), (1.0, 2.0, 3.0), (2.0, 2.0, 4.0), 0)
    np.testing.assert_allclose(found, (pixels - np.array([1.0, 2, 3])) / np.array([2.0, 2, 4]), rtol=1e-6)


def test_a_batch_is_a_function_of_its_step(pixels):
    batches = TrainBatches(labelled(pixels), PLAIN, seed=3)
    assert len(batches) == 4
    one, again = batches[3], TrainBatches(labelled(pixels), PLAIN, seed=3)[3]
    np.testing.assert_array_equal(one.images, again.images)
    assert not np.array_equal(one.images, TrainBatches(labelled(pixels), PLAIN, seed=4)[3].images)


def test_processes_share_the_batch_of_one(pixels):
    whole = TrainBatches(labelled(pixels), PLAIN, seed=3)[1]
    halves = [TrainBatches(labelled(pixels), PLAIN, seed=3, rows=slice(start, start + 2))[1] for start in (0, 2)]
    for place in range(3):
        np.testing.assert_array_equal(whole[place], np.concatenate([half[place] for half in halves]))


def test_an_epoch_sees_images_once(pixels):
    batches = TrainBatches(labelled(pixels), PLAIN, seed=0)
    order = np.concatenate([batches[0].labels, batches[1].labels])
    assert len(order) == 8
    assert np.bincount(order, minlength=3).max() <= 4


def test_streams_are_the_batches_from_any_step(pixels):
    batches = TrainBatches(labelled(pixels), PLAIN, seed=0)
    for number, batch in zip(range(2, 4), stream(batches, 2), strict=True):
        np.testing.assert_array_equal(batch.images, batches[number].images)


def test_evaluation_counts_every_image_once(pixels):
    batches = EvaluationBatches(labelled(pixels), PLAIN)
    found = [batches[number] for number in range(len(batches))]
    assert sum(batch.counts.sum() for batch in found) == 10
    assert all(len(batch.images) == 4 for batch in found)
    seen = np.concatenate([batch.labels[batch.counts > 0] for batch in found])
    np.testing.assert_array_equal(seen, labelled(pixels).labels)


def test_schedules_by_hand():
    cosine = schedule(Recipe(epochs=10, batch=1, rate=0.4, weight_decay=0, warmup_epochs=2), 5)
    np.testing.assert_allclose([cosine(step) for step in (0, 4, 9)], [0.04, 0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose([cosine(10), cosine(30), cosine(50)], [0.4, 0.2, 0.0], atol=1e-7)
    linear = schedule(Recipe(epochs=10, batch=1, rate=0.5, weight_decay=0, schedule="linear"), 1)
    np.testing.assert_allclose([linear(step) for step in (0, 5, 10)], [0.5, 0.25, 0.0], atol=1e-7)


def test_decay_may_leave_norms_out():
    recipe = Recipe(epochs=1, batch=1, rate=1.0, weight_decay=0.1, momentum=0, decay_norms=False)
    weights = {"a.kernel": jnp.ones(1), "a.scale": jnp.ones(1), "a.bias": jnp.ones(1)}
    ours = optimiser(recipe, 10)
    updates, _ = ours.update({name: jnp.zeros(1) for name in weights}, ours.init(weights), weights)
    assert {name: float(value[0]) for name, value in updates.items()} == {"a.kernel": -0.1, "a.scale": 0, "a.bias": 0}


def test_accumulated_gradients_are_averaged():
    recipe = Recipe(epochs=2, batch=1, rate=1.0, weight_decay=0, momentum=0, accumulate=2)
    weights, ours = {"a": jnp.zeros(1)}, optimiser(recipe, 4)
    state = ours.init(weights)
    with jax.numpy_dtype_promotion("standard"):  # optax's MultiSteps divides by a whole number
        first, state = ours.update({"a": jnp.full(1, 1.0)}, state, weights)
        second, _ = ours.update({"a": jnp.full(1, 3.0)}, state, weights)
    assert float(first["a"][0]) == 0
    np.testing.assert_allclose(second["a"], [-2.0])


def test_smoothed_loss_by_hand():
    logits, labels = jnp.array([[1.0, 2.0, 0.5, -1.0]]), jnp.array([2])
    logs = np.asarray(logits[0]) - np.log(np.exp(np.asarray(logits[0])).sum())
    expected = -(0.9 * logs[2] + 0.1 * logs.mean())
    np.testing.assert_allclose(loss(logits, labels, 0.1), [expected], rtol=1e-12)


def test_a_split_shares_no_image(pixels):
    one, other = labelled(pixels).split(0.3, 0)
    assert sorted([*one.chosen, *other.chosen]) == list(range(10))
    assert len(other) == 3
    np.testing.assert_array_equal(other.read(np.array([1])), pixels[other.chosen[1]][None])
    with pytest.raises(InputError, match="leaves a part empty"):
        labelled(pixels).split(0.01, 0)


def test_classes_from_files(tmp_path, pixels):
    import pickle

    from PIL.Image import fromarray

    labels = np.arange(10) % 4
    np.savez(tmp_path / "a.npz", x=pixels, y=labels)
    np.testing.assert_array_equal(open_labelled(path=tmp_path / "a.npz").labels, labels)
    square = pixels[:, :6, :6]
    rows = {"data": square.transpose(0, 3, 1, 2).reshape(10, -1), "labels": labels.tolist()}
    (tmp_path / "cifar").mkdir()
    for number in range(1, 6):
        (tmp_path / "cifar" / f"data_batch_{number}").write_bytes(pickle.dumps(rows))
    (tmp_path / "cifar" / "test_batch").write_bytes(pickle.dumps(rows | {"labels": labels[::-1].tolist()}))
    found = open_labelled("cifar10", tmp_path / "cifar")
    assert len(found) == 50
    np.testing.assert_array_equal(found.labels[:10], labels)
    np.testing.assert_array_equal(open_labelled("cifar10", tmp_path / "cifar", test=True).labels, labels[::-1])
    for name in ("cat", "ant"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        fromarray(square[0]).save(tmp_path / "folder" / name / "1.png")
    np.testing.assert_array_equal(open_labelled(path=tmp_path / "folder").labels, [0, 1])


@pytest.mark.parametrize(
    ("members", "word"),
    [({}, "an array `y`"), ({"y": np.zeros(3, int)}, "a whole number for each"), ({"y": np.full(10, -1)}, "from 0"),
     ({"y": np.array([object()] * 10)}, "cannot be read")],
)  # fmt: skip
def test_bad_classes_are_refused(tmp_path, pixels, members, word):
    np.savez(tmp_path / "a.npz", x=pixels, **members)
    with pytest.raises(InputError, match=word):
        open_labelled(path=tmp_path / "a.npz")


def test_images_without_classes_are_refused(tmp_path, pixels):
    from PIL.Image import fromarray

    with pytest.raises(InputError, match="synthetic images have no classes"):
        open_labelled("synthetic")
    fromarray(pixels[0]).save(tmp_path / "1.png")
    with pytest.raises(InputError, match="a folder of pictures for each class"):
        open_labelled(path=tmp_path)
