"""Shards of architectures on a Ray cluster. A worker that dies loses nothing: its shard is given out again."""

import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tenas_jax.errors import InputError
from tenas_jax.records.environment import differences, fingerprint
from tenas_jax.records.shards import Table
from tenas_jax.scores.scorer import Scorer

ANSWER_SECONDS = 5
# What a client of HTTP/2 says first, with its settings, all by default (RFC 9113, sections 3.4 and 6.5): Ray's servers
# speak gRPC, and answer with their settings.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS_FRAME = 4  # the fourth byte of a frame is its type
MOST_ATTEMPTS = 5  # of one shard: a shard that kills every worker must not be tried for ever


def connect(address: str) -> Any:
    """Connects to a Ray cluster.

    Args:
        address: "local" starts one on this machine, "auto" finds the one that this machine belongs to, `HOST:PORT`
            or `ray://HOST:PORT` names one.

    Returns:
        The module `ray`, connected.

    Raises:
        InputError: where Ray is not installed, or nothing answers.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs Ray, which is not installed; run pip install '.[ray]'.") from error
    if ray.is_initialized():
        return ray
    if address not in ("local", "auto"):
        _check_answers(address)
    try:
        ray.init(address=address, include_dashboard=False if address == "local" else None, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise InputError(
            f"no Ray cluster could be reached at {address!r} ({error}); start one with `ray start --head`, or give "
            "--ray local."
        ) from error
    return ray


def _check_answers(address: str) -> None:
    """Ray itself waits for minutes before it gives up, and for ever where a port is open and says nothing."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"--ray must be local, auto or HOST:PORT; it is {address!r}.")
    try:
        with socket.create_connection((host.removeprefix("[").removesuffix("]"), int(port)), ANSWER_SECONDS) as server:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return  # the greeting would have to be encrypted
            server.settimeout(ANSWER_SECONDS)
            server.sendall(GREETING)
            answer = server.recv(9)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"nothing answers at the Ray address {address} ({error}); start a cluster with `ray start --head`, or give "
            "--ray local."
        ) from error
    if len(answer) < 4 or answer[3] != SETTINGS_FRAME:
        raise InputError(
            f"what answers at {address} is no Ray cluster; give the address that `ray start --head` has printed, or "
            "--ray local."
        )


class _Worker:
    """An actor: keeps its compiled programs from shard to shard."""

    def __init__(self, scorer: Scorer):
        self._scorer = scorer

    def evaluate(self, masks: np.ndarray) -> tuple[Table, dict[str, str]]:
        return self._scorer(masks), fingerprint()


def environment(ray: Any) -> dict[str, str]:
    """What a worker of the cluster is; all must be alike.

    Args:
        ray: from `connect`.

    Returns:
        As `environment.fingerprint`.
    """
    asked = ray.remote(num_gpus=1 if int(ray.cluster_resources().get("GPU", 0)) else 0, num_cpus=1)(fingerprint)
    return ray.get(asked.remote())


def evaluate_on_ray(
    ray: Any,
    scorer: Scorer,
    shards: Mapping[int, np.ndarray],
    *,
    workers: int | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[tuple[int, Table]]:
    """Evaluates shards on a cluster, each on whichever worker is free.

    Args:
        ray: from `connect`.
        scorer: what to evaluate.
        shards: masks by number.
        workers: actors; by default one a GPU of the cluster, or one for every two CPUs where there is no GPU.
        environment: what every worker must be, as `environment` says; None: anything.

    Yields:
        Number and result, every number once, in the order in which shards are finished.

    Raises:
        InputError: where a shard has killed `MOST_ATTEMPTS` workers, or a worker is unlike the others.
    """
    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    workers = min(workers or gpus or max(1, cpus // 2), max(1, len(shards)))
    actor = ray.remote(num_gpus=1 if gpus else 0, num_cpus=1)(_Worker)
    shared = ray.put(scorer)
    waiting, attempts = list(shards), dict.fromkeys(shards, 0)
    running: dict[Any, tuple[int, Any]] = {}

    def give(worker) -> None:
        if waiting:
            number = waiting.pop(0)
            attempts[number] += 1
            running[worker.evaluate.remote(shards[number])] = number, worker

    for _ in range(workers):
        give(actor.remote(shared))
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        number, worker = running.pop(done)
        try:
            table, found = ray.get(done)
        except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
            if attempts[number] >= MOST_ATTEMPTS:
                raise _deadly(number, error) from error
            waiting.append(number)
            give(actor.remote(shared))
            continue
        _check_alike(environment, found)
        yield number, table
        give(worker)


def _deadly(number: int, error: Exception) -> InputError:
    return InputError(
        f"{MOST_ATTEMPTS} workers died at shard {number}, for want of memory or of an installed tenas_jax; "
        f"Ray says: {str(error).strip().splitlines()[-1]}"
    )


def _check_alike(environment: dict[str, str] | None, found: dict[str, str]) -> None:
    if environment is not None and found != environment:
        raise InputError(
            f"a worker of the cluster computes other last bits than the first ({differences(environment, found)}); "
            "take machines that are alike."
        )
