"""The command line: a run resumes to the same metrics, keeps what is good, and answers bad input with one sentence."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tenas_jax.records import seal
from tenas_jax.train import command, loop
from tenas_jax.train.config import Config
from tenas_jax.train.job import resolve
from tenas_jax.train.trained import trained

CELL = "|skip_connect~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|skip_connect~2|"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three colours that a network can tell apart, 8 x 8."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    x = rng.integers(80, size=(60, 8, 8, 3))
    x[np.arange(60), :, :, labels] += 90
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, x=x.astype(np.uint8), y=labels)
    return path


@pytest.fixture(scope="module", autouse=True)
def _programs(tmp_path_factory):
    """Compiled programs are kept for this module alone: every run of it has the same."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "use_compilation_cache", lambda: None)
        compilation_cache.reset_cache()
        for name, value in zip(names, (str(tmp_path_factory.mktemp("programs")), 0.0), strict=True):
            jax.config.update(name, value)
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def options(images, folder, *more):
    return ["--architecture", CELL, "--data", str(images), "--val-share", "0.2", "--preset", "quick", "--channels", "4",
            "--epochs", "3", "--batch", "16", "--output", str(folder), *map(str, more)]  # fmt: skip


def rounds(folder):
    lines = (folder / "rounds.jsonl").read_text().splitlines()
    return [{name: json.loads(line)[name] for name in ("epoch", "train", "val")} for line in lines]


