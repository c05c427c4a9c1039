"""The contract of `fastsse.broadcast.stores`, held by every store. A new store is one more row of `STORES`.

A row says how to make the store, whether its log outlives `close`, and which commands a test has over it. Tests that
need more than `append` (a log that is trimmed, fails over or stalls) run on the stores that can be told to.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import pickle
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from support.engines import Nats, Redis, shared
from support.postgres import Postgres
from support.stores import ArchivedStore, Recorder, ScriptedStore

from fastsse import InvalidField
from fastsse.broadcast.stores import Archive, Draft, KeyReused, Log, Store
from fastsse.broadcast.stores.memory import KEYS, KeyWindow, MemoryStore
from fastsse.broadcast.stores.opening import open_url
from fastsse.broadcast.stores.sqlite import SqliteStore

DOCS = Path(__file__).parents[3] / "docs"
FILES = tempfile.TemporaryDirectory()


def table_store() -> Store:
    """Make the store that docs/stores.md shows, with a file of its own."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "stores.md").read_text("utf-8"), re.DOTALL)
    [code] = [block for block in blocks if "class TableStore" in block]
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    return cast("Store", names["TableStore"](str(Path(tempfile.mkdtemp(dir=FILES.name)) / "db")))


_numbers = itertools.count()
_made: list[Store] = []  # in the running test, which closes them


def redis_store() -> Store:
    """Make a store with a log of its own in the Redis that all tests share."""
    return open_url(shared(Redis).url(f"suite{next(_numbers)}"))


def sqlite_store() -> Store:
    """Make a store in a file of its own."""
    return SqliteStore(Path(tempfile.mkdtemp(dir=FILES.name)) / "log.db", synchronous="normal")


def nats_store() -> Store:
    """Make a store with a log of its own in the JetStream that all tests share."""
    return open_url(shared(Nats).url(f"suite{next(_numbers)}"))


def postgres_store() -> Store:
    """Make a store with a log of its own in the PostgreSQL that all tests share."""
    return open_url(shared(Postgres).url(f"suite{next(_numbers)}"))


class Row(NamedTuple):
    """One store of the suite."""

    kind: Callable[[], Store]
    durable: bool  # its log outlives `close`
    scripted: bool = False  # it does what `ScriptedStore` can be told
    archive: bool = False  # it can be read from any place

    def make(self) -> Store:
        """Make a store with a new log; the test's end closes it."""
        store = self.kind()
        _made.append(store)
        return store


STORES = {
    "memory": Row(MemoryStore, durable=False),
    "scripted": Row(ScriptedStore, durable=True, scripted=True),
    "strides": Row(lambda: ScriptedStore(stride=1000, first=2**61), durable=True, scripted=True),
    "archived": Row(ArchivedStore, durable=True, scripted=True, archive=True),
    "documented": Row(table_store, durable=True, archive=True),
    "redis": Row(redis_store, durable=True, archive=True),
    "sqlite": Row(sqlite_store, durable=True, archive=True),
    "nats": Row(nats_store, durable=True, archive=True),
    "postgresql": Row(postgres_store, durable=True, archive=True),
}


@pytest.fixture(autouse=True)
async def made() -> AsyncIterator[None]:
    """Close the stores of a test after it."""
    yield
    while _made:
        await _made.pop().close()


def rows(**wanted: bool) -> pytest.MarkDecorator:
    """Give a test the stores that have these abilities, as a parameter `row`."""
    names = [
        name
        for name, row in STORES.items()
        if all(getattr(row, key) is value for key, value in wanted.items())
    ]
    return pytest.mark.parametrize("row", [STORES[name] for name in names], ids=names)


every_store = rows()
durable_stores = rows(durable=True)
scripted_stores = rows(scripted=True)
archives = rows(archive=True)


def draft(text: str, *topics: str) -> Draft:
    return Draft(topics or ("a",), f"data: {text}\n\n".encode())


async def followed(store: Store, tail: int = 100) -> Recorder:
    """Open a store and follow it."""
    await store.open()
    told = Recorder()
    await store.follow(told, tail)
    return told


