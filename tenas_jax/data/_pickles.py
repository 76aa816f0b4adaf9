"""Reads the pickles that image data sets come in without giving them the power to run anything.

A pickle is a program for a stack machine that may import any function and call it. This machine has no such operations:
a name that a pickle asks for stays a name, and the few that numpy's arrays need (`numpy.dtype`, `_reconstruct` and the
like) are built here from what was checked. Every object is a dict, list, tuple, string, number or array that this module
made; no constructor of numpy is handed out, no state is set on anything, and an array is never larger than its bytes in
the file. So a hostile file ends in an error.

The operations are those of Python's pickletools, protocols 0 to 5.
"""

import codecs
import math
import pickle
import re
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tenas_jax.errors import InputError, printable

LARGEST_FILE = 1 << 32
"""Bytes of a file that are read into memory; the largest published, of ImageNet at 64 x 64, has 1.6 GB."""

MOST_OPERATIONS = 10_000_000
"""Of a pickle: a byte can make an object of a hundred. A label is one; the largest published file has 128,116."""

_DTYPE = re.compile(r"[biu]1|[iu][248]|f[248]|[SU][1-9]\d{0,5}")
_MARK = object()


class UnfinishedArray:
    """What `_reconstruct` makes, until the array's state follows; a pickle of numpy leaves none behind."""

    __slots__ = ("places",)

    def __init__(self):
        self.places: list[int] = []  # in the memo


class Name(NamedTuple):
    """A global that a pickle asked for: nothing but its name."""

    module: str
    name: str


class _Bytes:
    """The content of a file, read from front to back, never past its end."""

    def __init__(self, content: bytes):
        self.content, self.place = content, 0

    def read(self, count: int) -> bytes:
        end = self.place + count
        if count < 0 or end > len(self.content):
            raise pickle.UnpicklingError("it ends too early")
        piece = self.content[self.place : end]
        self.place = end
        return piece

    def line(self) -> bytes:
        end = self.content.find(b"\n", self.place)
        return self.read(end + 1 - self.place)[:-1]

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.read(struct.calcsize("<" + form)))[0]


