"""What a limit is about: a measure of architectures, such as parameters or the latency on a device.

A measure is a function from masks to numbers, less is better. Some add up over edges: their prices say exactly what is
cheapest. Of all others prices are fitted by least squares, for guidance alone: the measure itself has the last word.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from tenas_jax.errors import InputError
from tenas_jax.networks import cost
from tenas_jax.spaces.space import Masks, SearchSpace

Prices = Float[np.ndarray, "cells edges ops"]
FITTED = 1024  # random architectures that prices are fitted to, at least
ASKED = 256  # random architectures that show whether a cost adds up


@dataclass(frozen=True, eq=False)
class Measure:
    """A number of every architecture, less is better.

    Attributes:
        name: what it is: "latency", "energy", "parameters" or "flops".
        unit: of its values.
        option: by which it is limited.
        function: from a space and masks (m, cells, edges, operators) to values (m,), NaN where there is none: such an
            architecture meets no limit.
        prices: of a space, what each operator on each edge adds, or None where it does not add up exactly; None where it
            never does.
        on: the device; empty where there is none.
        identity: what decides the values, for the record of a run; plain JSON values.
    """

    name: str
    unit: str
    option: str
    function: Callable[[SearchSpace, Masks], np.ndarray]
    prices: Callable[[SearchSpace], Prices | None] | None = None
    on: str = ""
    identity: Any = field(default=None, repr=False)

    @property
    def title(self) -> str:
        """For people: `latency on raspi4`."""
        return f"{self.name} on {self.on}" if self.on else self.name

    def exact(self, space: SearchSpace) -> Prices | None:
        """What each operator on each edge adds; None where the measure does not add up over edges.

        Args:
            space: the search space.
        """
        return self.prices(space) if self.prices else None

    def values(self, space: SearchSpace, masks: Bool[np.ndarray, "*m cells edges ops"]) -> np.ndarray:
        """The measure of single architectures.

        Args:
            space: the search space.
            masks: (..., cells, edges, operators).

        Returns:
            (...).
        """
        found = self.function(space, masks.reshape(-1, *masks.shape[-3:]))
        return np.asarray(found).reshape(masks.shape[:-3])


class Limit(NamedTuple):
    """The most that an architecture may have of a measure.

    Attributes:
        measure: of what.
        most: in its unit.
    """

    measure: Measure
    most: float

    def record(self) -> dict[str, Any]:
        """What decides the architectures that meet it; plain JSON values."""
        return {"measure": self.measure.name, "most": self.most, "by": self.measure.identity}


@lru_cache
def counted(name: str) -> Measure:
    """A cost that is counted from the definition of the network that is trained.

    Args:
        name: "parameters" or "flops".
    """
    option, unit = {"parameters": ("--max-params", "parameters"), "flops": ("--max-flops", "multiply-adds")}[name]

    def count(space: SearchSpace, masks: Masks) -> np.ndarray:
        return cost.costs(space, masks)._asdict()[name]

    return Measure(name, unit, option, count, partial(_shares, name), identity=name)


@lru_cache(maxsize=64)
def _shares(name: str, space: SearchSpace) -> Prices | None:
    """The prices of a cost; None in a space whose networks are no sum over edges, as random ones show."""
    if space.family.counts is not None or not space.family.costs_add_up:
        return None
    whole = cost.prices(space, space.skeleton("trained"), space.family.side)
    base, shares = (part._asdict()[name] for part in whole)
    masks = space.sample(jax.random.key(0), ASKED)
    sums = base + masks.reshape(ASKED, -1).astype(np.int64) @ shares.ravel()
    return shares.astype(float) if np.array_equal(sums, counted(name).values(space, masks)) else None


@lru_cache(maxsize=16)
def fitted(measure: Measure, space: SearchSpace) -> Prices:
    """Prices of operators on edges whose sum is nearest to a measure, by least squares on random architectures.

    Args:
        measure: one that need not add up.
        space: the search space.

    Raises:
        InputError: where no random architecture has a value.
    """
    count = max(FITTED, 4 * math.prod(space.mask_shape))
    masks = space.sample(jax.random.key(0), count)
    values = measure.values(space, masks).astype(float)
    held = np.isfinite(values)
    if not held.any():
        raise InputError(f"none of {count:,} random architectures of {space.name} has a {measure.title}.")
    rows = np.column_stack([np.ones(held.sum()), masks[held].reshape(held.sum(), -1)])
    prices = np.linalg.lstsq(rows, values[held], rcond=None)[0][1:].reshape(space.mask_shape)
    # Every edge holds one operator, so that its prices count from anywhere; an edge that is dropped is free.
    return prices - prices[..., [space.none]] if space.chooses_inputs else prices


def spelled(value: float, unit: str) -> str:
    """A value with its unit: whole numbers in full, others with four digits.

    Args:
        value: of a measure.
        unit: of it.
    """
    if math.isnan(value):
        return "unknown"
    number = f"{int(value):,}" if value == int(value) else f"{value:,.4g}"
    return f"{number} {unit}"


def rounded_up(value: float, digits: int = 4) -> float:
    """The next number above with a few digits: a limit that is met by what it was taken from.

    Args:
        value: above zero.
        digits: that it has.
    """
    if value <= 0 or not math.isfinite(value):
        return value
    step = 10.0 ** (math.floor(math.log10(value)) + 1 - digits)
    up = float(f"{math.ceil(value / step - 1e-9) * step:.{digits}g}")
    return up if up >= value else float(f"{up + step:.{digits}g}")