async def followed_script(row: Row, tail: int = 100) -> tuple[ScriptedStore, Recorder]:
    store = cast("ScriptedStore", row.make())
    return store, await followed(store, tail)


class TestEveryStore:
    @every_store
    async def test_it_has_the_methods_of_a_store(self, row: Row) -> None:
        assert isinstance(row.kind(), Store)

    @every_store
    async def test_its_log_has_an_epoch_that_fits_into_an_id(self, row: Row) -> None:
        log = await row.make().open()

        assert re.fullmatch(r"[0-9A-Za-z_.]{1,64}", log.epoch)

    @every_store
    async def test_a_new_log_is_empty(self, row: Row) -> None:
        log = await row.make().open()

        assert (0, 0) == (log.floor, log.head)

    @every_store
    async def test_entries_are_reported_in_order_with_the_positions_that_append_returns(
        self, row: Row
    ) -> None:
        store = row.make()
        told = await followed(store)

        positions = [await store.append(draft(str(n), "a", str(n))) for n in range(3)]

        assert positions == [entry.position for entry in await told.told(3)]
        assert positions == sorted(set(positions))
        assert 0 < positions[0] < positions[-1] < 2**62
        assert [(("a", str(n)), b"data: %d\n\n" % n) for n in range(3)] == [
            (entry.topics, entry.block) for entry in told.entries
        ]

    @every_store
    async def test_a_closed_store_reports_nothing_more(self, row: Row) -> None:
        store = row.make()
        told = await followed(store)
        await store.close()
        await store.close()

        with contextlib.suppress(Exception):
            await store.append(draft("x"))

        assert [] == told.news

    @every_store
    async def test_a_closed_store_can_be_opened_and_followed_again(self, row: Row) -> None:
        store = row.make()
        await followed(store)
        await store.close()

        told = await followed(store)
        position = await store.append(draft("x"))
        await told.told(1)

        assert [("entry", position)] == told.news


class TestKeys:
    @every_store
    @pytest.mark.parametrize("key", ["k", "", "é k"])
    async def test_a_key_appends_and_reports_its_event_once(self, row: Row, key: str) -> None:
        store = row.make()
        told = await followed(store)

        first = await store.append(draft("x"), key)
        await store.append(draft("y"))
        again = await store.append(draft("x"), key)
        await told.told(2)

        assert first == again
        assert [b"data: x\n\n", b"data: y\n\n"] == [entry.block for entry in told.entries]

    @every_store
    @pytest.mark.parametrize("other", [draft("y", "a"), draft("x", "b"), draft("x", "a", "b")])
    async def test_a_key_of_another_event_is_refused_and_nothing_is_appended(
        self, row: Row, other: Draft
    ) -> None:
        store = row.make()
        told = await followed(store)
        await store.append(draft("x", "a"), "k")

        with pytest.raises(KeyReused, match=r"'k'.*another event"):
            await store.append(other, "k")

        await store.append(draft("last"))
        assert [b"data: x\n\n", b"data: last\n\n"] == [e.block for e in await told.told(2)]

    @every_store
    async def test_events_that_are_equal_but_for_their_keys_are_two(self, row: Row) -> None:
        store = row.make()
        await followed(store)

        assert await store.append(draft("x"), "k") < await store.append(draft("x"), "l")

    def test_only_the_last_keys_are_remembered(self) -> None:
        keys = KeyWindow(most=2)
        for position, key in enumerate("abc", 1):
            keys.add(key, draft(key), position)

        assert [0, 2, 3] == [keys.find(key, draft(key)) for key in "abc"]

    async def test_memory_remembers_as_many_keys_as_it_says(self) -> None:
        store = MemoryStore()
        await store.open()
        for n in range(KEYS + 1):
            await store.append(draft("x"), str(n))

        assert 2 == await store.append(draft("x"), "1")
        assert KEYS + 2 == await store.append(draft("x"), "0")

    def test_the_error_is_one_of_a_field_and_survives_a_pickle(self) -> None:
        error = KeyReused("k")

        for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert isinstance(same, InvalidField)
            assert ("key", "k", str(error)) == (same.field, same.value, str(same))


