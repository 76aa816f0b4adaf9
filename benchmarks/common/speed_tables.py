"""Tables of time and memory: whole commands, stages of a ranking, engines, library calls, the model of cost."""

import statistics

from common.markdown import figures, read, table


def whole_commands() -> str:
    """Seconds and memory of rankings and searches, the first run and the best of the later ones."""
    measured = read("rank_whole_space")
    groups: dict[str, list[dict]] = {}
    for row in measured["rank"]:
        if row["architectures"] == "all":
            groups.setdefault("`rank`, all 15,625", []).append(row)
    for row in measured["search"]:
        groups.setdefault(f"`search --strategy {row['strategy']}`", []).append(row)
    rows = []
    for name, runs in groups.items():
        cells = []
        for some in ([run for run in runs if run["cold"] == cold] for cold in (True, False)):
            best = {key: min((run[key] for run in some), default=0) for key in ("seconds", "processor_seconds")}
            cells.append(f"{best['seconds']:.0f} s, {best['processor_seconds']:.0f} s of processors" if some else "")
        memory = max(run["peak_memory_bytes"] for run in runs) / 1e9
        rows.append([name, *cells, f"{memory:.2f} GB", f"{max(run['load_before'] for run in runs):.0f}"])
    return table(["command", "first run", "later, the best", "memory", "load before, at most"], rows)


def memory_by_architectures() -> str:
    """Peak memory of rankings of more and more architectures."""
    most = {row["architectures"]: row["peak_memory_bytes"] for row in read("rank_whole_space")["rank"]}
    rows = [[name.replace("all", "15625"), f"{most[name] / 1e6:.0f} MB"] for name in reversed(list(most))]
    return table(["architectures", "peak memory"], rows)


def ranking_stages() -> str:
    """Processor time of a ranking's programs, one by one and shared."""
    measured = read("rank_stages")
    rows = [
        [
            name.replace("_", " "),
            f"{1000 * row['one_by_one_milliseconds']:.0f} us",
            f"{1000 * row['shared_milliseconds']:.0f} us",
            f"{row['times_as_fast']:.1f}",
            f"{1000 * measured['read_milliseconds'][name]:.0f} us",
        ]
        for name, row in measured["programs"].items()
    ]
    return table(["score", "one by one", "shared", "times as fast", "eigenvalues, reading"], rows)


def cost_model() -> str:
    """Measured exponents beside those that they should meet."""
    rows = []
    for factor, found in read("score_cost")["factors"].items():
        values = [str(row["value"]) for row in found["rows"]]
        clock = "seconds" if factor == "cores" else "processor_seconds"
        seconds = [figures(row[clock]) for row in found["rows"]]
        memory = [f"{row['peak_memory_bytes'] / 1e6:.0f}" for row in found["rows"]]
        shown = [", ".join(parts) for parts in (values, seconds, memory)]
        rows.append([factor, *shown, f"{found['exponent']:.2f}", str(found["limit"])])
    return table(["factor", "values", "seconds", "MB", "exponent", "limit"], rows)


def engines() -> str:
    """How many times as long as ours the engines of neural-tangents take."""
    rows = []
    for name, found in read("ntk_engines")["kernels"].items():
        ours, *others = found.values()
        ratios = [f"{row['minimum_over_layerwise']:.1f}" for row in others]
        difference = max(row["difference"] for row in others)
        rows.append([name, f"{1000 * min(ours['all_seconds']):.1f} ms", *ratios, f"{difference:.0e}"])
    return table(["network", "layerwise", "neural_tangents", "neural_tangents_ntvp", "largest difference"], rows)


def library_calls() -> str:
    """First and later calls of the library's functions."""
    rows = []
    for name, row in read("library_calls")["calls"].items():
        ratio = f"{row['plain_over_user_jit']:.2f}" if "plain_over_user_jit" in row else ""
        later = statistics.median(row["plain"]["all_seconds"])
        rows.append([f"`{name}`", f"{row['first_call_seconds']:.2f} s", f"{1000 * later:.1f} ms", ratio])
    return table(["function", "first call", "later", "over a program by `jax.jit`"], rows)
