"""Readers that do not read, beside others that do: ``python tests/stress/stalled.py`` (Linux).

Eight events whose blocks are as large as may be are published to 120 readers that read nothing. Printed is how long
their sockets outlive their streams, what the process grows by meanwhile, and how long 100 honest readers wait for an
event before and during that. Then the server is told to end, with other readers that do not read. Fails when sockets
are still there 5 s after `lag_seconds`, or when the end takes more than 1.5 s; on a busy machine it may.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from support.servers import Clients, Connection, Server, serve

WORST = b"x" * 2**20  # bytes: no block may be larger than that of this
LAG = 3.0  # s
EVENTS = 8
PROBES = 50  # events to honest readers
PAUSE = 0.02  # s between them
AFTER = 5.0  # s from lag_seconds to the end of the sockets
END = 1.5  # s from SIGTERM to the process's end


class Times(NamedTuple):
    """Seconds from publish to arrival, of all readers."""

    median: float
    p99: float

    def __str__(self) -> str:
        return f"{self.median * 1000:6.1f} ms median, {self.p99 * 1000:6.1f} ms p99"


class Process:
    """Read what the system says of the worker."""

    def __init__(self, server: Server) -> None:
        main = server.process.pid
        self._path = Path(
            f"/proc/{Path(f'/proc/{main}/task/{main}/children').read_text().split()[0]}"
        )

    @property
    def descriptors(self) -> int:
        return len(os.listdir(self._path / "fd"))

    @property
    def megabytes(self) -> float:
        pages = int((self._path / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def main() -> None:
    parser = argparse.ArgumentParser(description="Readers that do not read, beside others that do.")
    parser.add_argument("--stalled", type=int, default=120)
    parser.add_argument("--honest", type=int, default=100)
    given = parser.parse_args()
    failed = await outlive(given.stalled, given.honest)
    for stalled, honest in ((0, 0), (0, 1000), (1, 40), (400, 40)):
        failed += await end(stalled, honest)
    sys.exit(failed)


async def outlive(count: int, honest: int) -> int:
    """Measure how long the sockets of readers that do not read are there, and what that costs others."""
    clients = Clients()
    try:
        with serve("--lag-seconds", str(LAG)) as server:
            readers = await follow(clients, server, honest, "honest")
            await clock(server, readers)  # growth in the first round does not count
            worker = Process(server)
            descriptors, megabytes = worker.descriptors, worker.megabytes
            print(f"{honest} readers alone       {await clock(server, readers)}")
            await stall(clients, server, count)
            during = asyncio.create_task(clock(server, readers))
            start = time.monotonic()
            await asyncio.to_thread(publish, server, EVENTS)
            print(f"publishing took          {time.monotonic() - start:6.2f} s")
            start, most = time.monotonic(), worker.megabytes
            while worker.descriptors > descriptors and time.monotonic() - start < 60:
                most = max(most, worker.megabytes)
                await asyncio.sleep(0.05)
            seconds = time.monotonic() - start
            print(f"{honest} readers beside {count}  {await during}")
            print(f"sockets were gone after  {seconds:6.2f} s, lag_seconds is {LAG:g}")
            print(
                f"the process grew by      {most - megabytes:6.1f} MiB, then {worker.megabytes - megabytes:.1f} MiB"
            )
            return int(seconds > LAG + AFTER)
    finally:
        await clients.close()


async def end(stalled: int, honest: int) -> int:
    """Measure how long the process takes to end."""
    clients = Clients()
    try:
        with serve() as server:
            readers = await follow(clients, server, honest, "honest")
            endings = [asyncio.create_task(reader.to_the_end()) for reader in readers]
            await stall(clients, server, stalled)
            if stalled:
                await asyncio.to_thread(publish, server, EVENTS)
            start = time.monotonic()
            server.signal(signal.SIGTERM)
            code = await asyncio.to_thread(server.wait)
            seconds = time.monotonic() - start
            whole = sum(body.endswith(b"\r\n0\r\n\r\n") for body in await asyncio.gather(*endings))
        print(
            f"{stalled} stalled, {honest} honest: gone after {seconds:.2f} s, exit code {code}, {whole} whole"
        )
        return int(seconds > END or code != 0 or whole != honest)
    finally:
        await clients.close()


async def follow(clients: Clients, server: Server, count: int, topic: str) -> list[Connection]:
    return [await clients.follow(server, f"/events?topic={topic}") for _ in range(count)]


async def stall(clients: Clients, server: Server, count: int) -> None:
    for stream in await follow(clients, server, count, "stalled"):
        stream.writer.transport.pause_reading()  # type: ignore[attr-defined]


def publish(server: Server, count: int) -> None:
    """Publish events that nobody takes."""
    for _ in range(count):
        kind = {"Content-Type": "text/plain"}
        assert server.request("POST", "/events?topic=stalled", WORST, kind).status == 200


async def clock(server: Server, readers: list[Connection]) -> Times:
    """Publish small events, and note when each reader has each of them."""
    waits: list[float] = []

    async def read(reader: Connection) -> None:
        for _ in range(PROBES):
            [event] = await reader.events(1)
            waits.append(time.perf_counter() - float(event.data))

    reading = [asyncio.create_task(read(reader)) for reader in readers]
    for _ in range(PROBES):
        await asyncio.to_thread(server.publish, "honest", str(time.perf_counter()))
        await asyncio.sleep(PAUSE)
    await asyncio.gather(*reading)
    waits.sort()
    return Times(waits[len(waits) // 2], waits[len(waits) * 99 // 100])


if __name__ == "__main__":
    asyncio.run(main())
