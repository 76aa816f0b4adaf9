"""Tables of what was put to the test: faults."""

from common.markdown import read, table

FAULTS = {
    "random_kills": "SIGKILL at a random moment, then the same command",
    "kills_before_file_operations": "kill before every file operation",
    "power_cuts": "power cut: what was not synced is lost, by four models of a file system",
    "two_processes": "two processes with one output; half of the pairs killed",
    "corruptions": "damage to a file of a run, finished or not",
}
OUTCOMES = ("right", "named", "refused", "wrong", "traceback")


def faults() -> str:
    """What became of runs: how often what was done, and how they ended."""
    found = read("fault_campaign")
    rows = []
    for part, what in FAULTS.items():
        if part in found:
            counts = found[part]["counts"]
            runs = sum(counts.get(outcome, 0) for outcome in OUTCOMES)
            ends = [str(counts.get(outcome, 0)) for outcome in OUTCOMES]
            rows.append([what, f"{counts['kills']:,}" if "kills" in counts else "", f"{runs:,}", *ends])
    return table(["what", "kills", "runs", *OUTCOMES], rows)


def fuzzed() -> str:
    """Input that nobody meant: taken, refused in one sentence, or neither."""
    counts = read("fault_campaign")["fuzz"]["counts"]
    kinds = list(dict.fromkeys(name.rsplit(" ", 1)[0] for name in counts))
    outcomes = ("taken", "refused", "uncaught", "failed", "slow")
    rows = [[kind, *(f"{counts.get(f'{kind} {outcome}', 0):,}" for outcome in outcomes[:2])] for kind in kinds]
    for kind, row in zip(kinds, rows, strict=True):
        row.append(f"{sum(counts.get(f'{kind} {outcome}', 0) for outcome in outcomes[2:]):,}")
    return table(["input", "taken", "refused", "neither"], rows)
