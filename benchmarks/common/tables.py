"""The tables of the README and of docs/, from the files in `results/`.

`python benchmarks/docs_figures.py --write` brings the documents up to date, and a test compares each with its files.
"""

import re
import statistics
from collections.abc import Callable

from common import fault_tables, kernel_tables, ranking_tables, space_tables, speed_tables, train_tables
from common.markdown import PARTS, read, spread, table


def search_output() -> str:
    """What the default search prints: its first line, without the seconds that it took there, and the last."""
    later = read("search_first_run")["nasbench201"]["later"]
    first = re.sub(r"\(.* s\)$", "(... s)", later["messages"][0])
    return "\n".join(["```", first, "...", later["output"][-1], "```"])


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


def darts_strategies() -> str:
    """What pruning and evolution find on DARTS."""
    rows = []
    for row in read("search_strategies")["darts"]:
        score = f"{row['score']['mean']:.0f} ({row['score']['standard_error']:.0f})"
        size = f"{row['million_parameters']['mean']:.2f} M"
        seconds = f"{row['seconds_cold']:.0f} s / {row['seconds_warm']:.0f} s"
        rows.append([row["strategy"], score, size, f"{row['evaluations']:,}", seconds])
    return table(["strategy", "log-determinant, drawn anew", "parameters", "evaluations", "first run / later"], rows)


SIDES = {"here, after compilation": "ours", "PyTorch": "pytorch"}

# Which document shows which table.
TABLES: dict[Callable[[], str], str] = {
    ranking_tables.search_accuracy: "docs/search.md",
    ranking_tables.search_draws: "docs/search.md",
    search_output: "README.md",
    train_tables.quick_trainings: "docs/how_to/train.md",
    train_tables.training_costs: "docs/how_to/train.md",
    train_tables.training_forms: "docs/how_to/train.md",
    kernel_tables.indicators: "docs/speed.md",
    kernel_tables.ntk_choices: "docs/analytic_ntk.md",
    kernel_tables.ntk_cost: "docs/analytic_ntk.md",
    kernel_tables.real_batch_norm: "docs/analytic_ntk.md",
    kernel_tables.batch_statistics: "docs/speed.md",
    darts_correlation: "docs/darts.md",
    darts_search_speed: "docs/darts.md",
    kernel_tables.darts_kernel_choices: "docs/darts.md",
    darts_scores: "docs/darts.md",
    ranking_tables.ranking: "docs/ranking.md",
    ranking_tables.ranking_top: "docs/ranking.md",
    ranking_tables.ranking_transnas: "docs/ranking.md",
    space_tables.ranking_spaces: "docs/ranking.md",
    ranking_tables.ranking_found: "docs/ranking.md",
    space_tables.every_space: "docs/ranking.md",
    ranking_tables.darts_ranking: "docs/ranking.md",
    ranking_tables.published: "README.md",
    ranking_tables.ranking_without_one: "docs/ranking.md",
    ranking_tables.default_candidates: "docs/ranking.md",
    ranking_tables.default_candidates_reported: "docs/ranking.md",
    kernel_tables.darts_kernels_beside: "docs/darts.md",
    ranking_tables.rank_nasbench101: "docs/nasbench101.md",
    rank_speed: "docs/speed.md",
    ranking_tables.strategies_in_short: "README.md",
    darts_strategies: "docs/search.md",
    ranking_tables.hardware_limits: "docs/how_to/hardware.md",
    speed_tables.whole_commands: "docs/speed.md",
    speed_tables.starts: "docs/speed.md",
    speed_tables.memory_by_architectures: "docs/scaling.md",
    speed_tables.cost_exponents: "docs/scaling.md",
    kernel_tables.ntk_hunt: "docs/analytic_ntk.md",
    kernel_tables.ntk_hunt_spread: "docs/analytic_ntk.md",
    kernel_tables.any_network: "docs/any_network.md",
    kernel_tables.engines: "docs/any_network.md",
    kernel_tables.library_calls: "docs/any_network.md",
    kernel_tables.any_network_in_blocks: "docs/any_network.md",
    kernel_tables.line_regions: "docs/depth_and_width.md",
    kernel_tables.ntk_by_depth: "docs/depth_and_width.md",
    kernel_tables.nngp_by_depth: "docs/depth_and_width.md",
    fault_tables.faults: "docs/faults.md",
    fault_tables.fuzzed: "docs/faults.md",
}
