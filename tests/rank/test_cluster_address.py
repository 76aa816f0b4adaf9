"""Which address is a Ray cluster, and what is refused of one; without Ray."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tenas_jax.errors import InputError
from tenas_jax.rank import cluster
from tenas_jax.records.shards import Table


@contextmanager
def server(answer, host="127.0.0.1"):
    """Accepts one connection, and says what it is given; `None` says nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listening:

        def serve():
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    heard.append(connection.recv(1000))
                    if answer is not None:
                        connection.sendall(answer)
                        return
                    connection.recv(1)  # until the other side gives up

        heard = []
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1], heard
        thread.join()


SETTINGS = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 64, 0, 0])


def test_a_port_that_is_open_and_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.2)
    start = time.monotonic()
    with server(None) as (port, heard), pytest.raises(InputError, match="nothing answers at the Ray address"):
        cluster._check_answers(f"127.0.0.1:{port}")
    assert time.monotonic() - start < 5
    assert heard[0].startswith(b"PRI * HTTP/2.0")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b""])
def test_another_server_is_no_cluster(answer):
    with (
        server(answer) as (port, _),
        pytest.raises(InputError, match=r"no Ray cluster; give the address|nothing answers"),
    ):
        cluster._check_answers(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("host", "form"), [("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}"), ("::1", "ray://[::1]:{}")]
)
def test_what_speaks_http_2_is_connected_to(host, form):
    try:
        with server(SETTINGS, host) as (port, heard):
            cluster._check_answers(form.format(port))
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert heard[0].startswith(b"PRI * HTTP/2.0")


def test_a_real_server_of_grpc_is_recognised():
    grpc = pytest.importorskip("grpc")
    from concurrent.futures import ThreadPoolExecutor

    running = grpc.server(ThreadPoolExecutor(1))
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        cluster._check_answers(f"127.0.0.1:{port}")
    finally:
        running.stop(None).wait()
    with pytest.raises(InputError, match="nothing answers at the Ray address"):
        cluster._check_answers(f"127.0.0.1:{port}")


def test_a_cluster_is_joined_before_jax_starts(tmp_path):
    """Ray forks, and a process in which JAX has started its threads must not be forked."""
    code = f"""
import jax, sys
from tenas_jax.rank import cluster, command
first = []
devices = jax.devices
def connect(address):
    first.append("ray")
    raise SystemExit
def seen(*arguments):
    first.append("jax")
    return devices(*arguments)
cluster.connect, jax.devices = connect, seen
key = jax.random.key
jax.random.key = lambda seed: first.append("jax") or key(seed)
try:
    command.main(["--ray", "local", "--architectures", "5", "--output", {str(tmp_path / "a.csv")!r}])
finally:
    print(first)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout == "['ray']\n", found.stderr


def test_workers_that_are_not_alike_are_refused():
    """A stand-in for Ray with one worker that is another machine."""
    here, there = {"instruction_set": "avx avx2"}, {"instruction_set": "avx"}
    table = Table({"number": np.zeros((1, 3))}, {"number": np.full((1, 3), "fine")})
    found = iter([here, here, there])
    stand_in: Any = SimpleNamespace(
        cluster_resources=lambda: {"CPU": 2},
        remote=lambda **more: (
            lambda worker: SimpleNamespace(
                remote=lambda *arguments: SimpleNamespace(evaluate=SimpleNamespace(remote=lambda masks: object()))
            )
        ),
        put=lambda value: value,
        wait=lambda running, num_returns: (running[:1], running[1:]),
        get=lambda done: (table, next(found)),
        exceptions=SimpleNamespace(RayActorError=ZeroDivisionError, WorkerCrashedError=ZeroDivisionError),
    )
    scorer: Any = None
    results = cluster.evaluate_on_ray(
        stand_in, scorer, dict.fromkeys(range(3), np.zeros(3)), workers=1, environment=here
    )
    assert [number for number, _ in (next(results), next(results))] == [0, 1]
    with pytest.raises(InputError, match="now without avx2"):
        next(results)
