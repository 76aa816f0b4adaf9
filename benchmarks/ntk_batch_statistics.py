"""Coupled against frozen batch statistics of the empirical NTK: what each costs, and how alike they rank.

    python benchmarks/ntk_batch_statistics.py [--benchmark TABLE] [--data IMAGES.npz] [--architectures 300] [--seeds 3]

With coupled statistics an image's logits depend on the whole batch, and its gradient is a backward pass of the batch; with
frozen ones, taken from the same batch beforehand, gradients are those of single images. Costs are compared on the same
networks, weights and images at several batch sizes; ranks by Kendall's tau-b between log condition numbers of random
connected architectures of NAS-Bench-201, over seeds that change weights and images. TABLE is a csv of trained accuracies,
to which either ranking is compared too. Takes about six minutes and writes `results/ntk_batch_statistics.json`.
"""

import argparse
import itertools
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np

from common.architectures import random_architectures
from common.records import write
from common.statistics import mean_and_error, tau
from common.timing import seconds_in_turn
from tenas_jax.data import ImageSource, image_batch, open_images
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.ntk.spectrum import condition_numbers
from tenas_jax.rank.benchmark_table import BenchmarkTable, read_table
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.programs import network_ntk
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.skeleton import Skeleton

Mode = Literal["coupled", "frozen"]
MODES: tuple[Mode, ...] = get_args(Mode)
TIMED = 6  # architectures whose kernels are timed, besides the supernet


def kernel_program(net: CellNetwork, mode: Mode) -> MaskProgram:
    """`(masks, variables, images) -> kernels` (m, n, n), as a search computes them.

    Args:
        net: the network.
        mode: of the batch statistics. Frozen ones come from a forward pass of the same images, which is part of the cost.
    """
    return MaskProgram(partial(network_ntk, net, batch_stats=mode))


def draw(net: CellNetwork, source: ImageSource, seed: int, batch: int) -> tuple[Any, Any]:
    """Weights of the whole supernet and a batch of images."""
    weights, images = jax.random.split(jax.random.key(seed))
    drawn = image_batch(images, source, batch)
    full = np.ones(NAS_BENCH_201.mask_shape, bool)
    return jax.jit(lambda key, images: net.init(key, images, full))(weights, drawn), drawn


def costs(programs: dict[Mode, MaskProgram], networks: dict[str, np.ndarray], arguments, repeats: int) -> dict:
    """Seconds of one kernel in either mode and their ratio, for one batch of images.

    Args:
        programs: by mode.
        networks: masks by name.
        arguments: variables and images.
        repeats: of either mode, in turn.
    """
    before = {mode: program.compile_seconds for mode, program in programs.items()}
    for program in programs.values():
        program(next(iter(networks.values()))[None], *arguments)
    row: dict[str, Any] = {
        "batch": len(arguments[1]),
        "compile_seconds": {m: round(p.compile_seconds - before[m], 1) for m, p in programs.items()},
        "networks": {},
    }
    for name, mask in networks.items():
        functions = {mode: partial(program, mask[None], *arguments) for mode, program in programs.items()}
        seconds = seconds_in_turn(functions, dict.fromkeys(functions, repeats))
        wall, processor = ({m: float(np.median(s[:, column])) for m, s in seconds.items()} for column in (0, 1))
        row["networks"][name] = {
            "seconds": {mode: round(value, 5) for mode, value in wall.items()},
            "processor_seconds": {mode: round(value, 5) for mode, value in processor.items()},
            "coupled_over_frozen": round(wall["coupled"] / wall["frozen"], 2),
            "coupled_over_frozen_in_processor_seconds": round(processor["coupled"] / processor["frozen"], 2),
        }
    single = [values for name, values in row["networks"].items() if name != "supernet"]
    for key in ("coupled_over_frozen", "coupled_over_frozen_in_processor_seconds"):
        row[f"{key}_of_single_architectures_median"] = round(float(np.median([values[key] for values in single])), 2)
    print(row, flush=True)
    return row


