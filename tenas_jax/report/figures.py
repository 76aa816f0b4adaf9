"""Pictures as files: the shapes of a page, drawn by Matplotlib as SVG, PDF and PNG."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from tenas_jax.errors import InputError
from tenas_jax.records.files import make_folder, replace_file
from tenas_jax.report.paints import LIGHT
from tenas_jax.report.shapes import Box, Line, Picture, Points, Shape, Words
from tenas_jax.report.svg import ARROW

FORMATS = (".svg", ".pdf", ".png")
INCH = 96.0  # pixels, as in CSS
POINT = INCH / 72  # pixels


def write_figures(folder: Path, pictures: Mapping[str, Picture]) -> list[Path]:
    """Writes every picture as SVG, PDF and PNG.

    Args:
        folder: is made where it is missing.
        pictures: by the names of the files.

    Returns:
        The files.

    Raises:
        InputError: where Matplotlib is not installed, or a file cannot be written.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise InputError(
            "figures are drawn by Matplotlib, which is not installed: python -m pip install matplotlib."
        ) from error
    files = []
    try:
        make_folder(folder)
        for name, picture in pictures.items():
            figure = _figure(picture)
            for suffix in FORMATS:
                drawn = BytesIO()
                figure.savefig(drawn, format=suffix[1:], dpi=2 * INCH)
                files.append(folder / f"{name}{suffix}")
                replace_file(files[-1], drawn.getvalue())
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); choose another --figures.") from error
    return files


def _figure(picture: Picture) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(picture.width / INCH, picture.height / INCH), facecolor=LIGHT["page"])
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, picture.width)
    axes.set_ylim(picture.height, 0)
    axes.axis("off")
    for order, shape in enumerate(picture.shapes):
        _draw(axes, shape, order)
    return figure


def _draw(axes: Any, shape: Shape, order: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    if isinstance(shape, Line):
        _line(axes, shape, order)
    elif isinstance(shape, Box):
        rounding = min(shape.radius, shape.width / 2, shape.height / 2)
        style = f"round,pad=0,rounding_size={rounding}" if rounding else "square,pad=0"
        edge = _colour(shape.paint) if shape.paint else "none"
        patch = FancyBboxPatch(
            (shape.x, shape.y), shape.width, shape.height, boxstyle=style, facecolor=_colour(shape.fill),
            edgecolor=edge, linewidth=1 / POINT, zorder=order,
        )  # fmt: skip
        axes.add_patch(patch)
    elif isinstance(shape, Words):
        # Dollar signs and braces are letters here: nothing is read as mathematics.
        axes.text(
            shape.x, shape.y, shape.text, fontsize=shape.size / POINT, color=_colour(shape.paint), zorder=order,
            ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor], va="baseline", parse_math=False,
            fontweight="bold" if shape.bold else "normal",
        )  # fmt: skip
    else:
        _points(axes, shape, order)


def _line(axes: Any, shape: Line, order: int) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Outline

    vertices, codes = [shape.start], [Outline.MOVETO]
    for segment in shape.segments:
        points = [*(segment.controls or ()), segment.end]
        vertices += points
        codes += [Outline.CURVE4] * 3 if segment.controls else [Outline.LINETO]
    width = shape.width / POINT
    style: Any = (0, tuple(part / shape.width for part in shape.dash)) if shape.dash else "solid"
    axes.add_patch(
        PathPatch(
            Outline(vertices, codes), facecolor=_colour(shape.fill) if shape.fill else "none", linewidth=width,
            edgecolor=_colour(shape.paint) if width else "none", linestyle=style, capstyle="butt", zorder=order,
        )
    )  # fmt: skip
    if shape.arrow:
        x, y = shape.segments[-1].end
        corners = [(x, y), (x - ARROW, y - ARROW * 0.55), (x - ARROW, y + ARROW * 0.55)]
        axes.add_patch(Polygon(corners, facecolor=_colour(shape.paint), edgecolor="none", zorder=order))


def _points(axes: Any, shape: Points, order: int) -> None:
    across, down = zip(*shape.places, strict=True) if shape.places else ((), ())
    # Pixels within the file: thousands of shapes would make it slow to open.
    axes.scatter(
        across, down, s=(shape.size / POINT) ** 2, color=_colour(shape.paint), linewidths=0,
        alpha=0.35 if shape.faint else 1.0, rasterized=len(across) > 500, zorder=order,
    )  # fmt: skip


def _colour(name: str) -> str:
    return name if name.startswith("#") else LIGHT[name]
