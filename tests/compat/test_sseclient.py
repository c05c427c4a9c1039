# ruff: noqa: E402
"""The names of sseclient-py, over requests, urllib3, httpx, the standard library and plain iterables."""

from __future__ import annotations

import inspect
import io
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from support.cases import CASES
from support.misbehaving import Misbehaving, Step, chunk, head, reset, send, silence, stream
from support.neighbours import need

need("requests", "urllib3")

import requests
import urllib3

from fastsse import EventTooLarge
from fastsse.compat.sseclient import Event, SSEClient

BODY = b"retry: 5\n\nid: 1\nevent: x\ndata: a\ndata: b\n\n: ping\n\ndata: c\n\n"
CHUNKED = head(headers={"Transfer-Encoding": "chunked"})


def fields(event: Event) -> tuple[str | None, str, str, str | None]:
    return event.id, event.event, event.data, event.retry


def over_requests(url: str, stack: ExitStack) -> Any:
    session = stack.enter_context(requests.Session())
    return session.get(url, stream=True, headers={"Accept": "text/event-stream"})


def over_urllib3(url: str, stack: ExitStack) -> Any:
    pool = stack.enter_context(urllib3.PoolManager())
    return pool.request("GET", url, preload_content=False)


def over_stdlib(url: str, stack: ExitStack) -> Any:
    return stack.enter_context(urllib.request.urlopen(url))


def over_httpx(url: str, stack: ExitStack) -> Any:
    library: Any = need("httpx")
    client = stack.enter_context(library.Client(verify=False))
    response = stack.enter_context(client.stream("GET", url))
    return response.iter_bytes()


Opener = Callable[[str, ExitStack], Any]
OPENERS = [over_requests, over_urllib3, over_stdlib, over_httpx]
opened_by = pytest.mark.parametrize("opener", OPENERS, ids=lambda one: one.__name__)


class TestSurface:
    def test_the_arguments_are_those_of_the_library(self) -> None:
        assert ["event_source", "char_enc"] == [*inspect.signature(SSEClient).parameters]
        assert "utf-8" == inspect.signature(SSEClient).parameters["char_enc"].default
        assert ["id", "event", "data", "retry"] == [*inspect.signature(Event).parameters]

    def test_an_event_has_defaults_and_may_be_changed(self) -> None:
        event = Event()

        assert (None, "message", "", None) == fields(event)
        event.data = "x"
        assert "x" == event.data

    def test_an_event_says_what_it_is(self) -> None:
        assert "message event, no data" == str(Event())
        assert "x event #1, 3 bytes, retry in 5ms" == str(Event("1", "x", "abc", "5"))

    @pytest.mark.parametrize("given", ["http://localhost/", 7, None])
    def test_an_address_is_refused_by_name(self, given: Any) -> None:
        with pytest.raises(TypeError, match=r"fastsse\.client\.EventSource"):
            SSEClient(given)

    def test_an_encoding_that_nobody_knows_is_refused(self) -> None:
        with pytest.raises(LookupError, match="klingon"):
            SSEClient([], "klingon")


