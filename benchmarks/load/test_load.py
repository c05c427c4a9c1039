"""The load generator finds what a server does wrong, and reads what it does right."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("Linux only", allow_module_level=True)

from benchmarks.load import build, judge, report
from benchmarks.load.measure import median, medians, paired
from benchmarks.load.processes import Generator, Server
from benchmarks.load.run import run
from benchmarks.load.scenarios import QUICK, fanout, turns
from benchmarks.load.servers import BEFORE, CONTENDERS, ROOT

READERS = 5
EVENTS = "window 1 0.3 100"

Frames = Callable[[int, int, bytes], list[bytes]]
"""What a reader is sent for an event: from its place, the event's number and the block."""


@pytest.fixture(autouse=True)
def programs() -> None:
    """The generator and the floor; no test without gcc."""
    try:
        build.build("sseload")
        build.build("floor")
    except build.Unavailable as reason:
        pytest.skip(str(reason))


class Fake:
    """A server whose every byte the test decides, and that speaks as much HTTP as the generator."""

    name = "fake"

    def __init__(self, frames: Frames, end: bytes) -> None:
        self.port = 0
        self._frames = frames
        self._end = end
        self._readers: list[asyncio.StreamWriter] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._count = 0
        self.ready = threading.Event()

    def await_streams(self, count: int) -> float | None:
        return 0.0 if len(self._readers) == count else None

    def said(self) -> str:
        return ""

    def run(self) -> None:
        """Serve in a thread of its own, until `stop`."""
        asyncio.run(self._serve())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self._over.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # an aborted transport closes in the next turn

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    self._readers.append(writer)
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    continue
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self._publish(await reader.readexactly(size))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def _publish(self, data: bytes) -> None:
        end = self._end
        block = b"id: %d%sdata: %s%s%s" % (self._count, end, data, end, end)
        for place, writer in enumerate(self._readers):
            for frame in self._frames(place, self._count, block):
                writer.write(b"%x\r\n%s\r\n" % (len(frame), frame))
        self._count += 1


@contextlib.contextmanager
def fake(frames: Frames, end: bytes = b"\n") -> Iterator[Generator]:
    """Run a generator with its readers open on a fake server."""
    server = Fake(frames, end)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.ready.wait(10)
    try:
        with Generator(server) as load:  # type: ignore[arg-type]
            load.open(READERS)
            yield load
    finally:
        server.stop()
        thread.join(10)


def once(_place: int, _number: int, block: bytes) -> list[bytes]:
    return [block]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_every_event_counts_once_for_every_reader(end: bytes) -> None:
    with fake(once, end) as load:
        answer = load.ask(EVENTS)

    assert answer["published"] > 1
    assert READERS * answer["published"] == answer["delivered"] + answer["after"]
    assert (True, 0, 0, 0) == (
        answer["settled"],
        answer["lost"],
        answer["doubled"],
        answer["errors"],
    )


def test_blocks_may_be_cut_anywhere() -> None:
    def cut(_place: int, number: int, block: bytes) -> list[bytes]:
        at = number % len(block)
        return [part for part in (block[:at], block[at:]) if part]

    with fake(cut) as load:
        answer = load.ask(EVENTS)

    assert answer["published"] > 1
    assert (True, 0, 0) == (answer["settled"], answer["lost"], answer["doubled"])


def test_a_lost_event_is_found() -> None:
    def lose(place: int, number: int, block: bytes) -> list[bytes]:
        return [] if (place, number) == (2, 3) else [block]

    with fake(lose) as load:
        answer = load.ask("rate 100 0.2 100")

    assert 20 == answer["published"]
    assert 1 == answer["lost"]
    assert 20 * READERS - 1 == answer["delivered"]


def test_a_doubled_event_is_found() -> None:
    def double(place: int, number: int, block: bytes) -> list[bytes]:
        return [block, block] if (place, number) == (4, 3) else [block]

    with fake(double) as load:
        answer = load.ask("rate 100 0.2 100")

    assert (0, 1) == (answer["lost"], answer["doubled"])


def test_an_order_that_is_not_the_others_is_found() -> None:
    held: list[bytes] = []

    def swap(place: int, number: int, block: bytes) -> list[bytes]:
        if place != 1 or number not in (5, 6):
            return [block]
        held.append(block)
        return held[::-1] if number == 6 else []

    with fake(swap) as load:
        answer = load.ask("rate 100 0.2 100")

    assert (1, 1) == (answer["lost"], answer["doubled"])


def test_stalled_readers_get_everything_once_they_go_on() -> None:
    with fake(once) as load:
        load.ask("stall 2")
        stalled = load.ask("rate 100 0.2 100")
        resumed = load.ask("resume 10")

    assert 20 * (READERS - 2) == stalled["delivered"]
    assert (True, 0) == (resumed["settled"], resumed["lost"])


