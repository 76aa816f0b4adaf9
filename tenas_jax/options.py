"""Options that several command lines have: each is worded and checked once."""

from argparse import _ActionsContainer as Options
from pathlib import Path

from tenas_jax.command_line import check_seed
from tenas_jax.errors import InputError

SPACE_NAMES = ("nasbench201", "darts", "nasbench101", "nasbench-macro", "mnasnet", "transnas-micro", "transnas-macro")
MOST_SIDE = 1024  # pixels: some hundred images of 12 MB each as floats are in memory at once
MOST_REPEATS = 10_000  # a shard of 256 architectures has 20 MB a score by then


def add_space(group: Options, default: str) -> None:
    """`--space`.

    Args:
        group: that gets it.
        default: a space's name.
    """
    group.add_argument(
        "--space", default=default, metavar="NAME",
        help=f"search space: {', '.join(SPACE_NAMES)}, or a custom one as FILE.py:NAME or package.module:NAME, "
        "whose code is run (default: %(default)s)",
    )  # fmt: skip


def add_images(group: Options) -> None:
    """`--dataset`, `--data` and `--side`.

    Args:
        group: that gets them.
    """
    add = group.add_argument
    add(
        "--dataset", metavar="NAME",
        help="synthetic (default; drawn by the program, nothing to download), cifar10, cifar100, imagenet16-120 or "
        "imagenet, by tensorflow-datasets; with --data: how to normalise that data",
    )  # fmt: skip
    add(
        "--data", type=Path, metavar="PATH",
        help="your images: an .npz with `x` uint8 (n, height, width, 3), a folder of images, or the original batches of "
        "CIFAR or ImageNet16",
    )  # fmt: skip
    add(
        "--side", type=int, metavar="N",
        help="height and width of the images: synthetic ones are drawn so, all others cut from their middle at their own "
        "resolution (default: 32, to which pictures are resized, as the released TE-NAS does; arrays keep their size)",
    )  # fmt: skip


def add_engine(group: Options) -> None:
    """`--ntk-engine`.

    Args:
        group: that gets it.
    """
    group.add_argument(
        "--ntk-engine", metavar="NAME",
        help="what computes the empirical NTK: layerwise, neural_tangents, neural_tangents_ntvp or auto (default); the "
        "kernel is the same up to rounding",
    )  # fmt: skip


def add_repeats(group: Options, default: int | None, otherwise: str) -> None:
    """`--repeats`.

    Args:
        group: that gets it.
        default: None where other options decide it.
        otherwise: what is taken without it, for people.
    """
    group.add_argument(
        "--repeats", type=int, default=default, metavar="N",
        help=f"draws of images and weights over which a score is averaged (default: {otherwise})",
    )  # fmt: skip


def add_seed(group: Options, default: int) -> None:
    """`--seed`.

    Args:
        group: that gets it.
        default: the seed.
    """
    group.add_argument(
        "--seed", type=int, default=default, metavar="N",
        help="random seed for images, weights and sampling (default: %(default)s)",
    )  # fmt: skip


def add_benchmark(group: Options, use: str) -> None:
    """`--benchmark` and `--benchmark-column`.

    Args:
        group: that gets them.
        use: what the table is taken for.
    """
    group.add_argument(
        "--benchmark", type=Path, metavar="TABLE",
        help="csv or csv.gz with `architecture` and an accuracy column, or what the packages of NATS-Bench and "
        f"NAS-Bench-201 read (pickles, which can run code): {use}",
    )  # fmt: skip
    group.add_argument("--benchmark-column", metavar="NAME", help="the accuracy column, where the table has several")


def add_figures(group: Options) -> None:
    """`--figures`.

    Args:
        group: that gets it.
    """
    group.add_argument(
        "--figures", type=Path, metavar="DIR",
        help="every plot of the report also as SVG, PDF and PNG; needs Matplotlib",
    )  # fmt: skip


def check_shared(
    *, seed: int, side: int | None, repeats: int | None, benchmark: Path | None, benchmark_column: str | None
) -> None:
    """Refuses values that make no sense, before JAX is loaded.

    Args:
        seed: of `--seed`.
        side: of `--side`.
        repeats: of `--repeats`.
        benchmark: of `--benchmark`.
        benchmark_column: of `--benchmark-column`.

    Raises:
        InputError: in one sentence.
    """
    check_seed(seed)
    if side is not None and side > MOST_SIDE:
        raise InputError(f"--side must be at most {MOST_SIDE} pixels; it is {side}.")
    if repeats is not None and not 1 <= repeats <= MOST_REPEATS:
        raise InputError(f"--repeats must be a whole number from 1 to {MOST_REPEATS}; it is {repeats}.")
    if benchmark_column is not None and benchmark is None:
        raise InputError("--benchmark-column names a column of the table that --benchmark gives; give both.")
