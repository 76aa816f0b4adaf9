"""Shapes as SVG within a page: paints are the page's variables, so that a drawing follows light and dark."""

from html import escape

from tenas_jax.report.shapes import Box, Line, Picture, Points, Shape, Words

ARROW = 7.0


def to_svg(picture: Picture, css: str = "") -> str:
    """A picture as an `svg` element.

    Args:
        picture: the shapes.
        css: class of the element.

    Returns:
        SVG; every text in it is escaped.
    """
    size = f'viewBox="0 0 {_n(picture.width)} {_n(picture.height)}" width="{_n(picture.width)}"'
    shown = f'<svg class="{escape(css)}" {size} role="img" aria-label="{escape(picture.label)}"{_data(picture.data)}>'
    return shown + "".join(_shape(shape) for shape in picture.shapes) + "</svg>"


def _shape(shape: Shape) -> str:
    if isinstance(shape, Line):
        return _line(shape)
    if isinstance(shape, Box):
        return _box(shape)
    return _words(shape) if isinstance(shape, Words) else _points(shape)


def _line(shape: Line) -> str:
    path = f"M{_p(shape.start)}" + "".join(
        f"C{_p(s.controls[0])} {_p(s.controls[1])} {_p(s.end)}" if s.controls else f"L{_p(s.end)}"
        for s in shape.segments
    )
    dash = f' stroke-dasharray="{" ".join(_n(part) for part in shape.dash)}"' if shape.dash else ""
    fill = paint(shape.fill) if shape.fill else "none"
    inner = f"<title>{escape(shape.name)}</title>" if shape.name else ""
    stroke = f'stroke="{paint(shape.paint)}" stroke-width="{_n(shape.width)}"' if shape.width else ""
    drawn = f'<path d="{path}" fill="{fill}" {stroke}{dash}{_data(shape.data)}>{inner}</path>'
    return drawn + (_arrow(shape) if shape.arrow else "")


def _arrow(shape: Line) -> str:
    """A triangle of its own: a marker could not take the paint of its line everywhere."""
    x, y = shape.segments[-1].end
    return (
        f'<path d="M{_n(x)} {_n(y)}L{_n(x - ARROW)} {_n(y - ARROW * 0.55)}V{_n(y + ARROW * 0.55)}Z" '
        f'fill="{paint(shape.paint)}"{_data(shape.data)}/>'
    )


def _box(shape: Box) -> str:
    stroke = f' stroke="{paint(shape.paint)}"' if shape.paint else ""
    radius = f' rx="{_n(shape.radius)}"' if shape.radius else ""
    inner = f"<title>{escape(shape.name)}</title>" if shape.name else ""
    return (
        f'<rect x="{_n(shape.x)}" y="{_n(shape.y)}" width="{_n(shape.width)}" height="{_n(shape.height)}"{radius} '
        f'fill="{paint(shape.fill)}"{stroke}{_data(shape.data)}>{inner}</rect>'
    )


def _words(shape: Words) -> str:
    anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
    weight = ' font-weight="600"' if shape.bold else ""
    return (
        f'<text x="{_n(shape.x)}" y="{_n(shape.y)}" font-size="{_n(shape.size)}"{anchor}{weight} '
        f'fill="{paint(shape.paint)}"{_data(shape.data)}>{escape(shape.text)}</text>'
    )


def _points(shape: Points) -> str:
    """One path of lines without length, whose round ends are the dots: thousands of elements would be slow."""
    path = "".join(f"M{_p(place)}h0" for place in shape.places)
    faint = ' stroke-opacity=".35"' if shape.faint else ""
    return (
        f'<path d="{path}" fill="none" stroke="{paint(shape.paint)}" stroke-width="{_n(shape.size)}" '
        f'stroke-linecap="round"{faint}{_data(shape.data)}/>'
    )


def paint(name: str) -> str:
    """A paint as CSS.

    Args:
        name: of a paint, or a colour.
    """
    return name if name.startswith("#") else f"var(--{name})"


def _data(data) -> str:
    return "".join(f' data-{escape(name)}="{escape(value)}"' for name, value in data.items())


def _p(point) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
