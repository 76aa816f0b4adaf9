"""`python -m tenas_jax.search`: from a search space and images to one architecture, without training."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenas_jax import options
from tenas_jax.command_line import Parser, amount, check_devices, exit_code, provenance, say
from tenas_jax.search.config import EVALUATIONS, Config
from tenas_jax.spaces.score import REPEATS
from tenas_jax.terminal import speaking

# JAX is imported where it is used: `--help` and a mistyped option answer at once.
if TYPE_CHECKING:
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
    _hardware_options(parser.add_argument_group("limits on hardware"))
    _how_options(parser.add_argument_group("how"))
    _record_options(parser.add_argument_group("record"))
    return Config(**vars(parser.parse_args(argv)))


def _what_options(group: options.Options) -> None:
    options.add_space(group, Config.space)
    options.add_images(group)
    add = group.add_argument
    add("--max-params", type=amount, metavar="N", help="the most parameters that the trained network may have: 1.5M")
    add("--max-flops", type=amount, metavar="N", help="the most multiply-adds for a 32 x 32 image: 200M")


def _hardware_options(group: options.Options) -> None:
    add = group.add_argument
    add("--max-latency", metavar="AMOUNT", help="the most: 20ms, 0.02s; of a device of the table 20ms@raspi4")
    add("--max-energy", metavar="AMOUNT", help="the most: 30mJ@edgegpu")
    add(
        "--hardware", type=Path, metavar="TABLE",
        help="csv or csv.gz with `architecture` and columns such as raspi4_latency_ms and edgegpu_energy_mj: what limits "
        "with an @ and --pareto go by; what was found is looked up on every device",
    )  # fmt: skip
    add(
        "--predictor", metavar="NAME",
        help="FILE.py:NAME or package.module:NAME, a function from masks and space to milliseconds, whose code is run: "
        "what latencies without an @ go by",
    )  # fmt: skip
    add(
        "--measure-latency", type=int, nargs="?", const=1, metavar="BATCH",
        help="time what was found on this device, of a forward pass of BATCH images (default: 1); limits and --pareto go "
        "by prices that are fitted to a few architectures, which are measured first",
    )  # fmt: skip
    add(
        "--pareto", metavar="COST",
        help="of evolve and exhaustive: not one architecture but the front of score and latency, energy, parameters or "
        "flops; of a device of the table latency@raspi4",
    )  # fmt: skip


def _how_options(group: options.Options) -> None:
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
    options.add_engine(group)
    add(
        "--prune-number", type=int, metavar="N",
        help="operators that go from every edge in a round, of which the last one always stays (default: on darts 3, on "
        "ImageNet 2; on nasbench201 1, or one of the whole network in the default preset)",
    )  # fmt: skip
    add(
        "--evaluations", type=int, metavar="N",
        help=f"architectures that an evolution scores (default: {EVALUATIONS})",
    )  # fmt: skip
    options.add_repeats(group, None, f"{REPEATS}, of pruning the preset's")
    options.add_seed(group, Config.seed)


def _record_options(group: options.Options) -> None:
    options.add_benchmark(group, "report what the architecture found reaches there; takes no part in the search")
    options.add_figures(group)
    group.add_argument(
        "--seeds", metavar="A-B",
        help="several searches, one a seed, such as 0-9 or 0,3,7, in folders of their own, with a page that compares them; "
        "the architecture is the one that most agree with",
    )  # fmt: skip
    group.add_argument(
        "--output", type=Path, metavar="DIR", help="run folder (default: runs/SPACE-DATASET-PRESET-seedN)"
    )
    text = "train what was found by a preset of tenas_jax.train, inside of the run's folder; images need classes"
    group.add_argument("--then-train", metavar="PRESET", help=text)


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
    if config.then_train:
        from tenas_jax.search.then_train import check_training

        check_training(config)

    from tenas_jax.records.environment import fingerprint
    from tenas_jax.records.run_folder import RunFolder
    from tenas_jax.report.command import draw
    from tenas_jax.report.page import report
    from tenas_jax.report.run_files import read_run
    from tenas_jax.search.job import resolve
    from tenas_jax.search.measured import measures_of, prepare
    from tenas_jax.search.strategies import search

    with speaking():
        job = resolve(config)
        with RunFolder(job.output, job.identity, fingerprint()) as folder:
            folder.spent.started = start
            folder.callback = callback
            result, new = _found_before(folder), False
            prepare(job, folder, finished=result is not None)
            if result is None:
                result, new = _result(job, folder, search(job, folder)), True
                folder.finish(result)
            if told := measures_of(job, result, new=new):
                result["measures"] = told
                folder.finish(result)
            if job.table:
                result["benchmark"] = _reported(job.table, result["architecture"])
                folder.finish(result)
            made = read_run(folder.path)._replace(space=job.space)
            folder.write("report.html", report(made))
            if config.figures:
                draw(config.figures, [made])
            _say_summary(folder.path, result)
            for point in result.get("front", [])[:-1]:
                print(point["architecture"])
    if config.then_train:
        from tenas_jax.search.then_train import train_found

        train_found(config, job.output)
    return result["architecture"]


def _found_before(folder: "RunFolder") -> dict[str, Any] | None:
    """The result of a finished run; says what of a run was done before."""
    result = folder.result()
    if result is not None:
        say(f"{folder.path} was finished before, and is not computed again")
    elif folder.rounds:
        say(f"{folder.path} was interrupted after round {folder.rounds[-1]['round']}; it goes on from there")
    return result


def _say_summary(path: Path, result: dict[str, Any]) -> None:
    """What a person wants to know at the end; a result of an earlier version may say less."""
    from tenas_jax.search.measured import measure_lines
    from tenas_jax.search.pareto import say_front

    cost = result.get("cost", {})
    say(f"found: {result['architecture']}")
    say("trained, it has " + " and ".join(f"{number:,} {name}" for name, number in cost.items()))
    for line in measure_lines(result.get("measures", [])):
        say(line)
    if "front" in result:
        say_front(result)
    say(f"by {result['strategy']}: {result['evaluations']:,} evaluations in {result['rounds']} rounds")
    say(f"in {result.get('wall_seconds', 0):.1f} s, {result.get('compile_seconds', 0):.1f} s of them compiling")
    say(f"report: {path / 'report.html'}")


def _result(job: "Job", folder: "RunFolder", mask: "Mask") -> dict[str, Any]:
    from tenas_jax.networks import cost
    from tenas_jax.records.files import sha256_of
    from tenas_jax.search.beside import FILE
    from tenas_jax.search.pareto import keep_front
    from tenas_jax.search.strategies import scored
    from tenas_jax.spaces.strings import genotype_json

    front = keep_front(job, folder, *scored(job, folder)) if job.asked.pareto else {"files": {}}
    beside = sha256_of(folder.path / FILE)
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
        **front,
        "files": front["files"] | ({FILE: beside} if beside else {}),
        **folder.spent.total(),
        **provenance(),
    }


def _reported(table: "BenchmarkTable", architecture: str) -> dict[str, Any] | None:
    """Prints what an architecture reaches, and returns it for the record; None where the table does not hold it."""
    if not table.holds(architecture):
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
