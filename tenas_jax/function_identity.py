"""When two functions compute the same: what a Python function depends on, as a key.

A compiled program stands for a function as it was traced. It may be used again only as long as nothing has changed that
the function reads: its code, the contents of its closure, its defaults, the globals and module attributes that it names,
and all of that again for the functions, classes and objects found there. `identity` walks through these. Numbers and
strings count by value, NumPy arrays by their bytes, JAX arrays and code, which cannot change, as objects. Installed
packages are taken as they are. What cannot be looked into has no identity, and then nothing is kept.

Not seen, as under `jax.jit`: files, clocks, global random state and other side effects that a function reads while it is
traced.
"""

import dataclasses
import enum
import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

# NumPy arrays beyond this are not hashed at every call.
_HASHED_BYTES = 2**24
_BY_VALUE = (type(None), bool, int, str, bytes, type(Ellipsis), type(NotImplemented))
_BUILT_IN = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.ClassMethodDescriptorType,
    types.CodeType,
    np.ufunc,
)
# With these a function can read what its code does not name.
_UNSEEN = {"globals", "eval", "exec", "__import__", "import_module"}
_HEAP_TYPE = 1 << 9
_MODULE_STATE = ("parent", "scope", "name")  # of a Flax Linen module, which says what it computes by its other fields


class Identity(NamedTuple):
    """What a function depends on.

    Attributes:
        key: equal for functions that compute the same, as long as the objects live.
        objects: what the key names by its address.
    """

    key: Hashable
    objects: tuple[Any, ...]


def identity(*values: Any) -> Identity | None:
    """The identity of functions or other values; None where something in them cannot be looked into.

    Args:
        *values: functions, models, settings.

    Examples:
        >>> def scaled(scale):
        ...     return lambda x: scale * x
        >>> identity(scaled(2.0)).key == identity(scaled(2.0)).key, identity(scaled(2.0)).key == identity(scaled(3.0)).key
        (True, False)
        >>> identity(iter([1])) is None
        True
    """
    walk = _Walk()
    try:
        key = tuple(walk.of(value) for value in values)
        hash(key)
    except (_Unknown, RecursionError, TypeError):
        return None
    return Identity(key, tuple(walk.objects.values()))


class _Unknown(Exception):
    """Met something that may change unseen."""


