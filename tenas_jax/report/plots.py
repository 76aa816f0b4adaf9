"""Plots as pictures, each with a sentence about what it does not show."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tenas_jax.report.axes import BOTTOM, FONT, LEFT, RIGHT, TOP, Axis, frame, spanning
from tenas_jax.report.paints import heat
from tenas_jax.report.shapes import Box, Line, Picture, Points, Segment, Shape, Words, straight, text_width

WIDTH, HEIGHT = 460.0, 300.0
MOST_DOTS = 1200  # of a plot that is one of many
BINS = 40
Numbers = Float[np.ndarray, " m"]


class Plot(NamedTuple):
    """A picture and what is to be said of it.

    Attributes:
        picture: the picture.
        note: what it does not show; empty where it shows everything.
    """

    picture: Picture
    note: str = ""


class Series(NamedTuple):
    """A line of a plot.

    Attributes:
        name: of the line.
        values: (m,).
        paint: of the line.
        dash: as of a `Line`.
        low: (m,), the lower edge of a band around it; None for no band.
        high: (m,), the upper edge.
    """

    name: str
    values: Numbers
    paint: str = "op1"
    dash: tuple[float, ...] = ()
    low: Numbers | None = None
    high: Numbers | None = None


def _axes(width: float, height: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return (LEFT, width - RIGHT), (height - BOTTOM, TOP + 16)


def worth_logarithm(values: Numbers) -> bool:
    """Whether numbers spread over so many magnitudes that a logarithmic axis shows more of them.

    Args:
        values: any.
    """
    finite = values[np.isfinite(values)]
    return bool(len(finite) and finite.min() > 0 and finite.max() > 30 * finite.min())


def _left_out(count: int, of: int, why: str) -> str:
    return f"{count:,} of {of:,} {'is' if count == 1 else 'are'} {why} and not drawn. " if count else ""


def scatter(
    x: Numbers,
    y: Numbers,
    below: str,
    beside: str,
    *,
    marked: Sequence[int] = (),
    front: Sequence[int] = (),
    most: int | None = None,
    floor: float | None = None,
    width: float = WIDTH,
    height: float = HEIGHT,
    data: Mapping[str, str] | None = None,
) -> Plot:
    """Dots of two numbers each.

    Args:
        x: (m,).
        y: (m,).
        below: what x is.
        beside: what y is.
        marked: numbers of dots with a ring.
        front: numbers of dots that a stepped line joins, from left to right: a Pareto front.
        most: dots that are drawn, evenly chosen from all; None for all.
        floor: below which y is not shown; None for all.
        width: of the picture.
        height: of the picture.
        data: attributes of the dots, for the page's script.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    shown = finite & (y >= floor) if floor is not None else finite
    note = _left_out(int((~finite).sum()), len(x), "not finite")
    if floor is not None:
        note += _left_out(int((finite & ~shown).sum()), len(x), f"below {floor:.4g}")
    places = np.flatnonzero(shown)
    (left, right), (bottom, top) = _axes(width, height)
    across = spanning(x[places], left, right, logarithmic=worth_logarithm(x[places]))
    up = spanning(y[places], bottom, top, logarithmic=worth_logarithm(y[places]))
    picture = Picture(width, height, f"{beside} against {below}")
    frame(picture, across, up, below, beside)
    if most is not None and len(places) > most:
        note += f"{most:,} of {len(places):,} are drawn, chosen evenly. "
        places = places[np.linspace(0, len(places) - 1, most).astype(int)]
    dots = tuple((across.at(float(x[n])), up.at(float(y[n]))) for n in places)
    size = 4.0 if len(places) < 1000 else 2.5
    rows = {"rows": _runs(places)} if data is not None else {}
    picture.shapes.append(Points(dots, "op1", size, len(places) > 300, {**(data or {}), **rows}))
    steps = [n for n in front if shown[n]]
    if len(steps) > 1:
        corners = [(across.at(float(x[steps[0]])), up.at(float(y[steps[0]])))]
        for n in steps[1:]:
            here = across.at(float(x[n])), up.at(float(y[n]))
            corners += [(here[0], corners[-1][1]), here]
        picture.shapes.append(straight(*corners, paint="accent", width=1.6))
    for n in marked:
        if shown[n]:
            cx, cy = across.at(float(x[n])), up.at(float(y[n]))
            picture.shapes.append(ring(cx, cy))
    return Plot(picture, note.strip())


