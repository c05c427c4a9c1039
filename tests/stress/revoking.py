"""Measure how soon other processes heed a revocation: ``python tests/stress/revoking.py --engine redis``.

Two servers share a store. At the second one each reader has a token of its own; at the first one an operator revokes
one token after another, while somebody publishes to all readers. A time counts from the answer to
``POST /revocations`` to the event ``expired`` at the reader; below zero, the reader had it first. Over ``memory`` and
``sqlite`` there is one server, which does both.

The run fails where a stream does not end, or ends later than `BOUND`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

import support.postgres  # noqa: F401 - which adds to ENGINES
from support.engines import ENGINES
from support.servers import DEADLINE, Server, serve
from support.tokens import SECRET, bearer, claims, sign

BOUND = 1.0  # s
ALONE = ("memory", "sqlite")
_KEYS = {"FASTSSE_KEYS": f"secret:{SECRET}"}
_READ = {"subscribe": ["a"]}


class Reader:
    """A stream with a token of its own.

    Attributes:
        name: the token's ``jti``.
        ended: monotonic time at which the event ``expired`` had come.
    """

    def __init__(self, number: int) -> None:
        self.name = f"t{number}"
        self.ended = 0.0
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, server: Server) -> None:
        """Open the stream, and wait for its end from then on."""
        token = sign(claims(3600, aud=None, sub=self.name, jti=self.name, fastsse=_READ))
        async with asyncio.timeout(DEADLINE):
            reader, self._writer = await asyncio.open_connection(server.host, server.port)
            head = f"Host: localhost\r\nAuthorization: Bearer {token}"
            self._writer.write(f"GET /events?topic=a HTTP/1.1\r\n{head}\r\n\r\n".encode())
            await reader.readuntil(b": fastsse")
        self._task = asyncio.create_task(self._wait(reader))

    async def _wait(self, reader: asyncio.StreamReader) -> None:
        seen = b""
        while b"event: expired" not in seen:
            part = await reader.read(65_536)
            if not part:
                raise AssertionError(f"the stream of {self.name} ended without a word")
            seen = seen[-20:] + part
        self.ended = time.monotonic()

    async def end(self) -> float:
        """Wait for the end of the stream, and return its time."""
        assert self._task is not None
        async with asyncio.timeout(DEADLINE):
            await self._task
        return self.ended

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._writer is not None:
            self._writer.transport.abort()


async def measure(store: str, count: int, *, alone: bool, pause: float = 0.05) -> list[float]:
    """Revoke so many tokens, and return for each the seconds from the answer to the end of its stream.

    Args:
        store: the URL of the store.
        alone: one server does everything.
        pause: seconds between two revocations, and between two events.
    """
    with (
        serve("--store", store, **_KEYS) as first,
        contextlib.nullcontext(first) if alone else serve("--store", store, **_KEYS) as second,
        _publishing(first, pause),
    ):
        readers = [Reader(number) for number in range(count)]
        try:
            for reader in readers:
                await reader.open(second)
            return [await _revoke(first, reader, pause) for reader in readers]
        finally:
            for reader in readers:
                reader.close()


async def _revoke(server: Server, reader: Reader, pause: float) -> float:
    await asyncio.sleep(pause)
    operator = bearer(sign(claims(3600, aud=None, fastsse={"operator": True})))
    target = f"/revocations?jti={reader.name}"

    def ask() -> float:
        reply = server.request("POST", target, None, operator)
        assert reply.status == 200, reply
        return time.monotonic()

    answered = await asyncio.to_thread(ask)
    return await reader.end() - answered


@contextlib.contextmanager
def _publishing(server: Server, pause: float) -> Iterator[None]:
    """Publish events while the block runs, from a thread."""
    over = threading.Event()
    token = sign(claims(3600, aud=None, sub="publisher", fastsse={"publish": ["a"]}))
    headers = bearer(token) | {"Content-Type": "text/plain"}

    def publish() -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE)
        while not over.wait(pause):
            connection.request("POST", "/events?topic=a", b"x" * 100, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
        connection.close()

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _store(name: str) -> Iterator[str]:
    """Start the engine of a store, and give the store's URL."""
    if name == "memory":
        yield "memory:"
    elif name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/log.db"
    else:
        engine = ENGINES[name]()
        try:
            engine.start()
            yield engine.url("revoking")
        finally:
            engine.close()


def main() -> int:
    """Measure, print, and return 1 where a stream has ended too late."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", choices=[*ALONE, *sorted(ENGINES)], default="redis")
    parser.add_argument("--count", type=int, default=100, help="revocations (%(default)s)")
    given = parser.parse_args()
    with _store(given.engine) as store:
        times = asyncio.run(measure(store, given.count, alone=given.engine in ALONE))
    median, longest = statistics.median(times) * 1000, max(times) * 1000
    print(f"{given.engine}: {given.count} revocations; from the answer to the end of the stream:")
    print(f"{median:.1f} ms median, {longest:.1f} ms longest")
    return 1 if longest > BOUND * 1000 else 0


if __name__ == "__main__":
    raise SystemExit(main())
