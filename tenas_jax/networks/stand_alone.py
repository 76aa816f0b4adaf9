"""The network of one architecture as a model to train: a Flax Linen module, and the same as a Flax NNX module."""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key

from tenas_jax.errors import InputError
from tenas_jax.networks.initial_weights import (
    Declaration,
    drawn_alike,
    drawn_at_once,
    initialiser,
    norm_shapes,
    unit_moments,
)
from tenas_jax.networks.operator_check import check_operators
from tenas_jax.networks.stand_alone_reading import (
    Auxiliary,
    DropPath,
    StandAloneReading,
    auxiliary_cell,
    auxiliary_head,
)
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.stacking import edge_weights

Choice = tuple[tuple[int, ...], ...]
MOMENTUM = 0.9  # of running statistics; PyTorch counts it the other way round, as 0.1


class Blueprint(NamedTuple):
    """What decides a stand-alone network; hashable.

    Attributes:
        space: the search space.
        choice: an operator's number for every edge of every cell.
        skeleton: how cells are stacked.
        images: for "small" images, or for "imagenet", whose stem divides the sides by eight.
        auxiliary: whether it has an auxiliary head, which is read while it is trained.
    """

    space: SearchSpace
    choice: Choice
    skeleton: Skeleton
    images: Auxiliary = "small"
    auxiliary: bool = False

    @property
    def mask(self) -> np.ndarray:
        """The architecture, bool (cells, edges, operators)."""
        return self.space.one_hot(np.array(self.choice))

    def check(self) -> None:
        """Refuses what no network can be made of.

        Raises:
            InputError: for an auxiliary head without a cell at two thirds, images of another sort, or no classes.
        """
        if self.skeleton.classes < 1:
            raise InputError(f"a network that is trained must have at least 1 class; it has {self.skeleton.classes}.")
        stacked = self.space.family.trained if self.space.network is None else {}
        if self.images != "small" and self.images not in stacked:
            raise InputError(f"{self.space.name} has no network for {self.images!r} images; take 'small'.")
        has_head = self.space.network is None and self.space.family.has_auxiliary_head
        if self.auxiliary and not (has_head and self.skeleton.cells > 2):
            raise InputError(
                f"the auxiliary head belongs to networks of DARTS with more than two cells; {self.space.name} with "
                f"{self.skeleton.cells} cells has none. Leave it out."
            )

    def read(self, read: Any, images: Any, *, auxiliary: bool = False) -> tuple[Any, Any]:
        """Reads the network.

        Args:
            read: the reading, with a `cell` and, for an auxiliary head, what `auxiliary_head` needs.
            images: the input, of the reading's kind.
            auxiliary: whether to read the auxiliary head too.

        Returns:
            The logits, and those of the auxiliary head or None.
        """
        stack = self.space.network or self.space.family.trained.get(self.images, self.space.family.network)
        weights = edge_weights(self.mask)
        logits = stack(read, self.space, weights, images, self.skeleton, read.cell)
        if not auxiliary:
            return logits, None
        return logits, auxiliary_head(read, read.auxiliary, self.skeleton.classes, self.images)

    def run(
        self, parameters: Any, statistics: Any, images: Any, *, train: bool, drop: DropPath | None = None
    ) -> tuple[Any, Any, Any]:
        """The network as a pure function.

        Args:
            parameters: by name.
            statistics: running mean and variance of every batch norm, by name.
            images: (b, h, w, 3).
            train: normalise by the batch and let it move the statistics.
            drop: which operators are left out.

        Returns:
            Logits (b, classes), those of the auxiliary head or None, and the statistics.
        """
        tap = auxiliary_cell(self.skeleton) if self.auxiliary else None
        read = StandAloneReading(parameters, None if train else statistics, drop=drop, tap=tap)
        logits, auxiliary = self.read(read, images, auxiliary=self.auxiliary and train)
        if not train:
            return logits, None, statistics
        moved = {name: jax.tree.map(_moved, statistics[name], moments) for name, moments in read.moments.items()}
        return logits, auxiliary, moved

    def declared(self, shape: tuple[int, ...]) -> dict[str, Declaration]:
        """Every parameter, by name.

        Args:
            shape: (b, h, w, 3) of images.

        Raises:
            InputError: as `check`, and for custom operators that are none.
        """
        return _declared(self, tuple(shape))


def _moved(old, new):
    return old * jnp.asarray(MOMENTUM, old.dtype) + new.astype(old.dtype) * jnp.asarray(1 - MOMENTUM, old.dtype)


@lru_cache(maxsize=64)
def _declared(blueprint: Blueprint, shape: tuple[int, ...]) -> dict[str, Declaration]:
    blueprint.check()
    check_operators(blueprint.space)
    read = StandAloneReading(None, tap=auxiliary_cell(blueprint.skeleton) if blueprint.auxiliary else None)
    reading = partial(blueprint.read, read, auxiliary=blueprint.auxiliary)
    jax.eval_shape(reading, jax.ShapeDtypeStruct(shape, jnp.float32))
    return read.declared


