"""The tables of the README and of docs/, from the files in `results/`.

`python benchmarks/docs_figures.py --write` brings the documents up to date, and a test compares each with its files.
"""

import statistics
from collections.abc import Callable

from common import kernel_tables
from common.markdown import PARTS, duration, read, spread, table


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
        measured = read(name)
        found = {(row["rule"], row["indicators"], row["images"]): row["accuracy"] for row in measured["rows"]}
        seeds = f"{measured['seeds'][0]} to {measured['seeds'][-1]}"
        for key in keys:
            accuracies = [found[*key, images] for images in ("synthetic", "cifar10")]
            cells = [f"{a['mean']:.2f} ({a['standard_error']:.2f})" for a in accuracies]
            rows.append([labels[key], seeds, *cells])
    return table(["pruning", "seeds", "synthetic images", "CIFAR-10 images"], rows)


def rank_correlation() -> str:
    """Kendall's tau over the whole space, with standard deviations over batches."""
    found = {(row["images"], row["score"]): row["all"]["kendall_tau"] for row in read("rank_correlation")["rows"]}

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
    return table(["", "synthetic images", "CIFAR-10 images"], [*rows, ["FLOPs, as a yardstick", flops, flops]])


def darts_correlation() -> str:
    """Kendall's tau on DARTS: of one seed with the standard deviation over seeds, and of the mean ranks of all seeds."""
    rows = []
    for row in read("rank_darts_presets")["rows"]:
        cells = [f"{row['preset']}: {row['score'].replace('_', ' ')}"]
        for half in ("development", "other"):
            one, together = row[half]["tau_of_one_seed"], row[half]["tau_of_all_seeds"]
            cells.append(f"{one['mean']:.3f} ({statistics.stdev(one['seeds']):.3f}), {together:.3f}")
        rows.append([*cells, f"{row['milliseconds']:.1f}" if "milliseconds" in row else ""])
    return table(["preset: score", "development half", "other half", "milliseconds"], rows)


def darts_scores() -> str:
    """Kendall's tau of every score of DARTS genotypes, alone and added to the best one."""
    found = {row["score"]: row for row in read("rank_darts_scores")["rows"]}
    best = "hamming_log_determinant"

    def cells(score):
        return [f"{found[score][part]['mean']:.3f}{spread(found[score][part])}" for part in PARTS]

    rows = [
        [score, *cells(score), cells(f"{best} and {score}")[0] if score != best else ""]
        for score in found
        if " and " not in score
    ]
    return table(["score", *PARTS, "all, with the log-determinant"], rows)


def darts_search_speed() -> str:
    """Seconds a candidate of the released search on DARTS, here and in PyTorch."""
    measured = read("search_beside_pytorch_darts")
    rows = [[name, *(f"{s:.2f} s" for s in measured[key]["seconds"])] for name, key in SIDES.items()]
    return table(["", "first candidate", "second candidate"], rows)


def _ranking(space: str, labels: dict[str, str], figures: dict[str, int]) -> str:
    found = {(row["images"], row["score"]): row for row in read("rank_accuracy")[space]["rows"]}
    rows = []
    for score, label in labels.items():
        for images in ("synthetic", "cifar10"):
            row = found[images, score]
            cells = [f"{row[p]['kendall_tau']['mean']:.3f}{spread(row[p]['kendall_tau'])}" for p in PARTS]
            cells += [f"{row['all'][figure]['mean']:.{digits}f}" for figure, digits in figures.items()]
            rows.append([label, images, *cells])
    return table(["", "images", "all", "development half", "other half", *_figure_heads(figures)], rows)


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


def published() -> str:
    """Kendall's tau with CIFAR-10 accuracies beside published figures, by the set of cells that is ranked."""
    ours = {row["score"]: row for row in read("rank_accuracy")["nasbench201"]["rows"] if row["images"] == "synthetic"}
    rows = []
    for part, others in read("published")["nasbench201"].items():
        cells = f"{others['cells']:,}"
        rows += [[cells, o["method"], f"{o['kendall_tau']['cifar10']:.3f}", o["source"]] for o in others["rows"]]
        for score, label in (("flops", "FLOPs"), ("smoothed", "**tenas_jax, default scores**")):
            if part in ours[score]:
                tau = ours[score][part]["kendall_tau"]
                rows.append([cells, label, f"{tau['mean']:.3f}{spread(tau)}", "`rank_accuracy.json`, synthetic images"])
    return table(["cells", "", "Kendall's tau", "source"], rows)


