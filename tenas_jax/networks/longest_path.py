"""Reads the network of a space as its depth: layers with weights on the longest path from the images to the output."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.networks.cost import CostReading
from tenas_jax.spaces.network import network
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace


class Deep(NamedTuple):
    """What a depth reading passes from operation to operation.

    Attributes:
        side: height and width of the feature map.
        channels: its channels.
        depth: layers with weights on the longest path to it.
    """

    side: int
    channels: int
    depth: int


class DepthReading(CostReading):
    """Shapes with their depth flow through the network. See `operators.Reading`."""

    def _behind(self, x, shape, layers: int = 0) -> Any:
        return Deep(shape.side, shape.channels, x.depth + layers)

    def convolution(self, name, x, channels, **options):
        """See `operators.Reading`."""
        return self._behind(x, super().convolution(name, x, channels, **options), 1)

    def depthwise_convolution(self, name, x, **options):
        """See `operators.Reading`."""
        return self._behind(x, super().depthwise_convolution(name, x, **options), 1)

    def average_pool(self, x, **options):
        """See `operators.Reading`."""
        return self._behind(x, super().average_pool(x, **options))

    max_pool = average_pool

    def crop(self, x, **options):
        """See `operators.Reading`."""
        return self._behind(x, super().crop(x, **options))

    def zero(self, x, **options):
        """Nothing leads to zeros."""
        return self._behind(x._replace(depth=0), super().zero(x, **options))

    def truncate(self, x, channels):
        """See `operators.Reading`."""
        return self._behind(x, super().truncate(x, channels))

    def concatenate(self, values):
        """See `operators.Reading`."""
        return self._deepest(values, super().concatenate(values))

    def add(self, values):
        """See `operators.Reading`."""
        return self._deepest(values, values[0])

    @staticmethod
    def _deepest(values, shape) -> Any:
        return Deep(shape.side, shape.channels, max(value.depth for value in values))

    def custom(self, name, x, layer):
        """Counted as one layer."""
        return self._behind(x, super().custom(name, x, layer), 1)

    def edges(self, x, weights, operators, names):
        """The deepest of what is alive."""
        rows = [
            [operator(name, x) for weight, operator in zip(row, operators, strict=True) if weight > 0]
            for row, name in zip(weights, names, strict=True)
        ]
        return [self.add(row) if row else operators[0]("", x)._replace(depth=0) for row in rows]

    def choose(self, name, x, weights, operators, channels):
        """As of `edges`."""
        return self.edges(x, weights[None], operators, [name])[0]

    def head(self, name, x, classes):
        """See `operators.Reading`."""
        return self._behind(x, super().head(name, x, classes), 1)


@lru_cache(maxsize=2**16)
def _of_one(space: SearchSpace, skeleton: Skeleton, side: int, mask: bytes) -> int:
    alive = np.frombuffer(mask, bool).reshape(space.mask_shape)
    read: Any = DepthReading()
    output: Any = network(read, space, alive, Deep(side, 3, 0), skeleton)
    return output.depth


def longest_path(
    space: SearchSpace, mask: Bool[Any, "*m cells edges ops"], skeleton: Skeleton, side: int
) -> Int[np.ndarray, "*m"]:
    """Layers with weights on the longest path of each network, the stem and the linear layer included.

    Args:
        space: the search space.
        mask: alive operators, one mask or many.
        skeleton: how cells are stacked.
        side: of the images.

    Returns:
        Integers (...).
    """
    flat = [_of_one(space, skeleton, side, one.tobytes()) for one in np.reshape(mask, (-1, *space.mask_shape))]
    return np.reshape(np.array(flat, np.int64), mask.shape[:-3])
