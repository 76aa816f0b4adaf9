"""Shards on a Ray cluster of this machine: the same numbers, whatever happens to workers."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tenas_jax import NAS_BENCH_201
from tenas_jax.data import open_images
from tenas_jax.errors import InputError
from tenas_jax.rank import cluster
from tenas_jax.rank import command as rank
from tenas_jax.records.shards import Table
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.scorer import Scorer, prepare

ray = pytest.importorskip("ray")
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_space.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def connected():
    # Workers compute as this process does: conftest.py has switched double precision on.
    os.environ["JAX_ENABLE_X64"] = "1"
    yield cluster.connect("local")
    ray.shutdown()
    del os.environ["JAX_ENABLE_X64"]


def fatal(folder):
    """An evaluation that kills its worker the first time it meets shard 2; a local class travels by its value."""

    class Fatal:
        def __call__(self, masks):
            number = int(masks[0, 0, 0].argmax())
            (folder / f"{number}.{os.getpid()}.{time.time_ns()}").touch()
            if number == 2 and len(list(folder.glob("2.*"))) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            numbers = np.full((1, len(masks)), float(number))
            return Table({"number": numbers}, {"number": np.full(numbers.shape, "fine")})

    return Fatal()


def deadly():
    """An evaluation that no worker survives."""

    class Deadly:
        def __call__(self, masks):
            os.kill(os.getpid(), signal.SIGKILL)

    return Deadly()


def marked(number):
    masks = np.zeros((3, *NAS_BENCH_201.mask_shape), bool)
    masks[..., number] = True
    return masks


def test_a_killed_worker_loses_nothing(connected, tmp_path):
    shards = {number: marked(number) for number in range(5)}
    results = list(cluster.evaluate_on_ray(connected, fatal(tmp_path), shards, workers=2))
    assert sorted(number for number, _ in results) == list(range(5))  # each once
    for number, table in results:
        assert (table.values["number"] == number).all()
    assert len(list(tmp_path.glob("2.*"))) == 2  # killed, and given out again


def test_a_shard_that_kills_every_worker_is_given_up(connected, monkeypatch):
    monkeypatch.setattr(cluster, "MOST_ATTEMPTS", 2)
    with pytest.raises(InputError, match="2 workers died at shard 7"):
        list(cluster.evaluate_on_ray(connected, deadly(), {7: marked(0)}))


def test_the_cluster_gives_the_same_bits(connected):
    evaluation = prepare(
        NAS_BENCH_201, chosen_scores(NAS_BENCH_201, ["effective_regions_wide"]), open_images(), repeats=2
    )
    masks = NAS_BENCH_201.sample(jax.random.key(0), 20)
    here = evaluation(masks)
    (there,) = [t for _, t in cluster.evaluate_on_ray(connected, evaluation, {0: masks})]
    assert np.array_equal(here.values["effective_regions_wide"], there.values["effective_regions_wide"], equal_nan=True)
    assert np.array_equal(here.health["effective_regions_wide"], there.health["effective_regions_wide"])


@pytest.mark.parametrize("space", ["nasbench201", f"{EXAMPLE}:SPACE"])
def test_the_command_ranks_on_a_cluster(connected, tmp_path, capsys, space):
    argv = ["--space", space, "--architectures", "20", "--repeats", "1"]
    argv += ["--scores", "effective_regions_wide,flops", "--output"]
    assert rank.main([*argv, str(tmp_path / "here.csv")]) == 0
    assert rank.main([*argv, str(tmp_path / "there.csv"), "--ray", "local"]) == 0
    assert (tmp_path / "here.csv").read_text() == (tmp_path / "there.csv").read_text()


def test_a_worker_that_is_killed_in_a_ranking_changes_nothing(connected, tmp_path, monkeypatch):
    """A real worker at real scores, killed from outside in the middle of its shard."""
    monkeypatch.setattr(Scorer, "shard_size", 8)  # of the driver, which deals the shards out
    argv = ["--architectures", "30", "--repeats", "1", "--scores", "effective_regions_wide,flops", "--output"]
    assert rank.main([*argv, str(tmp_path / "here.csv")]) == 0

    class Telling(cluster._Worker):
        """Says which process it is before it evaluates; a local class travels by its value."""

        def evaluate(self, masks):
            (tmp_path / f"worker.{os.getpid()}").touch()
            return super().evaluate(masks)

    killed = []

    def kill():
        while not (found := list(tmp_path.glob("worker.*"))):
            time.sleep(0.01)
        os.kill(int(found[0].suffix[1:]), signal.SIGKILL)
        killed.append(found[0])

    monkeypatch.setattr(cluster, "_Worker", Telling)
    thread = threading.Thread(target=kill)
    thread.start()
    assert rank.main([*argv, str(tmp_path / "there.csv"), "--ray", "local"]) == 0
    thread.join()
    assert len(list(tmp_path.glob("worker.*"))) > 1  # another one took its place
    assert len(killed) == 1
    assert (tmp_path / "here.csv").read_text() == (tmp_path / "there.csv").read_text()


@pytest.mark.parametrize(
    ("address", "message"),
    [("nowhere", "must be local, auto or HOST:PORT; it is 'nowhere'"), ("127.0.0.1:{free}", "nothing answers at")],
)
def test_an_address_that_does_not_answer(address, message, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with pytest.raises(InputError, match=message):
        cluster.connect(address.format(free=free))
