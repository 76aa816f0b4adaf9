"""Tables of how scores rank on every space, beside what can be counted."""

from typing import Any

from common.markdown import read, table

HALVES = ("development half", "other half")
FIGURES = ("kendall_tau", "spearman_rho")
COUNTS_OF_NASBENCH101 = (
    "parameters", "flops", "live_parameters", "live_multiply_adds", "live_convolutions", "live_spatial_convolutions",
    "path_convolutions", "path_spatial_convolutions", "depth", "edges", "vertices", "longest_path", "counts alone",
)  # fmt: skip

# By half and figure.
Figures = dict[str, dict[str, float]]


def ranking_spaces() -> str:
    """Kendall's tau and Spearman's rho on other spaces by half: the default scores, then every yardstick."""
    rows = []
    for space, measured in read("rank_spaces")["spaces"].items():
        chosen = {"**default scores**": _default(measured)}
        chosen |= {f"*{name.replace('_', ' ')}*": figures for name, figures in measured["yardsticks"].items()}
        columns = sorted({name.rpartition(", ")[0] for name in next(iter(chosen.values()))})
        for label, figures in chosen.items():
            for column in columns:
                halves = [figures[f"{column}, {half}"] for half in ("development half", "other half")]
                cells = [f"{one[name]:.3f}" for name in ("kendall_tau", "spearman_rho") for one in halves]
                rows.append([space, column.replace("_", " "), label, *cells])
    heads = [f"{name}, {half}" for name in ("tau", "rho") for half in ("development", "other half")]
    return table(["space", "", "", *heads], rows)


def every_space() -> str:
    """On the half that no choice was made on: the default scores, and the yardstick that is best on the other one."""
    rows = []
    for name, scores, default, yardsticks in _spaces():
        best = max(yardsticks, key=lambda key: yardsticks[key][HALVES[0]]["kendall_tau"])
        ours, theirs = default[HALVES[1]], yardsticks[best][HALVES[1]]
        ahead = ours["kendall_tau"] > theirs["kendall_tau"]
        cells = [f"{one[figure]:.3f}" for one in (ours, theirs) for figure in FIGURES]
        cells[0] = f"**{cells[0]}**" if ahead else cells[0]
        cells[2] = cells[2] if ahead else f"**{cells[2]}**"
        rows.append([name, _words(scores), *cells[:2], _words([best]), *cells[2:]])
    return table(["space", "default scores", "tau", "rho", "best yardstick", "its tau", "its rho"], rows)


def _default(measured: dict[str, Any]) -> dict[str, Any]:
    """Smoothed where the space is ranked so."""
    return measured["scores"].get("default, smoothed", measured["scores"]["default, plain"])


def _words(names: list[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


def _spaces() -> list[tuple[str, list[str], Figures, dict[str, Figures]]]:
    """Name, default scores, their figures and those of every yardstick."""
    return [
        ("NAS-Bench-201, CIFAR-10", *_nasbench201()),
        *_others(),
        ("NAS-Bench-101", *_nasbench101()),
        ("DARTS, surrogate", *_darts()),
    ]


def _nasbench201() -> tuple[list[str], Figures, dict[str, Figures]]:
    measured = read("rank_defaults")
    rows = measured["images"]["synthetic"]["rows"]

    def figures(name: str) -> Figures:
        return {half: {figure: rows[name][half][figure]["mean"] for figure in FIGURES} for half in HALVES}

    counts = (
        "flops",
        "live_multiply_adds",
        "live_convolutions",
        "path_convolutions",
        "path_spatial_convolutions",
        "depth",
    )
    return measured["scores"], figures("default, smoothed"), {name: figures(name) for name in counts}


def _nasbench101() -> tuple[list[str], Figures, dict[str, Figures]]:
    measured = read("rank_nasbench101")
    rows = measured["rows"]
    return measured["sums"]["default"], rows["default"], {name: rows[name] for name in COUNTS_OF_NASBENCH101}


def _darts() -> tuple[list[str], Figures, dict[str, Figures]]:
    def figures(row: Any) -> Figures:
        return {half: {figure: row[half][figure]["mean"] for figure in FIGURES} for half in HALVES}

    rows = {
        row["score"]: figures(row) for row in read("rank_accuracy")["darts"]["rows"] if row["images"] == "synthetic"
    }
    yardsticks = {name: rows[name] for name in ("flops", "parameters")}
    return ["hamming_log_determinant"], rows["hamming_log_determinant"], yardsticks


def _others() -> list[tuple[str, list[str], Figures, dict[str, Figures]]]:
    rows = []
    for space, measured in read("rank_spaces")["spaces"].items():
        chosen = _default(measured)
        for column in dict.fromkeys(name.rpartition(", ")[0] for name in chosen):

            def of_column(figures: Figures, column: str = column) -> Figures:
                return {half: figures[f"{column}, {half}"] for half in HALVES}

            counts = {name: of_column(figures) for name, figures in measured["yardsticks"].items()}
            title = f"{space}, {column.replace('_', ' ')}"
            rows.append((title, measured["default_scores"], of_column(chosen), counts))
    return rows
