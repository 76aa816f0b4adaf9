"""What a person sees of a command that computes: a live panel where standard error is a terminal, lines where it is none.

A command is never silent for more than five seconds: whoever computes says what by `doing`, and a thread repeats it while
nothing else is said.
"""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tenas_jax.command_line import say, when_said

PATIENCE = 4.5  # seconds of silence
LOOKS = 0.25  # seconds between two looks at the clock

_now: dict[str, Any] = {"doing": "", "since": 0.0, "panel": None}
_meanwhile: list[tuple[str, float]] = []  # blocks that last, of any thread


def doing(what: str) -> None:
    """Says what is being done from now on, for whoever waits; nothing is printed at once.

    Args:
        what: such as "scoring by linear regions".
    """
    _now.update(doing=what, since=time.perf_counter())


@contextmanager
def meanwhile(what: str) -> Iterator[None]:
    """Says what is being done besides for as long as a block lasts; several threads may be in such blocks.

    Args:
        what: such as "compiling".
    """
    block = what, time.perf_counter()
    _meanwhile.append(block)
    try:
        yield
    finally:
        _meanwhile.remove(block)


def current() -> str:
    """What is being done, and for how long."""
    what, since = _now["doing"], _now["since"]
    if _meanwhile:
        besides, since = _meanwhile[0]
        what = f"{besides} ({what})" if what else besides
    return f"{what or 'working'}, {time.perf_counter() - since:.0f} s"


@contextmanager
def speaking() -> Iterator[None]:
    """Breaks every silence of more than five seconds while a block lasts."""
    stop = threading.Event()
    doing("starting")

    def watch() -> None:
        while not stop.wait(LOOKS):
            if _now["panel"] is None and time.perf_counter() - when_said() > PATIENCE:
                say(f"... {current()}")

    when_said(reset=True)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _now["doing"] = ""


class Progress:
    """How far a command is: a live panel, or lines.

    Attributes:
        done: how many of `total`.
    """

    def __init__(self, total: int, done: int, unit: str):
        """Starts where an earlier session has ended.

        Args:
            total: of all that there is to do.
            done: of them before.
            unit: what is counted.
        """
        self.done = done
        self._total, self._before, self._unit, self._start = total, done, unit, time.perf_counter()
        self._facts: dict[str, str] = {}
        self._live: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=sys.stderr)
            self._live = Live(get_renderable=self.panel, console=console, refresh_per_second=4, transient=True)
            self._live.start()
            _now["panel"] = self
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = _now["panel"] = None

    def advance(self, count: int, line: str | None = None, facts: Mapping[str, str] | None = None) -> None:
        """Says how far it is.

        Args:
            count: how many more are done.
            line: what has happened; a line of its own, above the panel where there is one. None for nothing.
            facts: what the panel shows until it is told something else, by name.
        """
        self.done += count
        self._facts |= facts or {}
        if line is None:
            return
        if self._live is None:
            say(line)
        else:
            self._live.console.print(line, markup=False, highlight=False)

    @property
    def is_live(self) -> bool:
        """Whether there is a panel."""
        return self._live is not None

    def left(self) -> str:
        """How long it will take, by how long it took until now; empty before anything is known."""
        fresh, seconds = self.done - self._before, time.perf_counter() - self._start
        return f"{seconds / fresh * (self._total - self.done):.0f} s" if fresh else ""

    def panel(self) -> Any:
        """The live panel."""
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(max(self._total, 1), self.done, width=28), f"{self.done:,} of {self._total:,} {self._unit}"
        )
        rows = {**self._facts, "now": current(), "left": self.left() or "not known yet"}
        grid.add_row("done", bar)
        for name, value in rows.items():
            # Text, so that no name is read as markup.
            grid.add_row(Text(name), Text(value))
        return Panel(grid, border_style="dim")
