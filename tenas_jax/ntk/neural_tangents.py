"""Lets neural-tangents 0.6.5 import on current JAX. The only file that touches JAX's internals.

That release asks for names which JAX has since moved or dropped. They are supplied while it imports and taken away
after, so that no other code can come to depend on them. Its `experimental` package, which needs TensorFlow, is left
out.
"""

import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.core
import jax.extend.core
import jax.interpreters.ad

_ABSENT = object()


def _safe_zip(*sequences):
    return list(zip(*sequences, strict=True))


def _safe_map(function, *sequences):
    return [function(*items) for items in _safe_zip(*sequences)]


def _core_names() -> dict[str, Any]:
    """What `jax.core` once exported, from where it is public now; `Any` for what only serves annotations."""
    moved = ("Var", "Primitive", "Jaxpr", "JaxprEqn", "Literal")
    names = {name: getattr(jax.extend.core, name) for name in moved}
    return names | {"ShapedArray": jax.ShapeDtypeStruct, "Value": Any, "AbstractValue": Any}


@contextmanager
def _supplied() -> Iterator[None]:
    utilities: Any = types.ModuleType("jax.util")
    utilities.safe_map, utilities.safe_zip = _safe_map, _safe_zip
    attributes = [(jax.core, name, value) for name, value in _core_names().items()]
    attributes += [
        (jax, "util", utilities),
        (jax.interpreters.ad, "zeros_like_p", jax.extend.core.Primitive("zeros_like")),
    ]
    modules = {"jax.util": utilities, "neural_tangents.experimental": types.ModuleType("neural_tangents.experimental")}
    added = []
    replaced = {name: sys.modules.get(name, _ABSENT) for name in modules}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            for owner, name, value in attributes:
                if not hasattr(owner, name):
                    setattr(owner, name, value)
                    added.append((owner, name))
            sys.modules.update({name: module for name, module in modules.items() if replaced[name] is _ABSENT})
            yield
        finally:
            for owner, name in added:
                delattr(owner, name)
            for name, before in replaced.items():
                if before is _ABSENT:
                    sys.modules.pop(name, None)


def load() -> types.ModuleType:
    """The module `neural_tangents`, imported at the first call."""
    if "neural_tangents" not in sys.modules:
        with _supplied():
            importlib.import_module("neural_tangents")
    return sys.modules["neural_tangents"]
