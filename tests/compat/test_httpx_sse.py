# ruff: noqa: E402
"""The names of httpx-sse, over httpx and over httpx2, against a real server."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from support.cases import CASES
from support.misbehaving import Misbehaving, answer, chunk, head, reset, send, silence, stream
from support.neighbours import need

need("httpx")

import httpx

from fastsse import EventTooLarge
from fastsse.compat import httpx_sse
from fastsse.compat.httpx_sse import (
    EventSource,
    ServerSentEvent,
    SSEError,
    aconnect_sse,
    connect_sse,
)

BODY = b'id: 1\nevent: login\nretry: 5\ndata: {"user": 4135}\n\ndata: b\n\n'


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> ModuleType:
    return need(request.param)


@pytest.fixture
def client(library: Any) -> Iterator[Any]:
    with library.Client(verify=False) as client:
        yield client


@pytest.fixture
async def async_client(library: Any) -> AsyncIterator[Any]:
    async with library.AsyncClient(verify=False) as client:
        yield client


def fields(sse: ServerSentEvent) -> tuple[str, str, str, int | None]:
    return sse.event, sse.data, sse.id, sse.retry


class Body(httpx.SyncByteStream):
    """A body that comes in pieces of one size."""

    def __init__(self, body: bytes, size: int) -> None:
        self.pieces = [body[start : start + size] for start in range(0, len(body), size)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)


def response_of(body: bytes, size: int) -> httpx.Response:
    headers = {"Content-Type": "text/event-stream; charset=iso-8859-1"}
    return httpx.Response(200, headers=headers, stream=Body(body, size))


class TestSurface:
    def test_the_names_are_those_of_the_library(self) -> None:
        original = need("httpx_sse")

        assert set(original.__all__) - {"__version__"} == set(httpx_sse.__all__)
        assert "0.4.3" == httpx_sse.__version__

    @pytest.mark.parametrize(
        "name", ["connect_sse", "aconnect_sse", "ServerSentEvent", "EventSource"]
    )
    def test_the_arguments_are_those_of_the_library(self, name: str) -> None:
        original = inspect.signature(getattr(need("httpx_sse"), name))
        ours = inspect.signature(getattr(httpx_sse, name))

        assert [(one.name, one.kind, one.default) for one in original.parameters.values()] == [
            (one.name, one.kind, one.default) for one in ours.parameters.values()
        ]

    def test_an_event_has_defaults(self) -> None:
        assert ("message", "", "", None) == fields(ServerSentEvent())
        assert ("message", "", "", None) == fields(ServerSentEvent("", None, None, None))

    def test_an_event_is_shown_without_what_it_lacks(self) -> None:
        full = ServerSentEvent(data="data", retry=3, id="id", event="event")

        assert "ServerSentEvent(event='message')" == repr(ServerSentEvent())
        assert "ServerSentEvent(event='event', data='data', id='id', retry=3)" == repr(full)

    @pytest.mark.parametrize("name", ["event", "data", "id", "retry"])
    def test_the_attributes_of_an_event_cannot_be_set(self, name: str) -> None:
        with pytest.raises(AttributeError):
            setattr(ServerSentEvent(), name, "x")

    def test_data_that_is_no_json_is_refused_as_there(self) -> None:
        with pytest.raises(json.JSONDecodeError):
            ServerSentEvent(data="{").json()
        assert {"key": "value"} == ServerSentEvent(data='{"key": "value"}').json()

    def test_the_error_is_one_of_transport(self) -> None:
        assert issubclass(SSEError, httpx.TransportError)
        assert "x" == str(SSEError("x"))
        assert SSEError("x").response is None


class TestReading:
    def test_events_come_with_their_fields(self, client: Any) -> None:
        with Misbehaving([stream(BODY)]) as server:
            with connect_sse(client, "GET", server.url) as source:
                events = list(source.iter_sse())

        assert [("login", '{"user": 4135}', "1", 5), ("message", "b", "1", None)] == [
            *map(fields, events)
        ]
        assert {"user": 4135} == events[0].json()

    async def test_events_come_to_a_task_with_their_fields(self, async_client: Any) -> None:
        with Misbehaving([stream(BODY)]) as server:
            async with aconnect_sse(async_client, "GET", server.url) as source:
                events = [sse async for sse in source.aiter_sse()]

        assert [("login", '{"user": 4135}', "1", 5), ("message", "b", "1", None)] == [
            *map(fields, events)
        ]

    def test_an_event_is_given_as_soon_as_it_is_there(self, client: Any) -> None:
        opening = head(headers={"Transfer-Encoding": "chunked"})
        with Misbehaving([send(opening + chunk(b"data: a\r\n\r")), silence()]) as server:
            with connect_sse(client, "GET", server.url) as source:
                assert "a" == next(source.iter_sse()).data

    @pytest.mark.parametrize("size", [1, 3, 4096])
    def test_bytes_are_read_as_the_standard_says(self, size: int) -> None:
        for case in CASES:
            events = list(EventSource(response_of(case.stream, size)).iter_sse())

            assert [(one.event, one.data, one.id) for one in case.events] == [
                fields(sse)[:3] for sse in events
            ], case
            told = [sse.retry for sse in events if sse.retry is not None]
            if events and case.stream.rfind(b"retry") < case.stream.rfind(b"data"):
                assert ([] if case.retry is None else [case.retry]) == told[-1:], case

    def test_a_reconnection_time_that_came_alone_is_told_by_the_next_event(
        self, client: Any
    ) -> None:
        blocks = [b"retry: 3000\n\n", b"data: a\n\n", b"data: b\n\n"]
        opening = send(head(headers={"Transfer-Encoding": "chunked"}))
        steps = [opening, *(send(chunk(block)) for block in blocks), send(b"0\r\n\r\n")]
        with Misbehaving(steps) as server:
            with connect_sse(client, "GET", server.url) as source:
                events = [*map(fields, source.iter_sse())]

        assert [("message", "a", "", 3000), ("message", "b", "", None)] == events

    def test_a_compressed_body_is_read(self, client: Any) -> None:
        import gzip

        packed = gzip.compress(BODY)
        with Misbehaving([stream(packed, {"Content-Encoding": "gzip"})]) as server:
            with connect_sse(client, "GET", server.url) as source:
                assert ["login", "message"] == [sse.event for sse in source.iter_sse()]

    def test_a_body_that_was_read_already_is_decoded(self, library: Any) -> None:
        response = library.Response(
            200, headers={"Content-Type": "text/event-stream"}, content=BODY
        )
        response.read()

        assert ["login", "message"] == [sse.event for sse in EventSource(response).iter_sse()]

    def test_a_connection_that_breaks_off_raises_after_the_events_before(
        self, library: Any, client: Any
    ) -> None:
        found: list[str] = []
        opening = head(headers={"Transfer-Encoding": "chunked"})
        with Misbehaving([send(opening + chunk(b"data: a\n\ndata: b")), reset]) as server:
            with connect_sse(client, "GET", server.url) as source:
                with pytest.raises(library.TransportError) as caught:
                    found.extend(sse.data for sse in source.iter_sse())

        assert ["a"] == found
        assert not isinstance(caught.value, SSEError)

    async def test_an_iterator_can_be_closed(self, async_client: Any) -> None:
        with Misbehaving([send(head() + BODY), silence()]) as server:
            async with aconnect_sse(async_client, "GET", server.url) as source:
                events = source.aiter_sse()
                assert "login" == (await anext(events)).event
                await events.aclose()

    def test_an_event_that_is_too_large_raises_after_the_events_before(self, client: Any) -> None:
        found: list[str] = []
        with Misbehaving([stream(b"data: a\n\ndata: " + b"x" * 100 + b"\n\n")]) as server:
            with connect_sse(client, "GET", server.url) as source:
                source.max_event_size = 50
                with pytest.raises(SSEError, match="50") as caught:
                    found.extend(sse.data for sse in source.iter_sse())

        assert ["a"] == found
        assert isinstance(caught.value.__cause__, EventTooLarge)
        assert source.response is caught.value.response


class TestContentType:
    @pytest.mark.parametrize(
        "given",
        [
            "text/event-stream",
            "text/event-stream; charset=utf-8",
            "text/event-stream;charset=iso-8859-1",
            "Text/Event-Stream",
            "application/json, text/event-stream; charset=utf-8",
            "application/json; q=1, text/event-stream",
        ],
    )
    def test_an_event_stream_is_read(self, given: str, library: Any) -> None:
        response = library.Response(200, headers={"Content-Type": given}, content=b"data: a\n\n")

        assert ["a"] == [sse.data for sse in EventSource(response).iter_sse()]

    @pytest.mark.parametrize(
        "given", ["text/event-streamx", "xtext/event-stream", "text/plain", "application/json", ""]
    )
    def test_anything_but_an_event_stream_is_an_error(
        self, given: str, library: Any, client: Any
    ) -> None:
        script = [send(head(200, {"Connection": "close"}, given or None) + b"no stream")]
        with Misbehaving(script) as server:
            with connect_sse(client, "GET", server.url) as source:
                with pytest.raises(SSEError, match="text/event-stream") as caught:
                    next(source.iter_sse())

                assert isinstance(caught.value, (SSEError, library.TransportError))
                assert isinstance(caught.value, library.TransportError)
                assert server.url == str(caught.value.request.url)
                assert "no stream" == caught.value.response.read().decode()

    async def test_a_task_is_told_too(self, library: Any, async_client: Any) -> None:
        with Misbehaving([send(answer(200, body=b"no stream"))]) as server:
            async with aconnect_sse(async_client, "GET", server.url) as source:
                with pytest.raises(SSEError) as caught:
                    async for _ in source.aiter_sse():
                        pass

        assert isinstance(caught.value, library.TransportError)

    def test_a_status_is_the_callers_to_check(self, library: Any, client: Any) -> None:
        with Misbehaving([send(answer(404, body=b"gone"))]) as server:
            with connect_sse(client, "GET", server.url) as source:
                with pytest.raises(library.HTTPStatusError):
                    source.response.raise_for_status()


class TestRequest:
    GIVEN = (
        None,
        {"Last-Event-ID": "é", "accept": "x/y"},
        [("Last-Event-ID", "é"), ("Cache-Control", "max-age=1")],
        "headers",
    )

    @pytest.mark.parametrize("given", GIVEN, ids=["none", "dict", "pairs", "headers"])
    def test_headers_are_copied_and_set(self, given: Any, library: Any, client: Any) -> None:
        if given == "headers":
            given = library.Headers({b"Last-Event-ID": "é".encode(), b"Accept": b"x/y"})
        before = repr(given)
        with Misbehaving([stream(BODY)]) as server:
            with connect_sse(client, "GET", server.url, headers=given):
                pass

        assert before == repr(given)
        sent = server.requests[0].headers
        assert "text/event-stream" == sent["accept"]
        assert "no-store" == sent["cache-control"]
        assert ("é" if given else None) == sent.get("last-event-id")

    async def test_a_task_sends_what_it_is_given(self, async_client: Any) -> None:
        headers = {"X-A": "b"}
        with Misbehaving([stream(BODY)]) as server:
            async with aconnect_sse(
                async_client,
                "POST",
                server.url,
                headers=headers,
                json={"a": 1},
                params={"q": "z"},
                timeout=5,
            ) as source:
                assert 200 == source.response.status_code

        asked = server.requests[0]
        assert ("POST", "/events?q=z", "b") == (asked.method, asked.target, asked.headers["x-a"])
        assert {"a": 1} == json.loads(asked.body)
        assert {"X-A": "b"} == headers

    def test_credentials_and_redirects_are_the_librarys(self, client: Any) -> None:
        script = [send(answer(302, {"Location": "/there"}))], [stream(BODY)]
        with Misbehaving(*script) as server:
            with connect_sse(
                client, "GET", server.url, auth=("a", "b"), follow_redirects=True
            ) as source:
                assert ["login", "message"] == [sse.event for sse in source.iter_sse()]

        assert ["/events", "/there"] == [asked.target for asked in server.requests]
        assert all("authorization" in asked.headers for asked in server.requests)

    def test_a_url_of_the_library_is_taken(self, library: Any, client: Any) -> None:
        with Misbehaving([stream(BODY)]) as server:
            with connect_sse(client, "GET", library.URL(server.url)) as source:
                assert 2 == len(list(source.iter_sse()))


class TestOwnWay:
    """Clients whose `stream` is not the library's: subclasses, and what tests put in its place."""

    def test_a_subclass_is_asked(self, library: Any) -> None:
        class Signing(library.Client):  # type: ignore[misc]
            def stream(self, method: str, url: Any, **given: Any) -> Any:
                given["headers"]["X-Signed"] = f"{method} {url}"
                return super().stream(method, url, **given)

        given = {"X-A": "b", "accept": "x/y"}
        with Misbehaving([stream(BODY)]) as server, Signing(verify=False) as client:
            with connect_sse(
                client, "POST", server.url, headers=given, json={"a": 1}, auth=("a", "b")
            ) as source:
                assert 2 == len(list(source.iter_sse()))
            assert source.response.is_closed

        asked = server.requests[0]
        assert {"X-A": "b", "accept": "x/y"} == given
        assert f"POST {server.url}" == asked.headers["x-signed"]
        assert ("b", "text/event-stream") == (asked.headers["x-a"], asked.headers["accept"])
        assert {"a": 1} == json.loads(asked.body)
        assert "authorization" in asked.headers

    async def test_a_subclass_is_asked_in_a_task(self, library: Any) -> None:
        class Signing(library.AsyncClient):  # type: ignore[misc]
            def stream(self, method: str, url: Any, **given: Any) -> Any:
                given["headers"]["X-Signed"] = f"{method} {url}"
                return super().stream(method, url, **given)

        with Misbehaving([stream(BODY)]) as server:
            async with (
                Signing(verify=False) as client,
                aconnect_sse(client, "GET", server.url) as source,
            ):
                assert 2 == len([sse async for sse in source.aiter_sse()])
            assert source.response.is_closed

        assert f"GET {server.url}" == server.requests[0].headers["x-signed"]

    def test_what_stands_in_for_the_method_is_asked(
        self, library: Any, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[Any, ...]] = []
        headers = {"Content-Type": "text/event-stream"}

        @contextmanager
        def stand_in(*given: Any, **named: Any) -> Iterator[Any]:
            asked.append((*given, named["headers"]))
            yield library.Response(200, headers=headers, content=BODY)
            asked.append(("left",))

        monkeypatch.setattr(client, "stream", stand_in)
        with connect_sse(client, "GET", "http://a.example") as source:
            assert 2 == len(list(source.iter_sse()))

        wanted = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        assert [("GET", "http://a.example", wanted), ("left",)] == asked

    def test_an_exception_of_the_block_is_told(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[str] = []

        @contextmanager
        def stand_in(*_: Any, **__: Any) -> Iterator[Any]:
            try:
                yield None
            except LookupError as error:
                told.append(str(error))
                raise

        monkeypatch.setattr(client, "stream", stand_in)
        with pytest.raises(LookupError), connect_sse(client, "GET", "http://a.example"):
            raise LookupError("mine")

        assert ["mine"] == told


class TestLeaving:
    def test_leaving_the_block_closes_the_connection(self, client: Any) -> None:
        with Misbehaving([send(head() + BODY), silence()]) as server:
            with connect_sse(client, "GET", server.url) as source:
                next(source.iter_sse())
            assert source.response.is_closed

    async def test_a_cancelled_task_closes_the_connection(self, async_client: Any) -> None:
        opened = asyncio.Event()

        async def read(url: str) -> None:
            async with aconnect_sse(async_client, "GET", url) as source:
                seen.append(source)
                async for _ in source.aiter_sse():
                    opened.set()

        seen: list[EventSource] = []
        with Misbehaving([send(head() + BODY), silence()]) as server:
            task = asyncio.create_task(read(server.url))
            await asyncio.wait_for(opened.wait(), 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert seen[0].response.is_closed

    async def test_one_that_is_left_alone_holds_no_generator(self, async_client: Any) -> None:
        finalised: list[Any] = []
        before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=finalised.append)
        try:
            with Misbehaving([send(head()), silence()]) as server:
                connecting = aconnect_sse(async_client, "GET", server.url)
                source = await connecting.__aenter__()
                response = source.response
                del connecting, source
                gc.collect()
                assert [] == finalised
                assert not response.is_closed
                await response.aclose()
        finally:
            sys.set_asyncgen_hooks(*before)

    def test_it_runs_under_trio(self, library: Any) -> None:
        trio: Any = need("trio")

        async def read(url: str) -> list[str]:
            async with library.AsyncClient(verify=False) as client:
                async with aconnect_sse(client, "GET", url) as source:
                    return [sse.event async for sse in source.aiter_sse()]

        with Misbehaving([stream(BODY)]) as server:
            assert ["login", "message"] == trio.run(read, server.url)


def test_the_documented_reconnection_resumes(client: Any) -> None:
    """Follow the library's own recipe: the last event ID and the reconnection time, by the caller."""
    scripts = [stream(b"retry: 1\n\nid: 7\ndata: a\n\n")], [stream(b"id: 8\ndata: b\n\n")]
    last_event_id, delay, found = "", 0, []
    with Misbehaving(*scripts) as server:
        for _ in scripts:
            headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
            with connect_sse(client, "GET", server.url, headers=headers) as source:
                for sse in source.iter_sse():
                    last_event_id = sse.id
                    delay = delay if sse.retry is None else sse.retry
                    found.append(sse.data)

    assert (["a", "b"], "8", 1) == (found, last_event_id, delay)
    assert [None, "7"] == [asked.headers.get("last-event-id") for asked in server.requests]
