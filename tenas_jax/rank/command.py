"""`python -m tenas_jax.rank`: every architecture, every score, in order."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tenas_jax.command_line import (
    Parser,
    check_devices,
    check_seed,
    exit_code,
    provenance,
    say,
    use_compilation_cache,
)
from tenas_jax.errors import InputError
from tenas_jax.scores.presets import check_kernel
from tenas_jax.terminal import speaking

# JAX is imported where it is used: `--help` and a mistyped option answer at once.
if TYPE_CHECKING:
    import numpy as np

    from tenas_jax.data import ImageSource
    from tenas_jax.rank.benchmark_table import BenchmarkTable
    from tenas_jax.rank.correlation import Figure
    from tenas_jax.rank.ranking_files import RankingFiles
    from tenas_jax.spaces.score import Score
    from tenas_jax.spaces.space import SearchSpace

TOLD = 10  # architectures that are said at the end
MOST_REPEATS = 10_000  # a shard of 256 architectures has 20 MB a score by then


@dataclass(frozen=True)
class RankConfig:
    """A ranking, as the command line names it; the options of `--help` say what each field is."""

    space: str = "nasbench201"
    architectures: str = "all"
    scores: str | None = None
    dataset: str | None = None
    data: Path | None = None
    side: int | None = None
    ntk: str | None = None
    repeats: int = 8
    seed: int = 0
    benchmark: Path | None = None
    benchmark_column: str | None = None
    ray: str | None = None
    figures: Path | None = None
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
        help="nasbench201, darts, or your own as FILE.py:NAME or package.module:NAME, whose code is run "
        "(default: %(default)s)",
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
    add("--side", type=int, metavar="N", help="height and width of the images, as in tenas_jax.search")
    add(
        "--ntk",
        metavar="KIND",
        help="analytic (default on nasbench201) or empirical (default on darts) for the scores that are read from a kernel",
    )
    add(
        "--repeats", type=int, default=RankConfig.repeats, metavar="N",
        help="draws of images and weights over which a score is averaged (default: %(default)s)",
    )  # fmt: skip
    add("--seed", type=int, default=RankConfig.seed, metavar="N", help="of everything random (default: %(default)s)")
    add(
        "--benchmark", type=Path, metavar="TABLE",
        help="csv or csv.gz of trained accuracies, or what the packages of NATS-Bench and NAS-Bench-201 read (pickles, "
        "which can run code): print and write rank correlations, and draw scatter plots; takes no part in the scores",
    )  # fmt: skip
    add("--benchmark-column", metavar="NAME", help="the accuracy column, where the table has several")
    add(
        "--ray", metavar="ADDRESS",
        help="hand the work out to a Ray cluster: HOST:PORT, auto, or local for one on this machine; its ports ask for no "
        "password",
    )  # fmt: skip
    add(
        "--figures",
        type=Path,
        metavar="DIR",
        help="every plot of the report also as SVG, PDF and PNG; needs Matplotlib",
    )
    add("--output", type=Path, default=RankConfig.output, metavar="FILE", help="default: %(default)s")
    return RankConfig(**vars(parser.parse_args(argv)))


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 with a ranking written, 2 with one sentence for bad input.

    Args:
        argv: arguments without the program's name; by default those of the process.
    """
    return exit_code(lambda: run(arguments(argv)))


class Work(NamedTuple):
    """All that a ranking is made of.

    Attributes:
        space: the search space.
        masks: (m, cells, edges, operators), all different.
        scores: by name.
        source: of images.
        ray: from `cluster.connect`, or None.
    """

    space: "SearchSpace"
    masks: "np.ndarray"
    scores: "Mapping[str, Score]"
    source: "ImageSource"
    ray: Any


