"""Whole commands as processes of their own: their seconds, what they held in memory, what they printed."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.records import ROOT


class Finished(NamedTuple):
    """A process that has ended well.

    Attributes:
        seconds: on the clock.
        processor_seconds: of all its threads.
        peak_memory_bytes: the most that it held.
        load_before: mean number of processes that wanted a core in the minute before.
        output: lines of standard output.
        errors: lines of standard error.
    """

    seconds: float
    processor_seconds: float
    peak_memory_bytes: int
    load_before: float
    output: list[str]
    errors: list[str]

    def figures(self) -> dict[str, float | int]:
        """All but what it printed."""
        return {name: value for name, value in self._asdict().items() if name not in ("output", "errors")}


def run(module: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Finished:
    """Runs a module of the package.

    Args:
        module: such as `tenas_jax.search`.
        arguments: of its command line.
        folder: to run in; it is created.
        environment: variables beside those of this process.

    Raises:
        RuntimeError: where it fails, with what it said.
    """
    folder.mkdir()
    command = [sys.executable, "-m", module, *arguments]
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment or {})
    load = os.getloadavg()[0]
    with (folder / "output").open("w") as output, (folder / "errors").open("w") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=errors)
        # The only way to learn what this one process held, and not the largest of all.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise RuntimeError((folder / "errors").read_text())
    used = round(usage.ru_utime + usage.ru_stime, 2)
    lines = [(folder / name).read_text().splitlines() for name in ("output", "errors")]
    return Finished(round(seconds, 2), used, usage.ru_maxrss * 1024, round(load, 2), *lines)


def ranked(folder: Path, arguments: list[str]) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The rows of one cold ranking, and its record with the seconds of the whole process.

    Args:
        folder: for its results and the cache of compiled programs.
        arguments: of the command line.
    """
    output = folder / "scores.csv"
    done = run(
        "tenas_jax.rank",
        ["--output", str(output), *arguments],
        folder / "run",
        {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")},
    )
    with output.open() as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads(output.with_suffix(".json").read_text()) | {"process_seconds": done.seconds}
