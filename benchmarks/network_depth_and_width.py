"""Linear regions and condition numbers of random fully connected networks, against depth and width.

    python benchmarks/network_depth_and_width.py [--seeds 16]

Writes `results/network_depth_and_width.json`, `docs/images/line_regions.png` and `docs/images/condition_by_depth.png`;
takes some minutes on two cores.

The first part counts the linear regions that a straight line meets (Hanin and Rolnick 2019), exactly, and again by
activation patterns. The second takes condition numbers of the NTK and of the last layer's covariance, the NNGP kernel, on
the critical line and off it (Xiao, Pennington and Schoenholz 2020). Both stand beside what infinite width predicts.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from common.records import write
from common.statistics import mean_and_error
from tenas_jax import activation_patterns, count_linear_regions, empirical_ntk
from tenas_jax.ntk.spectrum import condition_numbers

IMAGES = Path(__file__).parents[1] / "docs" / "images"
INPUTS = 32


class Variances(NamedTuple):
    """Of weights, times the fan-in, and of biases: sigma_w^2 and sigma_b^2.

    Attributes:
        weight: a weight has this variance over its fan-in.
        bias: a bias has this variance.
    """

    weight: float
    bias: float


# Networks in the NTK parametrisation: parameters are standard normal, variances are factors.


def draw(key, width: int, depth: int) -> dict[str, Any]:
    """Parameters of `depth` hidden layers and one output."""
    keys = iter(jax.random.split(key, 6))

    def layer(*shape):
        return {"w": jax.random.normal(next(keys), shape), "b": jax.random.normal(next(keys), (*shape[:-2], shape[-1]))}

    return {"first": layer(INPUTS, width), "hidden": layer(depth - 1, width, width), "readout": layer(width, 1)}


def apply(variances: Variances, activation: Callable, params, x):
    """Outputs (n, 1) of inputs (n, INPUTS)."""

    def dense(x, layer):
        scale = (variances.weight / x.shape[1]) ** 0.5
        return scale * jnp.dot(x, layer["w"]) + variances.bias**0.5 * layer["b"][None]

    x = activation(dense(x, params["first"]))
    if len(params["hidden"]["w"]):
        x, _ = jax.lax.scan(lambda x, layer: (activation(dense(x, layer)), None), x, params["hidden"])
    return dense(x, params["readout"])


# The first part: a line.


def segment() -> np.ndarray:
    """Two inputs (2, INPUTS) at right angles, of mean square 1; for weights without a direction any two will do."""
    return INPUTS**0.5 * np.eye(INPUTS)[:2]


def breakpoints(variances: Variances, params, ends: np.ndarray) -> np.ndarray:
    """Where on a segment, from 0 to 1, some ReLU switches; exact.

    Between the breakpoints of earlier layers a pre-activation is linear, so one that changes its sign between two of them
    has its zero where linear interpolation says.

    Args:
        variances: of the network.
        params: from `draw`.
        ends: (2, INPUTS).

    Returns:
        Sorted, in (0, 1).
    """
    hidden = params["hidden"]
    layers = [params["first"], *({"w": w, "b": b} for w, b in zip(hidden["w"], hidden["b"], strict=True))]
    places, values = np.array([0.0, 1.0]), ends
    for layer in layers:
        z = (variances.weight / values.shape[1]) ** 0.5 * values @ np.asarray(layer["w"])
        z = z + variances.bias**0.5 * np.asarray(layer["b"])
        piece, neuron = np.nonzero((z[:-1] > 0) != (z[1:] > 0))
        share = z[piece, neuron] / (z[piece, neuron] - z[piece + 1, neuron])
        places = np.concatenate([places, places[piece] + share * (places[piece + 1] - places[piece])])
        z = np.concatenate([z, z[piece] + share[:, None] * (z[piece + 1] - z[piece])])
        order = np.argsort(places, kind="stable")
        places, values = places[order], np.maximum(z[order], 0)
    return places[1:-1]


def predicted_breakpoints(variances: Variances, width: int, depth: int, ends: np.ndarray) -> float:
    """How many breakpoints to expect at infinite width, by the formula of Kac and Rice.

    A pre-activation z(t) is a Gaussian process and crosses zero at the rate `sqrt(A / K - (B / K)^2) / pi`, with
    K = E z^2, B = E z z', A = E z'^2. A ReLU halves all three, so that for weights of variance 2 / fan-in they stay as
    they are from layer to layer and a bias adds to K alone.

    Args:
        variances: of the network.
        width: of a layer.
        depth: hidden layers.
        ends: (2, INPUTS).
    """
    t = np.linspace(0, 1, 20001)[:, None]
    direction = ends[1] - ends[0]
    points = ends[0] + t * direction
    scale = variances.weight / INPUTS
    k, b, a = scale * (points**2).sum(1) + variances.bias, scale * points @ direction, scale * direction @ direction
    crossings = 0.0
    for _ in range(depth):
        crossings += width * np.trapezoid(np.sqrt(a / k - (b / k) ** 2), t[:, 0]) / np.pi
        half = variances.weight / 2
        k, b, a = half * k + variances.bias, half * b, half * a
    return float(crossings)


def line_regions(depths: Sequence[int], widths: Sequence[int], biases: Sequence[float], seeds: int) -> list[dict]:
    """Breakpoints on a segment by depth, width and variance of the bias."""
    ends, rows = segment(), []
    for bias in biases:
        variances = Variances(2.0, bias)
        network = partial(apply, variances, jax.nn.relu)
        bits = jax.jit(lambda params, x, network=network: activation_patterns(partial(network, params), x).bits)
        for depth in depths:
            for width in widths:
                counts, agree = [], 0
                for seed in range(seeds):
                    params = draw(jax.random.key(seed), width, depth)
                    places = breakpoints(variances, params, ends)
                    counts.append(len(places))
                    agree += _regions_by_patterns(partial(bits, params), places, ends) == len(places) + 1
                rows.append(
                    {
                        "bias_variance": bias,
                        "depth": depth,
                        "width": width,
                        "neurons": depth * width,
                        "breakpoints": mean_and_error(counts),
                        "predicted": round(predicted_breakpoints(variances, width, depth, ends), 2),
                        "equal_to_distinct_patterns": f"{agree} of {seeds}",
                    }
                )
                print(rows[-1], flush=True)
    return rows


def _regions_by_patterns(bits: Callable, places: np.ndarray, ends: np.ndarray) -> int:
    """Distinct activation patterns at one point of every piece; points are repeated up to a power of two of them."""
    edges = np.concatenate([[0.0], places, [1.0]])
    middles = (edges[1:] + edges[:-1]) / 2
    middles = np.resize(middles, 2 ** int(np.ceil(np.log2(len(middles) + 1))))
    return count_linear_regions(bits(jnp.asarray(ends[0] + middles[:, None] * (ends[1] - ends[0])))).count


# The second part: condition numbers.


def relu_moments(k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E f(u) f(v) and E f'(u) f'(v) of ReLU for (u, v) normal with covariances from k (Cho and Saul 2009)."""
    norm = np.sqrt(np.outer(np.diag(k), np.diag(k)))
    c = np.clip(k / norm, -1, 1)
    np.fill_diagonal(c, 1.0)
    rest = np.pi - np.arccos(c)
    return norm * (np.sqrt(1 - c**2) + rest * c) / (2 * np.pi), rest / (2 * np.pi)


