"""Kernels and spectra of what was found, beside those of the supernet and of a random architecture."""

from typing import Any

import numpy as np

from tenas_jax.report.listing import number
from tenas_jax.report.plots import Series, lines, matrix
from tenas_jax.report.run_files import Run

NAMES = ("found", "supernet", "random")
PAINTS = {"found": ("op3", ()), "supernet": ("op1", (6, 3)), "random": ("op4", (2, 3))}


def besides(run: Run) -> dict[str, Any] | None:
    """The part of a page; None where the run holds no kernels.

    Args:
        run: any.
    """
    kernels = {name: np.array(run.beside.get("kernels", {}).get(name, []), float) for name in NAMES}
    kernels = {name: kernel for name, kernel in kernels.items() if kernel.size}
    if not kernels:
        return None
    spectra = {name: np.linalg.eigvalsh(kernel)[::-1] for name, kernel in kernels.items()}
    size = len(next(iter(spectra.values())))
    # Below rounding an eigenvalue is zero or negative, which a logarithmic axis does not have.
    series = [
        Series(name, np.where(values / values[0] > 1e-12, values / values[0], np.nan), *PAINTS[name])
        for name, values in spectra.items()
    ]
    plot = lines(np.arange(1.0, size + 1), series, "eigenvalue, the largest first", "share of the largest")
    maps = [
        {
            "name": name,
            "picture": matrix(kernel, f"kernel of the {name} network"),
            "condition": _condition(spectra[name]),
        }
        for name, kernel in kernels.items()
    ]
    return {
        "title": "Kernel and spectrum",
        "plot": plot,
        "maps": maps,
        "images": size,
        "what": run.beside.get("kernel", ""),
    }


def _condition(eigenvalues: np.ndarray) -> str:
    smallest, largest = float(eigenvalues[-1]), float(eigenvalues[0])
    return number(largest / smallest) if smallest > 1e-15 * abs(largest) else "∞"
