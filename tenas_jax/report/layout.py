"""Where the nodes and edges of a cell are drawn: columns from left to right, and lanes.

A node stands in the column after the last of those that lead to it. An edge runs along one lane that is free in all the
columns it passes, and changes lanes only right after its first node and right before its last one; its label stands above
its lane, between those two places. So no label can lie on an edge, whatever the cell (after Sugiyama, Tagawa and Toda 1981,
with lanes of their own instead of virtual nodes).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from tenas_jax.report.shapes import Line, Point, Segment, text_width

RADIUS = 13.0  # of a node
NODE_FONT = 13.0
MARGIN = 8.0
THIN, AIR = 15.0, 9.0  # height of a lane without labels; what is left free above a label


class Sizes(NamedTuple):
    """How large a drawing's parts are.

    Attributes:
        font: of labels.
        turn: width of the place in which an edge changes lanes, an arrowhead included.
        lines: the most that a label has.
    """

    font: float
    turn: float
    lines: int

    @property
    def leading(self) -> float:
        """From one line of a label to the next."""
        return self.font + 1


USUAL = Sizes(13.0, 22.0, 2)
COMPACT = Sizes(16.0, 11.0, 3)
"""For a phone, where a drawing is shrunk to its width: large letters on narrow ways."""


class Edge(NamedTuple):
    """An edge that is drawn.

    Attributes:
        source: number of a node.
        target: number of a node.
        label: lines of text; none for an edge without one.
    """

    source: int
    target: int
    label: tuple[str, ...] = ()


class Label(NamedTuple):
    """Where a label stands.

    Attributes:
        left: of the room it has.
        top: of its first line.
        right: of the room it has.
        bottom: of its last line.
        lines: its text.
    """

    left: float
    top: float
    right: float
    bottom: float
    lines: tuple[str, ...]

    @property
    def middle(self) -> float:
        """Of its text, from left to right."""
        return (self.left + self.right) / 2


class Node(NamedTuple):
    """Where a node stands.

    Attributes:
        x: of its centre.
        y: of its centre.
        half: of its width.
        name: its text.
    """

    x: float
    y: float
    half: float
    name: str


class Layout(NamedTuple):
    """A drawn cell.

    Attributes:
        width: of everything.
        height: of everything.
        nodes: in order.
        lines: of the edges, in order.
        labels: of the edges, in order; None for an edge without one.
    """

    width: float
    height: float
    nodes: list[Node]
    lines: list[Line]
    labels: list[Label | None]


def columns(names: Sequence[str], edges: Sequence[Edge], inputs: int) -> list[int]:
    """The column of every node: the longest way to it, and the last one for the last node.

    Args:
        names: of the nodes, the inputs first; an edge leads from a lower number to a higher one.
        edges: that are drawn.
        inputs: how many nodes are inputs.
    """
    found = [0] * inputs + [1] * (len(names) - inputs)
    for edge in sorted(edges, key=lambda edge: edge.target):
        found[edge.target] = max(found[edge.target], found[edge.source] + 1)
    found[-1] = max(max(found[:-1]) + 1, found[-1])
    return found


class _Lanes:
    """Which lanes are taken: at a column by a node, between two columns by edges."""

    def __init__(self, column: list[int]):
        self._taken: set[tuple[str, int, int]] = set()
        self.of_node = [0] * len(column)
        beside = defaultdict(list)
        for node, place in enumerate(column):
            beside[place].append(node)
        for place, nodes in beside.items():
            for number, node in enumerate(nodes):
                self.of_node[node] = 0 if len(nodes) == 1 else 2 * number - (len(nodes) - 1)
                self._taken.add(("column", place, self.of_node[node]))

    def take(self, first: int, last: int, wanted: float, labelled: bool) -> int:
        """The free lane that is nearest to the wanted one, now taken from one column to another."""
        passed = [("gap", gap) for gap in range(first, last)] + [("column", place) for place in range(first + 1, last)]
        order = sorted(range(-60, 61), key=lambda lane: (abs(lane - wanted), not labelled and lane < wanted, lane))
        lane = next(lane for lane in order if not any((*place, lane) in self._taken for place in passed))
        self._taken.update((*place, lane) for place in passed)
        return lane


def place(names: Sequence[str], edges: Sequence[Edge], inputs: int, sizes: Sizes = USUAL) -> Layout:
    """Draws a cell.

    Args:
        names: of the nodes, the inputs first, the output last.
        edges: that are drawn, each from a lower number to a higher one.
        inputs: how many nodes are inputs.
        sizes: of letters and ways.
    """
    column = columns(names, edges, inputs)
    lanes = _Lanes(column)
    order = sorted(range(len(edges)), key=lambda e: (column[edges[e].target] - column[edges[e].source], edges[e]))
    lane = [0] * len(edges)
    for number in order:
        source, target, label = edges[number]
        wanted = (lanes.of_node[source] + lanes.of_node[target]) / 2
        lane[number] = lanes.take(column[source], column[target], wanted, bool(label))
    at = _heights(lanes.of_node, lane, edges, sizes)
    halves = [max(RADIUS, text_width(name, NODE_FONT) / 2 + 4) for name in names]
    centres, rooms, width = _widths(column, halves, edges, sizes)
    nodes = [Node(centres[column[n]], at[lanes.of_node[n]], halves[n], name) for n, name in enumerate(names)]
    ports = _ports(edges, lane, nodes)
    lines = [_line(*ports[number], at[lane[number]], sizes.turn) for number in range(len(edges))]
    labels = []
    for number, edge in enumerate(edges):
        left, right = rooms[column[edge.source]]
        bottom = at[lane[number]] - 4
        top = bottom - sizes.leading * len(edge.label)
        labels.append(Label(left, top, right, bottom, edge.label) if edge.label else None)
    return Layout(width, max(at.values()) + RADIUS + MARGIN, nodes, lines, labels)


def _heights(of_node: list[int], lane: list[int], edges: Sequence[Edge], sizes: Sizes) -> dict[int, float]:
    """The y of every lane that is used, from the top: as high as its labels and nodes need."""
    needs: dict[int, float] = defaultdict(lambda: THIN)
    for number, edge in zip(lane, edges, strict=True):
        if edge.label:
            needs[number] = max(needs[number], sizes.leading * len(edge.label) + AIR + 4)
    held, found, y = set(of_node), {}, MARGIN
    used = sorted(held | set(lane))
    for before, number in zip([None, *used], used, strict=False):
        room = max(needs[number], RADIUS + MARGIN if number in held else 0.0)
        # Between the circle of a node and the line or label of the next lane.
        room += RADIUS - 4 if before in held else 0.0
        y += room if before is not None else max(room - AIR, RADIUS)
        found[number] = y
    return found


def _widths(column: list[int], halves: list[float], edges: Sequence[Edge], sizes: Sizes):
    """The x of every column, the room for labels after it, and the width of all."""
    last = max(column)
    half = [
        max((h for h, c in zip(halves, column, strict=True) if c == place), default=0.0) for place in range(last + 1)
    ]
    wide = [0.0] * last
    for edge in edges:
        for text in edge.label:
            wide[column[edge.source]] = max(wide[column[edge.source]], text_width(text, sizes.font))
    x, centres, rooms = MARGIN, [], []
    for place in range(last + 1):
        centres.append(x + half[place])
        x += 2 * half[place]
        if place < last:
            # The last place in which edges turn is narrower where labels follow none.
            rooms.append((x + sizes.turn / 2, x + sizes.turn / 2 + wide[place]))
            x += 1.5 * sizes.turn + wide[place]
    return centres, rooms, x + MARGIN


def _ports(edges: Sequence[Edge], lane: list[int], nodes: list[Node]) -> list[tuple[Point, Point]]:
    """Where every edge leaves and enters: spread over the node's side in the order of their lanes."""
    leaving, entering = defaultdict(list), defaultdict(list)
    for number in sorted(range(len(edges)), key=lambda n: lane[n]):
        leaving[edges[number].source].append(number)
        entering[edges[number].target].append(number)
    starts, ends = {}, {}
    for side, found, sign in ((leaving, starts, 1), (entering, ends, -1)):
        for node, numbers in side.items():
            step = min(7.0, 1.5 * RADIUS / max(len(numbers) - 1, 1))
            for place, number in enumerate(numbers):
                offset = (place - (len(numbers) - 1) / 2) * step
                found[number] = (nodes[node].x + sign * nodes[node].half, nodes[node].y + offset)
    return [(starts[number], ends[number]) for number in range(len(edges))]


def _line(start: Point, end: Point, height: float, turn: float) -> Line:
    """From a node's side to the lane, along it, and to the other node's side."""
    out, into = start[0] + turn / 2, end[0] - turn
    segments = [
        Segment((out, height), ((start[0] + turn / 4, start[1]), (out - turn / 4, height))),
        Segment((into, height)),
        Segment((end[0] - 7, end[1]), ((into + turn / 3, height), (end[0] - 7 - turn / 3, end[1]))),
        Segment(end),
    ]
    return Line(start, tuple(segments), arrow=True)