def ranking_ablation() -> str:
    """Kendall's tau and the first architectures of sums of log ranks of subsets of scores, plain and smoothed."""
    rows = []
    for row in read("rank_ablation")["rows"]:
        cells = []
        for name in ("log_rank_sum", "smoothed"):
            whole = row[name]["all"]
            cells += [f"{whole['kendall_tau']['mean']:.3f}{spread(whole['kendall_tau'])}"]
            cells += [f"{whole[figure]['mean']:.2f}" for figure in ("first", "mean_of_first_ten")]
        rows.append([row["subset"].replace("_", " "), *cells])
    heads = ["tau", "first", "first ten"]
    return table(["scores", *heads, *(f"smoothed: {head}" for head in heads)], rows)


def rank_speed() -> str:
    """Seconds an architecture of a ranking, here and with the released indicators in PyTorch."""
    measured = read("rank_speed")
    ours, theirs = measured["ours"], measured["pytorch"]
    once = f"{ours['compile_seconds']:.0f} s once"
    rows = [
        ["released indicators, PyTorch", f"{1000 * theirs['seconds']:,.0f} ms", "", "1"],
        ["here", f"{1000 * ours['seconds']:.1f} ms", once, f"{measured['ratio']:.0f}"],
    ]
    return table(["", "an architecture", "compiling", "times as fast"], rows)


def strategies() -> str:
    """What each strategy of the search finds on NAS-Bench-201, with and without a limit on multiply-adds."""
    rows = []
    for row in read("search_strategies")["nasbench201"]:
        limit = f"{row['max_flops'] / 1e6:.0f} M" if row["max_flops"] else "none"
        reached = f"{row['accuracy']['mean']:.2f} ({row['accuracy']['standard_error']:.2f})"
        seconds = f"{row['seconds_cold']:.0f} s / {row['seconds_warm']:.0f} s"
        best = f"{row['optimum']:.2f} / {row['median']:.2f}"
        rows.append([limit, row["strategy"], reached, best, f"{row['evaluations']:,}", seconds])
    heads = ["limit", "strategy", "found", "best / median below the limit", "evaluations", "first run / later"]
    return table(heads, rows)


def strategies_in_short() -> str:
    """What each strategy finds without a limit."""
    rows = []
    for row in read("search_strategies")["nasbench201"]:
        if row["max_flops"] is None:
            reached = f"{row['accuracy']['mean']:.2f} ({row['accuracy']['standard_error']:.2f})"
            seconds = f"{row['seconds_cold']:.0f} s / {row['seconds_warm']:.0f} s"
            rows.append([f"`--strategy {row['strategy']}`", str(row["accuracy"]["number"]), reached, seconds])
    return table(["", "seeds", "found", "first run / later"], rows)


def darts_strategies() -> str:
    """What pruning and evolution find on DARTS."""
    rows = []
    for row in read("search_strategies")["darts"]:
        score = f"{row['score']['mean']:.0f} ({row['score']['standard_error']:.0f})"
        size = f"{row['million_parameters']['mean']:.2f} M"
        seconds = f"{row['seconds_cold']:.0f} s / {row['seconds_warm']:.0f} s"
        rows.append([row["strategy"], score, size, f"{row['evaluations']:,}", seconds])
    return table(["strategy", "log-determinant, drawn anew", "parameters", "evaluations", "first run / later"], rows)


def scaling() -> str:
    """Hours and machines, from the measured rate of two cores."""
    runs = read("rank_accuracy")["nasbench201"]["runs"]["synthetic"]
    rate = statistics.mean(
        run["evaluated_now"]["distinct_architectures"] / run["evaluated_now"]["seconds"] for run in runs
    )
    rows = []
    for power in (4, 5, 6, 7, 8):
        rows.append([f"10^{power}", *(duration(10**power / rate / workers) for workers in (1, 16, 256))])
    return table(["distinct architectures", "1 worker", "16 workers", "256 workers"], rows)


SIDES = {"here, after compilation": "ours", "PyTorch": "pytorch"}

# Which document shows which table.
TABLES: dict[Callable[[], str], str] = {
    search_accuracy: "README.md",
    rank_correlation: "docs/ranking.md",
    kernel_tables.indicators: "README.md",
    darts_correlation: "docs/darts.md",
    darts_search_speed: "docs/darts.md",
    kernel_tables.darts_kernel_choices: "docs/darts.md",
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
    kernel_tables.any_network: "docs/any_network.md",
    kernel_tables.any_network_in_blocks: "docs/any_network.md",
    kernel_tables.line_regions: "docs/depth_and_width.md",
    kernel_tables.ntk_by_depth: "docs/depth_and_width.md",
    kernel_tables.nngp_by_depth: "docs/depth_and_width.md",
}
