"""All cells of NAS-Bench-201 once for every draw: raw kernels and distances of patterns, kept outside the repository.

    python benchmarks/rank_cells.py CACHE NAME SEED [SEED ...] [--data IMAGES.npz]

The experiments that choose scores (`ntk_hunt.py`) read these files, so that a statistic costs no new kernels. CACHE is
a folder; NAME one of `KERNELS` or `PATTERNS`; a file that is there is not computed again. TransNAS-Bench-101's micro cells
are NAS-Bench-201's without pooling, so the same files serve both.
"""

import argparse
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tenas_jax import NAS_BENCH_201
from tenas_jax.data import ImageSource, image_batch, open_images, patch_batch
from tenas_jax.ntk.gaussian_kernels import Batch, Settings, input_kernels
from tenas_jax.ntk.gaussian_maps import gaussian_field, realise
from tenas_jax.ntk.kernel_reading import KernelReading
from tenas_jax.patterns.hamming import hamming_kernel
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.programs import finite_network
from tenas_jax.spaces import equal_cells
from tenas_jax.spaces.network import network
from tenas_jax.spaces.skeleton import Skeleton


class Kernel(NamedTuple):
    """An analytic kernel; the defaults are one cell without batch norm.

    Attributes:
        settings: which limit is taken.
        stages: with a residual reduction between two of them.
        cells: a stage.
        channels: of the first stage.
        images: of a batch.
        side: of the images in pixels.
    """

    settings: Settings = Settings("standard", "none")
    stages: int = 1
    cells: int = 1
    channels: int = 16
    images: int = 16
    side: int = 4


class Patterns(NamedTuple):
    """Activation patterns of a thin network of one stage on colour patches, or on whole images pooled to the side.

    Attributes:
        channels: of the network.
        cells: of the network.
        side: of the patches.
        samples: how many.
        whole: images in place of patches.
    """

    channels: int = 16
    cells: int = 1
    side: int = 3
    samples: int = 128
    whole: bool = False


MEAN_FIELD, EXACT = Settings("standard"), Settings("standard", "exact")
KERNELS = {
    "none": Kernel(),
    "none_64": Kernel(images=64),
    "none_32": Kernel(images=32),
    "none_8_of_8x8": Kernel(images=8, side=8),
    "none_stem": Kernel(channels=0),
    "none_ntk": Kernel(Settings("ntk", "none")),
    "none_2_cells": Kernel(cells=2),
    "none_3_cells": Kernel(cells=3),
    "none_2_stages": Kernel(stages=2),
    "none_3_stages": Kernel(stages=3),
    "mean_field": Kernel(MEAN_FIELD),
    "mean_field_3_cells": Kernel(MEAN_FIELD, cells=3, images=8),
    "mean_field_3_stages": Kernel(MEAN_FIELD, stages=3, images=8),
    "mean_field_3_stages_of_16": Kernel(MEAN_FIELD, stages=3),
    "exact": Kernel(EXACT, images=8),
}
PATTERNS = {
    "wide": Patterns(),
    "deep": Patterns(3, 3),
    "wide_2_cells": Patterns(16, 2),
    "wide_3_cells": Patterns(16, 3),
    "8_channels_3_cells": Patterns(8, 3),
    "deep_5_cells": Patterns(3, 5),
    "thin": Patterns(3, 1),
    "images": Patterns(16, 1, 8, 64, True),
}


@cache
def cells() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All architectures (m, 1, 6, 5), the connected distinct ones, and which of those each is (-1: disconnected)."""
    masks = np.stack(list(NAS_BENCH_201.enumerate()))
    equal = equal_cells.representatives(NAS_BENCH_201, masks)
    flat, places = np.unique(equal.reshape(len(equal), -1), axis=0, return_inverse=True)
    distinct = flat.reshape(-1, *NAS_BENCH_201.mask_shape)
    connected = np.array([NAS_BENCH_201.is_connected(mask) for mask in distinct])
    numbers = np.where(connected, np.cumsum(connected) - 1, -1)
    return masks, distinct[connected], numbers[places.ravel()]


def source_of(seed: int, data: Path | None) -> ImageSource:
    """Synthetic images of the seed, or CIFAR-10's."""
    return open_images("cifar10", data) if data else open_images(seed=seed)


def kernels(choice: Kernel, source: ImageSource, seed: int) -> np.ndarray:
    """NNGP kernel and NTK (m, 2, pairs) of all distinct cells, pairs as `np.triu_indices(images)`."""
    images = np.asarray(image_batch(jax.random.key(seed), source, choice.images, side=choice.side))
    skeleton = Skeleton(choice.channels, choice.cells, choice.stages)

    def both(mask, images):
        batch = Batch.of(len(images))
        x = gaussian_field(input_kernels(images, batch), images.shape[1], images.shape[-1])
        output = network(KernelReading(batch, choice.settings), NAS_BENCH_201, mask, x, skeleton)
        return jnp.asarray(realise(output))[:, 0, 0, 0, np.lexsort((batch.second, batch.first))]

    return MaskProgram(both)(cells()[1], images)


def distances(choice: Patterns, source: ImageSource, seed: int) -> np.ndarray:
    """Hamming distances (m, pairs) of the patterns of all distinct cells."""
    space = NAS_BENCH_201
    skeleton = Skeleton(choice.channels, choice.cells, stages=1, stem=choice.whole, classes=0)
    net = finite_network(space, skeleton, "fan_in")
    drawn, weights, mixing = jax.random.split(jax.random.key(seed), 3)
    if choice.whole:
        inputs = image_batch(drawn, source, choice.samples, side=choice.side)
    else:
        inputs = patch_batch(drawn, source, choice.samples, patch=choice.side, channels=3)
        if choice.channels != 3:
            mix = jax.random.normal(mixing, (3, choice.channels), inputs.dtype)
            inputs = jnp.dot(inputs, mix, precision="highest")
    variables = net.init(weights, inputs, np.ones(space.mask_shape, bool))
    pairs = np.triu_indices(choice.samples, 1)

    def once(mask, inputs):
        bits: Any = net.apply(variables, inputs, mask, method="activation_bits")
        return (bits.shape[1] - hamming_kernel(bits))[pairs].astype(np.uint16)

    return MaskProgram(once)(cells()[1], np.asarray(inputs))


def load(cache: Path, name: str, seed: int, images: str = "synthetic") -> np.ndarray:
    """What a file of the cache holds."""
    return np.load(cache / f"{name}_{images}_{seed}.npy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("name", choices=[*KERNELS, *PATTERNS])
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--data", type=Path, help="an .npz of CIFAR-10 images; without it synthetic images")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        path = arguments.cache / f"{arguments.name}_{'cifar10' if arguments.data else 'synthetic'}_{seed}.npy"
        if path.exists():
            continue
        start, source = time.perf_counter(), source_of(seed, arguments.data)
        if arguments.name in KERNELS:
            found = kernels(KERNELS[arguments.name], source, seed)
        else:
            found = distances(PATTERNS[arguments.name], source, seed)
        np.save(path, found)
        print(path.name, found.shape, found.dtype, f"{time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
