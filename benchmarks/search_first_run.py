"""What `python -m tenas_jax.search` prints, takes and holds in memory, at the first run and once its programs are compiled.

    python benchmarks/search_first_run.py [--spaces nasbench201 darts]
    python benchmarks/search_first_run.py --spaces darts --name search_first_run_analytic --further --ntk analytic

The default search of every space on synthetic images, seed 0: twice, in empty folders, the first time with an empty
compilation cache. Seconds are those of the whole process, on the clock and of its processors. Writes
`results/search_first_run.json`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from common.processes import run
from common.records import write


def search(folder: Path, cache: Path, arguments: list[str]) -> dict[str, Any]:
    """One search in a process of its own: what it prints, its seconds and its peak memory."""
    done = run("tenas_jax.search", arguments, folder, {"XDG_CACHE_HOME": str(cache)})
    said = [line for line in done.errors if line.startswith("round ")]
    return done.figures() | {"output": done.output, "messages": said}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", default=["nasbench201"])
    parser.add_argument("--name", default="search_first_run", help="of the result's file; empty writes none")
    parser.add_argument("--further", nargs=argparse.REMAINDER, default=[], help="arguments of the search")
    arguments = parser.parse_args(argv)
    content: dict[str, Any] = {"what": "the default search of a space, synthetic images, seed 0, whole processes"}
    if arguments.further:
        content["further_arguments"] = arguments.further
    for space in arguments.spaces:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            content[space] = {
                name: search(root / name, root / "cache", ["--space", space, *arguments.further])
                for name in ("first", "later")
            }
        print(space, {name: (one["seconds"], one["output"][-1]) for name, one in content[space].items()}, flush=True)
    if arguments.name:
        write(arguments.name, content)
    return content


if __name__ == "__main__":
    main()
