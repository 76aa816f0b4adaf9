"""Command lines, run in processes of their own."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def ranked(folder: Path, arguments: list[str]) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The rows of one cold run, and its record with the seconds of the whole process."""
    output = folder / "scores.csv"
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tenas_jax.rank", "--output", str(output), *arguments], env=environment, check=True
    )
    seconds = time.perf_counter() - start
    with output.open() as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads(output.with_suffix(".json").read_text()) | {"process_seconds": round(seconds, 2)}