def ring(x: float, y: float, radius: float = 6.0, paint: str = "accent") -> Line:
    """A circle around a dot.

    Args:
        x: of its centre.
        y: of its centre.
        radius: of the circle.
        paint: of the circle.
    """
    k = 0.5523 * radius  # the cubic that is nearest to a quarter of a circle
    quarters = (
        Segment((x, y + radius), ((x + radius, y + k), (x + k, y + radius))),
        Segment((x - radius, y), ((x - k, y + radius), (x - radius, y + k))),
        Segment((x, y - radius), ((x - radius, y - k), (x - k, y - radius))),
        Segment((x + radius, y), ((x + k, y - radius), (x + radius, y - k))),
    )
    return Line((x + radius, y), quarters, paint, 2.0)


def _runs(places: np.ndarray) -> str:
    """Numbers of rows, first and last of every run of them: empty where they are 0, 1, 2, ..."""
    if np.array_equal(places, np.arange(len(places))):
        return ""
    runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs if len(run))


def lines(
    x: Numbers, series: Sequence[Series], below: str, beside: str, *, width: float = WIDTH, height: float = HEIGHT
) -> Plot:
    """Lines over one axis, with bands.

    Args:
        x: (m,).
        series: the lines.
        below: what x is.
        beside: what they are.
        width: of the picture.
        height: of the picture.
    """
    everything = np.concatenate([part for s in series for part in (s.values, s.low, s.high) if part is not None])
    (left, right), (bottom, top) = _axes(width, height)
    key = 18.0 if len(series) > 1 else 0.0
    across = spanning(x, left, right)
    up = spanning(everything, bottom, top + key, logarithmic=worth_logarithm(everything))
    picture = Picture(width, height, f"{beside} by {below}")
    frame(picture, across, up, below, beside)
    lost = 0
    for one in series:
        _band(picture, x, one, across, up)
        finite = np.isfinite(one.values)
        lost += int((~finite).sum())
        points = [(across.at(float(a)), up.at(float(b))) for a, b in zip(x[finite], one.values[finite], strict=True)]
        if len(points) > 1:
            picture.shapes.append(straight(*points, paint=one.paint, width=2.0, dash=one.dash))
        picture.shapes.append(Points(tuple(points), one.paint, 5.0))
    if key:
        _key(picture, series, left, TOP)
    return Plot(picture, _left_out(lost, sum(len(s.values) for s in series), "not finite").strip())


def _band(picture: Picture, x: Numbers, one: Series, across: Axis, up: Axis) -> None:
    if one.low is None or one.high is None:
        return
    held = np.flatnonzero(np.isfinite(one.low) & np.isfinite(one.high))
    if len(held) < 2:
        return
    there = [(across.at(float(x[n])), up.at(float(one.high[n]))) for n in held]
    back = [(across.at(float(x[n])), up.at(float(one.low[n]))) for n in held[::-1]]
    picture.shapes.append(Line(there[0], tuple(map(Segment, [*there[1:], *back])), "grid", 0.0, fill="grid"))


def _key(picture: Picture, series: Sequence[Series], x: float, y: float) -> None:
    for one in series:
        picture.shapes.append(straight((x, y), (x + 22, y), paint=one.paint, width=2.0, dash=one.dash))
        picture.shapes.append(Words(x + 27, y + 4, one.name, FONT))
        x += 40 + text_width(one.name, FONT)


