# ruff: noqa: E402
"""The names of aiohttp-sse-client, over real sessions, against a server that does what a script says."""

from __future__ import annotations

import asyncio
import inspect
import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from support.misbehaving import Misbehaving, answer, chunk, head, reset, send, silence, stream
from support.neighbours import need

need("aiohttp")

import aiohttp
from yarl import URL

from fastsse.compat.aiohttp_sse_client import client as sse_client
from fastsse.compat.aiohttp_sse_client.client import EventSource, MessageEvent

SOON = timedelta(milliseconds=2)
BODY = b"id: 1\ndata: a\n\nevent: x\ndata: b\n\n"
END = [send(answer(204))]
WELL = [stream(BODY)]
BUSY = [send(answer(503, body=b"busy"))]


def source(server: Misbehaving, **options: Any) -> EventSource:
    return EventSource(server.url, **{"reconnection_time": SOON, **options})


async def all_of(server: Misbehaving, **options: Any) -> list[str]:
    async with source(server, **options) as events:
        return [event.data async for event in events]


class TestSurface:
    def test_the_arguments_are_those_of_the_library(self) -> None:
        given = inspect.signature(EventSource).parameters.values()

        assert [
            ("url", inspect.Parameter.empty),
            ("option", None),
            ("reconnection_time", timedelta(seconds=5)),
            ("max_connect_retry", 5),
            ("session", None),
            ("on_open", None),
            ("on_message", None),
            ("on_error", None),
            ("kwargs", inspect.Parameter.empty),
        ] == [(one.name, one.default) for one in given]

    def test_the_names_are_those_of_the_library(self) -> None:
        assert (0, 1, 2) == (
            sse_client.READY_STATE_CONNECTING,
            sse_client.READY_STATE_OPEN,
            sse_client.READY_STATE_CLOSED,
        )
        assert timedelta(seconds=5) == sse_client.DEFAULT_RECONNECTION_TIME
        assert (5, 10) == (
            sse_client.DEFAULT_MAX_CONNECT_RETRY,
            sse_client.DEFAULT_MAX_READ_RETRY,
        )
        assert "text/event-stream" == sse_client.CONTENT_TYPE_EVENT_STREAM
        assert "Last-Event-Id" == sse_client.LAST_EVENT_ID_HEADER

    def test_an_event_cannot_be_changed(self) -> None:
        event = MessageEvent(type="a", message="a", data="b", origin="c", last_event_id="d")

        with pytest.raises(AttributeError):
            event.data = "x"  # type: ignore[misc]

    def test_it_is_made_without_a_loop(self) -> None:
        events = EventSource("http://localhost/")

        assert URL("http://localhost/") == events.url
        assert sse_client.READY_STATE_CONNECTING == events.ready_state

    def test_a_plain_block_is_refused(self) -> None:
        with pytest.raises(TypeError, match="async with"):
            with EventSource("http://localhost/"):
                pass


