"""`python -m tenas_jax.rank`: every architecture, every score, in order."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenas_jax.command_line import Parser, exit_code, provenance, say, use_compilation_cache
from tenas_jax.errors import InputError
from tenas_jax.scores.presets import preset

# JAX is imported where it is used: `--help` and a mistyped option answer at once.
if TYPE_CHECKING:
    import numpy as np

    from tenas_jax.rank.correlation import Figure
    from tenas_jax.spaces.space import SearchSpace


@dataclass(frozen=True)
class RankConfig:
    """A ranking, as the command line names it; the options of `--help` say what each field is."""

    space: str = "nasbench201"
    architectures: str = "all"
    scores: str | None = None
    dataset: str | None = None
    data: Path | None = None
    ntk: str | None = None
    repeats: int = 8
    seed: int = 0
    benchmark: Path | None = None
    benchmark_column: str | None = None
    ray: str | None = None
    output: Path = Path("scores.csv")


def arguments(argv: list[str] | None) -> RankConfig:
    """Reads the command line.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Raises:
        InputError: for what is no option, or no value of one.
    """
    parser = Parser(
        prog="python -m tenas_jax.rank",
        description="Scores architectures without training one, and writes them in order: a row an architecture, a column "
        "a score and its health.",
        epilog="An interrupted run goes on with the same command. Equal cells are computed once. Costs are those of the "
        "network that is trained.",
    )
    add = parser.add_argument
    add(
        "--space", default=RankConfig.space, metavar="NAME",
        help="nasbench201, darts, or your own as FILE.py:NAME or package.module:NAME (default: %(default)s)",
    )  # fmt: skip
    add(
        "--architectures", default=RankConfig.architectures, metavar="all|N|FILE",
        help="all of the space, N at random, or those of a file: one a line, or a csv or csv.gz with a column "
        "`architecture`, or `normal` and `reduce` (default: %(default)s; darts is too large for all)",
    )  # fmt: skip
    add(
        "--scores", metavar="A,B,...",
        help="which scores; the order is that of the sum of their log ranks, smoothed over architectures one operator away "
        "(default: those that rank best together); an unknown one lists them all",
    )  # fmt: skip
    add("--dataset", metavar="NAME", help="as in tenas_jax.search (default: synthetic)")
    add("--data", type=Path, metavar="PATH", help="own images, as in tenas_jax.search")
    add("--ntk", metavar="KIND", help="analytic (default on nasbench201) or empirical (default on darts)")
    add(
        "--repeats", type=int, default=RankConfig.repeats, metavar="N",
        help="draws of images and weights over which a score is averaged (default: %(default)s)",
    )  # fmt: skip
    add("--seed", type=int, default=RankConfig.seed, metavar="N", help="of everything random (default: %(default)s)")
    add(
        "--benchmark", type=Path, metavar="TABLE",
        help="csv or csv.gz of trained accuracies, or what the packages of NATS-Bench and NAS-Bench-201 read: print and "
        "write rank correlations, and draw scatter plots; takes no part in the scores",
    )  # fmt: skip
    add("--benchmark-column", metavar="NAME", help="the accuracy column, where the table has several")
    add(
        "--ray", metavar="ADDRESS",
        help="hand the work out to a Ray cluster: HOST:PORT, auto, or local for one on this machine",
    )  # fmt: skip
    add("--output", type=Path, default=RankConfig.output, metavar="FILE", help="default: %(default)s")
    return RankConfig(**vars(parser.parse_args(argv)))


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 with a ranking written, 2 with one sentence for bad input.

    Args:
        argv: arguments without the program's name; by default those of the process.
    """
    return exit_code(lambda: run(arguments(argv)))


