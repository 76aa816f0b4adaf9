"""How far kernels behind a max pooling are from drawn ones, which have no closed form, and what they cost.

    python benchmarks/ntk_max_pooling.py [--seeds 5] [--draws 100000] [--genotypes 16]

Images of 4 x 4, a 3 x 3 convolution, a 3 x 3 max pooling, a ReLU: the covariance K and the tangent kernel T behind them by
1024 drawn channels, by moments, and with an average in place of the maximum, against independent draws of NumPy. Then whole
kernels of random DARTS genotypes by moments and with averages: seconds of compiling and milliseconds a genotype. Writes
`results/ntk_max_pooling.json`: differences in the Frobenius norm, relative to the drawn kernel.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.averaged_pools import WITHOUT_MAXIMA, averaged_pools
from common.records import write
from common.statistics import mean_and_error
from tenas_jax import DARTS, analytic_ntk
from tenas_jax.data import image_batch, open_images
from tenas_jax.ntk.gaussian_kernels import Batch, Settings, input_kernels, square
from tenas_jax.ntk.gaussian_maps import gaussian_field
from tenas_jax.ntk.kernel_reading import KernelReading

IMAGES, SIDE = 6, 4
WAYS = {"sampled": "max_pool", "moments": "max_pool", "averages": "average_pool"}


def drawn(kernel: np.ndarray, tangent: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """K and T behind a 3 x 3 max pooling, padded by one, and a ReLU.

    Args:
        kernel: covariance in front of them, (images * pixels, the same).
        tangent: tangent kernel in front of them.
        count: how many channels are drawn.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    roots = []
    for matrix in (kernel, tangent):
        eigenvalues, vectors = np.linalg.eigh(matrix)
        roots.append(vectors * np.sqrt(np.maximum(eigenvalues, 0)))
    sums = np.zeros((2, *kernel.shape))
    for _ in range(0, count, 5000):
        noise = rng.normal(size=(2, 5000, len(kernel)))
        value, passing = (
            np.pad((n @ root.T).reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)), constant_values=fill)
            for n, root, fill in zip(noise, roots, (-np.inf, 0.0), strict=True)
        )
        windows = [
            np.lib.stride_tricks.sliding_window_view(a, (3, 3), (1, 2)).reshape(*a.shape[:1], SIDE**2, 9)
            for a in (value, passing)
        ]
        largest = windows[0].argmax(-1)[..., None]
        maximum, passed = (np.take_along_axis(w, largest, -1)[..., 0].reshape(5000, -1) for w in windows)
        for total, output in zip(sums, (np.maximum(maximum, 0), passed * (maximum > 0)), strict=True):
            total += output.T @ output
    return sums[0] / count, sums[1] / count


def errors(seed: int, draws: int) -> dict[str, dict[str, float]]:
    """Relative errors of K and T on one batch of synthetic images."""
    images = image_batch(jax.random.key(seed), open_images(seed=seed), IMAGES, side=SIDE)
    batch = Batch.of(IMAGES)
    before, found = None, {}
    for way, pooling in WAYS.items():
        read = KernelReading(batch, Settings(maxima="moments" if way == "moments" else "sampled"))
        x = read.convolution("", gaussian_field(input_kernels(images, batch), SIDE, 3), 4, kernel=3)
        y = read.relu(getattr(read, pooling)(x, window=3, stride=1, padding=1))
        before, found[way] = (
            [np.asarray(square(jnp.asarray(field.fresh)[i, 0], batch), float) for i in (0, 1)] for field in (x, y)
        )
    assert before is not None
    expected = drawn(before[0], before[1], draws, seed)
    return {
        way: {
            name: float(np.linalg.norm(one - wanted) / np.linalg.norm(wanted))
            for name, one, wanted in zip(("K", "T"), kernels, expected, strict=True)
        }
        for way, kernels in found.items()
    }


def cost(count: int) -> dict[str, dict[str, float]]:
    """Of the kernels of random genotypes, 8 images of 4 x 4, a normal and a reduction cell."""
    images = jnp.asarray(image_batch(jax.random.key(0), open_images(), 8, side=SIDE))
    sampled = np.asarray(DARTS.sample(jax.random.key(0), count))
    found = {}
    for way in ("moments", "averages"):
        space = DARTS if way == "moments" else WITHOUT_MAXIMA
        masks = jnp.asarray(sampled if way == "moments" else averaged_pools(sampled))
        settings = Settings("standard", maxima="moments")
        program = jax.jit(
            lambda mask, space=space, settings=settings: analytic_ntk(space, mask, images, settings=settings)
        )
        start = time.perf_counter()
        program(masks[0]).block_until_ready()
        compiled = time.perf_counter() - start
        seconds = []
        for mask in masks:
            start = time.perf_counter()
            program(mask).block_until_ready()
            seconds.append(time.perf_counter() - start)
        found[way] = {"compile_seconds": round(compiled, 1), "milliseconds": round(1000 * float(np.median(seconds)), 2)}
        print(way, found[way], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--genotypes", type=int, default=16)
    arguments = parser.parse_args()
    found = [errors(seed, arguments.draws) for seed in range(arguments.seeds)]
    by_way = {way: {name: mean_and_error([one[way][name] for one in found]) for name in ("K", "T")} for way in WAYS}
    content: dict[str, Any] = {
        "what": "relative Frobenius error of the kernels behind one 3 x 3 max pooling and a ReLU, over batches of images",
        "images": IMAGES,
        "side": SIDE,
        "draws": arguments.draws,
        "relative_error": by_way["sampled"],
        "relative_error_by_way": by_way,
        "genotypes": arguments.genotypes,
        "whole_kernels": cost(arguments.genotypes),
    }
    print(by_way)
    write("ntk_max_pooling", content)


if __name__ == "__main__":
    main()
