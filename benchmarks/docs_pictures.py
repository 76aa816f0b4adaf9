"""The pictures of the documentation's pages on concepts, from real computations.

    python benchmarks/docs_pictures.py

Writes `plane_of_regions.png`, `spectra.png` and `search_rounds.png` into docs/images; takes half a minute on two cores.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tenas_jax import NAS_BENCH_201, activation_patterns, analytic_ntk, condition_number, count_linear_regions, spectrum
from tenas_jax.data import image_batch, open_images
from tenas_jax.patterns.regions import hash_patterns
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import indicators as indicators_of
from tenas_jax.scores.presets import preset
from tenas_jax.search import pruner

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CELLS = {
    "convolutions": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    "skips and pools": "|skip_connect~0|+|avg_pool_3x3~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|",
}


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def plane_of_regions(key, widths: Sequence[int], side: int) -> np.ndarray:
    """Which region each point of a square is in: of a random ReLU network with two inputs.

    Args:
        key: of the weights (variance 2 / fan-in) and biases (standard normal).
        widths: of the hidden layers.
        side: points along a side of the square from -4 to 4.

    Returns:
        (side, side) numbers of regions, 0 up to their count.
    """
    sizes = (2, *widths)
    keys = jax.random.split(key, 2 * len(widths)).reshape(-1, 2)
    layers = [
        ((2 / before) ** 0.5 * jax.random.normal(w, (before, after)), jax.random.normal(b, (1, after)))
        for (w, b), before, after in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]

    def network(x):
        for weights, bias in layers:
            x = jax.nn.relu(jnp.dot(x, weights) + bias)
        return x

    ticks = jnp.linspace(-4, 4, side)
    points = jnp.stack(jnp.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    bits = jax.jit(lambda x: activation_patterns(network, x).bits)(points)
    regions = np.unique(np.asarray(hash_patterns(bits)), axis=0, return_inverse=True)[1].reshape(side, side)
    # What is drawn is what the package counts.
    assert regions.max() + 1 == count_linear_regions(bits).count
    return regions


def draw_plane(
    path: Path, side: int = 500, networks: Sequence[Sequence[int]] = ((12,), (12, 12), (12, 12, 12))
) -> None:
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(networks), figsize=(3 * len(networks), 3.3), layout="constrained")
    for ax, widths in zip(axes, networks, strict=True):
        regions = plane_of_regions(jax.random.key(3), widths, side)
        colours = plt.get_cmap("tab20c")(np.random.default_rng(0).permutation(regions.max() + 1) % 20)
        ax.imshow(colours[regions], origin="lower", extent=(-4, 4, -4, 4), interpolation="nearest")
        layers = f"{len(widths)} layer{'s' if len(widths) > 1 else ''} of {widths[0]} neurons"
        ax.set_title(f"{layers}: {regions.max() + 1} regions", fontsize=10)
        ax.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=90)
    plt.close(figure)


def training_errors(kernel: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Expected squared error, from 1, of random targets after steps of gradient descent with a constant kernel.

    In the basis of eigenvectors every step multiplies an error by 1 - rate * eigenvalue; the rate is 1 / the largest
    eigenvalue (Xiao, Pennington and Schoenholz 2020, section 2).

    Args:
        kernel: (n, n).
        steps: (m,) numbers of steps.

    Returns:
        (m,).
    """
    eigenvalues = spectrum(kernel).eigenvalues
    return ((1 - eigenvalues / eigenvalues[-1]) ** (2 * steps[:, None])).mean(1)


def draw_spectra(path: Path, n: int = 16) -> None:
    plt = _pyplot()
    images = image_batch(jax.random.key(0), open_images(), n, side=4)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    steps = np.unique(np.geomspace(1, 1000, 60).astype(int))
    for (label, cell), marker in zip(CELLS.items(), "os", strict=True):
        kernel = np.asarray(analytic_ntk(NAS_BENCH_201, NAS_BENCH_201.parse(cell), images))
        eigenvalues = spectrum(kernel).eigenvalues[::-1]
        kappa = condition_number(kernel).value
        left.plot(range(1, n + 1), eigenvalues / eigenvalues[0], marker, markersize=4, label=f"{label}: {kappa:.0f}")
        right.plot(steps, training_errors(kernel, steps), label=label)
    left.set(yscale="log", xlabel="eigenvalue", ylabel="relative to the largest")
    left.legend(fontsize=8, title="condition number", title_fontsize=8)
    right.set(xscale="log", yscale="log", ylim=(1e-4, 1.2), xlabel="steps of gradient descent", ylabel="training error")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def draw_search(path: Path, rounds: Sequence[int] = (0, 6, 12, 18), paths: int | None = None) -> str:
    """Which operators are alive in the course of the default search; returns the architecture."""
    plt = _pyplot()
    space, settings = NAS_BENCH_201, preset("default")
    indicators = indicators_of(space, open_images(), chosen_scores(space, settings.scores), repeats=settings.repeats)
    state, masks = pruner.init(space), []
    while not pruner.is_done(state, space):
        masks.append(state.mask)
        state, _ = pruner.step(
            jax.random.key(0), state, space=space, indicators=indicators, rule=settings.rule,
            paths=settings.paths if paths is None else paths,
        )  # fmt: skip
    masks.append(state.mask)
    figure, axes = plt.subplots(1, len(rounds), figsize=(3 * len(rounds), 3), layout="constrained")
    for ax, number in zip(axes, rounds, strict=True):
        _draw_cell(ax, masks[number])
        ax.set_title("the architecture" if number == rounds[-1] else f"before round {number}", fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9, frameon=False)
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return space.format(state.mask)


def _draw_cell(ax, mask) -> None:
    """Nodes on a circle; an edge is a bundle of lines, one an operator that is alive."""
    space = NAS_BENCH_201
    places = np.array([(-1.0, 0.0), (-0.35, 0.9), (-0.35, -0.9), (1.0, 0.0)])
    for edge, (source, target) in enumerate(space.edges):
        start, end = places[source], places[target]
        across = np.array([start[1] - end[1], end[0] - start[0]])
        across = across / np.linalg.norm(across)
        for operator, name in enumerate(space.operators):
            if name != "none" and mask[0, edge, operator]:
                shift = 0.05 * (operator - 2.5) * across
                label = name if edge == 0 else None
                ax.plot(*np.stack([start + shift, end + shift]).T, color=f"C{operator - 1}", linewidth=2, label=label)
    ax.plot(*places.T, "ko", markersize=16, zorder=3)
    for node, place in enumerate(places):
        ax.text(*place, str(node), color="w", ha="center", va="center", zorder=4)
    ax.set(aspect="equal", xlim=(-1.25, 1.25), ylim=(-1.15, 1.15))
    ax.axis("off")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    draw_plane(IMAGES / "plane_of_regions.png")
    draw_spectra(IMAGES / "spectra.png")
    print(draw_search(IMAGES / "search_rounds.png"))


if __name__ == "__main__":
    main()
