"""What a plain call of the library costs the second time, beside a program that the user compiled by `jax.jit`.

    python benchmarks/library_calls.py [--network resnet18] [--batch 32] [--repeats 5]

Calls take turns in one process, so that whatever else the machine does meets all of them; a ratio is the median over the
turns. Writes results/library_calls.json.
"""

import argparse
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.records import write
from common.resnets import resnet
from common.timing import seconds_in_turn, summary
from tenas_jax import NAS_BENCH_201, activation_patterns, analytic_ntk, clear_cache, empirical_ntk, evaluate


def cases(network: str, batch: int, side: int) -> dict[str, tuple[Any, Any]]:
    """By name: the plain call, and the same compiled by the user; each returns an array."""
    net, variables = resnet(network, side=side)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(batch, side, side, 3)), jnp.float32)
    small = images.reshape(batch, 4, side // 4, 4, side // 4, 3).mean((2, 4))[:8]
    mask = jnp.asarray(NAS_BENCH_201.supernet())

    def apply(variables, x) -> Any:
        return net.apply(variables, x)

    def bits(variables, x):
        return activation_patterns(partial(apply, variables), x).bits

    kernel = jax.jit(lambda variables, x: empirical_ntk(apply, variables, x))
    patterns = jax.jit(bits)
    analytic = jax.jit(lambda mask, x: analytic_ntk(NAS_BENCH_201, mask, x))
    return {
        "empirical_ntk": (lambda: empirical_ntk(apply, variables, images), lambda: kernel(variables, images)),
        "activation_patterns": (lambda: bits(variables, images), lambda: patterns(variables, images)),
        "analytic_ntk": (lambda: analytic_ntk(NAS_BENCH_201, mask, small), lambda: analytic(mask, small)),
        "evaluate": (lambda: evaluate(apply, variables, images).ntk.trace, None),
    }


def measure(plain, compiled, repeats: int) -> dict[str, Any]:
    """First call, later calls, and later calls over those of the user's program."""
    clear_cache()
    start = time.perf_counter()
    first = np.asarray(plain())
    found: dict[str, Any] = {"first_call_seconds": round(time.perf_counter() - start, 3)}
    functions = {"plain": lambda: jax.block_until_ready(plain())}
    if compiled is not None:
        difference = np.abs(np.float64(first) - np.asarray(compiled(), np.float64)).max()
        found["largest_difference"] = float(f"{difference / np.abs(first).max():.2g}")
        functions["user_jit"] = lambda: jax.block_until_ready(compiled())
    seconds = seconds_in_turn(functions, dict.fromkeys(functions, repeats))
    found |= {name: summary(values) for name, values in seconds.items()}
    if compiled is not None:
        ratios = seconds["plain"] / seconds["user_jit"]
        wall, processor = (round(float(value), 3) for value in np.median(ratios, axis=0))
        found |= {"plain_over_user_jit": wall, "plain_over_user_jit_processor_seconds": processor}
    return found


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measures every function, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18", choices=["resnet20", "resnet18"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--name", default="library_calls", help="of the result's file; empty writes none")
    options = parser.parse_args(arguments)
    content: dict[str, Any] = {"network": options.network, "batch": options.batch, "side": options.side, "calls": {}}
    for name, (plain, compiled) in cases(options.network, options.batch, options.side).items():
        content["calls"][name] = measure(plain, compiled, options.repeats)
        print(name, content["calls"][name], flush=True)
    if options.name:
        write(options.name, content)
    return content


if __name__ == "__main__":
    main()