def refused(capsys, argv):
    assert command.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    return last


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """A run that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert command.main(options(images, folder)) == 0
    return folder


def interrupted(monkeypatch, images, folder, steps):
    """Runs until so many steps are done, then Ctrl-C."""
    with monkeypatch.context() as patch:
        advance = loop.Progress.advance

        def stop(self, count, line=None):
            advance(self, count, line)
            if self.done == steps and count:
                raise KeyboardInterrupt

        patch.setattr(loop.Progress, "advance", stop)
        assert command.main(options(images, folder)) == 130


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_a_run_resumes_to_the_same_metrics(monkeypatch, images, whole, tmp_path, steps):
    """Of nine steps, three an epoch: in the first epoch, in the second, and when the second has just ended."""
    folder = tmp_path / "run"
    interrupted(monkeypatch, images, folder, steps)
    assert command.main(options(images, folder)) == 0
    assert rounds(folder) == rounds(whole)
    assert loop_result(folder) == loop_result(whole)


def loop_result(folder):
    content = seal.unsealed((folder / "result.json").read_bytes()).content
    return {name: content[name] for name in ("last", "best", "train", "parameters")}


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_metrics(images, tmp_path):
    """SIGKILL, at a moment that nobody chose: epochs are recorded, and checkpoints are being written."""

    def forty(folder):
        argv = options(images, folder)
        argv[argv.index("--epochs") + 1] = "40"
        return argv

    process = subprocess.Popen(
        [sys.executable, "-m", "tenas_jax.train", *forty(tmp_path / "killed")],
        env={**os.environ, "JAX_ENABLE_X64": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    lines, patience = tmp_path / "killed" / "rounds.jsonl", time.monotonic() + 300
    while process.poll() is None and time.monotonic() < patience:
        if lines.exists() and lines.read_bytes().count(b"\n") >= 2:
            break
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 2 <= lines.read_bytes().count(b"\n") < 40
    for folder in ("killed", "whole"):
        assert command.main(forty(tmp_path / folder)) == 0
    assert rounds(tmp_path / "killed") == rounds(tmp_path / "whole")


def test_a_damaged_checkpoint_gives_way_to_the_one_before(monkeypatch, capsys, images, whole, tmp_path):
    folder = tmp_path / "run"
    interrupted(monkeypatch, images, folder, 7)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir() if path.is_dir()) == ["1", "2"]
    for path in (folder / "checkpoints" / "2").rglob("*"):
        if path.is_file():
            content = bytearray(path.read_bytes())
            content[len(content) // 2 :] = b"\0" * (len(content) - len(content) // 2)
            path.write_bytes(content)
    capsys.readouterr()
    assert command.main(options(images, folder)) == 0
    err = capsys.readouterr().err
    assert "the checkpoint of epoch 2" in err
    assert "goes on behind epoch 1" in err
    assert rounds(folder) == rounds(whole)


def test_checkpoints_hold_what_was_evaluated(images, whole):
    found = trained(whole)
    job = resolve(command.arguments(options(images, whole)))
    trainer = loop.Trainer(job.blueprint, job.recipe, 3)
    assert found.epoch == 3
    assert loop.evaluate(trainer, found.variables, job.val) == rounds(whole)[-1]["val"]
    kept = {int(path.name) for path in (whole / "checkpoints").iterdir() if path.is_dir()}
    best = max(rounds(whole), key=lambda record: record["val"]["top1"])["epoch"]
    assert kept == {2, 3} | {best}


def test_a_finished_run_is_shown_again(capsys, images, whole):
    assert command.main(options(images, whole)) == 0
    assert json.loads(capsys.readouterr().out)["last"] == rounds(whole)[-1]["val"]


def test_a_loss_that_is_not_finite_stops_and_keeps(capsys, images, tmp_path):
    message = refused(capsys, options(images, tmp_path / "run", "--rate", "1e38", "--warmup-epochs", "0"))
    assert "the loss of step" in message
    assert "--rate" in message
    assert not (tmp_path / "run" / "result.json").exists()


def test_several_seeds_are_summed_up(capsys, images, tmp_path):
    argv = options(images, tmp_path / "runs", "--seeds", "3,4")
    argv[argv.index("--epochs") + 1] = "1"
    assert command.main([*argv, "--tensorboard"]) == 0
    found = json.loads(capsys.readouterr().out)
    values = [rounds(tmp_path / "runs" / f"seed{seed}")[-1]["val"]["top1"] for seed in (3, 4)]
    assert found["top1"]["values"] == values
    assert found["top1"]["mean"] == pytest.approx(np.mean(values))
    assert json.loads((tmp_path / "runs" / "seeds.json").read_text()) == found
    assert list((tmp_path / "runs" / "seed3" / "events").iterdir())


def test_what_a_search_found_is_trained(tmp_path, images):
    (tmp_path / "result.json").write_bytes(seal.sealed({"space": "nasbench201", "architecture": CELL}))
    job = resolve(Config(run=tmp_path, data=images, preset="quick", batch=16))
    assert job.blueprint.space.format(job.blueprint.mask) == CELL
    assert job.output == tmp_path / "train-quick"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (["--architecture", "|skip~0|"], "nodes between"),
        (["--space", "darts"], "genotype"),
        (["--preset", "best"], "one of nasbench201"),
        (["--preset", "darts-cifar"], "networks of DARTS"),
        (["--data", "nowhere.npz"], "does not exist"),
        (["--batch", "49"], "smaller --batch"),
        (["--epochs", "0"], "at least 1"),
        (["--smoothing", "1"], "below 1"),
        (["--rate", "nan"], "above 0"),
        (["--seeds", "1,1"], "different seeds"),
        (["--val-share", "0.001"], "leaves a part empty"),
        (["--run", "nowhere"], "either --architecture"),
        (["--processes", "2"], "go together"),
        (["--schedule", "steps"], "cosine or linear"),
    ],
)
def test_bad_input_is_one_sentence(capsys, images, tmp_path, change, word):
    assert word in refused(capsys, options(images, tmp_path / "run", *change))
    assert not (tmp_path / "run").exists()


def test_another_configuration_is_refused(capsys, images, whole):
    assert "another configuration" in refused(capsys, options(images, whole, "--smoothing", "0.1"))


def test_checkpoints_of_another_network_are_refused(monkeypatch, capsys, images, whole, tmp_path):
    folder = tmp_path / "run"
    interrupted(monkeypatch, images, folder, 7)
    shutil.rmtree(folder / "checkpoints")
    other = options(images, tmp_path / "other", "--architecture", CELL.replace("1x1", "3x3"))
    other[other.index("--epochs") + 1] = "1"
    assert command.main(other) == 0
    shutil.copytree(tmp_path / "other" / "checkpoints", folder / "checkpoints")
    capsys.readouterr()
    assert "another network" in refused(capsys, options(images, folder))


def test_classes_must_match(capsys, images, tmp_path):
    with np.load(images) as content:
        np.savez(tmp_path / "val.npz", x=content["x"], y=content["y"] + 1)
    message = refused(capsys, options(images, tmp_path / "run", "--val-data", tmp_path / "val.npz"))
    assert "must have the classes" in message


def test_a_folder_that_is_no_search_is_refused(capsys, tmp_path, images):
    assert "no finished search" in refused(capsys, ["--run", str(tmp_path), "--data", str(images)])
