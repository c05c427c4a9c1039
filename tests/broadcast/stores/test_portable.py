"""The contract of `Portable`, held by every store that keeps its log: a look, a copy out and in, a trim.

Each engine is a row of `ENGINES`; a copy is made from each to each. The engines are real, and each test has a log of
its own there.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, cast

import pytest
from support.engines import Engine, Nats, Redis, shared
from support.postgres import Postgres
from support.stores import Recorder

from fastsse.broadcast.stores import (
    Archive,
    Draft,
    Entry,
    Log,
    Portable,
    Store,
    StoreState,
    Watched,
)
from fastsse.broadcast.stores.opening import open_url
from fastsse.broadcast.stores.retention import EVERYTHING, Keep, Retention

FILES = tempfile.TemporaryDirectory()
ENGINES: dict[str, type[Engine] | None] = {
    "sqlite": None,
    "redis": Redis,
    "nats": Nats,
    "postgresql": Postgres,
}
SHARED = [name for name, kind in ENGINES.items() if kind is not None]
CHOOSE_ANY = ("sqlite", "redis", "postgresql")  # engines that give an entry any position
NATURAL = ("sqlite", "nats", "postgresql")  # engines that count 1, 2, 3

_numbers = itertools.count()
_made: list[Any] = []  # stores of the running test, which closes them

every_engine = pytest.mark.parametrize("name", list(ENGINES))
shared_engines = pytest.mark.parametrize("name", SHARED)


def new_url(name: str) -> str:
    """Return the URL of a log that nobody has had yet."""
    kind = ENGINES[name]
    if kind is None:
        return f"sqlite:///{tempfile.mkdtemp(dir=FILES.name)}/log.db?synchronous=normal"
    return shared(kind).url(f"copy{next(_numbers)}")


class Made(NamedTuple):
    """A store, seen by each of its abilities."""

    store: Store
    copy: Portable

    @property
    def archive(self) -> Archive:
        """The store, to be read by topics."""
        return cast("Archive", self.store)

    @property
    def state(self) -> StoreState:
        """The numbers of the store."""
        return cast("Watched", self.store).state()


def make(url: str, keep: Keep = EVERYTHING) -> Made:
    """Make a store that the test's end closes."""
    store = open_url(url, retention=Retention(keep))
    _made.append(store)
    return Made(store, cast("Portable", store))


@pytest.fixture(autouse=True)
async def made() -> AsyncIterator[None]:
    """Close the stores of a test after it."""
    yield
    while _made:
        await _made.pop().close()


def draft(number: int, *topics: str) -> Draft:
    return Draft(topics or ("a", f"t{number % 3}"), f"data: ä {number}\n\n".encode())


async def fill(url: str, count: int) -> list[int]:
    """Publish events to a log; return their positions."""
    store = make(url).store
    await store.open()
    positions = await asyncio.gather(*(store.append(draft(n)) for n in range(count)))
    await store.close()
    return positions


async def all_of(copy: Portable, log: Log, limit: int = 2**20) -> list[Entry]:
    """Read a log page by page, from its floor to its head."""
    found: list[Entry] = []
    at = log.floor
    while at < log.head:
        page = await copy.scan(at, limit)
        assert at < page.end
        assert log.epoch == page.epoch
        found += page.entries
        at = page.end
    assert at == log.head
    return found


def parts(entries: list[Entry]) -> list[tuple[int, tuple[str, ...], bytes]]:
    return [(entry.position, entry.topics, entry.block) for entry in entries]


async def read_whole(url: str) -> tuple[Log, list[Entry]]:
    """Read extent and entries of a log that nobody writes to."""
    copy = make(url).copy
    log = await copy.open_to_read()
    return log, await all_of(copy, log)


async def put_all(url: str, log: Log, entries: list[Entry]) -> None:
    """Make a log that is a copy."""
    store, copy = make(url)
    await copy.open_to_change()
    await copy.adopt(log)
    for start in range(0, len(entries), 7):
        await copy.put(entries[start : start + 7])
    await copy.complete()
    await store.close()


def entries_at(*positions: int) -> list[Entry]:
    return [Entry(at, ("a", f"t{at % 3}"), b"data: %d\n\n" % at) for at in positions]


