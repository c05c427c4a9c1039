"""EventSource of httpx2, read by the decoder of fastsse, and beside the library's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from support.cases import CASES
from support.misbehaving import head, reset, send, trickle
from support.sdks import Answering
from support.standard import Fields

from fastsse.adapters.httpx2 import EventSource


@pytest.fixture(scope="module")
def server() -> Iterator[Answering]:
    with Answering() as server:
        yield server


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(verify=False) as client:
        yield client


def fields_of(events: list[Any]) -> list[Fields]:
    return [Fields(event.data, event.event, event.id, event.retry) for event in events]


def read(client: httpx2.Client, server: Answering, **options: Any) -> list[Any]:
    with client.sse(server.url) as source:
        return list(EventSource(source.response, **options))


def test_every_row_of_the_standard(server: Answering, client: httpx2.Client) -> None:
    wrong = {}
    for case in CASES:
        server.says(case.stream)
        events = read(client, server)
        if case.events != fields_of(events):
            wrong[case.rule] = events

    assert {} == wrong


async def test_an_async_client(server: Answering) -> None:
    server.script = [
        send(head(200, {"Connection": "close"})),
        trickle(b"\xef\xbb\xbfretry: 5\n\nid: 1\ndata: \xe2\x80\xa8\xff\r\r: ping\n\n"),
    ]
    async with httpx2.AsyncClient(verify=False) as client:
        async with client.sse(server.url) as source:
            events = [event async for event in EventSource(source.response)]

    assert [httpx2.ServerSentEvent(data="\u2028\ufffd", id="1")] == events


def test_where_the_librarys_own_differs(server: Answering, client: httpx2.Client) -> None:
    server.says(b"\xef\xbb\xbfdata: a\n\nretry: 5\n\nid: 1\n\n")

    with client.sse(server.url) as source:
        own = list(source)

    assert [] == [event for event in own if event.data == "a"]
    assert ["a"] == [event.data for event in read(client, server)]


def test_a_response_of_a_plain_stream(server: Answering, client: httpx2.Client) -> None:
    server.says(b"event: x\ndata: [1]\n\n")

    with client.stream("POST", server.url) as response:
        source = EventSource(response)
        (event,) = source

    assert isinstance(source, httpx2.EventSource)
    assert source.response is response
    assert ("x", [1]) == (event.event, event.json())


def test_the_charset_of_the_response_is_ignored(server: Answering, client: httpx2.Client) -> None:
    kind = "Text/Event-Stream; charset=iso-8859-1"
    server.script = [send(head(200, {"Connection": "close"}, kind) + "data: €\n\n".encode())]

    assert ["€"] == [event.data for event in read(client, server)]


@pytest.mark.parametrize("kind", ["text/plain", "text/event-streamx", "application/json", None])
def test_another_content_type_is_refused(
    server: Answering, client: httpx2.Client, kind: str | None
) -> None:
    server.script = [send(head(200, {"Connection": "close"}, kind) + b"data: a\n\n")]

    with pytest.raises(httpx2.SSEError, match="must be 'text/event-stream', not ") as caught:
        read(client, server)

    assert server.url == str(caught.value.request.url)


@pytest.mark.parametrize(("options", "limit"), [({}, 2**20), ({"max_event_size": 100}, 100)])
def test_an_event_over_the_limit_comes_after_those_before_it(
    server: Answering, client: httpx2.Client, options: dict[str, int], limit: int
) -> None:
    server.says(b"data: a\n\n" * 3 + b"data: " + b"x" * limit + b"\n\n")
    seen: list[str] = []

    with client.sse(server.url) as source:
        events = EventSource(source.response, **options)
        with pytest.raises(httpx2.SSEError, match=f"an event is over {limit} bytes"):
            seen.extend(event.data for event in events)

    assert ["a", "a", "a"] == seen


def test_no_limit(server: Answering, client: httpx2.Client) -> None:
    server.says(b"data: " + b"x" * 2**21 + b"\n\n")

    assert [2**21] == [len(event.data) for event in read(client, server, max_event_size=None)]


def test_a_wrong_limit_is_refused_at_once(server: Answering, client: httpx2.Client) -> None:
    with pytest.raises(ValueError, match="max_event_size must be at least 1"):
        read(client, server, max_event_size=0)


def test_a_connection_that_breaks_is_told_as_by_the_library(
    server: Answering, client: httpx2.Client
) -> None:
    chunked = head(200, {"Transfer-Encoding": "chunked"})
    server.script = [send(chunked + b"9\r\ndata: a\n\n\r\n5\r\n: hel"), reset]

    with pytest.raises(httpx2.TransportError) as caught:
        read(client, server)

    assert server.url == str(caught.value.request.url)
