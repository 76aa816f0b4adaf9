"""Tables of time and memory of whole commands."""

from common.markdown import read, table


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
    most: dict[str, int] = {}
    for row in read("rank_whole_space")["rank"]:
        most[row["architectures"]] = max(row["peak_memory_bytes"], most.get(row["architectures"], 0))
    rows = [[name.replace("all", "15625"), f"{most[name] / 1e6:.0f} MB"] for name in reversed(list(most))]
    return table(["architectures", "peak memory"], rows)


def cost_exponents() -> str:
    """How time and memory of a score grow with one factor at a time."""
    rows = []
    for factor, found in read("score_cost")["factors"].items():
        values = ", ".join(str(row["value"]) for row in found["rows"])
        clock = "seconds" if factor == "cores" else "processor_seconds"
        milliseconds = ", ".join(f"{1000 * row[clock]:.0f}" for row in found["rows"])
        exponents = [f"{found[name]:.2f}" for name in ("exponent", "memory_exponent")]
        rows.append([factor, values, milliseconds, exponents[0], str(found["limit"]), exponents[1]])
    return table(["factor", "values", "milliseconds", "exponent", "for large values", "exponent of memory"], rows)


def starts() -> str:
    """How long an interpreter takes until a command has answered, beside one that does nothing."""
    measured = read("library_start")["starts"]
    rows = [
        [f"`{name}`", f"{1000 * one['median_seconds']:.0f} ms", f"{1000 * one['median_processor_seconds']:.0f} ms"]
        for name, one in measured.items()
    ]
    return table(["", "median", "of processors"], rows)
