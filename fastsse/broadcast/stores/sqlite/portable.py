"""Copies of a log in a file: read it whole, put another log's entries in under their own ids, let the oldest go.

The module knows calls on the writing thread; it must not know what is followed or published.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from fastsse.broadcast.stores import Entry, Log, Page
from fastsse.broadcast.stores.sqlite.reading import Reader
from fastsse.broadcast.stores.sqlite.table import Table
from fastsse.broadcast.stores.sqlite.trimming import Trimmer
from fastsse.broadcast.stores.sqlite.writer import Options

__all__ = ["Copies"]

_Answer = TypeVar("_Answer")


class Copies(ABC):
    """The part of a `SqliteStore` that copies its log."""

    options: Options
    _reader: Reader

    @abstractmethod
    async def call(self, function: Callable[[Table, Trimmer], _Answer]) -> _Answer:
        """Call a function on the writing thread."""

    @abstractmethod
    async def _in_thread(self, function: Callable[[], _Answer]) -> _Answer:
        """Call a function on a thread that reads."""

    async def scan(self, after: int, limit: int) -> Page:
        """Read a page of all topics. As `Portable.scan`."""
        return await self._in_thread(partial(self._reader.scan, after, limit))

    async def adopt(self, log: Log) -> None:
        """Take over another log's epoch and floor. As `Portable.adopt`."""
        try:
            await self.call(lambda table, _: table.adopt(log))
        except ValueError as error:
            raise OSError(f"{self.options.path}: {error}: import into a new file") from error

    async def put(self, entries: Iterable[Entry]) -> None:
        """Put in entries under their own positions. As `Portable.put`."""
        many = list(entries)
        try:
            await self.call(lambda table, _: table.put(many))
        except ValueError as error:
            raise OSError(f"{self.options.path}: {error}") from error

    async def trim(self) -> int:
        """Let go one step of what is over the retention. As `Portable.trim`."""
        return await self.call(lambda _, trimmer: trimmer.step_any(self.options.retention))
