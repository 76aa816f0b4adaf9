"""`python -m tenas_jax.rank`: every architecture, every score, in order."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenas_jax import options
from tenas_jax.command_line import Parser, exit_code, provenance, say, use_compilation_cache
from tenas_jax.rank.config import RankConfig
from tenas_jax.terminal import speaking

# JAX is imported where it is used: `--help` and a mistyped option answer at once.
if TYPE_CHECKING:
    import numpy as np

    from tenas_jax.rank.benchmark_table import BenchmarkTable
    from tenas_jax.rank.correlation import Figure
    from tenas_jax.rank.job import Job
    from tenas_jax.rank.ranking_files import RankingFiles

TOLD = 10  # architectures that are said at the end


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
    _what_options(parser.add_argument_group("what is ranked"))
    _how_options(parser.add_argument_group("how"))
    record = parser.add_argument_group("record")
    options.add_benchmark(
        record, "print and write rank correlations, and draw scatter plots; takes no part in the scores"
    )
    options.add_figures(record)
    record.add_argument(
        "--output", type=Path, default=RankConfig.output, metavar="FILE", help="csv (default: %(default)s)"
    )
    return RankConfig(**vars(parser.parse_args(argv)))


def _what_options(group: options.Options) -> None:
    options.add_space(group, RankConfig.space)
    group.add_argument(
        "--architectures", default=RankConfig.architectures, metavar="all|N|FILE",
        help="all of the space, N at random, or those of a file: one a line, or a csv or csv.gz with a column "
        "`architecture`, or `normal` and `reduce` (default: %(default)s; darts is too large for all)",
    )  # fmt: skip
    options.add_images(group)


def _how_options(group: options.Options) -> None:
    group.add_argument(
        "--scores", metavar="A,B,...",
        help="which scores; the order is that of the sum of their log ranks, smoothed over architectures one operator away "
        "(default: those that rank best together); an unknown one lists them all",
    )  # fmt: skip
    group.add_argument(
        "--ntk", metavar="KIND",
        help="analytic (default on nasbench201) or empirical (default on darts) for the scores that are read from a kernel",
    )  # fmt: skip
    options.add_engine(group)
    options.add_repeats(group, RankConfig.repeats, "%(default)s")
    options.add_seed(group, RankConfig.seed)
    group.add_argument(
        "--ray", metavar="ADDRESS",
        help="hand the work out to a Ray cluster: HOST:PORT, auto, or local for one on this machine; its ports ask for no "
        "password",
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 with a ranking written, 2 with one sentence for bad input.

    Args:
        argv: arguments without the program's name; by default those of the process.
    """
    return exit_code(lambda: run(arguments(argv)))


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
    options.check_shared(
        seed=config.seed, side=config.side, repeats=config.repeats,
        benchmark=config.benchmark, benchmark_column=config.benchmark_column,
    )  # fmt: skip

    from tenas_jax.rank.job import resolve
    from tenas_jax.rank.ranking_files import RankingFiles
    from tenas_jax.records.files import remove_tree, write_csv
    from tenas_jax.report.run_files import ACCURACY, benchmark_path

    with speaking():
        job = resolve(config)
        with RankingFiles(job.output, job.identity) as files:
            if files.finished:
                say(f"{files.csv} was finished before, and is not computed again")
                strings, columns, record = files.finished
                remove_tree(files.parts)  # of a kill just before its end
            else:
                strings, columns, record = _ranked(job, files, start)
            if job.table:
                goodness, accuracies = _goodness(job, columns), _accuracies(job.table, strings)
                results, summary = _correlated(goodness, accuracies, job.table)
                files.write_record({**record, "correlation": summary})
                write_csv(benchmark_path(files.csv), strings, {ACCURACY: accuracies})
                _draw(job, goodness, accuracies, results)
            _report(job, strings, columns, config.figures)
    return strings[0]


def _report(job: "Job", strings: list[str], columns: "dict[str, np.ndarray]", figures: Path | None) -> None:
    """Writes the page beside the csv, and says the first ten and where everything is."""
    from tenas_jax.records.files import write_text
    from tenas_jax.report.command import draw, page_path
    from tenas_jax.report.page import report
    from tenas_jax.report.run_files import read_run

    made = read_run(job.output)._replace(space=job.space)
    page = page_path([made])
    write_text(page, report(made))
    if figures:
        draw(figures, [made])
    names = ["smoothed", *job.scores]
    rows = [["place", *(name.replace("_", " ") for name in names), "architecture"]]
    for place, architecture in enumerate(strings[:TOLD]):
        rows.append([str(place + 1), *(f"{columns[name][place]:.4g}" for name in names), architecture])
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    for *cells, architecture in rows:
        say("  ".join([*(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)), architecture]))
    say(f"scores: {job.output}")
    say(f"report: {page}")


def _ranked(
    job: "Job", files: "RankingFiles", start: float
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
        job.space, job.masks, job.scores, job.source, files.parts, seed=job.seed,
        repeats=job.repeats, ray=job.ray, spent=spent,
        environment=cluster.environment(job.ray) if job.ray else fingerprint(),
    )  # fmt: skip
    strings = job.space.formats(found.masks)
    record = {
        "architectures": len(strings),
        "distinct": found.distinct,
        "scores": list(job.scores),
        **job.labels,
        "seed": job.seed,
        "repeats": job.repeats,
        "evaluated_now": found.evaluated,
        **spent.total(),
        **provenance(),
    }
    record = files.write(strings, found.columns, record)
    remove_tree(files.parts)
    return strings, found.columns, record


def _goodness(job: "Job", columns: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
    """Normalised ranks by score, the best 1."""
    from tenas_jax.scores.ranks import average_rank

    lower = {name: score.lower_is_better for name, score in job.scores.items()}
    lower |= {"smoothed": False, "log_rank_sum": False, "rank_sum": True}
    order = ("smoothed", "log_rank_sum", "rank_sum", *job.scores)
    return {name: average_rank(columns[name], descending=not lower[name]) for name in order}


def _accuracies(table: "BenchmarkTable", strings: list[str]) -> "np.ndarray":
    import numpy as np

    return np.array([table.accuracy(name) for name in strings])


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
    job: "Job",
    goodness: "dict[str, np.ndarray]",
    accuracies: "np.ndarray",
    results: "dict[str, dict[str, Figure] | None]",
) -> None:
    """Draws the plots; without Matplotlib there are none, and the rest is on the disc."""
    import numpy as np

    from tenas_jax.rank import scatter

    held = np.isfinite(accuracies)
    drawn = {name: goodness[name][held] for name, figures in results.items() if figures}
    taus = {name: figures["kendall_tau"].value for name, figures in results.items() if figures}
    if not drawn or job.table is None:
        return
    try:
        scatter.draw(job.output.with_suffix(""), drawn, accuracies[held], taus, job.table.column)
    except ImportError:
        say("no plots: they need Matplotlib, which is not installed (python -m pip install matplotlib)")