def erf_moments(k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of erf (Williams 1997)."""
    one = 1 + 2 * np.diag(k)
    norm = np.outer(one, one)
    return 2 / np.pi * np.arcsin(2 * k / np.sqrt(norm)), 4 / np.pi / np.sqrt(norm - 4 * k**2)


ACTIVATIONS = {"relu": (jax.nn.relu, relu_moments), "erf": (jax.scipy.special.erf, erf_moments)}


def infinite_kernels(activation: str, variances: Variances, x: np.ndarray, depth: int):
    """NNGP kernel K and NTK T of the output, by their recursion (Jacot et al. 2018, theorem 1; Lee et al. 2019).

    K' = s_w E f f + s_b and T' = K' + s_w E f' f' T, starting from K = T = s_w x x^T / INPUTS + s_b.

    Args:
        activation: its name.
        variances: of the network.
        x: (n, INPUTS).
        depth: hidden layers.

    Returns:
        K and T, (n, n) each.
    """
    moments = ACTIVATIONS[activation][1]
    k = variances.weight * x @ x.T / INPUTS + variances.bias
    t = k
    for _ in range(depth):
        values, slopes = moments(k)
        k = variances.weight * values + variances.bias
        t = k + variances.weight * slopes * t
    return k, t


def critical_weight_variance(bias: float) -> float:
    """The weight variance at which erf networks of a bias variance are critical, chi = s_w E f'^2 = 1, by bisection."""

    def slope(weight):
        q = 1.0
        for _ in range(10000):
            q = weight * 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)) + bias
        return weight * 4 / np.pi / np.sqrt(1 + 4 * q)

    low, high = 0.1, 10.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 1 else (low, middle)
    return round((low + high) / 2, 6)


