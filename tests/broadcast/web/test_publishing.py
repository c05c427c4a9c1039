"""What a POST's body becomes: forms, raw data, streams; and what is refused, with nothing published by halves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from driver import Answer, Stream, fetch, lifespan, open_stream
from hypothesis import given
from hypothesis import strategies as st

from fastsse import Decoder, Event, encode, encode_many
from fastsse.broadcast import Settings, delivery, publishing
from fastsse.broadcast.app import Broadcast, create_app

FORM = "application/x-www-form-urlencoded"
STREAM = "text/event-stream"
BOUNDARY = "----b"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


@asynccontextmanager
async def broadcast(**knobs: Any) -> AsyncIterator[Broadcast]:
    app = create_app(Settings(heartbeat=0.0, lifetime=0.0, **knobs))
    async with lifespan(app):
        yield app


async def post(
    app: Broadcast, body: Any = b"", kind: str | None = FORM, query: Any = "", **more: str
) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    if kind is not None:
        headers["content-type"] = kind
    if isinstance(body, bytes):
        headers.setdefault("content-length", str(len(body)))
    return await fetch(app, "/events", query, headers, "POST", body=body)


@asynccontextmanager
async def posting(app: Broadcast, body: Any, query: Any = "topic=a") -> AsyncIterator[Stream]:
    """A POST of a stream that is under way."""
    headers = {"content-type": STREAM, "transfer-encoding": "chunked"}
    async with open_stream(app, "/events", query, headers, "POST", body=body, wait=False) as stream:
        yield stream


@asynccontextmanager
async def following(app: Broadcast, *topics: str) -> AsyncIterator[Stream]:
    async with open_stream(app, "/events", {"topic": topics}) as stream:
        await stream.block()
        yield stream


async def all_of(app: Broadcast, *topics: str) -> list[tuple[str, str]]:
    """Types and data of all that was published."""
    query = {"topic": topics, "last_event_id": "earliest"}
    async with open_stream(app, "/events", query) as stream:
        return [(event.event, event.data) for event in await stream.events(app.hub.stats.published)]


def multipart(*parts: tuple[str, bytes], end: str = "--") -> bytes:
    body = b""
    for head, content in parts:
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode()
        body += content + b"\r\n"
    return body + f"--{BOUNDARY}{end}\r\n".encode()


class Pipe:
    """A body that comes piece by piece, as the test gives it."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    def give(self, piece: bytes) -> None:
        self._pieces.put_nowait(piece)

    def end(self) -> None:
        self._pieces.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece


