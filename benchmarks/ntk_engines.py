"""Engines of the empirical NTK by network, batch and output: what `engine="auto"` is decided from.

    python benchmarks/ntk_engines.py [--repeats 3] [--networks mlp wide_mlp cnn resnet20] [--batches 4 32]

Every engine computes the same kernel, in turn in one process. An engine is timed once and left out of further turns where
its first run after compiling takes longer than `--patience` times that of "layerwise". Writes results/ntk_engines.json.
"""

import argparse
import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common.records import write
from common.resnets import resnet
from common.timing import seconds_in_turn, summary
from tenas_jax import empirical_ntk

ENGINES = ("layerwise", "neural_tangents", "neural_tangents_ntvp")


class Perceptron(nn.Module):
    """Two hidden layers and 10 logits."""

    width: int

    @nn.compact
    def __call__(self, x):
        """Logits of images."""
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(10)(x)


class Convolutions(nn.Module):
    """Three convolutions of stride 2 and 10 logits."""

    @nn.compact
    def __call__(self, x):
        """Logits of images."""
        for channels in (16, 32, 64):
            x = nn.relu(nn.Conv(channels, (3, 3), (2, 2))(x))
        return nn.Dense(10)(x.mean((1, 2)))


def network_of(name: str, side: int) -> tuple[nn.Module, Any]:
    """A module and its variables."""
    if name.startswith("resnet"):
        return resnet(name, side=side)
    net = {"mlp": Perceptron(64), "wide_mlp": Perceptron(1024), "cnn": Convolutions()}[name]
    return net, net.init(jax.random.key(0), jnp.zeros((1, side, side, 3)))


def measure(name: str, batch: int, output: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Every engine on one kernel."""
    net, variables = network_of(name, options.side)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(batch, options.side, options.side, 3)), jnp.float32)

    def apply(variables, x) -> Any:
        return net.apply(variables, x)

    def kernel_by(engine):
        return lambda: jax.block_until_ready(empirical_ntk(apply, variables, images, output=output, engine=engine))

    functions = {engine: kernel_by(engine) for engine in ENGINES}
    found: dict[str, dict[str, Any]] = {engine: {} for engine in ENGINES}
    ours, once = np.float64(0), {}
    for engine, function in functions.items():
        start = time.perf_counter()
        kernel = np.asarray(function(), np.float64)
        found[engine]["first_call_seconds"] = round(time.perf_counter() - start, 3)
        ours = kernel if engine == "layerwise" else ours
        found[engine]["difference"] = float(f"{np.abs(kernel - ours).max() / np.abs(ours).max():.2g}")
        once[engine] = seconds_in_turn({engine: function}, {engine: 1})[engine][0, 0]
    slow = {engine: once[engine] > options.patience * once["layerwise"] for engine in ENGINES}
    repeats = {engine: 1 if slow[engine] else options.repeats for engine in ENGINES}
    seconds = seconds_in_turn(functions, repeats)
    least = {engine: values[:, 0].min() for engine, values in seconds.items()}
    for engine, values in seconds.items():
        ratio = round(float(least[engine] / least["layerwise"]), 2)
        found[engine] |= summary(values) | {"minimum_over_layerwise": ratio}
    return found


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measures every network, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["mlp", "wide_mlp", "cnn", "resnet20"])
    parser.add_argument("--batches", nargs="+", type=int, default=[4, 32])
    parser.add_argument("--outputs", nargs="+", default=["sum", "full"], choices=["sum", "trace", "full"])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--patience", type=float, default=5.0)
    parser.add_argument("--name", default="ntk_engines", help="of the result's file; empty writes none")
    options = parser.parse_args(arguments)
    rows: dict[str, Any] = {}
    for name in options.networks:
        for batch in options.batches:
            for output in options.outputs:
                if output == "full" and name.startswith("resnet"):
                    continue  # ten times the derivatives of every layer
                rows[f"{name}, batch {batch}, {output}"] = found = measure(name, batch, output, options)
                ratios = {engine: row["minimum_over_layerwise"] for engine, row in found.items()}
                print(f"{name}, batch {batch}, {output}: {ratios}", flush=True)
    content = {"side": options.side, "kernels": rows}
    if options.name:
        write(options.name, content)
    return content


if __name__ == "__main__":
    main()