class StandAlone(nn.Module):
    """The network of one architecture as a Linen module.

    Variables: `params` holds every parameter under its path, `batch_stats` running mean and variance of every batch norm
    (`(1 - 0.9)` of the batch's, the variance unbiased, as in PyTorch). Weights start as Kaiming normal by fan_out (He et
    al. 2015), scales at one, biases at zero.

    Attributes:
        blueprint: what decides the network.
        dtype: of parameters and statistics.
    """

    blueprint: Blueprint
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"], *, train: bool = False, drop_path: Any = 0.0) -> Any:
        """The logits; while a network with an auxiliary head is trained, a pair of logits.

        Args:
            images: (b, h, w, 3).
            train: normalise by the batch, and move running statistics where `batch_stats` is mutable.
            drop_path: how often an operator is left out for an image; draws from the key "drop_path".

        Returns:
            (b, classes), or a pair of such.
        """
        declared = self.blueprint.declared(images.shape)
        parameters = {
            name: self.param(name, initialiser("fan_out", d), d.shape, self.dtype) for name, d in declared.items()
        }
        stored = {
            name: self.variable("batch_stats", name, unit_moments, shape, self.dtype)
            for name, shape in norm_shapes(declared).items()
        }
        statistics = {name: variable.value for name, variable in stored.items()}
        drop = DropPath(self.make_rng("drop_path"), drop_path) if train and self.has_rng("drop_path") else None
        logits, auxiliary, moved = self.blueprint.run(parameters, statistics, images, train=train, drop=drop)
        if train and self.is_mutable_collection("batch_stats") and not self.is_initializing():
            for name, value in moved.items():
                stored[name].value = value
        return logits if auxiliary is None else (logits, auxiliary)

    @nn.nowrap  # layers of custom operators are no parts of this module
    def initial(self, key: Key[Array, ""], shape: tuple[int, ...]) -> dict[str, Any]:
        """What `init` returns, which would be compiled as a program for each weight and take minutes.

        The same to the bit in spaces of cells; in others one array of random numbers is cut into weights, as in
        `finite.CellNetwork.initial`.

        Args:
            key: decides the weights.
            shape: (b, h, w, 3) of images.

        Returns:
            Collections `params` and `batch_stats`.
        """
        declared = self.blueprint.declared(shape)
        statistics = {name: unit_moments(shape, self.dtype) for name, shape in norm_shapes(declared).items()}
        drawn = drawn_at_once if self.blueprint.space.decisions else drawn_alike
        return {"params": drawn(key, "fan_out", declared, self.dtype), "batch_stats": statistics}


class StandAloneNNX(nnx.Module):
    """The same network as an NNX module; `train()` and `eval()` set how its batch norms normalise."""

    def __init__(
        self,
        blueprint: Blueprint,
        *,
        rngs: nnx.Rngs,
        variables: Mapping[str, Any] | None = None,
        side: int | None = None,
    ):
        """Draws parameters, or takes those of a Linen module.

        Args:
            blueprint: what decides the network.
            rngs: where keys come from: `params`, and `drop_path` while it is trained.
            variables: of a `StandAlone`; None draws them.
            side: of the images, where `variables` are drawn; by default 32, on ImageNet 224.
        """
        self.blueprint, self.use_running_average, self.drop_path = blueprint, False, 0.0
        if variables is None:
            side = side or (32 if blueprint.images == "small" else 224)
            variables = StandAlone(blueprint).initial(rngs.params(), (1, side, side, 3))
        self.parameters = nnx.Dict({_key(name): nnx.Param(value) for name, value in variables["params"].items()})
        self.statistics = nnx.Dict(
            {_key(name): nnx.BatchStat(value) for name, value in variables["batch_stats"].items()}
        )
        self.rngs = rngs

    def __call__(self, images: Float[Array, "b h w 3"]) -> Any:
        """The logits; while a network with an auxiliary head is trained, a pair of logits.

        Args:
            images: (b, h, w, 3).
        """
        train = not self.use_running_average
        parameters, statistics = (
            {_name(key): variable.get_value() for key, variable in part.items()}
            for part in (self.parameters, self.statistics)
        )
        drop = DropPath(self.rngs.drop_path(), self.drop_path) if train and self.drop_path else None
        logits, auxiliary, moved = self.blueprint.run(parameters, statistics, images, train=train, drop=drop)
        for name, value in moved.items() if train else ():
            self.statistics[_key(name)].set_value(value)
        return logits if auxiliary is None else (logits, auxiliary)


def _key(name: str) -> str:
    """NNX keeps children as attributes, whose names have no dots."""
    return name.replace(".", "/")


def _name(key: str) -> str:
    return key.replace("/", ".")
