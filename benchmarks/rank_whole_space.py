"""Whole commands on NAS-Bench-201: seconds on the clock, processor seconds and peak memory, first run and later ones.

    python benchmarks/rank_whole_space.py [--later 2] [--architectures 1000 4000 all]

The default ranking of all architectures, first with an empty compilation cache, then again; of fewer architectures, which
shows how memory grows; and the searches that prune and that go through everything. On a machine that others use the clock
says little: half of the processor seconds is what two free cores take at least. Writes `results/rank_whole_space.json`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from common.processes import run
from common.records import write


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--later", type=int, default=2, help="runs with compiled programs")
    parser.add_argument("--architectures", nargs="+", default=["1000", "4000", "all"])
    parser.add_argument("--strategies", nargs="*", default=["prune", "exhaustive"])
    parser.add_argument("--further", nargs=argparse.REMAINDER, default=[], help="arguments of the rankings")
    parser.add_argument("--name", default="rank_whole_space", help="of the result's file; empty writes none")
    options = parser.parse_args(argv)
    content: dict[str, Any] = {"rank": [], "search": []}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)

        def measured(kind: str, module: str, label: dict[str, Any], cache: str, arguments: list[str]) -> None:
            folder = root / f"run{len(content['rank']) + len(content['search'])}"
            done = run(f"tenas_jax.{module}", arguments, folder, {"XDG_CACHE_HOME": str(root / cache)})
            content[kind].append(label | done.figures() | {"last_line": done.output[-1]})
            print(content[kind][-1], flush=True)

        for architectures in reversed(options.architectures):
            arguments = ["--architectures", architectures, *options.further]
            whole = architectures == options.architectures[-1]
            for number in range(1 + options.later if whole else 1):
                cold = whole and number == 0
                measured("rank", "rank", {"architectures": architectures, "cold": cold}, "rank", arguments)
        for strategy in options.strategies:
            # Going through everything takes the programs that the ranking has compiled.
            cache = "rank" if strategy == "exhaustive" else strategy
            for number in range(options.later + (cache != "rank")):
                label = {"strategy": strategy, "cold": number == 0 and cache != "rank"}
                measured("search", "search", label, cache, ["--strategy", strategy])
    if options.name:
        write(options.name, content)
    return content


if __name__ == "__main__":
    main()