def rank_agreement(
    values: dict[Mode, np.ndarray], health: dict[Mode, np.ndarray], accuracy: np.ndarray | None
) -> dict[str, Any]:
    """Kendall's tau-b between the modes, between the seeds of one mode, and of either with trained accuracies.

    Args:
        values: condition numbers (seeds, architectures) by mode; infinite, so tied as the worst, where a kernel is not of
            full rank.
        health: of every kernel, by mode.
        accuracy: (architectures,), or None.
    """
    # The logarithm changes no rank; an infinite value stays the worst.
    between = [tau(a, b) for a, b in zip(values["coupled"], values["frozen"], strict=True)]
    result: dict[str, Any] = {
        "coupled_with_frozen": mean_and_error(between),
        "same_mode_with_another_seed": {
            mode: [round(tau(a, b), 4) for a, b in itertools.combinations(rows, 2)] for mode, rows in values.items()
        },
        "not_of_full_rank": {mode: [int((row != "full rank").sum()) for row in rows] for mode, rows in health.items()},
        "median_log_condition_number": {m: round(float(np.median(np.log(rows))), 3) for m, rows in values.items()},
    }
    if accuracy is not None:
        reached = {mode: np.array([tau(-row, accuracy) for row in rows]) for mode, rows in values.items()}
        result["low_condition_number_with_accuracy"] = {mode: mean_and_error(taus) for mode, taus in reached.items()}
        result["coupled_minus_frozen_with_accuracy"] = mean_and_error(reached["coupled"] - reached["frozen"])
    return result


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", type=Path, help="a csv of trained accuracies, which enter no score")
    parser.add_argument("--data", type=Path, help="an .npz of CIFAR-10 images; synthetic ones without it")
    parser.add_argument("--architectures", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3, help="at least 2")
    parser.add_argument("--channels", type=int, default=8, help="of the first stage")
    parser.add_argument("--batch", type=int, default=16, help="images of the kernels that are ranked")
    parser.add_argument("--cost-batches", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--repeats", type=int, default=5, help="of every time")
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    start = time.perf_counter()
    table: BenchmarkTable | None = read_table(arguments.benchmark) if arguments.benchmark else None
    source = open_images("cifar10", arguments.data) if arguments.data else open_images()
    net = CellNetwork(NAS_BENCH_201, Skeleton(arguments.channels, cells=1), "fan_out")
    programs: dict[Mode, MaskProgram] = {mode: kernel_program(net, mode) for mode in MODES}
    architectures = random_architectures(arguments.architectures)

    networks = {"supernet": NAS_BENCH_201.supernet()}
    networks |= {NAS_BENCH_201.format(mask): mask for mask in architectures[:TIMED]}
    cost = [
        costs(programs, networks, draw(net, source, 0, batch), arguments.repeats) for batch in arguments.cost_batches
    ]

    values, health = (np.empty((len(MODES), arguments.seeds, len(architectures)), dtype) for dtype in (float, object))
    for seed in range(arguments.seeds):
        drawn = draw(net, source, seed, arguments.batch)
        for row, program in enumerate(programs.values()):
            values[row, seed], health[row, seed] = condition_numbers(program(architectures, *drawn))
        print(f"seed {seed}: tau {tau(*values[:, seed]):.3f}", flush=True)
    accuracy = np.array([table.accuracies[NAS_BENCH_201.format(m)] for m in architectures]) if table else None
    ranks = rank_agreement(dict(zip(programs, values, strict=True)), dict(zip(programs, health, strict=True)), accuracy)
    print(ranks)
    write(
        "ntk_batch_statistics",
        {
            "what": "empirical NTK of NAS-Bench-201 in float32, spectrum in float64; coupled against frozen statistics",
            "images": source.name.split(":")[0],
            "side": source.shape[0],
            "channels": arguments.channels,
            "cells_a_stage": 1,
            "fan": "fan_out",
            "cost_of_one_kernel": {"repeats": arguments.repeats, "batches": cost},
            "kendall_tau": {
                "architectures": len(architectures),
                "seeds": list(range(arguments.seeds)),
                "batch": arguments.batch,
                "accuracies": table.column if table else None,
                **ranks,
            },
            "seconds": round(time.perf_counter() - start),
        },
    )


if __name__ == "__main__":
    main()
