"""Scatter plots: accuracy against the rank that each score gives."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tenas_jax.errors import InputError
from tenas_jax.records.files import replace_file


def draw(
    path: Path,
    goodness: Mapping[str, Float[np.ndarray, " m"]],
    accuracy: Float[np.ndarray, " m"],
    taus: Mapping[str, float],
    column: str,
) -> list[Path]:
    """Draws a panel a score, as PNG and SVG.

    Args:
        path: without its suffix.
        goodness: by score normalised ranks, the best 1.
        accuracy: of the same architectures, in per cent.
        taus: by score Kendall's tau, for the panel's title.
        column: what the accuracies are, for the axis.

    Returns:
        The files.

    Raises:
        ImportError: where Matplotlib is not installed.
        InputError: where a file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(goodness))
    rows = -(-len(goodness) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    # The few that trained badly would press the others into a line.
    floor = float(np.quantile(accuracy, 0.1))
    for ax, (name, values) in zip(axes.flat, goodness.items(), strict=False):
        _panel(ax, values, accuracy, floor)
        ax.set_title(f"{name.replace('_', ' ')}\nKendall's tau {taus[name]:.3f}", fontsize=9)
    for ax in axes.flat[len(goodness) :]:
        ax.set_visible(False)
    figure.supxlabel("how many rank better, per cent (best on the right; ringed: the first)", fontsize=9)
    figure.supylabel(column.replace("_", " "), fontsize=9)
    files = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    try:
        for file in files:
            picture = BytesIO()
            figure.savefig(picture, format=file.suffix[1:], dpi=150)
            replace_file(file, picture.getvalue())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another --output.") from error
    return files


def _panel(ax, values, accuracy, floor: float) -> None:
    """The architectures by one score; the first is ringed."""
    # Points are pixels: thousands of vector shapes would make the SVG slow to open.
    ax.scatter(100 * (1 - values), accuracy, s=3, alpha=0.25, linewidths=0, color="#1f5f8b", rasterized=True)
    best = int(np.argmax(values))
    ax.scatter(100 * (1 - values[best]), accuracy[best], s=28, facecolors="none", edgecolors="#c1440e", linewidths=1.3)
    ax.set_ylim(floor, float(accuracy.max()) + 0.03 * (float(accuracy.max()) - floor))
    ax.set_xlim(101, -1)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
