"""Batches as a function of the step: nothing is to be saved but the step, and workers can make them in any order.

Grain reads ahead, in a thread or in worker processes, and its record is a whole batch: NumPy makes all images of one at a
time, where grain's own maps would call Python for each.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tenas_jax.data.labelled import LabelledImages
from tenas_jax.train.augment import augment, draw, normalised, shrunk
from tenas_jax.train.recipe import Recipe

AHEAD = 4  # batches that wait


class Batch(NamedTuple):
    """Images that a step takes.

    Attributes:
        images: float32 (b, h, w, 3).
        labels: int32 (b,).
        counts: float32 (b,): 0 for a row that only fills up the last batch of an evaluation.
    """

    images: Any
    labels: Any
    counts: Any


class TrainBatches:
    """All batches of a training, by step.

    Every epoch goes through a permutation of its own, and leaves out the images behind the last whole batch.
    """

    def __init__(self, data: LabelledImages, recipe: Recipe, seed: int, rows: slice = slice(None)):
        """Draws nothing yet.

        Args:
            data: the training images.
            recipe: batch size and augmentation.
            seed: decides order and augmentation.
            rows: of every batch, what this process holds.
        """
        self.data, self.recipe, self.seed, self.rows = data, recipe, seed, rows
        self.steps = len(data) // recipe.batch
        self.padding = data.source.crop_padding if recipe.crop is None else recipe.crop

    def __len__(self) -> int:
        return self.steps * self.recipe.epochs

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step.

        Args:
            step: counted from 0 over all epochs.
        """
        epoch, place = divmod(int(step), self.steps)
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.data))
        indices = order[place * self.recipe.batch : (place + 1) * self.recipe.batch]
        side = self.recipe.side(self.data.source.shape)
        rng = np.random.default_rng([self.seed, 1, epoch, place])
        draws = draw(rng, len(indices), self.recipe, side, self.padding).rows(self.rows)
        mine, source = indices[self.rows], self.data.source
        images = augment(
            shrunk(self.data.read(mine), self.recipe.shrink), draws, self.recipe, source.mean, source.std, self.padding
        )
        return Batch(images, self.data.labels[mine].astype(np.int32), np.ones(len(mine), np.float32))


class EvaluationBatches:
    """All images in order, the last batch filled up with rows that do not count."""

    def __init__(self, data: LabelledImages, recipe: Recipe, rows: slice = slice(None)):
        """Reads nothing yet.

        Args:
            data: the images.
            recipe: batch size, and which size images have; of those that are cut at random in training the middle is taken.
            rows: of every batch, what this process holds.
        """
        self.data, self.batch, self.recipe, self.rows = data, recipe.batch, recipe, rows

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch)

    def __getitem__(self, number: int) -> Batch:
        """One batch.

        Args:
            number: counted from 0.
        """
        wanted = np.arange(number * self.batch, (number + 1) * self.batch)[self.rows]
        indices = np.minimum(wanted, len(self.data) - 1)
        images = shrunk(self.data.read(indices), self.recipe.shrink)
        if crop := self.recipe.resized_crop:
            top, left = ((side - crop) // 2 for side in images.shape[1:3])
            images = images[:, top : top + crop, left : left + crop]
        source = self.data.source
        counts = (wanted < len(self.data)).astype(np.float32)
        return Batch(normalised(images, source.mean, source.std), self.data.labels[indices].astype(np.int32), counts)


def stream(batches: TrainBatches | EvaluationBatches, start: int = 0, workers: int = 0) -> Iterator[Batch]:
    """Batches in order, made ahead of time beside the steps.

    Args:
        batches: by number.
        start: the first one.
        workers: processes that make them; 0 for a thread of this one.
    """
    import grain

    source = grain.MapDataset.source(batches)[start:]  # pyright: ignore[reportArgumentType] (has what the protocol asks for)
    read = source.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=AHEAD))
    if workers:
        read = read.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=AHEAD))
    return iter(read)