class TestReading:
    async def test_events_come_with_their_fields(self) -> None:
        with Misbehaving(WELL, END) as server:
            async with source(server) as events:
                found = [event async for event in events]

        origin = server.url.removesuffix("/events")
        assert [
            MessageEvent("message", "message", "a", origin, "1"),
            MessageEvent("x", "x", "b", origin, "1"),
        ] == found

    async def test_the_request_is_the_callers(self) -> None:
        headers = {"X-A": "b", "accept": "x/y", "last-event-ID": "é"}
        with Misbehaving(WELL, END) as server:
            options = {"params": {"q": "z"}, "json": {"n": 1}, "cookies": {"c": "d"}}
            await all_of(server, option={"method": "POST"}, headers=headers, **options)

        asked = server.requests[0]
        assert ("POST", "/events?q=z", b'{"n": 1}') == (asked.method, asked.target, asked.body)
        assert "text/event-stream" == asked.headers["accept"]
        assert "no-cache" == asked.headers["cache-control"]
        assert "b" == asked.headers["x-a"]
        assert "c=d" == asked.headers["cookie"]
        assert ["é", "1"] == [one.headers["last-event-id"] for one in server.requests]
        assert {"X-A": "b", "accept": "x/y", "last-event-ID": "é"} == headers

    async def test_a_session_is_used_and_stays_open(self) -> None:
        async with aiohttp.ClientSession(
            headers={"X-S": "s"}, raise_for_status=True, timeout=aiohttp.ClientTimeout(total=60)
        ) as session:
            with Misbehaving(WELL, BUSY, END) as server:
                assert ["a", "b"] == await all_of(server, session=session)
            assert not session.closed

        assert ["s"] * 3 == [asked.headers["x-s"] for asked in server.requests]

    async def test_a_session_of_ours_is_closed(self) -> None:
        with Misbehaving(WELL, END) as server:
            events = source(server)
            await events.connect()
            session = events._transport._session
            await events.close()

        assert session.closed  # and the tests' warnings are errors: none is left unclosed

    async def test_redirects_are_the_librarys_and_the_origin_is_the_last_one(self) -> None:
        with Misbehaving(WELL, END) as there:
            with Misbehaving([send(answer(307, {"Location": there.url}))]) as server:
                async with source(server) as events:
                    first = await anext(events)

        assert there.url.removesuffix("/events") == first.origin

    async def test_an_event_is_given_as_soon_as_it_is_there(self) -> None:
        opening = head(headers={"Transfer-Encoding": "chunked"})
        with Misbehaving([send(opening + chunk(b"data: a\r\n\r")), silence()]) as server:
            async with source(server) as events:
                assert "a" == (await anext(events)).data

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
            (b"data: a\rdata: b\r\r", ["a\nb"]),
            (b"data: a\ndata\ndata\n\n", ["a\n\n"]),
            (b"data:  a\n\n", [" a"]),
            (b"data\n\n", [""]),
            (b"data: \xff\n\n", ["\ufffd"]),
            (b"event: x\n\n: c\n\ndata: a\n\ndata: b", ["a"]),
            ("data: a\u2028b\x85c\n\n".encode(), ["a\u2028b\x85c"]),
            (b"data: " + b"x" * 700_000 + b"\n\n", ["x" * 700_000]),
        ],
    )
    async def test_bytes_are_read_as_the_standard_says(self, body: bytes, found: list[str]) -> None:
        with Misbehaving([stream(body)], END) as server:
            assert found == await all_of(server)

    async def test_an_event_that_is_too_large_ends_the_stream(self) -> None:
        with Misbehaving([stream(b"data: a\n\ndata: " + b"x" * 100 + b"\n\n")]) as server:
            events = source(server)
            events.max_event_size = 50
            async with events:
                assert "a" == (await anext(events)).data
                with pytest.raises(ConnectionAbortedError, match="50"):
                    await anext(events)
                assert sse_client.READY_STATE_CLOSED == events.ready_state
                assert [] == [event async for event in events]


