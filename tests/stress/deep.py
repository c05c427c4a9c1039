"""A reader that comes back a million events late to a long SQLite log: ``python tests/stress/deep.py`` (Linux).

    python tests/stress/deep.py [--events 1000000] [--topics 1000] [--honest 100] [--start 5000000]

A file is filled with entries of one topic, and as many of other topics between them; `fastsse serve` runs over it.
Printed are how long the server takes to answer at its start, when the late reader has its first event, at which rate it
gets all others, what the server's process grew by meanwhile, and how long other readers waited for an event before
and during that. With `--start` the start is measured once more with a file of so many entries.

Fails when an event is missing or the process grew by 16 MiB or more. Figures over their bars are marked (!): the bars
hold for a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from stress.late import ask, clock, resident, watch
from support.servers import Clients, serve

from fastsse.broadcast import Entry, Log
from fastsse.broadcast.stores.sqlite import SqliteStore

__all__ = ["fill", "measure", "start"]

EPOCH = "deep"
MOST_GROWTH = 16.0  # MiB
FIRST = 0.050  # s until the late reader's first event
RATE = 100_000  # events a second
SLOWER = 1.2  # times the p99 before
START = 1.0  # s until the server answers
_GROUP = 20_000  # entries of one transaction


async def fill(path: Path, events: int, topics: int) -> None:
    """Make a log: entries of the topic ``log``, numbered from 1, and an entry of another topic after each."""
    store = SqliteStore(path, synchronous="normal")
    await store.open_to_change()
    await store.adopt(Log(EPOCH, 0, 2 * events))
    for first in range(1, events + 1, _GROUP // 2):
        some: list[Entry] = []
        for n in range(first, min(events + 1, first + _GROUP // 2)):
            some.append(Entry(2 * n - 1, ("log",), b"data: %d\n\n" % n))
            some.append(Entry(2 * n, (f"t{n % topics}",), b'data: {"n": %d}\n\n' % n))
        await store.put(some)
    await store.complete()
    await store.close()


def read_all(port: int, events: int) -> None:
    """Read the topic from its second event on when told to, then check it when told to; print what was found."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    sys.stdin.readline()
    begun = time.perf_counter()
    connection.request("GET", "/events?topic=log", headers={"Last-Event-ID": f"{EPOCH}-1"})
    response = connection.getresponse()
    chunks, end = [b""], b"data: %d\n\n" % events
    first = 0.0
    while not (chunks[-2:][0] + chunks[-1]).endswith(end):
        chunks.append(response.read1(65536))
        if not first and b"\ndata: 2\n" in chunks[-1]:
            first = time.perf_counter() - begun
    took = time.perf_counter() - begun
    print(first, took, flush=True)
    sys.stdin.readline()
    number = 1
    for line in b"".join(chunks).split(b"\n"):
        if line.startswith(b"event: "):
            break
        if line.startswith(b"data: "):
            if line != b"data: %d" % (number + 1):
                break
            number += 1
    print(number, flush=True)


async def measure(path: Path, events: int, honest: int, seconds: float) -> int:
    """Serve a filled file, let one reader come back late, and judge; return 1 when an event is missing."""
    clients = Clients()
    flags = ("--store", f"sqlite:///{path}?synchronous=normal", "--heartbeat", "0")
    begun = time.perf_counter()
    try:
        with serve(*flags) as server:
            print(f"the server is ready after {time.perf_counter() - begun:.2f} s")
            readers = [await clients.follow(server, "/events?topic=honest") for _ in range(honest)]
            command = [
                sys.executable,
                __file__,
                "--read",
                f"{server.port}",
                "--events",
                f"{events}",
            ]
            late = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()
            )
            going = asyncio.Event()
            going.set()
            clocking = asyncio.create_task(clock(server, readers, going))
            await asyncio.sleep(seconds)
            going.clear()
            before, memory = await clocking, resident(server)
            going.set()
            clocking = asyncio.create_task(clock(server, readers, going))
            watching = asyncio.create_task(watch(server, going))
            first, took = map(float, (await ask(late)).split())
            going.clear()
            during, growth = await clocking, await watching - memory
            reached = int(await ask(late))
            await late.wait()
    finally:
        await clients.close()
    print(f"the late reader got {reached:,} of {events:,} events")
    print(f"its first event came after {1000 * first:.1f} ms{_mark(first > FIRST)}")
    rate = (events - 1) / took
    print(f"it got {rate:,.0f} events a second{_mark(rate < RATE)}")
    print(f"the process grew by {growth:.1f} MiB at most")
    p99s = [_p99("before", before), _p99("during", during)]
    slower = p99s[1] / p99s[0]
    print(f"p99 is {slower:.2f} times what it was{_mark(slower > SLOWER)}")
    return int(reached < events or growth >= MOST_GROWTH)


def start(path: Path) -> float:
    """Run the server over a file until it answers; return the seconds that this took."""
    begun = time.perf_counter()
    with serve("--store", f"sqlite:///{path}", "--heartbeat", "0") as server:
        assert 200 == server.request("GET", "/health").status
        return time.perf_counter() - begun


def _p99(name: str, waits: list[float]) -> float:
    p99 = statistics.quantiles(waits, n=100)[98]
    median = statistics.median(waits)
    print(f"{name}: {len(waits)} waits, {median * 1000:.1f} ms median, {p99 * 1000:.1f} ms p99")
    return p99


def _mark(bad: bool) -> str:
    return " (!)" if bad else ""


def _environment() -> dict[str, str]:
    here = Path(__file__).resolve()
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here.parents[1]), str(here.parents[2])]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="A reader that comes back very late to SQLite.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--topics", type=int, default=1000)
    parser.add_argument("--honest", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--start", type=int, default=0, metavar="ENTRIES")
    parser.add_argument("--read", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read is not None:
        read_all(args.read, args.events)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep.db"
        begun = time.perf_counter()
        asyncio.run(fill(path, args.events, args.topics))
        size = path.stat().st_size / 2**20
        print(f"filled in {time.perf_counter() - begun:.0f} s: {size:.0f} MiB")
        code = asyncio.run(measure(path, args.events, args.honest, args.seconds))
        if args.start:
            long = Path(folder) / "long.db"
            asyncio.run(fill(long, args.start // 2, args.topics))
            empty = min(start(Path(folder) / "new.db") for _ in range(3))
            took = min(start(long) for _ in range(3))
            print(f"ready after {took:.2f} s with {args.start:,} entries{_mark(took > START)}")
            print(f"ready after {empty:.2f} s with an empty log")
    return code


if __name__ == "__main__":
    sys.exit(main())
