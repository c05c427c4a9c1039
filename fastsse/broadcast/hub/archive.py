"""Deep replay: a reader that is older than the history gets its events from the store's archive, page by page.

    position of the reader          floor of the history                 head
    ──────────┼──────────────────────────────┼────────────────────────────┤
              └── pages of the archive ──────┴── joins of the history ────┘

The task that sends to the reader asks for a page, sends it, and asks for the next when that send has finished. So a
reader is replayed at its own pace, and holds one page of memory however far back it begins. The floor may move on
meanwhile: pages come until the reader stands at or after it, and then the history has all the rest.

An archive may have the end of a topic that the history knows nothing of. A reader that has walked from its place to the
history has seen the newest entry of each of its topics, so the hub learns from its `Walk` which of them have ended.

An archive may itself be trimmed. A page says up to where, and its reader is told of a gap for exactly that part.

Bounds: a page is about `PAGE` bytes, or one event; `_READS` pages are read from the store at once.

The module knows pages, positions and blocks. Sends and tasks are the business of its callers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastsse.broadcast.hub import pace
from fastsse.broadcast.hub.joins import JOIN_SIZE, Join

if TYPE_CHECKING:
    from fastsse.broadcast.hub.history import History
    from fastsse.broadcast.hub.places import Places
    from fastsse.broadcast.hub.subscriber import Subscriber
    from fastsse.broadcast.stores import Archive, Entry, Page

__all__ = ["PAGE", "Archivist", "Walk"]

PAGE = JOIN_SIZE // 4  # bytes of blocks in one page; with ids and labels it still is one message
_SLICE = (
    64  # entries that are joined before others get the loop: a page may have a thousand small ones
)
_PLAIN = 256  # the same for entries that need no look
_READS = (
    16  # pages that are read at once: a thousand readers that come back must not flood the store
)


class Walk:
    """The way of one subscriber through the archive, up to the history.

    Attributes:
        epoch: the log; empty before the first page.
        ends: the position of the end of each topic whose newest entry so far is one.
        begun: when the store had read the last page, by `pace.clock`: from then on the page keeps the loop busy.
    """

    __slots__ = ("begun", "ends", "epoch")

    def __init__(self) -> None:
        self.epoch = ""
        self.ends: dict[str, int] = {}
        self.begun = 0.0

    def note(self, entry: Entry, position: int) -> bool:
        """Note the next entry of the archive. Returns False for one more end of topics that have ended."""
        if not entry.ends:
            for topic in entry.topics:
                self.ends.pop(topic, None)
            return True
        news = any(self.ends.get(topic, position) == position for topic in entry.topics)
        for topic in entry.topics:
            self.ends[topic] = position
        return news


class Archivist:
    """The reader of a store's archive, for all streams of a hub.

    Args:
        archive: the store.
        history: the records that need no archive.
        places: the ids, and the numbers that the store knows positions by.
    """

    def __init__(self, archive: Archive, history: History, places: Places) -> None:
        self._archive = archive
        self._history = history
        self._places = places
        places.archived = True
        self._reads = asyncio.Semaphore(_READS)

    async def take(self, subscriber: Subscriber, walk: Walk) -> Join | None:
        """Read the next page for a subscriber that is `too_old`. None when it has no event; the subscriber moves on.

        The first page of a walk begins with the entry of the subscriber's own place, which may be the end of its topic.

        Raises:
            OSError: the archive cannot be read now. The subscriber stands where it stood.
            RuntimeError: the archive has given a page that ends where it begins.
        """
        eras, topics, after = self._places.eras, subscriber.audience.topics, subscriber.position
        epoch, end = eras.epoch, self._history.gone(topics, after, subscriber.told)
        start = eras.number(after)
        looks_back = start > 0 and walk.epoch != epoch
        if walk.epoch != epoch:
            walk.epoch = epoch
            walk.ends.clear()
        async with self._reads:
            page = await self._archive.read(topics, start - looks_back, eras.number(end) + 1, PAGE)
        walk.begun = pace.clock()
        if eras.epoch != epoch:  # the reader stands in a log that is no more
            return None
        if page.epoch != epoch:
            raise OSError(f"the archive is of the log {page.epoch}, which is not reported yet")
        last = min(end, eras.position(page.end))
        entries = page.entries
        if walk.ends or any(entry.ends for entry in entries):
            entries = [e for e in entries if walk.note(e, eras.position(e.position))]
        if last <= after:
            if looks_back:
                return None
            raise RuntimeError(f"a page of the archive after {start} ends at {page.end}")
        join = await self._join(subscriber, page._replace(entries=entries), last)
        if eras.epoch != epoch:
            return None
        if join is None:
            subscriber.advance(last, 0, 0, 0)
        return join

    def learn(self, subscriber: Subscriber, walk: Walk) -> None:
        """Note the ends that a subscriber has come by on its walk, which has led to the history."""
        if walk.epoch == self._places.eras.epoch:
            for topic in subscriber.audience.topics:
                if end := walk.ends.get(topic):
                    self._history.learn_end(topic, end)

    async def _join(self, subscriber: Subscriber, page: Page, last: int) -> Join | None:
        """Join a page's entries, after the gap of what is gone from the archive, too."""
        audience, shift = subscriber.audience, self._places.eras.shift
        pieces: list[bytes] = []
        events = weight = 0
        at = subscriber.position
        gone = min(last, self._places.eras.position(page.floor))
        if gone > at:
            at = gone
            if block := self._tell(subscriber, gone):
                pieces.append(block)
                events += 1
        if subscriber.told is None and audience.filter is None and not audience.labels:
            return await self._join_plain(pieces, page, at - shift, last)
        for number, entry in enumerate(page.entries, 1):
            if number % _SLICE == 0:
                await asyncio.sleep(0)
            position = entry.position + shift
            if not at < position <= last or not _wants(subscriber, entry, position):
                continue
            at = position
            record = self._places.record(position, entry)
            if audience.takes(record):
                pieces += (
                    (audience.label(record), record.block) if audience.labels else (record.block,)
                )
                events += 1
                weight += len(record.block)
        return Join(pieces, last, events, weight) if pieces else None

    async def _join_plain(
        self, pieces: list[bytes], page: Page, after: int, last: int
    ) -> Join | None:
        """Join the entries of a page for a reader that gets all of them as they are: no record is made of an entry.

        Args:
            pieces: the block of a gap, or nothing.
            after: the number of the entry after which the join begins.
            last: the position at which the join ends.
        """
        head = b"id: %b-" % page.epoch.encode()
        before = last - self._places.eras.shift
        weight = 0
        for number, entry in enumerate(page.entries, 1):
            if number % _PLAIN == 0:
                await asyncio.sleep(0)
            at = entry.position
            if after < at <= before:
                after = at
                block = b"%b%d\n%b" % (head, at, entry.block)
                pieces.append(block)
                weight += len(block)
        return Join(pieces, last, len(pieces), weight) if pieces else None

    def _tell(self, subscriber: Subscriber, gone: int) -> bytes:
        """Write the event that tells of what is gone from the archive; nothing when the reader knows of it."""
        told = subscriber.told or {}
        topics = tuple(t for t in subscriber.audience.topics if told.get(t, 0) < gone)
        if not topics:
            return b""
        subscriber.note_gap(topics, gone)
        places = self._places
        places.begin_at(gone)
        after, end = places.id(subscriber.position), places.id(gone)
        return places.gap(after, end, gone, "trimmed", topics)


def _wants(subscriber: Subscriber, entry: Entry, position: int) -> bool:
    """Return True when an entry has a topic that the subscriber follows without having been told of a gap there."""
    topics, told = subscriber.audience.topics, subscriber.told
    if told is None:
        return True
    return any(topic in topics and told.get(topic, 0) < position for topic in entry.topics)
