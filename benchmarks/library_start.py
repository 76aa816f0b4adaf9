"""How long it takes until a command answers and the package is imported, each in a fresh interpreter.

    python benchmarks/library_start.py [--repeats 20]

Starts take turns, so that whatever else the machine does meets all of them. "python" is an interpreter that does nothing:
what the others take beyond it is ours. Writes results/library_start.json.
"""

import argparse
import subprocess
import sys
from functools import partial
from typing import Any

from common.records import write
from common.timing import seconds_in_turn, summary

STARTS = {
    "python": ["-c", "pass"],
    "import tenas_jax": ["-c", "import tenas_jax"],
    "tenas_jax.search --help": ["-m", "tenas_jax.search", "--help"],
    "tenas_jax.rank --help": ["-m", "tenas_jax.rank", "--help"],
}


def start(arguments: list[str]) -> None:
    """Runs an interpreter to its end.

    Args:
        arguments: of Python.
    """
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measures every start, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--name", default="library_start", help="of the result's file; empty writes none")
    options = parser.parse_args(arguments)
    functions = {name: partial(start, call) for name, call in STARTS.items()}
    # Once before: later starts find the compiled bytecode and the files in memory.
    seconds_in_turn(functions, dict.fromkeys(functions, 1))
    seconds = seconds_in_turn(functions, dict.fromkeys(functions, options.repeats))
    content: dict[str, Any] = {"starts": {name: summary(values) for name, values in seconds.items()}}
    for found in content["starts"].values():
        del found["processor_seconds"]  # of this process, which only waits
    for name, found in content["starts"].items():
        print(f"{name}: {found['seconds']:.3f} s")
    if options.name:
        write(options.name, content)
    return content


if __name__ == "__main__":
    main()
