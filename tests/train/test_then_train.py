"""`--then-train` of a search: refused early, and run inside of the search's folder."""

import numpy as np
import pytest
from conftest import shrink

from tenas_jax.search import command as search
from tenas_jax.search import then_train


@pytest.fixture
def images(tmp_path, rng):
    path = tmp_path / "images.npz"
    np.savez(path, x=rng.integers(256, size=(120, 8, 8, 3), dtype=np.uint8), y=np.arange(120) % 4)
    return path


def test_what_a_search_finds_is_trained(monkeypatch, capsys, tmp_path, images):
    shrink(monkeypatch, kernels={"images": 4, "side": 4}, patterns={"samples": 40, "batches": 1}, paths=6, repeats=1)
    seen = []

    def run(config):
        seen.append(config)
        return {"last": {"top1": 12.5, "loss": 1.0}}

    monkeypatch.setattr(then_train, "train", run)
    argv = ["--data", str(images), "--then-train", "quick", "--seed", "3", "--output", str(tmp_path / "run")]
    assert search.main(argv) == 0
    (config,) = seen
    assert (config.run, config.preset, config.seeds, config.data) == (tmp_path / "run", "quick", (3,), images)
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert "top-1 12.50 %" in err


@pytest.mark.parametrize(
    ("preset", "dataset", "word"),
    [("best", "images", "one of nasbench201"), ("quick", "synthetic", "synthetic images have no classes")],
)
def test_what_cannot_be_trained_is_refused_before_the_search(capsys, tmp_path, images, preset, dataset, word):
    given = ["--data", str(images)] if dataset == "images" else []
    argv = [*given, "--then-train", preset, "--output", str(tmp_path / "run")]
    assert search.main(argv) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
