"""How long a run has taken, over all its sessions: every record says how long it was until then."""

import time
from collections.abc import Callable, Mapping
from typing import Any


class Spent:
    """Seconds of this session, and of those before it.

    Attributes:
        started: of this session, by `time.perf_counter`.
    """

    def __init__(self) -> None:
        """Starts a session."""
        self.started = time.perf_counter()
        self._compiling: Callable[[], float] = lambda: 0.0
        self._compiled_before = 0.0
        self._before = {"wall_seconds": 0.0, "compile_seconds": 0.0}

    def watch(self, compiling: Callable[[], float]) -> None:
        """Takes what counts the seconds of compiling; those that programs were compiled for before do not count.

        Args:
            compiling: all seconds of some programs until now.
        """
        self._compiling, self._compiled_before = compiling, compiling()

    @property
    def compiling(self) -> float:
        """Seconds that this session has spent on compiling until now."""
        return self._compiling() - self._compiled_before

    def learn(self, spent: Mapping[str, Any] | None) -> None:
        """Takes in what a record of an earlier session says; the most counts.

        Args:
            spent: from `total`; None of a record that says nothing.
        """
        for name, seconds in (spent or {}).items():
            self._before[name] = max(self._before[name], float(seconds))

    def total(self) -> dict[str, float]:
        """`wall_seconds` and `compile_seconds` of all sessions until now."""
        now = {"wall_seconds": time.perf_counter() - self.started, "compile_seconds": self.compiling}
        return {name: round(seconds + self._before[name], 3) for name, seconds in now.items()}