class TestComingAgain:
    async def test_a_stream_that_ended_or_broke_off_is_resumed(self) -> None:
        broken = [
            send(head(headers={"Content-Length": "99"}) + b"id: 2\ndata: b\n\nid: 9\nda"),
            reset,
        ]
        with Misbehaving(WELL, broken, [stream(b"data: c\n\n")], END) as server:
            assert ["a", "b", "b", "c"] == await all_of(server)

        assert [None, "1", "2", "2"] == [
            asked.headers.get("last-event-id") for asked in server.requests
        ]

    async def test_an_id_alone_and_an_id_with_nul_keep_the_place(self) -> None:
        bodies = b"id: 5\n\n", b"id: 6\x00\ndata: a\n\n", b"data: b\n\n"
        with Misbehaving(*([stream(body)] for body in bodies), END) as server:
            await all_of(server)

        assert [None, "5", "5", "5"] == [
            asked.headers.get("last-event-id") for asked in server.requests
        ]

    async def test_the_wait_is_the_servers_each_time(self) -> None:
        body = [stream(b"retry: 60\ndata: a\n\n")]
        with Misbehaving(body, body, body, body, END) as server:
            await all_of(server, reconnection_time=timedelta(seconds=300))

        times = [asked.at for asked in server.requests]
        assert all(0.055 < after - before for before, after in pairwise(times))

    async def test_no_wait_is_doubled(self) -> None:
        body = [stream(b"data: a\n\n")]
        with Misbehaving(*[body] * 12, END) as server:
            began = time.monotonic()
            await all_of(server, reconnection_time=timedelta(milliseconds=20))

        assert 0.2 < time.monotonic() - began < 20  # doubled, the last wait alone takes 80 s

    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    async def test_a_server_that_is_busy_is_asked_again(self, status: int) -> None:
        busy = [send(answer(status, {"Retry-After": "0"}))]
        with Misbehaving(busy, WELL, busy, busy, WELL, END) as server:
            assert ["a", "b"] * 2 == await all_of(server, max_connect_retry=2)

    async def test_connections_that_fail_are_counted_in_a_row(self) -> None:
        with Misbehaving([reset], [reset], WELL, [reset], [reset], WELL, [reset]) as server:
            with pytest.raises(aiohttp.ClientConnectionError):
                await all_of(server, max_connect_retry=2)

        assert 9 == len(server.requests)

    @pytest.mark.parametrize("retries", [0, 1, 3])
    async def test_the_first_connection_is_tried_again_so_often(self, retries: int) -> None:
        with Misbehaving(BUSY) as server:
            with pytest.raises(ConnectionError, match="503"):
                await all_of(server, max_connect_retry=retries)

        assert 1 + retries == len(server.requests)

    async def test_a_server_that_is_not_there_raises_what_aiohttp_raises(self) -> None:
        with Misbehaving(WELL, listening=False) as server:
            with pytest.raises(aiohttp.ClientConnectorError):
                await all_of(server, max_connect_retry=1)

    @pytest.mark.parametrize("by", ["argument", "session"])
    async def test_a_quiet_connection_is_given_up_after_the_callers_time_out(self, by: str) -> None:
        limit = aiohttp.ClientTimeout(sock_read=0.2)
        quiet = [send(head() + b"data: a\n\n"), silence()]
        async with aiohttp.ClientSession(timeout=limit) as session:
            options = {"session": session} if by == "session" else {"timeout": limit}
            with Misbehaving(quiet, WELL, END) as server:
                assert ["a", "a", "b"] == await all_of(server, **options)

    async def test_a_stream_may_last_longer_than_five_minutes(self) -> None:
        async with aiohttp.ClientSession() as session:
            events = EventSource("http://localhost/", session=session)

            assert events._kwargs["timeout"].total is None

    async def test_a_time_out_of_the_callers_session_is_kept(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=7)) as session:
            assert "timeout" not in EventSource("http://localhost/", session=session)._kwargs

    async def test_204_ends_the_iteration(self) -> None:
        with Misbehaving(WELL, END) as server:
            async with source(server) as events:
                assert 2 == len([event async for event in events])
                assert sse_client.READY_STATE_CLOSED == events.ready_state
                assert [] == [event async for event in events]

        assert 2 == len(server.requests)


class TestRefused:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (204, ConnectionAbortedError),
            (205, ConnectionAbortedError),
            (299, ConnectionAbortedError),
            (304, ConnectionAbortedError),
            (305, ConnectionRefusedError),
            (400, ConnectionError),
            (401, ConnectionRefusedError),
            (404, ConnectionError),
            (407, ConnectionRefusedError),
            (501, ConnectionError),
        ],
    )
    async def test_another_status_raises(self, status: int, kind: type[Exception]) -> None:
        with Misbehaving([send(answer(status))]) as server:
            events = source(server)
            with pytest.raises(ConnectionError, match=str(status)) as caught:
                await events.connect()  # and leaves no session behind: warnings are errors

        assert kind is type(caught.value)
        assert sse_client.READY_STATE_CLOSED == events.ready_state
        assert 1 == len(server.requests)

    @pytest.mark.parametrize(
        "given", [None, "text/plain", "text/event-streamx", "application/json"]
    )
    async def test_another_content_type_raises(self, given: str | None) -> None:
        with Misbehaving([send(head(200, {"Connection": "close"}, given) + b"why")]) as server:
            with pytest.raises(ConnectionAbortedError, match="Content-Type"):
                await all_of(server)

    async def test_a_redirect_that_is_not_to_be_followed_raises(self) -> None:
        with Misbehaving([send(answer(302, {"Location": "/there"}))]) as server:
            with pytest.raises(ConnectionAbortedError, match="302"):
                await all_of(server, allow_redirects=False)

        assert 1 == len(server.requests)

    async def test_redirects_in_a_circle_raise_what_aiohttp_raises(self) -> None:
        with Misbehaving([send(answer(302, {"Location": "/events"}))]) as server:
            with pytest.raises(aiohttp.TooManyRedirects):
                await all_of(server)

    async def test_an_address_that_is_none_raises_what_aiohttp_raises(self) -> None:
        with pytest.raises(aiohttp.InvalidURL):
            async with EventSource("nowhere"):
                pass


