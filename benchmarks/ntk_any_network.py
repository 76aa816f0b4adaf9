"""The empirical NTK of ResNet-20 and ResNet-18: time and peak memory beside neural-tangents and PyTorch.

    python benchmarks/ntk_any_network.py              # batch 32 and, for memory, ResNet-18 at batch 64 with blocks of 16

Every way runs in a process of its own, so that its peak memory is its own, and computes the kernel of the sum of logits of
the same network on the same images; the kernels are compared with ours. The ways take turns, `--rounds` times, and each
process notes the machine's load before it starts. Writes benchmarks/results/ntk_any_network.json.
"""

# pyright: reportMissingImports=false

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from common.records import write

WAYS = ("ours", "neural_tangents_1", "neural_tangents_2", "neural_tangents_3", "torch_func", "torch_func_1_thread")
MEBIBYTE = 2**20


def images_of(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, side, side, 3)).astype(np.float32)


def jax_kernel(way: str, network: str, images: np.ndarray, block: int | None):
    """A function without arguments that returns the kernel."""
    import jax
    import jax.numpy as jnp

    from common.resnets import resnet
    from tenas_jax import empirical_ntk
    from tenas_jax.ntk import neural_tangents as _neural_tangents

    net, variables = resnet(network, side=images.shape[1])
    batch = jnp.asarray(images)

    def apply(variables, x) -> Any:
        return net.apply(variables, x)

    if way == "ours" and block is not None:
        return lambda: np.asarray(empirical_ntk(apply, variables, batch, block_size=block))
    if way == "ours":
        program = jax.jit(lambda v, x: empirical_ntk(apply, v, x))
        return lambda: np.asarray(program(variables, batch))
    rest = {name: collection for name, collection in variables.items() if name != "params"}

    def logits(params, x) -> Any:
        output: Any = net.apply({"params": params, **rest}, x)
        return output.sum(1, keepdims=True)

    kernel = _neural_tangents.load().empirical_ntk_fn(
        logits, trace_axes=(-1,), vmap_axes=0, implementation=int(way.rpartition("_")[2])
    )
    program = jax.jit(lambda params, x: kernel(x, None, params))
    return lambda: np.asarray(program(variables["params"], batch))


def torch_kernel(network: str, images: np.ndarray, *, one_thread: bool):
    """The same with `torch.func`: per-image gradients by vmap, contracted layer by layer."""
    import torch
    from torch.func import functional_call, grad, vmap

    from common.resnets import load_weights, resnet, torch_resnet

    # On a machine that has other work to do, threads that wait for each other can cost more than they save.
    if one_thread:
        torch.set_num_threads(1)
    model = torch_resnet(network)
    load_weights(model, resnet(network, side=images.shape[1])[1])
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    buffers = dict(model.named_buffers())
    batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())

    def total(parameters, image):
        return functional_call(model, (parameters, buffers), (image[None],)).sum()

    def kernel():
        gradients = vmap(grad(total), (None, 0))(parameters, batch)
        flat = [leaf.reshape(len(batch), -1) for leaf in gradients.values()]
        return torch.stack([rows @ rows.T for rows in flat]).sum(0).numpy()

    return kernel


def measure(way: str, network: str, images: np.ndarray, block: int | None, repeats: int) -> dict[str, Any]:
    """Runs one way in this process; the first run compiles."""
    if way.startswith("torch_func"):
        function = torch_kernel(network, images, one_thread=way.endswith("1_thread"))
    else:
        function = jax_kernel(way, network, images, block)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    kernel = function()
    first, seconds = time.perf_counter() - start, []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "first_run_seconds": round(first, 3),
        "all_seconds": [round(value, 4) for value in seconds],
        "peak_mebibytes": round(peak * 1024 / MEBIBYTE),
        "peak_mebibytes_before": round(before * 1024 / MEBIBYTE),
        "kernel": kernel.tolist(),
    }