class TestReading:
    @opened_by
    def test_events_come_from_any_response(self, opener: Opener) -> None:
        with Misbehaving([stream(BODY)]) as server, ExitStack() as stack:
            events = [*map(fields, SSEClient(opener(server.url, stack)).events())]

        assert [("1", "x", "a\nb", "5"), ("1", "message", "c", None)] == events

    @pytest.mark.parametrize("opening", [head(), CHUNKED], ids=["whole", "chunked"])
    @opened_by
    def test_an_event_is_given_as_soon_as_it_is_there(self, opener: Opener, opening: bytes) -> None:
        block = b"data: a\n\n"
        body = chunk(block) if opening is CHUNKED else block
        with Misbehaving([send(opening + body), silence()]) as server, ExitStack() as stack:
            events = SSEClient(opener(server.url, stack)).events()
            assert "a" == next(events).data
            assert server.open_connections  # the server has more to say: nothing waited for its end

    def test_a_body_that_requests_has_read_already_is_decoded(self) -> None:
        with Misbehaving([stream(BODY)]) as server:
            response = requests.get(server.url, timeout=10)

        assert ["a\nb", "c"] == [event.data for event in SSEClient(response).events()]

    def test_a_compressed_body_is_read(self) -> None:
        import gzip

        script = [stream(gzip.compress(BODY), {"Content-Encoding": "gzip"})]
        for opener in (over_requests, over_urllib3):
            with Misbehaving(script) as server, ExitStack() as stack:
                client = SSEClient(opener(server.url, stack))
                assert ["a\nb", "c"] == [event.data for event in client.events()]

    @pytest.mark.parametrize("size", [1, 3, 4096])
    def test_bytes_are_read_as_the_standard_says(self, size: int) -> None:
        for case in CASES:
            pieces = range(0, len(case.stream), size)
            client = SSEClient(case.stream[start : start + size] for start in pieces)

            events = list(client.events())

            assert [(one.id or None, one.event, one.data) for one in case.events] == [
                fields(event)[:3] for event in events
            ], case
            assert all(event.retry is None or event.retry.isdigit() for event in events)

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252", "UTF8", "shift-jis"])
    @pytest.mark.parametrize("size", [1, 4096])
    def test_another_encoding_is_read(self, encoding: str, size: int) -> None:
        text = "あ" if encoding == "shift-jis" else "é"
        data = f"id: {text}\ndata: {text}\n\n".encode(encoding)
        pieces = (data[start : start + size] for start in range(0, len(data), size))

        events = [*map(fields, SSEClient(pieces, char_enc=encoding).events())]

        assert [(text, "message", text, None)] == events

    def test_a_stream_that_gives_text_is_refused(self) -> None:
        with pytest.raises(TypeError):
            list(SSEClient(["data: a\n\n"]).events())  # type: ignore[list-item]

    def test_bytes_themselves_are_no_stream_of_chunks(self) -> None:
        with pytest.raises(TypeError):
            list(SSEClient(b"data: a\n\n").events())  # type: ignore[arg-type]

    def test_an_event_that_is_too_large_raises_after_the_events_before(self) -> None:
        client = SSEClient([b"data: a\n\ndata: " + b"x" * 100])
        client.max_event_size = 50
        found: list[str] = []

        with pytest.raises(EventTooLarge):
            found.extend(event.data for event in client.events())

        assert ["a"] == found


class TestEnding:
    @pytest.mark.parametrize("opening", [head(headers={"Content-Length": "999"}), CHUNKED])
    def test_a_break_raises_what_requests_raises(self, opening: bytes) -> None:
        block = b"data: a\n\ndata: b"
        cut: list[Step] = [
            send(opening + (chunk(block) if opening is CHUNKED else block)),
            silence(0.1),
            reset,
        ]
        found: list[str] = []
        with Misbehaving(cut) as server, ExitStack() as stack:
            client = SSEClient(over_requests(server.url, stack))
            with pytest.raises(requests.RequestException):
                found.extend(event.data for event in client.events())

        assert ["a"] == found

    def test_a_time_out_raises_what_requests_raises(self) -> None:
        found: list[str] = []
        with Misbehaving([send(head() + b"data: a\n\n"), silence()]) as server:
            response = requests.get(server.url, stream=True, timeout=(10, 0.2))
            with pytest.raises(requests.ConnectionError), closing(response):
                found.extend(event.data for event in SSEClient(response).events())

        assert ["a"] == found

    def test_close_closes_the_stream(self) -> None:
        source = io.BytesIO(BODY)
        client = SSEClient(source)

        assert 2 == len(list(client.events()))
        client.close()

        assert source.closed

    @opened_by
    def test_close_closes_a_response(self, opener: Opener) -> None:
        with Misbehaving([send(head() + BODY), silence()]) as server, ExitStack() as stack:
            client = SSEClient(opener(server.url, stack))
            next(client.events())
            client.close()

    def test_a_later_call_goes_on(self) -> None:
        pieces = iter([b"data: a\n\n", b"data: b\n\n"])
        client = SSEClient(pieces)

        assert "a" == next(client.events()).data
        assert "b" == next(client.events()).data

    def test_many_streams_are_read_beside_each_other(self) -> None:
        def body() -> Iterator[bytes]:
            for number in range(200):
                yield b"data: %d\n\n" % number

        found: list[list[str]] = []
        threads = [
            threading.Thread(
                target=lambda: found.append([one.data for one in SSEClient(body()).events()])
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert [[str(number) for number in range(200)]] * 8 == found
