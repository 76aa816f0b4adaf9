"""`python -m tenas_jax.search`: from a search space and images to one architecture, without training."""

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenas_jax.command_line import SPACE_NAMES, Parser, provenance, use_compilation_cache
from tenas_jax.errors import InputError
from tenas_jax.presets import Preset, preset
from tenas_jax.run_folder import RunFolder

# JAX is imported where it is used: `--help` and a mistyped option answer at once.
if TYPE_CHECKING:
    from tenas_jax.benchmark_table import BenchmarkTable
    from tenas_jax.data import ImageSource
    from tenas_jax.indicators import Indicator
    from tenas_jax.pruner import Info
    from tenas_jax.space import SearchSpace


@dataclass(frozen=True)
class Config:
    """A search, as the command line names it; the options of `--help` say what each field is."""

    space: str = "nasbench201"
    dataset: str | None = None
    data: Path | None = None
    side: int | None = None
    preset: str = "default"
    ntk: str | None = None
    prune_number: int | None = None
    seed: int = 0
    benchmark: Path | None = None
    benchmark_column: str | None = None
    output: Path | None = None


def _arguments(argv: list[str] | None) -> Config:
    parser = Parser(
        prog="python -m tenas_jax.search",
        description="Finds an architecture without training one: a supernet is pruned, operator by operator, by the "
        "condition number of its neural tangent kernel and its number of linear regions at initialisation (TE-NAS).",
        epilog="A run is a folder. The same command resumes it after an interruption, and ends with the same architecture. "
        "The last line on standard output is the architecture.",
    )
    add = parser.add_argument
    add(
        "--space",
        default=Config.space,
        metavar="NAME",
        help=f"search space: {', '.join(SPACE_NAMES)}, or your own as FILE.py:NAME or package.module:NAME (default: "
        "%(default)s)",
    )
    add(
        "--dataset",
        metavar="NAME",
        help="synthetic (default; drawn by the program, nothing to download), cifar10, "
        "cifar100, imagenet16-120 or imagenet, by tensorflow-datasets; with --data: how to normalise that data",
    )
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="own images: an .npz with `x` uint8 (n, height, width, 3), a folder of "
        "images, or the original batches of CIFAR or ImageNet16",
    )
    add(
        "--side", type=int, metavar="N",
        help="height and width of synthetic images and of pictures, cut from their middle at their own resolution "
        "(default: 32, to which pictures are resized, as the released TE-NAS does)",
    )  # fmt: skip
    add(
        "--preset",
        default=Config.preset,
        metavar="NAME",
        help="default; paper (batch 32, 5000 samples) or released "
        "(batch 72, on darts 14 or 24; 3000 samples) for the settings of TE-NAS, which take minutes to hours "
        "(default: %(default)s)",
    )
    add(
        "--ntk",
        metavar="KIND",
        help="analytic (infinite width, no random weights; the default preset's on nasbench201) or empirical "
        "(one finite network, drawn at random; paper and released); the default on darts goes by expressivity alone unless "
        "a kernel is named",
    )
    add(
        "--prune-number",
        type=int,
        metavar="N",
        help="operators that go from every edge in a round, of which the last one always stays (default: on darts 3, "
        "on ImageNet 2; on nasbench201 1, or one of the whole network in the default preset)",
    )
    add("--seed", type=int, default=Config.seed, metavar="N", help="of everything random (default: %(default)s)")
    add(
        "--benchmark",
        type=Path,
        metavar="TABLE",
        help="csv or csv.gz with `architecture` and an accuracy column: report "
        "what the architecture found reaches there; takes no part in the search",
    )
    add("--benchmark-column", metavar="NAME", help="the accuracy column, where the table has several")
    add("--output", type=Path, metavar="DIR", help="run folder (default: runs/SPACE-DATASET-PRESET-seedN)")  # fmt: skip
    return Config(**vars(parser.parse_args(argv)))


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 with a result written, 2 with one sentence for bad input.

    Args:
        argv: arguments without the program's name; by default those of the process.
    """
    try:
        architecture = run(_arguments(argv))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(architecture)
    return 0


def run(config: Config) -> str:
    """Runs or resumes a search.

    Args:
        config: what to search.

    Returns:
        The architecture's string; the run's folder holds the rest.

    Raises:
        InputError: for bad input.
    """
    start = time.perf_counter()
    if config.seed < 0:
        raise InputError(f"--seed must be a whole number from 0; it is {config.seed}.")

    from tenas_jax.space import find_space

    space = find_space(config.space)
    settings = _settings(config, space)

    from tenas_jax.benchmark_table import read_table
    from tenas_jax.data import open_images
    from tenas_jax.fallback import readable_kernel

    asked = settings.ntk if settings.trainability else "empirical"
    if readable_kernel(space, asked) != asked:
        config = replace(config, ntk="empirical")
        settings = _settings(config, space)
    table = read_table(config.benchmark, config.benchmark_column) if config.benchmark else None
    source = open_images(config.dataset, config.data, seed=config.seed, side=config.side)
    _check_images(source, settings)
    folder = RunFolder(_output(config, space), _identity(config, space, settings, source))
    result = folder.result()
    if result is None:
        indicators = build_indicators(space, source, settings)
        architecture = prune_in_folder(config.seed, space, indicators, settings, folder)
        compiling = sum(indicator.program.compile_seconds for indicator in indicators)
        result = _result(config, settings, folder, architecture, time.perf_counter() - start, compiling)
        folder.finish(result)
    if table:
        result["benchmark"] = _reported(table, result["architecture"])
        folder.finish(result)
    return result["architecture"]


def _settings(config: Config, space: "SearchSpace") -> Preset:
    return preset(
        config.preset, config.ntk, space=space.family, dataset=config.dataset, prune_number=config.prune_number
    )


def _check_images(source: "ImageSource", settings: Preset) -> None:
    """Refuses images that are too few or too small now, and not after minutes of compiling."""
    import jax

    from tenas_jax.data import image_batch, patch_batch

    key = jax.random.key(0)
    image_batch(key, source, settings.ntk_images, side=settings.ntk_side)
    patch_batch(key, source, 1, patch=settings.region_patch, channels=settings.region_channels)


def build_indicators(space: "SearchSpace", source: "ImageSource", settings: Preset) -> "list[Indicator]":
    """The indicators of a preset: condition number, where it takes part, and expressivity.

    Args:
        space: the search space.
        source: of images.
        settings: the preset.
    """
    from tenas_jax import indicators

    use_compilation_cache()
    thin = {
        "macro": space.macro("regions")._replace(channels=settings.region_width, cells=settings.region_cells),
        "channels": settings.region_channels,
        "patch": settings.region_patch,
        "samples": settings.region_samples,
        "repeats": settings.region_repeats,
    }
    if settings.expressivity == "hamming_log_determinant":
        expressivity = indicators.hamming_log_determinant(space, source, **thin)
    else:
        expressivity = indicators.linear_region_count(space, source, batches=settings.region_batches, **thin)
    if not settings.trainability:
        return [expressivity]
    macro = space.macro("ntk")._replace(channels=settings.ntk_channels)
    ntk_settings = {"images": settings.ntk_images, "side": settings.ntk_side, "repeats": settings.ntk_repeats}
    if settings.ntk == "analytic":
        ntk = indicators.analytic_condition_number(space, source, macro=macro, **ntk_settings)
    else:
        ntk = indicators.empirical_condition_number(
            space, source, macro=macro, fan=settings.fan, batch_stats=settings.batch_stats, **ntk_settings
        )
    return [ntk, expressivity]


def _output(config: Config, space: "SearchSpace") -> Path:
    dataset = config.dataset or ("own" if config.data else "synthetic")
    usual = replace(config, ntk=None, prune_number=None)
    asked, own = _settings(config, space), _settings(usual, space)
    kernel = f"-{config.ntk}" if (asked.ntk, asked.trainability) != (own.ntk, own.trainability) else ""
    number = f"-prune{config.prune_number}" if config.prune_number is not None else ""
    side = f"-side{config.side}" if config.side is not None else ""
    name = f"{space.name}-{dataset}{side}-{config.preset}{kernel}{number}-seed{config.seed}"
    return config.output or Path("runs") / name


def _identity(config: Config, space: "SearchSpace", settings: Preset, source: "ImageSource") -> dict[str, Any]:
    """What decides the architecture found. Versions are recorded with the result, but are no part of it."""
    from tenas_jax.space import identity_of

    return {
        "space": identity_of(space),
        "dataset": source.name,
        "data_sha256": source.fingerprint,
        "data_mean": source.mean,
        "data_std": source.std,
        "preset": config.preset,
        "settings": asdict(settings),
        "seed": config.seed,
    }


def prune_in_folder(
    seed: int, space: "SearchSpace", indicators: "list[Indicator]", settings: Preset, folder: RunFolder
) -> str:
    """Runs a search, or what is left of it, and records every round.

    Args:
        seed: of everything random.
        space: the search space.
        indicators: from `build_indicators`.
        settings: the preset.
        folder: with the rounds that have been taken.

    Returns:
        The architecture's string.
    """
    import jax
    import numpy as np
    from tqdm import tqdm

    from tenas_jax import pruner

    state = pruner.init(space)
    for record in folder.rounds:
        mask = pruner.without(state.mask, np.array(record["pruned"]), space)
        state = pruner.State(mask, record["round"] + 1)
    key = jax.random.key(seed)
    left = pruner.surplus(state.mask, space)
    total = pruner.surplus(space.supernet(), space)
    quiet = not sys.stderr.isatty()
    with tqdm(total=total, initial=total - left, desc="pruned", disable=quiet, file=sys.stderr) as bar:
        while not pruner.is_done(state, space):
            start = time.perf_counter()
            mask = state.mask
            state, info = pruner.step(
                key, state, space=space, indicators=indicators, rule=settings.rule, paths=settings.paths,
                fresh=settings.fresh, prune_number=settings.prune_number,
            )  # fmt: skip
            seconds = time.perf_counter() - start
            folder.append(_round_record(space, state.round - 1, mask, info, seconds))
            bar.update(len(info.pruned))
            if quiet:
                print(f"round {state.round - 1}: pruned {_names(space, info)} ({seconds:.1f} s)", file=sys.stderr)
    return space.format(state.mask)


def _names(space: "SearchSpace", info: "Info") -> str:
    if len(info.pruned) > 6:
        return f"{len(info.pruned)} operators of {len(info.candidates)}"
    cells = [f" of the {space.cells[cell]} cell" if len(space.cells) > 1 else "" for cell in info.pruned[:, 0]]
    return ", ".join(
        f"{space.operators[o]} from edge {e}{cell}" for (_, e, o), cell in zip(info.pruned, cells, strict=True)
    )


def _round_record(space: "SearchSpace", number: int, mask, info: "Info", seconds: float) -> dict[str, Any]:
    """All that a report may want to show of a round."""
    gone = {tuple(candidate) for candidate in info.pruned.tolist()}
    by_candidate = [
        {
            "cell": space.cells[cell],
            "edge": edge,
            "source": space.edges[edge][0],
            "target": space.edges[edge][1],
            "operator": space.operators[operator],
            "scores": {name: _plain(values[place]) for name, values in info.scores.items()},
            "changes": {name: _plain(values[place]) for name, values in info.changes.items()},
            "ranks": {name: int(values[place]) for name, values in info.ranks.items()},
            "total": _plain(info.total[place]),
            "pruned": (cell, edge, operator) in gone,
        }
        for place, (cell, edge, operator) in enumerate(info.candidates.tolist())
    ]
    return {
        "round": number,
        "alive": mask.astype(int).tolist(),
        "pruned": info.pruned.tolist(),
        "candidates": by_candidate,
        "health": info.health,
        "evaluations": info.evaluations,
        "seconds": round(seconds, 3),
    }


def _plain(value: float) -> float | str:
    """JSON has no infinity."""
    return float(value) if abs(value) < float("inf") else str(float(value))


def _result(
    config: Config, settings: Preset, folder: RunFolder, architecture: str, seconds: float, compiling: float
) -> dict[str, Any]:
    from tenas_jax.genotypes import genotype_json
    from tenas_jax.space import DARTS

    as_json = json.loads(genotype_json(DARTS, DARTS.parse(architecture))) if config.space == "darts" else None
    return {
        "architecture": architecture,
        **({"genotype": as_json} if as_json else {}),
        "space": config.space,
        "dataset": config.dataset or ("own" if config.data else "synthetic"),
        "seed": config.seed,
        "config": {**asdict(settings), "preset": config.preset, "data": str(config.data) if config.data else None},
        "rounds": len(folder.rounds),
        "benchmark": None,
        "wall_seconds": round(seconds, 3),
        "compile_seconds": round(compiling, 3),
        **provenance(),
    }


def _reported(table: "BenchmarkTable", architecture: str) -> dict[str, Any]:
    """Prints what an architecture reaches, and returns it for the record."""
    standing = table.standing(architecture)
    print(
        f"{standing.column}: {standing.accuracy:.2f}, rank {standing.rank} of {standing.architectures}; "
        f"the optimum is {standing.optimum:.2f}"
    )
    return standing._asdict()


if __name__ == "__main__":
    sys.exit(main())
