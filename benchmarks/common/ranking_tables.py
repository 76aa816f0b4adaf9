"""Tables of what a ranking and a search find, from the files in `results/`."""

from typing import Any

from common.markdown import read, spread, table
from common.statistics import mean_and_error
from tenas_jax.scores.catalogue import COSTS

IMAGES = {"synthetic": "synthetic", "cifar10": "CIFAR-10"}
SCORES = {
    "default, smoothed": "**default scores, smoothed**",
    "default, plain": "default scores, plain sum of log ranks",
    "condition_number_no_batch_norm": "condition number without batch norm",
    "trace_over_smallest": "trace over smallest eigenvalue",
    "effective_regions_deep": "effective regions, deep",
}
# Read from the cell alone: nothing is evaluated, so the images do not matter.
YARDSTICKS = {
    "flops": "*FLOPs*",
    "live_multiply_adds": "*live multiply-adds*",
    "live_convolutions": "*live convolutions*",
    "live_spatial_convolutions": "*live 3 x 3 convolutions*",
    "path_convolutions": "*convolutions over paths*",
    "path_spatial_convolutions": "*3 x 3 convolutions over paths*",
    "depth": "*depth*",
}
SEARCHES = ("search_accuracy", "search_accuracy_evolve")  # result files of searches over fresh seeds
TASKS = {"class_scene": "scene", "jigsaw": "jigsaw", "normal": "normal"}


def _rows(images: str = "synthetic") -> dict[str, Any]:
    return read("rank_defaults")["images"][images]["rows"]


def _measured() -> list[tuple[str, str, dict[str, Any]]]:
    """Label, images and figures by part: every score with either kind of images, then the yardsticks."""
    rows = [(label, shown, _rows(images)[key]) for key, label in SCORES.items() for images, shown in IMAGES.items()]
    return rows + [(label, "none", _rows()[key]) for key, label in YARDSTICKS.items()]


def _cell(figure: dict[str, Any], digits: int = 3) -> str:
    deviation = f" ({figure['standard_deviation']:.{digits}f})" if figure.get("standard_deviation") else ""
    return f"{figure['mean']:.{digits}f}{deviation}"


def ranking() -> str:
    """Kendall's tau with CIFAR-10 accuracies by the set of cells; yardsticks in italics."""
    parts = ("all", "on paths", "without pooling", "development half", "other half")
    rows = [[label, images, *(_cell(row[part]["kendall_tau"]) for part in parts)] for label, images, row in _measured()]
    return table(["", "images", "15,625", "9,445", "4,096 without pooling", *parts[3:]], rows)


def ranking_top() -> str:
    """What is put first, Spearman's rho and nDCG."""
    rows = []
    for label, images, row in _measured():
        whole, on_paths = row["all"], row["on paths"]
        cells = [_cell(whole["spearman_rho"]), _cell(on_paths["spearman_rho"])]
        cells += [_cell(whole["ndcg_1000"]), _cell(on_paths["ndcg_1000"])]
        cells += [
            _cell(whole["best_of_3000"], 2),
            f"{whole['first']['mean']:.2f}",
            f"{min(whole['first']['batches']):.2f}",
        ]
        rows.append([label, images, *cells, _cell(whole["mean_of_first_ten"], 2)])
    sets = [f"{name}, {cells}" for name in ("rho", "nDCG") for cells in ("15,625", "9,445")]
    return table(["", "images", *sets, "best of 3,000", "first", "worst first", "first ten"], rows)


def ranking_without_one() -> str:
    """Kendall's tau of the default scores with one left out, and what comes first."""
    rows = []
    scores = [None, *read("rank_defaults")["scores"]]
    for score in scores:
        name = f"default without {score}, smoothed" if score else "default, smoothed"
        label = f"without {score.replace('_', ' ')}" if score else "**all four**"
        both = [_rows(images)[name] for images in IMAGES]
        parts = ("development half", "other half", "other half on paths", "other half without pooling")
        taus = [" / ".join(f"{row[part]['kendall_tau']['mean']:.3f}" for row in both) for part in parts]
        first = " / ".join(f"{min(row['all']['first']['batches']):.2f}" for row in both)
        ten = " / ".join(f"{row['all']['mean_of_first_ten']['mean']:.2f}" for row in both)
        transnas = [f"{both[0][f'TransNAS micro {t}, other half']['spearman_rho']['mean']:.3f}" for t in TASKS]
        rows.append([label, *taus, first, ten, " / ".join(transnas)])
    heads = ["development half", "other half", "other half, on paths", "other half, without pooling", "worst first"]
    return table(["synthetic / CIFAR-10 images", *heads, "first ten", "TransNAS: scene / jigsaw / normal"], rows)