async def pieces(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


# What is published


async def test_a_form_publishes_its_data() -> None:
    async with broadcast() as app, following(app, "news") as stream:
        answer = await post(app, b"topic=news&data=hello&event=greeting&retry=5")

        assert 200 == answer.status
        assert "application/json" == answer.headers["content-type"]
        [event] = await stream.events(1)
        assert Event("hello", "greeting", event.id, 5) == event
        assert {"id": event.id, "topics": ["news"], "subscribers": 1} == json.loads(answer.body)


FORMS: dict[str, tuple[bytes, str, str, tuple[str, str, list[str]]]] = {
    "several topics": (b"topic=b&topic=a&data=x", FORM, "", ("message", "x", ["a", "b"])),
    "escapes": (b"topic=a&data=%C3%A4+%2B%26%3D%0A%25", FORM, "", ("message", "ä +&=\n%", ["a"])),
    "raw utf-8": ("topic=ü&data=ä".encode(), FORM, "", ("message", "ä", ["ü"])),
    "empty data": (b"topic=a&data=", FORM, "", ("message", "", ["a"])),
    "no equals sign": (b"topic=a&data", FORM, "", ("message", "", ["a"])),
    "empty parts": (b"&topic=a&&data=x&", FORM, "", ("message", "x", ["a"])),
    "charset": (b"topic=a&data=x", FORM + "; charset=UTF-8", "", ("message", "x", ["a"])),
    "capitals": (b"topic=a&data=x", FORM.upper(), "", ("message", "x", ["a"])),
    "topic in query": (b"data=x", FORM, "topic=a&topic=c&event=e", ("e", "x", ["a", "c"])),
    "event in query": (b"data=x&topic=a", FORM, "event=e", ("e", "x", ["a"])),
    "multipart": (
        multipart(('name="topic"', b"a"), ('name="data"', b"x\r\ny"), ('name="event"', b"e")),
        MULTIPART,
        "",
        ("e", "x\ny", ["a"]),
    ),
    "multipart file": (
        multipart(('name="data"; filename="notes.txt"', "ä".encode()), ('name="topic"', b"a")),
        MULTIPART,
        "",
        ("message", "ä", ["a"]),
    ),
    "multipart part types": (
        multipart(
            ('name="data"\r\nContent-Type: text/plain; charset=utf-8', b"x"),
            ('name="topic"\r\nContent-Transfer-Encoding: 8bit', b"a"),
        ),
        MULTIPART,
        "",
        ("message", "x", ["a"]),
    ),
    "json": (b'{"a": 1}', "application/json", "topic=a&event=e", ("e", '{"a": 1}', ["a"])),
    "text": (b"a\r\nb\n", "text/plain", "topic=a", ("message", "a\nb\n", ["a"])),
    "empty raw": (b"", "text/plain", "topic=a", ("message", "", ["a"])),
    "like a form": (
        b"topic=b&data=x",
        "text/plain",
        "topic=a",
        ("message", "topic=b&data=x", ["a"]),
    ),
    "byte-order mark": ("\ufeffx".encode(), "text/plain", "topic=a", ("message", "\ufeffx", ["a"])),
    "escaped topic": (b"x", "text/plain", "topic=%C3%BC%20%26", ("message", "x", ["ü &"])),
    "raw topic": (b"x", "text/plain", "topic=ü", ("message", "x", ["ü"])),
}


@pytest.mark.parametrize(("body", "kind", "query", "expected"), FORMS.values(), ids=FORMS)
async def test_bodies_that_publish(
    body: bytes, kind: str, query: str, expected: tuple[str, str, list[str]]
) -> None:
    event, data, topics = expected
    async with broadcast() as app:
        answer = await post(app, body, kind, query.encode())

        assert 200 == answer.status, answer.body
        assert topics == json.loads(answer.body)["topics"]
        assert [(event, data)] == await all_of(app, topics[-1])


async def test_a_body_without_a_type_is_data() -> None:
    async with broadcast() as app:
        assert 200 == (await post(app, b"x", None, "topic=a")).status

        assert [("message", "x")] == await all_of(app, "a")


async def test_a_body_that_comes_in_pieces_is_one_event() -> None:
    async with broadcast() as app:
        await post(app, pieces([b"a", "ä".encode()[:1], "ä".encode()[1:]]), "text/plain", "topic=a")

        assert [("message", "aä")] == await all_of(app, "a")


# What is refused

REFUSED: dict[str, tuple[bytes, str | None, str | bytes, int, str]] = {
    "no topic": (b"data=x", FORM, "", 400, "topic"),
    "empty topic": (b"topic=&data=x", FORM, "", 400, "topic"),
    "no topic, raw": (b"x", "text/plain", "", 400, "topic"),
    "topic with a line end": (b"topic=a%0Ab&data=x", FORM, "", 400, "topic"),
    "long topic": (b"data=x&topic=" + b"x" * 257, FORM, "", 400, "topic"),
    "topics over the limit": (b"data=x" + b"&topic=%d" * 6 % (1, 2, 3, 4, 5, 6), FORM, "", 400, "topic"),
    "no data": (b"topic=a", FORM, "", 400, "data"),
    "empty form": (b"", FORM, "", 400, "topic"),
    "data in query": (b"", None, "topic=a&data=x", 400, "data"),
    "unknown field": (b"topic=a&data=x&id=7", FORM, "", 400, "field"),
    "unknown query field": (b"x", "text/plain", "topic=a&topics=b", 400, "field"),
    "raw body sent as a form": (b'{"a":1}', FORM, "topic=a", 400, "field"),
    "data twice": (b"topic=a&data=x&data=y", FORM, "", 400, "data"),
    "event twice": (b"topic=a&data=x&event=x&event=x", FORM, "", 400, "event"),
    "topic in both": (b"topic=a&data=x", FORM, "topic=a", 400, "topic"),
    "event in both": (b"topic=a&data=x&event=x", FORM, "event=x", 400, "event"),
    "retry in both": (b"topic=a&data=x&retry=1", FORM, "retry=1", 400, "retry"),
    "gap": (b"topic=a&data=x&event=gap", FORM, "", 400, "event"),
    "gap, raw": (b"x", "text/plain", "topic=a&event=gap", 400, "event"),
    "line end in event": (b"topic=a&data=x&event=a%0Ab", FORM, "", 400, "event"),
    "return in event": (b"x", "text/plain", "topic=a&event=a%0Db", 400, "event"),
    "empty event": (b"topic=a&data=x&event=", FORM, "", 400, "event"),
    "retry, a word": (b"topic=a&data=x&retry=soon", FORM, "", 400, "retry"),
    "retry, negative": (b"topic=a&data=x&retry=-5", FORM, "", 400, "retry"),
    "retry, underscore": (b"topic=a&data=x&retry=1_0", FORM, "", 400, "retry"),
    "retry, other digits": ("topic=a&data=x&retry=٣".encode(), FORM, "", 400, "retry"),
    "retry, empty": (b"topic=a&data=x&retry=", FORM, "", 400, "retry"),
    "retry, endless": (b"topic=a&data=x&retry=" + b"9" * 5000, FORM, "", 400, "retry"),
    "data not utf-8": (b"topic=a&data=%FF", FORM, "", 400, "data"),
    "data a surrogate": (b"topic=a&data=%ED%A0%80", FORM, "", 400, "data"),
    "raw not utf-8": (b"a\xff", "text/plain", "topic=a", 400, "data"),
    "raw cut in a letter": ("ä".encode()[:1], "text/plain", "topic=a", 400, "data"),
    "topic not utf-8": (b"topic=%FF&data=x", FORM, "", 400, "topic"),
    "topic not utf-8, raw bytes": (b"x", "text/plain", b"topic=\xff", 400, "topic"),
    "event not utf-8": (b"topic=a&data=x&event=%FF", FORM, "", 400, "event"),
    "field name not utf-8": (b"topic=a&data=x&%FF=x", FORM, "", 400, "form field name"),
    "broken escape": (b"topic=a&data=100%", FORM, "", 400, "data"),
    "broken escape, letters": (b"topic=a&data=%zz", FORM, "", 400, "data"),
    "broken escape in query": (b"x", "text/plain", "topic=%a", 400, "topic"),
    "too many fields": (b"topic=a&data=x" + b"&" + b"&".join([b"z"] * 20), FORM, "", 400, "form"),
    "too many query fields": (b"x", "text/plain", "topic=a" + "&z" * 20, 400, "query"),
    "charset of a form": (b"topic=a&data=x", FORM + "; charset=latin-1", "", 415, "content-type"),
    "charset of text": (b"x", "text/plain; charset=utf-16", "topic=a", 415, "content-type"),
    "charset of a stream": (b"", STREAM + "; charset=latin-1", "topic=a", 415, "content-type"),
    "multipart without boundary": (b"x", "multipart/form-data", "", 400, "content-type"),
    "multipart cut": (multipart(('name="topic"', b"a"), end=""), MULTIPART, "", 400, "body"),
    "multipart nonsense": (b"nonsense", MULTIPART, "", 400, "body"),
    "multipart empty": (b"", MULTIPART, "", 400, "body"),
    "multipart part without name": (
        multipart(('filename="x"', b"a")), MULTIPART, "", 400, "content-disposition",
    ),
    "multipart bad data": (
        multipart(('name="topic"', b"a"), ('name="data"', b"\xff")), MULTIPART, "", 400, "data",
    ),
    "multipart charset": (
        multipart(('name="data"\r\nContent-Type: text/plain; charset=latin-1', b"x")),
        MULTIPART, "", 415, "data",
    ),
    "multipart encoding": (
        multipart(('name="data"\r\nContent-Transfer-Encoding: base64', b"eA==")),
        MULTIPART, "", 415, "data",
    ),
    "multipart fields": (
        multipart(*[('name="topic"', b"%d" % n) for n in range(20)]), MULTIPART, "", 400, "form",
    ),
    "stream without topic": (b"data: x\n\n", STREAM, "", 400, "topic"),
    "stream with event": (b"data: x\n\n", STREAM, "topic=a&event=e", 400, "event"),
    "stream with retry": (b"data: x\n\n", STREAM, "topic=a&retry=1", 400, "retry"),
    "stream with data": (b"data: x\n\n", STREAM, "topic=a&data=x", 400, "data"),
    "raw body too large": (b"x" * 1001, "text/plain", "topic=a", 413, "body"),
    "form data too large": (b"topic=a&data=" + b"x" * 1001, FORM, "", 413, "data"),
    "form too large": (b"topic=a&data=" + b"x" * 100_000, FORM, "", 413, "body"),
    "multipart data too large": (
        multipart(('name="topic"', b"a"), ('name="data"', b"x" * 1001)), MULTIPART, "", 413, "data",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "kind", "query", "status", "field"), REFUSED.values(), ids=REFUSED
)
async def test_bodies_that_are_refused(
    body: bytes, kind: str | None, query: str | bytes, status: int, field: str
) -> None:
    async with broadcast(max_event_size=1000, topics_per_publish=5) as app:
        query = query if isinstance(query, bytes) else query.encode()
        answer = await post(app, body, kind, query)

        problem = json.loads(answer.body)
        assert (status, field) == (answer.status, problem["field"]), problem
        assert "application/problem+json" == answer.headers["content-type"]
        assert status == problem["status"]
        assert problem["rule"]
        assert problem["rule"] in problem["detail"]
        assert "value" in problem
        assert 500 > len(str(problem))
        assert 0 == app.hub.stats.published


async def test_a_post_without_any_body_has_no_data() -> None:
    async with broadcast() as app:
        answer = await fetch(app, "/events", "topic=a", {}, "POST")

        assert (400, "data") == (answer.status, json.loads(answer.body)["field"])


async def test_a_compressed_body_is_refused() -> None:
    async with broadcast() as app:
        answer = await post(app, b"x", "text/plain", "topic=a", content_encoding="gzip")

        assert (415, "content-encoding") == (answer.status, json.loads(answer.body)["field"])


@pytest.mark.parametrize("kind", [FORM, "text/plain", MULTIPART])
async def test_a_length_over_the_limit_is_refused_before_the_body_is_read(kind: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    async with broadcast(max_event_size=1000) as app:
        answer = await post(app, body(), kind, "topic=a", content_length="1000000")

        assert (413, 1_000_000) == (answer.status, json.loads(answer.body)["value"])


async def test_a_long_body_without_length_is_refused_once_it_is_over_the_limit() -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 1000:
            sent += 1
            yield b"x" * 100

    async with broadcast(max_event_size=1000) as app:
        answer = await post(app, body(), "text/plain", "topic=a")

        assert 413 == answer.status
        assert 11 == sent


async def test_the_largest_event_fits_a_form_with_every_byte_escaped() -> None:
    async with broadcast(max_event_size=1000) as app:
        body = b"topic=a&data=" + b"%61" * 1000

        assert 200 == (await post(app, body)).status


async def test_a_body_that_breaks_off_publishes_nothing() -> None:
    async with broadcast() as app:
        pipe = Pipe()
        headers = {"content-type": "text/plain", "content-length": "100"}
        async with open_stream(
            app, "/events", "topic=a", headers, "POST", body=pipe, wait=False
        ) as stream:
            pipe.give(b"hello")
            stream.disconnect()
            await stream.ended()

        assert 0 == app.hub.stats.published


@asynccontextmanager
async def reading(app: Broadcast, pipe: Pipe, kind: str = "text/plain") -> AsyncIterator[Stream]:
    """A POST whose body is being read."""
    headers = {"content-type": kind}
    async with open_stream(
        app, "/events", "topic=a", headers, "POST", body=pipe, wait=False
    ) as stream:
        await asyncio.sleep(0)
        yield stream


async def test_what_is_read_together_leaves_in_one_send(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "GATHER", 60.0)

    async with broadcast() as app, following(app, "a") as reader, asyncio.timeout(20):
        first, second = Pipe(), Pipe()
        async with reading(app, first) as one, reading(app, second) as two:
            first.give(b"1")
            first.end()
            await one.ended()
            await post(app, b"2", "text/plain", "topic=a")
            second.give(b"3")
            second.end()
            await two.ended()

        assert ["1", "2", "3"] == [event.data for event in Decoder().feed(await reader.chunk())]


async def test_a_body_that_is_late_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with broadcast() as app, following(app, "a") as reader, asyncio.timeout(20):
        async with reading(app, Pipe()):
            await post(app, b"1", "text/plain", "topic=a")
            assert ["1"] == [event.data for event in await reader.events(1)]
            monkeypatch.setattr(delivery, "GATHER", 60.0)
            await post(app, b"2", "text/plain", "topic=a")

            assert ["2"] == [event.data for event in await reader.events(1)]


async def test_a_body_that_breaks_off_is_waited_for_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "GATHER", 60.0)

    async with broadcast() as app, following(app, "a") as reader, asyncio.timeout(20):
        async with reading(app, Pipe()) as broken:
            await post(app, b"1", "text/plain", "topic=a")
            broken.disconnect()

            assert ["1"] == [event.data for event in await reader.events(1)]


async def test_a_stream_of_events_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "GATHER", 60.0)

    async with broadcast() as app, following(app, "a") as reader, asyncio.timeout(20):
        pipe = Pipe()
        async with reading(app, pipe, STREAM):
            pipe.give(b"data: 1\n\n")
            await post(app, b"2", "text/plain", "topic=a")

            assert {"1", "2"} == {event.data for event in await reader.events(2)}


