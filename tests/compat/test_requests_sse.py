# ruff: noqa: E402
"""The names of requests-sse, over real sessions, against a server that does what a script says."""

from __future__ import annotations

import inspect
import threading
import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from support.misbehaving import Misbehaving, answer, chunk, head, reset, send, silence, stream
from support.neighbours import need

need("requests")

import requests

from fastsse.compat import requests_sse
from fastsse.compat.requests_sse import (
    EventSource,
    InvalidContentTypeError,
    InvalidStatusCodeError,
    MessageEvent,
    ReadyState,
)

SOON = timedelta(milliseconds=2)
BODY = b"id: 1\ndata: a\n\nevent: x\ndata: b\n\n"
END = [send(answer(204))]
WELL = [stream(BODY)]
BUSY = [send(answer(503, body=b"busy"))]


def source(server: Misbehaving, **options: Any) -> EventSource:
    return EventSource(server.url, **{"reconnection_time": SOON, "timeout": 30, **options})


def all_of(server: Misbehaving, **options: Any) -> list[str | None]:
    with source(server, **options) as events:
        return [event.data for event in events]


class TestSurface:
    def test_the_names_are_those_of_the_library(self) -> None:
        names = {
            "EventSource",
            "InvalidContentTypeError",
            "InvalidStatusCodeError",
            "MessageEvent",
            "ReadyState",
        }

        assert names == set(requests_sse.__all__)
        assert timedelta(seconds=5) == requests_sse.DEFAULT_RECONNECTION_TIME
        assert [0, 1, 2] == [ReadyState.CONNECTING, ReadyState.OPEN, ReadyState.CLOSED]

    def test_the_arguments_are_those_of_the_library(self) -> None:
        given = inspect.signature(EventSource).parameters.values()

        assert [
            ("url", inspect.Parameter.empty),
            ("method", "GET"),
            ("reconnection_time", timedelta(seconds=5)),
            ("max_connect_retry", 5),
            ("timeout", None),
            ("session", None),
            ("on_open", None),
            ("on_message", None),
            ("on_error", None),
            ("latest_event_id", None),
            ("kwargs", inspect.Parameter.empty),
        ] == [(one.name, one.default) for one in given]

    def test_the_errors_are_those_of_requests(self) -> None:
        status = InvalidStatusCodeError(404, "text", response=None)
        kind = InvalidContentTypeError("a/b", "text")

        assert isinstance(status, requests.RequestException)
        assert (404, "text") == (status.status_code, str(status))
        assert isinstance(kind, requests.RequestException)
        assert "a/b" == kind.content_type

    def test_an_event_is_a_dataclass(self) -> None:
        assert MessageEvent("a", "b", "c", "d") == MessageEvent(
            type="a", data="b", origin="c", last_event_id="d"
        )


