"""The figures of the README and of docs/ are those of the result files."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from tables import TABLES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("table", "document"), TABLES.items(), ids=[table.__name__ for table in TABLES])
def test_documents_show_what_was_measured(table, document):
    shown = (ROOT / document).read_text()
    assert table() in shown, f"paste the output of benchmarks/tables.py for {table.__name__} into {document}"
