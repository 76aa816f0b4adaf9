"""The tables of the README and of docs/, from the files in `results/`.

    python benchmarks/common/tables.py

Prints the tables in Markdown. A test compares each with its document, so that no figure there is without its file.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def _read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def search_accuracy() -> str:
    """Mean accuracy of what the pruning search finds, with standard errors; the first row again with other seeds."""
    labels = {
        ("completion", "both"): "both indicators",
        ("completion", "condition number"): "condition number alone",
        ("completion", "linear regions"): "linear regions alone",
        ("removal", "both"): "TE-NAS's rule with the same indicators",
    }
    rows = []
    for name, keys in {"search_accuracy": list(labels), "search_accuracy_more_seeds": list(labels)[:1]}.items():
        measured = _read(name)
        found = {(row["rule"], row["indicators"], row["images"]): row["accuracy"] for row in measured["rows"]}
        seeds = f"{measured['seeds'][0]} to {measured['seeds'][-1]}"
        for key in keys:
            accuracies = [found[*key, images] for images in ("synthetic", "cifar10")]
            cells = [f"{a['mean']:.2f} ({a['standard_error']:.2f})" for a in accuracies]
            rows.append([labels[key], seeds, *cells])
    return _table(["pruning", "seeds", "synthetic images", "CIFAR-10 images"], rows)


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
    measured = _read("score_beside_pytorch")
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
    for row in _read("rank_darts_presets")["rows"]:
        cells = [f"{row['preset']}: {row['score'].replace('_', ' ')}"]
        for half in ("development", "other"):
            one, together = row[half]["tau_of_one_seed"], row[half]["tau_of_all_seeds"]
            cells.append(f"{one['mean']:.3f} ({statistics.stdev(one['seeds']):.3f}), {together:.3f}")
        rows.append([*cells, f"{row['milliseconds']:.1f}" if "milliseconds" in row else ""])
    return _table(["preset: score", "development half", "other half", "milliseconds"], rows)


def darts_scores() -> str:
    """Kendall's tau of every score of DARTS genotypes, alone and added to the best one."""
    found = {row["score"]: row for row in _read("rank_darts_scores")["rows"]}
    best = "hamming_log_determinant"

    def cells(score):
        return [f"{found[score][part]['mean']:.3f}{_spread(found[score][part])}" for part in PARTS]

    rows = [
        [score, *cells(score), cells(f"{best} and {score}")[0] if score != best else ""]
        for score in found
        if " and " not in score
    ]
    return _table(["score", *PARTS, "all, with the log-determinant"], rows)


def darts_kernel_choices() -> str:
    """Kendall's tau of the analytic NTK on DARTS by depth, image size, parametrisation and statistic."""
    rows = _read("ntk_darts_choices")["rows"]
    statistics_of = list(rows[0]["kendall_tau"])
    return _table(
        ["cells", "images", "parametrisation", *statistics_of],
        [
            [
                str(row["cells"]),
                f"{row['side']} x {row['side']}",
                row["parametrisation"],
                *(f"{row['kendall_tau'][statistic]:.2f}" for statistic in statistics_of),
            ]
            for row in rows
        ],
    )


def darts_search_speed() -> str:
    """Seconds a candidate of the released search on DARTS, here and in PyTorch."""
    measured = _read("search_beside_pytorch_darts")
    rows = [[name, *(f"{s:.2f} s" for s in measured[key]["seconds"])] for name, key in SIDES.items()]
    return _table(["", "first candidate", "second candidate"], rows)


def _ranking(space: str, labels: dict[str, str], figures: dict[str, int]) -> str:
    found = {(row["images"], row["score"]): row for row in _read("rank_accuracy")[space]["rows"]}
    rows = []
    for score, label in labels.items():
        for images in ("synthetic", "cifar10"):
            row = found[images, score]
            cells = [f"{row[p]['kendall_tau']['mean']:.3f}{_spread(row[p]['kendall_tau'])}" for p in PARTS]
            cells += [f"{row['all'][figure]['mean']:.{digits}f}" for figure, digits in figures.items()]
            rows.append([label, images, *cells])
    return _table(["", "images", "all", "development half", "other half", *_figure_heads(figures)], rows)