class TestReading:
    def test_events_come_with_their_fields(self) -> None:
        with Misbehaving(WELL, END) as server:
            with source(server) as events:
                found = list(events)

        origin = server.url.removesuffix("/events")
        assert [
            MessageEvent("message", "a", origin, "1"),
            MessageEvent("x", "b", origin, "1"),
        ] == found

    def test_the_request_is_the_callers(self) -> None:
        headers = {"X-A": "b", "accept": "x/y"}
        with Misbehaving(WELL, END) as server:
            options = {"params": {"q": "z"}, "json": {"n": 1}, "auth": ("u", "p")}
            all_of(server, method="POST", headers=headers, latest_event_id="é", **options)

        asked = server.requests[0]
        assert ("POST", "/events?q=z", b'{"n": 1}') == (asked.method, asked.target, asked.body)
        assert "text/event-stream" == asked.headers["accept"]
        assert "no-cache" == asked.headers["cache-control"]
        assert "b" == asked.headers["x-a"]
        assert asked.headers["authorization"].startswith("Basic ")
        assert ["é", "1"] == [one.headers["last-event-id"] for one in server.requests]
        assert {"X-A": "b", "accept": "x/y"} == headers

    def test_a_place_among_the_headers_is_where_it_begins(self) -> None:
        with Misbehaving([stream(b"data: a\n\n")], END) as server:
            all_of(server, headers={"last-event-ID": "7"})

        assert ["7", "7"] == [asked.headers["last-event-id"] for asked in server.requests]

    def test_a_session_is_used_and_stays_open(self) -> None:
        with requests.Session() as session:
            session.headers["X-S"] = "s"
            with Misbehaving(WELL, END, WELL) as server:
                all_of(server, session=session)
                assert 200 == session.get(server.url, timeout=10).status_code

        assert ["s"] * 3 == [asked.headers["x-s"] for asked in server.requests]

    def test_redirects_are_the_librarys_and_the_origin_is_the_last_one(self) -> None:
        with Misbehaving(WELL, END) as there:
            with Misbehaving([send(answer(307, {"Location": there.url}))]) as server:
                with source(server) as events:
                    first = next(events)

        assert there.url.removesuffix("/events") == first.origin

    def test_an_event_is_given_as_soon_as_it_is_there(self) -> None:
        opening = head(headers={"Transfer-Encoding": "chunked"})
        with Misbehaving([send(opening + chunk(b"data: a\r\n\r")), silence()]) as server:
            with source(server) as events:
                assert "a" == next(events).data

    @pytest.mark.parametrize("size", [1, 2, 511, 512, 513])
    def test_a_line_end_at_the_edge_of_a_chunk_cuts_no_event(self, size: int) -> None:
        body = b"data: " + b"x" * 505 + b"\r\ndata: second\r\n\r\n"
        opening = head(headers={"Transfer-Encoding": "chunked"})
        pieces = [chunk(body[start : start + size]) for start in range(0, len(body), size)]
        with Misbehaving([send(opening + b"".join(pieces) + chunk(b""))], END) as server:
            assert ["x" * 505 + "\nsecond"] == all_of(server)

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
            (b"data: a\rdata: b\r\r", ["a\nb"]),
            (b"data: a\ndata\ndata\n\n", ["a\n\n"]),
            (b"data:  a\n\n", [" a"]),
            (b"data: \xff\n\n", ["\ufffd"]),
            (b"event: x\n\n: c\n\ndata: a\n\ndata: b", ["a"]),
            ("data: a\u2028b\x85c\n\n".encode(), ["a\u2028b\x85c"]),
        ],
    )
    def test_bytes_are_read_as_the_standard_says(self, body: bytes, found: list[str]) -> None:
        with Misbehaving([stream(body)], END) as server:
            assert found == all_of(server)

    def test_an_event_that_is_too_large_ends_the_stream(self) -> None:
        with Misbehaving([stream(b"data: a\n\ndata: " + b"x" * 100 + b"\n\n")]) as server:
            events = source(server)
            events.max_event_size = 50
            with events:
                assert "a" == next(events).data
                with pytest.raises(requests.RequestException, match="50"):
                    next(events)

            assert ReadyState.CLOSED is events.ready_state
            assert [] == list(events)