def in_a_process(way: str, network: str, options: argparse.Namespace, batch: int, block: int | None) -> dict[str, Any]:
    """`measure` in a fresh process; a way that fails says why."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, __file__, "--way", way, "--networks", network]
        command += ["--batch", str(batch), "--side", str(options.side), "--repeats", str(options.repeats)]
        command += ["--into", str(path)] + ([] if block is None else ["--block", str(block)])
        load = round(os.getloadavg()[0], 2)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=options.timeout)
        except subprocess.TimeoutExpired:
            return {"failed": f"not finished after {options.timeout} s", "load_before": load}
        if done.returncode or not path.exists():
            errors = [line for line in done.stderr.splitlines() if "Error" in line or "Exception" in line]
            return {"failed": errors[-1] if errors else f"exit code {done.returncode}", "load_before": load}
        return {**json.loads(path.read_text()), "load_before": load}


def in_turn(ways: list[str], network: str, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """All ways, `options.rounds` times one after the other; a way that failed is not tried again."""
    rounds: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, found in rounds.items():
            if not any("failed" in result for result in found):
                found.append(in_a_process(way, network, options, options.batch, None))
    return {way: summary(found) for way, found in rounds.items()}


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """One way's processes as one result: the largest peak, and minimum and median over all repeats."""
    if "failed" in found[-1]:
        return found[-1]
    seconds = [value for result in found for value in result["all_seconds"]]
    return {
        "first_run_seconds": min(result["first_run_seconds"] for result in found),
        "minimum_seconds": min(seconds),
        "median_seconds": round(float(np.median(seconds)), 4),
        "all_seconds": seconds,
        "peak_mebibytes": max(result["peak_mebibytes"] for result in found),
        "peak_mebibytes_before": max(result["peak_mebibytes_before"] for result in found),
        "load_before": [result["load_before"] for result in found],
        "kernel": found[0]["kernel"],
    }


def compare(results: dict[str, dict[str, Any]]) -> None:
    """Replaces each kernel by its largest difference from ours, relative to our largest entry."""
    ours = np.array(results["ours"].get("kernel", np.nan))
    for result in results.values():
        if "kernel" in result:
            difference = np.abs(np.array(result.pop("kernel")) - ours).max() / np.abs(ours).max()
            result["relative_difference"] = float(f"{difference:.2g}")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", nargs="+", default=["resnet20", "resnet18"], choices=["resnet20", "resnet18", "resnet8"]
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5, help="runs of a process, after the one that compiles")
    parser.add_argument("--rounds", type=int, default=3, help="processes of a way")
    parser.add_argument("--timeout", type=int, default=900, help="seconds a way")
    parser.add_argument("--large-batch", type=int, default=64, help="of ResNet-18 in blocks; 0 leaves it out")
    parser.add_argument("--large-block", type=int, default=16)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--name", default="ntk_any_network", help="of the result's file; empty writes none")
    parser.add_argument("--way", choices=WAYS, help="run this way only, in this process")
    parser.add_argument("--block", type=int)
    parser.add_argument("--into", type=Path)
    options = parser.parse_args(arguments)
    if options.way:
        images = images_of(options.batch, options.side)
        result = measure(options.way, options.networks[0], images, options.block, options.repeats)
        options.into.write_text(json.dumps(result))
        return result
    content: dict[str, Any] = {"batch": options.batch, "side": options.side, "networks": {}}
    for network in options.networks:
        results = in_turn(list(dict.fromkeys(["ours", *options.ways])), network, options)
        compare(results)
        content["networks"][network] = results
        for way, result in results.items():
            print(network, way, json.dumps(result), flush=True)
    if options.large_batch:
        result = summary([in_a_process("ours", "resnet18", options, options.large_batch, options.large_block)])
        result.pop("kernel", None)
        content["resnet18_in_blocks"] = {"batch": options.large_batch, "block": options.large_block, **result}
        print("resnet18 in blocks", json.dumps(content["resnet18_in_blocks"]), flush=True)
    if options.name:
        write(options.name, content)
    return content


if __name__ == "__main__":
    main()