def run(config: RankConfig) -> str:
    """Ranks architectures, or finishes a ranking that was interrupted.

    Args:
        config: what to rank.

    Returns:
        The first architecture's string; the rest is in the files beside `config.output`.

    Raises:
        InputError: for bad input.
    """
    start = time.perf_counter()
    from tenas_jax.spaces.registry import find_space

    space = find_space(config.space)
    settings = preset("default", config.ntk, space=space)
    for name, value, least in (("--seed", config.seed, 0), ("--repeats", config.repeats, 1)):
        if value < least:
            raise InputError(f"{name} must be a whole number from {least}; it is {value}.")

    import jax
    import numpy as np

    from tenas_jax.data import open_images
    from tenas_jax.rank import architectures, cluster
    from tenas_jax.rank.benchmark_table import read_table
    from tenas_jax.rank.score_table import score_architectures
    from tenas_jax.records.files import write_csv, write_text
    from tenas_jax.scores import views
    from tenas_jax.scores.fallback import readable_kernel

    names = _score_names(config, space)
    views.check_scores(space, names)
    ntk = readable_kernel(space, settings.ntk) if views.need_kernel(names) else settings.ntk
    table = read_table(config.benchmark, config.benchmark_column) if config.benchmark else None
    listing = architectures.choose(space, config.architectures, jax.random.key(config.seed))
    if listing.duplicates:
        say(f"{listing.duplicates} architectures came twice and are listed once")
    source = open_images(config.dataset, config.data, seed=config.seed)
    ray = cluster.connect(config.ray) if config.ray else None
    use_compilation_cache()

    parts = config.output.with_name(f"{config.output.name}.parts")
    found = score_architectures(
        space, listing.masks, names, source, parts, ntk=ntk, seed=config.seed, repeats=config.repeats, ray=ray
    )
    strings = space.formats(found.masks)
    write_csv(config.output, strings, found.columns)
    record = {
        "architectures": len(strings),
        "distinct": found.distinct,
        "scores": list(names),
        "space": config.space,
        "ntk": ntk,
        "dataset": source.name,
        "seed": config.seed,
        "repeats": config.repeats,
        "evaluated_now": found.evaluated,
        "compile_seconds": round(found.compile_seconds, 3),
        **provenance(),
    }
    if table:
        accuracies = np.array([table.accuracies.get(name, np.nan) for name in strings])
        sums = ("smoothed", "log_rank_sum", "rank_sum")
        goodness = {name: _goodness(space, name, found.columns[name]) for name in (*sums, *names)}
        record["correlation"] = _correlated(config, goodness, accuracies, table.column)
    record["wall_seconds"] = round(time.perf_counter() - start, 3)
    write_text(config.output.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    shutil.rmtree(parts, ignore_errors=True)
    return strings[0]


def _score_names(config: RankConfig, space: "SearchSpace") -> tuple[str, ...]:
    if config.scores is None:
        return space.family.default_scores
    return tuple(name.strip() for name in config.scores.split(",") if name.strip())


def _goodness(space: "SearchSpace", name: str, values: "np.ndarray") -> "np.ndarray":
    """Normalised ranks, the best 1."""
    from tenas_jax.scores.ranks import average_rank
    from tenas_jax.scores.views import scores_of

    if name in ("smoothed", "log_rank_sum"):
        return average_rank(values, descending=True)
    return average_rank(values, descending=name != "rank_sum" and not scores_of(space)[name].lower_is_better)


def _correlated(
    config: RankConfig, goodness: "dict[str, np.ndarray]", accuracies: "np.ndarray", column: str
) -> dict[str, Any]:
    """Prints and draws how the scores rank what the table holds, and returns it for the record."""
    import numpy as np

    from tenas_jax.rank import correlation, scatter

    held = np.isfinite(accuracies)
    if held.sum() < 2:
        raise InputError(f"{config.benchmark} holds {held.sum()} of the architectures; at least 2 are needed.")
    if not held.all():
        say(f"{config.benchmark} lacks {(~held).sum()} of {len(held)} architectures; the rest is correlated")
    results: dict[str, dict[str, Figure] | None] = {
        name: correlation.correlate(values[held], accuracies[held]) for name, values in goodness.items()
    }
    print(correlation.as_table(results))
    drawn = {name: goodness[name][held] for name, figures in results.items() if figures}
    if drawn:
        taus = {name: figures["kendall_tau"].value for name, figures in results.items() if figures}
        scatter.draw(config.output.with_suffix(""), drawn, accuracies[held], taus, column)
    return {
        "benchmark": str(config.benchmark),
        "column": column,
        "architectures": int(held.sum()),
        "lacking": int((~held).sum()),
        "intervals": "2.5 and 97.5 % of 200 bootstrap samples of architectures",
        "scores": {
            name: figures and {key: figure._asdict() for key, figure in figures.items()}
            for name, figures in results.items()
        },
    }