class TestComingAgain:
    def test_a_stream_that_ended_or_broke_off_is_resumed(self) -> None:
        broken = [
            send(head(headers={"Content-Length": "99"}) + b"id: 2\ndata: b\n\nid: 9\nda"),
            reset,
        ]
        with Misbehaving(WELL, broken, [stream(b"data: c\n\n")], END) as server:
            assert ["a", "b", "b", "c"] == all_of(server)

        assert [None, "1", "2", "2"] == [
            asked.headers.get("last-event-id") for asked in server.requests
        ]

    def test_an_id_alone_and_an_id_with_nul_keep_the_place(self) -> None:
        bodies = b"id: 5\n\n", b"id: 6\x00\ndata: a\n\n", b"data: b\n\n"
        with Misbehaving(*([stream(body)] for body in bodies), END) as server:
            all_of(server)

        assert [None, "5", "5", "5"] == [
            asked.headers.get("last-event-id") for asked in server.requests
        ]

    def test_the_wait_is_the_servers_each_time(self) -> None:
        body = [stream(b"retry: 60\ndata: a\n\n")]
        with Misbehaving(body, body, body, body, END) as server:
            all_of(server, reconnection_time=timedelta(seconds=300))

        times = [asked.at for asked in server.requests]
        assert all(0.055 < after - before for before, after in pairwise(times))

    def test_no_wait_is_doubled(self) -> None:
        body = [stream(b"data: a\n\n")]
        with Misbehaving(*[body] * 12, END) as server:
            began = time.monotonic()
            all_of(server, reconnection_time=timedelta(milliseconds=20))

        assert 0.2 < time.monotonic() - began < 20  # doubled, the last wait alone takes 80 s

    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    def test_a_server_that_is_busy_is_asked_again(self, status: int) -> None:
        busy = [send(answer(status, {"Retry-After": "0"}))]
        with Misbehaving(busy, WELL, busy, busy, WELL, END) as server:
            assert ["a", "b"] * 2 == all_of(server, max_connect_retry=2)

    def test_connections_that_fail_are_counted_in_a_row(self) -> None:
        with Misbehaving([reset], [reset], WELL, [reset], [reset], WELL, [reset]) as server:
            with pytest.raises(requests.ConnectionError):
                all_of(server, max_connect_retry=2)

        assert 9 == len(server.requests)

    @pytest.mark.parametrize("retries", [0, 1, 3])
    def test_the_first_connection_is_tried_again_so_often(self, retries: int) -> None:
        with Misbehaving(BUSY) as server:
            with pytest.raises(InvalidStatusCodeError) as caught:
                all_of(server, max_connect_retry=retries)

        assert 1 + retries == len(server.requests)
        assert (503, "busy") == (caught.value.status_code, caught.value.response.text)  # type: ignore[union-attr]

    def test_a_server_that_is_not_there_raises_what_requests_raises(self) -> None:
        with Misbehaving(WELL, listening=False) as server:
            with pytest.raises(requests.ConnectionError):
                all_of(server, max_connect_retry=1)

    def test_a_quiet_connection_is_given_up_after_the_time_out(self) -> None:
        with Misbehaving([send(head() + b"data: a\n\n"), silence()], WELL, END) as server:
            assert ["a", "a", "b"] == all_of(server, timeout=0.2)

    def test_204_ends_the_iteration(self) -> None:
        with Misbehaving(WELL, END) as server:
            with source(server) as events:
                assert 2 == len(list(events))
                assert ReadyState.CLOSED is events.ready_state
                assert [] == list(events)

        assert 2 == len(server.requests)

    def test_a_wait_of_a_year_is_refused(self) -> None:
        with Misbehaving([send(answer(503, {"Retry-After": "31536000"}))]) as server:
            with pytest.raises(InvalidStatusCodeError):
                all_of(server)

        assert 1 == len(server.requests)


class TestRefused:
    @pytest.mark.parametrize("status", [204, 205, 210, 299, 304, 400, 401, 404, 410, 501])
    def test_another_status_raises(self, status: int) -> None:
        with Misbehaving([send(answer(status, body=b"why"))]) as server:
            events = source(server)
            with pytest.raises(InvalidStatusCodeError, match=str(status)) as caught:
                events.connect()

        assert status == caught.value.status_code
        assert caught.value.response is not None
        assert status == caught.value.response.status_code
        assert ("" if status in (204, 304) else "why") == caught.value.response.text
        assert ReadyState.CLOSED is events.ready_state
        assert 1 == len(server.requests)

    @pytest.mark.parametrize(
        "given", [None, "text/plain", "text/event-streamx", "application/json"]
    )
    def test_another_content_type_raises(self, given: str | None) -> None:
        with Misbehaving([send(head(200, {"Connection": "close"}, given) + b"why")]) as server:
            with pytest.raises(InvalidContentTypeError) as caught:
                all_of(server)

        assert given == caught.value.content_type
        assert caught.value.response is not None
        assert "why" == caught.value.response.text

    @pytest.mark.parametrize("given", ["Text/Event-Stream", "text/event-stream;charset=latin-1"])
    def test_an_event_stream_is_one_in_any_case(self, given: str) -> None:
        with Misbehaving([send(head(200, {"Connection": "close"}, given) + BODY)], END) as server:
            assert ["a", "b"] == all_of(server)

    def test_a_redirect_that_is_not_to_be_followed_raises(self) -> None:
        with Misbehaving([send(answer(302, {"Location": "/there"}))]) as server:
            with pytest.raises(InvalidStatusCodeError) as caught:
                all_of(server, allow_redirects=False)

        assert 302 == caught.value.status_code
        assert 1 == len(server.requests)

    def test_redirects_in_a_circle_raise_what_requests_raises(self) -> None:
        with Misbehaving([send(answer(302, {"Location": "/events"}))]) as server:
            with pytest.raises(requests.TooManyRedirects):
                all_of(server)

    @pytest.mark.parametrize("url", ["nowhere", "ftp://localhost/", "http://"])
    def test_an_address_that_is_none_raises_what_requests_raises(self, url: str) -> None:
        events = EventSource(url)

        with pytest.raises(requests.RequestException):
            events.connect(3)
        assert ReadyState.CLOSED is events.ready_state


