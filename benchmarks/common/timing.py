"""Seconds of compiling, and of several functions that are run in turn."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def compiled(function: Callable, *arguments: Any) -> tuple[Callable, float]:
    """The compiled function, and the seconds of tracing and compiling.

    Args:
        function: of arrays.
        *arguments: examples of them.
    """
    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    return program, time.perf_counter() - start


def seconds_in_turn(functions: dict[str, Callable[[], Any]], repeats: dict[str, int]) -> dict[str, np.ndarray]:
    """Times of several functions, taken in turn so that whatever else the machine does meets all of them.

    Args:
        functions: by name; each returns when its work is done.
        repeats: how often each is run.

    Returns:
        (repeats, 2) by name: seconds on the clock, and processor seconds of all threads.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for turn in range(max(repeats.values())):
        for name, function in functions.items():
            if turn < repeats[name]:
                start = time.perf_counter(), time.process_time()
                function()
                seconds[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {name: np.array(values) for name, values in seconds.items()}


def summary(seconds: np.ndarray) -> dict[str, Any]:
    """Medians and all repeats of what `seconds_in_turn` returns, with four significant digits.

    Args:
        seconds: (repeats, 2).
    """
    wall, processor = (float(f"{value:.4g}") for value in np.median(seconds, axis=0))
    repeats = [float(f"{value:.4g}") for value in seconds[:, 0]]
    return {"seconds": wall, "processor_seconds": processor, "repeats": len(repeats), "all_seconds": repeats}
