"""A log in Redis through everything that befalls a server: killed, rolled back, emptied, paused, cut off, full.

The servers are real, and killed by SIGKILL. Tests that leave their server running share one, each with a namespace of
its own.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import cast

import pytest
from support.engines import Redis, need_engine, shared
from support.gates import Gate
from support.servers import DEADLINE
from support.stores import Recorder

from fastsse.broadcast.stores import Draft, KeyReused
from fastsse.broadcast.stores import _batches as batches
from fastsse.broadcast.stores import _remote as remote
from fastsse.broadcast.stores._remote import RemoteStore
from fastsse.broadcast.stores.opening import open_url
from fastsse.broadcast.stores.redis import store as redis_store
from fastsse.broadcast.stores.retention import Keep, Retention

need_engine(Redis)

_names = itertools.count()


def draft(text: object, *topics: str) -> Draft:
    return Draft(topics or ("a",), f"data: {text}\n\n".encode())


def blocks(told: Recorder) -> list[bytes]:
    return [entry.block.removeprefix(b"data: ").strip() for entry in told.entries]


@pytest.fixture
def server() -> Iterator[Redis]:
    """Run a server that this test may kill."""
    engine = Redis()
    engine.start()
    yield engine
    engine.close()


@pytest.fixture
def calm() -> Redis:
    """Give the server that all tests share."""
    return cast("Redis", shared(Redis))


Opened = tuple[RemoteStore, Recorder]
Open = Callable[..., "asyncio.Future[Opened]"]


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., object]]:
    """Give a function that opens and follows a store, which is closed in the end."""
    async with AsyncExitStack() as stack:

        async def open(
            url: str, *, tail: int = 100, keep: Keep | None = None, patience: float = DEADLINE
        ) -> Opened:
            store = cast("RemoteStore", open_url(url, retention=Retention(keep or Keep())))
            store._patience = patience
            stack.push_async_callback(store.close)
            told = Recorder()
            await store.open()
            await store.follow(told, tail)
            return store, told

        yield open


def fresh(engine: Redis) -> str:
    return engine.url(f"n{next(_names)}")


def epochs(told: Recorder) -> list[str]:
    return [log.epoch for verb, log in told.news if verb == "renewed"]  # type: ignore[attr-defined]


class TestShared:
    async def test_all_processes_are_told_all_entries_in_one_order(
        self, calm: Redis, opened: Open
    ) -> None:
        url = fresh(calm)
        stores = [await opened(url) for _ in range(3)]

        await asyncio.gather(
            *(
                store.append(draft(f"{n}-{k}"))
                for n in range(50)
                for k, (store, _) in enumerate(stores)
            )
        )

        orders = [[e.position for e in await told.told(150)] for _, told in stores]
        assert orders[0] == orders[1] == orders[2] == sorted(set(orders[0]))

    async def test_a_key_holds_in_every_process(self, calm: Redis, opened: Open) -> None:
        url = fresh(calm)
        (one, told), (two, _) = await opened(url), await opened(url)

        first = await one.append(draft("x"), "k")

        assert first == await two.append(draft("x"), "k")
        with pytest.raises(KeyReused):
            await two.append(draft("y"), "k")
        await one.append(draft("z"))
        assert [b"x", b"z"] == [*(e.block[6:-2] for e in await told.told(2))]

    async def test_one_key_at_once_from_everywhere_appends_once(
        self, calm: Redis, opened: Open
    ) -> None:
        url = fresh(calm)
        stores = [await opened(url) for _ in range(3)]

        found = await asyncio.gather(*(s.append(draft("x"), "k") for s, _ in stores * 5))

        assert 1 == len(set(found))

    async def test_two_namespaces_are_two_logs(self, calm: Redis, opened: Open) -> None:
        (one, told), (_, other) = await opened(fresh(calm)), await opened(fresh(calm))

        await one.append(draft("x"))
        await told.told(1)

        assert [] == other.news

    async def test_large_events_and_many_topics_come_whole(self, calm: Redis, opened: Open) -> None:
        store, told = await opened(fresh(calm))
        topics = tuple(f"t{n}/ü" for n in range(100))

        await store.append(Draft(topics, b"data: " + b"x" * 2**20 + b"\n\n"))

        [entry] = await told.told(1)
        assert (topics, 2**20 + 8) == (entry.topics, len(entry.block))

    async def test_a_short_tail_of_a_long_log(self, calm: Redis, opened: Open) -> None:
        url = fresh(calm)
        store, _ = await opened(url)
        positions = await asyncio.gather(*(store.append(draft(n)) for n in range(2500)))

        _, told = await opened(url, tail=1500)

        assert [("lost", positions[999])] == told.news[:1]
        assert positions[1000:] == [entry.position for entry in told.entries]

    @pytest.mark.parametrize("large", [0, 95, 99])
    async def test_a_start_takes_a_tail_of_so_many_bytes_at_most(
        self, calm: Redis, opened: Open, monkeypatch: pytest.MonkeyPatch, large: int
    ) -> None:
        monkeypatch.setattr(redis_store, "_TAIL", 20_000)
        url = fresh(calm)
        store, _ = await opened(url)
        texts = ["x" * (50_000 if n == large else 1000) for n in range(100)]
        positions = [await store.append(draft(text)) for text in texts]

        reader, told = await opened(url)

        count = min(99 - large, 20_000 // 1008)
        assert [("lost", positions[99 - count])] == told.news[:1]
        assert positions[100 - count :] == [entry.position for entry in told.entries]
        page = await reader.read(("a",), 0, positions[100 - count] if count else 2**62 - 1, 10**7)  # type: ignore[attr-defined]
        assert positions[: 100 - count] == [entry.position for entry in page.entries]
        last = await store.append(draft("last"))
        assert last == (await told.told(count + 1))[-1].position


class TestServerKilled:
    async def test_with_its_data_nothing_is_lost_and_nothing_comes_twice(
        self, server: Redis, opened: Open
    ) -> None:
        (one, told), (two, other) = await opened(server.url("n")), await opened(server.url("n"))
        before = [await one.append(draft(n)) for n in range(10)]

        server.kill()
        waiting = [
            asyncio.ensure_future(s.append(draft(f"w{n}"))) for n, s in enumerate((one, two))
        ]
        await told.until(lambda told: ("stalled", True) in told.news)
        server.start()
        positions = before + await asyncio.gather(*waiting)

        for recorder in (told, other):
            assert sorted(positions) == [e.position for e in await recorder.told(12)]
            assert [] == epochs(recorder)
            assert ["stalled", "stalled"] == [v for v, _ in recorder.news if v not in ("entry",)]
        assert max(before) < min(positions[10:])

    @pytest.mark.parametrize("change", ["put_back", "empty"])
    async def test_with_less_than_it_had_every_process_is_told_another_log(
        self, server: Redis, opened: Open, change: str
    ) -> None:
        stores = [await opened(server.url("n")) for _ in range(3)]
        first = await stores[0][0].append(draft("kept"))
        server.save()
        gone = [await stores[n][0].append(draft(f"gone{n}")) for n in range(3)]
        for _, told in stores:
            await told.told(4)

        server.kill()
        getattr(server, change)()
        server.start()
        for _, told in stores:
            await told.until(epochs)
        after = [await store.append(draft("after")) for store, _ in stores]

        names = {epochs(told)[-1] for _, told in stores}
        assert 1 == len(names)
        for _, told in stores:
            found = [entry.position for entry in await told.told(7)]
            assert [first, *gone, *sorted(after)] == found
            assert max(gone) < min(after)

    async def test_an_append_that_was_lost_with_its_key_can_be_made_again(
        self, server: Redis, opened: Open
    ) -> None:
        store, told = await opened(server.url("n"))
        server.save()
        first = await store.append(draft("x"), "k")
        await told.told(1)

        server.kill()
        server.put_back()
        server.start()
        second = await store.append(draft("x"), "k")

        assert first < second
        assert second == (await told.told(2))[-1].position
        assert second == await store.append(draft("x"), "k")

    async def test_a_process_that_missed_the_rollback_finds_it_by_its_own_memory(
        self, server: Redis, opened: Open
    ) -> None:
        (old, told), (_, _) = await opened(server.url("n")), await opened(server.url("n"))
        await old.append(draft("kept"))
        server.save()
        await old.append(draft("gone"))
        await told.told(2)
        before = old._epoch  # type: ignore[attr-defined]
        await old.close()
        server.kill()
        server.put_back()
        server.start()
        new, other = await opened(server.url("other-process-that-knows-nothing"))
        new, other = await opened(server.url("n"))
        for n in range(3):
            await new.append(draft(f"between{n}"))

        log = await old.open()
        await other.until(epochs)

        assert log.epoch == epochs(other)[-1]
        assert log.epoch != before

    async def test_a_process_that_starts_after_a_rollback_reports_nothing_from_before(
        self, server: Redis, opened: Open
    ) -> None:
        store, told = await opened(server.url("n"))
        kept = await store.append(draft("kept"))
        server.save()
        await store.append(draft("gone"))
        await told.told(2)
        server.kill()
        server.put_back()
        server.start()
        after = await store.append(draft("after"))

        _, later = await opened(server.url("n"))

        [(verb, to), *entries] = later.news
        assert ("lost", [("entry", after)]) == (verb, entries)
        assert kept < to < after  # type: ignore[operator]

    async def test_a_log_that_is_deleted_under_everybody_is_another_log(
        self, server: Redis, opened: Open
    ) -> None:
        (one, told), (_, other) = await opened(server.url("n")), await opened(server.url("n"))
        first = await one.append(draft("x"))
        await other.told(1)

        server.ask("FLUSHALL")
        second = await one.append(draft("y"))

        assert first < second
        for recorder in (told, other):
            assert second == (await recorder.told(2))[-1].position
            assert epochs(told) == epochs(recorder)

    async def test_a_lagging_replica_that_takes_over_is_another_log(
        self, server: Redis, opened: Open
    ) -> None:
        replica = Redis()
        try:
            replica.start()
            async with Gate(server.port) as gate:
                stores = [await opened(_by(gate, server.url("n"))) for _ in range(2)]
                one = stores[0][0]
                kept = await one.append(draft("kept"))
                replica.ask("REPLICAOF", "127.0.0.1", str(server.port))
                await _until(lambda: replica.ask("EXISTS", "{n}:stream") == b":1")
                replica.ask("REPLICAOF", "NO", "ONE")
                gone = await one.append(draft("gone"))
                for _, told in stores:
                    await told.told(2)

                gate.target = replica.port
                gate.cut()
                server.kill()
                for _, told in stores:
                    await told.until(epochs)
                after = await one.append(draft("after"))

                for _, told in stores:
                    assert [kept, gone, after] == [e.position for e in await told.told(3)]
                assert gone < after
        finally:
            replica.close()


def _by(gate: Gate, url: str) -> str:
    """Lead a URL through a gate."""
    head, _, rest = url.partition("127.0.0.1:")
    return f"{head}127.0.0.1:{gate.port}/{rest.partition('/')[2]}"


async def _until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not done():
            await asyncio.sleep(0.01)


class TestContactLost:
    async def test_an_append_whose_answer_was_lost_is_found_and_not_made_twice(
        self, calm: Redis, opened: Open
    ) -> None:
        async with Gate(calm.port) as gate:
            store, told = await opened(_by(gate, fresh(calm)))
            await store.append(draft("before"))

            gate.swallow = b"data: x"
            position = await store.append(draft("x"))
            last = await store.append(draft("after"))

            assert 1 == gate.swallowed
            assert [b"before", b"x", b"after"] == [e.block[6:-2] for e in await told.told(3)]
            assert [position, last] == [e.position for e in told.entries[1:]]

    async def test_an_append_that_never_left_is_made_later(self, calm: Redis, opened: Open) -> None:
        async with Gate(calm.port) as gate:
            store, told = await opened(_by(gate, fresh(calm)))
            gate.shut()
            await told.until(lambda told: ("stalled", True) in told.news)

            waiting = asyncio.ensure_future(store.append(draft("x")))
            await asyncio.sleep(0)
            gate.open()

            assert await waiting == (await told.told(1))[0].position
            assert ("stalled", False) in told.news

    async def test_what_was_missed_is_reported_in_order(self, calm: Redis, opened: Open) -> None:
        url = fresh(calm)
        async with Gate(calm.port) as gate:
            (_, told), (other, _) = await opened(_by(gate, url)), await opened(url)
            gate.shut()
            positions = [await other.append(draft(n)) for n in range(20)]
            gate.open()

            assert positions == [e.position for e in await told.told(20)]
            assert [] == [verb for verb, _ in told.news if verb in ("lost", "renewed")]

    async def test_what_was_trimmed_meanwhile_is_lost_exactly(
        self, calm: Redis, opened: Open
    ) -> None:
        url = fresh(calm)
        keep = Keep(events=100)
        async with Gate(calm.port) as gate:
            (_, told), (other, _) = await opened(_by(gate, url)), await opened(url, keep=keep)
            gate.shut()
            positions: list[int] = []
            for n in range(10):
                positions += await asyncio.gather(*(other.append(draft(n)) for _ in range(100)))
            gate.open()
            await told.until(
                lambda told: told.entries and told.entries[-1].position == positions[-1]
            )

        [lost] = [value for verb, value in told.news if verb == "lost"]
        found = [entry.position for entry in told.entries]
        gone = [position for position in positions if position <= lost]  # type: ignore[operator]
        assert 700 < len(gone) < 1000
        assert positions == gone + found

    async def test_a_log_that_was_trimmed_to_nothing_meanwhile_is_lost_to_its_end(
        self, calm: Redis, opened: Open
    ) -> None:
        url = fresh(calm)
        async with Gate(calm.port) as gate:
            (_, told), (other, _) = await opened(_by(gate, url)), await opened(url)
            gate.shut()
            last = [await other.append(draft(n)) for n in range(3)][-1]
            calm.ask("XTRIM", f"{{{url.rpartition('=')[2]}}}:stream", "MAXLEN", "0")
            gate.open()
            await told.until(lambda told: any(verb == "lost" for verb, _ in told.news))
            after = await other.append(draft("after"))

            assert [after] == [entry.position for entry in await told.told(1)]
        [lost] = [value for verb, value in told.news if verb == "lost"]
        assert last <= lost < after  # type: ignore[operator]

    async def test_an_entry_that_somebody_deletes_before_it_was_read_is_lost_alone(
        self, calm: Redis, opened: Open
    ) -> None:
        url = fresh(calm)
        async with Gate(calm.port) as gate:
            (_, told), (other, _) = await opened(_by(gate, url)), await opened(url)
            gate.shut()
            one, two, three, four = [await other.append(draft(n)) for n in range(4)]
            calm.ask("XDEL", f"{{{url.rpartition('=')[2]}}}:stream", f"{two >> 18}-{two & 0x3FFFF}")
            gate.open()

            assert [one, three, four] == [entry.position for entry in await told.told(3)]
        [lost] = [value for verb, value in told.news if verb == "lost"]
        assert two <= lost < three  # type: ignore[operator]

    async def test_appends_give_up_after_a_while_and_the_store_recovers(
        self, server: Redis, opened: Open
    ) -> None:
        store, told = await opened(server.url("n"), patience=0.5)
        await store.append(draft("x"))

        server.pause()
        with pytest.raises(OSError, match=r"did not answer within 0\.5 s: nobody knows"):
            await store.append(draft("y"))
        server.resume()

        store._patience = DEADLINE
        last = await store.append(draft("z"))
        await told.until(lambda told: told.entries and told.entries[-1].position == last)
        assert blocks(told) in ([b"x", b"z"], [b"x", b"y", b"z"])

    async def test_only_so_many_appends_wait(
        self, server: Redis, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, _ = await opened(server.url("n"))
        await store.append(draft("x"))
        monkeypatch.setattr(remote, "QUEUED", 5)
        server.pause()

        waiting = [asyncio.ensure_future(store.append(draft(n))) for n in range(12)]
        await _until(lambda: any(one.done() for one in waiting))
        refused = [one for one in waiting if one.done()]
        server.resume()

        assert {"too many appends wait for the store: nothing was appended"} == {
            str(one.exception()) for one in refused
        }
        await asyncio.gather(*waiting, return_exceptions=True)
        assert 12 - len(refused) == sum(one.exception() is None for one in waiting) >= 5

    async def test_a_store_that_is_down_at_the_start_can_be_opened_later(
        self, server: Redis
    ) -> None:
        store = open_url(server.url("n"))
        server.kill()

        with pytest.raises(ConnectionError):
            await store.open()
        server.start()

        assert 0 == (await store.open()).head
        await store.close()


class TestServerRefuses:
    async def test_a_full_server_refuses_appends_and_recovers(
        self, server: Redis, opened: Open
    ) -> None:
        store, told = await opened(server.url("n"))
        server.ask("CONFIG", "SET", "maxmemory", "1")

        with pytest.raises(OSError, match="no room") as caught:
            await store.append(draft("x"))
        server.ask("CONFIG", "SET", "maxmemory", "0")
        await store.append(draft("y"))

        assert errno.ENOSPC == caught.value.errno
        assert [b"y"] == [e.block[6:-2] for e in await told.told(1)]

    async def test_a_server_that_became_a_replica_takes_nothing_until_it_is_a_master_again(
        self, server: Redis, opened: Open
    ) -> None:
        store, told = await opened(server.url("n"), patience=0.5)
        server.ask("REPLICAOF", "127.0.0.1", "1")

        with pytest.raises(OSError, match="within"):
            await store.append(draft("x"))
        server.ask("REPLICAOF", "NO", "ONE")
        store._patience = DEADLINE
        await store.append(draft("y"))

        assert [b"y"] == [e.block[6:-2] for e in await told.told(1)]

    async def test_a_key_of_another_type_is_an_error_that_says_so(self, calm: Redis) -> None:
        url = fresh(calm)
        calm.ask("SET", f"{{{url.rpartition('=')[2]}}}:stream", "x")

        with pytest.raises(OSError, match="WRONGTYPE"):
            await open_url(url).open()

    async def test_scripts_that_were_flushed_are_loaded_again(
        self, server: Redis, opened: Open
    ) -> None:
        store, told = await opened(server.url("n"))
        await store.append(draft("x"))

        server.ask("SCRIPT", "FLUSH")
        await store.append(draft("y"))

        assert [b"x", b"y"] == [e.block[6:-2] for e in await told.told(2)]


class TestForeignEntries:
    @pytest.mark.parametrize(
        "fields",
        [
            ("colour", "red"),
            ("n", "1 2 x.3"),
            ("n", "x", "e", "1\na\n\ndata: x\n\n"),
            ("e", "1\na\n\ndata: x\n\n", "n", "2 0 x.3"),
            ("epoch", "no-log-of-ours"),
            ("a", "1", "b", "2", "c", "3"),
        ],
    )
    async def test_what_is_not_ours_is_passed_over(
        self, calm: Redis, opened: Open, fields: tuple[str, ...]
    ) -> None:
        url = fresh(calm)
        store, told = await opened(url)
        stream = f"{{{url.rpartition('=')[2]}}}:stream"
        positions = [await store.append(draft("x"))]

        calm.ask("XADD", stream, "*", *fields)
        calm.ask("XADD", stream, "*", *fields)
        positions.append(await store.append(draft("y")))

        assert positions == [e.position for e in await told.told(2)]
        assert [] == [verb for verb, _ in told.news if verb != "entry"]
        assert positions == [
            e.position for e in (await store.read(("a",), 0, 2**62 - 1, 1000)).entries
        ]  # type: ignore[attr-defined]
        _, later = await opened(url)
        assert positions == [e.position for e in later.entries]

    async def test_entries_of_a_later_release_are_passed_over(
        self, calm: Redis, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = fresh(calm)
        (later, _), (store, told) = await opened(url), await opened(url)
        with monkeypatch.context() as patch:
            patch.setattr(batches, "write_entry", lambda draft: b"2\n{}\n" + draft.block)
            await later.append(draft("x"))
        last = await later.append(draft("y"))

        assert [last] == [entry.position for entry in await told.told(1)]
        assert 1 == store.skipped
        assert ["entry"] == [verb for verb, _ in told.news]

    async def test_the_first_one_is_logged_and_all_are_counted(
        self, calm: Redis, opened: Open, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = fresh(calm)
        store, told = await opened(url)
        with caplog.at_level(logging.WARNING, "fastsse.broadcast"):
            for _ in range(3):
                calm.ask("XADD", f"{{{url.rpartition('=')[2]}}}:stream", "*", "colour", "red")
            await store.append(draft("x"))
            await told.told(1)

        assert 3 == store.skipped
        assert 1 == len([one for one in caplog.records if "not ours" in one.message])


class TestPositions:
    async def test_positions_grow_when_one_millisecond_has_too_many_entries(
        self, calm: Redis, opened: Open
    ) -> None:
        url = fresh(calm)
        store, told = await opened(url)
        stream = f"{{{url.rpartition('=')[2]}}}:stream"
        # A clock that stepped back by an hour: Redis goes on counting within the newest millisecond.
        calm.ask("XADD", stream, f"{_hour_from_now()}-261000", "colour", "red")

        positions = [await store.append(draft(n)) for n in range(5)]

        assert positions == sorted(set(positions))
        assert positions == [e.position for e in await told.told(5)]
        assert positions[-1] >> 18 == positions[0] >> 18 or positions[1] >> 18 > positions[0] >> 18


def _hour_from_now() -> int:
    return int((time.time() + 3600) * 1000)


class TestRetention:
    async def test_a_count_of_events_is_kept_about(self, calm: Redis, opened: Open) -> None:
        store, _ = await opened(fresh(calm), keep=Keep(events=500))
        for _ in range(10):
            await asyncio.gather(*(store.append(draft(n)) for n in range(300)))

        page = await store.read(("a",), 0, 2**62 - 1, 10**6)  # type: ignore[attr-defined]

        assert 500 <= len(page.entries) < 700
        assert 0 < page.floor < page.entries[0].position

    async def test_a_count_of_bytes_is_kept_about(self, calm: Redis, opened: Open) -> None:
        store, _ = await opened(fresh(calm), keep=Keep(bytes=100_000))
        for _ in range(20):
            await asyncio.gather(*(store.append(draft("x" * 190)) for n in range(100)))

        page = await store.read(("a",), 0, 2**62 - 1, 10**6)  # type: ignore[attr-defined]

        assert 400 < len(page.entries) < 800  # of 205 bytes

    @pytest.mark.parametrize("foreign", [0, 3])
    async def test_a_count_of_bytes_is_kept_also_behind_a_mark_and_what_is_not_ours(
        self, calm: Redis, opened: Open, foreign: int
    ) -> None:
        url = fresh(calm)
        stream, log = (f"{{{url.rpartition('=')[2]}}}:{name}" for name in ("stream", "log"))
        store, told = await opened(url, keep=Keep(bytes=100_000))
        await store.append(draft("lost"))
        calm.ask("DEL", stream, log)
        await store.append(draft("x"))  # behind the mark of another log
        assert "renewed" in [verb for verb, _ in told.news]
        for _ in range(foreign):
            calm.ask("XADD", stream, "*", "not", "ours")

        for _ in range(20):
            await asyncio.gather(*(store.append(draft("x" * 190)) for n in range(100)))

        assert 400 < int(calm.ask("XLEN", stream)[1:]) < 800  # of 205 bytes

    async def test_old_entries_go(self, calm: Redis, opened: Open) -> None:
        url = fresh(calm)
        old, _ = await opened(url)
        await asyncio.gather(*(old.append(draft(n)) for n in range(300)))
        store, _ = await opened(url, keep=Keep(seconds=0.2))

        async with asyncio.timeout(DEADLINE):
            floor = 0
            while not floor:
                await store.append(draft("x"))
                floor = (await store.read(("a",), 0, 2**62 - 1, 10**6)).floor  # type: ignore[attr-defined]

        assert floor < (await store.append(draft("y")))
