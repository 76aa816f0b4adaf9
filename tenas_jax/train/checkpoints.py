"""Checkpoints by Orbax: written beside the next steps, all or nothing; the newest few and the best are kept.

Each holds a hash of its arrays: one that cannot be read, or reads as something else, is passed over for the one before.
"""

import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tenas_jax.command_line import say
from tenas_jax.errors import InputError

KEEP = 2


class Checkpoints:
    """The checkpoints in a folder, by the number of epochs that are done."""

    def __init__(self, folder: Path, blueprint: str, keep: int = KEEP):
        """Opens or makes the folder.

        Args:
            folder: where they are.
            blueprint: what the network is, as text: those of another one are refused.
            keep: how many of the newest stay; the best stays too.
        """
        import orbax.checkpoint as ocp
        from orbax.checkpoint.checkpoint_managers import preservation_policy as keeping

        self._folder, self._blueprint, self._ocp = folder.absolute(), blueprint, ocp
        policy = keeping.AnyPreservationPolicy(
            [
                keeping.LatestN(keep),
                keeping.BestN(
                    get_metric_fn=lambda metrics: metrics["top1"], n=1, keep_checkpoints_without_metrics=False
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(preservation_policy=policy, create=True),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def save(self, epoch: int, state: Any, top1: float) -> None:
        """Begins to write a checkpoint; it is on the disc when the next one begins, or at `close`.

        Args:
            epoch: how many are done.
            state: a tree of arrays.
            top1: by which the best is chosen.

        Raises:
            InputError: where the one before could not be written.
        """
        about = {"blueprint": self._blueprint, "sha256": digest(state)}
        save = self._ocp.args
        try:
            self._manager.save(
                epoch,
                args=save.Composite(state=save.StandardSave(state), about=save.JsonSave(about)),
                metrics={"top1": float(top1)},
            )
        except Exception as error:  # also of the thread that wrote the one before
            raise self._full(error) from error

    def wait(self) -> None:
        """Returns when everything is on the disc.

        Raises:
            InputError: where it could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # of a thread of Orbax, as it comes
            raise self._full(error) from error

    def _full(self, error: Exception) -> InputError:
        return InputError(
            f"a checkpoint in {self._folder} could not be written ({str(error).splitlines()[0][:200]}); make room and run "
            "again: what is finished is kept."
        )

    def restore(self, like: Any, most: int | None = None, least: int = 0) -> tuple[int, Any] | None:
        """The newest checkpoint that is whole.

        Args:
            like: a state of the same shapes, on the devices where it is to be.
            most: epochs that it may have done; None for any.
            least: epochs that it must have done.

        Returns:
            The number of epochs done, and the state; None where there is no checkpoint.

        Raises:
            InputError: for a checkpoint of another network.
        """
        for epoch in sorted(self._manager.all_steps(), reverse=True):
            if epoch < least or (most is not None and epoch > most):
                continue
            try:
                return epoch, self._read(epoch, like)
            except InputError:
                raise
            except Exception as error:  # whatever a reader of damaged files raises
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:150]
                say(f"the checkpoint of epoch {epoch} in {self._folder} is damaged ({reason}); the one before is taken")
        return None

    def _read(self, epoch: int, like: Any) -> Any:
        read = self._ocp.args
        about = self._manager.restore(epoch, args=read.Composite(about=read.JsonRestore()))["about"]
        if about["blueprint"] != self._blueprint:
            raise InputError(
                f"{self._folder} holds checkpoints of another network, {about['blueprint']}; choose another --output."
            )
        wanted = jax.tree.map(self._ocp.utils.to_shape_dtype_struct, like)
        state = self._manager.restore(epoch, args=read.Composite(state=read.StandardRestore(wanted)))["state"]
        if digest(state) != about["sha256"]:
            raise ValueError("its arrays are not those that were written")
        return state

    def close(self) -> None:
        """Waits for what is being written."""
        self._manager.close()


def digest(state: Any) -> str:
    """SHA-256 of all arrays of a tree, with their places.

    Args:
        state: the tree.
    """
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        values = np.asarray(jax.device_get(leaf))
        found.update(f"{jax.tree_util.keystr(path)} {values.dtype} {values.shape}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()
