"""`python -m tenas_jax.search`: from a search space and images to one architecture, without training."""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenas_jax.command_line import SPACE_NAMES, Parser, amount, exit_code, provenance, say, use_compilation_cache
from tenas_jax.errors import InputError
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.scores.presets import Preset, preset

# JAX is imported where it is used: `--help` and a mistyped option answer at once.
if TYPE_CHECKING:
    from argparse import _ArgumentGroup as ArgumentGroup

    from tenas_jax.data import ImageSource
    from tenas_jax.rank.benchmark_table import BenchmarkTable
    from tenas_jax.scores.indicators import Indicator
    from tenas_jax.search.budget import Budget
    from tenas_jax.spaces.space import SearchSpace

STRATEGIES = ("prune", "evolve", "exhaustive")
EVALUATIONS = 1000  # of an evolution
REPEATS = 8  # draws over which scores are averaged, as in a ranking


@dataclass(frozen=True)
class Config:
    """A search, as the command line names it; the options of `--help` say what each field is."""

    space: str = "nasbench201"
    dataset: str | None = None
    data: Path | None = None
    side: int | None = None
    preset: str = "default"
    ntk: str | None = None
    strategy: str = "prune"
    prune_number: int | None = None
    evaluations: int | None = None
    max_params: int | None = None
    max_flops: int | None = None
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
    _what_options(parser.add_argument_group("what is searched"))
    _how_options(parser.add_argument_group("how"))
    _record_options(parser.add_argument_group("record"))
    return Config(**vars(parser.parse_args(argv)))


def _what_options(group: "ArgumentGroup") -> None:
    add = group.add_argument
    add(
        "--space", default=Config.space, metavar="NAME",
        help=f"search space: {', '.join(SPACE_NAMES)}, or your own as FILE.py:NAME or package.module:NAME "
        "(default: %(default)s)",
    )  # fmt: skip
    add(
        "--dataset", metavar="NAME",
        help="synthetic (default; drawn by the program, nothing to download), cifar10, cifar100, imagenet16-120 or "
        "imagenet, by tensorflow-datasets; with --data: how to normalise that data",
    )  # fmt: skip
    add(
        "--data", type=Path, metavar="PATH",
        help="own images: an .npz with `x` uint8 (n, height, width, 3), a folder of images, or the original batches of "
        "CIFAR or ImageNet16",
    )  # fmt: skip
    add(
        "--side", type=int, metavar="N",
        help="height and width of synthetic images and of pictures, cut from their middle at their own resolution "
        "(default: 32, to which pictures are resized, as the released TE-NAS does)",
    )  # fmt: skip
    add("--max-params", type=amount, metavar="N", help="the most parameters that the trained network may have: 1.5M")
    add("--max-flops", type=amount, metavar="N", help="the most multiply-adds for a 32 x 32 image: 200M")


def _how_options(group: "ArgumentGroup") -> None:
    add = group.add_argument
    add(
        "--strategy", default=Config.strategy, metavar="NAME",
        help="prune (a supernet, operator by operator, as TE-NAS); evolve (a population) or exhaustive (everything), "
        "which go by the scores of tenas_jax.rank (default: %(default)s)",
    )  # fmt: skip
    add(
        "--preset", default=Config.preset, metavar="NAME",
        help="of pruning: default; paper (batch 32, 5000 samples) or released (batch 72, on darts 14 or 24; 3000 samples) "
        "for the settings of TE-NAS, which take minutes to hours (default: %(default)s)",
    )  # fmt: skip
    add(
        "--ntk", metavar="KIND",
        help="analytic (infinite width, no random weights; the default preset's on nasbench201) or empirical (one finite "
        "network, drawn at random; paper and released); the default on darts goes by expressivity alone unless a kernel is "
        "named",
    )  # fmt: skip
    add(
        "--prune-number", type=int, metavar="N",
        help="operators that go from every edge in a round, of which the last one always stays (default: on darts 3, on "
        "ImageNet 2; on nasbench201 1, or one of the whole network in the default preset)",
    )  # fmt: skip
    add(
        "--evaluations", type=int, metavar="N",
        help=f"architectures that an evolution scores (default: {EVALUATIONS})",
    )  # fmt: skip
    add("--seed", type=int, default=Config.seed, metavar="N", help="of everything random (default: %(default)s)")


