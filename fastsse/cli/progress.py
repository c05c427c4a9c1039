"""Progress of a long input, on stderr: a line that a terminal rewrites, or a line now and then in a log.

The module knows numbers and terminals; it must not know what is counted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from fastsse.cli.terminal import DIM, show

__all__ = ["Progress"]

_REWRITTEN = 0.2  # s between two lines of a terminal
_LOGGED = 5.0  # s between two lines of a log
_PATIENCE = 1.0  # s without a line: a short input has none on a terminal
_CLEAR = "\r\x1b[K"


class Progress:
    """The progress of one command.

    Args:
        wanted: show it; None: where stderr is a terminal.
        clock: gives seconds that only grow.
    """

    def __init__(self, wanted: bool | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = sys.stderr.isatty()
        self._wanted = self._terminal if wanted is None else wanted
        self._asked = bool(wanted)
        self._clock = clock
        self._began = clock()
        self._next = self._began + (0 if wanted else _PATIENCE)
        self._shown = False  # a line stands on the terminal
        self._events = 0
        self._bytes = 0

    def add(self, events: int, size: int) -> None:
        """Count events and their bytes, and show the numbers if it is time."""
        self._events += events
        self._bytes += size
        if self._wanted and self._clock() >= self._next:
            self._show()

    def say(self, text: str) -> None:
        """Print a line of its own."""
        self._clear()
        show(f"fastsse: {text}", sys.stderr, DIM)

    def finish(self) -> None:
        """Print the last numbers, if any were shown or asked for."""
        if self._wanted and (self._shown or self._asked):
            self._show()
            if self._terminal:
                print(file=sys.stderr, flush=True)
            self._shown = False

    def _show(self) -> None:
        now = self._clock()
        self._next = now + (_REWRITTEN if self._terminal else _LOGGED)
        rate = self._events / max(now - self._began, 0.001)
        text = (
            f"fastsse: {self._events:,} events, {self._bytes / 1e6:,.1f} MB, {rate:,.0f} events/s"
        )
        if not self._terminal:
            show(text, sys.stderr)
            return
        print(f"{_CLEAR}{text}", end="", file=sys.stderr, flush=True)
        self._shown = True

    def _clear(self) -> None:
        if self._shown:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
            self._shown = False
