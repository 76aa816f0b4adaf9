"""Half-finished work is not mixed with numbers of another definition or another version of a score."""

import shutil
from pathlib import Path

import pytest
from conftest import shrink

import tenas_jax
from common import fault_layers as layers
from tenas_jax.records import environment


@pytest.fixture
def interrupted(tmp_path):
    """Starts a command and stops it in the middle; returns what starts it again."""
    commands = layers.commands(tmp_path)

    def begun(name):
        at = tmp_path / name
        at.mkdir()
        with layers.Layer(at) as layer:
            layers.called(commands[name](at))
        shutil.rmtree(at)
        at.mkdir()

        def before(count):
            if count == layer.count // 2:
                raise layers.Killed

        with pytest.raises(layers.Killed), layers.Layer(at, before):
            layers.called(commands[name](at))
        return lambda: layers.called(commands[name](at))

    with layers.cheap():
        yield begun


@pytest.mark.parametrize("name", ["prune", "evolve", "exhaustive", "rank"])
def test_another_definition_of_a_score_is_another_run(interrupted, monkeypatch, name):
    again = interrupted(name)
    with monkeypatch.context() as patch:
        shrink(patch, kernels={"images": 3}, patterns={"samples": 50})
        code, out, err = again()
    assert (code, out) == (2, "")
    assert "another" in err
    assert again()[0] == 0


@pytest.mark.parametrize("name", ["prune", "evolve", "exhaustive", "rank"])
def test_another_version_of_the_package_does_not_go_on(interrupted, monkeypatch, name):
    again = interrupted(name)
    with monkeypatch.context() as patch:
        patch.setattr(environment, "code", lambda package: "f" * 16)
        code, out, err = again()
    assert (code, out) == (2, "")
    assert "tenas jax: was " in err
    assert "is ffffffffffffffff" in err
    assert again()[0] == 0


def test_every_change_of_the_code_is_another_version(tmp_path):
    package = Path(tenas_jax.__file__).parent
    copy = tmp_path / "tenas_jax"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    same = environment.code(package)
    assert environment.code(copy) == same == environment.fingerprint()["tenas_jax"]
    seen = {same}
    for change in (
        lambda: (copy / "scores" / "ranks.py").write_text("pass\n"),
        lambda: (copy / "scores" / "ranks.py").rename(copy / "scores" / "other.py"),
        lambda: (copy / "scores" / "other.py").unlink(),
    ):
        change()
        environment.code.cache_clear()
        seen.add(environment.code(copy))
    assert len(seen) == 4