class TestHooks:
    async def test_they_are_called_with_the_states_of_the_standard(self) -> None:
        seen: list[tuple[str, Any]] = []
        with Misbehaving([reset], WELL, WELL, END) as server:
            events = source(
                server,
                on_open=lambda: seen.append(("open", events.ready_state)),
                on_error=lambda: seen.append(("error", events.ready_state)),
                on_message=lambda event: seen.append(("message", event.data)),
            )
            async with events:
                async for _ in events:
                    pass

        once = [("open", 1), ("message", "a"), ("message", "b"), ("error", 0)]
        assert [("error", 0), *once, *once, ("error", 2)] == seen

    async def test_one_that_raises_ends_no_stream(self) -> None:
        def broken() -> None:
            raise ZeroDivisionError

        with Misbehaving(WELL, WELL, END) as server:
            async with source(server) as events:
                events._on_error = broken
                assert ["a", "b"] == [(await anext(events)).data, (await anext(events)).data]
                with pytest.raises(ZeroDivisionError):
                    await anext(events)
                events._on_error = None
                assert ["a", "b"] == [event.data async for event in events]


class TestClosing:
    async def test_without_a_connection_there_is_nothing_to_iterate(self) -> None:
        with pytest.raises(ValueError, match="connect"):
            await anext(EventSource("http://localhost/"))

    async def test_without_a_block_it_is_opened_and_closed_by_hand(self) -> None:
        with Misbehaving([send(head() + BODY), silence()], WELL) as server:
            events = source(server)
            await events.connect()
            await events.connect()
            assert sse_client.READY_STATE_OPEN == events.ready_state
            assert "a" == (await anext(events)).data
            await events.close()
            assert sse_client.READY_STATE_CLOSED == events.ready_state
            assert [] == [event async for event in events]

            await events.connect()
            assert sse_client.READY_STATE_OPEN == events.ready_state
            assert "a" == (await anext(events)).data
            await events.close()

        assert [None, "1"] == [asked.headers.get("last-event-id") for asked in server.requests]

    @pytest.mark.parametrize(
        "script",
        [[send(head() + BODY), silence()], [stream(BODY + b"retry: 60000\n\n")]],
        ids=["reading", "waiting"],
    )
    async def test_another_task_ends_the_iteration_at_once(self, script: Any) -> None:
        with Misbehaving(script) as server:
            async with source(server) as events:
                found = [(await anext(events)).data, (await anext(events)).data]
                rest = asyncio.ensure_future(anext(events, None))
                await asyncio.sleep(0)
                await events.close()
                assert await asyncio.wait_for(rest, 8) is None

        assert ["a", "b"] == found

    async def test_a_cancelled_task_can_go_on(self) -> None:
        with Misbehaving([send(head() + BODY), silence()], WELL, END) as server:
            async with source(server) as events:
                assert ["a", "b"] == [(await anext(events)).data, (await anext(events)).data]
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(events), 0.05)
                assert ["a", "b"] == [event.data async for event in events]


async def test_the_documented_usage() -> None:
    """Follow the library's own example."""
    found, ended = [], False
    with Misbehaving(WELL, [send(answer(404))]) as server:
        async with sse_client.EventSource(server.url, reconnection_time=SOON) as event_source:
            try:
                async for event in event_source:
                    found.append(event)  # noqa: PERF401 - as the library's example has it
            except ConnectionError:
                ended = True

    assert (["a", "b"], True) == ([event.data for event in found], ended)
