"""Figures and tables of the README and of docs/: compared with the result files, or written.

    python benchmarks/docs_figures.py             # names what differs, exit code 1 if anything does
    python benchmarks/docs_figures.py --write     # brings the documents up to date

How a figure is marked in a text is told in `common/figures.py`.
"""

import argparse
import difflib
import sys

from common.figures import documents, refreshed, unmarked
from common.records import ROOT


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args(argv).write
    found = 0
    for path in documents():
        before, name = path.read_text(), str(path.relative_to(ROOT))
        after = refreshed(before)
        if after != before:
            found += not write
            print(
                *difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="", n=0), sep="\n"
            )
        if write:
            path.write_text(after)
        for number in unmarked(after):
            found += 1
            print(f"{name}: a measured number without its file: {number}")
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
