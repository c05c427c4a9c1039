"""The contract between the hub and a log: `Store`, `Follower`, and abilities such as `Archive`. One file per store.

    hub ── append ──► store ── entry, lost, renewed, stalled ──► hub (the follower) ──► streams
                      store ── read (only an archive) ─────────► one late stream

A hub delivers what its store reports and nothing else, so events of this process and of others walk one road in one
order. This module knows entries and positions, and nothing of the hub, the rules for topics or ids on the
wire.

**Positions** are whole numbers from 1 to 2**62 - 1. A later entry has a greater position, and gaps between two
positions are allowed. An engine whose ids are two numbers maps them and writes the mapping down: ``<ms>-<n>`` of Redis
becomes ``ms << 18 | n``, for example.

**Epochs** name a numbering. Two logs never share one. A log that loses what it has reported, or begins to count anew,
is another log and takes another epoch.

**Ends.** A topic may end. Its end is an entry like any other, whose block begins with ``event: end``, a type that no
publisher can use. So a store keeps and reports ends without knowing of them; `Draft.ends` and `Entry.ends` tell them
apart. A topic has ended while the newest entry of the topic is an end.

Everything here is called from one event loop. No method of a `Follower` blocks or raises.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from fastsse import FastSSEError, InvalidField

_END = b"event: end\n"  # the beginning of the block of an end, as `encode` writes it

__all__ = [
    "Archive",
    "Draft",
    "Entry",
    "Follower",
    "Grouped",
    "KeyReused",
    "Log",
    "Outcome",
    "Page",
    "Portable",
    "StorageFull",
    "Store",
    "StoreState",
    "StoreUnusable",
    "Watched",
]


class Draft:
    """An event that has no position yet.

    Attributes:
        topics: the topics that the event is published to; at least one, none twice.
        block: the event's block without an id, written once for everybody (see `fastsse.encode`).
    """

    __slots__ = ("block", "topics")

    def __init__(self, topics: tuple[str, ...], block: bytes) -> None:
        self.topics = topics
        self.block = block

    @property
    def ends(self) -> bool:
        """True for the end of its topics."""
        return self.block.startswith(_END)


class Entry:
    """An event in the log.

    Attributes:
        position: the event's place in the one sequence of all topics.
        topics: the topics that the event was published to.
        block: the event's block without an id.
    """

    __slots__ = ("block", "position", "topics")

    def __init__(self, position: int, topics: tuple[str, ...], block: bytes) -> None:
        self.position = position
        self.topics = topics
        self.block = block

    @property
    def ends(self) -> bool:
        """True for the end of its topics."""
        return self.block.startswith(_END)

    def __repr__(self) -> str:
        return f"Entry({self.position}, {self.topics!r}, {len(self.block)} bytes)"


class Log(NamedTuple):
    """The extent of a log at one moment.

    Attributes:
        epoch: the name of this numbering: 1 to 64 of the characters ``0-9 A-Z a-z _ .``.
        floor: position of the last entry that is gone; 0 when none is.
        head: position of the newest entry, gone or not; 0 when there never was one.
    """

    epoch: str
    floor: int = 0
    head: int = 0


class Page(NamedTuple):
    """One answer of an `Archive`: all entries of the asked topics after `floor` and up to `end`.

    Attributes:
        entries: the entries, in order, each once.
        end: the position up to which the page is complete. The next page begins after it.
        floor: position of the last entry that is gone from the log at the time of the answer.
        epoch: the log that the page is of. The hub drops a page of a log that it has not been told of by `renewed`.
    """

    entries: list[Entry]
    end: int
    floor: int
    epoch: str


class KeyReused(InvalidField):
    """The key of a publish belongs to an event with other topics or another block; nothing was appended."""

    def __init__(self, key: str) -> None:
        super().__init__("key", key, "was used for another event: take a new key for a new event")

    def __reduce__(self) -> tuple[type[KeyReused], tuple[object]]:
        return KeyReused, (self.value,)


class StorageFull(FastSSEError, OSError):
    """The engine has no room for more; over HTTP a publish then gets 507. Nothing was appended."""

    def __init__(self, detail: str) -> None:
        super().__init__(errno.ENOSPC, detail)

    def __reduce__(self) -> tuple[type[StorageFull], tuple[object]]:
        return StorageFull, (self.strerror,)


class StoreUnusable(FastSSEError, OSError):
    """A log that waiting does not mend: damaged, newer than this version, or in use by another process."""


class StoreState(NamedTuple):
    """Numbers of a store for operators, as they are now.

    Attributes:
        engine: what keeps the log, such as ``sqlite``.
        queued: appends that wait for the engine.
        entries: entries that the log holds; None where that cannot be told at once.
        size: bytes of their blocks, or what the engine takes; None where that cannot be told at once.
        unreadable: entries that were skipped because they could not be read, since the store was opened.
    """

    engine: str
    queued: int = 0
    entries: int | None = None
    size: int | None = None
    unreadable: int = 0


class Follower(Protocol):
    """The hub, as a store sees it: the receiver of everything that happens to the log.

    The reports of one store come one after the other, in the order of the log.
    """

    def entry(self, entry: Entry) -> None:
        """Take the next entry. Each entry is reported once, and no later than the entries after it.

        A store that reports an entry again is at fault; the hub then drops the repetition.
        """
        ...

    def lost(self, to: int) -> None:
        """Take note that this follower never gets the entries after the last report and up to position `to`.

        A store says this when entries were trimmed before it could read them, and for entries older than the tail
        that `Store.follow` was asked for. The hub tells a gap to every open stream that has not got past `to`. A reader
        that comes back later from before `to` is told of a gap, too, unless the store is an `Archive` that still has
        the entries.
        """
        ...

    def renewed(self, log: Log) -> None:
        """Take note that the log is another one now, with another epoch, and stands at `log.head`.

        A store says this after its engine has failed over to an empty or an older log. Whatever was reported before
        belongs to the old log. The next entry reported comes after `log.head`: what the new log held already is not
        reported, because readers may have had it under other ids. The hub forgets its history, and tells every open
        stream a gap whose reason is ``restart``.
        """
        ...

    def stalled(self, since: float | None) -> None:
        """Take note that the engine cannot be reached since this time of the event loop's clock; None: it can again.

        Streams stay open meanwhile, and nothing is lost by a stall itself. After it the store reports what it has
        missed, by `entry`, `lost` or `renewed`.
        """
        ...


@runtime_checkable
class Store(Protocol):
    """A log as the hub needs it.

    `open`, `follow`, then any number of `append`, then `close`; after `close` the store may be opened again.
    """

    async def open(self) -> Log:
        """Make the log ready, and return its extent.

        A log that outlives the process keeps its epoch. A log that begins anew, as in memory, takes a new one.

        Raises:
            OSError: the log cannot be reached. The store may be opened again.
        """
        ...

    async def follow(self, follower: Follower, tail: int) -> None:
        """Report the newest `tail` entries, then every entry to come for as long as the store is open.

        Where the log has entries before those, or had some that are gone, `Follower.lost` comes first, with the
        position of the last of them: a follower has to know where its knowledge begins. The call returns once the
        entries that the log held at the call have been reported. Later reports come on the event loop, at any time.

        Raises:
            OSError: the log cannot be read.
        """
        ...

    async def append(self, draft: Draft, key: str | None = None) -> int:
        """Put an event at the end of the log, and return its position.

        The store reports the entry before this returns, or soon after; callers rely on neither. When `renewed` comes
        while an append waits, the append returns a position of the new log, or raises.

        Args:
            key: makes the append idempotent. While the store remembers a key, a second append with it appends and
                reports nothing, and returns the position of the first. Each store says how long it remembers keys.

        Raises:
            KeyReused: the key belongs to an event with other topics or another block.
            OSError: the log cannot be written. Nothing was appended, or nobody knows whether: a publisher that tries
                again with the same key appends the event once.
        """
        ...

    async def close(self) -> None:
        """Report nothing more, and release what the store holds. Closing twice does nothing."""
        ...


@runtime_checkable
class Archive(Protocol):
    """An ability that a store may have besides: reading its log from any place.

    A hub whose store has it replays a late reader from the log, page by page, instead of telling a gap.
    """

    async def read(self, topics: tuple[str, ...], after: int, before: int, limit: int) -> Page:
        """Return the first entries of `topics` whose positions lie after `after` and before `before`.

        An entry with several of the topics comes once. The page may end early, with or without entries, for
        instance after a thousand rows that belong to other topics; its `end` says how far it is complete. The `end`
        of each page lies after `after`, and is at least `before - 1` in the last one, so that reading comes to an end.

        Args:
            limit: bytes of blocks after which a page ends; the entry that reaches it is the last. A page is therefore
                smaller than `limit` and one block.

        Raises:
            OSError: the log cannot be read now.
        """
        ...


Outcome: TypeAlias = int | OSError | KeyReused
"""What has become of one event of a group: its position, or why it has none."""


@runtime_checkable
class Grouped(Protocol):
    """An ability that a store may have besides: events of one publisher appended together, for posted streams."""

    async def append_group(
        self, drafts: Sequence[Draft], keys: Sequence[str | None]
    ) -> list[Outcome]:
        """Append events in order, as so many calls of `Store.append`, of which the first error ends the rest.

        No event after one that has failed is appended, so what is in the log is always a beginning of the group. A
        store that cannot promise that appends one event after the other.

        Args:
            drafts: a few hundred events at most.
            keys: the key of each event, or None.

        Returns:
            The outcome of each event. After the first error there are only errors.

        Raises:
            OSError: nothing was appended.
        """
        ...


@runtime_checkable
class Watched(Protocol):
    """An ability that a store may have besides: telling its numbers, for ``/health`` and ``/metrics``."""

    def state(self) -> StoreState:
        """Return the numbers as they are now, at once and without asking the engine."""
        ...


@runtime_checkable
class Portable(Protocol):
    """An ability that a store may have besides: its log can be copied out and in, for ``fastsse store``.

    `open_to_read` or `open_to_change`, then the other methods, then `Store.close`. Nobody follows the store meanwhile.
    """

    async def open_to_read(self) -> Log:
        """Make the log ready for `scan` and `state` alone, beside processes that write to it.

        Raises:
            OSError: the log cannot be reached, or there is none.
        """
        ...

    async def open_to_change(self) -> Log:
        """Make the log ready for `adopt`, `put` and `trim`; one that is new is made.

        The log is opened as by `Store.open`. But the bounds of a log stay as they are, and only `trim` lets entries go.

        Raises:
            OSError: the log cannot be reached.
        """
        ...

    async def scan(self, after: int, limit: int) -> Page:
        """Return entries of all topics after a position: about `limit` bytes of blocks, and one entry at least.

        The `Page.end` of the last page is the head of the log.

        Raises:
            OSError: the log cannot be read.
        """
        ...

    async def adopt(self, log: Log) -> None:
        """Take over epoch, floor and head of another log, so that its entries can be put in under their own ids.

        Raises:
            OSError: the log has, or had, entries of its own, or cannot be written.
        """
        ...

    async def put(self, entries: Iterable[Entry]) -> None:
        """Put in entries with their own positions, in order, after `adopt`.

        An engine that cannot give an entry the position that it has refuses it, and says so.

        Raises:
            OSError: a position does not follow the one before, cannot be given by this engine, or the log cannot be
                written. A fault of an entry is found before any entry of the call is put in.
        """
        ...

    async def complete(self) -> None:
        """End a copy after its last entry: what is appended from now on comes after the head that was adopted.

        Raises:
            OSError: the log cannot be written.
        """
        ...

    async def trim(self) -> int:
        """Let go one step of what is over the retention; return how many entries went: 0 when nothing is left to do.

        Raises:
            OSError: the log cannot be written.
        """
        ...