def path(
    x: Series, y: Series, below: str, beside: str, names: Sequence[str], *, width: float = WIDTH, height: float = HEIGHT
) -> Plot:
    """Two numbers that move together, step by step, with a bar each for their bands.

    Args:
        x: from left to right.
        y: from below upwards.
        below: what x is.
        beside: what y is.
        names: of the steps.
        width: of the picture.
        height: of the picture.
    """
    (left, right), (bottom, top) = _axes(width, height)
    wide = [part for part in (x.values, x.low, x.high) if part is not None]
    high = [part for part in (y.values, y.low, y.high) if part is not None]
    across_all, up_all = np.concatenate(wide), np.concatenate(high)
    across = spanning(across_all, left, right, logarithmic=worth_logarithm(across_all))
    up = spanning(up_all, bottom, top, logarithmic=worth_logarithm(up_all))
    picture = Picture(width, height, f"{beside} against {below}, step by step")
    frame(picture, across, up, below, beside)
    held = [n for n in range(len(names)) if np.isfinite(x.values[n]) and np.isfinite(y.values[n])]
    at = {n: (across.at(float(x.values[n])), up.at(float(y.values[n]))) for n in held}
    for n in held:
        picture.shapes += _bars(x, y, across, up, n, at[n])
    if len(held) > 1:
        picture.shapes.append(straight(*(at[n] for n in held), paint="op1", width=1.6))
    picture.shapes.append(Points(tuple(at.values()), "op1", 6.0))
    for n in {held[0], held[-1]} if held else ():
        picture.shapes.append(ring(*at[n]))
        near_end = at[n][0] > (left + right) / 2
        anchor, step = ("end", -9) if near_end else ("start", 9)
        picture.shapes.append(Words(at[n][0] + step, at[n][1] - 9, names[n], FONT, anchor, "accent", True))
    return Plot(picture, _left_out(len(names) - len(held), len(names), "not finite").strip())


def _bars(x: Series, y: Series, across: Axis, up: Axis, n: int, at: tuple[float, float]) -> list[Shape]:
    found: list[Shape] = []
    if x.low is not None and x.high is not None and np.isfinite([x.low[n], x.high[n]]).all():
        found.append(straight((across.at(float(x.low[n])), at[1]), (across.at(float(x.high[n])), at[1]), paint="soft"))
    if y.low is not None and y.high is not None and np.isfinite([y.low[n], y.high[n]]).all():
        found.append(straight((at[0], up.at(float(y.low[n]))), (at[0], up.at(float(y.high[n]))), paint="soft"))
    return found


def histogram(
    values: Numbers, below: str, *, marked: float | None = None, width: float = WIDTH, height: float = 220.0
) -> Plot:
    """How many there are of what size.

    Args:
        values: any; what is not finite is said.
        below: what they are.
        marked: where a line stands; None for none.
        width: of the picture.
        height: of the picture.
    """
    finite = values[np.isfinite(values)]
    (left, right), (bottom, top) = _axes(width, height)
    across = spanning(finite, left, right, logarithmic=worth_logarithm(finite))
    space = np.geomspace if across.logarithmic else np.linspace
    edges = space(across.low, across.high, BINS + 1)
    counts, _ = np.histogram(finite, edges)
    up = Axis(0.0, 1.05 * max(int(counts.max(initial=0)), 1), bottom, top)
    picture = Picture(width, height, f"histogram of {below}")
    frame(picture, across, up, below, "architectures")
    for count, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            x, y = across.at(low), up.at(count)
            name = f"{count:,} from {low:.4g} to {high:.4g}"
            picture.shapes.append(Box(x, y, max(across.at(high) - x - 0.6, 0.6), bottom - y, "op1", name=name))
    if marked is not None and np.isfinite(marked):
        x = across.at(marked)
        picture.shapes.append(straight((x, bottom), (x, top), paint="accent", width=2.0))
    return Plot(picture, _left_out(len(values) - len(finite), len(values), "not finite").strip())


def matrix(values: Float[np.ndarray, "n n"], label: str, *, side: float = 150.0) -> Picture:
    """A kernel as a map of colours, from its smallest entry, blue, to its largest, yellow.

    Args:
        values: (n, n).
        label: what it is.
        side: of the map.
    """
    n = len(values)
    picture = Picture(side, side, label)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    step = side / n
    for row in range(n):
        for column in range(n):
            value = float(values[row, column])
            share = (value - low) / (high - low) if high > low and np.isfinite(value) else 0.0
            box = Box(column * step, row * step, step + 0.3, step + 0.3, heat(share), name=f"{value:.4g}")
            picture.shapes.append(box)
    return picture
