"""Groups of appends, over every store that takes them: in order, and nothing after an event that has failed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from support.engines import Nats, Redis, need_engine, shared
from support.postgres import Postgres
from support.servers import DEADLINE
from support.stores import Recorder

from fastsse.broadcast.stores import Draft, Grouped, KeyReused, Outcome, StorageFull, Store
from fastsse.broadcast.stores import _remote as remote
from fastsse.broadcast.stores._remote import RemoteStore
from fastsse.broadcast.stores.opening import open_url
from fastsse.broadcast.stores.sqlite import SqliteStore

_numbers = itertools.count()

ENGINES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder}/log.db?synchronous=normal",
    "redis": lambda _: shared(Redis).url(f"groups{next(_numbers)}"),
    "nats": lambda _: shared(Nats).url(f"groups{next(_numbers)}"),
    "postgresql": lambda _: shared(Postgres).url(f"groups{next(_numbers)}"),
}


class Opened:
    """A store that is followed."""

    def __init__(self, store: Any, told: Recorder) -> None:
        self.store = store
        self.told = told

    async def group(self, texts: Sequence[object], *, keys: Sequence[str] = "") -> list[Outcome]:
        """Append a group; `keys` has a key for each event, a hyphen for none."""
        names = [None if key == "-" else key for key in keys] or [None] * len(texts)
        outcomes: list[Outcome] = await self.store.append_group([draft(t) for t in texts], names)
        return outcomes

    async def until(self, text: object) -> list[str]:
        """Append an event, wait until it was reported, and return all that was."""
        last = await self.store.append(draft(text))
        await self.told.until(lambda told: last in [entry.position for entry in told.entries])
        return [entry.block.decode()[6:-2] for entry in self.told.entries]


Open = Callable[..., Any]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Give a function that opens and follows a store, which is closed in the end."""
    async with AsyncExitStack() as stack:

        async def open(store: Store) -> Opened:
            if isinstance(store, RemoteStore):
                store._patience = DEADLINE
            stack.push_async_callback(store.close)
            told = Recorder()
            await store.open()
            await store.follow(told, 100)
            return Opened(store, told)

        yield open


@pytest.fixture(params=ENGINES)
async def one(request: pytest.FixtureRequest, opened: Open, tmp_path: Path) -> Opened:
    """Open a store of each engine, with a new log."""
    found: Opened = await opened(open_url(ENGINES[request.param](tmp_path)))
    return found


def draft(text: object) -> Draft:
    return Draft(("a",), f"data: {text}\n\n".encode())


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        "event" if isinstance(one, int) else "reused" if isinstance(one, KeyReused) else "failed"
        for one in outcomes
    ]


async def test_the_store_says_that_it_takes_groups(one: Opened) -> None:
    assert isinstance(one.store, Grouped)


@pytest.mark.parametrize("keys", ["", "abcde", "a-c-e"])
async def test_events_of_a_group_come_in_order(one: Opened, keys: str) -> None:
    outcomes = await one.group(range(5), keys=keys)

    assert [*"01234", "last"] == await one.until("last")
    assert [entry.position for entry in one.told.entries[:5]] == outcomes


async def test_groups_of_several_publishers_each_keep_their_order(one: Opened) -> None:
    groups = [[f"{name}{n}" for n in range(200)] for name in "abcd"]

    outcomes = await asyncio.gather(*(one.group(group) for group in groups))

    found = await one.until("last")
    positions = {entry.block: entry.position for entry in one.told.entries}
    for group, answers in zip(groups, outcomes, strict=True):
        assert group == [text for text in found if text[0] == group[0][0] and text != "last"]
        assert answers == [positions[draft(text).block] for text in group]


@pytest.mark.parametrize("at", [0, 2, 4])
async def test_nothing_comes_after_an_event_whose_key_is_of_another_one(
    one: Opened, at: int
) -> None:
    keys = "abcde"
    await one.store.append(draft("other"), keys[at])
    beside = asyncio.ensure_future(one.store.append(draft("beside")))

    outcomes = await one.group(range(5), keys=keys)

    assert ["event"] * at + ["reused"] + ["failed"] * (4 - at) == kinds(outcomes)
    await beside
    found = await one.until("last")
    assert [str(n) for n in range(at)] == [text for text in found if text.isdigit()]
    assert {"beside", "last", "other"} == {text for text in found if not text.isdigit()}


async def test_a_repeated_group_appends_what_is_new_of_it(one: Opened) -> None:
    first = await one.group(range(3), keys="abc")

    again = await one.group(range(5), keys="abcde")

    assert first == again[:3]
    assert [*"01234", "last"] == await one.until("last")


async def test_a_group_after_one_that_was_refused_is_taken(one: Opened) -> None:
    await one.store.append(draft("other"), "a")

    await asyncio.gather(one.group(["x", "y"], keys="ab"), one.group(["1", "2"], keys="cd"))

    assert ["1", "2", "last", "other"] == sorted(await one.until("last"))
    assert "y" not in await one.until("more")


