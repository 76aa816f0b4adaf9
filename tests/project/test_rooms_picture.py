"""The picture of the rooms shows the imports of the package."""

import itertools
import re

import pytest

import docs_rooms

PICTURE = docs_rooms.PICTURE.read_text()


def test_the_picture_is_what_the_imports_say():
    assert docs_rooms.svg(docs_rooms.rooms(), docs_rooms.imported()) == PICTURE, "run benchmarks/docs_rooms.py"


def test_the_picture_shows_every_room_once():
    folders = {path.parent.name for path in docs_rooms.PACKAGE.glob("*/__init__.py")}
    assert sorted(re.findall(r">(\w+)/</text>", PICTURE)) == sorted(folders)


def closure(pairs):
    """All pairs that a chain of pairs connects."""
    found = set(pairs)
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    return found


def test_lines_say_what_the_imports_say_and_none_is_idle():
    imports = docs_rooms.imported()
    assert "networks" in imports["ntk"]
    lines = docs_rooms.lines(imports)
    assert closure(lines) == closure((source, target) for target, needed in imports.items() for source in needed)
    for line in lines:
        assert line not in closure(set(lines) - {line})


def test_boxes_do_not_overlap_and_lines_lead_down():
    places = docs_rooms.places(docs_rooms.imported())
    for row in range(9):
        standing = sorted((points[row][0], type(place)) for place, points in places.items() if row in points)
        for (left, kind), (right, other) in itertools.pairwise(standing):
            need = sum(docs_rooms.BOX if k is str else docs_rooms.LANE for k in (kind, other)) / 2
            assert right - left >= need
    for source, target in docs_rooms.lines(docs_rooms.imported()):
        assert max(places[source]) < min(places[target])


def test_a_circle_is_named():
    with pytest.raises(ValueError, match=r"circle: (a -> b -> a|b -> a -> b)"):
        docs_rooms.lines({"a": {"b"}, "b": {"a"}})
