"""One step of training and one of evaluation, over all devices: the batch is shared out, weights are on each of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tenas_jax.errors import InputError
from tenas_jax.networks.stand_alone import Blueprint, StandAlone
from tenas_jax.networks.stand_alone_reading import DropPath
from tenas_jax.train.batches import Batch
from tenas_jax.train.optimiser import loss, optimiser
from tenas_jax.train.recipe import Recipe

TOP = 5


class State(NamedTuple):
    """What the next step needs.

    Attributes:
        step: how many steps are done.
        parameters: by name.
        statistics: running mean and variance by name of their batch norm.
        optimiser: optax's state.
        average: moving average of the parameters, or nothing.
    """

    step: Any
    parameters: Any
    statistics: Any
    optimiser: Any
    average: Any

    @property
    def variables(self) -> dict[str, Any]:
        """Those of a `StandAlone`: the averaged parameters where there are any."""
        return {"params": self.average or self.parameters, "batch_stats": self.statistics}


class Sums(NamedTuple):
    """Sums over images, from which metrics are made.

    Attributes:
        loss: of cross-entropies, without smoothing in an evaluation.
        top1: images whose class has the largest logit.
        top5: images whose class is among the five largest logits.
        images: how many.
    """

    loss: Any
    top1: Any
    top5: Any
    images: Any


@dataclass(frozen=True)
class Trainer:
    """The compiled steps of a training.

    Attributes:
        blueprint: the network.
        recipe: how it is trained.
        steps: an epoch.
        seed: of weights and drop path.
        devices: which share the batch; None for all.
    """

    blueprint: Blueprint
    recipe: Recipe
    steps: int
    seed: int = 0
    devices: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        """Refuses batches that cannot be shared.

        Raises:
            InputError: where devices would get unequal shares.
        """
        count = self.mesh.size
        if self.recipe.batch % count:
            raise InputError(
                f"a batch of {self.recipe.batch} images cannot be shared by {count} devices; take a multiple of {count}, "
                "or fewer devices."
            )

    @cached_property
    def mesh(self) -> Mesh:
        """All devices along the axis of the batch."""
        return Mesh(np.array(self.devices or jax.devices()), ("batch",))

    @property
    def rows(self) -> slice:
        """Of every batch, what this process holds."""
        share = self.recipe.batch // jax.process_count()
        return slice(jax.process_index() * share, (jax.process_index() + 1) * share)

    @cached_property
    def _everywhere(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    @cached_property
    def _shared_out(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec("batch"))

    @cached_property
    def _optimiser(self):
        return optimiser(self.recipe, self.steps)

    def place(self, batch: Batch) -> Batch:
        """A batch, or this process's rows of it, on the devices.

        Args:
            batch: on the host.
        """
        return jax.tree.map(partial(jax.make_array_from_process_local_data, self._shared_out), batch)

    def replicate(self, tree: Any) -> Any:
        """The same arrays on every device.

        Args:
            tree: of arrays on the host.
        """
        return jax.device_put(tree, self._everywhere)

    def start(self, shape: tuple[int, ...], dtype: Any = jnp.float32) -> State:
        """The state before the first step.

        Args:
            shape: (h, w, 3) of images.
            dtype: of weights.
        """
        variables = StandAlone(self.blueprint, dtype).initial(jax.random.key(self.seed), (1, *shape))
        parameters, statistics = variables["params"], variables["batch_stats"]
        average = parameters if self.recipe.ema else {}
        state = State(np.zeros((), np.int32), parameters, statistics, self._optimiser.init(parameters), average)
        return self.replicate(jax.tree.map(np.asarray, state))

    @cached_property
    def step(self) -> Callable[[State, Batch], tuple[State, Sums]]:
        """The state after a batch, and sums over its images; the loss is the one that is minimised."""
        return jax.jit(self._step, donate_argnums=0, out_shardings=self._everywhere)

    def _step(self, state: State, batch: Batch) -> tuple[State, Sums]:
        (_, (statistics, sums)), gradients = jax.value_and_grad(self._loss, has_aux=True)(
            state.parameters, state, batch
        )
        updates, moved = self._optimiser.update(gradients, state.optimiser, state.parameters)
        parameters = jax.tree.map(
            lambda weight, update: weight + update.astype(weight.dtype), state.parameters, updates
        )
        average = jax.tree.map(self._averaged, state.average, parameters) if self.recipe.ema else {}
        return State(state.step + 1, parameters, statistics, moved, average), sums

    def _averaged(self, old, new):
        return old * jnp.asarray(self.recipe.ema, old.dtype) + new * jnp.asarray(1 - self.recipe.ema, old.dtype)

    def _loss(self, parameters, state: State, batch: Batch):
        images = batch.images.astype(jnp.bfloat16) if self.recipe.bfloat16 else batch.images
        logits, auxiliary, statistics = self.blueprint.run(
            parameters, state.statistics, images, train=True, drop=self._drop(state.step)
        )
        losses = loss(logits, batch.labels, self.recipe.smoothing)
        total = losses.mean()
        if auxiliary is not None:
            weight = jnp.asarray(self.recipe.auxiliary, total.dtype)
            total = total + weight * loss(auxiliary, batch.labels, self.recipe.smoothing).mean()
        return total, (statistics, _sums(losses, logits, batch))

    def _drop(self, step) -> DropPath | None:
        """DARTS's rate grows with the epoch."""
        if not self.recipe.drop_path:
            return None
        epoch = (step // self.steps).astype(jnp.float32)
        rate = epoch * jnp.asarray(self.recipe.drop_path / self.recipe.epochs, jnp.float32)
        return DropPath(jax.random.fold_in(jax.random.key(self.seed + 1), step), rate)

    @cached_property
    def evaluate(self) -> Callable[[Any, Batch], Sums]:
        """Sums over a batch, normalised by running statistics: `(variables, batch)`."""

        def sums(variables, batch: Batch) -> Sums:
            images = batch.images.astype(jnp.bfloat16) if self.recipe.bfloat16 else batch.images
            logits, _, _ = self.blueprint.run(variables["params"], variables["batch_stats"], images, train=False)
            return _sums(loss(logits, batch.labels), logits, batch)

        return jax.jit(sums, out_shardings=self._everywhere)


def _sums(losses, logits, batch: Batch) -> Sums:
    own = jnp.take_along_axis(logits, batch.labels[:, None], axis=1)
    # Classes before one's own: those with a larger logit, and of equal ones those with a smaller number, as in an argmax.
    earlier = (logits == own) & (jnp.arange(logits.shape[1], dtype=batch.labels.dtype)[None] < batch.labels[:, None])
    place = ((logits > own) | earlier).sum(1)
    counts = batch.counts.astype(losses.dtype)

    def total(values):
        return (values.astype(losses.dtype) * counts).sum()

    # A NaN compares with nothing, and would count as right.
    finite = jnp.isfinite(own[:, 0])
    return Sums(total(losses), total((place < 1) & finite), total((place < TOP) & finite), counts.sum())