class TestLooking:
    @every_engine
    async def test_a_store_with_a_log_of_its_own_is_portable(self, name: str) -> None:
        assert isinstance(make(new_url(name)).store, Portable)

    def test_a_log_in_memory_is_not(self) -> None:
        assert not isinstance(open_url("memory:"), Portable)

    @every_engine
    async def test_a_log_that_is_not_there_is_not_made_by_a_look(self, name: str) -> None:
        url = new_url(name)

        for _ in range(2):
            with pytest.raises(OSError, match=r"there is no log|unable to open"):
                await make(url).copy.open_to_read()

    @every_engine
    async def test_a_log_is_looked_at_while_others_write_to_it(self, name: str) -> None:
        url = new_url(name)
        writer = make(url).store
        before = await writer.open()
        positions = [await writer.append(draft(n)) for n in range(5)]
        reader = make(url)

        log = await reader.copy.open_to_read()
        more = await writer.append(draft(5))
        page = await reader.copy.scan(0, 2**20)

        assert Log(before.epoch, 0, positions[-1]) == log
        assert (5, name) == (reader.state.entries, reader.state.engine)
        assert (reader.state.size or 0) > 0
        assert [*positions, more] == [entry.position for entry in page.entries]
        assert more == page.end

    @every_engine
    async def test_an_empty_log_says_so(self, name: str) -> None:
        url = new_url(name)
        await fill(url, 0)
        reader = make(url)

        log = await reader.copy.open_to_read()

        assert (0, 0) == log[1:]
        assert 0 == reader.state.entries
        assert ([], 0) == (await reader.copy.scan(0, 100))[:2]

    @every_engine
    @pytest.mark.parametrize("limit", [1, 30, 2**20])
    async def test_pages_of_any_size_have_each_entry_once(self, name: str, limit: int) -> None:
        url = new_url(name)
        positions = await fill(url, 40)
        reader = make(url).copy

        found = await all_of(reader, await reader.open_to_read(), limit)

        wanted = [(at, *_both(draft(n))) for n, at in enumerate(positions)]
        assert wanted == parts(found)

    @every_engine
    async def test_a_page_is_about_as_large_as_it_may_be(self, name: str) -> None:
        url = new_url(name)
        store = make(url).store
        await store.open()
        for n in range(20):
            await store.append(Draft(("a",), b"data: " + bytes([97 + n]) * 50_000 + b"\n\n"))
        await store.close()
        reader = make(url).copy
        log = await reader.open_to_read()

        page = await reader.scan(log.floor, 120_000)

        assert 3 == len(page.entries)


def _both(one: Draft) -> tuple[tuple[str, ...], bytes]:
    return one.topics, one.block


class TestCopies:
    @pytest.mark.parametrize("source", NATURAL)
    @every_engine
    async def test_a_copy_has_the_ids_the_entries_and_the_extent(
        self, source: str, name: str
    ) -> None:
        first, second = new_url(source), new_url(name)
        await fill(first, 50)
        log, entries = await read_whole(first)

        await put_all(second, log, entries)

        again, found = await read_whole(second)
        assert log == again
        assert parts(entries) == parts(found)

    @pytest.mark.parametrize("name", CHOOSE_ANY)
    async def test_ids_that_leap_are_kept_where_the_engine_takes_any(self, name: str) -> None:
        url = new_url(name)
        at = 1_780_000_000_000 << 18
        entries = entries_at(3, 5, 2**20, at, at + 1, at + 2**30)
        log = Log("6b0d9e1c.x_Y", 2, at + 2**30)

        await put_all(url, log, entries)

        again, found = await read_whole(url)
        assert (log.epoch, log.head) == (again.epoch, again.head)
        assert log.floor == again.floor
        assert parts(entries) == parts(found)

    @every_engine
    async def test_a_copy_serves_readers_and_goes_on_after_its_head(self, name: str) -> None:
        url = new_url(name)
        entries = entries_at(*range(101, 151))
        log = Log("6b0d9e1c", 100, 150)
        await put_all(url, log, entries)
        store = make(url)
        told = Recorder()

        opened = await store.store.open()
        await store.store.follow(told, 10)
        page = await store.archive.read(("t1",), 0, 151, 2**20)
        position = await store.store.append(draft(0))
        found = await told.told(10 if name == "nats" else 11)

        mark = (
            name == "nats"
        )  # a message at which processes take the log's name, as JetStream counts
        assert ("6b0d9e1c", 100, 150) == opened
        assert ("lost", 140 + mark) == told.news[0]
        assert [*range(141 + mark, 151), position] == [entry.position for entry in found]
        assert position > 150
        assert [n for n in range(101, 151) if n % 3 == 1] == [e.position for e in page.entries]
        assert 100 == page.floor

    @every_engine
    async def test_a_copy_of_a_log_that_was_trimmed_to_its_end_stands_at_its_head(
        self, name: str
    ) -> None:
        url = new_url(name)
        log = Log("6b0d9e1c", 70, 70)

        await put_all(url, log, [])

        store = make(url).store
        assert log == await store.open()
        told = Recorder()
        await store.follow(told, 10)
        assert [("lost", 70)] == told.news
        assert await store.append(draft(0)) > 70

    @every_engine
    async def test_a_copy_that_outlives_its_engines_memory_of_it(self, name: str) -> None:
        url = new_url(name)
        await put_all(url, Log("e", 0, 20), entries_at(*range(1, 21)))

        for tail in (5, 20, 100):
            store, told = make(url).store, Recorder()
            await store.open()
            await store.follow(told, tail)
            marks = name == "nats" and tail <= 20
            assert min(tail, 20) - marks == len(told.entries)
            await store.close()


