"""`python -m tenas_jax.rank`: every architecture, every score, in order."""

import csv
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenas_jax.errors import InputError
from tenas_jax.presets import preset
from tenas_jax.run_folder import replace_file
from tenas_jax.search import Parser, use_compilation_cache

# JAX is imported where it is used: `--help` and a mistyped option answer at once.
if TYPE_CHECKING:
    import numpy as np

    from tenas_jax.correlation import Figure
    from tenas_jax.data import ImageSource
    from tenas_jax.recipe import Recipe, Table
    from tenas_jax.shards import Shards
    from tenas_jax.space import SearchSpace


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
    add("--space", default=RankConfig.space, metavar="NAME", help="nasbench201 or darts (default: %(default)s)")
    add(
        "--architectures", default=RankConfig.architectures, metavar="all|N|FILE",
        help="all of the space, N at random, or those of a file: one a line, or a csv or csv.gz with a column "
        "`architecture`, or `normal` and `reduce` (default: %(default)s; darts is too large for all)",
    )  # fmt: skip
    add(
        "--scores", metavar="A,B,...",
        help="which scores; the order is that of the sum of their log ranks (default: those that rank best together); "
        "an unknown one lists them all",
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
    try:
        best = run(arguments(argv))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(best)
    return 0


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
    settings = preset("default", config.ntk, space=config.space)
    for name, value, least in (("--seed", config.seed, 0), ("--repeats", config.repeats, 1)):
        if value < least:
            raise InputError(f"{name} must be a whole number from {least}; it is {value}.")

    import jax
    import numpy as np

    from tenas_jax import architectures, cluster, isomorphism, views
    from tenas_jax.benchmark_table import read_table
    from tenas_jax.data import open_images
    from tenas_jax.recipe import prepare
    from tenas_jax.shards import Shards
    from tenas_jax.space import SPACES

    space = SPACES[config.space]
    names = _score_names(config)
    views.check_scores(space, names)
    table = read_table(config.benchmark, config.benchmark_column) if config.benchmark else None
    listing = architectures.choose(space, config.architectures, jax.random.key(config.seed))
    if listing.duplicates:
        _say(f"{listing.duplicates} architectures came twice and are listed once")
    source = open_images(config.dataset, config.data, seed=config.seed)
    ray = cluster.connect(config.ray) if config.ray else None
    use_compilation_cache()

    equal = isomorphism.representatives(space, listing.masks)
    flat, places = np.unique(equal.reshape(len(equal), -1), axis=0, return_inverse=True)
    distinct = flat.reshape(-1, *space.mask_shape)
    recipe = prepare(config.space, names, source, ntk=settings.ntk, seed=config.seed, repeats=config.repeats)
    shards = Shards(_parts(config.output), _identity(config, settings.ntk, names, source, distinct))
    found, rate = _evaluate(recipe, distinct, shards, ray)
    columns = _columns(space, names, listing.masks, found, places.ravel())
    order = np.argsort(-columns["log_rank_sum"], kind="stable")
    strings = [space.format(listing.masks[place]) for place in order]
    _write_csv(config.output, strings, {name: values[order] for name, values in columns.items()})
    record = {
        "architectures": len(listing.masks),
        "distinct": len(distinct),
        "scores": list(names),
        "space": config.space,
        "ntk": settings.ntk,
        "dataset": source.name,
        "seed": config.seed,
        "repeats": config.repeats,
        "evaluated_now": rate,
        "compile_seconds": round(sum(view.program.compile_seconds for view in recipe.views), 3),
        "versions": _versions(),
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
    }
    if table:
        accuracies = np.array([table.accuracies.get(name, np.nan) for name in strings])
        goodness = {name: _goodness(space, name, columns[name][order]) for name in ("log_rank_sum", "rank_sum", *names)}
        record["correlation"] = _correlated(config, goodness, accuracies, table.column)
    record["wall_seconds"] = round(time.perf_counter() - start, 3)
    _write(config.output.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    shards.remove()
    return strings[0]


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _score_names(config: RankConfig) -> tuple[str, ...]:
    from tenas_jax.views import DEFAULT_SCORES

    if config.scores is None:
        return DEFAULT_SCORES[config.space]
    return tuple(name.strip() for name in config.scores.split(",") if name.strip())


def _parts(output: Path) -> Path:
    return output.with_name(f"{output.name}.parts")


def _identity(
    config: RankConfig, ntk: str, names: tuple[str, ...], source: "ImageSource", distinct: "np.ndarray"
) -> dict[str, Any]:
    """What decides the values of the shards."""
    import hashlib

    import numpy as np

    return {
        "space": config.space,
        "architectures_sha256": hashlib.sha256(np.packbits(distinct).tobytes()).hexdigest(),
        "scores": list(names),
        "ntk": ntk,
        "dataset": source.name,
        "data_sha256": source.fingerprint,
        "data_mean": source.mean,
        "data_std": source.std,
        "repeats": config.repeats,
        "seed": config.seed,
    }


def _evaluate(recipe: "Recipe", distinct: "np.ndarray", shards: "Shards", ray: Any) -> "tuple[Table, dict[str, float]]":
    """All shards' tables as one, and how fast those went that were not finished yet."""
    import numpy as np
    from tqdm import tqdm

    from tenas_jax.cluster import evaluate_on_ray
    from tenas_jax.recipe import Table
    from tenas_jax.shards import SIZE

    pieces = {n: distinct[n * SIZE : (n + 1) * SIZE] for n in range(-(-len(distinct) // SIZE))}
    finished = {number: table for number in pieces if (table := shards.load(number)) is not None}
    waiting = {number: masks for number, masks in pieces.items() if number not in finished}
    if finished:
        _say(f"{sum(len(pieces[n]) for n in finished)} of {len(distinct)} distinct architectures were finished before")

    def here() -> "Iterator[tuple[int, Table]]":
        for number, masks in waiting.items():
            yield number, recipe(masks)

    start, done, said = time.perf_counter(), 0, time.perf_counter()
    total = sum(map(len, waiting.values()))
    quiet = not sys.stderr.isatty()
    with tqdm(total=len(distinct), initial=len(distinct) - total, unit="arch", disable=quiet, file=sys.stderr) as bar:
        for number, table in evaluate_on_ray(ray, recipe, waiting) if ray else here():
            shards.save(number, table)
            finished[number] = table
            done += len(waiting[number])
            bar.update(len(waiting[number]))
            if quiet and (time.perf_counter() - said > 10 or done == total):
                said = time.perf_counter()
                rate = done / (said - start)
                _say(
                    f"{done} of {total} distinct architectures, {rate:.0f} a second, {(total - done) / rate:.0f} s left"
                )
    seconds = time.perf_counter() - start
    tables = [finished[number] for number in sorted(finished)]
    whole = Table(
        *(
            {name: np.concatenate([part[name] for part in parts], axis=1) for name in recipe.scores}
            for parts in zip(*tables, strict=True)
        )
    )
    return whole, {"distinct_architectures": done, "seconds": round(seconds, 3)}


def _columns(
    space: "SearchSpace", names: tuple[str, ...], masks: "np.ndarray", found: "Table", places: "np.ndarray"
) -> "dict[str, np.ndarray]":
    """The columns of the csv, by name, in the order of the masks."""
    from tenas_jax import cost
    from tenas_jax.ranking import average_rank, dense_rank, rank_sum, sum_of_log_ranks
    from tenas_jax.views import scores_of

    known, columns, totals = scores_of(space), {}, cost.costs(space, masks)._asdict()
    for name in names:
        if name in totals:
            columns[name] = totals[name]
        else:
            columns[name] = _mean(found.values[name], known[name].geometric)[places]
            columns[f"{name}_health"] = _joined(found.health[name])[places]
    directions = [(columns[name], not known[name].lower_is_better) for name in names]
    sums = {
        "log_rank_sum": sum_of_log_ranks([average_rank(values, descending=d) for values, d in directions]),
        "rank_sum": rank_sum([dense_rank(values, descending=d) for values, d in directions]),
    }
    return sums | columns


def _mean(values: "np.ndarray", geometric: bool) -> "np.ndarray":
    """Over repeats; infinite where one is, NaN where one is."""
    import numpy as np

    if not geometric:
        return values.mean(0)
    with np.errstate(divide="ignore"):
        return np.exp(np.log(values).mean(0))


def _joined(health: "np.ndarray") -> "np.ndarray":
    """One health for all repeats: theirs where they agree, otherwise how many said what."""
    import numpy as np

    def of(column):
        states, counts = np.unique(column, return_counts=True)
        if len(states) == 1:
            return str(states[0])
        return ", ".join(f"{state} in {count}" for state, count in zip(states, counts, strict=True))

    return np.array([of(column) for column in health.T])


def _goodness(space: "SearchSpace", name: str, values: "np.ndarray") -> "np.ndarray":
    """Normalised ranks, the best 1."""
    from tenas_jax.ranking import average_rank
    from tenas_jax.views import scores_of

    if name == "log_rank_sum":
        return average_rank(values, descending=True)
    return average_rank(values, descending=name != "rank_sum" and not scores_of(space)[name].lower_is_better)


def _correlated(
    config: RankConfig, goodness: "dict[str, np.ndarray]", accuracies: "np.ndarray", column: str
) -> dict[str, Any]:
    """Prints and draws how the scores rank what the table holds, and returns it for the record."""
    import numpy as np

    from tenas_jax import correlation, scatter

    held = np.isfinite(accuracies)
    if held.sum() < 2:
        raise InputError(f"{config.benchmark} holds {held.sum()} of the architectures; at least 2 are needed.")
    if not held.all():
        _say(f"{config.benchmark} lacks {(~held).sum()} of {len(held)} architectures; the rest is correlated")
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


def _write_csv(path: Path, strings: list[str], columns: "dict[str, np.ndarray]") -> None:
    from io import StringIO

    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["architecture", *columns])
    writer.writerows(zip(strings, *(values.tolist() for values in columns.values()), strict=True))
    _write(path, text.getvalue())


def _write(path: Path, content: str) -> None:
    """All or nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content.encode())
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); make room or choose another --output, and run again: what is "
            "finished is kept."
        ) from error


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("tenas-jax", "jax", "jaxlib", "flax", "neural-tangents", "numpy", "scipy")
    return {name: version(name) for name in packages} | {"python": sys.version.split()[0]}


if __name__ == "__main__":
    sys.exit(main())