def run(config: RankConfig) -> str:
    """Ranks architectures, or finishes a ranking that was interrupted; what is finished is not computed again.

    Args:
        config: what to rank.

    Returns:
        The first architecture's string; the rest is in the files beside `config.output`.

    Raises:
        InputError: for bad input.
    """
    start = time.perf_counter()
    _check(config)

    from tenas_jax.rank.benchmark_table import read_table
    from tenas_jax.rank.ranking_files import RankingFiles, check_output
    from tenas_jax.rank.score_table import identity
    from tenas_jax.records.files import remove_tree, write_csv
    from tenas_jax.report.run_files import ACCURACY, benchmark_path

    check_output(config.output)
    table = read_table(config.benchmark, config.benchmark_column) if config.benchmark else None
    with speaking():
        work = _work(config)
        if table:
            _check_overlap(work, table)
        who = identity(work.space, work.masks, work.scores, work.source, seed=config.seed, repeats=config.repeats)
        with RankingFiles(config.output, who) as files:
            if files.finished:
                say(f"{files.csv} was finished before, and is not computed again")
                strings, columns, record = files.finished
                remove_tree(files.parts)  # of a kill just before its end
            else:
                strings, columns, record = _ranked(config, work, files, start)
            if table:
                goodness, accuracies = _goodness(work, columns), _accuracies(table, strings)
                results, summary = _correlated(goodness, accuracies, table)
                files.write_record({**record, "correlation": summary})
                write_csv(benchmark_path(files.csv), strings, {ACCURACY: accuracies})
                _draw(config, goodness, accuracies, results, table.column)
            _report(config, work, strings, columns)
    return strings[0]


def _report(config: RankConfig, work: Work, strings: list[str], columns: "dict[str, np.ndarray]") -> None:
    """Writes the page beside the csv, and says the first ten and where everything is."""
    from tenas_jax.records.files import write_text
    from tenas_jax.report.command import draw, page_path
    from tenas_jax.report.page import report
    from tenas_jax.report.run_files import read_run

    made = read_run(config.output)._replace(space=work.space)
    page = page_path([made])
    write_text(page, report(made))
    if config.figures:
        draw(config.figures, [made])
    names = ["smoothed", *work.scores]
    rows = [["place", *(name.replace("_", " ") for name in names), "architecture"]]
    for place, architecture in enumerate(strings[:TOLD]):
        rows.append([str(place + 1), *(f"{columns[name][place]:.4g}" for name in names), architecture])
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    for *cells, architecture in rows:
        say("  ".join([*(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)), architecture]))
    say(f"scores: {config.output}")
    say(f"report: {page}")


def _check(config: RankConfig) -> None:
    """Refuses options that make no sense, before JAX is loaded."""
    check_seed(config.seed)
    if not 1 <= config.repeats <= MOST_REPEATS:
        raise InputError(f"--repeats must be a whole number from 1 to {MOST_REPEATS}; it is {config.repeats}.")
    if config.benchmark_column is not None and config.benchmark is None:
        raise InputError("--benchmark-column names a column of the table that --benchmark gives; give both.")


def _work(config: RankConfig) -> Work:
    from tenas_jax.spaces.registry import find_space

    space = find_space(config.space)
    check_kernel(config.ntk)

    import jax

    from tenas_jax.data import open_images
    from tenas_jax.rank import architectures, cluster
    from tenas_jax.scores.catalogue import chosen_scores, readable_scores

    names = _score_names(config, space)
    chosen_scores(space, names)
    architectures.check_number(space, config.architectures)
    # Ray forks, which a process must not do once JAX has started its threads.
    ray = cluster.connect(config.ray) if config.ray else None
    check_devices()
    scores = readable_scores(space, names, config.ntk)  # pyright: ignore[reportArgumentType]
    listing = architectures.choose(space, config.architectures, jax.random.key(config.seed))
    if listing.duplicates:
        say(f"{listing.duplicates} architectures came twice and are listed once")
    source = open_images(config.dataset, config.data, seed=config.seed, side=config.side)
    return Work(space, listing.masks, scores, source, ray)


