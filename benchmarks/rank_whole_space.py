"""Whole commands on NAS-Bench-201: seconds on the clock, processor seconds and peak memory, first run and later ones.

    python benchmarks/rank_whole_space.py [--later 2] [--architectures 1000 4000 all]

The default ranking of all architectures, first with an empty compilation cache, then again; of fewer architectures, which
shows how memory grows; and the searches that prune and that go through everything. On a machine that others use the clock
says little: half of the processor seconds is what two free cores take at least. Writes `results/rank_whole_space.json`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common.records import ROOT, write


def run(folder: Path, cache: Path, module: str, arguments: list[str]) -> dict[str, Any]:
    """One command in a process and a folder of its own.

    Args:
        folder: to run in; it is created.
        cache: of compiled programs.
        module: `rank` or `search`.
        arguments: of the command.
    """
    folder.mkdir()
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-m", f"tenas_jax.{module}", *arguments]
    load = os.getloadavg()[0]
    with (folder / "output").open("w") as output, (folder / "errors").open("w") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=errors)
        # The only way to learn what this one process held, and not the largest of all.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise RuntimeError((folder / "errors").read_text())
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_bytes": usage.ru_maxrss * 1024,
        "load_before": round(load, 2),
        "last_line": (folder / "output").read_text().splitlines()[-1],
    }


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
            content[kind].append(label | run(folder, root / cache, module, arguments))
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