def phases() -> list[tuple[str, str, Variances]]:
    """(activation, phase, variances)."""
    return [
        ("relu", "ordered", Variances(1.5, 0.1)),
        ("relu", "critical", Variances(2.0, 0.0)),
        ("relu", "above critical", Variances(2.5, 0.1)),
        ("erf", "ordered", Variances(0.5, 0.05)),
        ("erf", "critical", Variances(critical_weight_variance(0.05), 0.05)),
        ("erf", "chaotic", Variances(3.0, 0.05)),
    ]


def inputs(n: int) -> np.ndarray:
    """(n, INPUTS) random inputs of mean square 1."""
    x = np.random.default_rng(0).normal(size=(n, INPUTS))
    return x / np.sqrt((x**2).mean(1, keepdims=True))


def conditions(depths: Sequence[int], widths: Sequence[int], n: int, seeds: int) -> list[dict]:
    """Condition numbers of finite networks, geometric means over seeds, beside those of infinite width."""
    x, rows = inputs(n), []
    for activation, phase, variances in phases():
        function = partial(apply, variances, ACTIVATIONS[activation][0])
        kernels = jax.jit(partial(_finite_kernels, function))
        for depth in depths:
            limit, _ = condition_numbers(np.stack(infinite_kernels(activation, variances, x, depth)))
            row: dict[str, Any] = {"activation": activation, "phase": phase, **variances._asdict(), "depth": depth}
            row |= {"predicted": _by_kernel(limit), "widths": {}}
            for width in widths:
                drawn = [kernels(draw(jax.random.key(seed), width, depth), jnp.asarray(x)) for seed in range(seeds)]
                found, health = condition_numbers(np.asarray(drawn))
                row["widths"][width] = _by_kernel([_geometric(column) for column in found.T])
                row["widths"][width]["not of full rank"] = int((health != "full rank").sum())
            rows.append(row)
            print(row, flush=True)
    return rows


def _finite_kernels(function, params, x):
    """The last layer's covariance is the NTK of the readout alone."""
    readout = empirical_ntk(function, params, x, trainable=lambda path: path.startswith("readout"))
    return jnp.stack([readout, empirical_ntk(function, params, x)])


def _by_kernel(pair) -> dict[str, Any]:
    return dict(zip(("nngp", "ntk"), (v if isinstance(v, dict) else float(f"{v:.5g}") for v in pair), strict=True))


def _geometric(values: np.ndarray) -> dict[str, float | None]:
    """Geometric mean, and the standard error of the logarithm; None where a kernel is not of full rank."""
    if not np.isfinite(values).all():
        return {"mean": None, "standard_error_of_log": None}
    logs = np.log(values)
    return {
        "mean": float(f"{np.exp(logs.mean()):.5g}"),
        "standard_error_of_log": round(float(logs.std(ddof=1) / len(logs) ** 0.5), 4),
    }


# Pictures.


