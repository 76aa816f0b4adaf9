"""Latency on the device at hand: measured architecture by architecture, and predicted from a few that were measured.

To measure one compiles a program, which takes seconds: a search cannot measure all. `NUMBER` random connected architectures
are measured (twice as many as there are prices, where that is more), and least squares gives a price to each operator of
each kind of cell, none below zero, by how many edges hold it on a path from an input to the output: what lies on none, the
compiler leaves out. The error that is told is that of each architecture by the prices of the others.

What was measured is kept in the run's folder, `latencies.jsonl`, so that a resumed search goes by the same prices.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from tenas_jax.command_line import say
from tenas_jax.errors import InputError
from tenas_jax.networks.latency import DTYPE, REPEATS, measure_latency
from tenas_jax.networks.yardsticks import live_operators
from tenas_jax.records import seal
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.search.measures import Measure
from tenas_jax.spaces.cell_graph import Mask
from tenas_jax.spaces.space import Masks, SearchSpace
from tenas_jax.terminal import doing

USUAL_SIDE = 32  # of images; what was measured before there were others says nothing of it
FILE = "latencies.jsonl"
NUMBER = 12  # architectures that prices are fitted to, at least


class Fit(NamedTuple):
    """Prices of operators, and how far they can be trusted.

    Attributes:
        prices: of the network without cells, then of every operator of every kind of cell that carries something.
        error: root mean square, in milliseconds, of each architecture by the prices of the others.
        spread: of the repeats of one architecture, the median of their quartile distances, in milliseconds.
        differing: quartile distance of the architectures' medians, in milliseconds.
    """

    prices: Float[np.ndarray, " p"]
    error: float
    spread: float
    differing: float

    @property
    def is_noise(self) -> bool:
        """Whether repeats of one architecture spread more than architectures differ."""
        return self.spread >= self.differing


class MeasuredLatency:
    """Latencies on the device at hand, kept in a run's folder.

    Attributes:
        space: the search space.
        batch: images of a forward pass.
        fit: of a few architectures; None before `calibrate`.
    """

    def __init__(self, space: SearchSpace, batch: int = 1):
        """Measures nothing yet.

        Args:
            space: the search space.
            batch: images of a forward pass.
        """
        device = jax.devices()[0]
        self.space, self.batch = space, batch
        self.fit: Fit | None = None
        self.identity = {"device": f"{device.platform}: {device.device_kind}", "batch": batch, "dtype": DTYPE}
        if space.family.side != USUAL_SIDE:
            self.identity["side"] = space.family.side
        self._folder: RunFolder | None = None
        self._known: dict[str, dict[str, Any]] = {}

    @property
    def measure(self) -> Measure:
        """What is predicted, as a measure; of use once it is calibrated."""
        where = f"this device ({self.identity['device']}, batch {self.batch}, {DTYPE})"
        return Measure(
            "latency", "ms", "--max-latency", self._predicted, on=where, identity={"measured": self.identity}
        )

    def open(self, folder: RunFolder) -> None:
        """Takes in what a folder holds.

        Args:
            folder: of the run.
        """
        self._folder, self._known = folder, {}
        file = folder.path / FILE
        checksum = seal.digest(self.identity)
        for number, text in enumerate(file.read_bytes().splitlines(keepends=True) if file.is_file() else ()):
            read = seal.read_line(text, number, checksum)
            if read is None:
                say(
                    f"{file} is of another device or batch, or damaged, from line {number + 1} on: that is measured again"
                )
                break
            record, checksum = read
            self._known[record["architecture"]] = record

    def of(self, mask: Mask) -> dict[str, Any]:
        """The latency of a single architecture; what is known is not measured again.

        Args:
            mask: of the architecture.

        Returns:
            Its string as `architecture`, `milliseconds` and `spread`, see `networks.latency.Latency`.
        """
        name = self.space.format(mask)
        if name not in self._known:
            doing("compiling and timing a forward pass")
            found = measure_latency(self.space, mask, self.batch)
            self._known[name] = {"architecture": name, "milliseconds": found.milliseconds, "spread": found.spread}
            self._keep()
        return self._known[name]

    def calibrate(self, *, begun: bool = False) -> Fit:
        """Measures a few architectures, or takes those that were, and fits prices; says how far these can be trusted.

        Args:
            begun: whether a search has gone by such prices already.

        Raises:
            InputError: where it has, and what it went by is damaged.
        """
        masks = calibrating(self.space)
        known = [self.space.format(mask) in self._known for mask in masks]
        if begun and not all(known):
            raise InputError(
                f"{self._folder.path / FILE if self._folder else FILE} no longer holds the latencies that this search has "
                "gone by; choose another --output, or remove the whole folder."
            )
        found = []
        for number, mask in enumerate(masks):
            if not known[number]:
                say(f"measuring latency: architecture {number + 1} of {len(masks)}")
            found.append(self.of(mask))
        times = np.array([one["milliseconds"] for one in found])
        self.fit = fit(self.space, masks, times, np.array([one["spread"] for one in found]))
        say(
            f"measured {len(masks)} architectures, {times.min():.3g} to {times.max():.3g} ms (batch {self.batch}, {DTYPE}, "
            f"median of {REPEATS}); predicted from the others, one is wrong by {self.fit.error:.3g} ms"
        )
        if self.fit.is_noise:
            say(
                f"these latencies are noise: repeats of one architecture spread by {self.fit.spread:.3g} ms, and "
                f"architectures differ by {self.fit.differing:.3g} ms; take a larger --measure-latency BATCH, or a device "
                "that is idle"
            )
        return self.fit

    def _predicted(self, space: SearchSpace, masks: Masks) -> np.ndarray:
        assert self.fit is not None, "calibrate first"
        return _rows(space, masks) @ self.fit.prices

    def _keep(self) -> None:
        if self._folder is None:
            return
        checksum, lines = seal.digest(self.identity), []
        for number, record in enumerate(self._known.values()):
            lines.append(seal.line(record, number, checksum))
            read = seal.read_line(lines[-1], number, checksum)
            assert read is not None
            checksum = read[1]
        self._folder.write(FILE, b"".join(lines).decode())


def calibrating(space: SearchSpace) -> Masks:
    """The architectures that prices are fitted to: random connected ones, always the same.

    Args:
        space: the search space.
    """
    number = max(NUMBER, 2 * (1 + len(space.cells) * len(space.carriers)))
    masks = space.sample(jax.random.key(0), 64 * number)
    masks = masks[space.connected(masks)]
    _, first = np.unique(masks.reshape(len(masks), -1), axis=0, return_index=True)
    return masks[np.sort(first)[:number]]


def fit(space: SearchSpace, masks: Masks, milliseconds: np.ndarray, spread: np.ndarray) -> Fit:
    """Prices by least squares, none below zero.

    Args:
        space: the search space.
        masks: (m, cells, edges, operators), single architectures.
        milliseconds: (m,), the median of each.
        spread: (m,), the quartile distance of the repeats of each.
    """
    from scipy.optimize import nnls

    rows, all_of = _rows(space, masks), np.arange(len(masks))
    wrong = [milliseconds[n] - rows[n] @ nnls(rows[all_of != n], milliseconds[all_of != n])[0] for n in all_of]
    low, high = np.quantile(milliseconds, [0.25, 0.75])
    error = float(np.sqrt(np.mean(np.square(wrong))))
    return Fit(nnls(rows, milliseconds)[0], error, float(np.median(spread)), float(high - low))


def _rows(space: SearchSpace, masks: Masks) -> Float[np.ndarray, "m p"]:
    """Of every architecture a one, and how many edges hold each operator on a path, by kind of cell."""
    counts = live_operators(space, masks)[..., space.carriers].sum(-2)
    return np.column_stack([np.ones(len(masks)), counts.reshape(len(masks), -1)])
