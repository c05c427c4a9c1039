"""A stress of a real server from outside, seeded and self-checking: ``python tests/stress/stress.py --minutes 10``.

Readers join, stall, leave, come back with their last id and without; publishers publish to one topic and to several;
the server is ended, in order and by SIGKILL, and started anew on the same port with other limits, under granian and
uvicorn, plain and behind middleware. At the end of each life everything that every stream got is held against what
was published (`record.py`); then, in silence, counts must be exact, and nobody and nothing may be left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from stress.record import Event, Gap, Log, Taken, Tally, position_of
from stress.wire import Broken, Requests, Stream, open_stream, request
from support.servers import environment, free_port

TOPICS = ("a", "b", "c", "d", "bulk")
BULK = 30_000  # bytes of a bulk event
READERS = 40
PUBLISHERS = 4
LIFE = (3.0, 12.0)  # s between two ends of the server
PATIENCE = 20.0  # s for what takes milliseconds on a quiet machine
EXACT = 20  # events of the count at the end of a life
SMALL = 4096  # bytes of a staller's receive buffer

KINDS = ("serve", "granian", "uvicorn", "wrapped", "direct")


class Server:
    """One life of a server."""

    def __init__(self, kind: str, port: int, flags: dict[str, str]) -> None:
        self.kind = kind
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            _command(kind, port),
            env=environment(**flags),
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            cwd=Path(__file__).parents[1],
        )

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:].strip()

    def close(self) -> None:
        self._log.close()


def _command(kind: str, port: int) -> list[str]:
    python = [sys.executable, "-m"]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if kind == "serve":
        return [*python, "fastsse", "serve", *where]
    if kind == "granian":
        start = [*python, "granian", "--interface", "asgi", "--no-ws", "--http", "1"]
        return [*start, "--log-level", "warning", *where, "stress.looked:app"]
    name = "app" if kind == "uvicorn" else kind
    target = f"stress.looked:{name}"
    return [*python, "uvicorn", "--log-level", "warning", "--no-access-log", *where, target]


def _limits(chance: random.Random) -> dict[str, str]:
    """Settings of one life: tight, so that every limit is met."""
    settings = {
        "heartbeat": chance.choice(["0.3", "1", "0"]),
        "lifetime": chance.choice(["2", "5", "0"]),
        "history_events": chance.choice(["20", "200", "5000"]),
        "history_bytes": chance.choice(["100000", "1000000", "30000000"]),
        "max_topics": chance.choice(["3", "100"]),
        "lag_events": chance.choice(["20", "100", "1000"]),
        "lag_bytes": chance.choice(["200000", "3000000"]),
        "lag_seconds": chance.choice(["0.3", "2", "30"]),
        "slow_policy": chance.choice(["end", "skip", "latest"]),
        "coalesce": chance.choice(["0", "0", "0.005"]),
    }
    return {f"FASTSSE_{name.upper()}": value for name, value in settings.items()}


class Reader(NamedTuple):
    """One reader: its topics, and how it reads."""

    number: int
    topics: frozenset[str]
    steady: bool  # stays until it is ended
    stalls: bool


class Stress:
    """One run of the stress test.

    Args:
        seed: of everything that is left to chance.
        seconds: how long, at least.
        kinds: of servers.
        say: told how it goes, once a second.
    """

    def __init__(self, seed: int, seconds: float, kinds: tuple[str, ...], say: Any) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._seconds = seconds
        self._kinds = kinds
        self._say = say
        self._port = free_port()
        self._numbers = itertools.count(1)
        self._log = Log()
        self._taken: list[Taken] = []
        self._last_ids: dict[int, str] = {}  # by reader
        self._going = True  # readers and publishers go on
        self._open = 0
        self._lives = self._published = self._delivered = self._streams = 0
        self._gaps: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()
        self._faults: list[str] = []
        self._began = time.monotonic()

    async def run(self) -> Tally:
        """Go on until the time is over and the life is complete."""
        telling = asyncio.create_task(self._tell())
        try:
            while time.monotonic() - self._began < self._seconds and not self._faults:
                await self._live()
        finally:
            telling.cancel()
        return Tally(
            self._seed,
            self._lives,
            self._published,
            self._delivered,
            self._streams,
            self._gaps,
            self._ends,
            self._faults,
        )

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._say(
                f"{time.monotonic() - self._began:4.0f} s  life {self._lives}, {self._open} open, "
                f"{self._published} published, {self._delivered} delivered, {sum(self._gaps.values())} gaps"
            )

    # One life of the server.

    async def _live(self) -> None:
        chance = self._chance
        self._lives += 1
        kind = self._kinds[(self._lives - 1) % len(self._kinds)]
        limits = _limits(chance)
        server = Server(kind, self._port, limits)
        self._log = Log()
        self._taken = []
        self._going = True
        life = f"life {self._lives}, {kind}, {limits}"
        try:
            await self._ready(server)
            tasks = await self._tasks(server)
            crowd = [asyncio.create_task(self._publish()) for _ in range(PUBLISHERS)]
            crowd += [
                asyncio.create_task(self._read(r, random.Random(chance.random())))
                for r in self._readers()
            ]
            left = self._seconds - (time.monotonic() - self._began)
            await asyncio.wait(crowd, timeout=min(chance.uniform(*LIFE), max(1.0, left)),
                               return_when=asyncio.FIRST_EXCEPTION)  # fmt: skip
            if chance.random() < 0.5:
                await self._end_suddenly(server, crowd)
            else:
                await self._end_in_order(server, crowd, tasks)
        except Exception as error:
            self._faults.append(f"{type(error).__name__}: {error}")
        finally:
            server.kill()
        self._judge(life, server)

    async def _ready(self, server: Server) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(Broken):
                status, _ = await request(self._port, "GET", "/health")
                assert status == 200, status
                return
            assert server.process.poll() is None, server.said()
            assert time.monotonic() < end, f"not ready within {PATIENCE} s: {server.said()}"
            await asyncio.sleep(0.02)

    async def _end_suddenly(self, server: Server, crowd: list[asyncio.Task[None]]) -> None:
        """Kill the server in the middle of everything."""
        server.kill()
        self._ends["killed"] += 1
        await self._disperse(crowd)

    async def _end_in_order(
        self, server: Server, crowd: list[asyncio.Task[None]], tasks: int | None
    ) -> None:
        """Let all leave: in the silence counts are exact and nothing is left. Then send SIGTERM, with streams open."""
        await self._disperse(crowd)
        await self._until_nobody(server, tasks)
        await self._count_exactly()
        await self._until_nobody(server, tasks)
        streams = [await open_stream(self._port, "topic=a", None) for _ in range(20)]
        for stream in streams:
            await stream.blocks()
        server.process.send_signal(signal.SIGTERM)
        self._ends["in order"] += 1
        async with asyncio.timeout(PATIENCE):
            for stream in streams:
                with contextlib.suppress(Broken):
                    while True:
                        await stream.blocks()
                assert stream.complete, "a stream was cut at SIGTERM"
                stream.leave()
        async with asyncio.timeout(PATIENCE):
            while server.process.poll() is None:
                await asyncio.sleep(0.02)

    async def _disperse(self, crowd: list[asyncio.Task[None]]) -> None:
        self._going = False
        for task in crowd:
            task.cancel()
        for outcome in await asyncio.gather(*crowd, return_exceptions=True):
            if isinstance(outcome, Exception):
                self._faults.append(f"{type(outcome).__name__}: {outcome}")

    async def _until_nobody(self, server: Server, tasks: int | None) -> None:
        """Check that no subscriber and no task is left."""
        end = time.monotonic() + PATIENCE
        while True:
            _, health = await request(self._port, "GET", "/health")
            now = await self._tasks(server)
            if health["streams"] == 0 and (tasks is None or (now or 0) <= tasks):
                return
            assert time.monotonic() < end, (
                f"left behind: {health}; {now} tasks, {tasks} at the start"
            )
            await asyncio.sleep(0.05)

    async def _tasks(self, server: Server) -> int | None:
        if server.kind == "serve":
            return None
        _, answer = await request(self._port, "GET", "/tasks")
        return int(answer["tasks"])

    async def _count_exactly(self) -> None:
        """Check that in the silence each reader gets each event once, and that the receipt counts the readers."""
        streams = [await open_stream(self._port, "topic=exact", None) for _ in range(10)]
        for stream in streams:
            await stream.blocks()
        for number in range(EXACT):
            status, receipt = await request(
                self._port, "POST", "/events?topic=exact", b"%d" % number
            )
            assert status == 200, receipt
            assert receipt["subscribers"] == len(streams), receipt
        expected = [str(number) for number in range(EXACT)]
        async with asyncio.timeout(PATIENCE):
            for stream in streams:
                got: list[str] = []
                while len(got) < EXACT:
                    got += [block.data for block in await stream.blocks() if block.data is not None]
                assert got == expected, got
        for stream in streams:
            stream.leave()

    def _judge(self, life: str, server: Server) -> None:
        found = self._log.faults + [
            fault for taken in self._taken for fault in taken.faults(self._log)
        ]
        self._faults += [f"{life}: {fault}" for fault in found]
        said = server.said()
        if "Traceback" in said:
            self._faults.append(f"{life}: {said}")
        server.close()

    # Publishers.

    async def _publish(self) -> None:
        chance = random.Random(self._chance.random())
        requests = Requests(self._port)
        try:
            while self._going:
                await self._publish_one(requests, chance)
                await asyncio.sleep(chance.choice([0, 0, 0.001, 0.01, 0.03]))
        finally:
            requests.close()

    async def _publish_one(self, requests: Requests, chance: random.Random) -> None:
        topics = (
            (chance.choice(TOPICS),)
            if chance.random() < 0.8
            else tuple(sorted(chance.sample(TOPICS[:4], 2)))
        )
        event = Event(next(self._numbers), topics)
        size = BULK if topics == ("bulk",) else chance.choice([0, 50, 50, 500, 5000])
        data = f"{event.number}|{','.join(topics)}|{'x' * size}"
        target = "/events?" + "&".join(f"topic={topic}" for topic in topics)
        try:
            status, receipt = await requests.ask("POST", target, data.encode())
        except Broken:
            await asyncio.sleep(0.02)
            return  # published or not: its readers say
        assert status == 200, receipt
        self._published += 1
        self._log.note(receipt["id"], event, "a publisher")

    # Readers.

    def _readers(self) -> Iterator[Reader]:
        for number in range(READERS):
            chance = random.Random(f"{self._seed} {number}")
            topics = frozenset(chance.sample(TOPICS, chance.choice([1, 1, 2, 3])))
            stalls = number % 5 == 0
            if stalls:
                topics = frozenset({"bulk", *topics})
            yield Reader(number, topics, number % 4 == 1, stalls)

    async def _read(self, reader: Reader, chance: random.Random) -> None:
        while self._going:
            last = self._last_ids.get(reader.number) if chance.random() < 0.9 else None
            if last is None and chance.random() < 0.3:
                last = "earliest"
            try:
                await self._follow(reader, last, chance)
            except Broken:
                await asyncio.sleep(chance.uniform(0.005, 0.1))
            if not reader.steady:
                await asyncio.sleep(chance.choice([0, 0.01, 0.2]))

    async def _follow(self, reader: Reader, last: str | None, chance: random.Random) -> None:
        """Follow one stream until it is ended or the reader has had enough."""
        query = "&".join(f"topic={topic}" for topic in sorted(reader.topics))
        query += "&labels=1" if reader.number % 3 == 0 else ""
        buffer = SMALL if reader.stalls else None
        stream = await open_stream(self._port, query, last, buffer=buffer)
        if stream.status == 503:
            stream.leave()
            raise Broken("full or draining")
        assert stream.status == 200, stream.status
        taken = Taken(f"reader {reader.number} with {last!r}", reader.topics)
        self._streams += 1
        self._open += 1
        until = time.monotonic() + (1e9 if reader.steady else chance.choice([0.05, 0.5, 3.0]))
        try:
            while time.monotonic() < until:
                await self._take(reader, stream, taken, last)
                if reader.stalls and chance.random() < 0.02:
                    await asyncio.sleep(chance.choice([0.2, 1.5, 4.0]))
            if chance.random() < 0.2:
                stream.half_close()
        finally:
            self._open -= 1
            stream.leave()
            if taken.begin >= 0:
                self._taken.append(taken)

    async def _take(self, reader: Reader, stream: Stream, taken: Taken, last: str | None) -> None:
        for block in await stream.blocks():
            if block.id is None:
                continue  # a heartbeat, or the last words
            self._last_ids[reader.number] = block.id
            epoch, position = position_of(block.id)
            if block.event == "gap":
                self._take_gap(taken, json.loads(block.data or ""), position, last)
            elif block.data is None:
                self._take_opening(taken, epoch, position, last)
            else:
                self._take_event(taken, block.id, block.data)
            taken.end = max(taken.end, position)

    def _take_opening(self, taken: Taken, epoch: str, position: int, last: str | None) -> None:
        assert taken.begin < 0, f"{taken.name}: a second opening at {position}"
        taken.begin = position
        taken.from_what_is_kept = last == "earliest"
        self._log.epoch = self._log.epoch or epoch
        if last and last != "earliest":
            at = f"{taken.name}: opened at {epoch}-{position}"
            assert (epoch, position) == position_of(last), f"{at}, without a gap"

    def _take_gap(
        self, taken: Taken, said: dict[str, Any], position: int, last: str | None
    ) -> None:
        self._gaps[said["reason"]] += 1
        if said["reason"] in ("restart", "unknown"):
            assert taken.begin < 0, f"{taken.name}: {said} in the middle"
            assert said["from"] == last, f"{taken.name}: {said}"
            assert said["reason"] == "restart", f"{taken.name}: {said}: this server gave that id"
            assert position_of(said["from"])[0] != position_of(said["to"])[0], (
                f"{taken.name}: {said}"
            )
            taken.begin = position
            taken.from_what_is_kept = True
            return
        after, to = position_of(said["from"])[1], position_of(said["to"])[1]
        assert after < to, f"{taken.name}: {said}"
        taken.gaps.append(Gap(after, to, frozenset(said["topics"]), said["reason"]))

    def _take_event(self, taken: Taken, id_: str, data: str) -> None:
        event = Event.of(data)
        taken.positions.append(self._log.note(id_, event, taken.name))
        self._delivered += 1


def run(seed: int, seconds: float, kinds: tuple[str, ...] = KINDS, say: Any = None) -> Tally:
    """Run a whole stress on a loop of its own.

    Args:
        seed: of everything that is left to chance.
        seconds: how long, at least; the life that runs then comes to its end.
        kinds: of servers, in turn.
        say: called with a line a second; None for silence.
    """
    return asyncio.run(Stress(seed, seconds, kinds, say or (lambda _: None)).run())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--minutes", type=float, default=1.0, help="how long, at least (%(default)s)")
    add(
        "--seed",
        type=int,
        default=None,
        help="of everything that is left to chance; by chance itself",
    )
    add("--kind", action="append", choices=KINDS, help="of servers (again for more; all in turn)")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed

    def say(line: str) -> None:
        print(f"\r{line:<100}", end="", file=sys.stderr, flush=True)

    tally = run(seed, 60 * given.minutes, tuple(given.kind or KINDS), say)
    print(file=sys.stderr)
    print(tally)
    for fault in tally.faults[:20]:
        print(f"  {fault}")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
