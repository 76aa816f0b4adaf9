"""The masked supernet and its stand-alone networks, as a Flax module that owns the weights."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from tenas_jax.errors import InputError
from tenas_jax.networks.feature_reading import FeatureReading
from tenas_jax.networks.initial_weights import (
    Declaration,
    Fan,
    Parameters,
    drawn_alike,
    drawn_at_once,
    initialiser,
    norm_shapes,
    unit_moments,
)
from tenas_jax.networks.operator_check import check_operators
from tenas_jax.spaces.network import network
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace


class _Mask(NamedTuple):
    """A mask as a hashable value, for a cache."""

    shape: tuple[int, ...]
    content: bytes


@lru_cache(maxsize=64)
def _declared(
    reading: type[FeatureReading], space: SearchSpace, skeleton: Skeleton, shape: tuple[int, ...], mask: _Mask
) -> dict[str, Declaration]:
    check_operators(space)
    read = reading(None)
    alive = np.frombuffer(mask.content, bool).reshape(mask.shape)
    images = jax.ShapeDtypeStruct(shape, "float32")
    jax.eval_shape(lambda images: network(read, space, alive, images, skeleton, read.cell), images)
    return read.declared


class CellNetwork(nn.Module):
    """A cell network as a Flax module: with a traced mask the supernet, with a NumPy mask a stand-alone network.

    Variables: collection `params` holds every parameter under its path, `batch_stats` the mean and variance that each
    batch norm last saw. With `train=True` batch norm uses the batch's statistics and stores them (where `batch_stats` is
    mutable); with `train=False` it uses the stored ones, so that every image is treated on its own.

    Attributes:
        space: the search space.
        skeleton: how cells are stacked.
        fan: Kaiming normal with the variance 2 / fan_in or 2 / fan_out for every convolution and linear layer
            (He et al. 2015; the released TE-NAS takes fan_out for the NTK and fan_in for linear regions).
    """

    space: SearchSpace
    skeleton: Skeleton
    fan: Fan = "fan_in"
    reading: ClassVar[type[FeatureReading]] = FeatureReading

    def __call__(
        self, images: Float[Array, "b h w c"], mask: Bool[Any, "cells edges ops"], *, train: bool = True
    ) -> Float[Array, "b classes"]:
        """The logits, or the last cell's output where the skeleton has no head.

        Args:
            images: (b, h, w, c).
            mask: alive operators; a NumPy array creates and computes those only.
            train: normalise by the batch's statistics.

        Raises:
            InputError: for a NumPy mask that is none of this space, and for custom operators that share weights.
        """
        output: Any = self._read(images, mask, train)[0]
        return output

    def activation_bits(
        self, images: Float[Array, "b h w c"], mask: Bool[Any, "cells edges ops"]
    ) -> Bool[Array, "b bits"]:
        """Which ReLUs are on, batch norm by the batch's statistics; those of dead operators are off.

        Args:
            images: (b, h, w, c).
            mask: alive operators.

        Returns:
            (b, bits), in the order in which the network meets its ReLUs; a custom layer adds none.

        Raises:
            InputError: where the network has no ReLU.
        """
        return jnp.concatenate(self.activation_layers(images, mask), axis=1)

    def activation_layers(
        self, images: Float[Array, "b h w c"], mask: Bool[Any, "cells edges ops"]
    ) -> list[Bool[Array, "b bits"]]:
        """As `activation_bits`, ReLU by ReLU.

        Args:
            images: (b, h, w, c).
            mask: alive operators.

        Returns:
            (b, bits) of every ReLU, in the order in which the network meets them.

        Raises:
            InputError: where the network has no ReLU.
        """
        bits = self._read(images, mask, True)[1].bits
        if not bits:
            raise InputError(
                f"the network of {self.space.name} has no ReLU, and so no activation patterns; take scores of kernels, or "
                "end it with `network.finish`."
            )
        return bits

    @nn.nowrap  # layers of custom operators are no parts of this module
    def initial(
        self,
        key: Key[Array, ""],
        shape: tuple[int, ...],
        dtype,
        mask: Bool[np.ndarray, "cells edges ops"] | None = None,
    ) -> dict[str, Any]:
        """What `init` returns, without what Flax spends on each parameter.

        The same to the bit in spaces of cells. In others one array of random numbers is cut into weights: of hundreds of
        shapes, even a draw a shape takes longer to compile than the network.

        Args:
            key: decides the weights.
            shape: (b, h, w, c) of the images.
            dtype: of the images, and so of the parameters.
            mask: alive operators, the only ones that get weights; None for all.

        Returns:
            Collections `params` and `batch_stats`.
        """
        declared = self._declared(shape, self.space.whole() if mask is None else mask)
        shapes = norm_shapes(declared)
        statistics = {name: (np.zeros(shape, dtype), np.ones(shape, dtype)) for name, shape in shapes.items()}
        return {"params": self._drawn(key, declared, dtype), "batch_stats": statistics}

    @nn.compact
    def _read(self, images, mask, train: bool):
        static = isinstance(mask, np.ndarray)
        if static:
            self.space.check(mask)
        listed = mask if static else self.space.whole()
        declared = self._declared(images.shape, listed)
        parameters = self._parameters(declared, images.dtype)
        stored = {
            name: self.variable("batch_stats", name, unit_moments, norm, images.dtype)
            for name, norm in norm_shapes(declared).items()
        }
        read = self.reading(parameters, None if train else {name: v.value for name, v in stored.items()})
        output = network(read, self.space, mask, images, self.skeleton, read.cell)
        if train and self.is_mutable_collection("batch_stats") and not self.is_initializing():
            for name, moments in read.moments.items():
                stored[name].value = moments
        return output, read

    @nn.nowrap
    def _declared(self, shape: tuple[int, ...], mask: Bool[np.ndarray, "cells edges ops"]) -> dict[str, Declaration]:
        return _declared(self.reading, self.space, self.skeleton, shape, _Mask(mask.shape, mask.tobytes()))

    def _parameters(self, declared: Mapping[str, Declaration], dtype) -> Parameters:
        return {name: self.param(name, initialiser(self.fan, d), d.shape, dtype) for name, d in declared.items()}

    @nn.nowrap
    def _drawn(self, key, declared: Mapping[str, Declaration], dtype) -> Parameters:
        return (drawn_at_once if self.space.decisions else drawn_alike)(key, self.fan, declared, dtype)
