"""Honest readers and their publisher beside attacks: every event to every reader, and how long that takes.

An event's data are its number and the time of its publishing, so a reader sees what is missing, what is late, and
what nobody honest has published.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from typing import Any

from stress.plans import HONEST, token
from support.servers import DEADLINE, Server

__all__ = ["Honest", "Reader"]

EACH = 20  # readers of one address
SUBJECT = 25  # readers of one subject
AT_ONCE = 50  # streams that are being opened


class Reader(asyncio.Protocol):
    """One reader, which counts what comes.

    Attributes:
        got: honest events.
        foreign: data lines that no honest publisher has sent.
        ended: the stream is over, or its connection is closed.
        opened: set once the response has begun.
    """

    def __init__(self, honest: Honest, request: bytes) -> None:
        self.got = 0
        self.foreign: list[bytes] = []
        self.ended = False
        self.opened = asyncio.Event()
        self.status = 0
        self.transport: Any = None
        self._honest = honest
        self._request = request
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.write(self._request)

    def connection_lost(self, _: Exception | None) -> None:
        self.ended = True
        self.opened.set()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if not self.status:
            self.status = int(data[9:12])
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                self._take(line, now)
            elif line == b"0\r":  # the last chunk; the connection stays open
                self.ended = True
        if b": fastsse" in data or self.status != 200:
            self.opened.set()

    def _take(self, line: bytes, now: float) -> None:
        """Take one event; the next number is the only good one."""
        words = line.split()
        if len(words) == 3 and words[1] == b"%d" % (self.got + 1):
            self.got += 1
            self._honest.latencies.append(now - float(words[2]))
        else:
            self.foreign.append(line[:80])


class Honest:
    """All honest readers of a server, and their publisher.

    Attributes:
        readers: each with a stream of its own.
        published: events so far.
        latencies: seconds from publish to arrival since they were last taken.
    """

    def __init__(self, server: Server) -> None:
        self.readers: list[Reader] = []
        self.published = 0
        self.latencies: list[float] = []
        self._server = server
        self._bearer = token("publisher", {"publish": [HONEST]})

    async def open(self, count: int) -> None:
        """Open so many streams, from some addresses of the loopback network, as some subjects."""
        room = asyncio.Semaphore(AT_ONCE)
        bearers = [
            token(f"reader-{number}", {"subscribe": [HONEST]})
            for number in range(1 + count // SUBJECT)
        ]

        async def one(number: int) -> None:
            head = f"Authorization: Bearer {bearers[number // SUBJECT]}"
            request = f"GET /events?topic={HONEST} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n"
            reader = Reader(self, request.encode())
            address = f"127.7.{number // EACH // 200}.{1 + number // EACH % 200}"
            async with room, asyncio.timeout(DEADLINE):
                await asyncio.get_running_loop().create_connection(
                    lambda: reader, self._server.host, self._server.port, local_addr=(address, 0)
                )
                await reader.opened.wait()
            assert reader.status == 200, reader.status
            self.readers.append(reader)

        await asyncio.gather(*(one(number) for number in range(count)))

    async def publish(self, seconds: float, rate: float) -> list[float]:
        """Publish at a steady rate for so long; return the seconds that each event took to each reader, sorted."""
        self.latencies = []
        await asyncio.to_thread(self._publish, seconds, rate)
        async with asyncio.timeout(DEADLINE):
            while any(reader.got < self.published and not reader.ended for reader in self.readers):
                await asyncio.sleep(0.05)
        return sorted(self.latencies)

    def _publish(self, seconds: float, rate: float) -> None:
        """Publish on one connection, in a thread."""
        connection = http.client.HTTPConnection(
            self._server.host, self._server.port, timeout=DEADLINE
        )
        headers = {"Content-Type": "text/plain", "Authorization": f"Bearer {self._bearer}"}
        began = time.monotonic()
        for number in range(int(seconds * rate)):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            data = f"{self.published + 1} {time.monotonic()}"
            connection.request("POST", f"/events?topic={HONEST}", data, headers)
            answer = connection.getresponse()
            assert answer.status == 200, (answer.status, answer.read())
            answer.read()
            self.published += 1
        connection.close()

    def faults(self) -> list[str]:
        """Say what went wrong for honest readers."""
        ended = sum(reader.ended for reader in self.readers)
        short = sum(reader.got < self.published for reader in self.readers)
        foreign = [line for reader in self.readers for line in reader.foreign]
        return [
            *([f"{ended} honest streams were ended"] if ended else []),
            *([f"{short} honest readers lack events"] if short else []),
            *([f"{len(foreign)} foreign events, such as {foreign[0]!r}"] if foreign else []),
        ]

    def close(self) -> None:
        for reader in self.readers:
            reader.transport.abort()