PARTS = ("all", "development half", "other half")


def _spread(figure) -> str:
    """In brackets; nothing where every seed has the same figure."""
    deviation = figure["standard_deviation"]
    return f" ({deviation:.3f})" if deviation else ""


def _figure_heads(figures: dict[str, int]) -> list[str]:
    """What people call the figures."""
    names = {"spearman_rho": "Spearman's rho", "first": "first", "mean_of_first_ten": "mean of the first ten"}
    return [names[figure] for figure in figures]


def ranking() -> str:
    """Kendall's tau of the default ranking of NAS-Bench-201, and what it puts first."""
    labels = {
        "smoothed": "**smoothed sum of log ranks**",
        "sum of log ranks": "sum of log ranks",
        "condition_number": "condition number",
        "effective_regions_wide": "effective regions, wide",
        "effective_regions_deep": "effective regions, deep",
        "flops": "FLOPs",
    }
    return _ranking("nasbench201", labels, {"spearman_rho": 3, "first": 2, "mean_of_first_ten": 2})


def darts_ranking() -> str:
    """Kendall's tau of the default ranking of DARTS genotypes."""
    labels = {"hamming_log_determinant": "**Hamming log-determinant**", "flops": "FLOPs", "parameters": "parameters"}
    return _ranking("darts", labels, {"spearman_rho": 3})


# Kendall's tau on all of NAS-Bench-201 with CIFAR-10 accuracies, as reported.
PUBLISHED = [
    ("FLOPs, on that table", "as re-run by later work", 0.623),
    ("TE-NAS, re-run", "as re-run by later work", 0.536),
    ("NASWOT", "as re-run by later work", 0.571),
    ("ZiCo", "as re-run by later work", 0.607),
    ("TE-NAS, its paper", "Chen et al. 2021", 0.64),
    ("AZ-NAS", "Lee and Ham 2024", 0.741),
    ("VKDNW, aggregate", "Týbl and Neumann 2025", 0.750),
]


def published() -> str:
    """Kendall's tau on NAS-Bench-201, CIFAR-10, beside published figures."""
    rows = [[name, f"{tau:.3f}", source] for name, source, tau in PUBLISHED]
    found = {
        (row["images"], row["score"]): row["all"]["kendall_tau"]
        for row in _read("rank_accuracy")["nasbench201"]["rows"]
    }
    for score, label in (("flops", "FLOPs, our table"), ("smoothed", "**tenas_jax, default scores**")):
        tau = found["synthetic", score]
        rows.append(
            [label, f"{tau['mean']:.3f}{_spread(tau)}", "`benchmarks/results/rank_accuracy.json`, synthetic images"]
        )
    return _table(["", "Kendall's tau", "source"], rows)


def ranking_ablation() -> str:
    """Kendall's tau and the first architectures of sums of log ranks of subsets of scores, plain and smoothed."""
    rows = []
    for row in _read("rank_ablation")["rows"]:
        cells = []
        for name in ("log_rank_sum", "smoothed"):
            whole = row[name]["all"]
            cells += [f"{whole['kendall_tau']['mean']:.3f}{_spread(whole['kendall_tau'])}"]
            cells += [f"{whole[figure]['mean']:.2f}" for figure in ("first", "mean_of_first_ten")]
        rows.append([row["subset"].replace("_", " "), *cells])
    heads = ["tau", "first", "first ten"]
    return _table(["scores", *heads, *(f"smoothed: {head}" for head in heads)], rows)


def rank_speed() -> str:
    """Seconds an architecture of a ranking, here and with the released indicators in PyTorch."""
    measured = _read("rank_speed")
    ours, theirs = measured["ours"], measured["pytorch"]
    once = f"{ours['compile_seconds']:.0f} s once"
    rows = [
        ["released indicators, PyTorch", f"{1000 * theirs['seconds']:,.0f} ms", "", "1"],
        ["here", f"{1000 * ours['seconds']:.1f} ms", once, f"{measured['ratio']:.0f}"],
    ]
    return _table(["", "an architecture", "compiling", "times as fast"], rows)


