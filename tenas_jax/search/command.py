"""`python -m tenas_jax.search`: from a search space and images to one architecture, without training."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenas_jax.command_line import SPACE_NAMES, Parser, amount, check_devices, exit_code, provenance, say
from tenas_jax.search.config import EVALUATIONS, REPEATS, Config
from tenas_jax.terminal import speaking

# JAX is imported where it is used: `--help` and a mistyped option answer at once.
if TYPE_CHECKING:
    from argparse import _ArgumentGroup as ArgumentGroup

    from tenas_jax.rank.benchmark_table import BenchmarkTable
    from tenas_jax.records.run_folder import RunFolder
    from tenas_jax.search.job import Job
    from tenas_jax.spaces.cell_graph import Mask


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
        help=f"search space: {', '.join(SPACE_NAMES)}, or a custom one as FILE.py:NAME or package.module:NAME, "
        "whose code is run (default: %(default)s)",
    )  # fmt: skip
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
    add(
        "--repeats", type=int, metavar="N",
        help=f"draws of images and weights over which a score is averaged (default: {REPEATS}, of pruning the preset's)",
    )  # fmt: skip
    add(
        "--seed", type=int, default=Config.seed, metavar="N",
        help="random seed for images, weights and sampling (default: %(default)s)",
    )  # fmt: skip


def _record_options(group: "ArgumentGroup") -> None:
    add = group.add_argument
    add(
        "--benchmark", type=Path, metavar="TABLE",
        help="csv or csv.gz with `architecture` and an accuracy column, or what the packages of NATS-Bench and "
        "NAS-Bench-201 read (pickles, which can run code): report what the architecture found reaches there; takes no part "
        "in the search",
    )  # fmt: skip
    add("--benchmark-column", metavar="NAME", help="the accuracy column, where the table has several")
    add(
        "--figures",
        type=Path,
        metavar="DIR",
        help="every plot of the report also as SVG, PDF and PNG; needs Matplotlib",
    )
    add(
        "--seeds", metavar="A-B",
        help="several searches, one a seed, such as 0-9 or 0,3,7, in folders of their own, with a page that compares them; "
        "the architecture is the one that most agree with",
    )  # fmt: skip
    add("--output", type=Path, metavar="DIR", help="run folder (default: runs/SPACE-DATASET-PRESET-seedN)")


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 with a result written, 2 with one sentence for bad input.

    Args:
        argv: arguments without the program's name; by default those of the process.
    """
    return exit_code(lambda: run(_arguments(argv)))


def run(config: Config, callback: "Callable[[dict[str, Any]], None] | None" = None) -> str:
    """Runs or resumes a search.

    Args:
        config: what to search.
        callback: gets every new record of a round, once it is on the disc.

    Returns:
        The architecture's string; the run's folder holds the rest.

    Raises:
        InputError: for bad input.
    """
    start = time.perf_counter()
    if config.seeds is not None:
        from tenas_jax.search.several import run_seeds

        return run_seeds(config, lambda one: run(one, callback))
    check_devices()

    from tenas_jax.records.environment import fingerprint
    from tenas_jax.records.run_folder import RunFolder
    from tenas_jax.report.command import draw
    from tenas_jax.report.page import report
    from tenas_jax.report.run_files import read_run
    from tenas_jax.search.job import resolve
    from tenas_jax.search.strategies import search

    with speaking():
        job = resolve(config)
        with RunFolder(job.output, job.identity, fingerprint()) as folder:
            folder.spent.started = start
            folder.callback = callback
            result = folder.result()
            if result is None:
                if folder.rounds:
                    say(
                        f"{folder.path} was interrupted after round {folder.rounds[-1]['round']}; it goes on from there"
                    )
                result = _result(job, folder, search(job, folder))
                folder.finish(result)
            else:
                say(f"{folder.path} was finished before, and is not computed again")
            if job.table:
                result["benchmark"] = _reported(job.table, result["architecture"])
                folder.finish(result)
            made = read_run(folder.path)._replace(space=job.space)
            folder.write("report.html", report(made))
            if config.figures:
                draw(config.figures, [made])
            _say_summary(folder.path, result)
    return result["architecture"]


def _say_summary(path: Path, result: dict[str, Any]) -> None:
    """What a person wants to know at the end, in five lines."""
    cost = result["cost"]
    say(f"found: {result['architecture']}")
    say(f"trained, it has {cost['parameters']:,} parameters and {cost['flops']:,} multiply-adds")
    say(f"by {result['strategy']}: {result['evaluations']:,} evaluations in {result['rounds']} rounds")
    say(f"in {result['wall_seconds']:.1f} s, {result['compile_seconds']:.1f} s of them compiling")
    say(f"report: {path / 'report.html'}")


def _result(job: "Job", folder: "RunFolder", mask: "Mask") -> dict[str, Any]:
    from tenas_jax.networks import cost
    from tenas_jax.spaces.strings import genotype_json

    architecture = job.space.format(mask)
    costs = cost.costs(job.space, mask)
    as_json = {"genotype": json.loads(genotype_json(job.space, mask))} if job.space.writes_genotypes else {}
    return {
        "architecture": architecture,
        "choice": job.space.choice(mask).tolist(),
        **as_json,
        **job.labels,
        "cost": {"parameters": int(costs.parameters), "flops": int(costs.flops)},
        "rounds": len(folder.rounds),
        "evaluations": sum(record["evaluations"] for record in folder.rounds),
        "benchmark": None,
        **folder.spent.total(),
        **provenance(),
    }


def _reported(table: "BenchmarkTable", architecture: str) -> dict[str, Any] | None:
    """Prints what an architecture reaches, and returns it for the record; None where the table does not hold it."""
    if architecture not in table.accuracies:
        say(
            f"{table.path} does not hold the architecture that was found, {architecture}: there is no accuracy to report"
        )
        return None
    standing = table.standing(architecture)
    print(
        f"{standing.column}: {standing.accuracy:.2f}, rank {standing.rank} of {standing.architectures}; "
        f"the optimum is {standing.optimum:.2f}"
    )
    return standing._asdict()
