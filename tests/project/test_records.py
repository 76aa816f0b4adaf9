"""Result files say how they came about."""

import json
import re
import shlex
import subprocess
from datetime import datetime

import pytest

from common import records

RESULTS = sorted(records.RESULTS.glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_names_commit_date_versions_cores_load_and_command(path):
    record = json.loads(path.read_text())["record"]
    assert re.fullmatch("[0-9a-f]{40}", record["commit"])
    assert datetime.fromisoformat(record["date"]).tzinfo is not None
    assert {"jax", "numpy", "python"} <= set(record["versions"])
    assert record["cores"] >= 1
    python, script, *options = shlex.split(record["command"])
    assert python == "python"
    assert path.stem.startswith(script.removeprefix("benchmarks/").removesuffix(".py")) or path.stem.startswith(
        "ntk_darts"
    )
    text = (records.ROOT / script).read_text()
    # What follows is handed on to a command of the product.
    for option in options[: [*options, "--further"].index("--further")]:
        assert not option.startswith("--") or f'"{option}"' in text, f"{script} has no {option}"
    assert record["recorded"] in {"by the run", "afterwards, from the history"}
    if record["recorded"] == "by the run":
        assert record["load"] >= 0
        assert isinstance(record["changed"], list)
    else:
        # What nobody wrote down then is not made up now.
        assert record["changed"] is None
        assert record["files"] == {}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one commit of one file."""
    root = tmp_path / "repository"
    (root / "benchmarks" / "results").mkdir(parents=True)
    monkeypatch.setattr(records, "ROOT", root)
    monkeypatch.setattr(records, "RESULTS", root / "benchmarks" / "results")
    (root / "benchmarks" / "rank_it.py").write_text("pass\n")
    git = ["git", "-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "One"]):
        subprocess.run([*git, *arguments], cwd=root, check=True)
    return root


def test_a_tree_that_differs_from_its_commit_says_so(repository):
    assert records.tree()["changed"] == []
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    assert records.tree()["commit"] == head.stdout.strip()
    (repository / "benchmarks" / "results" / "rank_it.json").write_text("{}")
    assert records.tree()["changed"] == []
    (repository / "benchmarks" / "rank_it.py").write_text("print()\n")
    (repository / "new.py").write_text("")
    assert records.tree()["changed"] == ["benchmarks/rank_it.py", "new.py"]


def test_a_copy_without_history_has_no_commit(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ROOT", tmp_path)
    assert records.tree() == {"commit": None, "changed": []}


def test_commands_name_no_folder_of_the_machine(repository, tmp_path):
    table = tmp_path / "accuracies of all.csv"
    table.write_text("architecture,accuracy\n")
    script = str(repository / "benchmarks" / "rank_it.py")
    line, files = records.command(
        [script, "--table", str(table), "--seeds", "30", "35", "--data", str(tmp_path / "no.npz")]
    )
    assert line == "python benchmarks/rank_it.py --table 'accuracies of all.csv' --seeds 30 35 --data no.npz"
    hashed = subprocess.run(["sha256sum", table], capture_output=True, text=True, check=True).stdout.split()[0]
    assert files == {"accuracies of all.csv": hashed}


def test_what_is_written_is_what_was_measured_and_its_record(repository, monkeypatch):
    monkeypatch.chdir(repository)
    monkeypatch.setattr(records.sys, "argv", ["benchmarks/rank_it.py", "--seeds", "3"])
    records.write("rank_it", {"rows": [1, 2]})
    content = json.loads((records.RESULTS / "rank_it.json").read_text())
    assert content["rows"] == [1, 2]
    assert content["record"]["recorded"] == "by the run"
    assert content["record"]["command"] == "python benchmarks/rank_it.py --seeds 3"
    assert content["record"]["device"].startswith("cpu")
    assert content["record"]["load"] >= 0
