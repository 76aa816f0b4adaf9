"""What `python -m tenas_jax.search` prints, takes and holds in memory, at the first run and once its programs are compiled.

    python benchmarks/search_first_run.py [--spaces nasbench201 darts]

The default search of every space on synthetic images, seed 0: twice, in empty folders, the first time with an empty
compilation cache. Seconds are those of the whole process. Writes `results/search_first_run.json`.
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


def run(folder: Path, cache: Path, space: str, further: list[str]) -> dict[str, Any]:
    """One search in a process of its own: what it prints, its seconds and its peak memory.

    Args:
        folder: to run in; it is created.
        cache: of compiled programs.
        space: which is searched.
        further: arguments of the search.
    """
    folder.mkdir()
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tenas_jax.search", "--space", space, *further]
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
        "peak_memory_bytes": usage.ru_maxrss * 1024,
        "output": (folder / "output").read_text().splitlines(),
        "messages": [line for line in (folder / "errors").read_text().splitlines() if line.startswith("round ")],
    }


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", default=["nasbench201", "darts"])
    parser.add_argument("--name", default="search_first_run", help="of the result's file; empty writes none")
    parser.add_argument("--further", nargs=argparse.REMAINDER, default=[], help="arguments of the search")
    arguments = parser.parse_args(argv)
    content: dict[str, Any] = {"what": "the default search of a space, synthetic images, seed 0, whole processes"}
    for space in arguments.spaces:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            content[space] = {
                name: run(root / name, root / "cache", space, arguments.further) for name in ("first", "later")
            }
        print(space, {name: (one["seconds"], one["output"][-1]) for name, one in content[space].items()}, flush=True)
    if arguments.name:
        write(arguments.name, content)
    return content


if __name__ == "__main__":
    main()
