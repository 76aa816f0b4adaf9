"""One owner: another process is told who has the place, and a dead owner's place is taken over."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from tenas_jax.errors import InputError
from tenas_jax.rank.ranking_files import RankingFiles
from tenas_jax.records import lock
from tenas_jax.records.lock import Lock
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.records.shards import Shards

HOLDER = """
import fcntl, errno, sys
from pathlib import Path
from tenas_jax.records import lock
if sys.argv[2] == "without flock":
    def flock(*arguments):
        raise OSError(errno.ENOTSUP, "Operation not supported")
    fcntl.flock = flock
held = lock.Lock(Path(sys.argv[1]), "the place")
print("held", flush=True)
sys.stdin.read()
"""


def holder(path, way):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), way], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture(params=["with flock", "without flock"])
def way(request, monkeypatch):
    if request.param == "without flock":

        def flock(*arguments):
            raise OSError(errno.ENOTSUP, "Operation not supported")

        monkeypatch.setattr("fcntl.flock", flock)
    return request.param


def test_an_owner_in_another_process_is_named(tmp_path, way):
    with holder(tmp_path / "lock", way) as process:
        with pytest.raises(InputError, match=rf"the place is in use by process {process.pid} on .* since 20\d\d-"):
            Lock(tmp_path / "lock", "the place")
        assert process.stdin is not None
        process.stdin.close()
    with Lock(tmp_path / "lock", "the place"):
        pass
    assert list(tmp_path.iterdir()) == [] or way == "without flock"


def test_a_killed_owner_is_taken_over(tmp_path, way):
    with holder(tmp_path / "lock", way) as process:
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.iterdir()), "the owner has left its file"
    with Lock(tmp_path / "lock", "the place"), pytest.raises(InputError, match=f"in use by process {os.getpid()} on"):
        Lock(tmp_path / "lock", "the place")


def test_the_number_of_a_dead_owner_may_be_another_process_now(tmp_path, monkeypatch):
    """Without flock, what began at another moment is another process."""

    def flock(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    file = tmp_path / "lock.owner"
    me = json.loads(lock._me())
    file.write_text(json.dumps({**me, "started": "1"}))
    with Lock(tmp_path / "lock", "the place"):
        pass
    # Whether an owner on another host is alive cannot be told.
    file.write_text(json.dumps({**me, "host": "elsewhere"}))
    with pytest.raises(InputError, match=r"on elsewhere since .* If that process is gone, remove .*lock\.owner"):
        Lock(tmp_path / "lock", "the place")
    # Killed before it had written its name.
    file.write_text("")
    with pytest.raises(InputError, match="in use by another process"):
        Lock(tmp_path / "lock", "the place")
    os.utime(file, (0, 0))
    with Lock(tmp_path / "lock", "the place"):
        pass


def test_a_planted_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        Lock(tmp_path / "lock", "the place")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    "make",
    [
        lambda path: RunFolder(path / "run", {"seed": 0}),
        lambda path: Shards(path / "parts", {"seed": 0}),
        lambda path: RankingFiles(path / "scores.csv", {"seed": 0}),
    ],
)
def test_folders_and_rankings_have_one_owner(tmp_path, make):
    with make(tmp_path):
        with pytest.raises(InputError, match="is in use by process"):
            make(tmp_path)
        assert (
            "is in use by process"
            in subprocess.run(
                [sys.executable, "-c", OPEN, str(tmp_path)], capture_output=True, text=True, check=False
            ).stderr
        )
    make(tmp_path).close()


OPEN = """
import sys
from pathlib import Path
from tenas_jax.rank.ranking_files import RankingFiles
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.records.shards import Shards
path = Path(sys.argv[1])
for name, make in {
    "run": lambda: RunFolder(path / "run", {"seed": 0}),
    "parts": lambda: Shards(path / "parts", {"seed": 0}),
    ".scores.json.lock": lambda: RankingFiles(path / "scores.csv", {"seed": 0}),
}.items():
    if (path / name).exists():
        make()
"""
