"""The loop over epochs: train, evaluate, record, keep."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from tenas_jax.command_line import provenance, say
from tenas_jax.data.labelled import LabelledImages
from tenas_jax.errors import InputError
from tenas_jax.records import seal
from tenas_jax.records.environment import fingerprint
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.report.page import report
from tenas_jax.report.run_files import read_run
from tenas_jax.terminal import Progress
from tenas_jax.train.batches import Batch, EvaluationBatches, TrainBatches, stream
from tenas_jax.train.checkpoints import Checkpoints
from tenas_jax.train.job import Job
from tenas_jax.train.step import State, Sums, Trainer
from tenas_jax.train.tensorboard import EventFile

LOOK = 50  # steps after which losses are looked at


class Follower:
    """The records of a run in a process that is not the first one: it keeps none."""

    def __init__(self) -> None:
        """Nothing is recorded."""
        self.rounds: list[dict[str, Any]] = []

    def append(self, record: dict[str, Any]) -> None:
        """Counts an epoch.

        Args:
            record: of the epoch.
        """
        self.rounds.append(record)


def shared(number: int) -> int:
    """The first process's number, in all processes.

    Args:
        number: of this process.
    """
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def train(
    job: Job, seed: int, path: Path, *, workers: int = 0, keep: int = 2, tensorboard: bool = False
) -> dict[str, Any]:
    """Trains one network, or goes on with it.

    Args:
        job: what is trained.
        seed: of weights, order, augmentation and drop path.
        path: the run's folder.
        workers: processes that make batches.
        keep: how many of the newest checkpoints stay.
        tensorboard: whether metrics are written as TensorBoard's events too.

    Returns:
        The result, plain JSON values: in the first process that of `result.json`.

    Raises:
        InputError: for a run of another configuration, a loss that is not finite, or a disc that is full.
    """
    if jax.process_index():
        return _train(job, seed, path, Follower(), workers, keep, None)
    with RunFolder(path, {**job.identity, "seed": seed}, fingerprint()) as folder:
        folder.spent.started = time.perf_counter()
        if (result := folder.result()) is not None:
            shared(-1)
            return result
        events = EventFile(path / "events") if tensorboard else None
        result = _train(job, seed, path, folder, workers, keep, events)
        folder.finish({**result, **folder.spent.total(), **provenance()})
        folder.write("report.html", report(read_run(path)))
        return folder.result() or result


def _train(
    job: Job, seed: int, path: Path, folder: RunFolder | Follower, workers: int, keep: int, events: EventFile | None
) -> dict[str, Any]:
    recorded = shared(len(folder.rounds))
    if recorded < 0:
        return {}
    batches = TrainBatches(job.train, job.recipe, seed)
    trainer = Trainer(job.blueprint, job.recipe, batches.steps, seed)
    batches.rows = trainer.rows
    state = trainer.start(batches[0].images.shape[1:])
    network = seal.digest(job.identity["network"])
    with Checkpoints(path / "checkpoints", network, keep) as checkpoints:
        epoch, state = checkpoints.restore(state, most=recorded) or (0, state)
        if epoch:
            say(f"goes on behind epoch {epoch}")
        source = stream(batches, epoch * batches.steps, workers)
        with Progress(len(batches), epoch * batches.steps, "step") as progress:
            for done in range(epoch + 1, job.recipe.epochs + 1):
                state, sums = _epoch(trainer, state, source, done, progress)
                record = {"epoch": done, "train": metrics(sums), "val": evaluate(trainer, state.variables, job.val)}
                checkpoints.save(done, state, record["val"]["top1"])
                if done > len(folder.rounds):  # what was recorded before a kill is the same
                    folder.append(record)
                progress.advance(0, _line(record))
                if events:
                    events.add(done, record)
        checkpoints.wait()
    return _result(job, seed, folder.rounds, state)


def _epoch(trainer: Trainer, state: State, source: Any, epoch: int, progress: Progress) -> tuple[State, list[Sums]]:
    """One pass over the training images."""
    waiting, seen = [], []
    for place in range(trainer.steps):
        state, sums = trainer.step(state, trainer.place(next(source)))
        waiting.append(sums)
        progress.advance(1)
        if len(waiting) == LOOK or place == trainer.steps - 1:
            seen += jax.device_get(waiting)
            waiting = []
            _check_finite(seen, epoch, trainer)
    return state, seen


def _check_finite(seen: list[Sums], epoch: int, trainer: Trainer) -> None:
    for place, sums in enumerate(seen):
        if not np.isfinite(sums.loss):
            step = (epoch - 1) * trainer.steps + place + 1
            kept = f"the checkpoint of epoch {epoch - 1} is kept" if epoch > 1 else "there is no checkpoint before it"
            raise InputError(
                f"the loss of step {step} (epoch {epoch}) is {sums.loss}; {kept}. Take a lower --rate, or clip gradients "
                "with --clip."
            )


def metrics(sums: Iterable[Sums]) -> dict[str, float]:
    """Mean loss, and top-1 and top-5 accuracy in per cent, over all images.

    Args:
        sums: of batches, on the host.
    """
    total = Sums(*(float(np.sum(np.array(column, np.float64))) for column in zip(*sums, strict=True)))
    return {
        "loss": total.loss / total.images,
        "top1": 100 * total.top1 / total.images,
        "top5": 100 * total.top5 / total.images,
    }


def evaluate(trainer: Trainer, variables: Any, images: LabelledImages) -> dict[str, float]:
    """Metrics by running statistics.

    Args:
        trainer: of the network.
        variables: of the network.
        images: and their classes.
    """
    batches = EvaluationBatches(images, trainer.recipe, trainer.rows)
    waiting: list[Sums] = []
    for number in range(len(batches)):
        given: Batch = trainer.place(batches[number])
        waiting.append(trainer.evaluate(variables, given))
    return metrics(jax.device_get(waiting))


def _line(record: dict[str, Any]) -> str:
    train, val = record["train"], record["val"]
    return (
        f"epoch {record['epoch']}: loss {train['loss']:.3f}, top-1 {train['top1']:.1f} %; held out: loss "
        f"{val['loss']:.3f}, top-1 {val['top1']:.1f} %, top-5 {val['top5']:.1f} %"
    )


def _result(job: Job, seed: int, rounds: list[dict[str, Any]], state: State) -> dict[str, Any]:
    best = max(rounds, key=lambda record: record["val"]["top1"])
    counted = {name: value for name, value in state.parameters.items() if not name.startswith("auxiliary.")}
    return {
        **job.labels,
        "seed": seed,
        "epochs": len(rounds),
        "parameters": sum(int(np.prod(value.shape)) for value in counted.values()),
        "last": rounds[-1]["val"],
        "best": {"epoch": best["epoch"], **best["val"]},
        "train": rounds[-1]["train"],
    }
