"""One indicator of one mask, by PyTorch and by us, with the same weights and the same images, in one run.

    python benchmarks/score_beside_pytorch.py [--data IMAGES.npz] [--channels 3 16] [--threads 2]

The supernet of NAS-Bench-201, a half-pruned mask and a single architecture, with the released settings: batch norm
couples 72 images in the NTK, 1000 patches of one colour channel in the linear regions; the NTK with the released code's
3 channels, and with the 16 that the benchmark trains. Times are taken in float32, ours and PyTorch's in turn, compile
time apart; answers are compared in float64. Takes about five minutes and writes `results/score_beside_pytorch.json`.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from common.records import write
from common.timing import compiled, seconds_in_turn, summary
from pytorch.indicators import condition_number as torch_condition_number
from pytorch.indicators import linear_regions as torch_linear_regions
from pytorch.indicators import ntk as torch_ntk
from pytorch.networks import NasBench201Network, initialise, region_network
from pytorch.weights import from_torch
from tenas_jax.data import ImageSource, image_batch, open_images, patch_batch
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.ntk.analytic import analytic_ntk
from tenas_jax.ntk.spectrum import condition_number
from tenas_jax.patterns.regions import count_hashes, hash_patterns
from tenas_jax.scores.programs import network_ntk
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.registry import SPACES
from tenas_jax.spaces.score import Kernel, Patterns
from tenas_jax.spaces.skeleton import Skeleton

RELEASED, DEFAULT = (
    work
    for name in ("condition_number_released", "condition_number_ntk_parametrisation")
    if isinstance(work := NAS_BENCH_201.scores[name].work, Kernel)
)
(PATTERNS,) = (
    work for name in ("linear_regions_released",) if isinstance(work := NAS_BENCH_201.scores[name].work, Patterns)
)
SINGLE = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"


class Plan(NamedTuple):
    """How often a kernel is timed, and on how many of the batch's images the answers are compared.

    Attributes:
        ours: repeats of our kernel.
        pytorch: repeats of PyTorch's.
        answer_images: images of the float64 kernels: PyTorch takes minutes for all 72 at 16 channels.
    """

    ours: int
    pytorch: int
    answer_images: int


PLANS = {3: Plan(ours=3, pytorch=2, answer_images=72), 16: Plan(ours=2, pytorch=1, answer_images=24)}
CHEAP = Plan(ours=15, pytorch=7, answer_images=0)  # linear regions, and the analytic kernel


def masks() -> dict[str, np.ndarray]:
    """The supernet, two operators of four on every edge, and a single architecture."""
    supernet = NAS_BENCH_201.supernet()
    order = np.random.default_rng(0).permuted(np.tile(np.arange(4), (6, 1)), axis=-1)
    half = supernet.copy()
    half[0, :, 1:] = order < 2
    return {"supernet": supernet, "half-pruned": half, "single architecture": NAS_BENCH_201.parse(SINGLE)}


def variables_of(net: CellNetwork, torch_network: torch.nn.Module, inputs: np.ndarray) -> Any:
    """Our network's variables with PyTorch's weights, in PyTorch's precision.

    Args:
        net: our network.
        torch_network: the same one in PyTorch.
        inputs: (b, h, w, c), for their shape.
    """
    example = jax.ShapeDtypeStruct(inputs.shape, "float32")
    full = np.ones(NAS_BENCH_201.mask_shape, bool)
    shapes = jax.eval_shape(lambda key, x: net.init(key, x, full), jax.random.key(0), example)
    state = {name: weight.numpy() for name, weight in torch_network.state_dict().items()}
    parameters = from_torch(shapes["params"], state)
    dtype = next(iter(parameters.values())).dtype
    return {
        "params": parameters,
        "batch_stats": jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, dtype), shapes["batch_stats"]),
    }


def channels_first(images: np.ndarray) -> torch.Tensor:
    """(b, h, w, c) to (b, c, h, w)."""
    return torch.as_tensor(images.transpose(0, 3, 1, 2).copy())


class Indicator(NamedTuple):
    """An indicator on both sides, as functions of a mask.

    Attributes:
        ours: `(mask, variables, inputs) -> array`, to be compiled.
        theirs: `(mask, inputs) -> kernel or count`, in the precision of `torch_network`.
        net: our network.
        torch_network: PyTorch's, which owns the weights of both.
        inputs: float32 (b, h, w, c).
        plan: how often.
    """

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    net: CellNetwork
    torch_network: torch.nn.Module
    inputs: np.ndarray
    plan: Plan


def kernel_indicator(images: np.ndarray, channels: int) -> Indicator:
    """The empirical NTK of images (b, h, w, 3), coupled by batch norm."""
    net = CellNetwork(NAS_BENCH_201, Skeleton(channels, cells=1), RELEASED.fan)
    torch_network = NasBench201Network(3, channels, stages=3, use_stem=True)
    initialise(torch_network, RELEASED.fan, torch.Generator().manual_seed(0))

    def ours(mask, variables, images):
        return network_ntk(net, mask, variables, images, batch_stats=RELEASED.batch_stats)

    def theirs(mask, inputs):
        return torch_ntk(torch_network, inputs, mask)

    return Indicator(ours, theirs, net, torch_network, images, PLANS[channels])


def region_indicator(patches: np.ndarray) -> Indicator:
    """The number of linear regions on patches (b, 3, 3, 1)."""
    net = CellNetwork(NAS_BENCH_201, SPACES["nasbench201"].skeleton("regions"), "fan_in")
    torch_network = region_network("nasbench201")
    initialise(torch_network, "fan_in", torch.Generator().manual_seed(0))

    def ours(mask, variables, patches):
        bits: Any = net.apply(variables, patches, mask, method="activation_bits")
        return count_hashes(hash_patterns(bits))

    def theirs(mask, inputs):
        return torch_linear_regions(torch_network, inputs, mask, batch=len(inputs))

    return Indicator(ours, theirs, net, torch_network, patches, CHEAP)


def times(indicator: Indicator, chosen: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Seconds of both sides in float32, by mask; one compilation serves all masks."""
    inputs, torch_inputs = jnp.asarray(indicator.inputs), channels_first(indicator.inputs)
    variables = variables_of(indicator.net, indicator.torch_network, indicator.inputs)
    program, compile_seconds = compiled(indicator.ours, next(iter(chosen.values())), variables, inputs)
    # The first run of either side pays for threads and memory that the later ones find ready.
    *_, warm_up = chosen.values()
    jax.block_until_ready(program(warm_up, variables, inputs))
    with torch.no_grad():
        indicator.torch_network(torch_inputs, torch.as_tensor(warm_up))
    rows = {}
    for name, mask in chosen.items():
        torch_mask = torch.as_tensor(mask)
        seconds = seconds_in_turn(
            {
                "ours": lambda mask=mask: jax.block_until_ready(program(mask, variables, inputs)),
                "pytorch": lambda torch_mask=torch_mask: indicator.theirs(torch_mask, torch_inputs),
            },
            {"ours": indicator.plan.ours, "pytorch": indicator.plan.pytorch},
        )
        ours, theirs = (np.median(seconds[side], axis=0) for side in ("ours", "pytorch"))
        rows[name] = {
            "ours": {**summary(seconds["ours"]), "compile_seconds_of_all_masks": round(compile_seconds, 2)},
            "pytorch": summary(seconds["pytorch"]),
            "pytorch_over_ours": round(float(theirs[0] / ours[0]), 2),
            "pytorch_over_ours_in_processor_seconds": round(float(theirs[1] / ours[1]), 2),
        }
        print(name, rows[name], flush=True)
    return rows


