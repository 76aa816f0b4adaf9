"""Programs that are traced once, and kept between processes beside what XLA has compiled of them.

XLA's compilation cache is asked with a whole program, so that every process traces and lowers anew what it is not going to
compile: for the programs of a search that takes seconds. Here the lowered program itself is kept, in the portable form of
`jax.export`, under what it is made of: the package's source, the versions of what it traces with, and a name that says what
is computed. Nothing is kept where JAX has no cache folder, of what has no such name, or for several devices.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from tenas_jax.ntk.gaussian_kernels import Kernels
from tenas_jax.program_cache import context
from tenas_jax.records.files import replace_file

_VERSIONS = ("jax", "jaxlib", "flax", "numpy")


def lowered(function: Callable[..., Any], arguments: tuple[Any, ...], name: str | None, **options: Any) -> Any:
    """What `jax.jit(function, **options).lower(*arguments)` returns, from the folder where it is there.

    Args:
        function: to be traced.
        arguments: arrays, or shapes and dtypes.
        name: says what the function computes, in all that its arguments and the source do not say; None if nobody knows.
        **options: of `jax.jit`.
    """
    program, place = jax.jit(function, **options), folder()
    if name is None or place is None or jax.local_device_count() > 1:
        return program.lower(*arguments)
    _register()
    path = place / _digest(name, arguments)
    exported = _read(path)
    if exported is None:
        exported = jax.export.export(program)(*arguments)
        content = bytes(exported.serialize())
        with suppress(OSError):  # a folder that cannot be written to: the next process traces again
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, hashlib.sha256(content).digest() + content)
    return jax.jit(exported.call, **options).lower(*arguments)


def folder() -> Path | None:
    """Where traced programs are kept: in JAX's cache folder, unless that is none, or a bucket far away."""
    cache = getattr(jax.config, "jax_compilation_cache_dir", None)
    return Path(cache) / "traced" if cache and "://" not in cache else None


def _read(path: Path) -> Any:
    """The program in a file; None where there is none, or a damaged one."""
    try:
        written = path.read_bytes()
    except OSError:
        return None
    checksum, content = written[:32], written[32:]
    return jax.export.deserialize(bytearray(content)) if hashlib.sha256(content).digest() == checksum else None


def _digest(name: str, arguments: tuple[Any, ...]) -> str:
    leaves, structure = jax.tree.flatten(arguments)
    shapes = [(leaf.shape, str(leaf.dtype)) for leaf in leaves]
    identity = (name, shapes, str(structure), context(), jax.default_backend(), _made_of())
    return hashlib.sha256(repr(identity).encode()).hexdigest()


@lru_cache
def _made_of() -> tuple[str, ...]:
    """The versions, and the package's source, of which one more comma makes another program."""
    source, root = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        source.update(f"{path.relative_to(root).as_posix()} {len(content)} ".encode() + content)
    return source.hexdigest(), *map(version, _VERSIONS)


@lru_cache
def _register() -> None:
    """What trees of arrays are made of besides tuples and dictionaries."""
    jax.export.register_namedtuple_serialization(Kernels, serialized_name="tenas_jax.Kernels")
