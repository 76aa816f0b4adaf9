"""A ranking's files: never lost, never computed twice, written before anything that may fail. Scores come from a hash."""

import builtins
import json
import os
from pathlib import Path

import numpy as np
import pytest

from common import fault_layers as layers
from common.markdown import read
from tenas_jax.rank import architectures, correlation, scatter
from tenas_jax.rank import command as rank
from tenas_jax.spaces.registry import find_space


@pytest.fixture
def space(tmp_path, monkeypatch):
    """A command line on a space of 64 architectures, each scored in no time."""
    monkeypatch.setattr(correlation.correlate, "__kwdefaults__", {"resamples": 5, "seed": 0})
    with layers.cheap():
        file = tmp_path / "spaces" / "small.py"
        file.parent.mkdir()
        file.write_text(layers.SPACE)
        yield f"{file}:SPACE"


@pytest.fixture
def ranked(space, tmp_path, capsys):
    """Ranks; exit code, standard output and standard error."""

    def called(*argv, output="scores.csv"):
        code = rank.main(["--space", space, "--repeats", "2", "--output", str(tmp_path / output), *map(str, argv)])
        return code, *capsys.readouterr()

    return called


def table_of(space, path, names=None):
    space = find_space(space)
    names = [space.format(mask) for mask in space.enumerate()] if names is None else names
    path.write_text("architecture,accuracy\n" + "".join(f"{name},{n}\n" for n, name in enumerate(names)))
    return path


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".csv.gz"}


def test_a_finished_ranking_is_given_a_benchmark_without_computing_again(ranked, space, tmp_path, monkeypatch):
    code, first, _ = ranked()
    assert code == 0
    csv = (tmp_path / "scores.csv").read_bytes()
    table = table_of(space, tmp_path / "table.csv")

    def never(*arguments, **more):
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr("tenas_jax.rank.score_table.prepare", never)
        code, out, err = ranked("--benchmark", table)
    assert code == 0
    assert "finished before" in err
    assert out.splitlines()[-1] == first.strip()
    assert (tmp_path / "scores.csv").read_bytes() == csv
    found = json.loads((tmp_path / "scores.json").read_text())["correlation"]
    # The same figures as of a ranking that has had its table from the beginning.
    assert ranked("--benchmark", table, output="other.csv")[0] == 0
    assert found == json.loads((tmp_path / "other.json").read_text())["correlation"]


