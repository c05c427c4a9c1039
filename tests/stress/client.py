"""Ten thousand reconnections with random faults: ``python tests/stress/client.py [--reconnects N] [--way WAY …]``.

A server does something at random to each connection: an event and an end, a reset, half a chunk, 503, `Retry-After`, a
redirect, a connection closed at once, another protocol. For each way of driving the client the script counts
what is left over: sockets, threads, tasks, file descriptors, memory. The server watches that no two connections are
ever open at once, and that each request comes no sooner than the last answer asked for.

The module knows the client's public names and the server on raw sockets; it must not know how the client works.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.drivers import WAYS
from support.misbehaving import Misbehaving, answer, chunk, head, reset, send, stream

from fastsse.client import AsyncEventSource, ClientError, EventSource

LEAST = 0.001  # s, the reconnection time until the server says otherwise
HEAD = head(200, {"Transfer-Encoding": "chunked"})


class Chaos:
    """The script of every connection: a fault at random, and a record of what the client must wait for.

    Attributes:
        number: connections so far.
        early: requests that came too soon, in words.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0
        self.early: list[str] = []
        self.server: Misbehaving | None = None
        self._retry = LEAST  # s, the reconnection time that the client knows
        self._asked = 0.0  # s that the last answer asked for
        self._ended = 0.0  # when its last byte was sent; 0.0 before the first one

    def begin(self) -> None:
        """Count from here on, for another client."""
        self.number = 0
        self._retry, self._ended = LEAST, 0.0

    def __call__(self, sock: socket.socket) -> None:
        """Serve one connection."""
        assert self.server is not None
        waited = self.server.accepted - self._ended
        if self._ended and waited < self._asked:
            self.early.append(f"{waited:.6f} s instead of {self._asked} s")
        self.number += 1
        retry = self.random.randrange(1, 7)
        event = b"retry: %d\nid: %d\ndata: %d\n\n" % (retry, self.number, self.number)
        rare = self.random.random() < 0.0005
        kind = _later if rare else self.random.choice(KINDS)
        self._ended = time.monotonic()  # no client can know of the end before it is sent
        extra = kind(sock, event)
        if kind in SURE:
            self._retry = retry / 1000
        elif kind in UNSURE:  # the client may have read the event, or not
            self._retry = min(self._retry, retry / 1000)
        self._asked = 0.0 if kind is _redirect else max(self._retry, extra)


# Each sends something, and returns the seconds that it asks for besides the reconnection time.


def _well(sock: socket.socket, event: bytes) -> float:
    stream(event)(sock)
    return 0.0


def _cut(sock: socket.socket, event: bytes) -> float:
    stream(event + b"data: never")(sock)
    return 0.0


def _chunks(sock: socket.socket, event: bytes) -> float:
    send(HEAD + chunk(event) + b"0\r\n\r\n")(sock)
    return 0.0


def _reset(sock: socket.socket, event: bytes) -> float:
    send(head() + event)(sock)
    reset(sock)
    return 0.0


def _half_a_chunk(sock: socket.socket, event: bytes) -> float:
    send(HEAD + chunk(event) + b"40\r\nhalf")(sock)
    return 0.0


def _busy(sock: socket.socket, _: bytes) -> float:
    send(answer(503, body=b"busy"))(sock)
    return 0.0


def _later(sock: socket.socket, _: bytes) -> float:
    send(answer(429, {"Retry-After": "1"}))(sock)
    return 1.0


def _redirect(sock: socket.socket, _: bytes) -> float:
    send(answer(307, {"Location": "/other"}))(sock)
    return 0.0


def _nothing(_: socket.socket, __: bytes) -> float:
    return 0.0


def _garbage(sock: socket.socket, _: bytes) -> float:
    send(b"SSH-2.0-OpenSSH\r\n")(sock)
    return 0.0


def _comment(sock: socket.socket, _: bytes) -> float:
    stream(b": nothing\n\n")(sock)
    return 0.0


SURE = (_well, _cut, _chunks)
UNSURE = (_reset, _half_a_chunk)
KINDS = (*SURE, *UNSURE, _busy, _redirect, _nothing, _garbage, _comment)


def follow_in_thread(url: str, client: Any, enough: Callable[[], bool]) -> int:
    """Follow a stream until there is enough. Returns the number of events."""
    count = 0
    options = {
        "max_delay": 0.004,
        "reconnection_time": LEAST,
        "on_retry": lambda *_: enough() and events.close(),
    }
    with EventSource(url, client=client, **options) as events:
        for _ in events:
            count += 1
    return count


async def follow_in_task(url: str, client: Any, enough: Callable[[], bool]) -> int:
    """Follow a stream until there is enough. Returns the number of events."""
    count = 0
    options = {
        "max_delay": 0.004,
        "reconnection_time": LEAST,
        "on_retry": lambda *_: enough() and events.close(),
    }
    async with AsyncEventSource(url, client=client, **options) as events:
        async for _ in events:
            count += 1
    return count


def run(way: str, url: str, enough: Callable[[], bool]) -> int:
    """Follow a stream in one way, with a client that the source makes and closes."""
    loop, _, library = way.rpartition("-")
    if not loop:
        return follow_in_thread(url, library, enough)
    if loop == "asyncio":

        async def whole() -> int:
            count = await follow_in_task(url, library, enough)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks are left: {left}"
            return count

        return asyncio.run(whole())
    import trio

    return int(trio.run(follow_in_task, url, library, enough))


def resident() -> int:
    """Return the resident memory in KiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def descriptors() -> int:
    """Return the number of open file descriptors."""
    return len(os.listdir("/proc/self/fd"))


def measure(way: str, reconnects: int, seed: int) -> bool:
    """Run one way, print its figures, and return True when nothing was wrong."""
    chaos = Chaos(seed)
    with Misbehaving([chaos], record=False) as server:
        chaos.server = server
        # Imports, pools and buffers are there then.
        run(way, server.url, lambda: chaos.number > reconnects // 10)
        gc.collect()
        memory, files, threads = resident(), descriptors(), threading.active_count()
        chaos.begin()
        begun = time.monotonic()
        events = run(way, server.url, lambda: chaos.number >= reconnects)
        took = time.monotonic() - begun
        until = time.monotonic() + 5
        while server.open_connections and time.monotonic() < until:
            time.sleep(0.01)
        gc.collect()
        more = {
            "memory": resident() - memory,
            "files": descriptors() - files,
            "threads": threading.active_count() - threads,
            "open": server.open_connections,
            "at once": server.most_at_once - 1,
            "early": len(chaos.early),
        }
    well = all(more[name] <= 0 for name in ("files", "threads", "open", "at once", "early"))
    well = well and more["memory"] < 4096
    figures = "  ".join(f"{name} {value:+d}" for name, value in more.items())
    counted = f"{chaos.number:6d} connections  {events:6d} events  {took:6.1f} s"
    print(f"{way:16} {counted}  {figures}  {'ok' if well else 'WRONG'}", flush=True)
    for line in chaos.early[:5]:
        print(f"  came after {line}")
    return well


def main() -> int:
    """Run every way that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--reconnects", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", action="append", choices=WAYS)
    given = parser.parse_args()
    results = [measure(way, given.reconnects, given.seed) for way in given.way or WAYS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClientError as error:
        sys.exit(f"the client gave up: {error!r}")
