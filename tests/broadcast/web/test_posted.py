"""Posted event streams: published event by event, and broken off without losing the events before."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.posts import (
    STREAM,
    Pipe,
    all_of,
    broadcast,
    following,
    pieces,
    post,
    posting,
)
from support.stores import ScriptedStore

from fastsse import Event, encode, encode_many


async def test_each_event_of_a_stream_is_published_as_it_arrives() -> None:
    async with broadcast() as app, following(app, "a") as reader:
        pipe = Pipe()
        async with posting(app, pipe) as publisher:
            for word in ("one", "two", "three"):
                pipe.give(f"data: {word}\n".encode())
                pipe.give(b"\n")
                [event] = await reader.events(1)
                assert word == event.data
                assert publisher.running
            pipe.end()
            answer = json.loads(await publisher.rest())

            assert 3 == answer["count"]


async def test_a_stream_answers_with_its_first_and_last_id() -> None:
    async with broadcast() as app, following(app, "a", "b") as reader:
        events = encode_many([Event(str(n)) for n in range(5)])
        answer = await post(app, events, STREAM, "topic=a&topic=b")

        received = await reader.events(5)
        assert {
            "ids": [received[0].id, received[-1].id],
            "count": 5,
            "topics": ["a", "b"],
            "subscribers": 1,
            "unfinished": False,
        } == json.loads(answer.body)


@pytest.mark.parametrize(
    ("body", "count", "unfinished"),
    [
        (b"", 0, False),
        (b": comment\n\n", 0, False),
        (b"data: x\n\n", 1, False),
        (b"data: x\n\ndata: y\n", 1, True),
        (b"data: x\n\ndata: y", 1, True),
        (b"data: x\r\rdata: y\r", 1, True),
        (b"data: x\r\r", 1, False),
        (b"data: x\n\nevent: y\nid: 7\n", 1, False),
    ],
)
async def test_an_event_that_no_blank_line_ends_is_not_published_and_said_to_be_unfinished(
    body: bytes, count: int, unfinished: bool
) -> None:
    async with broadcast() as app:
        answer = json.loads((await post(app, body, STREAM, "topic=a")).body)

        assert (count, unfinished) == (answer["count"], answer["unfinished"])
        assert min(count, 2) == len(answer["ids"])
        assert count == app.hub.stats.published


async def test_types_come_from_the_stream_and_ids_and_retries_stay_with_its_source() -> None:
    async with broadcast() as app, following(app, "a") as reader:
        body = b"\xef\xbb\xbf: source\nid: 7\nretry: 9\nevent: e\ndata: x\n\ndata: y\n\n"
        await post(app, body, STREAM, "topic=a")

        first, second = await reader.events(2)
        assert ("e", "x", None) == (first.event, first.data, first.retry)
        assert ("message", "y", None) == (second.event, second.data, second.retry)
        assert "7" not in (first.id, second.id)


BROKEN: dict[str, tuple[bytes, int, int, str, dict[str, int]]] = {
    "gap": (b"data: 1\n\nevent: gap\ndata: 2\n\ndata: 3\n\n", 400, 1, "event", {"event": 2}),
    "bad utf-8": (
        b"data: 1\n\ndata: 2\n\ndata: \xff\n\n",
        400,
        2,
        "data",
        {"event": 3, "byte": 24},
    ),
    "bad utf-8 at once": (b"\xff", 400, 0, "data", {"event": 1, "byte": 0}),
    "bad utf-8 in a comment": (b": \xc3\n\ndata: 1\n\n", 400, 0, "data", {"event": 1, "byte": 2}),
    "surrogate": (b"data: 1\n\ndata: \xed\xa0\x80\n\n", 400, 1, "data", {"event": 2, "byte": 15}),
    "too large": (b"data: 1\n\ndata: " + b"x" * 1001 + b"\n\n", 413, 1, "data", {"event": 2}),
    "much too large": (b"data: 1\n\ndata: " + b"x" * 99_000, 413, 1, "data", {"event": 2}),
    "too large in lines": (
        b"data: 1\n\n" + b"data: xxx\n" * 251 + b"\n",
        413,
        1,
        "data",
        {"event": 2},
    ),
}


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(("body", "status", "count", "field", "place"), BROKEN.values(), ids=BROKEN)
async def test_of_a_stream_that_breaks_what_was_complete_stays_published(
    body: bytes, status: int, count: int, field: str, place: dict[str, int], size: int
) -> None:
    async with broadcast(max_event_size=1000) as app:
        chunks = [body[i : i + size] for i in range(0, len(body), size)]
        answer = await post(app, pieces(chunks), STREAM, "topic=a")

        problem = json.loads(answer.body)
        assert (status, field) == (answer.status, problem["field"])
        assert (count, place) == (problem["count"], problem["broke_at"])
        assert f"{count} before it stay published" in problem["detail"]
        assert min(count, 2) == len(problem["ids"])
        assert count == app.hub.stats.published
        assert [("message", str(n + 1)) for n in range(count)] == await all_of(app, "a")


async def test_the_largest_event_of_a_stream_is_as_large_as_any() -> None:
    async with broadcast(max_event_size=1000) as app:
        body = encode("ä" * 500, event="e" * 256, id="i" * 1000) + encode("x\n" * 500)

        answer = json.loads((await post(app, body, STREAM, "topic=a")).body)

        assert 2 == answer["count"]


async def test_a_client_that_leaves_mid_stream_has_published_what_was_complete() -> None:
    async with broadcast() as app, following(app, "a") as reader:
        pipe = Pipe()
        async with posting(app, pipe) as publisher:
            pipe.give(b"data: 1\n\ndata: 2")
            await reader.events(1)
            publisher.disconnect()
            await publisher.ended()

        assert 1 == app.hub.stats.published


async def test_a_stream_that_is_cut_by_shutdown_says_what_was_published() -> None:
    async with broadcast() as app, following(app, "a") as reader:
        pipe = Pipe()
        async with posting(app, pipe) as publisher:
            pipe.give(b"data: 1\n\ndata: 2")
            [event] = await reader.events(1)
            app.drain()
            problem = json.loads(await publisher.rest())

            assert 503 == publisher.status
            assert (1, [event.id]) == (problem["count"], problem["ids"])


async def test_a_stream_that_breaks_at_the_store_says_what_was_published() -> None:
    store = ScriptedStore()
    async with broadcast(store) as app, following(app, "a") as reader:
        pipe = Pipe()
        async with posting(app, pipe) as publisher:
            pipe.give(b"data: 1\n\n")
            [event] = await reader.events(1)
            store.stall()
            pipe.give(b"data: 2\n\n")
            problem = json.loads(await publisher.rest())

            assert 503 == publisher.status
            assert "retry-after" in publisher.headers
            assert (1, [event.id]) == (problem["count"], problem["ids"])
            assert {"event": 2} == problem["broke_at"]
            assert "cannot be reached; come again later (event 2" in problem["detail"]


async def test_a_long_stream_leaves_others_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with broadcast() as app:
        task = asyncio.create_task(other())
        await post(app, b"data\n\n" * 5000, STREAM, "topic=a")
        task.cancel()

        assert 5000 == app.hub.stats.published
        assert 15 < turns


@given(st.data())
async def test_a_stream_may_be_cut_anywhere(data: st.DataObject) -> None:
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    words = data.draw(st.lists(texts, max_size=5))
    body = b"".join(encode(word) for word in words)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8).map(sorted))
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    async with broadcast() as app:
        answer = json.loads((await post(app, pieces(chunks), STREAM, "topic=a")).body)

        assert len(words) == answer["count"]
        normal = [word.replace("\r\n", "\n").replace("\r", "\n") for word in words]
        assert normal == [data for _, data in await all_of(app, "a")]
