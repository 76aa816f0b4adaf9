"""How `benchmarks/` is laid out: scripts by what they measure, shared code in `common/`, the reference in `pytorch/`."""

import ast
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("*.py"))
PREFIXES = ("search_", "rank_", "ntk_", "score_", "network_", "library_", "fault_", "docs_", "train_")


def imported(path):
    """Top names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", sorted(BENCHMARKS.rglob("*.py")), ids=lambda path: str(path.relative_to(BENCHMARKS)))
def test_nothing_imports_a_script(path):
    scripts = {script.stem for script in SCRIPTS}
    assert not scripts & set(imported(path)), "what scripts share belongs in benchmarks/common"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_what_it_measures_and_how_it_is_run(script):
    assert script.stem.startswith(PREFIXES)
    assert f"python benchmarks/{script.name}" in ast.get_docstring(ast.parse(script.read_text()))


def test_the_reference_does_not_know_what_it_checks():
    for path in (BENCHMARKS / "pytorch").glob("*.py"):
        known = set(imported(path))
        # Weights are carried from one to the other.
        assert path.stem == "weights" or not {"jax", "tenas_jax"} & known, path.name
