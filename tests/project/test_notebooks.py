"""The notebooks of the documentation run from their first cell to their last."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


# What Jupyter warns of, its own event loop say, is not ours to mend.
@pytest.mark.filterwarnings("default")
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    notebook = nbformat.read(path, as_version=4)
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
