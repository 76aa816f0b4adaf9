"""What a ranking costs in the process that leads it, whoever evaluates: CPU seconds and memory an architecture.

    python benchmarks/rank_driver.py [--few 2000] [--many 12000]

Random DARTS architectures with a score that needs no evaluation, in two numbers: the difference is what more of them cost.
Writes `results/rank_driver.json`.
"""

import argparse
import multiprocessing
import resource
import tempfile
from pathlib import Path
from typing import Any

from common.records import write


def led(count: int, folder: str, answers: Any) -> None:
    """Ranks in a process of its own."""
    from tenas_jax.rank.command import main

    argv = ["--space", "darts", "--architectures", str(count), "--scores", "flops", "--output"]
    code = main([*argv, str(Path(folder) / f"{count}.csv")])
    used = resource.getrusage(resource.RUSAGE_SELF)
    answers.put((code, used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=2000)
    parser.add_argument("--many", type=int, default=12_000)
    arguments = parser.parse_args()
    rows = []
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for count in (arguments.few, arguments.many):
            answers = context.Queue()
            process = context.Process(target=led, args=(count, folder, answers))
            process.start()
            code, seconds, memory = answers.get()
            process.join()
            assert code == 0
            rows.append({"architectures": count, "cpu_seconds": round(seconds, 2), "memory_bytes": memory})
    few, many = rows
    more = many["architectures"] - few["architectures"]
    each = {name: (many[name] - few[name]) / more for name in ("cpu_seconds", "memory_bytes")}
    write("rank_driver", {"space": "darts", "rows": rows, "an_architecture": {k: round(v, 7) for k, v in each.items()}})


if __name__ == "__main__":
    main()
