"""Publishing within an application's own transaction: delivered if and only if that transaction commits."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from support.engines import need_engine, shared
from support.postgres import Postgres
from support.stores import Recorder

from fastsse import InvalidField
from fastsse.broadcast.stores import Draft, KeyReused
from fastsse.broadcast.stores.opening import open_url

need_engine(Postgres)
asyncpg = pytest.importorskip("asyncpg")

from fastsse.broadcast.stores.postgresql import PostgresStore  # noqa: E402
from fastsse.broadcast.stores.postgresql.outbox import MAX_BLOCK  # noqa: E402

_numbers = itertools.count()
STORES = Path(__file__).parents[3] / "docs" / "stores.md"


def texts(told: Recorder) -> list[str]:
    return [entry.block.split(b"data: ")[-1].decode().strip() for entry in told.entries]


class Log:
    """A log that is followed, and connections to its database."""

    def __init__(self, engine: Postgres, stack: AsyncExitStack) -> None:
        self.dsn = engine.dsn
        self.name = f"outbox{next(_numbers)}"
        self.url = engine.url(self.name)
        self.told = Recorder()
        self.store = self.another()
        self._stack = stack

    def another(self) -> PostgresStore:
        return cast("PostgresStore", open_url(self.url))

    async def connect(self) -> Any:
        """Open a connection of asyncpg."""
        connection = await asyncpg.connect(self.dsn)
        self._stack.push_async_callback(connection.close)
        return connection

    async def marked(self, *before: str) -> None:
        """Append an event at the end, and expect these and it to be all that has ever been reported."""
        await self.store.append(Draft(("a",), b"data: end\n\n"))
        await self.told.until(lambda told: "end" in texts(told))
        assert [*before, "end"] == texts(self.told)


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    async with AsyncExitStack() as stack:
        log = Log(cast("Postgres", shared(Postgres)), stack)
        await log.store.open()
        await log.store.follow(log.told, 100)
        yield log
        await log.store.close()


class TestTransactions:
    async def test_an_event_is_delivered_once_its_transaction_commits(self, log: Log) -> None:
        connection = await log.connect()
        transaction = connection.transaction()
        await transaction.start()

        assert await log.store.publish_in(connection, ["b", "a"], "x", event="kind", retry=5)
        await asyncio.wait([asyncio.ensure_future(log.told.told(1))], timeout=0.2)
        before = list(log.told.news)
        await transaction.commit()

        [entry] = await log.told.told(1)
        assert [] == before
        assert (("a", "b"), b"event: kind\nretry: 5\ndata: x\n\n") == (entry.topics, entry.block)

    @pytest.mark.parametrize("level", ["read_committed", "repeatable_read", "serializable"])
    async def test_what_is_rolled_back_never_appears(self, log: Log, level: str) -> None:
        connection = await log.connect()
        for text, ending in (("x", "rollback"), ("y", "commit"), ("z", "rollback")):
            transaction = connection.transaction(isolation=level)
            await transaction.start()
            await log.store.publish_in(connection, "a", text)
            await getattr(transaction, ending)()

        await log.marked("y")

    async def test_a_rollback_to_a_savepoint_takes_back_what_came_after_it(self, log: Log) -> None:
        connection = await log.connect()
        async with connection.transaction():
            await log.store.publish_in(connection, "a", "x")
            savepoint = connection.transaction()
            await savepoint.start()
            await log.store.publish_in(connection, "a", "y")
            await savepoint.rollback()
            await log.store.publish_in(connection, "a", "z")

        await log.marked("x", "z")

    async def test_a_connection_that_dies_takes_its_event_back(self, log: Log) -> None:
        connection = await log.connect()
        await connection.transaction().start()
        await log.store.publish_in(connection, "a", "x")
        connection.terminate()

        await log.marked()

    async def test_a_long_transaction_holds_up_nobody(self, log: Log) -> None:
        slow, quick = await log.connect(), await log.connect()
        transaction = slow.transaction()
        await transaction.start()
        await log.store.publish_in(slow, "a", "slow")

        await log.store.publish_in(quick, "a", "quick")
        await log.told.told(1)
        await log.store.append(Draft(("a",), b"data: append\n\n"))
        await transaction.commit()

        await log.told.told(3)
        await log.marked("quick", "append", "slow")

    async def test_events_of_one_transaction_keep_their_order(self, log: Log) -> None:
        connection = await log.connect()
        async with connection.transaction():
            for n in range(1200):  # more than are moved at once
                await log.store.publish_in(connection, "a", str(n))

        await log.marked(*map(str, range(1200)))

    async def test_what_is_appended_after_the_commit_comes_after_the_event(self, log: Log) -> None:
        connection = await log.connect()
        expected = []
        for n in range(30):
            await log.store.publish_in(connection, "a", f"in{n}")
            await log.store.append(Draft(("a",), f"data: append{n}\n\n".encode()))
            expected += [f"in{n}", f"append{n}"]

        await log.marked(*expected)

    async def test_large_events_are_moved_in_steps(self, log: Log) -> None:
        connection = await log.connect()
        data = "x" * 2**20
        async with connection.transaction():
            for _ in range(6):
                await log.store.publish_in(connection, "a", data)

        await log.marked(*[data] * 6)

    async def test_an_event_waits_for_a_process_that_follows_the_log(self, log: Log) -> None:
        await log.store.close()
        connection = await log.connect()
        store = log.another()
        await store.publish_in(connection, "a", "x")  # which needs no open store

        await log.store.open()
        await log.store.follow(log.told, 100)

        await log.marked("x")

    async def test_each_of_several_processes_is_told_once(self, log: Log) -> None:
        others = [(log.another(), Recorder()) for _ in range(3)]
        for store, told in others:
            await store.open()
            await store.follow(told, 100)
        connections = [await log.connect() for _ in range(4)]

        async def publish(connection: Any, who: int) -> None:
            for n in range(25):
                await log.store.publish_in(connection, "a", f"{who}.{n}")

        await asyncio.gather(*(publish(c, who) for who, c in enumerate(connections)))

        for told in (log.told, *(told for _, told in others)):
            await told.told(100)
            assert texts(log.told) == texts(told)
            assert 100 == len(set(texts(told)))
        for store, _ in others:
            await store.close()

    async def test_a_role_needs_no_right_but_to_publish(self, log: Log) -> None:
        owner = await log.connect()
        await owner.execute(
            f"CREATE ROLE r{log.name} LOGIN; GRANT USAGE ON SCHEMA {log.name} TO r{log.name}"
        )
        connection = await asyncpg.connect(log.dsn.replace("fastsse@", f"r{log.name}@"))

        await log.store.publish_in(connection, "a", "x", key="k")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"DELETE FROM {log.name}.log")
        await connection.close()

        await log.marked("x")


class TestKeys:
    async def test_a_key_publishes_once_whoever_comes_with_it(self, log: Log) -> None:
        connection = await log.connect()

        async with connection.transaction():
            assert await log.store.publish_in(connection, "a", "x", key="k")
            assert not await log.store.publish_in(connection, "a", "x", key="k")
        position = await log.store.append(Draft(("a",), b"data: x\n\n"), "k")
        assert not await log.store.publish_in(connection, "a", "x", key="k")

        await log.marked("x")
        assert position == log.told.entries[0].position

    async def test_a_key_of_another_event_is_refused(self, log: Log) -> None:
        connection = await log.connect()
        await log.store.append(Draft(("a",), b"data: x\n\n"), "k")
        transaction = connection.transaction()
        await transaction.start()
        await log.store.publish_in(connection, "a", "y", key="l")

        for key, topic, text in (("k", "a", "z"), ("k", "b", "x"), ("l", "a", "z")):
            with pytest.raises(KeyReused, match=f"'{key}'"):
                async with connection.transaction():
                    await log.store.publish_in(connection, topic, text, key=key)
        await transaction.commit()

        await log.marked("x", "y")

    async def test_a_key_is_refused_while_its_event_is_moved(self, log: Log) -> None:
        connection = await log.connect()
        for n in range(100):
            await log.store.publish_in(connection, "a", str(n), key=f"k{n}")
            with pytest.raises(KeyReused):
                await log.store.publish_in(connection, "a", "other", key=f"k{n}")

        await log.marked(*map(str, range(100)))

    async def test_a_key_that_was_rolled_back_is_free_again(self, log: Log) -> None:
        connection = await log.connect()
        transaction = connection.transaction()
        await transaction.start()
        await log.store.publish_in(connection, "a", "x", key="k")
        await transaction.rollback()

        assert await log.store.publish_in(connection, "a", "y", key="k")

        await log.marked("y")

    @pytest.mark.parametrize(("ending", "expected"), [("commit", False), ("rollback", True)])
    async def test_two_transactions_with_one_key_are_one_event(
        self, log: Log, ending: str, expected: bool
    ) -> None:
        one, two = await log.connect(), await log.connect()
        transaction = one.transaction()
        await transaction.start()
        await log.store.publish_in(one, "a", "x", key="k")

        second = asyncio.ensure_future(log.store.publish_in(two, "a", "x", key="k"))
        await asyncio.wait([second], timeout=0.2)
        assert not second.done()
        await getattr(transaction, ending)()

        assert expected is await second
        await log.marked("x")


class TestConnections:
    async def test_psycopg(self, log: Log) -> None:
        psycopg = pytest.importorskip("psycopg")
        async with await psycopg.AsyncConnection.connect(log.dsn) as connection:
            await log.store.publish_in(connection, "a", "x")
            await connection.rollback()
            await log.store.publish_in(connection, "a", "y")
            await log.store.publish_in(connection, "a", "z", key="k")
            await connection.commit()
            with pytest.raises(KeyReused):
                await log.store.publish_in(connection, "a", "other", key="k")
            await connection.rollback()

        await log.marked("y", "z")

    async def test_psycopg_without_a_loop(self, log: Log) -> None:
        psycopg = pytest.importorskip("psycopg")

        def work() -> None:
            with psycopg.connect(log.dsn) as connection:
                assert log.store.publish_in_sync(connection, "a", "x", key="k")
                assert not log.store.publish_in_sync(connection, "a", "x", key="k")
            with psycopg.connect(log.dsn) as connection:
                with pytest.raises(KeyReused):
                    log.store.publish_in_sync(connection, "a", "y", key="k")

        await asyncio.to_thread(work)

        await log.marked("x")

    async def test_a_pool_of_asyncpg(self, log: Log) -> None:
        async with asyncpg.create_pool(log.dsn, min_size=1, max_size=1) as pool:
            async with pool.acquire() as connection, connection.transaction():
                await log.store.publish_in(connection, "a", "x")

        await log.marked("x")

    @pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
    async def test_sqlalchemy(self, log: Log, driver: str) -> None:
        pytest.importorskip(driver)
        pytest.importorskip("sqlalchemy")
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        engine = create_async_engine(log.dsn.replace("postgresql", f"postgresql+{driver}"))
        async with engine.begin() as connection:
            assert await log.store.publish_in(connection, "a", "x")
        async with AsyncSession(engine) as session, session.begin():
            assert await log.store.publish_in(session, "a", "y", key="k")
            assert not await log.store.publish_in(session, "a", "y", key="k")
        async with AsyncSession(engine) as session:
            await log.store.publish_in(session, "a", "never")
            await session.rollback()
            with pytest.raises(KeyReused):
                await log.store.publish_in(session, "a", "z", key="k")
        await engine.dispose()

        await log.marked("x", "y")

    async def test_sqlalchemy_without_a_loop(self, log: Log) -> None:
        pytest.importorskip("psycopg")
        sqlalchemy = pytest.importorskip("sqlalchemy")
        from sqlalchemy.orm import Session

        def work() -> None:
            engine = sqlalchemy.create_engine(log.dsn.replace("postgresql", "postgresql+psycopg"))
            with engine.begin() as connection:
                assert log.store.publish_in_sync(connection, "a", "x")
            with Session(engine) as session, session.begin():
                assert log.store.publish_in_sync(session, "a", "y")
            engine.dispose()

        await asyncio.to_thread(work)

        await log.marked("x", "y")

    async def test_the_other_kind_of_connection_is_refused_with_what_to_call(
        self, log: Log
    ) -> None:
        psycopg = pytest.importorskip("psycopg")
        connection = await log.connect()

        with pytest.raises(TypeError, match="publish_in instead"):
            log.store.publish_in_sync(connection, "a", "x")
        with psycopg.connect(log.dsn) as other:
            with pytest.raises(TypeError, match="publish_in_sync instead"):
                await log.store.publish_in(other, "a", "x")
            other.rollback()
        for nothing in (None, object(), "postgresql://"):
            with pytest.raises(TypeError, match="psycopg 3, asyncpg or SQLAlchemy"):
                await log.store.publish_in(nothing, "a", "x")

        await log.marked()


class TestRefused:
    @pytest.mark.parametrize(
        "values",
        [
            {"topics": ""},
            {"topics": []},
            {"topics": "a\nb"},
            {"topics": "a" * 257},
            {"topics": [str(n) for n in range(101)]},
            {"event": "gap"},
            {"event": "end"},
            {"event": "expired"},
            {"event": "a\nb"},
            {"event": "ü" * 129},
            {"retry": -1},
            {"retry": 86_400_001},
            {"key": ""},
            {"key": "ü" * 129},
            {"data": b"\xff"},
            {"data": "\n" * (MAX_BLOCK // 7 + 1)},
        ],
        ids=lambda values: " ".join(f"{k}={str(v)[:8]!r}" for k, v in values.items()),
    )
    async def test_what_cannot_be_published_is_refused_before_the_database_is_asked(
        self, log: Log, values: dict[str, Any]
    ) -> None:
        connection = await log.connect()
        async with connection.transaction():
            await log.store.publish_in(connection, "a", "x")
            with pytest.raises(InvalidField):
                await log.store.publish_in(connection, **{"topics": "a", "data": "y", **values})
            await log.store.publish_in(connection, "a", "z")  # the transaction still stands

        await log.marked("x", "z")

    async def test_errors_of_the_database_are_the_drivers_own(self, log: Log) -> None:
        connection = await log.connect()
        await connection.execute(f"DROP FUNCTION {log.name}.publish")

        with pytest.raises(asyncpg.UndefinedFunctionError):
            await log.store.publish_in(connection, "a", "x")


class TestDocuments:
    async def test_the_application_of_the_documents_tells_an_order_if_and_only_if_it_stands(
        self, log: Log
    ) -> None:
        httpx2 = pytest.importorskip("httpx2")
        pytest.importorskip("sqlalchemy")
        pytest.importorskip("fastapi")
        [code] = re.findall(r"```python\n(from contextlib.*?)```", STORES.read_text(), re.DOTALL)
        code = code.replace("postgresql://user:password@db.example/app", log.dsn)
        code = code.replace("open_url(DATABASE)", f"open_url({log.url!r})")
        await (await log.connect()).execute(
            "CREATE TABLE orders (id serial, customer integer, product text)"
        )
        names: dict[str, Any] = {"__name__": "example"}
        exec(compile(code, "stores.md", "exec", dont_inherit=True), names)
        app = names["app"]
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)

        async with names["lifespan"](app), httpx2.AsyncClient(transport=transport) as client:
            async with names["hub"].subscribe("customers/1") as events:
                answers = [
                    await client.post("http://h/orders", json={"customer": 1, "product": product})
                    for product in ("tea", "unicorn", "milk")
                ]
                found = [await anext(events) for _ in range(2)]

        assert [201, 500, 201] == [answer.status_code for answer in answers]
        assert [("order", "1"), ("order", "3")] == [(e.event, e.data) for e in found]
        await names["engine"].dispose()
        await log.marked("1", "3")