def _ranked(
    config: RankConfig, work: Work, files: "RankingFiles", start: float
) -> "tuple[list[str], dict[str, np.ndarray], dict[str, Any]]":
    """Computes a ranking, or what is left of it, and writes it: architectures, columns, record."""
    from tenas_jax.rank import cluster
    from tenas_jax.rank.score_table import score_architectures
    from tenas_jax.records.environment import fingerprint
    from tenas_jax.records.files import remove_tree
    from tenas_jax.records.spent import Spent

    use_compilation_cache()
    spent = Spent()
    spent.started = start
    found = score_architectures(
        work.space, work.masks, work.scores, work.source, files.parts, seed=config.seed,
        repeats=config.repeats, ray=work.ray, spent=spent,
        environment=cluster.environment(work.ray) if work.ray else fingerprint(),
    )  # fmt: skip
    strings = work.space.formats(found.masks)
    record = {
        "architectures": len(strings),
        "distinct": found.distinct,
        "scores": list(work.scores),
        "space": config.space,
        "ntk": config.ntk,
        "dataset": work.source.name,
        "seed": config.seed,
        "repeats": config.repeats,
        "evaluated_now": found.evaluated,
        **spent.total(),
        **provenance(),
    }
    record = files.write(strings, found.columns, record)
    remove_tree(files.parts)
    return strings, found.columns, record


def _score_names(config: RankConfig, space: "SearchSpace") -> tuple[str, ...]:
    if config.scores is None:
        return space.family.default_scores
    return tuple(name.strip() for name in config.scores.split(",") if name.strip())


def _goodness(work: Work, columns: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
    """Normalised ranks by score, the best 1."""
    from tenas_jax.scores.ranks import average_rank

    lower = {name: score.lower_is_better for name, score in work.scores.items()}
    lower |= {"smoothed": False, "log_rank_sum": False, "rank_sum": True}
    order = ("smoothed", "log_rank_sum", "rank_sum", *work.scores)
    return {name: average_rank(columns[name], descending=not lower[name]) for name in order}


def _accuracies(table: "BenchmarkTable", strings: list[str]) -> "np.ndarray":
    import numpy as np

    return np.array([table.accuracies.get(name, np.nan) for name in strings])


def _check_overlap(work: Work, table: "BenchmarkTable") -> None:
    """Refuses, before any work, a table that nothing could be correlated with."""
    held = sum(work.space.format(mask) in table.accuracies for mask in work.masks)
    if held < 2:
        raise InputError(f"{table.path} holds {held} of the architectures; at least 2 are needed.")


def _correlated(
    goodness: "dict[str, np.ndarray]", accuracies: "np.ndarray", table: "BenchmarkTable"
) -> "tuple[dict[str, dict[str, Figure] | None], dict[str, Any]]":
    """Prints how the scores rank what the table holds; the figures, and what the record says of them."""
    import numpy as np

    from tenas_jax.rank import correlation

    held = np.isfinite(accuracies)
    if not held.all():
        say(f"{table.path} lacks {(~held).sum()} of {len(held)} architectures; the rest is correlated")
    results = {name: correlation.correlate(values[held], accuracies[held]) for name, values in goodness.items()}
    print(correlation.as_table(results))
    return results, {
        "benchmark": str(table.path),
        "column": table.column,
        "architectures": int(held.sum()),
        "lacking": int((~held).sum()),
        "intervals": "2.5 and 97.5 % of 200 bootstrap samples of architectures",
        "scores": {
            name: figures and {key: figure._asdict() for key, figure in figures.items()}
            for name, figures in results.items()
        },
    }


def _draw(
    config: RankConfig,
    goodness: "dict[str, np.ndarray]",
    accuracies: "np.ndarray",
    results: "dict[str, dict[str, Figure] | None]",
    column: str,
) -> None:
    """Draws the plots; without Matplotlib there are none, and the rest is on the disc."""
    import numpy as np

    from tenas_jax.rank import scatter

    held = np.isfinite(accuracies)
    drawn = {name: goodness[name][held] for name, figures in results.items() if figures}
    taus = {name: figures["kendall_tau"].value for name, figures in results.items() if figures}
    if not drawn:
        return
    try:
        scatter.draw(config.output.with_suffix(""), drawn, accuracies[held], taus, column)
    except ImportError:
        say("no plots: they need Matplotlib, which is not installed (python -m pip install matplotlib)")