@pytest.mark.parametrize("name", ["floor", "floor joined"])
def test_the_floor_serves_everybody(name: str) -> None:
    result = fanout(CONTENDERS[name], 50, QUICK._replace(seconds=0.2, tries=1, rates=(2000,)))

    for phase in ("single", "burst", "at 2000"):
        assert {} == result[phase]["faults"]
        assert result[phase]["rate"] > 0


def test_a_server_that_does_not_come_up_is_told_with_its_words() -> None:
    broken = CONTENDERS["floor"]._replace(
        command=lambda _port, _folder: [sys.executable, "-c", "1/0"]
    )

    with pytest.raises(Exception, match="ZeroDivisionError"):
        Server(broken)


def test_the_median_prefers_quiet_runs() -> None:
    runs: list[dict[str, Any]] = [
        {"rate": 1.0, "quiet": False},
        {"rate": 5.0, "quiet": True},
        {"rate": 7.0, "quiet": True},
        {},
    ]

    assert 6.0 == median(runs, "rate")
    assert 1.0 == median(runs[:1], "rate")
    assert median([], "rate") is None


def test_the_medians_of_rounds_leave_out_what_no_round_has() -> None:
    rounds: list[dict[str, Any]] = [
        {"cost": 1.0, "gone": None},
        {"cost": 9.0, "gone": None},
        {"cost": 3.0, "gone": None},
    ]

    assert {"cost": 3.0, "gone": None, "runs": 3} == medians(rounds)


def test_pairs_are_compared_with_their_neighbours() -> None:
    ours = [{"rate": 10.0}, {"rate": 2.0}, {"rate": 30.0}, {"rate": 1.0, "quiet": False}]
    others = [{"rate": 5.0}, {"rate": 1.0}, {"rate": 10.0}, {"rate": 100.0}]

    assert 2.0 == paired(ours, others, "rate")
    assert 0.01 == paired(ours[3:], others[3:], "rate")  # none was quiet
    assert paired(ours, [], "rate") is None


def test_those_who_take_turns_have_as_many_phases_each() -> None:
    plan = QUICK._replace(seconds=0.2, turns=2)
    contenders = [CONTENDERS["floor"], CONTENDERS["floor joined"]]

    found = turns(contenders, 50, plan, clock=True)

    assert {"floor", "floor joined"} == set(found)
    for phases in found.values():
        assert {"single": 2, "burst": 2, "at 60000": 2} == {
            name: len(results) for name, results in phases.items()
        }
        assert all({} == one["faults"] for results in phases.values() for one in results)


def test_a_bar_in_turn_is_the_median_of_pairs() -> None:
    def cell(rate: float) -> dict[str, Any]:
        return {"single": [{"rate": rate}] * 3}

    cells = {"floor": cell(100.0), "fastsse": cell(70.0), "nchan": cell(80.0)}
    bars = {bar.what: bar for bar in judge.judge({"turns": {"1000": cells}})}

    assert bars["1,000 readers, single, in turn: fastsse / floor"].holds is True
    assert bars["1,000 readers, single, in turn: fastsse / nchan"].holds is False
    table = report.text({"plan": QUICK._asdict(), "turns": {"1000": cells}})
    assert "fastsse" in table
    assert "0.70" in table


def test_a_bar_that_was_not_measured_neither_holds_nor_fails() -> None:
    bars = judge.judge({})

    assert {None} == {bar.holds for bar in bars}
    assert all("not measured" in str(bar) for bar in bars)


def test_a_bar_is_held_against_its_limit() -> None:
    cell = {"rate": 90.0, "best": 95.0, "p99": 3.0}
    names = ("fastsse", "fastsse bypass", "nchan", "sse-starlette/uvicorn")
    cells = {name: {"burst": cell} for name in names}
    cells["fastsse bypass"] = {"burst": {"rate": 180.0}}

    bars = [bar for bar in judge.judge({"fanout": {"1000": cells}}) if bar.value is not None]

    assert {"1,000 readers, burst: fastsse / nchan (its best run)": False,
            "1,000 readers, burst: fastsse / sse-starlette/uvicorn": False,
            "1,000 readers, burst: fastsse bypass / sse-starlette/uvicorn": True} == {
        bar.what: bar.holds for bar in bars
    }  # fmt: skip


def test_a_run_that_measured_nothing_is_still_a_report() -> None:
    assert "Not here:\n  nchan: apt-get" in report.text(
        {"plan": QUICK._asdict(), "absent": {"nchan": "apt-get"}}
    )


def test_another_checkout_takes_turns_with_this_one() -> None:
    """A checkout that is the same code is as fast, within what a short run can tell."""
    plan = QUICK._replace(turns=1, storm=50)
    found = run(plan, (), (), lambda _: None, ROOT)
    if found["absent"]:
        pytest.skip(str(found["absent"]))

    assert not found["failed"]
    cells = found["before"]
    assert {BEFORE, "fastsse"} == set(cells)
    for results in cells.values():
        assert {"single", "burst", "at 60000", "connects", "memory"} == set(results)
    rows = report.text(found)
    assert "after / before" in rows
    assert "idle stream, KiB" in rows
