"""The README's figures are those of the result files."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from tables import TABLES


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_the_readme_shows_what_was_measured(table):
    readme = (ROOT / "README.md").read_text()
    assert table() in readme, f"paste the output of benchmarks/tables.py for {table.__name__}"
