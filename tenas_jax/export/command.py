"""`python -m tenas_jax.export`: a trained network, or an architecture alone, as files for others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenas_jax.command_line import Parser, check_devices, exit_code, say
from tenas_jax.errors import InputError
from tenas_jax.options import SPACE_NAMES

FORMATS = ("parameters", "torch", "flax", "onnx")


@dataclass(frozen=True)
class Config:
    """The options of `python -m tenas_jax.export`; those of `--help` say what each field is."""

    run: Path | None = None
    epoch: int | None = None
    architecture: str | None = None
    space: str | None = None
    preset: str | None = None
    classes: int = 10
    side: int = 32
    seed: int = 0
    formats: str = "parameters,torch,flax"
    output: Path | None = None


def arguments(argv: list[str] | None) -> Config:
    """The options, read.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Raises:
        InputError: for what is no option.
    """
    parser = Parser(
        prog="python -m tenas_jax.export",
        description="Writes a trained network for others: parameters as safetensors with a description, source code for "
        "PyTorch and for Flax that needs nothing of this package, ONNX.",
        epilog="`tenas_jax.load(FOLDER)` reads the parameters. The last line on standard output is the folder.",
    )
    add = parser.add_argument
    add("--run", type=Path, metavar="RUN", help="the folder of a training")
    add("--epoch", type=int, metavar="N", help="whose weights, where they were kept (default: the newest)")
    add("--architecture", metavar="STRING", help="an architecture without a run: its weights are drawn at random")
    add("--space", metavar="NAME", help=f"of the architecture: {', '.join(SPACE_NAMES)} or FILE.py:NAME")
    add("--preset", metavar="NAME", help="of the architecture: whose sizes the network has, see tenas_jax.train")
    add("--classes", type=int, default=Config.classes, metavar="N", help="of the architecture (default: %(default)s)")
    add(
        "--side",
        type=int,
        default=Config.side,
        metavar="N",
        help="of the architecture: of images (default: %(default)s)",
    )
    add(
        "--seed",
        type=int,
        default=Config.seed,
        metavar="N",
        help="of the architecture: of weights (default: %(default)s)",
    )
    add(
        "--formats", default=Config.formats, metavar="NAME,NAME",
        help=f"which of {', '.join(FORMATS)} (default: %(default)s)",
    )  # fmt: skip
    add("--output", type=Path, metavar="DIR", help="where files go (default: RUN/export, or runs/export)")
    return Config(**vars(parser.parse_args(argv)))


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 with files written, 2 with one sentence for bad input.

    Args:
        argv: arguments without the program's name; by default those of the process.
    """
    return exit_code(lambda: run(arguments(argv)))


def run(config: Config) -> str:
    """Writes what was asked for.

    Args:
        config: what to write.

    Returns:
        The folder.

    Raises:
        InputError: for bad input.
    """
    formats = config.formats.split(",")
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"--formats names some of {', '.join(FORMATS)}; {unknown[0]!r} is none of them.")
    if (config.run is None) == (config.architecture is None):
        raise InputError("give either --run RUN, the folder of a training, or --architecture STRING.")
    check_devices()

    from tenas_jax.export import files
    from tenas_jax.export.weights import save

    blueprint, variables, reference, about = _network(config)
    path = config.output or (config.run or Path("runs")) / "export"
    if "parameters" in formats:
        save(path, blueprint, variables, reference, about)
    if "torch" in formats:
        files.write_torch(path, blueprint, variables)
    if "flax" in formats:
        files.write_flax(path, blueprint, variables)
    if "onnx" in formats:
        files.write_onnx(path, blueprint, variables, about["side"])
    say(f"written: {', '.join(formats)}")
    return str(path)


def _network(config: Config) -> tuple[Any, Any, str, dict[str, Any]]:
    """The network, its variables, the reference of its space, and what else the description says."""
    if config.run is not None:
        from tenas_jax.train.trained import trained

        found = trained(config.run, epoch=config.epoch)
        images = found.config["train"]
        about = {
            "side": found.side,
            "epoch": found.epoch,
            "mean": images["data_mean"],
            "std": images["data_std"],
        }
        return found.blueprint, found.variables, found.config["network"]["space"], about
    return _drawn(config)


def _drawn(config: Config) -> tuple[Any, Any, str, dict[str, Any]]:
    import jax

    from tenas_jax.networks.stand_alone import StandAlone
    from tenas_jax.spaces.registry import find_space
    from tenas_jax.train.job import blueprint_of
    from tenas_jax.train.recipe import recipe, usual_recipe

    assert config.architecture is not None
    reference = config.space or ("darts" if "normal" in config.architecture else "nasbench201")
    space = find_space(reference)
    settings = recipe(config.preset or usual_recipe(space), space)
    blueprint = blueprint_of(space, config.architecture, settings, config.classes)
    variables = StandAlone(blueprint).initial(jax.random.key(config.seed), (1, config.side, config.side, 3))
    return blueprint, variables, reference, {"side": config.side, "epoch": 0}
