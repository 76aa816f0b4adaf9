"""Reads the pickles that image data sets come in without giving them the power to run anything.

A pickle is a program: it may import any function and call it. This one hands out the constructors of numpy's arrays,
scalars and dtypes, nothing else, so a hostile file ends in an error. Lists, dicts, strings and numbers need no import.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from tenas_jax.errors import InputError


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How Python 3 stores bytes in pickles of protocol 2; the real `codecs.encode` would take any codec."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} in a pickle of arrays")
    return text.encode(encoding)


def _empty_bytes() -> bytes:
    """How Python 3 stores b"" there; the real `bytes` would allocate whatever length it is told."""
    return b""


def _constructor(array_or_scalar: Any, protocol: int) -> Any:
    """The function that numpy itself names in pickles of such a value, wherever this version of numpy keeps it."""
    return array_or_scalar.__reduce_ex__(protocol)[0]


_ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode_latin1,
    ("__builtin__", "bytes"): _empty_bytes,
}
for _package in ("numpy.core", "numpy._core"):  # numpy 1 and the pickles of Python 2; numpy 2
    _ADMITTED[f"{_package}.multiarray", "_reconstruct"] = _constructor(np.zeros(1), 2)
    _ADMITTED[f"{_package}.multiarray", "scalar"] = _constructor(np.float64(0), 2)
    _ADMITTED[f"{_package}.numeric", "_frombuffer"] = _constructor(np.zeros(1), 5)


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that imports nothing."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ADMITTED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}") from None


def load_pickle(path: Path) -> Any:
    """Loads numpy arrays and plain containers from a pickle of any protocol, of Python 2 too.

    Args:
        path: the file.

    Returns:
        Its content; strings of Python 2 come as str.

    Raises:
        InputError: where the file is cut short, is no pickle, or asks for anything but arrays and plain containers.
    """
    try:
        with path.open("rb") as file:
            return _ArrayUnpickler(file, encoding="latin1").load()
    except Exception as error:  # a broken pickle can raise nearly anything
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{path} cannot be read as a pickle of numpy arrays and plain containers ({reason}); fetch it again, "
            "or save the images as an .npz with `x` uint8 (n, h, w, 3)."
        ) from error
