"""`python -m tenas_jax.report`: the page of a run again, several runs on one page, and their plots as files."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tenas_jax.command_line import Parser, exit_code, say

if TYPE_CHECKING:
    from tenas_jax.report.run_files import Run


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 with a page written, 2 with one sentence for bad input.

    Args:
        argv: arguments without the program's name; by default those of the process.
    """
    return exit_code(lambda: run(_arguments(argv)))


def _arguments(argv: list[str] | None) -> Namespace:
    parser = Parser(
        prog="python -m tenas_jax.report",
        description="Makes the page of a run again, or one page that compares several. Nothing of a run is changed, "
        "computed or run. The last line on standard output is the page's path.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a search, or csv of a ranking")
    parser.add_argument(
        "--output", type=Path, metavar="FILE",
        help="the page (default: report.html in the folder, beside a ranking's csv its name with .html; of several runs "
        "report.html here)",
    )  # fmt: skip
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="also every plot as SVG, PDF and PNG; needs Matplotlib"
    )
    return parser.parse_args(argv)


def run(options: Namespace) -> str:
    """Writes a page.

    Args:
        options: of the command line.

    Returns:
        Its path.

    Raises:
        InputError: where there is no run, or nothing can be written.
    """
    from tenas_jax.records.files import write_text
    from tenas_jax.report.compare import compared
    from tenas_jax.report.page import report
    from tenas_jax.report.run_files import read_run

    runs = [read_run(path) for path in options.runs]
    for one in runs:
        for sentence in one.damage:
            say(f"{one.path}: {sentence}")
    output = options.output or page_path(runs)
    write_text(output, report(runs[0]) if len(runs) == 1 else compared(runs))
    if options.figures:
        draw(options.figures, runs)
    return str(output)


def page_path(runs: "Sequence[Run]") -> Path:
    """Where the page of some runs usually is.

    Args:
        runs: at least one.
    """
    if len(runs) > 1:
        return Path("report.html")
    return runs[0].path.with_suffix(".html") if runs[0].kind == "rank" else runs[0].path / "report.html"


def draw(folder: Path, runs: "Sequence[Run]") -> None:
    """Writes the plots of some runs as files.

    Args:
        folder: for them; of several runs, one each within it.
        runs: any.

    Raises:
        InputError: where Matplotlib is missing, or nothing can be written.
    """
    from tenas_jax.report.figures import write_figures
    from tenas_jax.report.page import pictures

    for number, one in enumerate(runs):
        place = folder if len(runs) == 1 else folder / f"{number}-{one.path.stem}"
        say(f"{len(write_figures(place, pictures(one)))} files of figures in {place}")