async def test_of_a_group_that_is_given_up_a_beginning_is_in_the_log(one: Opened) -> None:
    given_up = asyncio.ensure_future(one.group(range(200)))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])

    found = await one.until("last")

    assert given_up.cancelled()
    assert found == [*map(str, range(len(found) - 1)), "last"]


async def test_a_closed_store_refuses_a_group(one: Opened) -> None:
    await one.store.close()

    try:
        outcomes = await one.group(range(3))
    except OSError:
        return
    assert ["failed"] * 3 == kinds(outcomes)


class TestSqlite:
    async def test_of_a_group_that_does_not_fit_into_the_file_a_beginning_is_told(
        self, opened: Open, tmp_path: Path
    ) -> None:
        one = await opened(SqliteStore(tmp_path / "log.db", synchronous="normal", size=400_000))
        count = 0
        while True:
            texts = [f"{count + n} " + "x" * 9000 for n in range(7)]
            outcomes = await one.group(texts)
            events = kinds(outcomes).count("event")
            count += events
            if events < 7:
                break

        assert ["event"] * events + ["failed"] * (7 - events) == kinds(outcomes)
        assert isinstance(outcomes[events], StorageFull)
        found = [int(entry.block.split()[1]) for entry in one.told.entries]
        assert list(range(count)) == found
        assert count == one.store.state().entries

    async def test_what_cannot_be_written_ends_its_group_alone(
        self, opened: Open, tmp_path: Path
    ) -> None:
        one = await opened(SqliteStore(tmp_path / "log.db", synchronous="normal"))
        odd = Draft(("\ud800",), b"data: odd\n\n")  # no text that SQLite takes

        group = one.store.append_group([draft(0), odd, draft(2)], [None] * 3)
        outcomes, beside = await asyncio.gather(group, one.group(["x", "y"]))

        assert ["event", "failed", "failed"] == kinds(outcomes)
        assert ["event", "event"] == kinds(beside)
        assert ["0", "last", "x", "y"] == sorted(await one.until("last"))


class TestRedis:
    @pytest.fixture
    def server(self) -> Any:
        """Run a server that this test may stop."""
        need_engine(Redis)
        engine = Redis()
        engine.start()
        yield engine
        engine.close()

    async def test_a_group_is_never_cut_into_two_batches(
        self, server: Redis, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(remote, "BATCH", 5)
        one = await opened(open_url(server.url("n")))
        await one.store.append(draft("other"), "b")
        sizes: list[int] = []
        send = one.store._send

        async def watched(batch: Any) -> None:
            sizes.append(len(batch.items))
            assert not batch.items[0].follows
            assert not batch.items[-1].more
            await send(batch)

        monkeypatch.setattr(one.store, "_send", watched)

        singles = [asyncio.ensure_future(one.store.append(draft(f"s{n}"))) for n in range(3)]
        groups = [one.group(range(n, n + 4), keys=[f"{n}", "b", "-", "-"]) for n in range(0, 40, 4)]
        large = one.group([f"l{n}" for n in range(9)])
        outcomes = await asyncio.gather(*groups, large, *singles)

        assert [["event", "reused", "failed", "failed"]] * 10 == [kinds(o) for o in outcomes[:10]]  # type: ignore[arg-type]
        assert ["event"] * 9 == kinds(outcomes[10])  # type: ignore[arg-type]
        assert max(sizes) == 9
        found = await one.until("last")
        assert [str(n) for n in range(0, 40, 4)] == [text for text in found if text.isdigit()]

    async def test_a_group_that_a_stalled_engine_does_not_answer_fails_whole(
        self, server: Redis, opened: Open
    ) -> None:
        one = await opened(open_url(server.url("n")))
        await one.group(range(3), keys="abc")
        one.store._patience = 0.5

        server.pause()
        outcomes = await one.group(range(6), keys="abcdef")
        server.resume()

        assert ["failed"] * 6 == kinds(outcomes)
        one.store._patience = DEADLINE
        again = await one.group(range(6), keys="abcdef")
        assert ["event"] * 6 == kinds(again)
        assert [*"012345", "last"] == await one.until("last")

    async def test_a_group_is_in_the_log_once_when_its_engine_dies_meanwhile(
        self, opened: Open
    ) -> None:
        need_engine(Redis)
        server = Redis("--appendonly", "yes", "--appendfsync", "always")
        server.start()
        try:
            one = await opened(open_url(server.url("n")))
            await one.store.append(draft("first"))
            texts = [f"{n}" for n in range(2000)]
            appended: list[Outcome] = []

            async def append() -> None:
                for start in range(0, len(texts), 100):
                    appended.extend(await one.group(texts[start : start + 100]))

            appending = asyncio.ensure_future(append())
            await one.told.told(300)
            server.kill()
            server.start()
            await appending

            assert ["event"] * len(texts) == kinds(appended)
            assert ["first", *texts, "last"] == await one.until("last")
        finally:
            server.close()
