"""Python objects named on a command line: `FILE.py:NAME` or `package.module:NAME`."""

import hashlib
import importlib
import re
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tenas_jax.errors import InputError


class Source(NamedTuple):
    """Where an object comes from; it travels to other machines, a file with its text.

    Attributes:
        reference: as on the command line.
        text: of the file; None for a module, which has to be installed wherever it is used.
    """

    reference: str
    text: str | None

    def load(self) -> Any:
        """The object, the same at every call.

        Raises:
            InputError: where the code fails while it is imported, or has no such name.
        """
        return _load(self)

    def sha256(self) -> str:
        """The hash of the code that defines the object; of a module, that of its own file."""
        if self.text is None:
            file = getattr(_module(self), "__file__", None)
            code = Path(file).read_bytes() if file else b""
        else:
            code = self.text.encode()
        return hashlib.sha256(code).hexdigest()


def find_source(reference: str) -> Source:
    """Reads a reference.

    Args:
        reference: `FILE.py:NAME` or `package.module:NAME`.

    Raises:
        InputError: for another form, or a file that cannot be read.
    """
    place, _, name = reference.rpartition(":")
    if not name.isidentifier() or not (place.endswith(".py") or re.fullmatch(r"\w+(\.\w+)*", place)):
        raise InputError(f"{reference!r} is no name of a Python object; write FILE.py:NAME or package.module:NAME.")
    if not place.endswith(".py"):
        return Source(reference, None)
    try:
        return Source(reference, Path(place).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{place} cannot be read: {error}.") from error


@lru_cache(maxsize=32)
def _load(source: Source) -> Any:
    place, _, name = source.reference.rpartition(":")
    module = _module(source)
    if not hasattr(module, name):
        raise InputError(f"{place} defines no {name!r}; write FILE.py:NAME with a name that it defines.")
    return getattr(module, name)


@lru_cache(maxsize=32)
def _module(source: Source) -> ModuleType:
    place, _, _ = source.reference.rpartition(":")
    try:
        return importlib.import_module(place) if source.text is None else _executed(place, source.text)
    except (Exception, SystemExit) as error:
        said = str(error).strip().splitlines() or [""]
        raise InputError(f"{place} cannot be imported ({type(error).__name__}: {said[0]}); mend it first.") from error


def _executed(place: str, text: str) -> ModuleType:
    # Classes look their module up by its name.
    module = ModuleType(f"tenas_jax_file_{hashlib.sha256(text.encode()).hexdigest()[:16]}")
    module.__file__ = place
    sys.modules[module.__name__] = module
    exec(compile(text, place, "exec"), module.__dict__)
    return module
