"""What every benchmark file says about itself: versions, device, cores, and how a figure was summed up."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parents[1] / "results"


def environment() -> dict[str, Any]:
    """Where a benchmark ran."""
    return {
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax", "neural-tangents", "numpy")}
        | {"python": platform.python_version()},
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
        "cores": os.cpu_count(),
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
