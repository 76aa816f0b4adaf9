"""Drawings of cells: nothing hides anything, by geometry, for every cell of NAS-Bench-201 and many of DARTS."""

import itertools
import xml.etree.ElementTree as ElementTree

import jax
import numpy as np
import pytest

from tenas_jax import DARTS, NAS_BENCH_201
from tenas_jax.errors import InputError
from tenas_jax.report import cells, figures, layout, paints, svg
from tenas_jax.report.shapes import Box, Line, Picture, Points, Segment, Words, text_width

SHARES = np.linspace(0, 1, 9)[1:]
TEXT_WIDTH = 0.58  # of a character over its size: "sep_conv" in DejaVu Sans, the widest of the usual fonts
PHONE = 360 - 2 * 12  # pixels of a phone that a page leaves for a picture


def along(line):
    """Points of a line, close to each other."""
    points, start = [line.start], line.start
    for end, controls in line.segments:
        path = np.array([start, *(controls or ()), end], float)
        t = SHARES[:, None]
        if controls:
            weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            points += list(sum(w * p for w, p in zip(weights, path, strict=True)))
        else:
            points += list((1 - t) * path[0] + t * path[1])
        start = end
    return np.array(points)


def faults(drawn, size=layout.USUAL.font):
    """What lies on what it should not, in words."""
    found = []
    boxes = [
        label and (
            label.middle - TEXT_WIDTH * size * max(map(len, label.lines)) / 2, label.top,
            label.middle + TEXT_WIDTH * size * max(map(len, label.lines)) / 2, label.bottom,
        )
        for label in drawn.labels
    ]  # fmt: skip
    paths = [along(line) for line in drawn.lines]
    for number, box in enumerate(boxes):
        if box is None:
            continue
        left, top, right, bottom = box
        for other, path in enumerate(paths):
            x, y = path.T
            if ((left < x) & (x < right) & (top < y) & (y < bottom)).any():
                found.append(f"edge {other} crosses label {number}")
            # Straight stretches have few points: also where they pass the middle of the label.
            for a, b in itertools.pairwise(path):
                if a[0] <= left and b[0] >= right and top < a[1] + (b[1] - a[1]) / 2 < bottom:
                    found.append(f"edge {other} passes label {number}")
        for other in range(number):
            if boxes[other] and overlap(box, boxes[other]):
                found.append(f"labels {number} and {other} overlap")
        for node in drawn.nodes:
            around = node.x - node.half, node.y - layout.RADIUS, node.x + node.half, node.y + layout.RADIUS
            if overlap(box, around):
                found.append(f"label {number} lies on node {node.name}")
        if left < 0 or top < 0 or right > drawn.width or bottom > drawn.height:
            found.append(f"label {number} is cut")
    for number, path in enumerate(paths):
        x, y = path.T
        if (x < 0).any() or (y < 0).any() or (x > drawn.width).any() or (y > drawn.height).any():
            found.append(f"edge {number} is cut")
        for node in drawn.nodes:
            if ((abs(x - node.x) < node.half - 0.5) & (abs(y - node.y) < layout.RADIUS - 0.5)).any():
                found.append(f"edge {number} crosses node {node.name}")
    for one, other in itertools.combinations(drawn.nodes, 2):
        if abs(one.x - other.x) < one.half + other.half and abs(one.y - other.y) < 2 * layout.RADIUS:
            found.append(f"nodes {one.name} and {other.name} overlap")
    return found


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_the_geometry_test_can_fail():
    """A label in the way, a node in the way, a picture that is too small."""
    drawn, _ = cells.layout_of(NAS_BENCH_201, np.full(6, 3))
    assert faults(drawn) == []
    low = drawn.labels[0]._replace(top=drawn.labels[0].top + 20, bottom=drawn.labels[0].bottom + 20)
    assert any("label 0" in fault for fault in faults(drawn._replace(labels=[low, *drawn.labels[1:]])))
    assert "edge 2 is cut" in faults(drawn._replace(width=drawn.width / 2))
    moved = drawn.nodes[1]._replace(x=drawn.nodes[2].x - 40)
    assert any("node" in fault for fault in faults(drawn._replace(nodes=[drawn.nodes[0], moved, *drawn.nodes[2:]])))


SIZES = pytest.mark.parametrize("sizes", [layout.USUAL, layout.COMPACT], ids=["usual", "compact"])


