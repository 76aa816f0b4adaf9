"""Compiled programs that plain calls of the library's functions keep.

`empirical_ntk`, `activation_patterns`, `evaluate` and `analytic_ntk` compile when they meet a function, and use the
program again when they meet the same function with images and variables of the same shapes and types.
`function_identity.py` says when functions are the same. Programs hold no functions and no models, only what was traced;
they go when the code of the function goes, or the oldest first beyond 64 programs or 256 MiB of arrays that functions
close over. Weights that are passed as variables are not held.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax

from tenas_jax.function_identity import Identity, identity

MAX_PROGRAMS = 64
MAX_BYTES = 2**28
# What decides, beside its arguments, how JAX traces a function.
_CONTEXT = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_default_device",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_softmax_custom_jvp",
    "jax_debug_nans",
)


def context() -> Hashable:
    """What decides how JAX traces a function now, beside its arguments."""
    return tuple(getattr(jax.config, name, None) for name in _CONTEXT)


class Kept(NamedTuple):
    """A program as it is built.

    Attributes:
        program: to be called with the arrays.
        held_bytes: of the arrays that it holds.
    """

    program: Callable[..., Any]
    held_bytes: int


class _Entry(NamedTuple):
    kept: Kept
    references: tuple[Any, ...]


class ProgramCache:
    """Programs by key, the least recently used first."""

    def __init__(self, max_programs: int = MAX_PROGRAMS, max_bytes: int = MAX_BYTES):
        """An empty cache with its bounds."""
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.RLock()
        self.max_programs, self.max_bytes = max_programs, max_bytes

    def __len__(self) -> int:
        """The number of programs."""
        return len(self._entries)

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays that programs hold."""
        with self._lock:
            return sum(entry.kept.held_bytes for entry in self._entries.values())

    def clear(self) -> None:
        """Forgets all programs."""
        with self._lock:
            self._entries.clear()

    def find(self, values: Sequence[Any], options: Hashable, build: Callable[[], Kept]) -> Callable[..., Any]:
        """The program for some functions and options, built where there is none; what has no identity is built each time.

        Args:
            values: functions and whatever else is told apart by `function_identity.identity`.
            options: all else that a program depends on: shapes, types, choices.
            build: makes the program.
        """
        found = None if getattr(jax.config, "jax_disable_jit", False) else identity(*values)
        if found is None or not _is_hashable(options):
            return build().program
        key = (found.key, options, context())
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                return entry.kept.program
        kept = build()
        self._keep(key, found, kept)
        return kept.program

    def _keep(self, key: Hashable, found: Identity, kept: Kept) -> None:
        def forget(_: Any) -> None:
            with self._lock:
                self._entries.pop(key, None)

        references = tuple(_reference(value, forget) for value in found.objects)
        with self._lock:
            self._entries[key] = _Entry(kept, references)
            while self._entries and (len(self) > self.max_programs or self.held_bytes > self.max_bytes):
                self._entries.popitem(last=False)


def _reference(value: Any, forget: Callable[[Any], None]) -> Any:
    """Weak, so that a model can go; descriptors and the like, which belong to classes, have no weak references."""
    try:
        return weakref.ref(value, forget)
    except TypeError:
        return value


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


PROGRAMS = ProgramCache()
ALSO_CLEARED: list[Callable[[], None]] = []  # by whoever else keeps programs


def clear_cache() -> None:
    """Forgets the compiled programs that functions of the library keep, and those of scores that this thread keeps.

    Examples:
        >>> from tenas_jax import activation_patterns
        >>> activation_patterns(jax.nn.relu, jax.numpy.ones((2, 3))).bits.shape
        (2, 3)
        >>> clear_cache()  # what was compiled for this function is free to go
    """
    PROGRAMS.clear()
    for clear in ALSO_CLEARED:
        clear()


def signature(tree: Any) -> Hashable:
    """Structure, shapes and types of a tree of arrays, as a part of a key.

    Args:
        tree: any tree of arrays.
    """
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((leaf.shape, leaf.dtype, leaf.weak_type) for leaf in map(jax.typeof, leaves))
