"""The notebooks of the documentation run from their first cell to their last."""

from pathlib import Path

import pytest
from conftest import EXTENSIVE

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


# As they are shown, and with as little as shows that every cell runs.
LESS = {
    "ranking": {"architectures=300": "architectures=30"},
    "resnets_by_depth": {"depths = [1, 2, 3, 4]": "depths = [1, 2]", "seeds=8": "seeds=2"},
    "search_round_by_round": {"paths=settings.paths": "paths=12"},
}


# What Jupyter warns of, its own event loop say, is not ours to mend.
@pytest.mark.filterwarnings("default")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "size"),
    [
        *(pytest.param(path, "small", id=path.stem) for path in NOTEBOOKS),
        *(pytest.param(p, "whole", id=f"{p.stem}-whole", marks=EXTENSIVE) for p in NOTEBOOKS if p.stem in LESS),
    ],
)
def test_notebook_runs(path, size, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    notebook = nbformat.read(path, as_version=4)
    for given, less in LESS.get(path.stem, {}).items() if size == "small" else ():
        assert sum(cell.source.count(given) for cell in notebook.cells) == 1, given
        for cell in notebook.cells:
            cell.source = cell.source.replace(given, less)
    shown = [kinds(cell) for cell in notebook.cells if cell.cell_type == "code"]
    # Raises with the cell and its traceback where one fails.
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    assert any("image/png" in kind for cell in shown for kind in cell)
    assert [kinds(cell) for cell in notebook.cells if cell.cell_type == "code"] == shown, (
        "outputs are not of these cells"
    )


def kinds(cell):
    """What a cell shows: text, pictures, values."""
    return [[output.output_type, *sorted(output.get("data", {}))] for output in cell.outputs]