async def test_a_body_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PATIENCE", 0.01)

    async with broadcast() as app:
        answer = await post(app, Pipe(), "text/plain", "topic=a")

        assert 408 == answer.status
        assert 0 == app.hub.stats.published


@pytest.mark.parametrize("kind", [FORM, "text/plain", STREAM])
async def test_a_body_that_is_still_coming_at_shutdown_is_told_to_come_again(kind: str) -> None:
    async with broadcast() as app:
        headers = {"content-type": kind}
        async with open_stream(
            app, "/events", "topic=a", headers, "POST", body=Pipe(), wait=False
        ) as stream:
            await asyncio.sleep(0)
            app.drain()
            await stream.ended()

            assert 503 == stream.status
            assert "2" == stream.headers["retry-after"]


async def test_nothing_is_taken_once_draining() -> None:
    async with broadcast() as app:
        app.drain()

        assert 503 == (await post(app, b"topic=a&data=x")).status
        assert 503 == (await post(app, b"data: x\n\n", STREAM, "topic=a")).status
        assert 0 == app.hub.stats.published


# Streams


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
        body = encode("ä" * 500, event="e" * 1000, id="i" * 1000) + encode("x\n" * 500)

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


@given(st.binary(max_size=60), st.sampled_from([FORM, MULTIPART, "text/plain", STREAM]))
async def test_no_body_makes_a_fault(body: bytes, kind: str) -> None:
    async with broadcast() as app:
        answer = await post(app, body, kind, "topic=a")

        assert answer.status in (200, 400, 413, 415)
        json.loads(answer.body)