def test_another_finished_ranking_is_not_written_over(ranked, tmp_path):
    assert ranked()[0] == 0
    before = files(tmp_path)
    for argv, differing in (
        (["--seed", 1], "data_sha256, seed"),
        (["--scores", "flops"], "scores"),
        (["--architectures", 9], "arch"),
    ):
        code, out, err = ranked(*argv)
        assert (code, out) == (2, "")
        assert f"holds another finished ranking (it differs in {differing}" in err
    # Another csv whose record would be the same file.
    code, _, err = ranked(output="scores.txt")
    assert code == 2
    assert "it differs in output" in err
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [("scores.csv", "my own numbers"), ("scores.json", "{}"), ("scores.json", '{"correlation": 1}')],
)
def test_files_of_others_are_not_written_over(ranked, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    code, _, err = ranked()
    assert code == 2
    assert "would be lost" in err
    assert (tmp_path / name).read_text() == content


def test_a_changed_table_is_not_taken_for_the_ranking(ranked, tmp_path):
    assert ranked()[0] == 0
    text = (tmp_path / "scores.csv").read_text()
    (tmp_path / "scores.csv").write_text(text.replace("1", "2", 1))
    code, _, err = ranked()
    assert code == 2
    assert "is not what its ranking wrote" in err
    (tmp_path / "scores.csv").unlink()
    assert ranked()[0] == 0
    assert (tmp_path / "scores.csv").read_text() == text


@pytest.mark.parametrize(
    "output", ["/dev/null", "a.json", "a.PNG", "a.svg", "a.csv.gz", ".", "/", "", "folder", "x" * 300]
)
def test_what_a_csv_cannot_be_written_to_is_refused_before_work(space, output, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("tenas_jax.rank.job.find_space", lambda name: pytest.fail("work began"))
    assert rank.main(["--space", space, "--output", output]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/dev/null").is_file()


def test_a_link_stays_a_link_and_a_mode_a_mode(ranked, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "scores.csv").symlink_to(tmp_path / "elsewhere" / "real.csv")
    assert ranked()[0] == 0
    assert (tmp_path / "scores.csv").is_symlink()
    assert (tmp_path / "elsewhere" / "real.csv").read_text().startswith("architecture,")
    (tmp_path / "scores.json").chmod(0o600)
    table = table_of(json.loads((tmp_path / "scores.json").read_text())["space"], tmp_path / "table.csv")
    assert ranked("--benchmark", table)[0] == 0
    assert (tmp_path / "scores.json").stat().st_mode & 0o777 == 0o600


def test_without_matplotlib_there_are_results_and_one_line(ranked, space, tmp_path, monkeypatch):
    importing = builtins.__import__

    def without(name, *arguments):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return importing(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    code, out, err = ranked("--benchmark", table_of(space, tmp_path / "table.csv"))
    assert code == 0
    assert "Kendall" in out
    assert sum("Matplotlib" in line for line in err.splitlines()) == 1
    assert "correlation" in json.loads((tmp_path / "scores.json").read_text())
    assert not (tmp_path / "scores.csv.parts").exists()


def test_results_are_written_before_plots(ranked, space, tmp_path, monkeypatch):
    def draw(*arguments):
        assert "correlation" in json.loads((tmp_path / "scores.json").read_text())
        assert (tmp_path / "scores.csv").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(scatter, "draw", draw)
    assert ranked("--benchmark", table_of(space, tmp_path / "table.csv"))[0] == 130


def test_a_table_without_overlap_is_found_out_before_work(ranked, space, tmp_path, monkeypatch):
    monkeypatch.setattr(rank, "_ranked", lambda *arguments: pytest.fail("work began"))
    table = table_of(space, tmp_path / "table.csv", ["a", "b"])
    code, out, err = ranked("--benchmark", table)
    assert (code, out) == (2, "")
    assert "holds 0 of the architectures; at least 2 are needed" in err
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--seed", 2**63], "from 0 to 4294967295; it is 9223372036854775808"),
        (["--seed", 2**32], "from 0 to 4294967295"),
        (["--repeats", 10**9], "from 1 to 10000; it is 1000000000"),
        (["--benchmark-column", "accuracy"], "--benchmark-column names a column of the table that --benchmark gives"),
        (["--architectures", 10**12, "--space", "darts"], "must be from 1 to 10,000,000"),
        (["--architectures", "9" * 5000, "--space", "darts"], "characters ...]"),
        (["--data", os.fsdecode(b"\xff.npz")], "'\\udcff.npz' is not UTF-8"),
        (["--scores", "beauty" * 1000], "characters ...]"),
    ],
)
def test_nonsense_is_one_sentence_before_work(ranked, argv, message, tmp_path):
    code, out, err = ranked(*argv)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert len(err) < 1100
    assert [path.name for path in tmp_path.iterdir()] == ["spaces"]


def test_more_architectures_than_memory_holds_are_refused(ranked, monkeypatch):
    monkeypatch.setattr("tenas_jax.rank.architectures.memory_bytes", lambda: 50_000)
    code, _, err = ranked("--architectures", 11)
    assert code == 2
    assert "at most 10 here; --architectures is 11" in err
    assert ranked("--architectures", 10)[0] == 0


def test_the_memory_of_an_architecture_is_what_was_measured():
    measured = read("rank_driver")["an_architecture"]["memory_bytes"]
    assert measured <= architectures.ROW_BYTES < 1.2 * measured


def test_seconds_of_all_sessions(ranked, tmp_path, monkeypatch):
    """A ranking that was interrupted says how long all of it took."""
    call = layers.CheapScorer.__call__
    calls = []

    def stopping(self, masks):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return call(self, masks)

    clock = iter(np.arange(0, 1e6, 50.0))
    with monkeypatch.context() as patch:
        patch.setattr(layers.CheapScorer, "__call__", stopping)
        patch.setattr("tenas_jax.records.spent.time.perf_counter", lambda: next(clock))
        assert ranked()[0] == 130
    assert ranked()[0] == 0
    assert json.loads((tmp_path / "scores.json").read_text())["wall_seconds"] >= 50
