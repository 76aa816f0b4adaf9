"""JSON that says whether it is what was written: a checksum over every byte, and a format version.

A sealed object ends with its SHA-256. A line of a journal is numbered, and its checksum takes in that of the line before,
so that no line can be changed, left out, or come from another journal.
"""

import hashlib
import json
from enum import Enum
from typing import Any, NamedTuple

FORMAT = 2  # 1, without checksums, was written up to version 0.1
_OBJECT_TAIL, _LINE_TAIL = ',\n  "sha256": "', ', "sha256": "'


class State(Enum):
    """What an object read from a file is."""

    WHOLE = "whole"
    OLD = "old"  # of format 1: nothing says whether it is whole
    DAMAGED = "damaged"


class Sealed(NamedTuple):
    """An object from a file.

    Attributes:
        state: whether it can be believed.
        content: without format and checksum; empty where it is damaged.
    """

    state: State
    content: dict[str, Any]


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of plain JSON values, whatever the order of names.

    Args:
        content: the values.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sealed(content: dict[str, Any]) -> bytes:
    """An object as the content of a file.

    Args:
        content: plain JSON values.
    """
    body = json.dumps({"format": FORMAT, **content}, indent=2).removesuffix("\n}")
    return f'{body}{_OBJECT_TAIL}{_sha256(body)}"\n}}\n'.encode()


def unsealed(data: bytes) -> Sealed:
    """Reads what `sealed` has made.

    Args:
        data: the content of a file.
    """
    damaged = Sealed(State.DAMAGED, {})
    content = parsed(data)
    if content is None:
        return damaged
    if "sha256" not in content and "format" not in content:
        return Sealed(State.OLD, content)
    body, _, tail = data.decode().rpartition(_OBJECT_TAIL)
    if tail != f'{_sha256(body)}"\n}}\n' or content.pop("format", None) != FORMAT:
        return damaged
    del content["sha256"]
    return Sealed(State.WHOLE, content)


def line(record: dict[str, Any], number: int, before: str) -> bytes:
    """A record as a line of a journal.

    Args:
        record: plain JSON values.
        number: of the line, from 0.
        before: checksum of the line before; of the first line, that of what the journal belongs to.
    """
    body = json.dumps({**record, "line": number}).removesuffix("}")
    return f'{body}{_LINE_TAIL}{_sha256(before + body)}"}}\n'.encode()


def read_line(data: bytes, number: int, before: str) -> tuple[dict[str, Any], str] | None:
    """Reads what `line` has made.

    Args:
        data: the line, with its line break.
        number: as in `line`.
        before: as in `line`.

    Returns:
        The record and the line's checksum; None where the line is not what was written there.
    """
    content = parsed(data)
    if content is None:
        return None
    body, _, tail = data.decode().rpartition(_LINE_TAIL)
    checksum = _sha256(before + body)
    if tail != f'{checksum}"}}\n' or content.pop("line", None) != number:
        return None
    del content["sha256"]
    return content, checksum


def parsed(data: bytes) -> dict[str, Any] | None:
    """A JSON object; None for whatever else the bytes are.

    Args:
        data: text.
    """
    try:
        content = json.loads(data.decode())
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