class TestMemory:
    async def test_two_logs_have_two_epochs(self) -> None:
        store = MemoryStore()

        epochs = {(await store.open()).epoch, (await store.open()).epoch}

        assert 2 == len(epochs | {(await MemoryStore().open()).epoch} | epochs) - 1

    async def test_a_key_is_forgotten_with_its_log(self) -> None:
        store = MemoryStore()
        await store.open()
        await store.append(draft("x"), "k")
        await store.open()

        assert 1 == await store.append(draft("y"), "k")


class TestDurableStores:
    @durable_stores
    async def test_a_log_keeps_its_epoch_and_its_extent_over_a_restart(self, row: Row) -> None:
        store = row.make()
        before = await store.open()
        head = [await store.append(draft(str(n))) for n in range(3)][-1]
        await store.close()

        assert Log(before.epoch, 0, head) == await store.open()

    @durable_stores
    async def test_a_tail_as_long_as_the_log_begins_at_its_floor(self, row: Row) -> None:
        store = row.make()
        await store.open()
        positions = [await store.append(draft(str(n))) for n in range(3)]
        await store.close()

        told = await followed(store, tail=3)

        assert [("entry", position) for position in positions] == told.news

    @durable_stores
    @pytest.mark.parametrize("tail", [0, 1, 2])
    async def test_a_shorter_tail_says_first_where_it_begins(self, row: Row, tail: int) -> None:
        store = row.make()
        await store.open()
        positions = [await store.append(draft(str(n))) for n in range(3)]
        await store.close()

        told = await followed(store, tail=tail)

        assert ("lost", positions[2 - tail]) == told.news[0]
        assert positions[3 - tail :] == [entry.position for entry in told.entries]


class TestScriptedStores:
    """The reports of a store when its engine trims, fails over, or cannot be reached."""

    @scripted_stores
    async def test_a_trimmed_log_says_its_floor_and_reports_what_is_left(self, row: Row) -> None:
        store = cast("ScriptedStore", row.make())
        positions = [store.add("a") for _ in range(4)]
        store.trim(positions[1])

        assert Log("log", positions[1], positions[3]) == await store.open()
        told = await followed(store)
        assert [("lost", positions[1]), *(("entry", p) for p in positions[2:])] == told.news

    @scripted_stores
    async def test_a_log_that_was_trimmed_to_its_end_stands_at_its_head(self, row: Row) -> None:
        store = cast("ScriptedStore", row.make())
        head = [store.add("a") for _ in range(4)][-1]
        store.trim(head)

        assert Log("log", head, head) == await store.open()
        assert [("lost", head)] == (await followed(store)).news

    @scripted_stores
    async def test_trimming_what_was_reported_is_no_news(self, row: Row) -> None:
        store, told = await followed_script(row)
        position = store.add("a")

        store.trim(position)

        assert [("entry", position)] == told.news

    @scripted_stores
    async def test_what_is_trimmed_before_it_was_reported_is_lost(self, row: Row) -> None:
        store, told = await followed_script(row)
        store.stall()
        positions = [store.add("a") for _ in range(3)]
        store.trim(positions[1])
        store.recover()

        assert ("entry", positions[2]) == told.news[-1]
        assert ("lost", positions[1]) == told.news[-2]

    @scripted_stores
    async def test_a_renewed_log_has_another_epoch_and_goes_on_after_its_head(
        self, row: Row
    ) -> None:
        store, told = await followed_script(row)
        kept, *_ = [await store.append(draft(str(n))) for n in range(3)]

        epoch = store.renew(keep=kept)
        position = await store.append(draft("x"))

        assert [("renewed", Log(epoch, 0, kept)), ("entry", position)] == told.news[3:]
        assert kept < position
        assert epoch == (await store.open()).epoch != "log"

    @scripted_stores
    async def test_a_key_is_forgotten_with_its_log(self, row: Row) -> None:
        store, told = await followed_script(row)
        await store.append(draft("x"), "k")
        store.renew()

        await store.append(draft("x"), "k")

        assert 2 == len(told.entries)

    @scripted_stores
    async def test_a_stalled_store_takes_nothing_and_makes_up_for_it(self, row: Row) -> None:
        store, told = await followed_script(row)

        store.stall()
        with pytest.raises(OSError, match="reached"):
            await store.append(draft("x"))
        position = store.add("a")
        store.recover()

        assert [("stalled", True), ("stalled", False), ("entry", position)] == told.news

    @scripted_stores
    async def test_reports_can_be_held_and_made_one_by_one(self, row: Row) -> None:
        store, told = await followed_script(row)
        store.hold()
        positions = [await store.append(draft(str(n))) for n in range(3)]
        held = list(told.news)

        store.release(1)
        first = list(told.news)
        store.release()

        assert [] == held
        assert [("entry", positions[0])] == first
        assert positions == [entry.position for entry in told.entries]


