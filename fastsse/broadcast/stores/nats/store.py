"""The store of a log in JetStream: where a process stands in the log, what it reports, and what it appends.

The package's docstring explains names, marks and rollback. This module knows sequences and answers. Consumers, pages
and the log's name are the business of `watch.py`, `pages.py` and `ledger.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from nats.aio.msg import Msg

from fastsse.broadcast.stores import (
    Entry,
    Follower,
    KeyReused,
    Log,
    Page,
    StorageFull,
    StoreState,
    StoreUnusable,
)
from fastsse.broadcast.stores._batches import Batch, Waiting
from fastsse.broadcast.stores._entries import Unreadable, digest, read_entry
from fastsse.broadcast.stores._remote import RemoteStore
from fastsse.broadcast.stores.nats.ledger import NO_ROOM, Extent, Known, Ledger, message
from fastsse.broadcast.stores.nats.link import Link, Message, NoStream, Place, Said
from fastsse.broadcast.stores.nats.names import ID, Name, Names
from fastsse.broadcast.stores.nats.pages import read_parts
from fastsse.broadcast.stores.nats.watch import NANO, Watch

if TYPE_CHECKING:
    from fastsse.broadcast.stores.retention import Keep

__all__ = ["KEY_SECONDS", "NatsStore"]

KEY_SECONDS = 120  # for which the key of a publish is remembered
_TEND = 5.0  # s between two looks at the stream
_CATCHING_UP = 60.0  # s without an entry after which the start gives up
_TOO_LARGE = 10054
_FIRST_APPEND = frozenset((10158, 10201))


class NatsStore(RemoteStore):
    """A log in one stream of JetStream.

    Args:
        place: where to connect.
        namespace: the name of the log: that of the stream, and the beginning of all subjects.
        keep: how much stays; bytes count with subjects and headers.
        key_seconds: how long the keys of publishes are remembered.
        replicas: how many servers of a cluster have the stream, when it is made.
        storage: ``file`` or ``memory``, when the stream is made.
    """

    engine = "nats"
    finds_topics = True

    def __init__(
        self,
        place: Place,
        namespace: str,
        keep: Keep,
        *,
        key_seconds: int = KEY_SECONDS,
        replicas: int = 1,
        storage: str = "file",
    ) -> None:
        super().__init__()
        self._place = place
        self._names = Names(namespace)
        age = max(int(keep.seconds * NANO), NANO) if keep.seconds else 0
        wanted: dict[str, Any] = {
            "retention": "limits",
            "discard": "old",
            "storage": storage,
            "num_replicas": replicas,
            "max_msgs": keep.events or -1,
            "max_bytes": keep.bytes or -1,
            "max_age": age,
            "duplicate_window": min(key_seconds * NANO, age or key_seconds * NANO),
        }
        self._ledger = Ledger(self._names, wanted)
        self._name: Name | None = (
            None  # which stays known while the store is closed; None: it never was open
        )
        self._extent = Extent("", 0, 0, 0, 0)
        self._link: Link | None = None
        self._joining = asyncio.Lock()
        self._watch: Watch | None = None
        self._told: Follower | None = None
        self._seen = 0  # the newest sequence that was reported, lost or passed over
        # Of the messages that were seen, and of those that were appended here, the newest.
        self._known = Known()

    # Contact.

    async def _join(self) -> Link:
        """Return the link; where contact was lost, another one, after the server has shown that its log is the same.

        Otherwise the follower is told `renewed` first.

        Raises:
            OSError: the log cannot be reached.
        """
        async with self._joining:
            if self._link is not None and self._link.alive:
                return self._link
            link = await self._place.dial()
            try:
                name, extent = await self._ledger.find(link, self._name, self._known)
                if name.generation > 1 and extent.head:
                    await self._ledger.mark(link, name)
            except BaseException:
                await link.close()
                raise
            self._extent = extent
            if self._name is not None and name.epoch != self._name.epoch:
                self._renew(name, name.start)
            self._name = name
            self._link = link
            return link

    def _renew(self, name: Name, start: int) -> None:
        """Take another name from a sequence on, and report that."""
        self._name = name
        self._seen = start
        self._known = Known(start)
        if self._told is not None:
            self._told.renewed(Log(name.epoch, min(self._extent.floor, start), start))

    async def _leave(self) -> None:
        self._told = self._watch = None
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    # The start.

    async def _enter(self) -> Log:
        link = await self._join()
        name, head = self._name, self._extent.head
        if name is None:
            raise OSError("the store was closed")
        newest = await message(link, self._names.stream, {"seq": head}) if head else None
        self._known = Known(head, None if newest is None else newest.id)
        self._seen = head
        return Log(name.epoch, self._extent.floor, head)

    async def _replay(self, follower: Follower, tail: int) -> None:
        link = await self._join()
        self._extent = extent = await self._ledger.extent(link)
        # Readers may have had what is older than the log's name, under other ids.
        start = 0 if self._name is None else min(self._name.start, extent.head)
        before = max(extent.floor, extent.head - tail, start)
        self._told, self._seen = follower, before
        if before:
            follower.lost(before)
        watch = await self._begin(link)
        taken = -1
        while not await link.until(watch.caught_up, _CATCHING_UP):
            if taken == self._seen:
                raise TimeoutError(f"the stream could not be read within {_CATCHING_UP:g} s")
            taken = self._seen

    async def _begin(self, link: Link) -> Watch:
        """Watch what comes after what was seen."""
        self._watch = watch = Watch(link, self._names.stream, self._hear)
        await watch.begin(self._seen, self._extent.head)
        return watch

    # Entries to come.

    async def _listen(self) -> None:
        link = await self._join()
        try:
            watch = self._watch
            if watch is None or watch.link is not link:
                if self._told is not None and self._extent.floor > self._seen:
                    self._seen = self._extent.floor
                    self._told.lost(self._seen)
                watch = await self._begin(link)
            self._reached()
            while not await link.until(asyncio.get_running_loop().create_future(), _TEND):
                await self._tend(link, watch)
        finally:
            await link.close()

    async def _tend(self, link: Link, watch: Watch) -> None:
        """Look whether the consumer lives, and the stream is still that one.

        Raises:
            OSError: it is not.
        """
        watch.check()
        extent = await self._ledger.extent(link)
        if extent.created != self._extent.created:
            raise ConnectionError("the stream was made anew")
        self._extent = extent

    def _hear(self, position: int, msg: Msg) -> None:
        """Report a message."""
        follower = self._told
        if follower is None or position <= self._seen:
            return
        if position > self._seen + 1:
            follower.lost(position - 1)
        self._seen = position
        if position >= self._known.position:
            self._known = Known(position, (msg.headers or {}).get(ID, ""))
        if msg.subject == self._names.mark:
            self._pass_mark(position, msg.data)
            return
        try:
            topics, block = read_entry(msg.data)
        except Unreadable as error:
            self._skip(error)
            return
        follower.entry(Entry(position, topics, block))

    def _pass_mark(self, position: int, text: bytes) -> None:
        """Take the name that a mark gives, unless it is an older one."""
        try:
            name = Name.read(text)
        except ValueError as error:
            self._skip(error)
            return
        mine = self._name
        if mine is None or name.epoch == mine.epoch or name.generation < mine.generation:
            return
        self._renew(name, position)

    # Appends.

    async def _send(self, batch: Batch) -> None:
        link = await self._join()
        name, head = self._name, self._extent.head
        items = [waiting for waiting in batch.items if not waiting.answer.done()]
        numbers = [batch.first + n for n, one in enumerate(batch.items) if not one.answer.done()]
        messages = [self._message(*pair) for pair in zip(items, numbers, strict=True)]
        answers = await link.publish(messages)
        if any(isinstance(answer, NoStream) or _passes(answer) for answer in answers):
            link.lose("the stream does not take events now")
            raise ConnectionError("the stream does not take events now")
        for waiting, (_, _, headers), answer in zip(items, messages, answers, strict=True):
            if isinstance(answer, OSError):
                waiting.fail(_refusal(answer))
                continue
            position = int(answer["seq"])
            if answer.get("duplicate"):
                await self._repeat(link, waiting, position)
                continue
            if position <= head:
                link.lose("the stream counts anew")
            elif position > self._known.position and name is self._name:
                self._known = Known(position, headers[ID])
            waiting.give(position)

    def _message(self, waiting: Waiting, number: int) -> Message:
        id = f"{self.writer}.{number}"
        if waiting.key is not None:
            id = f"key.{digest(waiting.key.encode()).decode()}"
        return self._names.subject(waiting.draft.topics), waiting.entry, {ID: id}

    async def _repeat(self, link: Link, waiting: Waiting, position: int) -> None:
        """Answer an append that JetStream has had already.

        An event that is gone from the stream cannot be compared any more.

        Raises:
            OSError: the first event cannot be read now.
        """
        if waiting.key is not None:
            first = await message(link, self._names.stream, {"seq": position})
            if first is not None and first.data != waiting.entry:
                waiting.fail(KeyReused(waiting.key))
                return
        waiting.give(position)

    # The archive, and numbers.

    async def read(self, topics: tuple[str, ...], after: int, before: int, limit: int) -> Page:
        """Read a page: at most a thousand messages of each consumer."""
        link, name = self._link, self._name
        if link is None or name is None or not link.alive:
            raise OSError("the stream cannot be reached")
        part = await read_parts(link, self._names, topics, after, limit, self._skip)
        last = max(after, before - 1)
        end = last if part.end is None else min(part.end, last)
        entries: list[Entry] = []
        size = 0
        for entry in part.entries:
            if entry.position >= before:
                break
            entries.append(entry)
            size += len(entry.block)
            if size >= limit:
                end = entry.position
                break
        extent = await self._ledger.extent(link)
        if name is not self._name or extent.created != name.created:
            raise OSError("the log has become another one")
        return Page(entries, end, extent.floor, name.epoch)

    def state(self) -> StoreState:
        """Return the numbers: those of the stream as they were within the last seconds."""
        extent = self._extent
        return super().state()._replace(entries=extent.entries, size=extent.size)


def _passes(answer: object) -> bool:
    """Return True for an error that passes: no leader, no quorum, a repeat whose first append is under way."""
    if not isinstance(answer, Said) or answer.code in NO_ROOM:
        return False
    return answer.status == 503 or answer.code in _FIRST_APPEND


def _refusal(error: OSError) -> OSError:
    """Turn an answer that is an error into the one that the publisher gets."""
    if isinstance(error, Said) and error.code in NO_ROOM:
        return StorageFull(f"JetStream has no room: {error}")
    if isinstance(error, Said) and error.code == _TOO_LARGE:
        return StoreUnusable(f"the event is larger than the stream takes: {error}")
    return error