def plot_regions(rows: list[dict], path: Path) -> None:
    """Breakpoints against neurons, and breakpoints over the prediction against depth over width."""
    plt = _pyplot()
    biases = sorted({row["bias_variance"] for row in rows})
    figure, axes = plt.subplots(len(biases), 2, figsize=(9, 3.2 * len(biases)), layout="constrained", squeeze=False)
    for (left, right), bias in zip(axes, biases, strict=True):
        for number, depth in enumerate(sorted({row["depth"] for row in rows})):
            chosen = [row for row in rows if (row["bias_variance"], row["depth"]) == (bias, depth)]
            neurons = np.array([row["neurons"] for row in chosen])
            mean, error = (np.array([row["breakpoints"][key] for row in chosen]) for key in ("mean", "standard_error"))
            predicted = np.array([row["predicted"] for row in chosen])
            style: dict[str, Any] = {"linestyle": "", "marker": "osD^v"[number % 5], "markersize": 4, "capsize": 2}
            left.errorbar(neurons, mean, error, label=f"depth {depth}", color=f"C{number}", **style)
            left.plot(neurons, predicted, color=f"C{number}", linewidth=1)
            ratio = [depth / row["width"] for row in chosen]
            right.errorbar(ratio, mean / predicted, error / predicted, color=f"C{number}", **style)
        left.set(xscale="log", yscale="log", xlabel="neurons", ylabel="breakpoints")
        right.set(xscale="log", xlabel="depth / width", ylabel="breakpoints / prediction")
        right.axhline(1, color="k", linewidth=1)
        left.set_title(f"bias variance {bias:g}; lines: prediction", fontsize=10)
        left.legend(fontsize=8)
        for ax in (left, right):
            ax.minorticks_off()
    _save(figure, path)


def plot_conditions(rows: list[dict], path: Path) -> None:
    """Condition numbers against depth, a panel an activation and kernel."""
    plt = _pyplot()
    names = list(dict.fromkeys(row["activation"] for row in rows))
    figure, axes = plt.subplots(len(names), 2, figsize=(9, 3.3 * len(names)), layout="constrained", squeeze=False)
    for line, activation in zip(axes, names, strict=True):
        of_activation = [row for row in rows if row["activation"] == activation]
        depths = list(dict.fromkeys(row["depth"] for row in of_activation))
        for ax, kernel in zip(line, ("nngp", "ntk"), strict=True):
            for number, phase in enumerate(dict.fromkeys(row["phase"] for row in of_activation)):
                chosen = [row for row in of_activation if row["phase"] == phase]
                ax.plot(depths, [row["predicted"][kernel] for row in chosen], color=f"C{number}", label=phase)
                for width, marker in zip(chosen[0]["widths"], "osD^", strict=False):
                    cells = [row["widths"][width][kernel] for row in chosen]
                    mean = np.array([cell["mean"] for cell in cells], float)
                    spread = np.exp(np.array([cell["standard_error_of_log"] for cell in cells], float))
                    bars = [mean - mean / spread, mean * spread - mean]
                    label = f"width {width}" if number == 0 else None
                    style: dict[str, Any] = {"linestyle": "", "marker": marker, "markersize": 4, "capsize": 2}
                    ax.errorbar(depths, mean, bars, color=f"C{number}", label=label, **style)
            title = f"{activation}: condition number of the {kernel.upper()} kernel".replace("NTK kernel", "NTK")
            ax.set(xscale="log", yscale="log", xlabel="hidden layers")
            ax.set_title(title, fontsize=10)
            ax.set_xticks(depths, [str(depth) for depth in depths])
            ax.minorticks_off()
        line[1].legend(fontsize=8)
    _save(figure, path)


def _save(figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    _pyplot().close(figure)


def _pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=16)
    seeds = parser.parse_args().seeds
    jax.config.update("jax_enable_x64", True)
    start = time.perf_counter()
    regions = line_regions((1, 2, 4, 8, 16), (16, 32, 64, 128, 256), (0.0, 0.25), seeds)
    kernels = conditions((1, 2, 4, 8, 16, 32), (32, 128, 512), 10, seeds)
    plot_regions(regions, IMAGES / "line_regions.png")
    plot_conditions(kernels, IMAGES / "condition_by_depth.png")
    write(
        "network_depth_and_width",
        {
            "what": "random fully connected networks; linear regions on a segment between two orthogonal inputs, and "
            "condition numbers of 10 random inputs, beside infinite width",
            "inputs": INPUTS,
            "seeds": seeds,
            "line_regions": regions,
            "condition_numbers": kernels,
            "seconds": round(time.perf_counter() - start),
        },
    )


if __name__ == "__main__":
    main()
