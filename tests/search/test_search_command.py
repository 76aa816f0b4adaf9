"""The command line: a run is a folder, resumes, and answers bad input with one sentence."""

import gzip
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import shrink

from tenas_jax.data import open_images
from tenas_jax.errors import InputError
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.scores import presets
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import indicators
from tenas_jax.search import command as search
from tenas_jax.search import job, strategies
from tenas_jax.search.config import Config
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.skeleton import Skeleton

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"


@pytest.fixture
def small(monkeypatch):
    """Presets that run in a second or two."""
    shrink(
        monkeypatch, kernels={"images": 4, "side": 4}, patterns={"samples": 40, "batches": 1}, paths=6, repeats=1
    )  # fmt: skip


def records(folder):
    rounds = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in record.items() if key not in ("seconds", "spent", "sha256")} for record in rounds
    ]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Accuracies of all 15,625 architectures: any numbers will do."""
    path = tmp_path_factory.mktemp("table") / "table.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("architecture,some_accuracy,other_accuracy\n")
        for number, mask in enumerate(NAS_BENCH_201.enumerate()):
            file.write(f"{NAS_BENCH_201.format(mask)},{number / 1000},1\n")
    return path


def refused(capsys, *argv):
    """Runs what must be refused: exit code 2, nothing on stdout, one sentence on stderr, which is returned."""
    assert search.main([str(word) for word in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_search_from_synthetic_images(small, tmp_path, capsys, table):
    argv = ["--output", str(tmp_path / "run"), "--benchmark", str(table), "--benchmark-column", "some_accuracy"]
    assert search.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    NAS_BENCH_201.parse(lines[-1])
    assert lines[0].startswith("some_accuracy: ")

    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["architecture"] == lines[-1]
    assert result["benchmark"]["optimum"] == 15.624
    assert result["benchmark"]["rank"] == 15625 - round(result["benchmark"]["accuracy"] * 1000)
    assert {
        "space",
        "dataset",
        "seed",
        "config",
        "rounds",
        "wall_seconds",
        "compile_seconds",
        "versions",
        "device",
    } <= set(result)
    rounds = records(tmp_path / "run")
    assert len(rounds) == result["rounds"] == 18
    candidate = rounds[0]["candidates"][0]
    assert {"scores", "changes", "ranks", "total", "operator", "pruned"} <= set(candidate)
    assert [sum(c["pruned"] for c in record["candidates"]) for record in rounds] == [1] * 18

    assert search.main(argv[:2]) == 0  # finished: nothing is searched again
    assert capsys.readouterr().out == lines[-1] + "\n"


def test_resumes_after_a_kill_at_any_moment(small, tmp_path, capsys):
    assert search.main(["--output", str(tmp_path / "whole")]) == 0
    architecture = capsys.readouterr().out
    content = (tmp_path / "whole" / "rounds.jsonl").read_bytes()
    lines = content.splitlines(keepends=True)
    for cut in (0, len(lines[0]), len(b"".join(lines[:7])) + 20, len(content) - 1, len(content)):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / "config.json").write_bytes((tmp_path / "whole" / "config.json").read_bytes())
        (folder / "rounds.jsonl").write_bytes(content[:cut])
        assert search.main(["--output", str(folder)]) == 0
        assert capsys.readouterr().out == architecture
        assert records(folder) == records(tmp_path / "whole")


@pytest.mark.parametrize("name", ["default", "released"])
def test_presets_compile_each_indicator_once(small, monkeypatch, tmp_path, name):
    if name == "released":
        one_stage = Skeleton(channels=3, cells=1, stages=1)
        shrink(monkeypatch, kernels={"images": 4, "side": 4, "skeleton": one_stage})
    settings = presets.preset(name)
    scores = chosen_scores(NAS_BENCH_201, settings.scores)
    by = indicators(NAS_BENCH_201, open_images(), scores, repeats=settings.repeats)
    with RunFolder(tmp_path, {}) as folder:
        mask = strategies.prune_in_folder(0, NAS_BENCH_201, by, settings, folder)
    assert NAS_BENCH_201.choice(mask).shape == (1, 6)
    # Costs have no program; where cells share work, what is left for the plain one is compiled once at most.
    programs = [indicator.program for indicator in by if indicator.program]
    assert programs
    assert all(getattr(program, "plain", program).compilations <= 1 for program in programs)
    assert all(program.compilations >= 1 for program in programs)


def test_own_images(small, tmp_path, capsys, rng):
    np.savez(tmp_path / "own.npz", x=rng.integers(256, size=(60, 8, 8, 3), dtype=np.uint8))
    argv = ["--data", str(tmp_path / "own.npz"), "--output", str(tmp_path / "run")]
    assert search.main(argv) == 0
    NAS_BENCH_201.parse(capsys.readouterr().out.strip())
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(config["data_sha256"]) == 64
    assert "another configuration" in refused(capsys, *argv, "--seed", 1)
    assert "seed" in refused(capsys, *argv, "--seed", 1)


def test_bad_input_is_one_sentence(small, tmp_path, capsys, table, rng):
    out = ("--output", tmp_path / "run")
    assert "nasbench201" in refused(capsys, "--space", "nasbench", *out)
    assert "cifar10" in refused(capsys, "--dataset", "cifar", *out)
    assert "no score at hand is read from one" in refused(capsys, "--ntk-engine", "layerwise", *out)
    assert "released" in refused(capsys, "--preset", "fast", *out)
    assert "analytic" in refused(capsys, "--ntk", "exact", *out)
    assert "whole number" in refused(capsys, "--seed", -1, *out)
    assert "invalid int" in refused(capsys, "--seed", "x", *out)
    assert "`side` must be between 1" in refused(capsys, "--side", 0, *out)
    assert "unrecognized" in refused(capsys, "--sede", 1, *out)
    missing = tmp_path / "missing.npz"
    assert "missing.npz" in refused(capsys, "--data", missing, *out)
    bad = {
        "nox": {"y": np.zeros((9, 8, 8, 3), np.uint8)},
        "floats": {"x": np.zeros((9, 8, 8, 3))},
        "nan": {"x": np.full((9, 8, 8, 3), np.nan)},
        "flat": {"x": np.zeros((9, 192), np.uint8)},
        "few": {"x": rng.integers(256, size=(3, 8, 8, 3), dtype=np.uint8)},
    }
    for name, arrays in bad.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        refused(capsys, "--data", tmp_path / f"{name}.npz", "--output", tmp_path / name)
    whole = (tmp_path / "few.npz").read_bytes()
    (tmp_path / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    assert "truncated.npz" in refused(capsys, "--data", tmp_path / "truncated.npz", *out)
    assert "--benchmark-column" in refused(capsys, "--benchmark", table, *out)
    assert "no column" in refused(capsys, "--benchmark", table, "--benchmark-column", "third", *out)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(capsys, "--output", tmp_path / "file" / "run")
    assert not (tmp_path / "run" / "rounds.jsonl").exists()


def test_table_without_the_architecture_loses_nothing(small, tmp_path, capsys):
    (tmp_path / "table.csv").write_text(
        f"architecture,accuracy\n{'|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'},10\n"
    )
    assert search.main(["--benchmark", str(tmp_path / "table.csv"), "--output", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert out == result["architecture"] + "\n"
    assert "does not hold the architecture" in err
    assert result["benchmark"] is None
    assert (tmp_path / "run" / "report.html").exists()
    (tmp_path / "table.csv").write_text("architecture,accuracy\nsomething else,10\n")
    assert "holds no architecture of nasbench201" in refused(
        capsys, "--benchmark", tmp_path / "table.csv", "--output", tmp_path / "other"
    )
    assert not (tmp_path / "other").exists()


def test_help_does_not_wait_for_jax():
    code = (
        "import sys, contextlib, io\n"
        "from tenas_jax import search\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    search.main(['--help'])\n"
        "print('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_side_is_that_of_the_images(monkeypatch, tmp_path):
    opened = []
    nothing = NAS_BENCH_201.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    monkeypatch.setattr(job, "check_images", lambda source, scores: opened.append(source))
    monkeypatch.setattr(strategies, "prune_in_folder", lambda *arguments: nothing)
    search.run(Config(side=48, output=tmp_path / "run"))
    assert [source.shape for source in opened] == [(48, 48, 3)]


def test_images_need_no_size_for_a_kernel_that_is_not_computed(monkeypatch, tmp_path, capsys, rng):
    """DARTS goes by expressivity alone unless a kernel is named, whose batches have 8 x 8 pixels."""

    def reached(*arguments):
        raise InputError("reached")

    monkeypatch.setattr(strategies, "prune_in_folder", reached)
    monkeypatch.setattr(strategies, "indicators", lambda *arguments, **options: [])
    argv = ["--space", "darts", "--data", tmp_path / "own.npz"]
    for side, count in ((12, 9), (7, 40)):
        np.savez(tmp_path / "own.npz", x=rng.integers(256, size=(count, side, side, 3), dtype=np.uint8))
        assert "reached" in refused(capsys, *argv, "--output", tmp_path / f"run{side}")
    assert "it is 8, images of" in refused(capsys, "--ntk", "empirical", *argv)


def test_help_answers_at_once():
    """Under a second on an idle machine; three allow for a loaded one."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "tenas_jax.search", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert time.perf_counter() - start < 3
    for option in (
        "space",
        "dataset",
        "data",
        "side",
        "preset",
        "ntk",
        "strategy",
        "evaluations",
        "max-params",
        "max-flops",
        "seed",
        "benchmark",
        "benchmark-column",
        "output",
    ):
        assert f"--{option}" in text


def test_public_names_come_without_tensorflow():
    code = (
        "import sys, tenas_jax\n"
        "for name in tenas_jax.__all__: getattr(tenas_jax, name)\n"
        "print('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# Three edges and one stage: a process compiles it in seconds.
SMALL_SPACE = """
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace

ONE_STAGE = Skeleton(channels=3, cells=1, stages=1)
SPACE = SearchSpace(
    name="small",
    operators=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"),
    edges=((0, 1), (0, 2), (1, 2)),
    skeletons={"ntk": ONE_STAGE},
)
"""


@pytest.mark.slow
def test_killed_for_real(tmp_path):
    (tmp_path / "small.py").write_text(SMALL_SPACE)
    command = [sys.executable, "-m", "tenas_jax.search", "--space", f"{tmp_path / 'small.py'}:SPACE"]
    command += ["--output", str(tmp_path / "killed")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for _ in range(3):
            process.stderr.readline()
        process.kill()
    resumed = subprocess.run(command, capture_output=True, text=True, check=True)
    command[-1] = str(tmp_path / "whole")
    whole = subprocess.run(command, capture_output=True, text=True, check=True)
    assert resumed.stdout == whole.stdout
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
