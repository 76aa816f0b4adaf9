"""How far the kernels of maxima of what comes out of ReLUs are from drawn ones: cells of NAS-Bench-101 pool there.

    python benchmarks/ntk_relu_maxima.py [--seeds 5] [--draws 20000]

Images of 4 x 4, a 3 x 3 convolution, a ReLU: the second moment K and the tangent kernel T of its 3 x 3 max pooling, of that
of a sum of two such fields, of the sum of a field and of its own maximum, and, without any maximum, of the sum of two
fields, against independent draws of NumPy. Writes `results/ntk_relu_maxima.json`: differences in the Frobenius norm,
relative to the drawn kernel.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.records import write
from common.statistics import mean_and_error
from tenas_jax.data import image_batch, open_images
from tenas_jax.ntk.gaussian_kernels import Batch, Settings, input_kernels, square
from tenas_jax.ntk.gaussian_maps import gaussian_field
from tenas_jax.ntk.kernel_reading import KernelReading

IMAGES, SIDE, BLOCK = 6, 4, 2000
# How many independent fields are added, and the weights of their sum and of its maximum.
CASES = {
    "sum of two": (2, 1.0, 0.0),
    "maximum": (1, 0.0, 1.0),
    "maximum of a sum": (2, 0.0, 1.0),
    "beside it": (1, 1.0, 1.0),
}


def analytic(images, case: str) -> list[np.ndarray]:
    """K and T over (image, pixel)."""
    batch, (fields, plain, pooled) = Batch.of(IMAGES), CASES[case]
    read = KernelReading(batch, Settings("standard", "none"))
    before = gaussian_field(input_kernels(images, batch), SIDE, 3)
    x = read.add([read.relu(read.convolution("", before, 4, kernel=3)) for _ in range(fields)])
    operators = [lambda _, x: x, lambda _, x: read.max_pool(x, window=3, stride=1, padding=1)]
    (y,) = read.edges(x, np.array([[plain, pooled]]), operators, [""])
    return [np.asarray(square(kernel[0], batch), float) for kernel in read._realise(y)]


def drawn(images, case: str, count: int, seed: int) -> list[np.ndarray]:
    """The same, of channels that are drawn: T is the covariance of a second field that takes the same way."""
    batch, (fields, plain, pooled), rng = Batch.of(IMAGES), CASES[case], np.random.default_rng(seed)
    read = KernelReading(batch, Settings("standard", "none"))
    x = read.convolution("", gaussian_field(input_kernels(images, batch), SIDE, 3), 4, kernel=3)
    roots = []
    for kernel in jnp.asarray(x.fresh):
        eigenvalues, vectors = np.linalg.eigh(np.asarray(square(kernel[0], batch), float))
        roots.append(vectors * np.sqrt(np.maximum(eigenvalues, 0)))
    sums = np.zeros((2, *roots[0].shape))
    for _ in range(0, count, BLOCK):
        fresh, tangents = (rng.normal(size=(fields, BLOCK, len(root))) @ root.T for root in roots)
        value, passing = np.maximum(fresh, 0).sum(0), (tangents * (fresh > 0)).sum(0)
        largest, followed = _maximum(value, passing)
        for total, output in zip(
            sums, (plain * value + pooled * largest, plain * passing + pooled * followed), strict=True
        ):
            total += output.T @ output
    return list(sums / count)


def _maximum(value: np.ndarray, passing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of every window, and what passes there."""
    windows = []
    for array, fill in ((value, -np.inf), (passing, 0.0)):
        padded = np.pad(array.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)), constant_values=fill)
        windows.append(np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2)).reshape(-1, SIDE**2, 9))
    place = windows[0].argmax(-1)[..., None]
    largest, followed = (np.take_along_axis(w, place, -1)[..., 0].reshape(len(value), -1) for w in windows)
    return largest, followed


def errors(seed: int, draws: int) -> dict[str, dict[str, float]]:
    """Relative errors of K and T on one batch of synthetic images."""
    images = image_batch(jax.random.key(seed), open_images(seed=seed), IMAGES, side=SIDE)
    return {
        case: {
            name: float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
            for name, found, wanted in zip(
                ("K", "T"), analytic(images, case), drawn(images, case, draws, seed), strict=True
            )
        }
        for case in CASES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=20_000)
    arguments = parser.parse_args()
    found = [errors(seed, arguments.draws) for seed in range(arguments.seeds)]
    by_case = {
        case: {name: mean_and_error([one[case][name] for one in found]) for name in ("K", "T")} for case in CASES
    }
    content: dict[str, Any] = {
        "what": "relative Frobenius error of kernels behind ReLUs and a 3 x 3 max pooling, over batches of images",
        "images": IMAGES,
        "side": SIDE,
        "draws": arguments.draws,
        "relative_error": by_case,
    }
    print(by_case)
    write("ntk_relu_maxima", content)


if __name__ == "__main__":
    main()
