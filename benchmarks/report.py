"""What every benchmark file says about itself: versions, device, cores, and how a figure was summed up."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

RESULTS = Path(__file__).parent / "results"


def environment() -> dict[str, Any]:
    """Where a benchmark ran."""
    return {
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax", "neural-tangents", "numpy")}
        | {"python": platform.python_version()},
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
        "cores": os.cpu_count(),
    }


def mean_and_error(values: Any) -> dict[str, float]:
    """Mean, standard error, minimum, maximum and number.

    Args:
        values: at least two numbers.
    """
    values = np.asarray(values, float)
    return {
        "mean": round(float(values.mean()), 4),
        "standard_error": round(float(values.std(ddof=1) / len(values) ** 0.5), 4),
        "minimum": round(float(values.min()), 4),
        "maximum": round(float(values.max()), 4),
        "number": len(values),
    }


def write(name: str, content: dict[str, Any]) -> None:
    """Writes `benchmarks/results/NAME.json`.

    Args:
        name: without suffix.
        content: plain JSON values; the environment is added.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**content, **environment()}, indent=2) + "\n")
    print(f"wrote {path}")
