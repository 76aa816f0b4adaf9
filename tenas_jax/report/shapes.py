"""Pictures as plain shapes: what is drawn is decided once, and `svg.py` and `figures.py` put it on a page or into a file.

Lengths are in pixels, from the upper left corner; paints are names, see `paints.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]
WIDE = 0.58  # width of a character over its size: of DejaVu Sans, the widest of the usual fonts, in names of operators
NO_DATA: Mapping[str, str] = {}


class Segment(NamedTuple):
    """A part of a line: straight, or a cubic Bézier curve.

    Attributes:
        end: where it ends; it starts where the one before it ends.
        controls: the two control points of a curve; none of a straight line.
    """

    end: Point
    controls: tuple[Point, Point] | None = None


class Line(NamedTuple):
    """An open line, or a filled outline.

    Attributes:
        start: its first point.
        segments: in order.
        paint: of the stroke.
        width: of the stroke.
        dash: lengths of strokes and gaps; none for a solid line.
        arrow: whether it ends in an arrowhead.
        fill: paint of the inside; none for an open line.
        name: what it is, shown where a pointer rests on it.
        data: further attributes, for the page's script.
    """

    start: Point
    segments: tuple[Segment, ...]
    paint: str = "ink"
    width: float = 1.0
    dash: tuple[float, ...] = ()
    arrow: bool = False
    fill: str | None = None
    name: str = ""
    data: Mapping[str, str] = NO_DATA


class Box(NamedTuple):
    """A rectangle with round corners.

    Attributes:
        x: of its left side.
        y: of its upper side.
        width: from left to right.
        height: from top to bottom.
        fill: paint of the inside.
        paint: of the outline; none for no outline.
        radius: of the corners.
        name: what it is.
        data: further attributes, for the page's script.
    """

    x: float
    y: float
    width: float
    height: float
    fill: str = "page"
    paint: str | None = None
    radius: float = 0.0
    name: str = ""
    data: Mapping[str, str] = NO_DATA


class Words(NamedTuple):
    """A line of text.

    Attributes:
        x: of its anchor.
        y: of its baseline.
        text: any.
        size: of the font.
        anchor: which end of it is at x.
        paint: of the letters.
        bold: whether it is heavier.
        data: further attributes, for the page's script.
    """

    x: float
    y: float
    text: str
    size: float = 12.0
    anchor: Anchor = "start"
    paint: str = "ink"
    bold: bool = False
    data: Mapping[str, str] = NO_DATA


class Points(NamedTuple):
    """Many equal dots, one shape.

    Attributes:
        places: of their centres.
        paint: of all.
        size: diameter.
        faint: whether they let through what lies below.
        data: further attributes, for the page's script.
    """

    places: tuple[Point, ...]
    paint: str = "ink"
    size: float = 4.0
    faint: bool = False
    data: Mapping[str, str] = NO_DATA


Shape = Line | Box | Words | Points


@dataclass
class Picture:
    """Shapes on a rectangle.

    Attributes:
        width: in pixels.
        height: in pixels.
        label: what it shows, for who does not see it.
        shapes: the later ones lie on top.
        data: attributes of the whole.
    """

    width: float
    height: float
    label: str
    shapes: list[Shape] = field(default_factory=list)
    data: Mapping[str, str] = field(default_factory=dict)


def straight(*points: Point, paint: str = "ink", width: float = 1.0, dash: tuple[float, ...] = ()) -> Line:
    """A line through points.

    Args:
        *points: at least two.
        paint: of the stroke.
        width: of the stroke.
        dash: as of a `Line`.
    """
    return Line(points[0], tuple(Segment(point) for point in points[1:]), paint, width, dash)


def text_width(text: str, size: float) -> float:
    """About how wide a text is, for room to be left.

    Args:
        text: any.
        size: of its font.
    """
    return WIDE * size * len(text)
