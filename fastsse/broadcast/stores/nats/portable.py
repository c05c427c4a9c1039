"""Copies of a log in JetStream: read it whole, put another log's entries in, let the oldest go.

JetStream gives each message the next sequence, and no other. So a copy keeps positions where they follow one another:
the stream begins to count after the floor, and a few places without an entry are filled up by messages that no reader
gets (marks that repeat the log's name). Positions that leap farther are refused before anything of that part is
written.

The module knows messages and sequences; it must not know what is followed or published.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg

from fastsse.broadcast.stores import Draft, Entry, Log, Page, StorageFull, StoreUnusable
from fastsse.broadcast.stores._copies import check_extent, in_order, no_log, not_new
from fastsse.broadcast.stores._entries import write_entry
from fastsse.broadcast.stores.nats.ledger import NO_ROOM
from fastsse.broadcast.stores.nats.link import Link, Message, Said
from fastsse.broadcast.stores.nats.names import ID, Name, place_of
from fastsse.broadcast.stores.nats.pages import pull, read_part
from fastsse.broadcast.stores.nats.store import NatsStore
from fastsse.broadcast.stores.nats.watch import NANO

__all__ = ["PortableNatsStore"]

_LEAP = 1000  # places without an entry that are filled up, one after the other
_TOGETHER = 500  # messages that are published together
_TOGETHER_BYTES = 2**22
_LOOKED = 1000  # messages whose sizes one step of a trim looks at
# Bytes that JetStream's file takes for a message, beside subject, headers and payload.
_MESSAGE_COST = 30
_HEADERS_COST = 4 + len("NATS/1.0\r\n") + len("\r\n")
_SIZE = "Nats-Msg-Size"
_EXPECT = "Nats-Expected-Last-Sequence"


class PortableNatsStore(NatsStore):
    """A log in one stream of JetStream that can be copied out and in. Arguments as those of `NatsStore`."""

    _copied: Name | None = None  # the name of the log that is read or written
    _adopted = Log("")

    async def open_to_read(self) -> Log:
        """Read the extent. As `Portable.open_to_read`: nothing is made or changed."""
        await self.close()
        self._link = link = await self._place.dial()
        found = await self._ledger.look(link)
        if found is None:
            raise no_log(self._names.stream)
        self._copied, self._extent = name, extent = found
        return Log(name.epoch, extent.floor, extent.head)

    async def open_to_change(self) -> Log:
        """Make the log ready. As `Portable.open_to_change`: a stream that is there keeps its bounds."""
        self._ledger.bounding = False
        try:
            log = await self.open()
        finally:
            self._ledger.bounding = True
        self._copied = self._name
        return log

    async def scan(self, after: int, limit: int) -> Page:
        """Read a page of all topics. As `Portable.scan`."""
        link = self._require()
        found = await self._ledger.look(link)
        if found is None:
            raise no_log(self._names.stream)
        name, extent = found
        part = await read_part(link, self._names, (), after, limit, self._skip)
        entries: list[Entry] = []
        size, end = 0, part.end
        for entry in part.entries:
            entries.append(entry)
            size += len(entry.block)
            if size >= limit:
                end = entry.position
                break
        if end is None:
            last = entries[-1].position if entries else after
            end = max(last, extent.head)
        return Page(entries, end, extent.floor, name.epoch)

    async def adopt(self, log: Log) -> None:
        """Take over another log's epoch and floor. As `Portable.adopt`; the head is kept by `complete`.

        Raises:
            StoreUnusable: the log has, or had, entries, or processes follow it.
            OSError: the log cannot be reached.
        """
        check_extent(log)
        link, stream = self._require(), self._names.stream
        info = await link.ask(f"STREAM.INFO.{stream}")
        if info["state"]["last_seq"]:
            raise not_new(stream)
        if info["state"].get("consumer_count"):
            raise StoreUnusable(f"the log {stream} is in use: end the processes that follow it")
        name = await self._ledger.rename(link, log.epoch, log.floor)
        if name is None:
            raise not_new(stream)
        self._copied = self._name = name
        self._adopted = log
        if log.floor:
            await link.ask(f"STREAM.PURGE.{stream}", {"seq": log.floor + 1})
        extent = await self._ledger.extent(link)
        if extent.head != log.floor:
            raise StoreUnusable(f"this server cannot begin to count after {log.floor}")

    async def put(self, entries: Iterable[Entry]) -> None:
        """Put in entries under their own positions. As `Portable.put`; small leaps of positions are filled up."""
        many = in_order(entries)
        if not many:
            return
        head = (await self._ledger.extent(self._require())).head
        if many[0].position <= head:
            raise OSError(f"position {many[0].position} does not follow {head}")
        before = head
        for entry in many:
            _check_leap(before, entry.position)
            before = entry.position
        await self._publish(self._messages(head, many))

    async def complete(self) -> None:
        """End a copy. As `Portable.complete`."""
        head = (await self._ledger.extent(self._require())).head
        last = self._adopted.head
        if head < last:
            _check_leap(head, last + 1)
            await self._publish(self._fill(head, last + 1))

    def _messages(self, head: int, entries: list[Entry]) -> Iterator[Message]:
        """Write the messages of entries, and of the places between them."""
        for entry in entries:
            yield from self._fill(head, entry.position)
            head = entry.position
            text = write_entry(Draft(entry.topics, entry.block))
            yield self._names.subject(entry.topics), text, self._headers(head)

    def _fill(self, before: int, position: int) -> Iterator[Message]:
        """Write the messages of the places between two positions."""
        assert self._copied is not None
        for place in range(before + 1, position):
            yield self._names.mark, self._copied.write(), self._headers(place)

    def _headers(self, position: int) -> Mapping[str, str]:
        assert self._copied is not None
        headers = {ID: f"copy.{self._copied.epoch}.{position}"}
        newer = self._link is not None and self._link.newer
        if newer or not self._adopted.floor:  # an older server forgets that it counts from a floor
            headers[_EXPECT] = str(position - 1)
        return headers

    async def _publish(self, messages: Iterator[Message]) -> None:
        """Publish messages, some together.

        Raises:
            OSError: one was refused; those after it are refused, too, because each follows the one before it.
        """
        some: list[Message] = []
        size = 0
        for message in messages:
            some.append(message)
            size += len(message[1])
            if len(some) >= _TOGETHER or size >= _TOGETHER_BYTES:
                await self._publish_some(some)
                some, size = [], 0
        if some:
            await self._publish_some(some)

    async def _publish_some(self, messages: list[Message]) -> None:
        for (_, _, headers), answer in zip(
            messages, await self._require().publish(messages), strict=True
        ):
            if isinstance(answer, Said) and answer.code in NO_ROOM:
                raise StorageFull(f"JetStream has no room: {answer}")
            if isinstance(answer, OSError):
                raise OSError(f"JetStream does not take the copy: {answer}") from answer
            position = int(headers[ID].rpartition(".")[2])
            if answer["seq"] != position:
                raise OSError(f"position {position} does not follow {answer['seq'] - 1}")

    async def trim(self) -> int:
        """Let go one step of what is over the retention. As `Portable.trim`; the stream's own bounds stay."""
        link, wanted = self._require(), self._ledger.wanted
        extent = await self._ledger.extent(link)
        if 0 < wanted["max_msgs"] < extent.entries:
            return await self._purge(link, {"keep": wanted["max_msgs"]})
        if wanted["max_age"] and extent.entries:
            limit = datetime.fromtimestamp(time.time() - wanted["max_age"] / NANO, UTC)
            config = {"deliver_policy": "by_start_time", "opt_start_time": limit.isoformat()}
            younger, _ = await self._consume(link, config, take=False)
            if younger < extent.entries:
                return await self._purge(link, {"keep": younger} if younger else {})
        heavy = extent.size - wanted["max_bytes"] if wanted["max_bytes"] > 0 else 0
        if heavy <= 0 or not extent.entries:
            return 0
        last = 0
        for msg in (await self._consume(link, {"headers_only": True}, take=True))[1]:
            place = place_of(msg)
            if heavy <= 0 or place is None:
                break
            heavy -= _size(msg)
            last = place.position
        return await self._purge(link, {"seq": last + 1})

    async def _purge(self, link: Link, what: Mapping[str, int]) -> int:
        answer = await link.ask(f"STREAM.PURGE.{self._names.stream}", what)
        return int(answer.get("purged", 0))

    async def _consume(
        self, link: Link, config: Mapping[str, Any], *, take: bool
    ) -> tuple[int, list[Msg]]:
        """Make a consumer of the stream; return how many messages it has, and the first of them if they are wanted."""
        usual = {"ack_policy": "none", "replay_policy": "instant", "inactive_threshold": 10 * NANO}
        stream = self._names.stream
        about = {"deliver_policy": "all", **usual, "mem_storage": True, "num_replicas": 1, **config}
        body = {"stream_name": stream, "config": about}
        made = await link.ask(f"CONSUMER.CREATE.{stream}", body)
        consumer = f"{stream}.{made['name']}"
        try:
            messages = (await pull(link, consumer, _LOOKED, 0))[0] if take else []
        finally:
            if link.alive:
                await link.request(f"CONSUMER.DELETE.{consumer}", b"", "")
        return int(made.get("num_pending", 0)), messages

    def _require(self) -> Link:
        if self._link is None or self._copied is None:
            raise OSError("the store is not open for a copy")
        return self._link

    async def close(self) -> None:
        """Close all connections."""
        self._copied = None
        await super().close()


def _check_leap(before: int, position: int) -> None:
    """Refuse a leap of positions that is too large to be filled up.

    Raises:
        StoreUnusable: JetStream cannot give this position.
    """
    if position - before - 1 > _LEAP:
        raise StoreUnusable(
            f"positions leap from {before} to {position}, and JetStream counts without gaps: ids cannot be kept here; "
            "import into SQLite, Redis or PostgreSQL"
        )


def _size(msg: Msg) -> int:
    """Count the bytes that a message takes in the stream, of which only the headers were sent."""
    headers = dict(msg.headers or {})
    payload = int(headers.pop(_SIZE, len(msg.data)))
    lines = sum(len(name) + len(value) + 4 for name, value in headers.items())
    return _MESSAGE_COST + len(msg.subject) + payload + (_HEADERS_COST + lines if headers else 0)