@SIZES
def test_all_cells_of_nasbench201(sizes):
    """All 15,625: where two have the same edges and labels as wide, their drawings have the same geometry."""
    choices = NAS_BENCH_201.choices(NAS_BENCH_201.enumerated())[:, 0]
    assert len(choices) == 15_625
    lengths = {o: tuple(map(len, cells.in_lines(o, sizes.lines))) for o in NAS_BENCH_201.operators}
    kinds = {}
    for choice in choices:
        kinds.setdefault(tuple(o != 0 and lengths[NAS_BENCH_201.operators[o]] for o in choice), choice)
    for choice in kinds.values():
        drawn, edges = cells.layout_of(NAS_BENCH_201, choice, sizes)
        assert len(edges) == (choice != 0).sum()
        assert faults(drawn, sizes.font) == [], choice
        assert sizes == layout.USUAL or sizes.font * min(1, PHONE / drawn.width) >= 10
    assert len(kinds) >= 2**6


@SIZES
def test_a_thousand_random_cells_of_darts(sizes):
    choices = DARTS.choices(DARTS.sample(jax.random.key(0), 500)).reshape(-1, len(DARTS.edges))
    assert len(choices) == 1000
    for choice in choices:
        drawn, edges = cells.layout_of(DARTS, choice, sizes)
        assert len(edges) == 8
        assert faults(drawn, sizes.font) == [], choice
        # On a phone.
        assert sizes == layout.USUAL or sizes.font * min(1, PHONE / drawn.width) >= 9


@pytest.mark.parametrize("space", [NAS_BENCH_201, DARTS], ids=lambda space: space.name)
def test_supernets(space):
    picture = cells.supernet_picture(space, "cell")
    words = [s for s in picture.shapes if isinstance(s, Words)]
    assert sum("label" in s.data and s.text == "left" for s in words) == len(space.edges)
    assert [s.text for s in words][-len(cells.node_names(space)) :] == cells.node_names(space)


def test_node_names():
    assert cells.node_names(NAS_BENCH_201) == ["in", "1", "2", "out"]
    assert cells.node_names(DARTS) == ["c_{k-2}", "c_{k-1}", "1", "2", "3", "4", "out"]


@pytest.mark.parametrize("theme", [paints.LIGHT, paints.DARK], ids=["light", "dark"])
def test_contrast(theme):
    """Lines and text on the page and on its panels; dark text on the heat map."""
    readable = {name: colour for name, colour in theme.items() if name not in ("page", "grid", "panel")}
    assert len(readable) == 3 + paints.OPERATORS
    for name, colour in readable.items():
        assert paints.contrast(colour, theme["page"]) >= 4.5, name
        assert paints.contrast(colour, theme["panel"]) >= 4.5, name
    for share in (0.0, 0.5, 1.0):
        assert paints.contrast(paints.heat(share), paints.LIGHT["ink"]) >= 4.5


def test_contrast_is_that_of_wcag():
    assert paints.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert paints.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the well-known near miss


def test_operators_are_told_apart_without_colour():
    assert len(set(paints.DASHES)) == paints.OPERATORS >= max(len(s.operators) for s in (NAS_BENCH_201, DARTS))


EVERYTHING = Picture(
    100, 80, "a <label>",
    [
        Line((5, 5), (Segment((50, 5)), Segment((90, 60), ((60, 5), (80, 60)))), "op1", 2, (4, 2), True, name="<b>"),
        Box(10, 20, 30, 20, "panel", "ink", 4, name="a & b"),
        Words(20, 35, "<script>$x_1$", 10, "middle", data={"row": '"1"'}),
        Points(((1, 2), (3, 4)), "op2"),
    ],
)  # fmt: skip


def test_svg_is_well_formed_and_text_stays_text():
    text = svg.to_svg(EVERYTHING, "wide")
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == "a <label>"
    assert [e.text for e in root.iter("title")] == ["<b>", "a & b"]
    (words,) = root.iter("text")
    assert (words.text, words.get("data-row")) == ("<script>$x_1$", '"1"')
    assert "<script>" not in text
    assert [e.get("d") for e in root.iter("path")][-1] == "M1 2h0M3 4h0"


def test_figures_are_the_same_shapes(tmp_path):
    pytest.importorskip("matplotlib")
    cell = cells.cell_picture(NAS_BENCH_201, np.array([3, 1, 2, 4, 0, 3]), "cell")
    files = figures.write_figures(tmp_path / "figures", {"everything": EVERYTHING, "cell": cell})
    assert [path.name for path in files] == [f"{n}.{s}" for n in ("everything", "cell") for s in ("svg", "pdf", "png")]
    assert files[1].read_bytes().startswith(b"%PDF")
    drawn = files[3].read_text()
    lines = [shape for shape in cell.shapes if isinstance(shape, Line)]
    assert len(lines) == 5
    for line in lines:
        assert paints.LIGHT[line.paint] in drawn

    from matplotlib.image import imread

    picture = imread(files[5])
    assert picture.shape[:2] == (int(2 * cell.height), int(2 * cell.width))
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 20


def test_figures_that_cannot_be_written(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        figures.write_figures(tmp_path / "file" / "inside", {"everything": EVERYTHING})


def test_widths_leave_room():
    assert text_width("x" * 10, 10) == pytest.approx(58)
