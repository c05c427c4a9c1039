"""Attack a server with bodies and connections that it must bear: ``python tests/stress/bodies.py --connections 1100``.

Each attack of `ATTACKS` goes on for some seconds, at the default settings of a server, while a probe asks for
``/health`` on connections of its own and an honest publisher posts. In the end nothing may be held of it.

A new attack is one more function in `ATTACKS`: it opens what it likes, and returns it to be closed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from stress.probe import PAUSE, probing
from support.servers import Server, serve

Writer = asyncio.StreamWriter
Attack = Callable[[Server, int], Awaitable[list[Writer]]]

AT_ONCE = 50  # connections that are being made
SETTLED = 15.0  # s that everything may take to be let go in the end

_HEAD = "POST /events?topic={topic} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{length}\r\n\r\n"
_CHUNKED = "Transfer-Encoding: chunked"
_FORM = "application/x-www-form-urlencoded"
_ESCAPED = b"data=" + b"%0a" * 2**20


class Verdict(NamedTuple):
    """The effect of one attack.

    Attributes:
        latencies: seconds of each probe, in order of size.
        answers: of the honest publisher, by status.
        held: what `/health` says is left in the end: bodies and their bytes.
    """

    latencies: list[float]
    answers: Counter[int]
    held: tuple[int, int]
    refused: dict[str, int]


async def silent_streams(server: Server, count: int) -> list[Writer]:
    """Open streams of events that send nothing."""
    head = _HEAD.format(topic="a", kind="text/event-stream", length=_CHUNKED)
    return await _many(server, count, head.encode())


async def silent_connections(server: Server, count: int) -> list[Writer]:
    """Open connections without a request."""
    return await _many(server, count, b"")


async def slow_forms(server: Server, count: int) -> list[Writer]:
    """Post forms that send a hundred kilobytes, and then nothing."""
    head = _HEAD.format(topic="a", kind=_FORM, length="Content-Length: 3000000")
    return await _many(server, count, head.encode() + b"data=" + b"x" * 100_000)


async def escaped_forms(server: Server, count: int) -> list[Writer]:
    """Post a megabyte of line ends, every one escaped, by a few at a time."""
    few = max(1, count // 100)
    head = _HEAD.format(topic="a", kind=_FORM, length=f"Content-Length: {len(_ESCAPED)}")
    return await _many(server, few, head.encode() + _ESCAPED)


async def long_types(server: Server, count: int) -> list[Writer]:
    """Send Content-Types of 50 kB."""
    head = _HEAD.format(topic="a", kind="text/plain" + ";" * 50_000, length="Content-Length: 1")
    return await _many(server, count, head.encode() + b"x")


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (silent_streams, silent_connections, slow_forms, escaped_forms, long_types)
}


async def _many(server: Server, count: int, sent: bytes) -> list[Writer]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one() -> Writer | None:
        async with room:
            try:
                _, writer = await asyncio.open_connection(server.host, server.port)
                writer.write(sent)
                with contextlib.suppress(OSError):
                    await writer.drain()
            except OSError:
                return None
            return writer

    opened = await asyncio.gather(*(one() for _ in range(count)))
    return [writer for writer in opened if writer is not None]


async def ask(server: Server, request: bytes) -> tuple[int, bytes]:
    """Send one request on a connection of its own, and return status and body."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(request)
        answer = await reader.read()
    finally:
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(None, 2)[1]), body


async def health(server: Server) -> Any:
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    status, body = await ask(server, request)
    assert status == 200, body
    return json.loads(body)


async def _publish(server: Server, answers: Counter[int]) -> None:
    body = b"topic=honest&data=x"
    length = f"Connection: close\r\nContent-Length: {len(body)}"
    head = _HEAD.replace("?topic={topic}", "").format(kind=_FORM, length=length)
    while True:
        try:
            status, _ = await ask(server, head.encode() + body)
        except (OSError, IndexError):
            status = 0
        answers[status] += 1
        await asyncio.sleep(PAUSE)


async def run_one(attack: Attack, connections: int, seconds: float, *flags: str) -> Verdict:
    """Attack a new server, again and again for so many seconds."""
    latencies: list[float] = []
    answers: Counter[int] = Counter()
    with serve(*flags) as server:
        publisher = asyncio.create_task(_publish(server, answers))
        try:
            async with probing(server.host, server.port, latencies):
                await _attack(attack, server, connections, seconds)
        finally:
            publisher.cancel()
        held, refused = await _settle(server)
    return Verdict(sorted(latencies), answers, held, refused)


async def _attack(attack: Attack, server: Server, connections: int, seconds: float) -> None:
    """Attack again every two seconds; of the connections at most twice as many stay open."""
    until = time.monotonic() + seconds
    writers: list[Writer] = []
    try:
        while (left := until - time.monotonic()) > 0:
            writers += await attack(server, connections)
            await asyncio.sleep(min(2.0, left))
            if len(writers) >= 2 * connections:
                _close(writers)
    finally:
        _close(writers)


def _close(writers: list[Writer]) -> None:
    for writer in writers:
        writer.transport.abort()
    writers.clear()


async def _settle(server: Server) -> tuple[tuple[int, int], dict[str, int]]:
    until = time.monotonic() + SETTLED
    while True:
        state = await health(server)
        held = state["bodies"], state["body_bytes"]
        if held == (0, 0) or time.monotonic() > until:
            return held, state["bodies_refused"]
        await asyncio.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--longest", type=float, default=0.1, help="s that /health may take")
    parser.add_argument("attacks", nargs="*", default=list(ATTACKS), metavar="ATTACK")
    given = parser.parse_args()
    bad = []
    for name in given.attacks:
        it = asyncio.run(run_one(ATTACKS[name], given.connections, given.seconds))
        worst, median = it.latencies[-1], it.latencies[len(it.latencies) // 2]
        print(
            f"{name:20} /health {median * 1000:6.1f} ms, at worst {worst * 1000:6.1f} ms of {len(it.latencies)}; "
            f"honest posts {dict(it.answers)}; given up {it.refused}; left {it.held}"
        )
        if worst > given.longest or it.held != (0, 0) or not it.answers[200]:
            bad.append(name)
    print(f"too much: {', '.join(bad)}" if bad else "all borne")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