class _Machine:
    """The stack, its marks and the memo of one pickle."""

    def __init__(self, content: bytes):
        self.file = _Bytes(content)
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}  # a list would be as long as the largest number that the file names
        self.encoded = 0

    def run(self) -> Any:
        for _ in range(MOST_OPERATIONS):
            code = self.file.read(1)
            if code == b".":
                return self.pop()
            if code not in _OPERATIONS:
                raise pickle.UnpicklingError(f"the operation {code!r} has no place in a pickle of arrays")
            _OPERATIONS[code](self)
        raise pickle.UnpicklingError(f"it has more than {MOST_OPERATIONS} operations")

    # The stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise pickle.UnpicklingError("a mark stands where a value must")
        return value

    def pop_to_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:  # an IndexError where there is none
            place -= 1
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def remember(self, number: int) -> None:
        value = self.memo[number] = self.top()
        if isinstance(value, UnfinishedArray):
            value.places.append(number)

    def top(self) -> Any:
        value = self.pop()
        self.push(value)
        return value

    def container(self, kind: type) -> Any:
        value = self.top()
        if type(value) is not kind:
            raise pickle.UnpicklingError(f"a {kind.__name__} must stand where a {type(value).__name__} does")
        return value

    def extend(self, values: list[Any]) -> None:
        self.container(list).extend(values)

    def update(self, pairs: list[Any]) -> None:
        target = self.container(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | bytes):  # whole numbers can be chosen to share one hash
                raise pickle.UnpicklingError(f"a {type(key).__name__} is the key of a dict")
            target[key] = value

    def push_dict(self, pairs: list[Any]) -> None:
        self.push({})
        self.update(pairs)

    def tuple_of(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    # Calls

    def ask(self, module: str, name: str) -> None:
        if Name(module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        self.push(Name(module, name))

    def call(self) -> None:
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple) or name not in _CALLS:
            raise pickle.UnpicklingError("it calls what is no constructor of an array")
        self.push(_CALLS[name](self, *arguments))

    def build(self) -> None:
        """The state of an array; that of a dtype only says what its name has said."""
        state, value = self.pop(), self.pop()
        if isinstance(value, np.dtype):
            order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
            if not isinstance(order, str | bytes) or order not in ("|", "<", "=", b"|", b"<"):
                raise pickle.UnpicklingError("its numbers are not in the byte order of common machines")
        elif isinstance(value, UnfinishedArray):
            _, shape, dtype, fortran, data = state
            places, value = value.places, self.array(shape, dtype, data, "F" if fortran else "C")
            for place in places:
                self.memo[place] = value
        else:
            raise pickle.UnpicklingError(f"it sets the state of a {type(value).__name__}")
        self.push(value)

    def array(self, shape: Any, dtype: Any, data: Any, order: str) -> np.ndarray:
        """An array over bytes of the file, checked to be exactly as long as it says."""
        data = self.encode(data, "latin1") if isinstance(data, str) else data  # strings of Python 2
        if not isinstance(data, bytes) or not isinstance(dtype, np.dtype) or not isinstance(order, str):
            raise pickle.UnpicklingError("an array must have a plain dtype and bytes")
        if (
            not isinstance(shape, tuple)
            or len(shape) > 32
            or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape)
        ):
            raise pickle.UnpicklingError("an array must have up to 32 whole numbers as its shape")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise pickle.UnpicklingError(f"an array of shape {shape} and dtype {dtype} has {len(data)} bytes")
        if dtype.kind == "U" and (np.frombuffer(data, "<u4") > 0x10FFFF).any():
            raise pickle.UnpicklingError("a string holds what is no character")
        return np.ndarray(shape, dtype, data, order="F" if order == "F" else "C")

    def from_buffer(self, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        return self.array(shape, dtype, data, order)

    def scalar(self, dtype: Any, data: Any = b"") -> Any:
        return self.array((), dtype, data, "C")[()]

    def encode(self, text: Any, encoding: Any) -> bytes:
        """How Python 3 stores bytes in pickles of protocol 2; the real `codecs.encode` would take any codec."""
        if not isinstance(text, str) or not isinstance(encoding, str) or encoding != "latin1":
            asked = encoding if isinstance(encoding, str) else type(encoding).__name__
            raise pickle.UnpicklingError(f"encoding {asked!r} in a pickle of arrays")
        self.encoded += len(text)
        if self.encoded > len(self.file.content):  # one string, encoded over and over
            raise pickle.UnpicklingError("it makes more bytes than it holds")
        return text.encode("latin1")


def _dtype(machine: _Machine, name: Any, *flags: Any) -> np.dtype:
    """A plain dtype by its name: no structure, no objects, and never one of numpy's own to change."""
    name = name.decode("ascii") if isinstance(name, bytes) else name
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise pickle.UnpicklingError("it holds an array that is neither of numbers nor of strings")
    return np.dtype("<" + name)


def _empty_bytes(machine: _Machine) -> bytes:
    """How Python 3 stores b"" there; the real `bytes` would allocate whatever length it is told."""
    return b""


_CALLS: dict[Name, Callable[..., Any]] = {
    Name("numpy", "dtype"): _dtype,
    Name("_codecs", "encode"): _Machine.encode,
    Name("__builtin__", "bytes"): _empty_bytes,
}
for _package in ("numpy.core", "numpy._core"):  # numpy 1 and the pickles of Python 2; numpy 2
    _CALLS[Name(f"{_package}.multiarray", "_reconstruct")] = lambda machine, *of_which_class: UnfinishedArray()
    _CALLS[Name(f"{_package}.multiarray", "scalar")] = _Machine.scalar
    _CALLS[Name(f"{_package}.numeric", "_frombuffer")] = _Machine.from_buffer
_NAMES = {*_CALLS, Name("numpy", "ndarray")}  # the last is an argument of `_reconstruct`, and no constructor


def _whole_number(text: bytes) -> int | bool:
    """A line of protocol 0: `00` and `01` are False and True, and `5L` is a long of Python 2."""
    return text == b"01" if text in (b"00", b"01") else int(text.removesuffix(b"L"))


def _unquoted(text: bytes) -> str:
    """A string of Python 2 in protocol 0, as its `repr` wrote it."""
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise pickle.UnpicklingError("a string has no quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("latin1")


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(module, str) or not isinstance(name, str):  # the hash of a tuple of tuples can take for ever
        raise pickle.UnpicklingError("it asks for something without a name")
    machine.ask(module, name)


def _pushes(value_of: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(value_of(machine))


def _counted(form: str, convert: Callable[[bytes], Any]) -> Callable[[_Machine], None]:
    """Pushes what follows its own length."""
    return _pushes(lambda machine: convert(machine.file.read(machine.file.number(form))))


def _line(convert: Callable[[bytes], Any]) -> Callable[[_Machine], None]:
    return _pushes(lambda machine: convert(machine.file.line()))


_latin1 = partial(str, encoding="latin1")
_utf8 = partial(str, encoding="utf-8", errors="surrogatepass")
_long = partial(int.from_bytes, byteorder="little", signed=True)

_OPERATIONS: dict[bytes, Callable[[_Machine], Any]] = {
    b"\x80": lambda m: m.file.read(1),  # protocol
    b"\x95": lambda m: m.file.read(8) and None,  # length of a frame
    b"(": lambda m: m.push(_MARK),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": _line(_whole_number),
    b"L": _line(_whole_number),
    b"F": _line(float),
    b"J": _pushes(lambda m: m.file.number("i")),
    b"K": _pushes(lambda m: m.file.number("B")),
    b"M": _pushes(lambda m: m.file.number("H")),
    b"G": _pushes(lambda m: struct.unpack(">d", m.file.read(8))[0]),
    b"\x8a": _counted("B", _long),
    b"\x8b": _counted("i", _long),
    b"S": _line(_unquoted),
    b"U": _counted("B", _latin1),
    b"T": _counted("i", _latin1),
    b"V": _line(lambda text: text.decode("raw-unicode-escape")),
    b"\x8c": _counted("B", _utf8),
    b"X": _counted("I", _utf8),
    b"\x8d": _counted("Q", _utf8),
    b"C": _counted("B", bytes),
    b"B": _counted("I", bytes),
    b"\x8e": _counted("Q", bytes),
    b"\x96": _counted("Q", bytes),  # a bytearray, of which nothing here needs the difference
    b"\x98": lambda m: None,  # a read-only one
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.pop_to_mark()),
    b"a": lambda m: m.extend([m.pop()]),
    b"e": lambda m: m.extend(m.pop_to_mark()),
    b"}": lambda m: m.push({}),
    b"d": lambda m: m.push_dict(m.pop_to_mark()),
    b"s": lambda m: m.update([m.pop(), m.pop()][::-1]),
    b"u": lambda m: m.update(m.pop_to_mark()),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"p": lambda m: m.remember(int(m.file.line())),
    b"q": lambda m: m.remember(m.file.number("B")),
    b"r": lambda m: m.remember(m.file.number("I")),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"g": _pushes(lambda m: m.memo[int(m.file.line())]),
    b"h": _pushes(lambda m: m.memo[m.file.number("B")]),
    b"j": _pushes(lambda m: m.memo[m.file.number("I")]),
    b"c": lambda m: m.ask(_latin1(m.file.line()), _latin1(m.file.line())),
    b"\x93": _stack_global,
    b"R": lambda m: m.call(),
    b"b": lambda m: m.build(),
}


def load_pickle(path: Path) -> Any:
    """Loads arrays of numbers and strings and plain containers from a pickle of any protocol, of Python 2 too.

    Args:
        path: the file.

    Returns:
        Its content; arrays are read-only, and strings of Python 2 come as str.

    Raises:
        InputError: where the file is cut short, is no pickle, or asks for anything but arrays and plain containers.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise pickle.UnpicklingError(f"it has more than {LARGEST_FILE >> 30} GiB")
        return _Machine(path.read_bytes()).run()
    except Exception as error:  # a broken pickle can raise nearly anything
        reason = printable(str(error)[:200]) or type(error).__name__
        raise InputError(
            f"{path} cannot be read as a pickle of numpy arrays and plain containers ({reason}); fetch it again, "
            "or save the images as an .npz with `x` uint8 (n, h, w, 3)."
        ) from error