class TestRefusals:
    @every_engine
    async def test_a_log_with_entries_is_not_overwritten(self, name: str) -> None:
        url = new_url(name)
        await fill(url, 3)
        before = await read_whole(url)
        copy = make(url).copy
        await copy.open_to_change()

        with pytest.raises(OSError, match=r"not new: import into a"):
            await copy.adopt(Log("other", 0, 9))

        await cast("Any", copy).close()
        after = await read_whole(url)
        assert before[0] == after[0]
        assert parts(before[1]) == parts(after[1])

    @every_engine
    async def test_a_log_that_had_entries_is_not_overwritten(self, name: str) -> None:
        url = new_url(name)
        await fill(url, 3)
        store, copy = make(url, Keep(seconds=1.0))
        await asyncio.sleep(1.1)
        await copy.open_to_change()
        while await copy.trim():
            pass

        with pytest.raises(OSError, match=r"not new: import into a"):
            await copy.adopt(Log("other", 0, 9))

        await store.close()

    @every_engine
    async def test_a_second_copy_is_refused(self, name: str) -> None:
        url = new_url(name)
        await put_all(url, Log("e", 0, 2), entries_at(1, 2))

        with pytest.raises(OSError, match=r"not new: import into a"):
            await put_all(url, Log("f", 0, 2), entries_at(1, 2))

        assert "e" == (await read_whole(url))[0].epoch

    @every_engine
    @pytest.mark.parametrize(
        "wrong", [(4, 4), (5, 4), (3, 9), (2, 9), (1,)], ids=lambda n: "-".join(map(str, n))
    )
    async def test_entries_out_of_order_are_refused_and_none_of_them_is_put_in(
        self, name: str, wrong: tuple[int, ...]
    ) -> None:
        url = new_url(name)
        store, copy = make(url)
        await copy.open_to_change()
        await copy.adopt(Log("e", 2, 9))
        await copy.put(entries_at(3))

        with pytest.raises(OSError, match=r"position \d+ does not follow \d+"):
            await copy.put(entries_at(*wrong))

        await store.close()
        assert [3] == [entry.position for entry in (await read_whole(url))[1]]

    @pytest.mark.parametrize("name", SHARED)
    @pytest.mark.parametrize(
        "log",
        [
            Log(""),
            Log("a b"),
            Log("a" * 65),
            Log("$epoch$"),
            Log("e", 2, 1),
            Log("e", -1),
            Log("e", 0, 2**62),
        ],
        ids=str,
    )
    async def test_an_extent_that_cannot_be_is_refused(self, name: str, log: Log) -> None:
        url = new_url(name)
        store, copy = make(url)
        before = await copy.open_to_change()

        with pytest.raises(OSError, match=r"epoch '|floor -?\d+ and head"):
            await copy.adopt(log)

        await store.close()
        assert before == await store.open()

    @pytest.mark.parametrize("name", ["sqlite", "redis", "nats", "postgresql"])
    async def test_the_head_is_kept_where_the_last_entries_have_gone(self, name: str) -> None:
        url = new_url(name)
        last = 2**60 + 5 if name in CHOOSE_ANY else 40
        log = Log("e", 0, last)

        await put_all(url, log, entries_at(1, 2, 3))

        store = make(url).store
        await store.open()
        assert await store.append(draft(0)) > last

    @every_engine
    async def test_nothing_at_all_may_be_put_in(self, name: str) -> None:
        url = new_url(name)
        store, copy = make(url)
        await copy.open_to_change()
        await copy.adopt(Log("e", 0, 0))

        await copy.put([])

        await store.close()
        assert (Log("e", 0, 0), []) == await read_whole(url)

    @pytest.mark.parametrize("name", ["redis", "postgresql"])
    async def test_a_process_that_follows_the_new_log_is_told_of_the_copy(self, name: str) -> None:
        url = new_url(name)
        hub, told = make(url).store, Recorder()
        await hub.open()
        await hub.follow(told, 10)

        await put_all(url, Log("e", 0, 12), entries_at(*range(1, 13)))

        entries = await told.told(12)
        assert ("renewed", Log("e", 0, 0)) == told.news[0]
        assert list(range(1, 13)) == [entry.position for entry in entries]
        assert await hub.append(draft(0)) > 12

    async def test_a_copy_into_a_stream_that_others_follow_is_refused(self) -> None:
        url = new_url("nats")
        hub = make(url).store
        log = await hub.open()
        await hub.follow(Recorder(), 10)
        copy = make(url).copy
        await copy.open_to_change()

        with pytest.raises(OSError, match="in use: end the processes that follow it"):
            await copy.adopt(Log("e", 0, 12))

        assert log.epoch == (await make(url).copy.open_to_read()).epoch

    async def test_a_stream_fills_a_few_places_up_and_refuses_to_leap(self) -> None:
        url = new_url("nats")
        store, copy = make(url)
        await copy.open_to_change()
        await copy.adopt(Log("e", 4, 2000))
        entries = entries_at(6, 7, 12, 1000)
        await copy.put(entries)

        with pytest.raises(OSError, match="positions leap from 1001 to 2003, and JetStream"):
            await copy.put(entries_at(1001, 2003))
        await copy.complete()
        await store.close()

        log, found = await read_whole(url)
        assert Log("e", 4, 2000) == log
        assert parts(entries) == parts(found)
        await store.open()
        assert await store.append(draft(0)) > 2000

    async def test_a_log_whose_ids_are_times_goes_into_no_stream(self) -> None:
        first, second = new_url("redis"), new_url("nats")
        await fill(first, 20)
        log, entries = await read_whole(first)

        with pytest.raises(OSError, match=r"ids cannot be kept here; import into"):
            await put_all(second, log, entries)

        assert [] == (await read_whole(second))[1]

    @pytest.mark.parametrize("name", ["redis", "postgresql"])
    async def test_an_event_of_another_process_ends_the_copy(self, name: str) -> None:
        url = new_url(name)
        copy = make(url).copy
        await copy.open_to_change()
        await copy.adopt(Log("e", 0, 12))
        await copy.put(entries_at(1, 2))
        other = make(url).store
        await other.open()
        await other.append(draft(0))

        with pytest.raises(OSError, match="position 3 does not follow"):
            await copy.put(entries_at(3, 4))


