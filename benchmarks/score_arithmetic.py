"""What fraction of the processor's arithmetic the released kernel reaches, here and in PyTorch.

    python benchmarks/score_arithmetic.py [--channels 3 16] [--repeats 2]

The empirical NTK of 72 images, coupled by batch norm, of a single architecture and of the supernet: a forward pass of the
batch, and for each image a backward pass of all of it, which takes twice the multiply-adds of a forward pass. The peak is
that of the better of both libraries at a product of large matrices. Everything by processor seconds, which other work on
the machine changes little. Writes `results/score_arithmetic.json`.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from common.records import write
from common.timing import compiled, seconds_in_turn
from pytorch.indicators import ntk as torch_ntk
from pytorch.networks import NasBench201Network, initialise
from tenas_jax import NAS_BENCH_201 as SPACE
from tenas_jax.data import image_batch, open_images
from tenas_jax.networks import cost
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.scores.programs import network_ntk
from tenas_jax.spaces.skeleton import Skeleton

SIZE = 2048  # of the matrices whose product is the peak
SINGLE = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"


def functions(channels: int, images: np.ndarray, mask: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The kernel by both, each returning when it is done."""
    net = CellNetwork(SPACE, Skeleton(channels, cells=1), "fan_out")
    variables = net.init(jax.random.key(0), images, np.ones(SPACE.mask_shape, bool))
    program, _ = compiled(
        lambda mask, variables, images: network_ntk(net, mask, variables, images, batch_stats="coupled"),
        mask, variables, images,
    )  # fmt: skip
    theirs = NasBench201Network(3, channels, stages=3, use_stem=True)
    initialise(theirs, "fan_out", torch.Generator().manual_seed(0))
    inputs, torch_mask = torch.as_tensor(images.transpose(0, 3, 1, 2).copy()), torch.as_tensor(mask)
    return {
        "ours": lambda: jax.block_until_ready(program(mask, variables, images)),
        "pytorch": lambda: torch_ntk(theirs, inputs, torch_mask),
    }


def products() -> dict[str, Callable[[], Any]]:
    """A product of large matrices by both."""
    matrix = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.float32)
    ours, theirs, product = jnp.asarray(matrix), torch.as_tensor(matrix), jax.jit(jnp.dot)
    return {"ours": lambda: jax.block_until_ready(product(ours, ours)), "pytorch": lambda: theirs @ theirs}


def rates(functions: dict[str, Callable[[], Any]], multiply_adds: float, repeats: int) -> dict[str, dict[str, float]]:
    """Multiply-adds a processor second by side, the best repeat.

    Args:
        functions: by side.
        multiply_adds: of each.
        repeats: of each, after one that is not counted.
    """
    for function in functions.values():
        function()
    seconds = seconds_in_turn(functions, dict.fromkeys(functions, repeats))
    return {
        side: {"seconds": round(float(values[:, 0].min()), 4), "processor_seconds": round(float(values[:, 1].min()), 4),
               "rate": multiply_adds / values[:, 1].min()}
        for side, values in seconds.items()
    }  # fmt: skip


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=[3, 16])
    parser.add_argument("--images", type=int, default=72)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--name", default="score_arithmetic", help="of the result's file; empty writes none")
    options = parser.parse_args(argv)
    images = np.asarray(image_batch(jax.random.key(0), open_images(), options.images))
    peaks = rates(products(), SIZE**3, 5)
    peak = max(found["rate"] for found in peaks.values())
    rows = []
    for channels in options.channels:
        for name, mask in (("single architecture", SPACE.parse(SINGLE)), ("supernet", SPACE.supernet())):
            of_an_image = int(cost.costs(SPACE, mask, skeleton=Skeleton(channels, cells=1), side=images.shape[1]).flops)
            multiply_adds = options.images * of_an_image * (1 + 2 * options.images)
            found = rates(functions(channels, images, mask), multiply_adds, options.repeats)
            sides = {
                side: {"seconds": row["seconds"], "processor_seconds": row["processor_seconds"],
                       "fraction_of_peak": round(row["rate"] / peak, 4)}
                for side, row in found.items()
            }  # fmt: skip
            ratio = sides["pytorch"]["processor_seconds"] / sides["ours"]["processor_seconds"]
            rows.append({"channels": channels, "mask": name, "multiply_adds": multiply_adds, **sides,
                         "pytorch_over_ours": round(ratio, 2)})  # fmt: skip
            print(rows[-1], flush=True)
    content = {"images": options.images, "peak_multiply_adds_a_processor_second": float(f"{peak:.3g}"), "rows": rows}
    if options.name:
        write(options.name, content)
    return content


if __name__ == "__main__":
    main()