def _record_options(group: "ArgumentGroup") -> None:
    add = group.add_argument
    add(
        "--benchmark", type=Path, metavar="TABLE",
        help="csv or csv.gz with `architecture` and an accuracy column: report what the architecture found reaches there; "
        "takes no part in the search",
    )  # fmt: skip
    add("--benchmark-column", metavar="NAME", help="the accuracy column, where the table has several")
    add("--output", type=Path, metavar="DIR", help="run folder (default: runs/SPACE-DATASET-PRESET-seedN)")


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 with a result written, 2 with one sentence for bad input.

    Args:
        argv: arguments without the program's name; by default those of the process.
    """
    return exit_code(lambda: run(_arguments(argv)))


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
    _check(config)

    from tenas_jax.spaces.registry import find_space

    space = find_space(config.space)
    settings = _settings(config, space)

    from tenas_jax.data import open_images
    from tenas_jax.rank.benchmark_table import read_table
    from tenas_jax.report.page import report
    from tenas_jax.scores.fallback import readable_kernel

    asked = settings.ntk if settings.trainability else "empirical"
    if readable_kernel(space, asked) != asked:
        config = replace(config, ntk="empirical")
        settings = _settings(config, space)
    table = read_table(config.benchmark, config.benchmark_column) if config.benchmark else None
    source = open_images(config.dataset, config.data, seed=config.seed, side=config.side)
    limits = _limits(config, space)
    if config.strategy == "exhaustive" and not space.is_enumerable:
        raise InputError(f"{space.name} is too large to go through; take --strategy evolve or --strategy prune.")
    _check_images(source, settings)
    folder = RunFolder(_output(config, space), _identity(config, space, settings, source))
    result = folder.result()
    if result is None:
        architecture, compiling = _searched(config, space, source, settings, folder, limits)
        result = _result(config, space, settings, folder, architecture, time.perf_counter() - start, compiling)
        folder.finish(result)
    if table:
        result["benchmark"] = _reported(table, result["architecture"])
        folder.finish(result)
    folder.write("report.html", report(folder, space, result))
    say(f"report: {folder.path / 'report.html'}")
    return result["architecture"]


def _settings(config: Config, space: "SearchSpace") -> Preset:
    return preset(config.preset, config.ntk, space=space, dataset=config.dataset, prune_number=config.prune_number)


def _check(config: Config) -> None:
    """Refuses options that make no sense, alone or together."""
    if config.seed < 0:
        raise InputError(f"--seed must be a whole number from 0; it is {config.seed}.")
    if config.strategy not in STRATEGIES:
        raise InputError(f"the strategy {config.strategy!r} is unknown; choose one of {', '.join(STRATEGIES)}.")
    if config.evaluations is not None and (config.evaluations < 1 or config.strategy != "evolve"):
        raise InputError(
            f"--evaluations is a whole number from 1 and belongs to --strategy evolve; it is {config.evaluations}, with "
            f"--strategy {config.strategy}."
        )
    if config.strategy != "prune" and (config.preset != "default" or config.prune_number is not None):
        raise InputError(
            f"--preset and --prune-number are about pruning; --strategy {config.strategy} goes by the scores of "
            "tenas_jax.rank. Leave them out, or take --strategy prune."
        )
    for option, value in (("--max-params", config.max_params), ("--max-flops", config.max_flops)):
        if value is not None and value < 1:
            raise InputError(f"{option} must be at least 1; it is {value}.")


def _limits(config: Config, space: "SearchSpace") -> "Budget | None":
    """The limits on cost, where there are any; refuses those that nothing meets."""
    from tenas_jax.search.budget import Budget

    if config.max_params is None and config.max_flops is None:
        return None
    limits = Budget(config.max_params, config.max_flops)
    limits.check(space)
    return limits


def _searched(
    config: Config,
    space: "SearchSpace",
    source: "ImageSource",
    settings: Preset,
    folder: RunFolder,
    limits: "Budget | None",
) -> tuple[str, float]:
    """Runs or resumes the strategy; the architecture, and the seconds spent on compiling."""
    from tenas_jax.scores.scorer import prepare
    from tenas_jax.search import strategies
    from tenas_jax.search.evolution import Evolution

    use_compilation_cache()
    if config.strategy == "prune":
        indicators = build_indicators(space, source, settings)
        architecture = strategies.prune_in_folder(config.seed, space, indicators, settings, folder, limits)
        return architecture, sum(indicator.program.compile_seconds for indicator in indicators)
    scores = _scores(config, space)
    if config.strategy == "exhaustive":
        return strategies.exhaust_in_folder(
            config.seed, space, scores, source, folder, ntk=settings.ntk, repeats=REPEATS, limits=limits
        )
    scorer = prepare(space, scores, source, ntk=settings.ntk, seed=config.seed, repeats=REPEATS)
    evolution = Evolution(evaluations=config.evaluations or EVALUATIONS)
    architecture = strategies.evolve_in_folder(config.seed, space, scores, scorer, evolution, folder, limits)
    return architecture, sum(view.program.compile_seconds for view in scorer.views)


def _scores(config: Config, space: "SearchSpace") -> tuple[str, ...]:
    """What evolution and exhaustive search go by; naming a kernel takes its condition number in."""
    scores = space.family.default_scores
    return scores if config.ntk is None or "condition_number" in scores else ("condition_number", *scores)


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
    from tenas_jax.scores import indicators

    use_compilation_cache()
    thin = {
        "skeleton": space.skeleton("regions")._replace(channels=settings.region_width, cells=settings.region_cells),
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
    skeleton = space.skeleton("ntk")._replace(channels=settings.ntk_channels)
    ntk_settings = {"images": settings.ntk_images, "side": settings.ntk_side, "repeats": settings.ntk_repeats}
    if settings.ntk == "analytic":
        ntk = indicators.analytic_condition_number(space, source, skeleton=skeleton, **ntk_settings)
    else:
        ntk = indicators.empirical_condition_number(
            space, source, skeleton=skeleton, fan=settings.fan, batch_stats=settings.batch_stats, **ntk_settings
        )
    return [ntk, expressivity]


def _output(config: Config, space: "SearchSpace") -> Path:
    dataset = config.dataset or ("own" if config.data else "synthetic")
    usual = replace(config, ntk=None, prune_number=None)
    asked, own = _settings(config, space), _settings(usual, space)
    kernel = f"-{config.ntk}" if (asked.ntk, asked.trainability) != (own.ntk, own.trainability) else ""
    number = f"-prune{config.prune_number}" if config.prune_number is not None else ""
    side = f"-side{config.side}" if config.side is not None else ""
    way = config.preset if config.strategy == "prune" else config.strategy
    numbers = ("evaluations", "max_params", "max_flops")
    limits = "".join(f"-{name.replace('_', '')}{getattr(config, name)}" for name in numbers if getattr(config, name))
    name = f"{space.name}-{dataset}{side}-{way}{kernel}{number}{limits}-seed{config.seed}"
    return config.output or Path("runs") / name


def _identity(config: Config, space: "SearchSpace", settings: Preset, source: "ImageSource") -> dict[str, Any]:
    """What decides the architecture found. Versions are recorded with the result, but are no part of it."""
    from tenas_jax.spaces.registry import identity_of

    if config.strategy == "prune":
        by: dict[str, Any] = {"preset": config.preset, "settings": asdict(settings)}
    else:
        by = _ranking_settings(config, space, settings)
    return {
        "space": identity_of(space),
        "strategy": config.strategy,
        "max_params": config.max_params,
        "max_flops": config.max_flops,
        "dataset": source.name,
        "data_sha256": source.fingerprint,
        "data_mean": source.mean,
        "data_std": source.std,
        "seed": config.seed,
        **by,
    }


def _ranking_settings(config: Config, space: "SearchSpace", settings: Preset) -> dict[str, Any]:
    """What evolution and exhaustive search go by."""
    found = {"scores": list(_scores(config, space)), "ntk": settings.ntk, "repeats": REPEATS}
    return found | ({"evaluations": config.evaluations or EVALUATIONS} if config.strategy == "evolve" else {})


def _result(
    config: Config,
    space: "SearchSpace",
    settings: Preset,
    folder: RunFolder,
    architecture: str,
    seconds: float,
    compiling: float,
) -> dict[str, Any]:
    from tenas_jax.networks import cost
    from tenas_jax.spaces.darts import DARTS
    from tenas_jax.spaces.strings import genotype_json

    chosen = asdict(settings) if config.strategy == "prune" else _ranking_settings(config, space, settings)
    costs = cost.costs(space, space.parse(architecture))
    as_json = json.loads(genotype_json(DARTS, DARTS.parse(architecture))) if config.space == "darts" else None
    return {
        "architecture": architecture,
        **({"genotype": as_json} if as_json else {}),
        "space": config.space,
        "dataset": config.dataset or ("own" if config.data else "synthetic"),
        "seed": config.seed,
        "strategy": config.strategy,
        "config": {**chosen, "preset": config.preset, "data": str(config.data) if config.data else None},
        "cost": {"parameters": int(costs.parameters), "flops": int(costs.flops)},
        "rounds": len(folder.rounds),
        "evaluations": sum(record["evaluations"] for record in folder.rounds),
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
