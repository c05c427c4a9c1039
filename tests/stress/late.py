"""A reader that comes back 100,000 events late, beside others: ``python tests/stress/late.py`` (Linux).

The store is an archive, and the hub's history keeps a hundredth of it. Printed is whether each late reader got every
event once and in order, what the server's process grew by at most meanwhile, and how long the other readers waited for
an event before and during that. Fails when an event is missing, or when the process grew by 4 MiB or more; a p99 of
more than 1.2 times what it was is printed as such, and is to be looked at again on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import re
import statistics
import subprocess
import sys
import time
from asyncio.subprocess import Process
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from support.servers import Clients, Connection, Server, serve_granian

ROOT = str(Path(__file__).resolve().parents[2])
MOST_GROWTH = 4.0  # MiB
MOST_SLOWER = 1.2
PAUSE = 0.02  # s between two probes


def read_all(port: int, count: int, last: str) -> int:
    """Read a stream from a place on when told to, then check it when told to; return the last number without a hole.

    Reading costs as little as it can, because the reader shares the machine with the server that is measured.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port)
    sys.stdin.readline()
    connection.request("GET", "/events?topic=log", headers={"Last-Event-ID": last})
    response = connection.getresponse()
    chunks, end = [b""], b"data: %d\n\n" % count
    while not (chunks[-2:][0] + chunks[-1]).endswith(end):
        chunks.append(response.read1(65536))
    print("read", flush=True)
    sys.stdin.readline()
    number = int(last.rpartition("-")[2])
    for block in b"".join(chunks).split(b"\n\n"):
        if b"event: gap" in block:
            break
        if found := re.search(rb"^data: (\d+)$", block, re.MULTILINE):
            if int(found[1]) != number + 1:
                break
            number += 1
    return number


def resident(server: Server) -> float:
    """Read how many MiB the server's worker holds."""
    main = server.process.pid
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    pages = int(Path(f"/proc/{children[0] if children else main}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def clock(server: Server, readers: list[Connection], going: asyncio.Event) -> list[float]:
    """Publish small events while something goes on, and note how long each reader waits for each of them."""
    waits: list[float] = []

    async def read(reader: Connection) -> None:
        [event] = await reader.events(1)
        waits.append(time.perf_counter() - float(event.data))

    while going.is_set():
        reading = [asyncio.create_task(read(reader)) for reader in readers]
        await asyncio.to_thread(server.publish, "honest", str(time.perf_counter()))
        await asyncio.gather(*reading)
        await asyncio.sleep(PAUSE)
    return waits


async def watch(server: Server, going: asyncio.Event) -> float:
    """Sample the server's memory while something goes on; return the most."""
    most = resident(server)
    while going.is_set():
        await asyncio.sleep(0.02)
        most = max(most, resident(server))
    return most


async def wait_for_late(server: Server, count: int, readers: int) -> list[Process]:
    """Start processes that are late readers when they are told so."""
    command = [sys.executable, __file__, "--read", f"{server.port}", "--events", f"{count}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return [await asyncio.create_subprocess_exec(*command, **pipes) for _ in range(readers)]


async def ask(process: Process) -> bytes:
    """Tell a process to go on, and read its answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    return await process.stdout.readline()


async def measure(count: int, honest: int, seconds: float) -> int:
    clients = Clients()
    try:
        env = {"PYTHONPATH": os.pathsep.join([*sys.path[:1], ROOT]), "ARCHIVED": str(count)}
        with serve_granian(app="support.archived:app", **env) as server:
            readers = [await clients.follow(server, "/events?topic=honest") for _ in range(honest)]
            late = await wait_for_late(server, count, max(1, round(seconds)))
            going = asyncio.Event()
            going.set()
            clocking = asyncio.create_task(clock(server, readers, going))
            await asyncio.sleep(seconds)
            going.clear()
            before = await clocking
            start = resident(server)
            going.set()
            clocking = asyncio.create_task(clock(server, readers, going))
            watching = asyncio.create_task(watch(server, going))
            for process in late:
                assert b"read\n" == await ask(process)
                await asyncio.sleep(0.5)
            going.clear()
            during, growth = await clocking, await watching - start
            reached = [int(await ask(process)) for process in late]
            return report(count, reached, growth, before, during)
    finally:
        await clients.close()


def report(
    count: int, reached: list[int], growth: float, before: list[float], during: list[float]
) -> int:
    """Print what was found; return 1 when it is not as it should be."""
    whole = sum(number == count for number in reached)
    print(f"{whole} of {len(reached)} late readers got all of {count} events")
    print(f"the process grew by {growth:.1f} MiB at most")
    p99s = []
    for name, waits in (("before", before), ("during", during)):
        p99s.append(statistics.quantiles(waits, n=100)[98])
        median = statistics.median(waits)
        print(f"{name}: {median * 1000:.1f} ms median, {p99s[-1] * 1000:.1f} ms p99")
    slower = p99s[1] / p99s[0]
    print(f"p99 is {slower:.2f} times what it was{' (!)' if slower > MOST_SLOWER else ''}")
    return int(whole < len(reached) or growth >= MOST_GROWTH)


def main() -> int:
    parser = argparse.ArgumentParser(description="A reader that comes back late, beside others.")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--honest", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--read", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read is not None:
        print(read_all(args.read, args.events, "log-1"))
        return 0
    return asyncio.run(measure(args.events, args.honest, args.seconds))


if __name__ == "__main__":
    sys.exit(main())
