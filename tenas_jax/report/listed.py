"""What a page shows of architectures that were scored one by one: generations, fronts, histograms, the first ones."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from tenas_jax.networks.cost import costs
from tenas_jax.report.cells import thumbnail
from tenas_jax.report.directions import CHEAP, direction, lower_is_better, told
from tenas_jax.report.listing import number, pareto_front
from tenas_jax.report.plots import MOST_DOTS, Plot, Series, histogram, lines, scatter
from tenas_jax.report.run_files import ACCURACY, Run, Table, choice_of, numbers
from tenas_jax.report.svg import to_svg
from tenas_jax.scores.ranks import average_rank
from tenas_jax.spaces.space import SearchSpace

SHOWN = 20  # of the first architectures
MOST_PAIRS = 6
DECIDES = ("smoothed", "log_rank_sum")
SUMS = (*DECIDES, "rank_sum")


def seen(run: Run) -> Table | None:
    """All architectures of an evolution, those with the best scores first.

    Args:
        run: with its generations.
    """
    if not run.rounds:
        return None
    strings = [name for record in run.rounds for name in record["architectures"]]
    columns = {
        name: np.concatenate([numbers(record["scores"][name]) for record in run.rounds])
        for name in run.rounds[0]["scores"]
    }
    generation = np.concatenate([np.full(len(r["architectures"]), float(r["round"])) for r in run.rounds])
    # Of the averages; the search itself ranks every draw of a score by itself.
    sums = np.sum(
        [np.log(average_rank(v, descending=not lower_is_better(run.space, n))) for n, v in columns.items()], axis=0
    )
    order = np.argsort(-sums, kind="stable")
    best = run.result.get("architecture", run.rounds[-1]["best"])
    order = np.array(sorted(order.tolist(), key=lambda n: strings[n] != best))  # what was found is the first
    return Table(
        [strings[n] for n in order],
        {**{name: values[order] for name, values in columns.items()}, "generation": generation[order]},
    )


def generations(run: Run) -> list[Plot]:
    """Best and median of every score, generation by generation.

    Args:
        run: of an evolution.
    """
    x, plots = numbers(record["round"] for record in run.rounds), []
    for name in run.rounds[0]["scores"] if run.rounds else ():
        lower = lower_is_better(run.space, name)
        values = [_finite(numbers(record["scores"][name])) for record in run.rounds]
        best = np.array([(v.min() if lower else v.max()) if len(v) else np.nan for v in values])
        middle = np.array([np.median(v) if len(v) else np.nan for v in values])
        series = [Series("best", best, "op3"), Series("median", middle, "op1", (6, 3))]
        plots.append(lines(x, series, "generation", f"{told(name)} ({direction(run.space, name)})"))
    return plots


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def scores_in(table: Table) -> list[str]:
    """The scores of a table, sums of ranks aside.

    Args:
        table: of a run.
    """
    return [name for name in table.numbers() if name not in (*SUMS, ACCURACY, "generation")]


def deciding(table: Table) -> str:
    """What a table is ordered by, or its first score.

    Args:
        table: of a run.
    """
    return next((name for name in DECIDES if name in table.columns), scores_in(table)[0])


def front(run: Run, table: Table) -> list[Plot]:
    """The sum of ranks against costs, with the architectures that no other one beats in both.

    Args:
        run: of a search or a ranking.
        table: its architectures.
    """
    plots, by = [], deciding(table)
    goodness = table.numbers()[by] * (-1 if lower_is_better(run.space, by) else 1)
    for name, cost in _costs(run, table).items():
        if np.ptp(_finite(cost)) > 0:
            joined = pareto_front(cost, goodness)
            below, beside = f"{told(name)} of the trained network", f"{told(by)} ({direction(run.space, by)})"
            plots.append(
                scatter(
                    cost, table.numbers()[by], below, beside, marked=[0], front=joined, data={"dots": "all"}, most=3000
                )
            )
    return plots


def _costs(run: Run, table: Table) -> Mapping[str, np.ndarray]:
    held = {name: table.numbers()[name] for name in CHEAP if name in table.columns}
    if held or not isinstance(run.space, SearchSpace):
        return held
    choices = [choice_of(run.space, name) for name in table.strings]
    if any(choice is None for choice in choices):
        return {}
    found = costs(run.space, run.space.one_hot(np.stack([choice for choice in choices if choice is not None])))
    return {"flops": np.asarray(found.flops, float), "parameters": np.asarray(found.parameters, float)}


def histograms(run: Run, table: Table) -> list[Plot]:
    """How every score is spread, with what was found marked.

    Args:
        run: of a search or a ranking.
        table: its architectures.
    """
    return [
        histogram(values, f"{told(name)} ({direction(run.space, name)})", marked=float(values[0]))
        for name, values in table.numbers().items()
        if name in (*scores_in(table), deciding(table)) and len(_finite(values)) > 1
    ]


def pairs(run: Run, table: Table) -> list[Plot]:
    """Scores against each other.

    Args:
        run: of a search or a ranking.
        table: its architectures.
    """
    values = table.numbers()
    chosen = list(combinations(scores_in(table), 2))[:MOST_PAIRS]
    return [
        scatter(
            values[b],
            values[a],
            told(b),
            told(a),
            marked=[0],
            most=MOST_DOTS,
            width=360,
            height=260,
            data={"dots": "pair"},
        )
        for a, b in chosen
    ]


def against_accuracy(run: Run, table: Table) -> list[Plot]:
    """Accuracy against the place that scores give; a dot says which architecture it is.

    Args:
        run: of a ranking with a benchmark.
        table: its architectures.
    """
    if ACCURACY not in table.columns:
        return []
    accuracy, plots = table.numbers()[ACCURACY], []
    floor = float(np.quantile(_finite(accuracy), 0.05)) if len(_finite(accuracy)) else None
    for number_of, name in enumerate([deciding(table), *scores_in(table)]):
        lower = lower_is_better(run.space, name)
        place = len(accuracy) * (1 - average_rank(table.numbers()[name], descending=not lower)) + 1
        most = None if number_of == 0 else MOST_DOTS
        plots.append(
            scatter(
                place,
                accuracy,
                f"place by {told(name)}",
                "accuracy",
                marked=[0],
                most=most,
                floor=floor,
                data={"dots": "all"},
            )
        )
    return plots


def first_ones(run: Run, table: Table, most: int = SHOWN) -> dict[str, Any]:
    """The first architectures with small drawings.

    Args:
        run: of a search or a ranking.
        table: its architectures.
        most: how many.
    """
    numbers_of = table.numbers()
    rows = []
    for place, name in enumerate(table.strings[:most]):
        choice = choice_of(run.space, name)
        drawings = []
        if choice is not None and run.space is not None:
            drawings = [to_svg(thumbnail(run.space, cell, name), "thumb") for cell in choice]
        values = [number(numbers_of[column][place]) for column in numbers_of]
        rows.append({"place": place + 1, "name": name, "drawings": drawings, "values": values})
    heads = [(told(name), direction(run.space, name)) for name in numbers_of]
    return {"heads": heads, "rows": rows, "of": len(table.strings)}
