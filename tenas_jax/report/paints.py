"""Paints by name, on light and on dark pages, and the patterns that tell operators apart without them.

Every paint of a line or of text has a contrast of at least 4.5 to its page (WCAG 2.2, success criterion 1.4.3).
"""

LIGHT = {
    "page": "#ffffff",
    "ink": "#1b1f24",
    "soft": "#57606a",
    "grid": "#dfe3e8",
    "panel": "#f3f5f7",
    "accent": "#a8400a",
    "op0": "#57606a",
    "op1": "#00609a",
    "op2": "#8a5a00",
    "op3": "#b03a06",
    "op4": "#00704f",
    "op5": "#9a3f74",
    "op6": "#20686f",
    "op7": "#6b6200",
    "op8": "#5b3fb0",
}
DARK = {
    "page": "#14171b",
    "ink": "#e8eaed",
    "soft": "#a9b1ba",
    "grid": "#363c44",
    "panel": "#1d2126",
    "accent": "#ff9d66",
    "op0": "#a9b1ba",
    "op1": "#6cb8ef",
    "op2": "#e8b24a",
    "op3": "#ff8f5c",
    "op4": "#4fcfa4",
    "op5": "#ea9cc9",
    "op6": "#7fd0d8",
    "op7": "#d3c94e",
    "op8": "#b7a3ff",
}
OPERATORS = 9
# In the order of a space's operators: no two of them alike.
DASHES = ((1, 4), (3, 3), (10, 4), (), (10, 3, 2, 3), (6, 2), (2, 2), (14, 5), (8, 3, 2, 3, 2, 3))
COLD, WARM = (120, 170, 225), (250, 225, 130)  # of a heat map; dark text is readable on all between


def operator_paint(operator: int) -> str:
    """The paint of an operator.

    Args:
        operator: its number.
    """
    return f"op{operator % OPERATORS}"


def operator_dash(operator: int) -> tuple[int, ...]:
    """The dashes of an operator's line.

    Args:
        operator: its number.
    """
    return DASHES[operator % len(DASHES)]


def heat(share: float) -> str:
    """A colour from blue, 0, to yellow, 1; the same on every page.

    Args:
        share: from 0 to 1.
    """
    share = min(max(share, 0.0), 1.0)
    return "#{:02x}{:02x}{:02x}".format(*(round(a + (b - a) * share) for a, b in zip(COLD, WARM, strict=True)))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2.2).

    Args:
        one: as `#rrggbb`.
        other: as `#rrggbb`.
    """
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
