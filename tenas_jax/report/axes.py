"""Axes of a plot: which numbers are marked, and where a number lies."""

import math
from typing import NamedTuple

import numpy as np

from tenas_jax.report.shapes import Picture, Words, straight

LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 12.0, 42.0  # of a plot, around its axes
FONT = 12.0
MOST_TICKS = 6


class Axis(NamedTuple):
    """One axis.

    Attributes:
        low: the number at its beginning.
        high: the number at its end.
        start: of its beginning, in pixels.
        end: of its end, in pixels.
        logarithmic: whether equal steps are equal factors.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where a number lies, in pixels.

        Args:
            value: finite, and above zero on a logarithmic axis.
        """
        low, high, value = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * ((value - low) / (high - low) if high > low else 0.5)

    def ticks(self) -> list[float]:
        """Round numbers within the axis."""
        if self.logarithmic:
            return log_ticks(self.low, self.high)
        if self.high <= self.low:
            return [self.low]
        step = _round_step((self.high - self.low) / (MOST_TICKS - 1))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * number for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two numbers above zero, for a logarithmic axis.

    Args:
        low: the smaller one.
        high: the larger one.
    """
    for parts in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [part * 10.0**decade for decade in decades for part in parts]
        found = [tick for tick in found if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(found) <= MOST_TICKS + 1:
            return found or [low, high]
    return found[:: -(-len(found) // MOST_TICKS)]


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(round_one for round_one in (1, 2, 5, 10) if round_one * power >= step * (1 - 1e-9))


def spelled(value: float) -> str:
    """A number of an axis: as short as it can be.

    Args:
        value: any.
    """
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:,.6g}"
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if size <= abs(value) < 1000 * size:
            return f"{value / size:g}{unit}"
    return f"{value:,.6g}" if 1e5 <= abs(value) < 1e6 else f"{value:.3g}"


def spanning(values: np.ndarray, start: float, end: float, *, logarithmic: bool = False) -> Axis:
    """An axis that holds all of some numbers, with a little room around them.

    Args:
        values: any; what is not finite does not count.
        start: of the axis, in pixels.
        end: of the axis, in pixels.
        logarithmic: as of an `Axis`.
    """
    finite = np.asarray(values, float)[np.isfinite(values)]
    if logarithmic:
        finite = finite[finite > 0]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (1.0, 1.0)
    if logarithmic:
        room = max((high / low) ** 0.04, 1.02)
        return Axis(low / room, high * room, start, end, True)
    room = 0.04 * (high - low) or max(abs(high) * 0.02, 0.5)
    return Axis(low - room, high + room, start, end)


def frame(picture: Picture, across: Axis, up: Axis, below: str, beside: str) -> None:
    """Draws both axes with their marks and what they are.

    Args:
        picture: to draw on.
        across: from left to right.
        up: from below upwards.
        below: what the first is.
        beside: what the second is; it stands above the axis.
    """
    bottom, left = up.start, across.start
    for tick in across.ticks():
        x = across.at(tick)
        picture.shapes.append(straight((x, bottom), (x, up.end), paint="grid"))
        picture.shapes.append(Words(x, bottom + 15, spelled(tick), FONT - 1, "middle", "soft"))
    for tick in up.ticks():
        y = up.at(tick)
        picture.shapes.append(straight((left, y), (across.end, y), paint="grid"))
        picture.shapes.append(Words(left - 6, y + 4, spelled(tick), FONT - 1, "end", "soft"))
    picture.shapes.append(straight((left, up.end), (left, bottom), (across.end, bottom), paint="soft"))
    picture.shapes.append(Words((left + across.end) / 2, bottom + 32, below, FONT, "middle"))
    picture.shapes.append(Words(4, up.end - 8, beside, FONT))
