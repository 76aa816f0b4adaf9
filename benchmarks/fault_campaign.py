"""Kills, power cuts, two processes, corrupted records, fuzzed input: what becomes of runs, counted.

    python benchmarks/fault_campaign.py [--kills 100] [--stride 1] [--pairs 20] [--cuts 400] [--corruptions 1000] --write

How a fault is made and what counts as right: `common/faults.py`. With `--write` the counts go into
`results/fault_campaign.json`, each part with its own record; parts that are not run stay as they are there. The exit code
is 0 where nothing failed.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import fault_fuzz, faults
from common import fault_layers as layers
from common.records import RESULTS, record, write


def parts(options: argparse.Namespace) -> dict[str, Callable[[faults.Campaign, Any], faults.Counts]]:
    """What is counted, by name."""
    return {
        "kills_before_file_operations": lambda c, s: faults.kills_before_operations(c, options.stride),
        "power_cuts": lambda c, s: faults.power_cuts(c, options.cuts),
        "corruptions": lambda c, s: faults.corruptions(c, options.corruptions),
        "random_kills": lambda c, s: faults.real_kills(c, options.kills, s),
        "two_processes": lambda c, s: faults.two_processes(c, options.pairs, s),
        "fuzz": lambda c, s: fault_fuzz.fuzz(c.rng, options.fuzz, c.folder, c.failures),
    }


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs of real processes (default: %(default)s)")
    parser.add_argument("--stride", type=int, default=1, help="kill before every N-th operation (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=20, help="of processes with one output (default: %(default)s)")
    parser.add_argument("--cuts", type=int, default=400, help="power cuts (default: %(default)s)")
    parser.add_argument("--corruptions", type=int, default=1000, help="damaged files (default: %(default)s)")
    parser.add_argument("--fuzz", type=int, default=1_000_000, help="fuzzed inputs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--only", action="append", help="one of the parts, by name; may be given again")
    parser.add_argument(
        "--write", action="store_true", help="write the counts to benchmarks/results/fault_campaign.json"
    )
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> list[str]:
    """The campaign; every part is written when it is done.

    Args:
        options: from `arguments`.

    Returns:
        Every failure.
    """
    # Children come from a server that has loaded the package and not started JAX: they begin at once.
    starter = multiprocessing.get_context("forkserver")
    starter.set_forkserver_preload(faults.PRELOADED)
    with tempfile.TemporaryDirectory() as folder, layers.cheap():
        campaign = faults.Campaign(Path(folder), options.seed)
        for name, part in parts(options).items():
            if options.only and name not in options.only:
                continue
            start, before = time.perf_counter(), len(campaign.failures)
            counts = dict(sorted(part(campaign, starter).items()))
            seconds = round(time.perf_counter() - start, 1)
            print(name, counts, seconds, file=sys.stderr, flush=True)
            if options.write:
                failures = campaign.failures[before:][:50]
                keep(name, {"counts": counts, "failures": failures, "seconds": seconds, "record": record()})
    return campaign.failures


def keep(name: str, found: dict[str, Any]) -> None:
    """Writes what a part has found; the other parts stay as they are in the file.

    Args:
        name: of the part.
        found: counts, failures and record.
    """
    path = RESULTS / "fault_campaign.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    before.pop("record", None)
    write("fault_campaign", {**before, name: found})


def main() -> int:
    """The exit code: 0 where nothing failed."""
    failures = run(arguments())
    print("\n".join(failures) or "nothing failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
