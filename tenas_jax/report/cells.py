"""Cells as pictures: one architecture, or a supernet whose edges fade as operators go."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from tenas_jax.report.layout import NODE_FONT, RADIUS, USUAL, Edge, Layout, Sizes, place
from tenas_jax.report.paints import operator_dash, operator_paint
from tenas_jax.report.shapes import Box, Line, Picture, Segment, Words
from tenas_jax.spaces.cell_graph import CellGraph

OUTPUT = "out"


def node_names(space: CellGraph) -> list[str]:
    """Names of a cell's nodes as DARTS prints them: c_{k-2} and c_{k-1} are the outputs of the two cells before.

    Args:
        space: the search space.
    """
    inputs = ["in"] if space.inputs == 1 else [f"c_{{k-{space.inputs - n}}}" for n in range(space.inputs)]
    inner = [str(node - space.inputs + 1) for node in space.inner_nodes]
    return [*inputs, *inner, OUTPUT] if concatenates(space) else [*inputs, *inner[:-1], OUTPUT]


def edge_name(space: CellGraph, source: int, target: int) -> str:
    """An edge by the names of its nodes.

    Args:
        space: the search space.
        source: number of a node.
        target: number of a node.
    """
    if space.decisions:
        return space.decisions[source].name
    names = node_names(space)
    return f"{names[source]} → {names[target]}"


def concatenates(space: CellGraph) -> bool:
    """Whether a cell's output is made of all its inner nodes, and so is no node of its own.

    Args:
        space: the search space.
    """
    family = getattr(space, "family", None)
    return family.concatenates if family else space.inputs > 1


def in_lines(name: str, most: int = 2) -> tuple[str, ...]:
    """A name on lines of about one length, broken at underscores.

    Args:
        name: of an operator.
        most: lines.
    """
    parts = name.split("_")
    if len(parts) == 1 or most == 1:
        return (name,)
    first = min(range(1, len(parts)), key=lambda n: (max(map(len, _split(parts, n))), -n))
    head, tail = _split(parts, first)
    return (head, *in_lines(tail, most - 1))


def _split(parts: Sequence[str], first: int) -> tuple[str, str]:
    return "_".join(parts[:first]), "_".join(parts[first:])


def layout_of(space: CellGraph, choice: Int[np.ndarray, " edges"], sizes: Sizes = USUAL) -> tuple[Layout, list[int]]:
    """Where a cell of one architecture is drawn, and which edges of the space its first lines are.

    Args:
        space: the search space.
        choice: operator numbers of the edges.
        sizes: of letters and ways.
    """
    drawn = [edge for edge in range(len(space.edges)) if choice[edge] != space.none]
    edges = [Edge(*space.edges[edge], in_lines(space.operators[int(choice[edge])], sizes.lines)) for edge in drawn]
    return place(node_names(space), [*edges, *_to_output(space)], space.inputs, sizes), drawn


def _to_output(space: CellGraph) -> list[Edge]:
    """Edges without an operator: what is concatenated."""
    return [Edge(node, space.nodes) for node in space.inner_nodes] if concatenates(space) else []


def cell_picture(
    space: CellGraph, choice: Int[np.ndarray, " edges"], name: str, cell: int = 0, sizes: Sizes = USUAL
) -> Picture:
    """A cell of one architecture: operators told apart by label, colour and dashes.

    Args:
        space: the search space.
        choice: operator numbers of the edges.
        name: of the cell.
        cell: its number, for the page's script.
        sizes: of letters and ways.
    """
    layout, drawn = layout_of(space, choice, sizes)
    picture = Picture(layout.width, layout.height, f"graph of the {name}")
    for number, line in enumerate(layout.lines):
        if number >= len(drawn):
            picture.shapes.append(line._replace(paint="soft", width=1.2, name="concatenated"))
            continue
        operator = int(choice[drawn[number]])
        source, target = space.edges[drawn[number]]
        picture.shapes.append(
            line._replace(
                paint=operator_paint(operator), width=2.4, dash=operator_dash(operator),
                name=f"{space.operators[operator]}, {edge_name(space, source, target)}",
                data={"edge": f"{cell}.{drawn[number]}"},
            )
        )  # fmt: skip
    paints = {n: operator_paint(int(choice[edge])) for n, edge in enumerate(drawn)}
    _finish(picture, layout, paints, sizes)
    return picture


def supernet_picture(space: CellGraph, name: str, cell: int = 0, sizes: Sizes = USUAL) -> Picture:
    """A cell with all its edges; the page's script writes on each what is left and lets it fade.

    Args:
        space: the search space.
        name: of the cell.
        cell: its number.
        sizes: of letters and ways.
    """
    names = [in_lines(operator, sizes.lines) for operator in space.operators]
    longest = max(names, key=lambda lines: (len(lines), max(map(len, lines))))
    edges = [Edge(*edge, longest) for edge in space.edges]
    layout = place(node_names(space), [*edges, *_to_output(space)], space.inputs, sizes)
    picture = Picture(layout.width, layout.height, f"supernet of the {name}", data={"cell": str(cell)})
    for number, line in enumerate(layout.lines):
        data = {"edge": f"{cell}.{number}"} if number < len(edges) else {}
        paint, width = ("ink", 3.0) if data else ("soft", 1.2)
        picture.shapes.append(line._replace(paint=paint, width=width, data=data))
    whole = f"{len(space.carriers)} left"
    for number, label in enumerate(layout.labels[: len(edges)]):
        if label:
            for place_of, text in enumerate(_padded(in_lines(whole.replace(" ", "_")), len(label.lines))):
                y = label.top + sizes.leading * (place_of + 1) - 3
                data = {"label": f"{cell}.{number}", "line": str(place_of)}
                picture.shapes.append(Words(label.middle, y, text, sizes.font, "middle", data=data))
    _nodes(picture, layout)
    return picture


def _padded(lines: tuple[str, ...], count: int) -> list[str]:
    """The last lines are next to the edge."""
    return [""] * (count - len(lines)) + list(lines)


def _finish(picture: Picture, layout: Layout, paints: dict[int, str], sizes: Sizes) -> None:
    for number, label in enumerate(layout.labels):
        if label:
            for row, text in enumerate(label.lines):
                y = label.top + sizes.leading * (row + 1) - 3
                picture.shapes.append(Words(label.middle, y, text, sizes.font, "middle", paints.get(number, "ink")))
    _nodes(picture, layout)


def _nodes(picture: Picture, layout: Layout) -> None:
    for node in layout.nodes:
        corner = node.x - node.half, node.y - RADIUS
        picture.shapes.append(Box(*corner, 2 * node.half, 2 * RADIUS, "panel", "ink", RADIUS, name=f"node {node.name}"))
        picture.shapes.append(Words(node.x, node.y + NODE_FONT * 0.35, node.name, NODE_FONT, "middle"))


def thumbnail(space: CellGraph, choice: Int[np.ndarray, " edges"], name: str) -> Picture:
    """A small drawing without words, for lists: dashes and colours as in the large one.

    Args:
        space: the search space.
        choice: operator numbers of the edges.
        name: of the architecture.
    """
    step, rise, base = 26.0, 6.0, 22.0
    width = step * (space.nodes - 1) + 16
    picture = Picture(width, 42.0, name)
    spans = [target - source for source, target in space.edges]
    for (source, target), operator, span in zip(space.edges, choice.tolist(), spans, strict=True):
        if operator == space.none:
            continue
        left, right = 8 + step * source, 8 + step * target
        bend = 0.0 if span == 1 else (-1 if source % 2 == 0 else 1) * rise * span
        curve = Segment((right, base), ((left + step / 2, base + 1.3 * bend), (right - step / 2, base + 1.3 * bend)))
        paint, dash = operator_paint(operator), operator_dash(operator)
        picture.shapes.append(Line((left, base), (curve,), paint, 2.0, dash, name=space.operators[operator]))
    for node in range(space.nodes):
        picture.shapes.append(Box(8 + step * node - 3, base - 3, 6, 6, "ink", None, 3))
    return picture
