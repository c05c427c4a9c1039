"""Posted event streams over stores that take groups: the answers and the order of streams that go event by event."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engines import Redis, need_engine
from support.posts import STREAM, Pipe, broadcast, following, pieces, post, posting
from support.servers import DEADLINE

from fastsse import encode
from fastsse.broadcast.app import Broadcast
from fastsse.broadcast.stores.opening import open_url
from fastsse.broadcast.stores.sqlite import SqliteStore
from fastsse.testing import Answer, open_stream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def store_at(path: Path, **options: Any) -> SqliteStore:
    return SqliteStore(path, synchronous="normal", **options)


async def history(app: Broadcast, count: int) -> list[str]:
    """Read the first events of the topic a."""
    query = {"topic": "a", "last_event_id": "earliest"}
    async with open_stream(app, "/events", query) as stream:
        return [event.data for event in await stream.events(count)]


async def test_a_long_stream_is_published_in_order_and_counted(path: Path) -> None:
    words = [str(n) for n in range(3000)]
    body = b"".join(map(encode, words))

    async with broadcast(store_at(path)) as app, following(app, "a") as reader:
        answer = json.loads((await post(app, body, STREAM, "topic=a")).body)

        events = await reader.events(3000)
        assert words == [event.data for event in events]
        assert [events[0].id, events[-1].id] == answer["ids"]
        assert (3000, 1, False) == (answer["count"], answer["subscribers"], answer["unfinished"])
        assert 3000 == app.hub.stats.published
        assert 3000 == sum(app.hub.stats.append_latency.counts)


async def test_streams_that_come_together_each_keep_their_order(path: Path) -> None:
    async with broadcast(store_at(path)) as app, following(app, "a") as reader:
        bodies = [b"".join(encode(f"{name}{n}") for n in range(600)) for name in "xyz"]

        answers = await asyncio.gather(*(post(app, body, STREAM, "topic=a") for body in bodies))

        data = [event.data for event in await reader.events(1800)]
        for name in "xyz":
            assert [f"{name}{n}" for n in range(600)] == [d for d in data if d[0] == name]
        assert [600] * 3 == [json.loads(answer.body)["count"] for answer in answers]


@pytest.mark.parametrize("at", [0, 1, 300, 511])
async def test_a_bad_event_ends_the_stream_after_those_before_it(path: Path, at: int) -> None:
    events = [encode(str(n)) for n in range(512)]
    events[at] = b"event: gap\ndata: x\n\n"

    async with broadcast(store_at(path)) as app:
        answer = await post(app, b"".join(events), STREAM, "topic=a")

        problem = json.loads(answer.body)
        assert (400, at, {"event": at + 1}) == (
            answer.status,
            problem["count"],
            problem["broke_at"],
        )
        assert at == app.hub.stats.published == app.hub.head
        assert 1 == app.hub.stats.events_refused["event"]


@pytest.mark.parametrize("at", [1, 2, 300, 512])
async def test_a_key_of_another_event_ends_the_stream_after_those_before_it(
    path: Path, at: int
) -> None:
    body = b"".join(encode(str(n)) for n in range(1, 513))

    async with broadcast(store_at(path)) as app:
        await app.hub.publish("b", "other", key=f"job-{at}")
        answer = await post(app, body, STREAM, "topic=a", idempotency_key="job")

        problem = json.loads(answer.body)
        assert (422, at - 1, {"event": at}) == (
            answer.status,
            problem["count"],
            problem["broke_at"],
        )
        assert at == app.hub.stats.published == app.hub.head
        assert 1 == app.hub.stats.events_refused["key"]


async def test_a_stream_with_a_key_can_be_sent_again_and_is_published_once(path: Path) -> None:
    events = [encode(str(n)) for n in range(700)]

    async with broadcast(store_at(path)) as app:
        first, again, rest = [
            json.loads((await post(app, b"".join(part), STREAM, "topic=a", idempotency_key=key)).body)
            for part, key in (
                (events[:400], "job"),
                (events, "job"),
                (events[300:], '"job";first=301'),
            )
        ]  # fmt: skip

        assert [400, 700, 400] == [answer["count"] for answer in (first, again, rest)]
        assert first["ids"][0] == again["ids"][0]
        assert again["ids"][1] == rest["ids"][1]
        assert 700 == app.hub.stats.published == app.hub.head
        assert [str(n) for n in range(700)] == await history(app, 700)


async def test_a_file_that_gets_full_ends_the_stream_after_what_it_has(path: Path) -> None:
    body = b"".join(encode(f"{n} " + "x" * 500) for n in range(2000))

    async with broadcast(store_at(path, size=400_000)) as app, following(app, "a") as reader:
        answer = await post(app, body, STREAM, "topic=a")

        problem = json.loads(answer.body)
        count = problem["count"]
        assert (507, {"event": count + 1}) == (answer.status, problem["broke_at"])
        assert 0 < count == app.hub.stats.published == app.hub.head
        events = await reader.events(count)
        assert list(range(count)) == [int(event.data.split()[0]) for event in events]
        assert [events[0].id, events[-1].id] == problem["ids"]
        assert {"full": 1} == {k: n for k, n in app.hub.stats.append_errors.items() if n}


async def test_a_publisher_that_is_cancelled_leaves_a_beginning_of_its_stream(path: Path) -> None:
    body = b"".join(encode(str(n)) for n in range(5000))

    async with broadcast(store_at(path)) as app, following(app, "a") as reader:
        posted = asyncio.ensure_future(post(app, pieces([body]), STREAM, "topic=a"))
        await reader.events(300)
        posted.cancel()
        await asyncio.wait([posted])
        await app.hub.publish("a", "last")

        data = await reader.events(app.hub.head - 300)
        assert "last" == data[-1].data
        assert [str(n) for n in range(300, app.hub.head - 1)] == [e.data for e in data[:-1]]


async def test_a_topic_that_ends_meanwhile_ends_the_stream(path: Path) -> None:
    async with broadcast(store_at(path)) as app, following(app, "a") as reader:
        pipe = Pipe()
        async with posting(app, pipe) as publisher:
            pipe.give(encode("0") + encode("1"))
            await reader.events(2)
            await app.hub.end("a")
            pipe.give(encode("2") + encode("3"))
            problem = json.loads(await publisher.rest())

            assert 409 == publisher.status
            assert (2, {"event": 3}) == (problem["count"], problem["broke_at"])
        assert 3 == app.hub.head


async def test_other_bodies_have_their_turn_while_the_store_works(path: Path) -> None:
    store = store_at(path)
    long = b"".join(encode(str(n)) for n in range(1000))
    go_on = threading.Event()

    async with broadcast(store) as app:
        held = asyncio.ensure_future(store.call(lambda *_: go_on.wait(DEADLINE)))
        posted = asyncio.ensure_future(post(app, long, STREAM, "topic=a"))
        while not store.state().queued:
            await asyncio.sleep(0)

        refused = await post(app, b"topic=b&retry=x&data=" + b"%41" * 20_000)

        assert 400 == refused.status
        assert not posted.done()
        go_on.set()
        assert 1000 == json.loads((await posted).body)["count"]
        await held


class TestRedis:
    @pytest.fixture
    def server(self) -> Iterator[Redis]:
        """Run a server that this test may stop."""
        need_engine(Redis)
        engine = Redis()
        engine.start()
        yield engine
        engine.close()

    async def test_a_stream_that_a_stalled_store_has_cut_goes_on_by_its_key(
        self, server: Redis
    ) -> None:
        store: Any = open_url(server.url("n"))
        events = [encode(str(n)) for n in range(600)]
        async with broadcast(store) as app, following(app, "a") as reader:

            async def send(begin: int, end: int) -> Answer:
                key = f'"job";first={begin + 1}'
                body = b"".join(events[begin:end])
                return await post(app, body, STREAM, "topic=a", idempotency_key=key)

            await send(0, 200)
            store._patience = 0.5
            server.pause()
            cut = await send(200, 600)
            server.resume()
            store._patience = DEADLINE
            again = await send(200, 600)

            problem = json.loads(cut.body)
            assert (503, 0, {"event": 1}) == (cut.status, problem["count"], problem["broke_at"])
            assert 400 == json.loads(again.body)["count"]
            assert [str(n) for n in range(600)] == [e.data for e in await reader.events(600)]