def default_candidates() -> str:
    """Other sums of scores beside the default one: development halves with the seeds that chose, and the least gain."""
    measured = read("rank_default_candidates")
    groups, milliseconds = measured["seeds"], measured["processor_milliseconds"]
    tasks = [f"TransNAS micro {task}" for task in TASKS]

    def least(label, group, half):
        runs = [one["rows"][label] for one in groups[group].values() if label in one["rows"]]
        parts = [half, *(f"{task}, {half}" for task in tasks)]
        gains = [min(run[part]["ahead of the default"]["batches"]) for run in runs for part in parts]
        return f"{min(gains):+.3f}" if gains and label != "default" else ""

    rows = []
    for label, names in measured["candidates"].items():
        half = "development half"
        shown = [groups["chosen with"][images]["rows"][label] for images in IMAGES]
        taus = [_by_images(shown, half, "kendall_tau")]
        rhos = [_by_images(shown, f"{task}, {half}", "spearman_rho") for task in tasks]
        gains = [least(label, "chosen with", half), least(label, "reported", "other half")]
        works = {name.partition(": ")[0] for name in names} & milliseconds.keys()
        cost = f"{sum(milliseconds[work] for work in works):.2f}"
        rows.append([f"**{label}**" if label == "default" else label, *taus, *rhos, *gains, cost])
    heads = ["NAS-Bench-201", *TASKS.values(), "least gain, chosen with", "least gain, other halves", "milliseconds"]
    return table(["synthetic / CIFAR-10 images", *heads], rows)


def default_candidates_reported() -> str:
    """Those that were drawn with the seeds that chose nothing: whole sets of cells, and other halves."""
    measured = read("rank_default_candidates")["seeds"]["reported"]
    columns = {"15,625": "all", "9,445": "on paths", "other half": "other half"}
    columns |= {f"{shown}, other half": f"TransNAS micro {task}, other half" for task, shown in TASKS.items()}
    rows = []
    for label in measured["synthetic"]["rows"]:
        shown = [measured[images]["rows"][label] for images in IMAGES]
        figures = ["spearman_rho" if part.startswith("TransNAS") else "kendall_tau" for part in columns.values()]
        cells = [_by_images(shown, part, figure) for part, figure in zip(columns.values(), figures, strict=True)]
        cells.append(" / ".join(f"{min(row['all']['first']['batches']):.2f}" for row in shown))
        rows.append([f"**{label}**" if label == "default" else label, *cells])
    return table(["synthetic / CIFAR-10 images", *columns, "worst first"], rows)


def _by_images(rows: list[Any], part: str, figure: str) -> str:
    return " / ".join(f"{row[part][figure]['mean']:.3f}" for row in rows)


def ranking_transnas() -> str:
    """Spearman's rho on the micro cells of TransNAS-Bench-101, beside yardsticks and published figures."""
    rows = []
    for label, images, row in _measured():
        cells = []
        for part in ("development half", "other half"):
            figures = [row[f"TransNAS micro {task}, {part}"]["spearman_rho"] for task in TASKS]
            cells += [_cell(figure) for figure in figures]
        rows.append([label, images, *cells])
    for one in read("published")["transnas_micro"]:
        cells = [f"{one['spearman_rho'][task]:.2f}" for task in TASKS]
        rows.append([f"{one['method']}, all cells ({one['source']})", "", "", "", "", *cells])
    return table(["", "images", *(f"{n}, {h}" for h in ("development", "other half") for n in TASKS.values())], rows)


def ranking_found() -> str:
    """The accuracy of the best-scored of 3,000 random architectures, mean of five samples."""
    found = read("published")["best_of_3000"]
    rows = [[one["method"], f"{one['accuracy']['cifar10']:.2f}", one["source"]] for one in found]
    labels = {"default, smoothed": SCORES["default, smoothed"], **YARDSTICKS}
    rows += [
        [labels[key], _cell(_rows()[key]["all"]["best_of_3000"], 2), "`rank_defaults.json`, synthetic images"]
        for key in ("flops", "live_multiply_adds", "default, smoothed")
    ]
    return table(["", "CIFAR-10 accuracy", "source"], rows)


def published() -> str:
    """Correlations with CIFAR-10 accuracies beside published figures, by the set of cells that is ranked."""
    rows = []
    figures = ("kendall_tau", "spearman_rho", "ndcg_1000")
    for part, others in read("published")["nasbench201"].items():
        cells = f"{others['cells']:,}"
        for one in others["rows"]:
            known = [f"{one[f]['cifar10']:.3f}" if "cifar10" in one.get(f, {}) else "" for f in figures]
            rows.append([cells, one["method"], *known, one["source"]])
        for key in ("flops", "live_multiply_adds", "default, smoothed"):
            label = "**tenas_jax, default scores**" if key.startswith("default") else YARDSTICKS[key]
            row = _rows()[key][part]
            rows.append([cells, label, *(_cell(row[figure]) for figure in figures), "`rank_defaults.json`"])
    return table(["cells", "", "Kendall's tau", "Spearman's rho", "nDCG@1000", "source"], rows)