class _Walk:
    """One walk; what it meets a second time is named by its place, so that circles end."""

    def __init__(self) -> None:
        self.objects: dict[int, Any] = {}
        self.places: dict[int, int] = {}
        self.alive: list[Any] = []
        self.modules: set[tuple[str, frozenset[str]]] = set()

    def same(self, value: Any) -> tuple[str, int]:
        """By address."""
        self.objects[id(value)] = value
        return "object", id(value)

    def of(self, value: Any) -> Hashable:
        """The key of a value."""
        kind = type(value)
        if kind in _BY_VALUE:
            return kind, value
        if kind in (float, complex):
            return kind, repr(value)
        if isinstance(value, np.dtype):
            return kind, str(value)
        if isinstance(value, np.generic):
            return kind, str(value.dtype), value.tobytes()
        if isinstance(value, types.ModuleType):
            return self.same(value)
        if id(value) in self.places:
            return "again", self.places[id(value)]
        self.places[id(value)] = len(self.places)
        self.alive.append(value)  # an address is not given to another object during the walk
        return self.compound(value, kind)

    def compound(self, value: Any, kind: type) -> Hashable:
        """The key of what may hold other values."""
        if isinstance(value, types.FunctionType):
            return self.function(value)
        if isinstance(value, types.MethodType):
            return "method", self.of(value.__func__), self.of(value.__self__)
        if isinstance(value, types.BuiltinFunctionType):
            owner = value.__self__
            return (self.same(value) if owner is None else value.__name__), self.of(owner)
        if isinstance(value, functools.partial):
            return self.of(kind), *map(self.of, (value.func, value.args, value.keywords))
        if isinstance(value, type):
            return self.same(value), *self.members(value)
        if isinstance(value, jax.Array):
            return self.array(value)
        if isinstance(value, np.ndarray):
            return self.bytes_of(value)
        if isinstance(value, (enum.Enum, *_BUILT_IN)) or kind.__module__.split(".")[0] == "jaxlib":
            return self.same(value)
        return self.of(kind), *self.contents(value, kind)

    def contents(self, value: Any, kind: type) -> Iterator[Hashable]:
        """What an instance holds."""
        known = 0
        if isinstance(value, tuple | list):
            known += 1
            yield tuple(map(self.of, value))
        elif isinstance(value, dict | types.MappingProxyType):
            known += 1
            yield tuple((self.of(key), self.of(item)) for key, item in value.items())
        elif isinstance(value, set | frozenset):
            known += 1
            yield frozenset(map(self.of, value))
        elif isinstance(value, property | staticmethod | classmethod):
            known += 1
            names = ("fget", "fset", "fdel") if isinstance(value, property) else ("__func__",)
            yield tuple(self.of(getattr(value, name)) for name in names)
        hidden = [base for base in kind.__mro__ if base is not object and not base.__flags__ & _HEAP_TYPE]
        if len(hidden) > known:
            raise _Unknown(kind)
        attributes = _attributes(value, kind)
        yield tuple((name, self.of(item)) for name, item in sorted(attributes.items(), key=lambda pair: str(pair[0])))

    def array(self, value: jax.Array) -> Hashable:
        """JAX arrays cannot change; tracers belong to a transformation that is under way."""
        if not is_concrete(value):
            raise _Unknown("a tracer")
        return self.same(value)

    def bytes_of(self, value: np.ndarray) -> Hashable:
        """NumPy arrays change in place."""
        if value.dtype.hasobject or value.nbytes > _HASHED_BYTES:
            raise _Unknown("an array")
        return str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).digest()

    def function(self, function: types.FunctionType) -> Hashable:
        """Code and whatever it reads."""
        cells = tuple(map(self.cell, function.__closure__ or ()))
        defaults = self.of(function.__defaults__), self.of(function.__kwdefaults__)
        attributes = self.of({k: v for k, v in function.__dict__.items() if k != "__signature__"})
        read = function.__globals__
        found: tuple[Any, ...] = ()
        if not _is_installed(read.get("__name__")):
            names = _names(function.__code__)
            if _UNSEEN & names:
                raise _Unknown("a function that reads its globals by other names")
            found = tuple(self.named(read, names))
        return self.same(function.__code__), cells, defaults, attributes, found

    def cell(self, cell: types.CellType) -> Hashable:
        """A variable of an enclosing function."""
        try:
            return self.of(cell.cell_contents)
        except ValueError:
            return "empty"

    def named(self, namespace: dict[str, Any], names: frozenset[str]) -> Iterator[Hashable]:
        """Globals that code names, and what it names in modules that are not installed."""
        for name in sorted(names):
            value = namespace.get(name, sys.modules.get(name))
            if value is None and name not in namespace:
                continue
            yield name, self.of(value)
            if not isinstance(value, types.ModuleType) or _is_installed(value.__name__):
                continue
            if (value.__name__, names) not in self.modules:
                self.modules.add((value.__name__, names))
                yield tuple(self.named({k: v for k, v in vars(value).items() if k in names}, names))

    def members(self, kind: type) -> Iterator[Hashable]:
        """Methods and data of a class and of those from which it inherits."""
        for base in kind.__mro__:
            if base is not kind:
                yield self.same(base) if _is_installed(base.__module__) else self.of(base)
            elif not _is_installed(base.__module__):
                for name, value in vars(base).items():
                    special = name.startswith("__") or name == "_abc_impl"
                    if not special or isinstance(value, types.FunctionType):
                        yield name, self.of(value)


def is_concrete(value: Any) -> bool:
    """Whether an array has a value, instead of standing for one while a function is transformed.

    Args:
        value: a JAX array or anything else.
    """
    try:
        if isinstance(value, jax.Array):
            value.devices()
    except jax.errors.ConcretizationTypeError:
        return False
    return True


def _attributes(value: Any, kind: type) -> dict[str, Any]:
    if hasattr(kind, "__dataclass_fields__") and any(base.__module__ == "flax.linen.module" for base in kind.__mro__):
        names = [field.name for field in dataclasses.fields(value) if field.name not in _MODULE_STATE]
        return {name: getattr(value, name) for name in names}
    slots = [name for base in kind.__mro__ for name in _slots(base) if hasattr(value, name)]
    return {name: getattr(value, name) for name in slots} | getattr(value, "__dict__", {})


def _slots(base: type) -> tuple[str, ...]:
    slots = vars(base).get("__slots__", ())
    slots = (slots,) if isinstance(slots, str) else tuple(slots)
    private = base.__name__.lstrip("_")
    hidden = [f"_{private}{name}" if name[:2] == "__" != name[-2:] else name for name in slots]
    return tuple(name for name in hidden if name not in ("__dict__", "__weakref__"))


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> frozenset[str]:
    """Every name in a piece of code and in the functions inside."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return frozenset(code.co_names).union(*inner)


@functools.lru_cache(maxsize=1024)
def _is_installed(module: str | None) -> bool:
    """Whether a module is part of Python, of this package or of an installed one."""
    root = (module or "").split(".")[0]
    if root in sys.builtin_module_names or root in sys.stdlib_module_names or root == "tenas_jax":
        return root != "__main__"
    path = getattr(sys.modules.get(root), "__file__", None) or ""
    places = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")}
    return any(path.startswith(f"{place}/") for place in places if place) or "/dist-packages/" in path
