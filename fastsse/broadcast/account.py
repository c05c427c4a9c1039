"""Accounts: what one stream was sent, for the line that is logged when it ends.

An account is only kept where that line is wanted, that is, where the logger ``fastsse.broadcast.streams`` is enabled
for INFO when the stream begins: about 400 bytes a stream, and none otherwise. Nobody counts a delivery: while the
pump sends to a stream it gets what its audience gets, and the difference of the audience's counters is added
when that is over.

Topics are names that clients chose, and a server may have taken the remote address from a header. Both are written
as JSON strings in ASCII, so that no name can end the line or pass for another field, and both are shortened.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Any

__all__ = ["Account", "log", "log_end", "open_account"]

_TOPICS = 5  # names that a line shows
_SHOWN = 64  # characters of a name

log = logging.getLogger("fastsse.broadcast.streams")


class Account:
    """What one stream was sent.

    Attributes:
        began: monotonic time.
        remote: the client's host and port, when the server knows them.
        events: events that were handed to its `send`, those of gaps included.
        size: their bytes.
        gaps: gaps that it was told of.
        skips: times that it was moved ahead.
        live: the audience's events and bytes at its place when the pump began to send to it; None while its own
            task or a task for it sends, and counts.
    """

    __slots__ = ("began", "events", "gaps", "live", "remote", "size", "skips")

    def __init__(self, remote: Sequence[Any] | None) -> None:
        self.began = time.monotonic()
        self.remote = remote
        self.events = 0
        self.size = 0
        self.gaps = 0
        self.skips = 0
        self.live: tuple[int, int] | None = None

    def add(self, events: int, size: int) -> None:
        self.events += events
        self.size += size

    def settle(self, events: int, size: int) -> None:
        """The pump's time is over: add what came between, by the audience's counters at this place.

        They lie before those of the beginning when the stream had more from the history than the pump has sent.
        """
        if self.live is not None:
            self.add(max(0, events - self.live[0]), max(0, size - self.live[1]))
            self.live = None


def open_account(remote: Sequence[Any] | None) -> Account | None:
    """An account for a stream that begins, if its end will be logged."""
    return Account(remote) if log.isEnabledFor(logging.INFO) else None


def log_end(reason: str, topics: Sequence[str], id: str, account: Account | None) -> None:
    """Log that a stream has ended, in one line of `name=value`; without an account what is known without it.

    Args:
        id: of the last event that was handed to its `send`, or of its beginning.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    names = ",".join(map(_short, topics[:_TOPICS]))
    parts = [f"reason={reason}", f"topics={json.dumps(names)}"]
    if len(topics) > _TOPICS:
        parts.append(f"more_topics={len(topics) - _TOPICS}")
    parts.append(f"id={id}")
    if account is not None:
        parts += [
            f"seconds={time.monotonic() - account.began:.3f}",
            f"events={account.events}",
            f"bytes={account.size}",
            f"gaps={account.gaps}",
            f"skips={account.skips}",
        ]
        if account.remote:
            parts.append(f"remote={json.dumps(_address(account.remote))}")
    log.info("stream ended %s", " ".join(parts))


def _address(remote: Sequence[Any]) -> str:
    host, *port = (_short(str(part)) for part in remote)
    return ":".join([f"[{host}]" if ":" in host and port else host, *port])


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN else name[: _SHOWN - 1] + "…"