class TestHooks:
    def test_they_are_called_with_the_states_of_the_standard(self) -> None:
        seen: list[tuple[str, Any]] = []
        with Misbehaving([reset], WELL, WELL, END) as server:
            events = source(
                server,
                on_open=lambda: seen.append(("open", events.ready_state)),
                on_error=lambda: seen.append(("error", events.ready_state)),
                on_message=lambda event: seen.append(("message", event.data)),
            )
            assert ReadyState.CONNECTING is events.ready_state
            with events:
                list(events)

        once = [("open", ReadyState.OPEN), ("message", "a"), ("error", ReadyState.CONNECTING)]
        assert [
            ("error", ReadyState.CONNECTING),
            *once,
            *once,
            ("error", ReadyState.CLOSED),
        ] == seen

    def test_one_that_raises_ends_no_stream(self) -> None:
        def broken() -> None:
            raise ZeroDivisionError

        with Misbehaving(WELL, WELL, END) as server:
            with source(server) as events:
                events._on_error = broken
                assert ["a", "b"] == [next(events).data, next(events).data]
                with pytest.raises(ZeroDivisionError):
                    next(events)
                events._on_error = None
                assert ["a", "b"] == [event.data for event in events]


class TestClosing:
    def test_without_a_connection_there_is_nothing_to_iterate(self) -> None:
        with pytest.raises(ValueError, match="connect"):
            next(EventSource("http://localhost/"))

    def test_without_a_block_it_is_opened_and_closed_by_hand(self) -> None:
        with Misbehaving([send(head() + BODY), silence()], WELL) as server:
            events = source(server)
            events.connect()
            events.connect()
            assert ReadyState.OPEN is events.ready_state
            assert "a" == next(events).data
            events.close()
            assert ReadyState.CLOSED is events.ready_state
            assert [] == list(events)

            events.connect()
            assert ReadyState.OPEN is events.ready_state
            assert "a" == next(events).data
            events.close()

        assert [None, "1"] == [asked.headers.get("last-event-id") for asked in server.requests]

    @pytest.mark.parametrize(
        "script",
        [[send(head() + BODY), silence()], [stream(BODY + b"retry: 60000\n\n")]],
        ids=["reading", "waiting"],
    )
    def test_another_thread_ends_the_iteration_at_once(self, script: Any) -> None:
        with Misbehaving(script) as server:
            began = time.monotonic()
            with source(server) as events:
                threading.Timer(0.2, events.close).start()
                assert ["a", "b"] == [event.data for event in events]
            assert time.monotonic() - began < 8
            assert ReadyState.CLOSED is events.ready_state

    def test_leaving_the_block_closes_the_connection(self) -> None:
        with Misbehaving([send(head() + BODY), silence()]) as server:
            with source(server) as events:
                next(events)
            until = time.monotonic() + 5
            while server.open_connections:
                assert time.monotonic() < until
                time.sleep(0.002)


def test_the_documented_usage() -> None:
    """Follow the library's own example."""
    with Misbehaving(WELL, [send(answer(404))]) as server:
        with EventSource(server.url, timeout=30, reconnection_time=SOON) as event_source:
            found, ended = [], ""
            try:
                for event in event_source:
                    found.append(event.data)  # noqa: PERF401 - as the library's example has it
            except InvalidStatusCodeError:
                ended = "status"
            except InvalidContentTypeError:
                ended = "content type"
            except requests.RequestException:
                ended = "request"

    assert (["a", "b"], "status") == (found, ended)
