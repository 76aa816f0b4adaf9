"""What the command lines share: how a command ends, whatever happens to it."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from tenas_jax import command_line
from tenas_jax.errors import MOST, InputError

CUDA = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))


def python(*argv, **environment):
    return subprocess.run(
        [sys.executable, *argv], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("callback failed: KeyboardInterrupt: ")])
def test_an_interruption_is_one_sentence(error, capsys):
    def command():
        raise error

    assert command_line.exit_code(command) == 130
    assert capsys.readouterr().err.strip() == (
        "interrupted: what is finished is kept, and the same command goes on from there"
    )


def test_other_errors_are_not_hidden():
    def command():
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        command_line.exit_code(command)


@pytest.mark.parametrize("room", ["search", "rank"])
def test_control_c_while_modules_are_loaded(room, tmp_path):
    """Before the command itself runs."""
    code = f"import runpy, sys; sys.argv = ['x']; runpy.run_module('tenas_jax.{room}', run_name='__main__')"
    command = [sys.executable, "-c", SLOW + code]
    # Where the caller ignores the signal, the command goes on, and leaves its result in its folder.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.strip() == "interrupted: what is finished is kept, and the same command goes on from there"


SLOW = """
import sys, time
class Slow:
    def find_spec(self, name, *more):
        if name == "tenas_jax.scores.presets":
            print("loading", file=sys.stderr, flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
"""


def test_a_closed_pipe_is_no_traceback():
    code = "from tenas_jax.command_line import exit_code; import sys; sys.exit(exit_code(lambda: 'x' * 200_000))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("room", ["search", "rank"])
@pytest.mark.parametrize(
    "platform", ["nonsense", pytest.param("cuda", marks=pytest.mark.skipif(CUDA, reason="is there"))]
)
def test_a_missing_device_is_one_sentence(room, platform, tmp_path):
    argv = ["-m", f"tenas_jax.{room}", "--output", str(tmp_path / "out.csv")]
    found = python(*argv, JAX_PLATFORMS=platform)
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.count("\n") == 1
    assert f"JAX finds no device with JAX_PLATFORMS='{platform}'" in found.stderr
    assert not list(tmp_path.iterdir())


def test_a_user_without_a_home(monkeypatch, tmp_path):
    """Compiled programs are not kept then; with XDG_CACHE_HOME nobody asks for a home."""

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    set_to = {}
    monkeypatch.setattr(jax.config, "update", set_to.__setitem__)
    command_line.use_compilation_cache()
    assert set_to == {}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command_line.use_compilation_cache()
    assert set_to["jax_compilation_cache_dir"] == str(tmp_path / "tenas_jax")


def test_long_input_is_not_repeated():
    message = str(InputError(f"the string {'x' * 10**6} is unknown; choose one of a, b."))
    assert len(message) < MOST
    assert message.startswith("the string xxx")
    assert message.endswith("xxx is unknown; choose one of a, b.")
    assert str(InputError("y" * MOST)) == "y" * MOST


def test_processors_are_those_that_may_be_used(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(command_line, "CPU_QUOTA", quota)
    assert command_line.cpu_count() == 3
    for text, count in (("150000 100000", 2), ("max 100000", 3), ("50000 100000", 1), ("900000 100000", 3), ("", 3)):
        quota.write_text(text)
        assert command_line.cpu_count() == count


def test_a_container_has_less_memory_than_its_machine(monkeypatch, tmp_path):
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(command_line, "MEMORY_LIMIT", tmp_path / "memory.max")
    for text, most in (("max", whole), ("4096", 4096), ("", whole)):
        (tmp_path / "memory.max").write_text(text)
        assert command_line.memory_bytes() == most
