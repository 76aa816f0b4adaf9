"""The tables of the README and of docs/, from the files in `results/`.

    python benchmarks/tables.py

Prints the tables in Markdown. A test compares each with its document, so that no figure there is without its file.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def _read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def search_accuracy() -> str:
    """Mean accuracy of what the search finds, with standard errors."""
    found = {
        (row["rule"], row["indicators"], row["images"]): row["accuracy"] for row in _read("search_accuracy")["rows"]
    }
    labels = {
        ("completion", "both"): "both indicators",
        ("completion", "condition number"): "condition number alone",
        ("completion", "linear regions"): "linear regions alone",
        ("removal", "both"): "TE-NAS's rule with the same indicators",
    }
    rows = [
        [
            label,
            *(
                f"{a['mean']:.2f} ({a['standard_error']:.2f})"
                for a in (found[*key, i] for i in ("synthetic", "cifar10"))
            ),
        ]
        for key, label in labels.items()
    ]
    return _table(["", "synthetic images", "CIFAR-10 images"], rows)


def rank_correlation() -> str:
    """Kendall's tau over the whole space, with standard deviations over batches."""
    found = {(row["images"], row["score"]): row["all"]["kendall_tau"] for row in _read("rank_correlation")["rows"]}

    def cell(images, score):
        tau = found[images, score]
        return f"{tau['mean']:.3f} ({tau['standard_deviation']:.3f})"

    labels = {
        "condition number": "condition number of the analytic NTK",
        "condition number of one stage": "the same of one stage, standard parametrisation",
        "linear regions": "linear regions, colour patches",
        "sum of ranks": "both, sum of ranks",
        "sum of log ranks": "both, sum of log ranks",
        "sum of log ranks, condition number of one stage": "both, sum of log ranks, condition number of one stage",
    }
    rows = [[label, cell("synthetic", score), cell("cifar10", score)] for score, label in labels.items()]
    score = "sum of log ranks, log values averaged over batches"
    averaged = [f"{found[images, score]['mean']:.3f}" for images in ("synthetic", "cifar10")]
    rows.append(["both of five batches, sum of log ranks", *averaged])
    flops = f"{found[None, 'FLOPs']['mean']:.3f}"
    return _table(["", "synthetic images", "CIFAR-10 images"], [*rows, ["FLOPs, as a yardstick", flops, flops]])


def indicators() -> str:
    """Seconds of one indicator here and in PyTorch."""
    measured = _read("compare_indicators")
    networks = list(measured["alive_operators"])

    def against(times):
        return [
            f"{_seconds(t['ours']['seconds'])} / {_seconds(t['pytorch']['seconds'])}" for t in map(times.get, networks)
        ]

    analytic = [_seconds(measured["analytic_ntk"]["times"][network]["seconds"]) for network in networks]
    released = next(entry["times"] for entry in measured["ntk"] if entry["channels"] == 3)
    return _table(
        ["here / PyTorch", *networks],
        [
            ["empirical NTK, released settings", *against(released)],
            ["linear regions, 1000 patches", *against(measured["linear_regions"]["times"])],
            ["analytic NTK (no counterpart)", *analytic],
        ],
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"


def darts_correlation() -> str:
    """Kendall's tau on DARTS: of one seed with the standard deviation over seeds, and of the mean ranks of all seeds."""
    rows = []
    for row in _read("darts_correlation")["rows"]:
        cells = [f"{row['preset']}: {row['score'].replace('_', ' ')}"]
        for half in ("development", "other"):
            one, together = row[half]["tau_of_one_seed"], row[half]["tau_of_all_seeds"]
            cells.append(f"{one['mean']:.3f} ({statistics.stdev(one['seeds']):.3f}), {together:.3f}")
        rows.append([*cells, f"{row['milliseconds']:.1f}" if "milliseconds" in row else ""])
    return _table(["preset: score", "development half", "other half", "milliseconds"], rows)


def darts_search_speed() -> str:
    """Seconds a candidate of the released search on DARTS, here and in PyTorch."""
    measured = _read("compare_search_darts")
    rows = [[name, *(f"{s:.2f} s" for s in measured[key]["seconds"])] for name, key in SIDES.items()]
    return _table(["", "first candidate", "second candidate"], rows)


SIDES = {"here, after compilation": "ours", "PyTorch": "pytorch"}

# Which document shows which table.
TABLES: dict[Callable[[], str], str] = {
    search_accuracy: "README.md",
    rank_correlation: "README.md",
    indicators: "README.md",
    darts_correlation: "docs/darts.md",
    darts_search_speed: "docs/darts.md",
}

if __name__ == "__main__":
    for table, document in TABLES.items():
        print(f"{document}\n\n{table()}\n")
