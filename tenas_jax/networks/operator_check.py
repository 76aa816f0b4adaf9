"""What an operator of a custom space must do: keep its shape, keep its weights apart, and not fail. Nothing is computed."""

import itertools
import traceback
from collections.abc import Sequence

from tenas_jax.errors import InputError
from tenas_jax.networks.cost import CostReading, Shape
from tenas_jax.spaces.space import SearchSpace


class _NameReading(CostReading):
    """Notes the names under which weights are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def convolution(self, name, x, channels, **options):
        self.names.append(f"{name}.kernel")
        return super().convolution(name, x, channels, **options)

    def depthwise_convolution(self, name, x, **options):
        self.names.append(f"{name}.kernel")
        return super().depthwise_convolution(name, x, **options)

    def batch_norm(self, name, x):
        self.names.append(f"{name}.scale")
        return super().batch_norm(name, x)

    def squeeze_excite(self, name, x, channels):
        self.names += [f"{name}.squeeze.kernel", f"{name}.excite.kernel"]
        return super().squeeze_excite(name, x, channels)

    def custom(self, name, x, layer):
        before = self.cost.parameters
        shape = super().custom(name, x, layer)
        if self.cost.parameters > before:
            self.names.append(f"{name}.")
        return shape


def _check_names(what: str, path: str, names: Sequence[str]) -> None:
    """Weights are kept by name: what is named twice, or without the path of its edge, would be shared."""
    for place, name in enumerate(names):
        if not name.startswith(path):
            raise InputError(
                f"{what} keeps a weight under the name {name.rpartition('.')[0]!r}, which every edge would share; begin "
                'the names of its operations with the name that it is given, as in f"{name}.conv".'
            )
        if name in names[:place]:
            raise InputError(
                f"{what} keeps two weights under the name '{{name}}{name.rpartition('.')[0].removeprefix(path)}', which "
                "would be one and the same; give every operation another name."
            )


def check_operators(space: SearchSpace) -> None:
    """Refuses custom operators that fail, share weights by their names, or make another shape than an edge's.

    Args:
        space: the search space.

    Raises:
        InputError: names the operator and says what it did.
    """
    side, channels = 8, 16
    for name, stride in itertools.product(space.definitions, space.family.strides):
        read, path = _NameReading(), f"cell.edge.{name}"
        try:
            shape = space.operator(name)(read, path, Shape(side, channels), channels, stride)
        except InputError:
            raise
        except Exception as error:
            said = str(error).strip().splitlines() or [""]
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise InputError(
                f"the operator {name!r} of {space.name} fails in {place.filename}, line {place.lineno} "
                f"({type(error).__name__}: {said[0]}); it must use the operations of its reading only, and `read.custom` "
                "for anything else."
            ) from error
        _check_names(f"the operator {name!r} of {space.name}", path, read.names)
        if shape != Shape(side // stride, channels):
            raise InputError(
                f"the operator {name!r} of {space.name} must turn {side} x {side} positions with {channels} channels into "
                f"{side // stride} x {side // stride} with {channels} at stride {stride}; it makes {shape}."
            )
