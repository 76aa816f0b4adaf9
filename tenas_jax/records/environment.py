"""What decides a result beside its settings: this package's code, versions, precision and the processor's instructions.

A half-finished evaluation that goes on elsewhere would mix numbers that differ in their last bits, and ranks with them.
"""

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

# Vectors and fused multiply-adds: what a compiler chooses by. The rest of the flags says nothing about arithmetic.
VECTORS = re.compile(r"(avx|amx|fma|f16c|sse|ssse|sve|asimd|neon|vfp)\w*")
HARMLESS = ("--xla_force_host_platform_device_count", "--xla_dump")


def fingerprint() -> dict[str, str]:
    """Of this process: code, jax, jaxlib, numpy, backend, device, instruction set, flags of XLA, precision."""
    from importlib.metadata import version

    import jax

    device = jax.devices()[0]
    return {
        "tenas_jax": code(Path(__file__).parents[1]),
        **{name: version(name) for name in ("jax", "jaxlib", "numpy")},
        "backend": device.platform,
        "device": device.device_kind,
        "machine": platform.machine(),
        "instruction_set": " ".join(_instructions()),
        "xla_flags": " ".join(sorted(f for f in os.environ.get("XLA_FLAGS", "").split() if not f.startswith(HARMLESS))),
        "precision": "double" if jax.config.values["jax_enable_x64"] else "single",
        "matmul_precision": str(jax.config.values["jax_default_matmul_precision"]),
    }


@lru_cache
def code(package: Path) -> str:
    """What a package's modules are, in 16 digits: after an upgrade a score of the same name may be another number.

    Args:
        package: its folder.
    """
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(str(path.relative_to(package)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def _instructions() -> list[str]:
    """Of the processor's flags those that a compiler of arithmetic looks at; none where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return []
    flags = next((text for text in lines if re.match(r"(flags|Features)\s*:", text)), "")
    return sorted({flag for flag in flags.partition(":")[2].split() if VECTORS.fullmatch(flag)})


def differences(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """What differs between two fingerprints, for a message; empty where nothing does.

    Args:
        before: of the beginning.
        now: of this process.
    """
    return "; ".join(
        _difference(name, str(before.get(name, "")), str(now.get(name, "")))
        for name in [*before, *(name for name in now if name not in before)]
        if before.get(name) != now.get(name)
    )


def _difference(name: str, before: str, now: str) -> str:
    if name == "instruction_set":
        gone, new = sorted(set(before.split()) - set(now.split())), sorted(set(now.split()) - set(before.split()))
        parts = [f"without {' '.join(gone)}"] * bool(gone) + [f"with {' '.join(new)}"] * bool(new)
        return f"instruction set: now {' and '.join(parts)}"
    return f"{name.replace('_', ' ')}: was {before or 'none'}, is {now or 'none'}"


def mixed(what: str, before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """The sentence that refuses to go on elsewhere.

    Args:
        what: was begun, for instance "the ranking a.csv".
        before: fingerprint of its beginning.
        now: of this process.
    """
    return (
        f"{what} was begun where numbers come out otherwise in their last bits ({differences(before, now)}); finish it "
        "there, set what differs as it was, or start anew with another --output."
    )
