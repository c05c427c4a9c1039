"""Publishing one event: by a form or by a raw body, and never by halves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.posts import (
    FORM,
    MULTIPART,
    STREAM,
    Pipe,
    all_of,
    broadcast,
    following,
    multipart,
    pieces,
    post,
)
from support.stores import ScriptedStore

from fastsse import Decoder, Event
from fastsse.broadcast import Draft, MemoryStore, StorageFull
from fastsse.broadcast.app import Broadcast
from fastsse.broadcast.hub import delivery
from fastsse.broadcast.web import forms
from fastsse.testing import Stream, fetch, open_stream

# Bodies that publish


async def test_a_form_publishes_its_data() -> None:
    async with broadcast(retry_from_publishers=True) as app, following(app, "news") as stream:
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
    "empty event": (b"topic=a&data=x&event=", FORM, "", ("message", "x", ["a"])),
    "empty event, no equals sign": (b"topic=a&data=x&event", FORM, "", ("message", "x", ["a"])),
    "empty event in query": (b"x", "text/plain", "topic=a&event=", ("message", "x", ["a"])),
    "empty event of a form, another in query": (
        b"topic=a&data=x&event=",
        FORM,
        "event=e",
        ("e", "x", ["a"]),
    ),
    "empty event, multipart": (
        multipart(('name="topic"', b"a"), ('name="data"', b"x"), ('name="event"', b"")),
        MULTIPART,
        "",
        ("message", "x", ["a"]),
    ),
    "empty retry": (b"topic=a&data=x&retry=", FORM, "", ("message", "x", ["a"])),
    "empty retry in query": (b"x", "text/plain", "topic=a&retry=", ("message", "x", ["a"])),
    "empty event and retry of a stream": (
        b"event: e\ndata: x\n\n",
        STREAM,
        "topic=a&event=&retry=",
        ("e", "x", ["a"]),
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


# Bodies that are refused

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
    "retry, a word": (b"topic=a&data=x&retry=soon", FORM, "", 400, "retry"),
    "retry, negative": (b"topic=a&data=x&retry=-5", FORM, "", 400, "retry"),
    "retry, underscore": (b"topic=a&data=x&retry=1_0", FORM, "", 400, "retry"),
    "retry, other digits": ("topic=a&data=x&retry=٣".encode(), FORM, "", 400, "retry"),
    "event twice, once empty": (b"topic=a&data=x&event=&event=x", FORM, "", 400, "event"),
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
    """Post a body that is being read while the block runs."""
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


async def test_a_body_that_stands_still_is_given_up() -> None:
    async with broadcast(body_seconds=0.05) as app:
        answer = await post(app, Pipe(), "text/plain", "topic=a")

        assert 408 == answer.status
        assert 0 == app.hub.stats.published


@pytest.mark.parametrize("kind", [FORM, "text/plain", STREAM])
async def test_a_body_that_is_still_coming_at_shutdown_is_told_to_come_again(kind: str) -> None:
    async with broadcast(retry=7000) as app:
        headers = {"content-type": kind}
        async with open_stream(
            app, "/events", "topic=a", headers, "POST", body=Pipe(), wait=False
        ) as stream:
            await asyncio.sleep(0)
            app.drain()
            await stream.ended()

            assert 503 == stream.status
            assert 7 <= int(stream.headers["retry-after"]) < 14


async def test_nothing_is_taken_once_draining() -> None:
    async with broadcast() as app:
        app.drain()

        assert 503 == (await post(app, b"topic=a&data=x")).status
        assert 503 == (await post(app, b"data: x\n\n", STREAM, "topic=a")).status
        assert 0 == app.hub.stats.published


async def test_while_the_store_cannot_be_reached_publishers_have_to_come_again() -> None:
    store = ScriptedStore()
    async with broadcast(store, retry=7000) as app:
        store.stall()

        answer = await post(app, b"x", "text/plain", "topic=a")

        assert 503 == answer.status
        assert 7 <= int(answer.headers["retry-after"]) < 14
        assert "cannot be reached; come again later" in json.loads(answer.body)["detail"]

        store.recover()

        assert 200 == (await post(app, b"x", "text/plain", "topic=a")).status


@pytest.mark.parametrize("kind", ["text/plain", STREAM, FORM])
@pytest.mark.parametrize(("error", "status"), [(StorageFull("full"), 507), (OSError("odd"), 503)])
async def test_what_the_store_cannot_take_is_told_with_a_time_to_come_again(
    kind: str, error: OSError, status: int
) -> None:
    class Failing(MemoryStore):
        async def append(self, draft: Draft, key: str | None = None) -> int:  # noqa: ARG002
            raise error

    body, query = (b"data: x\n\n", "topic=a") if kind != FORM else (b"topic=a&data=x", "")
    async with broadcast(Failing(), retry=7000) as app:
        answer = await post(app, body, kind, query)
        ended = await fetch(app, "/events", query="topic=a", method="DELETE")

        assert [status, status] == [answer.status, ended.status]
        assert 7 <= int(answer.headers["retry-after"]) < 14
        assert "odd" not in answer.body.decode()
        assert {"full" if status == 507 else "unreachable": 2} == app.hub.stats.append_errors


# Any body at all


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
    read: Callable[..., Any] = forms.parse_pairs
    try:
        text = urlencode(pairs).encode()
    except UnicodeEncodeError:
        return

    expected = [(name, value.encode()) for name, value in pairs]
    assert expected == read(text, "form", most=len(pairs))
