"""Measures of what a proxy does to an event stream, for the tests and for the table of docs/proxies.md.

Nothing is measured alone. A machine that is busy delays everybody, so each event is timed at a reader of the hub itself
and at one behind the proxy, and the proxy answers for the difference only.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import time
from typing import NamedTuple
from urllib.parse import urlencode

from support.servers import DEADLINE, Clients, Connection, Server

from fastsse import Decoder, Event

__all__ = ["HUB", "STREAMS", "Delay", "Reader", "delays", "first_byte", "leaving", "longest_query"]

STREAMS = 6  # that a hub has room for
HUB = ("--hosts", "hub.example", "--max-streams", str(STREAMS), "--retry", "500")
COUNT = 10
EVENTS = "Accept: text/event-stream", "Cache-Control: no-cache"  # what every EventSource sends


class Delay(NamedTuple):
    """Seconds from publishing an event until each of two readers had it."""

    direct: float
    behind: float

    @property
    def added(self) -> float:
        """Seconds that the proxy has added."""
        return max(0.0, self.behind - self.direct)


async def first_byte(clients: Clients, front: Server, target: str) -> float:
    """Ask for a stream and return the seconds until its first chunk is there."""
    began = time.monotonic()
    stream = await clients.follow(front, target, *EVENTS)
    took = time.monotonic() - began
    await stream.close()
    return took


async def delays(clients: Clients, hub: Server, front: Server, topic: str) -> list[Delay]:
    """Publish ten events, one after the other, to a direct reader and to one behind the proxy."""
    direct = await clients.follow(hub, f"/events?topic={topic}", *EVENTS)
    behind = await clients.follow(front, f"/events?topic={topic}", *EVENTS)
    found: list[Delay] = []
    for number in range(COUNT):
        readers = [asyncio.ensure_future(_stamped(each)) for each in (direct, behind)]
        began = await _publish(clients, hub, topic, str(number))
        (first, early), (second, late) = await asyncio.gather(*readers)
        assert str(number) == first.data == second.data
        found.append(Delay(early - began, late - began))
    for each in (direct, behind):
        await each.close()
    return found


async def _publish(clients: Clients, hub: Server, topic: str, data: str) -> float:
    """Post an event and return when; from this thread, because another one would delay what is timed here."""
    head = f"POST /events?topic={topic} HTTP/1.1\r\nContent-Length: {len(data)}"
    post = await clients.connect(hub, f"{head}\r\nContent-Type: text/plain")
    began = time.monotonic()
    post.writer.write(data.encode())
    await post.start()
    assert 200 == post.status
    await post.close()
    return began


async def _stamped(stream: Connection) -> tuple[Event, float]:
    (event,) = await stream.events(1)
    return event, time.monotonic()


async def leaving(clients: Clients, hub: Server, front: Server, topic: str) -> float:
    """Leave a hub's only stream and return the seconds until the hub has noticed."""
    await _left_by_all(hub)
    stream = await clients.follow(front, f"/events?topic={topic}", *EVENTS)
    assert 1 == _open(hub)
    await stream.close()
    began = time.monotonic()
    await _left_by_all(hub)
    return time.monotonic() - began


async def _left_by_all(hub: Server) -> None:
    end = time.monotonic() + DEADLINE
    while await asyncio.to_thread(_open, hub):
        assert time.monotonic() < end, "the hub still sends to a reader that left"
        await asyncio.sleep(0.01)


def _open(hub: Server) -> int:
    return int(hub.health()["streams"])


def longest_query(front: Server, limit: int = 24_000, step: int = 4_000) -> int:
    """Ask for many topics at once and return the largest query, in bytes, that was answered with a stream."""
    for size in range(limit, 0, -step):
        topics = [f"{index:0>256}" for index in range(size // 263)]
        query = urlencode([("topic", topic) for topic in topics])
        connection = http.client.HTTPConnection(front.host, front.port, timeout=DEADLINE)
        try:
            connection.request("GET", f"/events?{query}")
            if connection.getresponse().status == 200:
                return size
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
    return 0


class Reader:
    """A reader that does what browsers do: back after `retry` when a stream ends, dead at any status but 200.

    Attributes:
        data: of each event, in order; that of a `gap` event is left out.
        gaps: how many gaps it was told of.
        last_event_id: what it would ask for the rest with; its first block brings one.
        dead: the status that ended it for good.
    """

    def __init__(self, front: Server, topic: str, host: str) -> None:
        self.data: list[str] = []
        self.gaps = 0
        self.dead: int | None = None
        self._front = front
        self._target = f"/events?topic={topic}"
        self._host = host
        self.last_event_id = ""
        self._retry = 1.0

    async def run(self) -> None:
        """Follow the topic until a status ends it."""
        while self.dead is None:
            with contextlib.suppress(
                OSError, asyncio.IncompleteReadError
            ):  # a network error is no end
                await self._follow()
            await asyncio.sleep(self._retry)

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_connection(self._front.host, self._front.port)
        try:
            lines = [f"GET {self._target} HTTP/1.1", f"Host: {self._host}", *EVENTS]
            lines += [f"Last-Event-ID: {self.last_event_id}"] if self.last_event_id else []
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(None, 2)[1])
            if status != 200:
                self.dead = status
                return
            await self._read(reader, head)
        finally:
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, head: bytes) -> None:
        decoder = Decoder()
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length:
            self._take(decoder, await reader.readexactly(int(length[1])))
            return
        while size := int(await reader.readuntil(b"\r\n"), 16):
            self._take(decoder, (await reader.readexactly(size + 2))[:-2])

    def _take(self, decoder: Decoder, chunk: bytes) -> None:
        for event in decoder.feed(chunk):
            if event.event == "gap":
                self.gaps += 1
            else:
                self.data.append(event.data)
        self.last_event_id = decoder.last_event_id or self.last_event_id
        if decoder.retry is not None:
            self._retry = decoder.retry / 1000
