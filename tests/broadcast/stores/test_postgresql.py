"""A log in PostgreSQL through everything that befalls a server: killed, rolled back, emptied, cut off, full, restored.

The servers are real, and killed by SIGKILL. Tests that leave their server running share one, each with a namespace of
its own.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
from support.engines import need_engine, shared
from support.gates import Gate
from support.postgres import Postgres
from support.servers import DEADLINE
from support.stores import Recorder

from fastsse.broadcast import SettingError
from fastsse.broadcast.stores import Draft, KeyReused, StoreUnusable
from fastsse.broadcast.stores.opening import open_url
from fastsse.broadcast.stores.retention import Keep, Retention

need_engine(Postgres)
import asyncpg  # noqa: E402 - which is there now

from fastsse.broadcast.stores.postgresql import PostgresStore  # noqa: E402

_numbers = itertools.count()
Opened = tuple[PostgresStore, Recorder]
Open = Callable[..., Awaitable[Opened]]


def draft(text: object, *topics: str) -> Draft:
    return Draft(topics or ("a",), f"data: {text}\n\n".encode())


def texts(told: Recorder) -> list[str]:
    return [entry.block[6:-2].decode() for entry in told.entries]


def epochs(told: Recorder) -> list[str]:
    return [log.epoch for verb, log in told.news if verb == "renewed"]  # type: ignore[attr-defined]


def losses(told: Recorder) -> list[object]:
    return [value for verb, value in told.news if verb == "lost"]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Run a server that tests may kill, and leave running."""
    engine = Postgres()
    engine.start()
    yield engine
    engine.close()


@pytest.fixture
def calm() -> Postgres:
    """Give the server that all tests share."""
    return cast("Postgres", shared(Postgres))