def strategies() -> str:
    """What each strategy of the search finds on NAS-Bench-201, with and without a limit on multiply-adds."""
    rows = []
    for row in _read("search_strategies")["nasbench201"]:
        limit = f"{row['max_flops'] / 1e6:.0f} M" if row["max_flops"] else "none"
        reached = f"{row['accuracy']['mean']:.2f} ({row['accuracy']['standard_error']:.2f})"
        seconds = f"{row['seconds_cold']:.0f} s / {row['seconds_warm']:.0f} s"
        best = f"{row['optimum']:.2f} / {row['median']:.2f}"
        rows.append([limit, row["strategy"], reached, best, f"{row['evaluations']:,}", seconds])
    heads = ["limit", "strategy", "found", "best / median below the limit", "evaluations", "first run / later"]
    return _table(heads, rows)


def strategies_in_short() -> str:
    """What each strategy finds without a limit."""
    rows = []
    for row in _read("search_strategies")["nasbench201"]:
        if row["max_flops"] is None:
            reached = f"{row['accuracy']['mean']:.2f} ({row['accuracy']['standard_error']:.2f})"
            seconds = f"{row['seconds_cold']:.0f} s / {row['seconds_warm']:.0f} s"
            rows.append([f"`--strategy {row['strategy']}`", str(row["accuracy"]["number"]), reached, seconds])
    return _table(["", "seeds", "found", "first run / later"], rows)


def darts_strategies() -> str:
    """What pruning and evolution find on DARTS."""
    rows = []
    for row in _read("search_strategies")["darts"]:
        score = f"{row['score']['mean']:.0f} ({row['score']['standard_error']:.0f})"
        size = f"{row['million_parameters']['mean']:.2f} M"
        seconds = f"{row['seconds_cold']:.0f} s / {row['seconds_warm']:.0f} s"
        rows.append([row["strategy"], score, size, f"{row['evaluations']:,}", seconds])
    return _table(["strategy", "log-determinant, drawn anew", "parameters", "evaluations", "first run / later"], rows)


def scaling() -> str:
    """Hours and machines, from the measured rate of two cores."""
    runs = _read("rank_accuracy")["nasbench201"]["runs"]["synthetic"]
    rate = statistics.mean(
        run["evaluated_now"]["distinct_architectures"] / run["evaluated_now"]["seconds"] for run in runs
    )
    rows = []
    for power in (4, 5, 6, 7, 8):
        rows.append([f"10^{power}", *(_duration(10**power / rate / workers) for workers in (1, 16, 256))])
    return _table(["distinct architectures", "1 worker", "16 workers", "256 workers"], rows)


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1, round(seconds))} s"


def any_network() -> str:
    """Seconds and peak memory of the empirical NTK of two residual networks, here and elsewhere."""
    measured = _read("ntk_any_network")
    labels = {
        "ours": "here",
        "neural_tangents_1": "neural-tangents, Jacobian contraction",
        "neural_tangents_2": "neural-tangents, NTK-vector products",
        "neural_tangents_3": "neural-tangents, structured derivatives",
        "torch_func": "PyTorch, `torch.func`",
        "torch_func_1_thread": "PyTorch, `torch.func`, one thread",
    }

    def cell(result):
        if "failed" in result:
            return result["failed"]
        memory = result["peak_mebibytes"] / 1024
        return f"{_seconds(result['minimum_seconds'])} ({_seconds(result['median_seconds'])}), {memory:.2f} GiB"

    rows = [
        [label, *(cell(results[way]) for results in measured["networks"].values())] for way, label in labels.items()
    ]
    return _table([f"batch {measured['batch']}", *measured["networks"]], rows)