class TestTrimming:
    @every_engine
    @pytest.mark.parametrize("events", [1, 10, 199, 200, 1000])
    async def test_the_newest_stay(self, name: str, events: int) -> None:
        url = new_url(name)
        positions = await fill(url, 200)

        gone = await self._trim(url, Keep(events=events))

        log, entries = await read_whole(url)
        assert max(0, 200 - events) == gone
        assert positions[-events:] == [entry.position for entry in entries]
        assert positions[-1] == log.head
        assert log.floor < entries[0].position

    @every_engine
    async def test_a_bound_of_bytes_is_kept(self, name: str) -> None:
        url = new_url(name)
        await fill(url, 200)

        gone = await self._trim(url, Keep(bytes=1500))

        entries = (await read_whole(url))[1]
        assert 200 - gone == len(entries)
        assert 0 < len(entries) < 120
        assert sum(len(entry.block) for entry in entries) <= 1500
        assert entries[-1].block == draft(199).block

    @every_engine
    async def test_what_is_too_old_goes_and_what_is_younger_stays(self, name: str) -> None:
        url = new_url(name)
        positions = await fill(url, 200)

        assert 0 == await self._trim(url, Keep(seconds=3600.0))
        await asyncio.sleep(1.1)
        assert 200 == await self._trim(url, Keep(seconds=1.0))

        log, entries = await read_whole(url)
        assert [] == entries
        assert positions[-1] == log.floor == log.head

    @shared_engines
    async def test_processes_that_follow_the_log_go_on(self, name: str) -> None:
        url = new_url(name)
        hub, told = make(url).store, Recorder()
        await hub.open()
        await hub.follow(told, 10)
        for n in range(50):
            await hub.append(draft(n))
        await told.told(50)

        await self._trim(url, Keep(events=5))
        for n in range(50, 60):
            await hub.append(draft(n))

        entries = await told.told(60)
        assert [draft(n).block for n in range(60)] == [entry.block for entry in entries]
        assert {"entry"} == {kind for kind, _ in told.news}
        assert 15 == len((await read_whole(url))[1])  # the bound was for that once

    async def _trim(self, url: str, keep: Keep) -> int:
        store, copy = make(url, keep)
        await copy.open_to_change()
        gone = 0
        while some := await copy.trim():
            gone += some
        await store.close()
        return gone
