"""TE-NAS's released search in PyTorch, whole or a part of it, and the small reference values of the tests.

    python benchmarks/search_pytorch.py search --candidates 4     # times four candidates of the first round
    python benchmarks/search_pytorch.py fixture                   # writes the small reference values in tests/fixtures

Where other programs share the processor, PyTorch's threads wait for one another many times longer than they work; then
`--threads 1` is the fair setting.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from pytorch.fixture import write_fixtures
from pytorch.networks import OPERATORS
from pytorch.search import architecture, search


def read_images(path: Path | None, seed: int) -> np.ndarray:
    """The array `x` of an .npz file; without a file 4,000 images of uniform noise, which takes as long."""
    if path is None:
        return np.random.default_rng(seed).integers(256, size=(4000, 32, 32, 3), dtype=np.uint8)
    with np.load(path) as file:
        return file["x"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="TE-NAS's released protocol in PyTorch.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fixture", help="write the small reference values in tests/fixtures")
    run = commands.add_parser("search", help="run the pruning search, or time a part of it")
    run.add_argument("--space", choices=sorted(OPERATORS), default="nasbench201")
    run.add_argument("--data", type=Path, help=".npz with x, uint8 (N, 32, 32, 3); default: uniform noise")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--rounds", type=int, help="stop after so many rounds")
    run.add_argument("--candidates", type=int, help="score only so many candidates of a round, and prune nothing")
    run.add_argument("--threads", type=int, help="processor threads; default: PyTorch's choice")
    run.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args(arguments)
    if options.command == "fixture":
        for path in write_fixtures(Path(__file__).parents[1] / "tests" / "fixtures"):
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        return 0
    if options.threads:
        torch.set_num_threads(options.threads)
    result = search(
        read_images(options.data, options.seed),
        options.seed,
        space=options.space,
        limit_rounds=options.rounds,
        limit_candidates=options.candidates,
    )
    seconds = [candidate.seconds for scored in result.rounds for candidate in scored]
    print(f"{len(seconds)} candidates in {result.seconds:.1f} s; one takes {np.median(seconds):.2f} s (median)")
    if result.finished and options.space == "nasbench201":
        print(architecture(result.mask))
    if options.output:
        record = result._asdict() | {
            "mask": result.mask.tolist(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        record["rounds"] = [[candidate._asdict() for candidate in scored] for scored in result.rounds]
        options.output.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
