"""The picture of the rooms in docs/architecture.md, drawn from the imports of the package.

    python benchmarks/docs_rooms.py

Writes `docs/images/rooms.svg`. A room is a folder of `tenas_jax`; a line leads from a room down to one that imports it,
unless another way down says as much. A test draws it again and compares.
"""

import argparse
import ast
from pathlib import Path
from xml.sax.saxutils import escape

from common.records import ROOT

PACKAGE = ROOT / "tenas_jax"
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
BOX, HEIGHT, GAP, MARGIN = 200, 46, 40, 20  # width and height of a box; between two rows, and around
SPACING, LANE = 12, 24  # between two boxes; of a line that passes a row

Place = tuple[str, str] | str  # a room, or the line that passes


def rooms(package: Path = PACKAGE) -> dict[str, str]:
    """Every room by its name, with the first words of what its `__init__.py` says."""
    said = {}
    for path in sorted(package.glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        said[path.parent.name] = text.split("\n")[0].split(":")[0].rstrip(".")
    return said


def imported(package: Path = PACKAGE) -> dict[str, set[str]]:
    """The other rooms that a room's modules import, wherever in them."""
    names = rooms(package)
    found: dict[str, set[str]] = {name: set() for name in names}
    for name in names:
        for path in (package / name).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    modules = [f"{node.module}.{alias.name}" for alias in node.names]
                parts = [module.split(".") for module in modules]
                found[name] |= {p[1] for p in parts if p[0] == package.name and p[1:] and p[1] in names} - {name}
    return found


def lines(imports: dict[str, set[str]]) -> list[tuple[str, str]]:
    """(imported room, room that imports it), without what follows from two others.

    Args:
        imports: by room.

    Raises:
        ValueError: for rooms that import each other in a circle.
    """

    def reached(name: str, way: tuple[str, ...] = ()) -> set[str]:
        if name in way:
            raise ValueError(f"rooms import each other in a circle: {' -> '.join((*way, name))}")
        return imports[name].union(*(reached(other, (*way, name)) for other in imports[name]))

    return [
        (source, target)
        for target, needed in imports.items()
        for source in sorted(needed)
        if not any(source in reached(other) for other in needed)
    ]


def rows(imports: dict[str, set[str]]) -> list[list[Place]]:
    """Rooms from top to bottom, each one row above the highest that imports it; and the lines that pass a row."""
    drawn = lines(imports)

    def depth(name: str) -> int:
        return max((depth(target) + 1 for source, target in drawn if source == name), default=0)

    depths = {name: depth(name) for name in imports}
    found: list[list[Place]] = []
    for row in range(max(depths.values()), -1, -1):
        passing: list[Place] = [line for line in drawn if depths[line[0]] > row > depths[line[1]]]
        found.append([*(name for name in imports if depths[name] == row), *passing])
    return found


def places(imports: dict[str, set[str]]) -> dict[Place, dict[int, tuple[int, int]]]:
    """(x, y) of every room and passing line in every row where it is; in a row by what it hangs from."""
    found: dict[Place, dict[int, tuple[int, int]]] = {}
    drawn, everything = lines(imports), rows(imports)
    width_of = {place: BOX if isinstance(place, str) else LANE for row in everything for place in row}
    whole = max(sum(width_of[place] + SPACING for place in row) for row in everything) - SPACING
    for number, row in enumerate(everything):

        def middle(place: Place) -> float:
            hung = [line for line in drawn if place in (line, line[1])]
            # A line hangs from where it passed the row above, or from the room that it starts in.
            above = [found.get(line, found[line[0]])[max(found.get(line, found[line[0]]))][0] for line in hung]
            return sum(above) / len(above) if above else 0

        ordered = sorted(row, key=lambda place: (middle(place), str(place)))
        left = MARGIN + (whole - sum(width_of[place] + SPACING for place in row) + SPACING) // 2
        for place in ordered:
            y = MARGIN + HEIGHT // 2 + number * (HEIGHT + GAP)
            found.setdefault(place, {})[number] = (left + width_of[place] // 2, y)
            left += width_of[place] + SPACING
    return found


def path(points: list[tuple[int, int]]) -> str:
    """A line from the bottom of a box to the top of another, straight past the rows between."""
    (x, y), *between, (to_x, to_y) = points
    parts, y = [f"M{x} {y + HEIGHT // 2}"], y + HEIGHT // 2
    for next_x, next_y in [*between, (to_x, to_y)]:
        top = next_y - HEIGHT // 2
        bend = (top - y) // 2
        parts.append(f"C{x} {y + bend} {next_x} {top - bend} {next_x} {top}")
        x, y = next_x, top
        if (next_x, next_y) != (to_x, to_y):
            y = next_y + HEIGHT // 2
            parts.append(f"V{y}")
    return "".join(parts)


def svg(said: dict[str, str], imports: dict[str, set[str]]) -> str:
    """The picture."""
    found = places(imports)
    centres = {name: next(iter(found[name].values())) for name in said}
    everywhere = [(place, point) for place, points in found.items() for point in points.values()]
    width = max(x + (BOX if isinstance(place, str) else LANE) // 2 for place, (x, _) in everywhere) + MARGIN
    height = max(y for _, (_, y) in everywhere) + HEIGHT // 2 + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        "<title>The rooms of tenas_jax, and which imports which</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    for source, target in lines(imports):
        passed = [point for _, point in sorted(found.get((source, target), {}).items())]
        way = path([centres[source], *passed, centres[target]])
        parts.append(f'<path d="{way}" fill="none" stroke="#78909c" stroke-width="1.5"/>')
    for name, (x, y) in centres.items():
        middle = f'x="{x}" text-anchor="middle"'
        parts.append(
            f'<rect x="{x - BOX // 2}" y="{y - HEIGHT // 2}" width="{BOX}" height="{HEIGHT}" rx="6" fill="#eceff1"'
            f' stroke="#455a64"/><text {middle} y="{y - 4}" font-size="14" font-weight="bold" fill="#263238">{name}/</text>'
            f'<text {middle} y="{y + 14}" font-size="11" fill="#37474f">{escape(said[name])}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    PICTURE.write_text(svg(rooms(), imported()))
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
