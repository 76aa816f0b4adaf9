"""The README's figures are those of the result files."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from tables import TABLES

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_the_readme_shows_what_was_measured(table):
    assert table() in README.read_text(), f"paste the output of benchmarks/tables.py for {table.__name__}"
