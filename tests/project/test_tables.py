"""The figures of the README and of docs/ are those of the result files."""

from pathlib import Path

import pytest

from common.tables import TABLES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("table", "document"), TABLES.items(), ids=[table.__name__ for table in TABLES])
def test_documents_show_what_was_measured(table, document):
    shown = (ROOT / document).read_text()
    assert table() in shown, f"paste the output of benchmarks/common/tables.py for {table.__name__} into {document}"