class TestArchive:
    async def archive(self, row: Row, count: int = 10) -> tuple[Archive, list[int]]:
        """Open a log with entries of topic a and topic b in turn; return it and their positions, after a 0."""
        store = row.make()
        await store.open()
        positions = [await store.append(draft(str(n), "ba"[n % 2])) for n in range(1, count + 1)]
        return cast("Archive", store), [0, *positions]

    def test_only_a_store_that_can_be_read_is_an_archive(self) -> None:
        assert isinstance(ArchivedStore(), Archive)
        assert not isinstance(ScriptedStore(), Archive)
        assert not isinstance(MemoryStore(), Archive)

    @archives
    async def test_a_page_has_the_entries_of_the_topics_between_two_positions(
        self, row: Row
    ) -> None:
        store, at = await self.archive(row)

        page = await store.read(("a",), at[1], at[9], 10_000)

        assert [at[3], at[5], at[7]] == [entry.position for entry in page.entries]
        assert [b"data: 3\n\n", ("a",)] == [page.entries[0].block, page.entries[0].topics]
        assert (at[9] - 1, 0) == (page.end, page.floor)

    @archives
    async def test_an_entry_of_several_topics_comes_once(self, row: Row) -> None:
        store = row.make()
        await store.open()
        position = await store.append(draft("x", "a", "b"))

        page = await cast("Archive", store).read(("a", "b"), 0, position + 1, 10_000)

        assert [position] == [entry.position for entry in page.entries]

    @archives
    async def test_a_page_ends_at_the_entry_that_reaches_its_limit(self, row: Row) -> None:
        store, at = await self.archive(row)

        page = await store.read(("a", "b"), 0, at[10] + 1, 20)  # blocks of nine bytes

        assert at[1:4] == [entry.position for entry in page.entries]
        assert at[3] == page.end

    @archives
    @pytest.mark.parametrize("limit", [1, 9, 25, 10_000])
    async def test_reading_page_by_page_gives_every_entry_once_and_comes_to_an_end(
        self, row: Row, limit: int
    ) -> None:
        store, at = await self.archive(row, 60)
        found: list[int] = []
        after = 0

        while after < at[60]:
            page = await store.read(("a",), after, at[60] + 1, limit)
            found += [entry.position for entry in page.entries]
            assert after < page.end
            after = page.end

        assert at[1::2] == found

    async def test_pages_without_an_entry_bring_the_reader_on(self) -> None:
        store = cast("ArchivedStore", (await self.archive(STORES["archived"]))[0])
        store.scan = 3

        ends = [(await store.read(("c",), after, 11, 10_000)).end for after in (0, 3, 6, 9)]

        assert [3, 6, 9, 10] == ends

    async def test_a_page_says_what_is_gone(self) -> None:
        store = cast("ArchivedStore", (await self.archive(STORES["archived"]))[0])
        store.trim(4)

        page = await store.read(("a",), 0, 8, 10_000)

        assert ([5, 7], 7, 4) == ([e.position for e in page.entries], page.end, page.floor)
