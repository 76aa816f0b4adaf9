"""Tables of what architectures take on devices, such as HW-NAS-Bench (Li et al. 2021), and amounts with their units."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tenas_jax.errors import InputError, printable
from tenas_jax.rank.architectures import names_architectures, read_rows, row_architecture
from tenas_jax.records.files import sha256_of
from tenas_jax.search.measures import Measure
from tenas_jax.spaces.space import Masks, SearchSpace

OPTIONS = {"latency": "--max-latency", "energy": "--max-energy"}
UNITS = {"latency": {"us": 1e-3, "ms": 1.0, "s": 1e3}, "energy": {"uJ": 1e-3, "mJ": 1.0, "J": 1e3}}
USUAL = {"latency": "ms", "energy": "mJ"}  # the unit of values
_EXAMPLES = {"latency": "20ms, 20 ms or 0.02s", "energy": "30mJ, 30 mJ or 0.03J"}
_AMOUNT = re.compile(r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*([a-zA-Z]+)\s*(?:@\s*(.+?)\s*)?")
_COLUMN = re.compile(r"(.+)_(latency_ms|energy_mj)")


class Amount(NamedTuple):
    """A limit as the command line names it.

    Attributes:
        most: in milliseconds or millijoules.
        device: after the `@`; empty without.
    """

    most: float
    device: str = ""


def amounts_of(name: str, text: str) -> list[Amount]:
    """Amounts with their units: `20ms`, `0.02 s@raspi4`, several with commas between.

    Args:
        name: "latency" or "energy".
        text: of the option.

    Raises:
        InputError: for anything else.
    """
    found = []
    for part in str(text).split(","):
        match = _AMOUNT.fullmatch(part)
        most = float(match[1]) * UNITS[name].get(match[2], 0) if match else 0
        if match is None or not 0 < most < math.inf:
            raise InputError(
                f"{OPTIONS[name]} is an amount above zero with its unit ({', '.join(UNITS[name])}), such as "
                f"{_EXAMPLES[name]}, with @DEVICE behind it for one of a table; it is {str(text)!r}."
            )
        found.append(Amount(most, match[3] or ""))
    return found


class HardwareTable(NamedTuple):
    """What architectures take on devices.

    Attributes:
        path: of the file.
        sha256: of its content.
        columns: by "latency" or "energy" and device: values by architecture, in milliseconds or millijoules, NaN where
            there is none.
    """

    path: Path
    sha256: str
    columns: Mapping[tuple[str, str], Mapping[str, float]]

    def devices(self, name: str) -> list[str]:
        """Those of which the table holds something.

        Args:
            name: "latency" or "energy".
        """
        return [device for held, device in self.columns if held == name]

    def measure(self, name: str, device: str, option: str | None = None) -> Measure:
        """A column as a measure.

        Args:
            name: "latency" or "energy".
            device: of the table; empty for the only one that there is.
            option: that asks for it, for messages.

        Raises:
            InputError: where there is no such device; it names those that there are.
        """
        option, known = option or OPTIONS[name], self.devices(name)
        named = ", ".join(map(printable, known)) or "none"
        if not device and len(known) != 1:
            raise InputError(f"{option} must name a device of {self.path} behind an @; it has the {name} of {named}.")
        device = device or known[0]
        if device not in known:
            raise InputError(f"{self.path} has no {name} of the device {device!r}; it has that of {named}.")
        held = self.columns[name, device]

        def look_up(space: SearchSpace, masks: Masks) -> np.ndarray:
            return np.array([held.get(string, math.nan) for string in space.formats(masks)])

        identity = {"table_sha256": self.sha256, "device": device}
        return Measure(name, USUAL[name], OPTIONS[name], look_up, on=device, identity=identity)


def read_hardware(path: Path) -> HardwareTable:
    """Reads a csv or csv.gz with `architecture` and columns such as `raspi4_latency_ms` or `fpga_energy_mj`.

    Args:
        path: the file; an empty field says that the architecture does not run on the device.

    Raises:
        InputError: where the file or such columns are missing, or a value is no amount.
    """
    names, rows = read_rows(path)
    columns = {name: match for name in names if (match := _COLUMN.fullmatch(name))}
    if not names_architectures(names) or not columns:
        raise InputError(
            f"the hardware table {path} needs a column `architecture` and columns DEVICE_latency_ms or DEVICE_energy_mj; "
            f"it has {', '.join(map(printable, names)) or 'none'}."
        )
    found: dict[tuple[str, str], dict[str, float]] = {(m[2].split("_")[0], m[1]): {} for m in columns.values()}
    for line, row in enumerate(rows, 2):
        try:
            architecture = row_architecture(row)
        except InputError as error:
            raise InputError(f"line {line} of {path}: {error}") from error
        for name, match in columns.items():
            found[match[2].split("_")[0], match[1]][architecture] = _value(row[name], f"line {line} of {path}", name)
    return HardwareTable(path, sha256_of(path) or "", found)


def _value(text: str | None, where: str, column: str) -> float:
    """An amount, NaN where the field is empty."""
    try:
        value = float(text) if text is not None and text.strip() else math.nan
    except ValueError:
        value = -1.0
    if value < 0 or math.isinf(value):
        raise InputError(f"{where} has {text!r} as {column}; a finite number from 0, or nothing, is needed.")
    return value