def both_answers(indicator: Indicator, chosen: dict[str, np.ndarray], inputs: np.ndarray) -> dict[str, tuple]:
    """What both sides return in float64, (ours, theirs) by mask.

    Args:
        indicator: whose PyTorch network is in float64 already.
        chosen: masks by name.
        inputs: float64 (b, h, w, c).
    """
    variables = variables_of(indicator.net, indicator.torch_network, inputs)
    program, _ = compiled(indicator.ours, next(iter(chosen.values())), variables, inputs)
    torch_inputs = channels_first(inputs)
    return {
        name: (np.asarray(program(mask, variables, inputs)), indicator.theirs(torch.as_tensor(mask), torch_inputs))
        for name, mask in chosen.items()
    }


def kernel_answers(indicator: Indicator, chosen: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Condition numbers of both sides in float64, and how far apart the kernels are, by mask."""
    indicator.torch_network.double()
    inputs = indicator.inputs[: indicator.plan.answer_images].astype(np.float64)
    rows = {}
    for name, (ours, theirs) in both_answers(indicator, chosen, inputs).items():
        expected = theirs.numpy()
        rows[name] = {
            "images": len(inputs),
            "condition_number": {"ours": condition_number(ours).value, "pytorch": torch_condition_number(theirs)},
            "relative_kernel_error": float(np.linalg.norm(ours - expected) / np.linalg.norm(expected)),
        }
        print(name, rows[name], flush=True)
    return rows


def region_answers(indicator: Indicator, chosen: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Region counts of both sides in float64, by mask."""
    indicator.torch_network.double()
    answers = both_answers(indicator, chosen, indicator.inputs.astype(np.float64))
    rows = {name: {"count": {"ours": int(ours), "pytorch": theirs}} for name, (ours, theirs) in answers.items()}
    print(rows, flush=True)
    return rows


def analytic_rows(source, chosen: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Our analytic NTK on the same masks, with its own default settings: 8 images of 4 x 4 pixels."""
    images = image_batch(jax.random.key(2), source, DEFAULT.images, side=DEFAULT.side)
    skeleton = Skeleton(DEFAULT.skeleton.channels, cells=1)
    program, compile_seconds = compiled(
        lambda mask, images: analytic_ntk(NAS_BENCH_201, mask, images, skeleton=skeleton), chosen["supernet"], images
    )
    rows = {}
    for name, mask in chosen.items():
        kernel = program(mask, images)
        seconds = seconds_in_turn(
            {"ours": lambda mask=mask: jax.block_until_ready(program(mask, images))}, {"ours": CHEAP.ours}
        )
        rows[name] = {
            **summary(seconds["ours"]),
            "compile_seconds_of_all_masks": round(compile_seconds, 2),
            "condition_number": condition_number(kernel)._asdict(),
        }
        print("analytic", name, rows[name], flush=True)
    return rows


def inputs_of(source: ImageSource) -> tuple[np.ndarray, np.ndarray]:
    """Images (b, h, w, 3) for the kernels and patches for the regions, as the released settings take them."""
    images = image_batch(jax.random.key(0), source, RELEASED.images)
    patches = patch_batch(
        jax.random.key(1),
        source,
        PATTERNS.samples,
        patch=PATTERNS.side,
        channels=PATTERNS.channels,
    )
    return np.asarray(images), np.asarray(patches)


def kernel_row(channels: int, seconds: dict, answers: dict) -> dict[str, Any]:
    """What was measured of the empirical NTK of one width, with its settings."""
    return {
        "channels": channels,
        "cells_a_stage": 1,
        "images": RELEASED.images,
        "batch_stats": RELEASED.batch_stats,
        "fan": RELEASED.fan,
        "times": seconds,
        "answers": answers,
    }


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="an .npz of CIFAR-10 images; synthetic ones without it")
    parser.add_argument("--channels", type=int, nargs="+", choices=sorted(PLANS), default=sorted(PLANS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    torch.set_num_threads(arguments.threads)
    start = time.perf_counter()

    source = open_images("cifar10", arguments.data) if arguments.data else open_images()
    images, patches = inputs_of(source)
    chosen = masks()
    kernels = {channels: kernel_indicator(images, channels) for channels in arguments.channels}
    regions = region_indicator(patches)

    # All float32 before any float64: the switch changes the default precision of every later program.
    region_times = times(regions, chosen)
    analytic = analytic_rows(source, chosen)
    kernel_times = {channels: times(indicator, chosen) for channels, indicator in kernels.items()}
    jax.config.update("jax_enable_x64", True)
    region_found = region_answers(regions, chosen)
    kernel_found = {channels: kernel_answers(indicator, chosen) for channels, indicator in kernels.items()}

    write(
        "score_beside_pytorch",
        {
            "what": "one indicator of one mask of NAS-Bench-201, same weights and inputs on both sides; medians of "
            "float32 repeats taken in turn after compilation; answers in float64",
            "images": source.name.split(":")[0],
            "torch": torch.__version__,
            "threads_of_pytorch": arguments.threads,
            "alive_operators": {name: int(mask.sum()) for name, mask in chosen.items()},
            "ntk": [kernel_row(channels, kernel_times[channels], kernel_found[channels]) for channels in kernels],
            "linear_regions": {
                "patches": PATTERNS.samples,
                "input_channels": PATTERNS.channels,
                "times": region_times,
                "answers": region_found,
            },
            "analytic_ntk": {
                "what": "ours only, with the default search's settings, not the released ones; the limit of infinitely "
                "many channels on other, smaller images",
                "images": DEFAULT.images,
                "side": DEFAULT.side,
                "times": analytic,
            },
            "seconds": round(time.perf_counter() - start),
        },
    )


if __name__ == "__main__":
    main()
