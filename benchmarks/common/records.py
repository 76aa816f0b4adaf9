"""What every result file says about itself: the command, the commit, the date, versions, cores, load."""

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("jax", "jaxlib", "flax", "neural-tangents", "numpy", "scipy")


def _git(*arguments: str) -> str | None:
    """What git says about this repository; None without git or without a repository."""
    try:
        result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def tree() -> dict[str, Any]:
    """The commit, and which files differ from it, results left out: `changed` is empty where the tree is clean."""
    # One line a file: two letters, a blank, its name, or its old and its new name.
    lines = (_git("status", "--porcelain", "--untracked-files=all") or "").splitlines()
    names = [line.strip().split(maxsplit=1)[1].split(" -> ")[-1] for line in lines]
    changed = [name for name in names if not name.startswith("benchmarks/results/")]
    return {"commit": _git("rev-parse", "HEAD"), "changed": changed}


# As the benchmark starts: it may take hours, and the load after it is its own.
_START = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "load": round(os.getloadavg()[0], 2)}
_TREE = tree()


def command(arguments: Sequence[str]) -> tuple[str, dict[str, str]]:
    """A command line without the machine that it ran on.

    Args:
        arguments: as in `sys.argv`.

    Returns:
        The line, files by their names where they lie outside of the repository; and the SHA-256 of every file that is named
        in it, but for the script.
    """
    words, hashes = ["python"], {}
    for number, argument in enumerate(arguments):
        path = Path(argument)
        if os.sep not in argument and not path.is_file():
            words.append(argument)
            continue
        inside = path.resolve().is_relative_to(ROOT)
        words.append(str(path.resolve().relative_to(ROOT)) if inside else path.name)
        if number and path.is_file():
            hashes[words[-1]] = hashlib.sha256(path.read_bytes()).hexdigest()
    return shlex.join(words), hashes


def record() -> dict[str, Any]:
    """How this run came about."""
    line, files = command(sys.argv)
    return {
        "command": line,
        "files": files,
        **_TREE,
        **_START,
        "recorded": "by the run",
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def write(name: str, content: dict[str, Any]) -> None:
    """Writes `benchmarks/results/NAME.json`.

    Args:
        name: without suffix.
        content: plain JSON values; the record is added.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**content, "record": record()}, indent=2) + "\n")
    print(f"wrote {path}")