def any_network_in_blocks() -> str:
    """A large batch in blocks."""
    blocks = _read("ntk_any_network")["resnet18_in_blocks"]
    head = ["ResNet-18", "seconds, minimum (median)", "peak memory"]
    name = f"batch {blocks['batch']} in blocks of {blocks['block']}"
    if "failed" in blocks:
        return _table(head, [[name, blocks["failed"], ""]])
    times = f"{blocks['minimum_seconds']:.1f} ({blocks['median_seconds']:.1f})"
    return _table(head, [[name, times, f"{blocks['peak_mebibytes'] / 1024:.2f} GiB"]])


def line_regions() -> str:
    """Breakpoints of networks with 256 neurons on a segment, by depth."""
    rows = [row for row in _read("network_depth_and_width")["line_regions"] if row["neurons"] == 256]
    biases = sorted({row["bias_variance"] for row in rows})
    found = {(row["bias_variance"], row["depth"], row["width"]): row for row in rows}

    def cells(bias, depth, width):
        row = found[bias, depth, width]
        count = row["breakpoints"]
        return [f"{count['mean']:.1f} ({count['standard_error']:.1f})", f"{row['predicted']:.1f}"]

    shapes = sorted({(row["depth"], row["width"]) for row in rows})
    heads = [f"{head}bias variance {bias:g}" for bias in biases for head in ("", "predicted, ")]
    return _table(
        ["layers x width", *heads],
        [[f"{d} x {w}", *(cell for bias in biases for cell in cells(bias, d, w))] for d, w in shapes],
    )


def _condition_by_depth(kernel: str) -> str:
    rows = _read("network_depth_and_width")["condition_numbers"]
    widths = sorted(rows[0]["widths"], key=int, reverse=True)
    depths = (8, 32)

    def cells(row):
        drawn = [row["widths"][width] for width in widths]
        yield _figures(row["predicted"][kernel])
        for width in drawn:
            mean, error = width[kernel].values()
            yield "not of full rank" if mean is None else f"{_figures(mean)} ({error:.2f})"

    found = {(row["activation"], row["phase"], row["depth"]): row for row in rows}
    phases = dict.fromkeys((row["activation"], row["phase"]) for row in rows)
    heads = [f"{depth} layers: infinite" if w is None else f"width {w}" for depth in depths for w in (None, *widths)]
    return _table(
        ["", *heads],
        [[" ".join(phase), *(cell for depth in depths for cell in cells(found[*phase, depth]))] for phase in phases],
    )


def _figures(value: float) -> str:
    """Three significant figures."""
    return f"{value:.3g}" if value >= 1e5 else f"{float(f'{value:.3g}'):g}"


def ntk_by_depth() -> str:
    """Condition numbers of the NTK of fully connected networks."""
    return _condition_by_depth("ntk")


def nngp_by_depth() -> str:
    """Condition numbers of the last layer's covariance."""
    return _condition_by_depth("nngp")


SIDES = {"here, after compilation": "ours", "PyTorch": "pytorch"}

# Which document shows which table.
TABLES: dict[Callable[[], str], str] = {
    search_accuracy: "README.md",
    rank_correlation: "docs/ranking.md",
    indicators: "README.md",
    darts_correlation: "docs/darts.md",
    darts_search_speed: "docs/darts.md",
    darts_kernel_choices: "docs/darts.md",
    darts_scores: "docs/darts.md",
    ranking: "docs/ranking.md",
    darts_ranking: "docs/ranking.md",
    published: "README.md",
    ranking_ablation: "docs/ranking.md",
    rank_speed: "docs/ranking.md",
    strategies: "docs/search.md",
    strategies_in_short: "README.md",
    darts_strategies: "docs/search.md",
    scaling: "docs/scaling.md",
    any_network: "docs/any_network.md",
    any_network_in_blocks: "docs/any_network.md",
    line_regions: "docs/depth_and_width.md",
    ntk_by_depth: "docs/depth_and_width.md",
    nngp_by_depth: "docs/depth_and_width.md",
}

if __name__ == "__main__":
    for table, document in TABLES.items():
        print(f"{document}\n\n{table()}\n")