def darts_ranking() -> str:
    """Kendall's tau of the default ranking of DARTS genotypes."""
    labels = {
        "hamming_log_determinant": "**Hamming log-determinant**",
        "flops": "*FLOPs*",
        "parameters": "*parameters*",
    }
    found = {(row["images"], row["score"]): row for row in read("rank_accuracy")["darts"]["rows"]}
    rows = []
    for score, label in labels.items():
        for images in IMAGES:
            row = found[images, score]
            taus = [row[part]["kendall_tau"] for part in ("all", "development half", "other half")]
            cells = [f"{tau['mean']:.3f}{spread(tau)}" for tau in taus]
            rows.append([label, images, *cells, f"{row['all']['spearman_rho']['mean']:.3f}"])
    return table(["", "images", "all", "development half", "other half", "Spearman's rho"], rows)


def search_accuracy() -> str:
    """What a search finds over fresh seeds, by images."""
    rows = []
    for name in SEARCHES:
        measured = read(name)
        seeds = f"{measured['seeds'][0]} to {measured['seeds'][-1]}"
        for row in measured["rows"]:
            found = row["accuracy"]
            what = row.get("strategy", "prune") + ("" if row["set"] == "default" else f", {row['set']}")
            reached = f"{found['mean']:.2f} ({found['standard_error']:.2f})"
            rows.append([what.replace("_", " "), IMAGES[row["images"]], seeds, reached, f"{found['minimum']:.2f}"])
    return table(["strategy", "images", "seeds", "mean accuracy (standard error)", "worst"], rows)


def search_draws() -> str:
    """Hundreds of searches from a table of draws: which settings are ever unlucky."""
    content = read("search_draws")["images"]
    what = {
        "prune": "prune, completions a round: {}",
        "evolve": "evolve, draws: {}",
        "exhaustive": "exhaustive, draws: {}",
        "weight of neighbours": "exhaustive, neighbours' mean times {}",
    }
    rows = []
    for number, one in enumerate(content["synthetic"]):
        cells = []
        for images in content:
            found = content[images][number]
            below = next(value for name, value in found.items() if name.startswith("below"))
            mean = f"{found['accuracy']['mean']:.3f} ({found['accuracy']['standard_error']:.3f})"
            cells += [mean, f"{found['worst']:.2f}", f"{below} of {found['searches']}"]
        rows.append([what[one["strategy"]].format(one["setting"]), *cells])
    heads = [head for images in content for head in (f"{IMAGES[images]} images", "worst", "below 94.2")]
    return table(["", *heads], rows)


def strategies_in_short() -> str:
    """What every strategy finds, with either kind of images: mean accuracy, standard error, worst and number of seeds."""
    rows = []
    for name in SEARCHES:
        found = {row["images"]: row for row in read(name)["rows"] if row["set"] == "default"}
        strategy = found["synthetic"].get("strategy", "prune")
        rows.append([f"`--strategy {strategy}`", *(_found(found.get(images, {}).get("accuracy")) for images in IMAGES)])
    first = read("rank_defaults")["images"]
    accuracies = [mean_and_error([one["accuracy"] for one in first[i]["first_architectures"]]) for i in IMAGES]
    rows.append(["`--strategy exhaustive`", *map(_found, accuracies)])
    return table(["", *(f"{name} images" for name in IMAGES.values())], rows)


def _found(found: dict[str, float] | None) -> str:
    if found is None:
        return "not measured"
    mean = f"{found['mean']:.2f} ({found['standard_error']:.2f})"
    return f"{mean}, worst of {found['number']} seeds {found['minimum']:.2f}"


def hardware_limits() -> str:
    """Accuracy of what each strategy finds below a latency, beside the best and the median of what meets it."""
    rows = []
    for row in read("search_hardware")["rows"]:
        found = [row[strategy]["accuracy"] for strategy in ("prune", "evolve", "exhaustive")]
        cells = [f"{one['mean']:.2f} ({one['standard_error']:.2f})" for one in found]
        there = [row[name] for name in ("all", "without_none")]
        cells += [f"{one['optimum']:.2f}, median {one['median']:.2f} of {one['architectures']:,}" for one in there]
        rows.append([f"{row['most_ms']:g} ms on {row['device']}", *cells])
    return table(["at most", "prune", "evolve", "exhaustive", "best there is", 'best without "none"'], rows)


def rank_nasbench101() -> str:
    """Kendall's tau and Spearman's rho on NAS-Bench-101: yardsticks in italics, sums of log ranks in bold."""
    found = read("rank_nasbench101")
    rows = []
    for name, figures in sorted(found["rows"].items(), key=lambda row: -row[1]["development half"]["kendall_tau"]):
        mark = "**" if name in found["sums"] else "*" if name in (*COSTS, "edges", "vertices", "longest_path") else ""
        halves = [figures[half] for half in ("development half", "other half")]
        cells = [f"{half[figure]:.3f}" for figure in ("kendall_tau", "spearman_rho") for half in halves]
        rows.append([f"{mark}{name.replace('_', ' ')}{mark}", *cells])
    heads = [f"{name}, {half}" for name in ("tau", "rho") for half in ("development half", "other half")]
    return table(["", *heads], rows)
