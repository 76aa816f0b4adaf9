"""Which settings of the analytic NTK rank well: tried on the development half of NAS-Bench-201 only.

    python benchmarks/ntk_choices.py --benchmark TABLE [--data IMAGES.npz]

TABLE is a csv of trained accuracies, which enter no score. Random connected architectures of the half that may choose
settings, with the seeds 0 to 2, which nothing else reports. Writes `results/ntk_choices.json`: Kendall's tau-b by settings
and by statistic of the kernel, alone and with linear regions.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.stats import kendalltau

from common.architectures import Space, read_space
from common.indicators import of_preset
from common.records import write
from tenas_jax.data import ImageSource, image_batch, open_images
from tenas_jax.ntk.analytic import analytic_ntk
from tenas_jax.ntk.gaussian_kernels import Settings
from tenas_jax.ntk.spectrum import condition_numbers, spectrum
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.ranks import average_rank, log_rank, sum_of_log_ranks
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.skeleton import Skeleton

# Choices are made with the seeds 0 to 9; figures are reported with others.
EXPLORED_SEEDS, EXPLORED_ARCHITECTURES = 3, 1000


class Choice(NamedTuple):
    """One kernel; the defaults are those of the default search.

    Attributes:
        cells: a stage.
        stages: with a residual reduction between two of them.
        channels: of the first stage; they count in the standard parametrisation only.
        images: of a batch.
        side: of the images in pixels.
        settings: which limit is taken.
    """

    cells: int = 1
    stages: int = 3
    channels: int = 16
    images: int = 8
    side: int = 4
    settings: Settings = Settings()

    def is_slow(self) -> bool:
        """Whether a kernel takes tens of milliseconds, so that one seed must do."""
        return self.side > 4 or self.settings.batch_norm == "exact"

    def changes(self) -> dict[str, Any]:
        """What is not as in the default search."""
        fields = {**self._asdict(), **self.settings._asdict()}
        defaults = {**Choice()._asdict(), **Settings()._asdict()}
        return {name: value for name, value in fields.items() if name != "settings" and value != defaults[name]}


STANDARD = Settings(parametrisation="standard")
CHOICES = (
    Choice(),
    Choice(settings=Settings(statistics="frozen")),
    Choice(settings=STANDARD),
    Choice(settings=STANDARD._replace(statistics="frozen")),
    Choice(settings=Settings(batch_norm="exact")),
    Choice(images=4),
    Choice(images=12),
    Choice(images=16),
    Choice(side=8),
    Choice(cells=2),
    Choice(cells=3),
    Choice(cells=5),
    Choice(stages=2),
    Choice(stages=2, settings=STANDARD),
    Choice(stages=1),
    Choice(stages=1, settings=Settings(statistics="frozen")),
    Choice(stages=1, settings=STANDARD),
    Choice(stages=1, settings=STANDARD._replace(statistics="frozen")),
)


def statistics(kernels: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of kernels (m, n, n), larger is better."""
    kernels = kernels.astype(float)
    n = kernels.shape[-1]
    # Differences between images only: an orthonormal basis of what is orthogonal to the constant.
    basis = np.linalg.qr(np.eye(n, n - 1) - 1 / n)[0]
    deviation = np.sqrt(np.diagonal(kernels, axis1=1, axis2=2))
    return {
        "condition_number": -condition_numbers(kernels)[0],
        "smallest_eigenvalue": spectrum(kernels).eigenvalues[:, 0],
        "condition_number_of_the_centred_kernel": -condition_numbers(basis.T @ kernels @ basis)[0],
        "condition_number_of_the_correlations": -condition_numbers(
            kernels / deviation[:, :, None] / deviation[:, None, :]
        )[0],
    }


def with_regions(kappa: np.ndarray, regions: np.ndarray) -> dict[str, np.ndarray]:
    """Aggregates with a number of linear regions; of both numbers the larger is better."""
    both = (kappa, regions)
    return {
        "with_regions_by_log_ranks": sum_of_log_ranks([average_rank(score, descending=True) for score in both]),
        "with_regions_by_log_places": -np.sum([log_rank(score, descending=True) for score in both], axis=0),
    }


def explore(masks, accuracy, sources: dict[str, list[ImageSource]], regions: dict[str, list[np.ndarray]]) -> list[dict]:
    """Kendall's tau-b of every choice, mean over seeds.

    Args:
        masks: (m, cells, edges, operators), connected architectures.
        accuracy: (m,).
        sources: of images by name, one a seed, seeds from 0.
        regions: (m,) numbers of linear regions by name of images, one a seed.
    """
    rows = []
    for choice in CHOICES:
        skeleton = Skeleton(choice.channels, choice.cells, choice.stages)
        program = MaskProgram(
            lambda mask, batch, skeleton=skeleton, settings=choice.settings: analytic_ntk(
                NAS_BENCH_201, mask, batch, skeleton=skeleton, settings=settings
            )
        )
        for name, by_seed in sources.items():
            taus = []
            for seed, source in enumerate(by_seed[:1] if choice.is_slow() else by_seed):
                batch = image_batch(jax.random.key(seed), source, choice.images, side=choice.side)
                scores = statistics(program(masks, batch))
                scores |= with_regions(scores["condition_number"], regions[name][seed])
                taus.append({key: np.asarray(kendalltau(score, accuracy))[0] for key, score in scores.items()})
            means = {key: round(float(np.mean([tau[key] for tau in taus])), 3) for key in taus[0]}
            row = {"changes": choice.changes(), "images_of": name, "seeds": len(taus)}
            rows.append({**row, "kendall_tau": means})
            print(rows[-1], flush=True)
    return rows


def explored(sources: dict[str, Callable[[int], ImageSource]], space: Space) -> dict[str, Any]:
    """Other settings of the kernel, on random connected architectures of the development half."""
    pool = np.flatnonzero(space.parts["development half"] & space.connected)
    chosen = np.sort(np.random.default_rng(0).choice(pool, EXPLORED_ARCHITECTURES, replace=False))
    masks = space.masks[chosen]
    opened = {images: [source(seed) for seed in range(EXPLORED_SEEDS)] for images, source in sources.items()}
    regions = {
        images: [
            of_preset(NAS_BENCH_201, source)[1].evaluate(jax.random.key(seed), masks).values[0]
            for seed, source in enumerate(by_seed)
        ]
        for images, by_seed in opened.items()
    }
    return {
        "what": "Kendall's tau-b, mean over seeds from 0, by statistics of the kernel; `changes` are against the default",
        "connected_architectures": EXPLORED_ARCHITECTURES,
        "rows": explore(masks, space.accuracy[chosen], opened, regions),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", type=Path, required=True, help="csv or csv.gz of accuracies")
    parser.add_argument(
        "--data", type=Path, help="an .npz of CIFAR-10 images; without it only synthetic images are used"
    )
    arguments = parser.parse_args()
    sources: dict[str, Callable[[int], ImageSource]] = {"synthetic": lambda seed: open_images(seed=seed)}
    if arguments.data:
        sources["cifar10"] = lambda _: open_images("cifar10", arguments.data)
    write("ntk_choices", explored(sources, read_space(arguments.benchmark)))


if __name__ == "__main__":
    main()