@pytest.fixture
def name() -> str:
    """Give a namespace that no other test has."""
    return f"n{next(_numbers)}"


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Give a function that opens and follows a store, which is closed in the end."""
    async with AsyncExitStack() as stack:

        async def open(
            url: str, *, tail: int = 100, keep: Keep | None = None, patience: float = DEADLINE
        ) -> Opened:
            store = cast("PostgresStore", open_url(url, retention=Retention(keep or Keep())))
            store._patience = patience
            stack.push_async_callback(store.close)
            told = Recorder()
            await store.open()
            await store.follow(told, tail)
            return store, told

        yield open


async def ask(engine: Postgres, sql: str, *values: object, user: str = "") -> Any:
    """Run a statement on a connection of its own, and return the first value of its answer."""
    url = engine.dsn.replace("fastsse@", f"{user}@") if user else engine.dsn
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql, *values) if values else await connection.execute(sql)
    finally:
        await connection.close()


def by(gate: Gate, url: str) -> str:
    """Lead a URL through a gate."""
    head, _, rest = url.partition("127.0.0.1:")
    return f"{head}127.0.0.1:{gate.port}/{rest.partition('/')[2]}"


class TestShared:
    async def test_all_processes_are_told_all_entries_in_one_order(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        stores = [await opened(calm.url(name)) for _ in range(3)]

        await asyncio.gather(
            *(s.append(draft(f"{n}-{k}")) for n in range(50) for k, (s, _) in enumerate(stores))
        )

        orders = [[e.position for e in await told.told(150)] for _, told in stores]
        assert orders[0] == orders[1] == orders[2] == sorted(set(orders[0]))

    async def test_a_key_holds_in_every_process(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        (one, told), (two, _) = await opened(calm.url(name)), await opened(calm.url(name))

        first = await one.append(draft("x"), "k\0ü")

        assert first == await two.append(draft("x"), "k\0ü")
        with pytest.raises(KeyReused):
            await two.append(draft("y"), "k\0ü")
        await one.append(draft("z"))
        await told.told(2)
        assert ["x", "z"] == texts(told)

    async def test_one_key_at_once_from_everywhere_appends_once(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        stores = [await opened(calm.url(name)) for _ in range(3)]

        found = await asyncio.gather(*(s.append(draft("x"), "k") for s, _ in stores * 5))

        assert 1 == len(set(found))

    async def test_two_namespaces_are_two_logs(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        one, told = await opened(calm.url(name))
        _, other = await opened(calm.url(f"{name}_other"))

        await one.append(draft("x"))
        await told.told(1)

        assert [] == other.news

    async def test_large_events_and_many_topics_come_whole(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        (store, _), (_, told) = await opened(calm.url(name)), await opened(calm.url(name))
        topics = tuple(f"t{n}/ü" for n in range(100))

        await store.append(Draft(topics, b"data: " + b"x" * 2**20 + b"\n\n"))

        [entry] = await told.told(1)
        assert (topics, 2**20 + 8) == (entry.topics, len(entry.block))

    async def test_a_short_tail_of_a_long_log(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        store, _ = await opened(calm.url(name))
        positions = await asyncio.gather(*(store.append(draft(n)) for n in range(2500)))

        _, told = await opened(calm.url(name), tail=1500)

        assert [("lost", positions[999])] == told.news[:1]
        assert positions[1000:] == [entry.position for entry in told.entries]

    async def test_many_processes_create_the_log_at_once(self, calm: Postgres, name: str) -> None:
        stores = [open_url(calm.url(name)) for _ in range(5)]

        logs = await asyncio.gather(*(store.open() for store in stores))

        assert 1 == len({log.epoch for log in logs})
        await asyncio.gather(*(store.close() for store in stores))

    async def test_a_lost_bell_costs_time_and_no_event(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        (one, _), (two, told) = await opened(calm.url(name)), await opened(calm.url(name))
        await one.append(draft("x"))
        await told.told(1)

        reader = cast("Any", two._reader)
        for channel in (f"{name}_log", f"{name}_outbox"):
            reader._connection._listeners.pop(channel)  # as if no notification had come
        await one.append(draft("y"))

        await told.told(2)
        assert ["x", "y"] == texts(told)


class TestOrder:
    async def test_nobody_passes_over_an_append_that_commits_late(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        (one, _), (_, told) = await opened(calm.url(name)), await opened(calm.url(name))
        [(epoch,)] = [(one._epoch,)]
        late = await asyncpg.connect(calm.dsn)
        sql = f"SELECT positions[1] FROM {name}.append($1, $2, $3, $4, NULL, 60)"
        values = (epoch, b"late", ["a"], [b"1\na\n\ndata: late\n\n"])

        open_transaction = late.transaction()
        await open_transaction.start()
        first = await late.fetchval(sql, *values)
        waiting = asyncio.ensure_future(one.append(draft("next")))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        assert [] == told.entries
        await open_transaction.commit()

        assert first < await waiting
        await told.told(2)
        assert ["late", "next"] == texts(told)
        await late.close()

    async def test_an_append_that_is_rolled_back_leaves_nothing(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        store, told = await opened(calm.url(name))
        await store.append(draft("x"))
        await ask(
            calm,
            f"BEGIN; SELECT {name}.append('{store._epoch}', 'b', ARRAY['a'], ARRAY['x'::bytea], NULL, 60); ROLLBACK",
        )

        await store.append(draft("y"))

        await told.told(2)
        assert ["x", "y"] == texts(told)
        assert [] == losses(told)


class TestServerKilled:
    async def test_with_its_data_nothing_is_lost_and_nothing_comes_twice(
        self, server: Postgres, name: str, opened: Open
    ) -> None:
        (one, told), (two, other) = await opened(server.url(name)), await opened(server.url(name))
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
            assert ["stalled", "stalled"] == [v for v, _ in recorder.news if v != "entry"]
        assert max(before) < min(positions[10:])

    @pytest.mark.parametrize("change", ["put_back", "empty"])
    async def test_with_less_than_it_had_every_process_is_told_another_log(
        self, server: Postgres, name: str, opened: Open, change: str
    ) -> None:
        stores = [await opened(server.url(name)) for _ in range(3)]
        first = await stores[0][0].append(draft("kept"))
        for _, told in stores:
            await told.told(1)
        server.kill()
        server.save()
        server.start()
        gone = [await stores[n][0].append(draft(f"gone{n}"), f"k{n}") for n in range(3)]
        for _, told in stores:
            await told.told(4)

        server.kill()
        getattr(server, change)()
        server.start()
        for _, told in stores:
            await told.until(epochs)
        after = [await s.append(draft(f"gone{n}"), f"k{n}") for n, (s, _) in enumerate(stores)]

        assert 1 == len({epochs(told)[-1] for _, told in stores})
        _, late = await opened(server.url(name))
        assert sorted(after) == [entry.position for entry in late.entries]
        for _, told in stores:
            found = [entry.position for entry in await told.told(7)]
            assert [first, *gone, *sorted(after)] == found
        assert change == "empty" or max(gone) < min(after)

    async def test_no_position_is_given_twice_although_nobody_knew_what_was_lost(
        self, server: Postgres, name: str
    ) -> None:
        store = open_url(server.url(name))
        await store.open()
        await store.append(draft("kept"))
        await store.close()
        server.kill()
        server.save()
        server.start()
        await store.open()
        gone = [await store.append(draft(n)) for n in range(3)]
        await store.close()

        server.kill()
        server.put_back()
        server.start()
        await store.open()

        assert max(gone) < await store.append(draft("after"))
        await store.close()


class TestRestored:
    """The log changes under processes that stay connected."""

    @pytest.mark.parametrize(
        "change",
        [
            "DELETE FROM n.log WHERE position > (SELECT min(position) FROM n.log)",
            "UPDATE n.log SET at = now()",
            "DROP SCHEMA n CASCADE",
            "TRUNCATE n.log",
            "UPDATE n.meta SET epoch = 'other', generation = 2, mark = (SELECT max(position) FROM n.log)",
            "UPDATE n.meta SET epoch = 'older', generation = 0",
        ],
    )
    async def test_every_process_is_told_another_log(
        self, calm: Postgres, name: str, opened: Open, change: str
    ) -> None:
        stores = [await opened(calm.url(name)) for _ in range(2)]
        for n in range(3):
            await stores[0][0].append(draft(n))
        for _, told in stores:
            await told.told(3)

        await ask(calm, change.replace("n.", f"{name}.").replace("SCHEMA n ", f"SCHEMA {name} "))
        for _, told in stores:
            await told.until(epochs)
        await stores[1][0].append(draft("after"))

        for _, told in stores:
            await told.told(4)
            assert ["0", "1", "2", "after"] == texts(told)
        assert 1 == len({epochs(told)[-1] for _, told in stores})
        assert "older" not in epochs(stores[0][1])


class TestContactLost:
    async def test_an_append_whose_answer_was_lost_is_found_and_not_made_twice(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        async with Gate(calm.port) as gate:
            store, told = await opened(by(gate, calm.url(name)))
            await store.append(draft("before"))

            gate.swallow = b"data: x"
            position = await store.append(draft("x"))
            last = await store.append(draft("after"))

            assert 1 == gate.swallowed
            await told.told(3)
            assert ["before", "x", "after"] == texts(told)
            assert [position, last] == [e.position for e in told.entries[1:]]

    async def test_what_was_missed_is_reported_in_order(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        async with Gate(calm.port) as gate:
            _, told = await opened(by(gate, calm.url(name)))
            other, _ = await opened(calm.url(name))
            gate.shut()
            positions = [await other.append(draft(n)) for n in range(20)]
            gate.open()

            assert positions == [e.position for e in await told.told(20)]
            assert [] == losses(told) == epochs(told)

    @pytest.mark.parametrize("kept", [0, 1, 7])
    async def test_what_was_trimmed_meanwhile_is_lost_exactly(
        self, calm: Postgres, name: str, opened: Open, kept: int
    ) -> None:
        async with Gate(calm.port) as gate:
            _, told = await opened(by(gate, calm.url(name)))
            keep = Keep(events=kept) if kept else Keep(seconds=1e-6)
            other, _ = await opened(calm.url(name), keep=keep)
            await told.until(lambda _: other._reader is not None)
            gate.shut()
            positions = [await other.append(draft(n)) for n in range(20)]
            while await ask(calm, f"SELECT count(*) FROM {name}.log WHERE $1", True) > kept:
                await other.trim()
            gate.open()

            await told.until(losses)
            await told.told(kept)
            assert positions[19 - kept] == losses(told)[-1]
            assert positions[20 - kept :] == [e.position for e in told.entries]

    async def test_appends_give_up_after_a_while_and_the_store_recovers(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        async with Gate(calm.port) as gate:
            store, told = await opened(by(gate, calm.url(name)), patience=0.5)
            await store.append(draft("x"))
            gate.shut()

            with pytest.raises(OSError, match=r"did not answer within 0\.5 s"):
                await store.append(draft("y"))
            gate.open()
            store._patience = DEADLINE
            last = await store.append(draft("z"))

            await told.until(lambda told: told.entries[-1].position == last)
            assert texts(told) in (["x", "z"], ["x", "y", "z"])

    async def test_a_store_that_is_down_at_the_start_can_be_opened_later(
        self, calm: Postgres, name: str
    ) -> None:
        async with Gate(calm.port) as gate:
            store = open_url(by(gate, calm.url(name)))
            gate.shut()

            with pytest.raises(ConnectionError):
                await store.open()
            gate.open()

            assert 0 == (await store.open()).head
            await store.close()


class TestServerRefuses:
    @pytest.mark.parametrize("code", ["53100", "53200"])
    async def test_a_full_server_refuses_appends_and_recovers(
        self, calm: Postgres, name: str, opened: Open, code: str
    ) -> None:
        store, told = await opened(calm.url(name))
        await ask(
            calm,
            f"""CREATE FUNCTION {name}.filled() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '{code}'; END $$;
            CREATE TRIGGER filled BEFORE INSERT ON {name}.log EXECUTE FUNCTION {name}.filled()""",
        )

        with pytest.raises(OSError, match="no room") as caught:
            await store.append(draft("x"))
        await ask(calm, f"DROP TRIGGER filled ON {name}.log")
        await store.append(draft("y"))

        assert errno.ENOSPC == caught.value.errno
        await told.told(1)
        assert ["y"] == texts(told)

    async def test_tables_of_a_later_release_are_left_alone(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        await opened(calm.url(name))
        await ask(calm, f"UPDATE {name}.meta SET version = 2")

        with pytest.raises(StoreUnusable, match="later release"):
            await open_url(calm.url(name)).open()

    async def test_a_store_closes_while_one_of_its_chores_fails(
        self, calm: Postgres, name: str, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, _ = await opened(calm.url(name))
        begun = asyncio.Event()

        async def fail() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise OSError("contact was lost in that moment")

        monkeypatch.setattr(store, "_let_go", fail)
        async with asyncio.timeout(DEADLINE):
            await begun.wait()
            await store.close()

    async def test_functions_of_an_earlier_release_are_replaced(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        await opened(calm.url(name))
        await ask(calm, f"DROP FUNCTION {name}.trim; UPDATE {name}.meta SET functions = 0")

        store, _ = await opened(calm.url(name))

        assert 0 == await store.trim()

    async def test_a_database_of_another_encoding_is_refused(self, calm: Postgres) -> None:
        await ask(calm, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")

        with pytest.raises(StoreUnusable, match="LATIN1"):
            await open_url(calm.url("n").replace("/postgres?", "/latin?")).open()

    async def test_a_role_that_may_not_create_the_log_is_told_what_it_needs(
        self, calm: Postgres, name: str
    ) -> None:
        await ask(calm, f"CREATE ROLE r{name} LOGIN")

        with pytest.raises(StoreUnusable, match="grant CREATE"):
            await open_url(calm.url(name).replace("fastsse@", f"r{name}@")).open()

    async def test_a_password_is_in_no_error(self, calm: Postgres) -> None:
        url = calm.url("n").replace("fastsse@", "nobody:secret-word@")

        with pytest.raises(ConnectionError, match="nobody") as caught:
            await open_url(url).open()

        assert "secret-word" not in repr(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ("namespace=A", "namespace"),
            ("namespace=1a", "namespace"),
            ("namespace=a%22b", "namespace"),
            ("namespace=pg_x", "pg_"),
            ("namespace=" + "a" * 49, "48"),
            ("keys=0", "keys"),
            ("colour=red", "colour"),
        ],
    )
    def test_a_url_that_cannot_be_used_is_refused(self, options: str, said: str) -> None:
        with pytest.raises(SettingError, match=said) as caught:
            open_url(f"postgresql://u:secret-word@h/db?{options}")

        assert "secret-word" not in str(caught.value)

    async def test_an_option_that_the_driver_refuses_is_an_error_without_the_url(
        self, calm: Postgres
    ) -> None:
        url = calm.url("n").replace("fastsse@", "fastsse:secret-word@")

        with pytest.raises(ConnectionError) as caught:
            await open_url(f"{url}&sslmode=maybe").open()

        assert "secret-word" not in repr(caught.value)

    async def test_settings_of_the_database_change_nothing(
        self, calm: Postgres, name: str, opened: Open
    ) -> None:
        await ask(
            calm,
            f"CREATE ROLE r{name} LOGIN SUPERUSER; "
            f"ALTER ROLE r{name} SET default_transaction_isolation = serializable; "
            f"ALTER ROLE r{name} SET search_path = {name}; ALTER ROLE r{name} SET bytea_output = escape",
        )
        url = calm.url(name).replace("fastsse@", f"r{name}@")
        stores = [await opened(url) for _ in range(3)]

        await asyncio.gather(*(s.append(draft(n), f"k{n}") for n in range(50) for s, _ in stores))

        for _, told in stores:
            assert 50 == len(await told.told(50))


class TestForeignEntries:
    @pytest.mark.parametrize(
        "entry", [b"", b"x", b"2\na\n\ndata: x\n\n", b"1\n\xff\n\ndata: x\n\n"]
    )
    async def test_what_is_not_ours_is_passed_over(
        self, calm: Postgres, name: str, opened: Open, entry: bytes
    ) -> None:
        store, told = await opened(calm.url(name))
        first = await store.append(draft("x"))
        for _ in range(2):
            await ask(calm, f"SELECT {name}.publish($1, $2)", "a", entry)

        last = await store.append(draft("y"))
        await told.told(2)

        assert ["x", "y"] == texts(told)
        assert [("entry", first), ("entry", last)] == told.news
        assert 2 == store.skipped
        page = await store.read(("a",), 0, 2**62 - 1, 1000)
        assert [first, last] == [e.position for e in page.entries]
