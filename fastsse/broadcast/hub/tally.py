"""Tallies: the events that one stream was sent, counted for the line that is logged when it ends.

A tally is kept only where that line will be logged, that is, where the logger ``fastsse.broadcast.streams`` is enabled
for INFO when the stream begins: about 400 bytes a stream, and none otherwise. Nobody counts a delivery. While the pump
sends to a stream, the stream gets what its audience gets; the difference of the audience's totals is added when that is
over.

Topics are names that clients chose, and a server may have taken the remote address from a header. Both are written
as JSON strings in ASCII, so that no name can end the line or pass for another field, and both are shortened.

The module knows numbers and log lines; it must not know streams or audiences.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Any

from fastsse.errors import shorten

__all__ = ["Tally", "log", "log_end", "open_tally"]

_TOPICS = 5  # names that a line shows
_SHOWN = 64  # characters of a name

log = logging.getLogger("fastsse.broadcast.streams")


class Tally:
    """The counts of one stream, by what it was sent.

    Attributes:
        began: monotonic time of the stream's beginning.
        remote: the client's host and port, when the server knows them.
        events: events that were handed to its `send`, those of gaps included.
        size: bytes of those events.
        gaps: gaps that its reader was told of.
        skips: times that it was moved ahead.
    """

    __slots__ = ("_live", "began", "events", "gaps", "remote", "size", "skips")

    def __init__(self, remote: Sequence[Any] | None) -> None:
        self.began = time.monotonic()
        self.remote = remote
        self.events = 0
        self.size = 0
        self.gaps = 0
        self.skips = 0
        # The audience's events and bytes when the pump took the stream; None while a task sends, and counts.
        self._live: tuple[int, int] | None = None

    def add(self, events: int, size: int) -> None:
        """Add what a task has sent."""
        self.events += events
        self.size += size

    def begin_live(self, events: int, size: int) -> None:
        """Note the audience's totals at the place where the pump takes the stream."""
        self._live = events, size

    def end_live(self, events: int, size: int) -> None:
        """Add what the pump has sent, by the audience's totals at the place where it gives the stream back.

        These totals may be less than those at the beginning, when the replay had run ahead of the pump; that counts
        as nothing.
        """
        if self._live is not None:
            self.add(max(0, events - self._live[0]), max(0, size - self._live[1]))
            self._live = None


def open_tally(remote: Sequence[Any] | None) -> Tally | None:
    """Return a tally for a stream that begins; None when its end will not be logged."""
    return Tally(remote) if log.isEnabledFor(logging.INFO) else None


def log_end(reason: str, topics: Sequence[str], id: str, tally: Tally | None) -> None:
    """Log that a stream has ended, in one line of `name=value`; without a tally, only what is known without one.

    Args:
        id: of the last event that was handed to the stream's `send`, or of its beginning.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    names = ",".join(shorten(name, _SHOWN) for name in topics[:_TOPICS])
    parts = [f"reason={reason}", f"topics={json.dumps(names)}"]
    if len(topics) > _TOPICS:
        parts.append(f"more_topics={len(topics) - _TOPICS}")
    parts.append(f"id={id}")
    if tally is not None:
        parts += [
            f"seconds={time.monotonic() - tally.began:.3f}",
            f"events={tally.events}",
            f"bytes={tally.size}",
            f"gaps={tally.gaps}",
            f"skips={tally.skips}",
        ]
        if tally.remote:
            parts.append(f"remote={json.dumps(_address(tally.remote))}")
    log.info("stream ended %s", " ".join(parts))


def _address(remote: Sequence[Any]) -> str:
    host, *rest = (shorten(str(part), _SHOWN) for part in remote)
    port = [part for part in rest if part != "0"]  # 0: a proxy did not name it
    return ":".join([f"[{host}]" if ":" in host and port else host, *port])
