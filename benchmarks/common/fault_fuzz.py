"""Input that nobody meant: strings, tables, masks, kernels and images at random, and what becomes of them.

Every input must be taken, or refused as `InputError`; the condition number of a kernel that is taken is at least 1 or
infinite, never NaN.
"""

import collections
import math
import random
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.fuzz_images import fuzz_images

WORDS = (
    "none",
    "skip_connect",
    "nor_conv_3x3",
    "sep_conv_5x5",
    "normal",
    "reduce",
    "Genotype(",
    "range(2, 6)",
    "[('",
    "',",
)
PIECES = (
    "|",
    "~",
    "+",
    "0",
    "9",
    "-1",
    " ",
    "'",
    '"',
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    ":",
    "\\",
    "\x00",
    "é",
    "\ud800",
)
SHARES = {"strings": 0.7, "tables": 0.1, "masks": 0.09, "kernels": 0.09, "images": 0.02}


def fuzz(rng: random.Random, number: int, folder: Path, failures: list[str]) -> collections.Counter:
    """Tries random input.

    Args:
        rng: decides everything.
        number: of inputs.
        folder: for files.
        failures: what was neither taken nor refused in one sentence is added.

    Returns:
        How much of each kind was taken, refused, or neither.
    """
    from tenas_jax.errors import InputError

    counts: collections.Counter = collections.Counter()
    kinds: dict[str, Callable[[], Any]] = {
        "strings": _strings(rng), "tables": _tables(rng, folder), "masks": _masks(rng), "kernels": _kernels(rng)
    }  # fmt: skip
    for kind, attempt in kinds.items():
        for _ in range(round(number * SHARES[kind])):
            try:
                attempt()
                counts[f"{kind} taken"] += 1
            except InputError as error:
                counts[f"{kind} refused"] += 1
                if len(str(error)) > 1000:
                    failures.append(f"{kind}: a message of {len(str(error))} characters")
            except Exception:
                counts[f"{kind} uncaught"] += 1
                failures.append(f"{kind}: {traceback.format_exc()[-500:]}")
    images = fuzz_images(rng.randrange(2**32), round(number * SHARES["images"]))
    failures += [f"images ({kind}): {error}" for kind, error, _ in images["failures"]]
    for kind, found in images["counts"].items():
        counts.update({f"{kind} {outcome.replace('read', 'taken')}": n for outcome, n in found.items()})
    return counts


def _mutated(rng: random.Random, text: str) -> str:
    """A text with some of it cut, doubled, swapped or replaced."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.randint(0, 12))
        middle = rng.choice(["", text[start:end] * 2, text[start:end][::-1], rng.choice(WORDS), rng.choice(PIECES)])
        text = text[:start] + middle + text[end:]
    return text


def _strings(rng: random.Random) -> Callable[[], Any]:
    from tenas_jax.spaces.darts import DARTS
    from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
    from tenas_jax.spaces.strings import genotype_json

    spaces = NAS_BENCH_201, DARTS
    generator = np.random.default_rng(rng.randrange(2**32))
    good = []
    for space in spaces:
        for _ in range(40):
            mask = space.one_hot(_choice(space, generator))
            good.append((space, space.format(mask)))
            if space is DARTS:
                good.append((space, genotype_json(space, mask)))

    def attempt() -> None:
        space, text = rng.choice(good)
        text = (
            _mutated(rng, text) if rng.random() < 0.95 else "".join(rng.choices(WORDS + PIECES, k=rng.randint(0, 60)))
        )
        mask = space.parse(text)
        assert space.parse(space.format(mask)).tolist() == mask.tolist()

    return attempt


def _choice(space: Any, generator: np.random.Generator) -> np.ndarray:
    """Operator numbers of an architecture; of DARTS two edges a node."""
    cells, edges, operators = space.mask_shape
    if space.kept_edges is None:
        return generator.integers(operators, size=(cells, edges))
    choice = np.zeros((cells, edges), int)
    for cell in range(cells):
        for node in range(space.inputs, space.nodes):
            entering = [number for number, (_, target) in enumerate(space.edges) if target == node]
            kept = generator.choice(entering, space.kept_edges, replace=False)
            choice[cell, kept] = generator.integers(1, operators, size=space.kept_edges)
    return choice


def _tables(rng: random.Random, folder: Path) -> Callable[[], Any]:
    from tenas_jax.rank.architectures import read_rows
    from tenas_jax.rank.benchmark_table import read_table

    name = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    head = "architecture,accuracy,normal,reduce\n"
    good = head + "".join(f"{name},{number / 7},skip_connect~0 none~1,none~0\n" for number in range(4))
    file = folder / "table.csv"

    def attempt() -> None:
        text = _mutated(rng, good)
        file.write_bytes(text.encode(errors=rng.choice(["surrogatepass", "replace"])))
        read_rows(file)
        read_table(file, rng.choice([None, "accuracy", "architecture", "reduce"]))

    return attempt


def _masks(rng: random.Random) -> Callable[[], Any]:
    from tenas_jax.networks import cost
    from tenas_jax.spaces.darts import DARTS
    from tenas_jax.spaces.nasbench201 import NAS_BENCH_201

    def attempt() -> None:
        space = rng.choice([NAS_BENCH_201, DARTS])
        generator = np.random.default_rng(rng.randrange(2**32))
        shape = list(space.mask_shape)
        if rng.random() < 0.5:
            place = rng.randrange(3)
            shape[place] = max(0, shape[place] + rng.randint(-2, 2))
            shape = shape[: rng.choice([0, 1, 2, 3, 3, 3])] + [2] * rng.choice([0, 0, 0, 1])
        mask: Any = generator.integers(2, size=shape)
        mask = mask.astype(rng.choice([bool, int, float, object])) if rng.random() < 0.7 else mask.tolist()
        if rng.random() < 0.3:
            mask = space.one_hot(_choice(space, generator))
        rng.choice([space.is_connected, space.format, space.choice, lambda m: cost.costs(space, m)])(mask)

    return attempt


def _kernels(rng: random.Random) -> Callable[[], Any]:
    from tenas_jax.ntk.spectrum import condition_number

    def attempt() -> None:
        generator = np.random.default_rng(rng.randrange(2**32))
        n = rng.randint(1, 8)
        factor = generator.normal(size=(n, rng.randint(1, 8))) * 10.0 ** rng.randint(-160, 160)
        with np.errstate(all="ignore"):
            kernel = factor @ factor.T
        if rng.random() < 0.2:
            kernel[rng.randrange(n), rng.randrange(n)] = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1e308, -1e308])
        if rng.random() < 0.1:
            kernel = kernel[: rng.randint(0, n)]
        if rng.random() < 0.3:
            with np.errstate(all="ignore"):
                kernel = kernel.astype(rng.choice([np.float32, np.int64, np.complex128]), casting="unsafe")
        found = condition_number(kernel)
        value = float(found.value)
        assert value >= 1 or math.isinf(value), f"condition number {value}"

    return attempt
