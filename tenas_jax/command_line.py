"""What the command lines share: a parser with one-sentence complaints, programs that stay compiled, versions."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tenas_jax.errors import InputError

UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}
MOST_SEED = 2**32 - 1  # JAX takes no more of a seed where numbers have 32 bits
CPU_QUOTA, MEMORY_LIMIT = Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/memory.max")  # of a container
INTERRUPTED, CLOSED_PIPE = 130, 141  # as shells report SIGINT and SIGPIPE


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are input errors."""

    def parse_args(self, args=None, namespace=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        """As of `argparse`; what cannot be written into records is refused at once.

        Args:
            args: arguments without the program's name; by default those of the process.
            namespace: as of `argparse`.

        Raises:
            InputError: for what is no option, no value of one, or no UTF-8.
        """
        for text in sys.argv[1:] if args is None else args:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InputError(f"{text!a} is not UTF-8, and cannot stand in a record; rename it.") from error
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raises instead of leaving the program.

        Args:
            message: what is wrong.
        """
        raise InputError(f"{message}; `{self.prog} --help` lists the options")


def exit_code(command: Callable[[], str]) -> int:
    """Runs a command: prints what it returns, or one sentence for bad input or an interruption.

    Args:
        command: returns the last line of standard output.

    Returns:
        0; 2 for bad input; 130 after Ctrl-C; 141 where nobody reads the output any more.
    """
    try:
        found = command()
        print(found, flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return interrupted()
    except BrokenPipeError:
        return closed_pipe()
    except Exception as error:
        # Inside a compiled program an interruption comes out as an error of the runtime.
        if "KeyboardInterrupt" in str(error):
            return interrupted()
        raise
    return 0


def interrupted() -> int:
    """Says how to go on after Ctrl-C, and returns the exit code."""
    say("\ninterrupted: what is finished is kept, and the same command goes on from there")
    return INTERRUPTED


def closed_pipe() -> int:
    """Returns the exit code where whoever read the output has gone; what is on the disc stays."""
    # Python flushes both when it ends, and would complain.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return CLOSED_PIPE


def check_seed(seed: int) -> None:
    """Refuses seeds that JAX would cut off.

    Args:
        seed: from the command line.

    Raises:
        InputError: where it is below 0 or needs more than 32 bits.
    """
    if not 0 <= seed <= MOST_SEED:
        raise InputError(f"--seed must be a whole number from 0 to {MOST_SEED}; it is {seed}.")


def check_devices() -> None:
    """Refuses to start where JAX finds no device.

    Raises:
        InputError: with what JAX says.
    """
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts where it knows a platform and lacks its plugin
        asked = os.environ.get("JAX_PLATFORMS", "")
        reason = (str(error).strip().splitlines() or ["no plugin of it is installed"])[0].rstrip(".")
        raise InputError(
            f"JAX finds no device with JAX_PLATFORMS={asked!r} ({reason}); leave JAX_PLATFORMS out to take what is there, "
            "or install JAX for that device."
        ) from error


def cpu_count() -> int:
    """Processors that this process may use: fewer than the machine has in a container, or on a shared node."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return max(1, min(allowed, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no such file, or the quota "max"
        return allowed


def memory_bytes() -> int | None:
    """Memory of the machine, or what a container may take of it; None where the system does not say."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
    try:
        return min(whole, int(MEMORY_LIMIT.read_text()))
    except (OSError, ValueError):
        return whole


def amount(text: str) -> int:
    """A whole number, also with K, M or G behind it: `1.5M` is 1,500,000.

    Args:
        text: from the command line.

    Raises:
        argparse.ArgumentTypeError: for anything else.
    """
    number, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in UNITS else (text, "")
    try:
        return int(float(number) * UNITS.get(unit, 1))
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 1500000, 1.5e6 or 1.5M") from error


def use_compilation_cache() -> None:
    """Keeps compiled programs between runs, unless `JAX_COMPILATION_CACHE_DIR` says where, or that not."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenas_jax"
    except RuntimeError:  # a user without a home: nothing is kept
        return
    jax.config.update("jax_compilation_cache_dir", str(cache))
    # Small programs too: there are tens of them, and together they take seconds.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def provenance() -> dict[str, object]:
    """Versions and device, for the record of a run."""
    from importlib.metadata import version

    import jax

    packages = ("tenas-jax", "jax", "jaxlib", "flax", "neural-tangents", "numpy", "scipy")
    return {
        "versions": {name: version(name) for name in packages} | {"python": sys.version.split()[0]},
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
    }


def say(message: str) -> None:
    """A line of progress on standard error.

    Args:
        message: the line.
    """
    when_said(reset=True)
    print(message, file=sys.stderr, flush=True)


_last = [time.perf_counter()]


def when_said(*, reset: bool = False) -> float:
    """When the last line was said, by `time.perf_counter`.

    Args:
        reset: whether that is now.
    """
    if reset:
        _last[0] = time.perf_counter()
    return _last[0]
