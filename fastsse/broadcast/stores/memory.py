"""The log in this process only: positions from a counter, nothing kept (the hub's history is all there is)."""

from __future__ import annotations

import secrets
import time

from fastsse.broadcast.stores import Draft, Entry, Report

__all__ = ["MemoryStore"]


class MemoryStore:
    """Reports at once, within `append`. Every start is a new log, so it has a new epoch."""

    def __init__(self) -> None:
        # Seconds since 1970 so that epochs sort by eye; four random digits for two starts in one second.
        self._epoch = f"{int(time.time()):x}{secrets.token_hex(2)}"
        self._head = 0
        self._report: Report | None = None

    async def open(self) -> str:
        return self._epoch

    async def append(self, draft: Draft) -> int:
        self._head += 1
        if self._report is not None:
            self._report(Entry(self._head, draft.topics, draft.block))
        return self._head

    async def follow(self, after: int, report: Report) -> None:  # noqa: ARG002 - nothing is kept
        self._report = report

    async def close(self) -> None:
        self._report = None
