"""`python -m tenas_jax.train`: from an architecture and images with classes to a trained network."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenas_jax.command_line import Parser, check_devices, exit_code, say, use_compilation_cache
from tenas_jax.errors import InputError
from tenas_jax.options import SPACE_NAMES
from tenas_jax.train.config import VAL_SHARE, Config

# JAX is imported where it is used: `--help` and a mistyped option answer at once.
if TYPE_CHECKING:
    from argparse import _ArgumentGroup as ArgumentGroup

    from tenas_jax.train.job import Job


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 0,1,2") from error


def arguments(argv: list[str] | None) -> Config:
    """The options, read.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Raises:
        InputError: for what is no option.
    """
    parser = Parser(
        prog="python -m tenas_jax.train",
        description="Trains the network of one architecture, and evaluates it after every epoch.",
        epilog="A run is a folder: rounds.jsonl has the metrics of every epoch, checkpoints/ weights. "
        "The same command resumes it after an interruption. The last line on standard output is the result as JSON.",
    )
    _what_options(parser.add_argument_group("what is trained"))
    _image_options(parser.add_argument_group("images"))
    _recipe_options(parser.add_argument_group("how: a preset, and what replaces parts of it"))
    _record_options(parser.add_argument_group("record"))
    _host_options(parser.add_argument_group("several hosts: the same command on each, with one folder for all"))
    return Config(**vars(parser.parse_args(argv)))


def _what_options(group: "ArgumentGroup") -> None:
    add = group.add_argument
    add(
        "--architecture",
        metavar="STRING",
        help="as a search prints it: a string of NAS-Bench-201, a genotype of DARTS, or one of another --space",
    )
    add(
        "--run",
        type=Path,
        metavar="RUN",
        help="the folder of a finished search: what it found is trained, inside of it",
    )
    add(
        "--space", metavar="NAME",
        help=f"search space: {', '.join(SPACE_NAMES)}, or a custom one as FILE.py:NAME (default: that of the architecture)",
    )  # fmt: skip


def _image_options(group: "ArgumentGroup") -> None:
    add = group.add_argument
    add(
        "--dataset", metavar="NAME",
        help="cifar10 or cifar100, by tensorflow-datasets; with --data: how to normalise that data",
    )  # fmt: skip
    add(
        "--data", type=Path, metavar="PATH",
        help="an .npz with `x` uint8 (n, height, width, 3) and `y` (n,), the original batches of CIFAR or ImageNet16, or a "
        "folder with a folder of pictures for each class",
    )  # fmt: skip
    add("--val-data", type=Path, metavar="PATH", help="images to evaluate on, in one of the same forms")
    add(
        "--val-share", type=float, metavar="X",
        help=f"share of the images that is held out to evaluate on, where there is no --val-data (default: {VAL_SHARE})",
    )  # fmt: skip
    add(
        "--side", type=int, metavar="N", help="height and width that pictures are cut to (default: 32; on ImageNet 256)"
    )
    add(
        "--workers",
        type=int,
        default=Config.workers,
        metavar="N",
        help="processes that make batches (default: a thread)",
    )


def _recipe_options(group: "ArgumentGroup") -> None:
    add = group.add_argument
    add(
        "--preset", metavar="NAME",
        help="nasbench201, darts-cifar or darts-imagenet, as published, or quick (default: the space's on small images)",
    )  # fmt: skip
    for name, kind, text in (
        ("channels", int, "channels of the first stage"),
        ("cells", int, "cells a stage, of DARTS in all"),
        ("epochs", int, "passes over the images"),
        ("batch", int, "images a step, over all devices"),
        ("rate", float, "the highest learning rate"),
        ("warmup-epochs", float, "over which the rate grows"),
        ("weight-decay", float, "as of PyTorch's SGD"),
        ("clip", float, "the largest norm of a gradient"),
        ("smoothing", float, "of labels"),
        ("drop-path", float, "how often an operator is left out, at the end"),
        ("auxiliary", float, "weight of the auxiliary head's loss"),
        ("crop", int, "pixels that images are moved by at most"),
        ("cutout", int, "side of the square that is blanked"),
        ("jitter", float, "of brightness, contrast and saturation"),
        ("ema", float, "decay of the moving average of weights that is evaluated"),
        ("accumulate", int, "steps whose gradients are averaged before weights move"),
    ):
        add(f"--{name}", type=kind, metavar="X" if kind is float else "N", help=text)
    add("--schedule", metavar="NAME", help="cosine or linear")
    add("--bfloat16", action="store_true", default=None, help="feature maps in bfloat16, for devices that have it")


def _record_options(group: "ArgumentGroup") -> None:
    add = group.add_argument
    add("--seeds", type=_seeds, default=Config.seeds, metavar="N,N", help="random seeds, a run each (default: 0)")
    add(
        "--keep", type=int, default=Config.keep, metavar="N", help="newest checkpoints that stay (default: %(default)s)"
    )
    add("--tensorboard", action="store_true", help="write metrics for TensorBoard too, into the run's folder")
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="run folder (default: RUN/train-PRESET, or runs/train-SPACE/train-PRESET)",
    )


def _host_options(group: "ArgumentGroup") -> None:
    add = group.add_argument
    add("--coordinator", metavar="HOST:PORT", help="where the first process listens")
    add("--processes", type=int, metavar="N", help="how many there are")
    add("--process", type=int, metavar="N", help="which this one is, from 0")


def _join(config: Config) -> None:
    """Makes this process one of several."""
    given = (config.coordinator, config.processes, config.process)
    if given == (None, None, None):
        return
    if config.coordinator is None or config.processes is None or config.process is None:
        raise InputError("--coordinator, --processes and --process go together; give all three, or none.")
    import jax

    jax.distributed.initialize(config.coordinator, config.processes, config.process)


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 with a result written, 2 with one sentence for bad input.

    Args:
        argv: arguments without the program's name; by default those of the process.
    """
    return exit_code(lambda: json.dumps(run(arguments(argv))))


def run(config: Config) -> dict[str, Any]:
    """Trains, or goes on with what was interrupted.

    Args:
        config: what to train.

    Returns:
        The result of one seed, or the means and standard deviations of several.

    Raises:
        InputError: for bad input.
    """
    _join(config)
    check_devices()
    use_compilation_cache()

    from tenas_jax.train.job import resolve
    from tenas_jax.train.loop import train

    job = resolve(config)
    results = []
    for seed in config.seeds:
        path = job.output / f"seed{seed}" if len(config.seeds) > 1 else job.output
        results.append(train(job, seed, path, workers=config.workers, keep=config.keep, tensorboard=config.tensorboard))
        say(f"run folder: {path}")
    return results[0] if len(results) == 1 else _summary(job, config, results)


def _summary(job: "Job", config: Config, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Over seeds; also written into the folder of the runs."""
    import jax
    import numpy as np

    from tenas_jax.records.files import write_text

    found: dict[str, Any] = {**job.labels, "seeds": list(config.seeds), "parameters": results[0]["parameters"]}
    for name in ("loss", "top1", "top5"):
        values = [result["last"][name] for result in results]
        found[name] = {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)), "values": values}
    if jax.process_index():
        return found
    write_text(job.output / "seeds.json", json.dumps(found, indent=2) + "\n")
    return found