@given(st.binary(max_size=40))
async def test_no_query_makes_a_fault(query: bytes) -> None:
    async with broadcast() as app:
        answer = await post(app, b"x", "text/plain", query)

        assert answer.status in (200, 400)
        json.loads(answer.body)


@given(st.lists(st.tuples(st.sampled_from(["topic", "data", "event"]), st.text(max_size=8))))
async def test_a_form_is_what_urlencode_writes(pairs: list[tuple[str, str]]) -> None:
    read: Callable[..., Any] = publishing.parse_pairs
    try:
        text = urlencode(pairs).encode()
    except UnicodeEncodeError:
        return

    expected = [(name, value.encode()) for name, value in pairs]
    assert expected == read(text, "form", most=len(pairs))


# Where a body ends


class _Received:
    """A body's messages, as a server gives them; then it waits for ever, as for a client that says no more."""

    def __init__(self, *messages: tuple[bytes, bool]) -> None:
        self.left = [{"type": "http.request", "body": b, "more_body": m} for b, m in messages]

    async def __call__(self) -> dict[str, Any]:
        if not self.left:
            await asyncio.Event().wait()
        return self.left.pop(0)


async def _read(received: _Received, **headers: str) -> bytes:
    pairs = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    body = publishing.Body({"headers": pairs}, received)
    return await asyncio.wait_for(body.read(100), 5)


@pytest.mark.parametrize(
    ("messages", "length"),
    [
        ([], "0"),
        ([(b"abc", True)], "3"),
        ([(b"abc", False)], "3"),
        ([(b"a", True), (b"", True), (b"bc", True)], "3"),
        ([(b"a", True), (b"bc", False)], "3"),
    ],
)
async def test_a_body_that_said_its_length_is_read_no_further(
    messages: list[tuple[bytes, bool]], length: str
) -> None:
    received = _Received(*messages)

    assert b"".join(b for b, _ in messages) == await _read(received, content_length=length)
    assert [] == received.left


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"transfer_encoding": "chunked"},
        # RFC 9112, 6.3: the length is void.
        {"content_length": "3", "transfer_encoding": "chunked"},
        {"content_length": "+3"},
        {"content_length": "3" * 5000},  # more digits than int() takes
        {"content_length": "2"},  # something between has made it longer
    ],
    ids=str,
)
async def test_a_body_whose_length_says_nothing_is_read_to_its_end(headers: dict[str, str]) -> None:
    received = _Received((b"abc", True), (b"de", True), (b"", False))

    assert b"abcde" == await _read(received, **headers)
    assert [] == received.left
