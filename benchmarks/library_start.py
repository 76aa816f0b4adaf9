"""How long it takes until a command answers and the package is imported, each in a fresh interpreter.

    python benchmarks/library_start.py [--repeats 20]

Starts take turns, so that whatever else the machine does meets all of them; processor seconds are those of the interpreter,
which other work lengthens little. "python" is an interpreter that does nothing: what the others take beyond it is ours.
Writes results/library_start.json.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from common.records import write

STARTS = {
    "python": ["-c", "pass"],
    "import tenas_jax": ["-c", "import tenas_jax"],
    "tenas_jax.search --help": ["-m", "tenas_jax.search", "--help"],
    "tenas_jax.rank --help": ["-m", "tenas_jax.rank", "--help"],
}


def _processor_seconds() -> float:
    """Of all interpreters that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def start(arguments: list[str]) -> tuple[float, float]:
    """Runs an interpreter to its end.

    Args:
        arguments: of Python.

    Returns:
        Seconds on the clock, and processor seconds.
    """
    clock, used = time.perf_counter(), _processor_seconds()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - clock, _processor_seconds() - used


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measures every start, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--name", default="library_start", help="of the result's file; empty writes none")
    options = parser.parse_args(arguments)
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in STARTS}
    for turn in range(options.repeats + 1):
        for name, call in STARTS.items():
            seconds = start(call)
            if turn:  # the first has left compiled bytecode, and the files in memory
                measured[name].append(seconds)
    content: dict[str, Any] = {"starts": {}}
    for name, values in measured.items():
        clock, processor = zip(*values, strict=True)
        content["starts"][name] = {
            "median_seconds": round(statistics.median(clock), 4),
            "minimum_seconds": round(min(clock), 4),
            "median_processor_seconds": round(statistics.median(processor), 4),
            "all_seconds": [round(value, 4) for value in clock],
        }
        print(f"{name}: {content['starts'][name]}", flush=True)
    if options.name:
        write(options.name, content)
    return content


if __name__ == "__main__":
    main()
