"""What the command lines share: a parser with one-sentence complaints, programs that stay compiled, versions."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tenas_jax.errors import InputError

SPACE_NAMES = ("nasbench201", "darts")
UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are input errors."""

    def error(self, message: str) -> NoReturn:
        """Raises instead of leaving the program.

        Args:
            message: what is wrong.
        """
        raise InputError(f"{message}; `{self.prog} --help` lists the options")


def exit_code(command: Callable[[], str]) -> int:
    """Runs a command: prints what it returns, or one sentence for bad input.

    Args:
        command: returns the last line of standard output.

    Returns:
        0, or 2 for bad input.
    """
    try:
        found = command()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(found)
    return 0


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

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tenas_jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


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
    print(message, file=sys.stderr, flush=True)
