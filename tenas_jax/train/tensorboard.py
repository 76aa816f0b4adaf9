"""Metrics as TensorBoard reads them: a file of records, each a protocol buffer with its length and checksums.

Written here because the writers that exist bring TensorFlow or PyTorch, and a scalar is forty bytes
(tensorflow/core/lib/io/record_writer.h and tensorflow/core/util/event.proto say which).
"""

import struct
import time
from pathlib import Path
from typing import Any

from tenas_jax.errors import InputError
from tenas_jax.records.files import make_folder

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), bits reversed


def _table() -> list[int]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        found.append(value)
    return found


_TABLE = _table()


def _crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = _crc(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _event(step: int, body: bytes) -> bytes:
    return b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _varint(step) + body


class EventFile:
    """A file of scalars, to which a resumed run appends."""

    def __init__(self, folder: Path):
        """Opens or begins the file.

        Args:
            folder: where TensorBoard is told to look.

        Raises:
            InputError: where it cannot be written.
        """
        self._path = folder / "events.out.tfevents.0"
        try:
            make_folder(folder)
            new = not self._path.exists()
        except OSError as error:
            raise self._full(error) from error
        if new:
            self._append(_event(0, _bytes(3, b"brain.Event:2")))

    def _full(self, error: OSError) -> InputError:
        return InputError(f"{self._path} cannot be written ({error.strerror}); make room and run again.")

    def _append(self, event: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(_record(event))
        except OSError as error:
            raise self._full(error) from error

    def add(self, step: int, record: dict[str, Any]) -> None:
        """Adds the metrics of an epoch.

        Args:
            step: the epoch.
            record: `{"train": {name: value}, "val": {name: value}}`; other entries are left out.
        """
        values = b""
        for part, content in record.items():
            for name, value in content.items() if isinstance(content, dict) else ():
                tag = _bytes(1, f"{part}/{name}".encode())
                values += _bytes(1, tag + b"\x15" + struct.pack("<f", value))
        self._append(_event(step, _bytes(5, values)))
