"""The names of sse-starlette: its documented manner and bytes, over the strict server in memory and under real ones."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import json
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from support.servers import Clients, serve_granian, serve_uvicorn, wait_for

pytest.importorskip("starlette")

import anyio
from starlette.background import BackgroundTask
from starlette.responses import Response

from fastsse import Decoder, Event, InvalidField, encode
from fastsse.compat import sse_starlette
from fastsse.compat.sse_starlette import (
    EventSourceResponse,
    JSONServerSentEvent,
    ServerSentEvent,
    _status,
)
from fastsse.compat.sse_starlette.event import ensure_bytes
from fastsse.compat.sse_starlette.sse import AppStatus, SendTimeoutError
from fastsse.testing import Stream, open_stream

SOON = 0.03  # s
PARAMETERS = (
    "content status_code headers media_type background ping sep ping_message_factory data_sender_callable"
    " send_timeout client_close_handler_callable shutdown_event shutdown_grace_period cleanup_timeout"
)


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    yield
    AppStatus.should_exit = False
    AppStatus.enable_automatic_graceful_drain = True
    assert {} == _status._open


class Items:
    """Items that a test looks into: how many were asked for, and whether they were closed, in which task."""

    def __init__(self, *items: Any, endless: bool = True) -> None:
        self.items = items
        self.endless = endless
        self.asked = 0
        self.closed = 0
        self.tasks: set[Any] = set()

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            for item in self.items:
                self.asked += 1
                self.tasks.add(asyncio.current_task())
                yield item
            self.asked += 1
            while self.endless:
                await asyncio.sleep(3600)
        finally:
            self.tasks.add(asyncio.current_task())
            self.closed += 1


def numbers(count: int) -> Items:
    return Items(*range(count), endless=False)


async def body_of(response: Any, **options: Any) -> bytes:
    async with open_stream(response, **options) as stream:
        return await stream.rest()


class TestSurface:
    def test_the_arguments_are_named_in_their_order(self) -> None:
        signature = inspect.signature(EventSourceResponse)

        assert PARAMETERS.split() == [*signature.parameters]
        assert "shutdown_grace_period" in inspect.signature(EventSourceResponse.__init__).parameters
        assert (
            EventSourceResponse.DEFAULT_CLEANUP_TIMEOUT
            == signature.parameters["cleanup_timeout"].default
        )

    def test_every_argument_may_be_given_by_place(self) -> None:
        response = EventSourceResponse(
            [], 201, {"x-a": "b"}, "text/plain", None, 7, "\n", None, None, 2.5, None, None, 0, None
        )

        assert (201, 7, "\n", 2.5) == (
            response.status_code,
            response.ping_interval,
            response.sep,
            response.send_timeout,
        )
        assert "text/plain; charset=utf-8" == response.headers["content-type"]

    def test_the_modules_have_the_names_that_projects_import(self) -> None:
        from fastsse.compat.sse_starlette import event, sse

        assert sse.ServerSentEvent is event.ServerSentEvent is sse_starlette.ServerSentEvent
        assert sse.EventSourceResponse is sse_starlette.EventSourceResponse
        assert sse.ensure_bytes is event.ensure_bytes
        assert {"Content", "ContentStream", "AsyncContentStream", "SyncContentStream"} <= {
            *sse.__all__
        }

    def test_a_response_is_one_of_starlettes(self) -> None:
        response = EventSourceResponse([], background=BackgroundTask(print))

        response.set_cookie("a", "b")

        assert isinstance(response, Response)
        assert "a=b" in response.headers["set-cookie"]
        assert response.background is not None

    def test_the_headers_of_a_stream_are_there(self) -> None:
        response = EventSourceResponse([])

        assert {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-store",
            "connection": "keep-alive",
            "x-accel-buffering": "no",
        } == dict(response.headers)

    def test_given_headers_are_joined(self) -> None:
        given = {"Cache-Control": "no-cache, no-transform", "Connection": "close", "X-Id": "1"}

        headers = EventSourceResponse([], headers=given).headers

        assert ("no-cache, no-transform", "keep-alive", "1") == tuple(
            headers[name] for name in ("cache-control", "connection", "x-id")
        )

    def test_a_content_type_of_the_caller_stands(self) -> None:
        response = EventSourceResponse([], headers={"Content-Type": "text/event-stream"})

        assert ["text/event-stream"] == response.headers.getlist("content-type")

    @pytest.mark.parametrize(("value", "error"), [("ten", TypeError), (-1, ValueError)])
    def test_a_ping_interval_is_checked(self, value: Any, error: type[Exception]) -> None:
        response = EventSourceResponse([])

        with pytest.raises(error, match="ping interval must be"):
            response.ping_interval = value
        with pytest.raises(error, match="ping interval must be"):
            EventSourceResponse([], ping=value)
        assert response.DEFAULT_PING_INTERVAL == response.ping_interval

    @pytest.mark.parametrize("name", ["shutdown_grace_period", "cleanup_timeout"])
    def test_a_delay_is_not_negative(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"{name} must be >= 0"):
            EventSourceResponse([], **{name: -1})

    def test_a_separator_is_a_line_end(self) -> None:
        with pytest.raises(ValueError, match="sep must be one of"):
            EventSourceResponse([], sep="\n\n")

    def test_compression_is_refused(self) -> None:
        with pytest.raises(NotImplementedError):
            EventSourceResponse([]).enable_compression()

    async def test_content_that_cannot_be_iterated_is_an_error_of_the_call(self) -> None:
        response = EventSourceResponse(0)  # type: ignore[arg-type]

        with pytest.raises(TypeError, match="iterable"):
            await body_of(response)

    def test_a_subclass_sets_other_defaults(self) -> None:
        class Mine(EventSourceResponse):
            DEFAULT_PING_INTERVAL = 3
            DEFAULT_SEPARATOR = "\n"

        response = Mine([])

        assert (3, "\n") == (response.ping_interval, response.sep)


class TestEvents:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"data": "a"}, b"data: a\r\n\r\n"),
            ({"data": 1}, b"data: 1\r\n\r\n"),
            ({"data": ""}, b"data: \r\n\r\n"),
            ({"data": {"a": 1}}, b"data: {'a': 1}\r\n\r\n"),
            (
                {"data": "a\nb\rc\r\nd\n"},
                b"data: a\r\ndata: b\r\ndata: c\r\ndata: d\r\ndata: \r\n\r\n",
            ),
            ({"data": "a\u2028b\x85c\x0bd"}, "data: a\u2028b\x85c\x0bd\r\n\r\n".encode()),
            ({"data": "a", "sep": "\r"}, b"data: a\r\r"),
            ({"comment": "x\ny"}, b": x\r\n: y\r\n\r\n"),
            ({"retry": 0}, b"retry: 0\r\n\r\n"),
            ({"id": ""}, b"id: \r\n\r\n"),
            ({}, b"\r\n"),
            (
                {"data": "a", "event": "e", "id": "1", "retry": 2, "comment": "c", "sep": "\n"},
                b": c\nid: 1\nevent: e\ndata: a\nretry: 2\n\n",
            ),
        ],
    )
    def test_an_event_has_these_bytes(self, fields: dict[str, Any], expected: bytes) -> None:
        assert expected == ServerSentEvent(**fields).encode()

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"event": "a\ndata: evil"}, InvalidField),
            ({"event": "a\r"}, InvalidField),
            ({"id": "1\nevent: evil"}, InvalidField),
            ({"id": "1\x002"}, InvalidField),
            ({"retry": -1}, InvalidField),
            ({"retry": True}, TypeError),
            ({"retry": "1"}, TypeError),
            ({"id": 1}, TypeError),
            ({"data": "\ud800"}, InvalidField),
        ],
    )
    def test_what_cannot_be_written_is_refused(
        self, fields: dict[str, Any], error: type[Exception]
    ) -> None:
        event = ServerSentEvent(**fields)

        with pytest.raises(error):
            event.encode()

    def test_a_field_that_was_set_later_is_checked_too(self) -> None:
        event = ServerSentEvent("a", event="fine")
        event.event = "e\ndata: evil"

        with pytest.raises(InvalidField):
            event.encode()

    @pytest.mark.parametrize(
        ("value", "text"),
        [({"a": "é"}, '{"a":"é"}'), ([1, None], "[1,null]"), ("x", '"x"'), (0, "0")],
    )
    def test_json_is_compact(self, value: Any, text: str) -> None:
        assert f"event: e\r\ndata: {text}\r\n\r\n".encode() == (
            JSONServerSentEvent(value, event="e").encode()
        )

    def test_json_of_nothing_is_no_data(self) -> None:
        assert b": c\r\n\r\n" == JSONServerSentEvent(comment="c").encode()

    def test_nan_is_refused(self) -> None:
        with pytest.raises(ValueError, match="JSON"):
            JSONServerSentEvent(float("nan"))

    @pytest.mark.parametrize(
        ("item", "expected"),
        [
            ("a", b"data: a\n\n"),
            (7, b"data: 7\n\n"),
            (None, b"data: None\n\n"),
            (b": raw", b": raw"),
            (memoryview(b"raw"), b"raw"),
            (bytearray(b"raw"), b"raw"),
            ({"data": "a", "sep": "\r\n"}, b"data: a\n\n"),
            (ServerSentEvent("a"), b"data: a\r\n\r\n"),
            (Event("a", id="1"), b"id: 1\ndata: a\n\n"),
        ],
    )
    def test_anything_becomes_a_block(self, item: Any, expected: bytes) -> None:
        assert expected == ensure_bytes(item, "\n")

    def test_a_dict_is_left_as_it_was(self) -> None:
        item = {"data": "a"}

        ensure_bytes(item, "\n")

        assert {"data": "a"} == item

    def test_a_dict_with_another_key_is_refused(self) -> None:
        with pytest.raises(TypeError, match="bogus"):
            ensure_bytes({"bogus": 1}, "\n")

    def test_the_bytes_are_those_of_the_original(self) -> None:
        original = pytest.importorskip("sse_starlette.event")
        texts = [None, "", "a", "a\nb", "é\r\n", " a", "x\r"]

        for data in [*texts, 1, {"a": 1}]:
            for event in (None, "e", ""):
                for comment in (None, "c\nd"):
                    for retry in (None, 5):
                        for sep in (None, "\n", "\r"):
                            fields = {
                                "event": event,
                                "id": event,
                                "comment": comment,
                                "retry": retry,
                                "sep": sep,
                            }
                            assert (
                                original.ServerSentEvent(data, **fields).encode()
                                == ServerSentEvent(data, **fields).encode()
                            )


class TestStreams:
    async def test_items_leave_one_by_one_and_the_body_ends(self) -> None:
        async with open_stream(EventSourceResponse(numbers(3))) as stream:
            chunks = [await stream.chunk() for _ in range(3)]
            await stream.ended()

            assert [b"data: 0\r\n\r\n", b"data: 1\r\n\r\n", b"data: 2\r\n\r\n"] == chunks
            assert (True, b"") == (stream.complete, stream.unread)

    @pytest.mark.parametrize("content", [[1, 2], range(1, 3), (n for n in (1, 2)), iter([1, 2])])
    async def test_content_may_be_sync(self, content: Any) -> None:
        assert b"data: 1\n\ndata: 2\n\n" == await body_of(EventSourceResponse(content, sep="\n"))

    async def test_text_as_content_gives_its_letters(self) -> None:
        response = EventSourceResponse("no", status_code=400, sep="\n")

        assert b"data: n\n\ndata: o\n\n" == await body_of(response)

    async def test_items_that_never_wait_leave_the_loop_its_turn(self) -> None:
        async def numbers() -> AsyncIterator[int]:
            number = 0
            while True:
                yield number
                number += 1

        async with open_stream(EventSourceResponse(numbers())) as stream:
            await stream.events(100)

    async def test_an_item_is_asked_for_when_the_one_before_was_sent(self) -> None:
        items = Items(*range(1000))
        async with open_stream(EventSourceResponse(items, ping=0)) as stream:
            stream.stall()
            await stream.blocked()
            asked = items.asked
            await asyncio.sleep(SOON)

            assert asked == items.asked < 1000
            stream.resume()
            await stream.events(1000)

    async def test_the_iterator_may_be_wrapped_before_the_call(self) -> None:
        response = EventSourceResponse(numbers(2), sep="\n")
        raw = response.body_iterator

        async def doubled() -> AsyncIterator[Any]:
            async for item in raw:
                yield item * 2

        response.body_iterator = doubled()

        assert b"data: 0\n\ndata: 2\n\n" == await body_of(response)

    async def test_the_items_run_in_one_task_to_their_end(self) -> None:
        items = Items("a", "b")
        async with open_stream(EventSourceResponse(items)) as stream:
            await stream.events(2)

        assert (1, 1) == (len(items.tasks), items.closed)

    async def test_the_items_see_the_context_of_the_request(self) -> None:
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

        async def items() -> AsyncIterator[str]:
            yield variable.get()

        async def app(*asgi: Any) -> None:
            variable.set("seen")
            await EventSourceResponse(items(), sep="\n")(*asgi)

        assert b"data: seen\n\n" == await body_of(app)

    async def test_cleanup_after_the_client_left_may_wait(self) -> None:
        done = []

        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(SOON)
                done.append("closed")

        async with open_stream(EventSourceResponse(items())) as stream:
            await stream.events(1)
            stream.disconnect()
            await stream.ended()

        assert ["closed"] == done

    async def test_an_error_of_the_items_reaches_the_server_as_it_is(self) -> None:
        async def items() -> AsyncIterator[str]:
            yield "a"
            raise LookupError("of the items")

        async with open_stream(EventSourceResponse(items())) as stream:
            assert b"data: a\r\n\r\n" == await stream.chunk()
            with pytest.raises(LookupError, match="of the items"):
                await stream.ended()
            assert not stream.complete

    async def test_an_item_that_cannot_be_written_closes_the_items(self) -> None:
        items = Items({"data": "a"}, {"bogus": 1})

        async with open_stream(EventSourceResponse(items)) as stream:
            with pytest.raises(TypeError, match="bogus"):
                await stream.ended()

        assert 1 == items.closed

    async def test_head_touches_no_content(self) -> None:
        items, fed = Items("a"), []
        response = EventSourceResponse(
            items,
            data_sender_callable=functools.partial(fed.append, 1),  # type: ignore[arg-type]
            background=BackgroundTask(fed.append, "background"),
        )

        async with open_stream(response, method="HEAD") as stream:
            assert b"" == await stream.rest()
            assert stream.complete

        assert (0, ["background"]) == (items.asked, fed)

    async def test_a_background_task_runs_after_the_client_left(self) -> None:
        ran: list[str] = []
        response = EventSourceResponse(Items("a"), background=BackgroundTask(ran.append, "ran"))

        async with open_stream(response) as stream:
            await stream.events(1)

        assert (["ran"], False) == (ran, response.active)

    def test_another_event_loop_gets_a_plain_word(self) -> None:
        trio = pytest.importorskip("trio")

        async def serve() -> None:
            scope = {"type": "http", "method": "GET", "headers": []}
            await EventSourceResponse([])(scope, None, None)  # type: ignore[arg-type]

        with pytest.raises(RuntimeError, match="needs asyncio"):
            trio.run(serve)

    async def test_http2_gets_no_connection_header(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["http_version"] = "2"
            await EventSourceResponse(numbers(0))(scope, receive, send)

        async with open_stream(app) as stream:
            assert "connection" not in stream.headers

    async def test_a_websocket_is_denied(self) -> None:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await asyncio.sleep(3600)

        await EventSourceResponse(numbers(1))({"type": "websocket", "headers": []}, receive, send)

        assert [
            "websocket.http.response.start",
            "websocket.http.response.body",
            "websocket.http.response.body",
        ] == [message["type"] for message in sent]

    async def test_each_chunk_is_logged_for_those_who_ask(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "sse_starlette.sse")

        await body_of(EventSourceResponse(numbers(1)))

        assert "chunk: b'data: 0\\r\\n\\r\\n'" in caplog.text


class TestPings:
    async def test_a_ping_comes_at_every_interval(self) -> None:
        async with open_stream(EventSourceResponse(Items(), ping=0.01)) as stream:
            first, second = await stream.block(), await stream.block()

            assert first.startswith(b": ping - ")
            assert first.endswith(b"\r\n\r\n")
            assert second.startswith(b": ping - ")

    @pytest.mark.parametrize(
        "ping", [{"comment": "p"}, ServerSentEvent(comment="p", sep="\n"), b": p\n\n"]
    )
    async def test_an_application_makes_its_own(self, ping: Any) -> None:
        response = EventSourceResponse(
            Items(), ping=0.01, sep="\n", ping_message_factory=lambda: ping
        )

        async with open_stream(response) as stream:
            assert b": p\n\n" == await stream.block()

    async def test_a_factory_that_fails_ends_the_stream(self) -> None:
        def fail() -> Any:
            raise LookupError("of the factory")

        items = Items()
        async with open_stream(
            EventSourceResponse(items, ping=0.01, ping_message_factory=fail)
        ) as stream:
            with pytest.raises(LookupError, match="of the factory"):
                await stream.ended()
        assert 1 == items.closed

    async def test_none_comes_with_an_interval_of_0(self) -> None:
        async with open_stream(EventSourceResponse(Items("a"), ping=0)) as stream:
            await stream.events(1)
            await asyncio.sleep(SOON)

            assert b"" == stream.unread

    async def test_a_ping_never_comes_while_a_send_is_pending(self) -> None:
        pending = 0
        sent: list[bytes] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def slow(message: Any) -> None:
                nonlocal pending
                pending += 1
                assert 1 == pending
                await asyncio.sleep(0.02)
                pending -= 1
                sent.append(message.get("body", b""))
                await send(message)

            await EventSourceResponse(numbers(4), ping=0.01, sep="\n")(scope, receive, slow)

        body = await body_of(app)

        assert [f"{n}" for n in range(4)] == [event.data for event in Decoder().feed(body)]
        assert 2 <= body.count(b": ping")
        assert sent[-1] == b""


class TestProducers:
    async def test_a_producer_feeds_a_channel(self) -> None:
        sender, receiver = anyio.create_memory_object_stream[dict[str, Any]](0)

        async def produce() -> None:
            async with sender:
                for number in range(3):
                    await sender.send({"data": number})

        response = EventSourceResponse(receiver, data_sender_callable=produce, sep="\n")

        assert b"data: 0\n\ndata: 1\n\ndata: 2\n\n" == await body_of(response)

    @pytest.mark.parametrize("size", [0, 1, 10])
    async def test_a_producer_is_cancelled_before_its_channel_is_closed(self, size: int) -> None:
        sender, receiver = anyio.create_memory_object_stream[dict[str, Any]](size)
        ended: list[type[BaseException]] = []

        async def produce() -> None:
            try:
                async with sender:
                    for number in range(100):
                        await sender.send({"data": number})
            except BaseException as error:
                ended.append(type(error))
                raise

        response = EventSourceResponse(receiver, data_sender_callable=produce, ping=0)
        async with open_stream(response) as stream:
            stream.stall()
            await stream.blocked()
            while not sender.statistics().tasks_waiting_send:
                await asyncio.sleep(0)
            stream.disconnect()
            await stream.ended()

        assert [asyncio.CancelledError] == ended
        with pytest.raises(anyio.ClosedResourceError):
            receiver.receive_nowait()

    async def test_a_producer_that_fails_ends_the_stream(self) -> None:
        async def produce() -> None:
            raise LookupError("of the producer")

        items = Items()
        response = EventSourceResponse(items, data_sender_callable=produce)
        async with open_stream(response) as stream:
            with pytest.raises(LookupError, match="of the producer"):
                await stream.ended()

        assert 1 == items.closed

    async def test_a_response_in_a_cancelled_scope_closes_everything(self) -> None:
        items, ended = Items("a"), []

        async def produce() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(True)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async with anyio.create_task_group() as group:
                response = EventSourceResponse(items, data_sender_callable=produce)
                group.start_soon(response, scope, receive, send)
                while not items.asked:
                    await asyncio.sleep(0)
                group.cancel_scope.cancel()

        async with open_stream(app, wait=False) as stream:
            await stream.ended()

        assert (1, [True]) == (items.closed, ended)


class TestClients:
    async def test_an_application_hears_that_the_client_left(self) -> None:
        heard: list[Any] = []

        async def left(message: Any) -> None:
            heard.append((message["type"], items.closed))

        items = Items("a")
        response = EventSourceResponse(items, client_close_handler_callable=left)
        async with open_stream(response) as stream:
            await stream.events(1)

        assert ([("http.disconnect", 0)], 1) == (heard, items.closed)

    async def test_a_server_that_raises_when_the_client_left_is_understood(self) -> None:
        heard: list[Any] = []

        async def left(message: Any) -> None:
            heard.append(message["type"])

        async def app(scope: Any, _receive: Any, send: Any) -> None:
            async def deaf() -> Any:
                await asyncio.sleep(3600)

            response = EventSourceResponse(items(), ping=0, client_close_handler_callable=left)
            await response(scope, deaf, send)

        async def items() -> AsyncIterator[int]:
            for number in range(1000):
                yield number
                await asyncio.sleep(0)

        async with open_stream(app, spec_version="2.4") as stream:
            await stream.events(1)
            stream.disconnect()
            await stream.ended()

        assert ["http.disconnect"] == heard

    @pytest.mark.parametrize("content", [Items("a"), Items()], ids=["of an item", "of a ping"])
    async def test_a_send_that_takes_too_long_is_an_error(self, content: Items) -> None:
        content.closed = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def stuck(message: Any) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                else:
                    await asyncio.sleep(3600)

            await EventSourceResponse(content, ping=0.01, send_timeout=0.02)(scope, receive, stuck)

        async with open_stream(app) as stream:
            with pytest.raises(SendTimeoutError):
                await stream.ended()
        assert issubclass(SendTimeoutError, TimeoutError)
        assert 1 == content.closed


class TestCleanup:
    def stuck(self, log: list[str]) -> AsyncIterator[str]:
        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.sleep(3600)
            finally:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    log.append("cancelled")
                    raise

        return items()

    @pytest.mark.parametrize("stalled", [True, False])
    async def test_a_cleanup_that_is_stuck_is_cancelled_and_told(
        self, stalled: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        log: list[str] = []
        response = EventSourceResponse(self.stuck(log), ping=0, cleanup_timeout=SOON)

        async with open_stream(response) as stream:
            if stalled:
                stream.stall()
            else:
                await stream.events(1)
            stream.disconnect()
            await stream.ended()

        assert ["cancelled"] == log
        [warning] = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert "sse_starlette.sse" == warning.name
        assert "Body iterator cleanup cancelled" in warning.getMessage()

    async def test_a_cleanup_that_fails_is_told_and_changes_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.sleep(3600)
            finally:
                raise LookupError("of the cleanup")

        async with open_stream(EventSourceResponse(items())) as stream:
            await stream.events(1)
            stream.disconnect()
            await stream.ended()

        [error] = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert error.exc_info is not None
        assert "of the cleanup" in str(error.exc_info[1])


def set_flag() -> None:
    AppStatus.should_exit = True


WAYS = [
    pytest.param(set_flag, id="should_exit"),
    pytest.param(functools.partial(signal.raise_signal, signal.SIGTERM), id="SIGTERM"),
    pytest.param(AppStatus.handle_exit, id="handle_exit"),
]


class TestShutdown:
    def response(self, event: Any = None, grace: float = 0) -> EventSourceResponse:
        async def ticks() -> AsyncIterator[Any]:
            try:
                while event is None or not event.is_set():
                    yield "tick"
                    await asyncio.sleep(0.005)
                yield {"event": "bye", "data": "now"}
            except asyncio.CancelledError:
                self.cancelled = True
                raise

        self.cancelled = False
        return EventSourceResponse(
            ticks(), ping=0, shutdown_event=event, shutdown_grace_period=grace
        )

    async def rest(self, stream: Stream, end: Callable[[], object]) -> bytes:
        await stream.events(1)
        end()
        return await stream.rest()

    @pytest.fixture
    def harmless(self) -> Iterator[None]:
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        yield
        signal.signal(signal.SIGTERM, before)

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.usefixtures("harmless")
    async def test_a_stream_ends_properly(self, way: Callable[[], object]) -> None:
        async with open_stream(self.response()) as stream:
            await self.rest(stream, way)

            assert (True, True) == (stream.complete, self.cancelled)

    @pytest.mark.parametrize("kind", [anyio.Event, asyncio.Event], ids=["anyio", "asyncio"])
    async def test_items_with_grace_say_goodbye(self, kind: Callable[[], Any]) -> None:
        async with open_stream(self.response(kind(), grace=5)) as stream:
            body = await self.rest(stream, set_flag)

            assert body.endswith(b"event: bye\r\ndata: now\r\n\r\n")
            assert (True, False) == (stream.complete, self.cancelled)

    async def test_items_that_use_up_their_grace_are_cancelled(self) -> None:
        class Deaf:
            told = 0

            def set(self) -> None:
                self.told += 1

            def is_set(self) -> bool:
                return False

        event = Deaf()
        async with open_stream(self.response(event, grace=SOON)) as stream:
            await self.rest(stream, set_flag)

            assert (True, True, 1) == (stream.complete, self.cancelled, event.told)

    async def test_a_stream_that_begins_afterwards_ends_at_once(self) -> None:
        AppStatus.should_exit = True

        async with open_stream(self.response()) as stream:
            await stream.rest()

            assert stream.complete

    @pytest.mark.usefixtures("harmless")
    async def test_a_signal_does_not_touch_the_streams_that_come_later(self) -> None:
        async with open_stream(self.response()) as stream:
            await self.rest(stream, lambda: signal.raise_signal(signal.SIGTERM))
        signal.signal(signal.SIGTERM, lambda *_: None)  # as a server that starts later does

        async with open_stream(self.response()) as stream:
            assert 3 == len(await stream.events(3))
        assert not AppStatus.should_exit

    @pytest.mark.usefixtures("harmless")
    async def test_automatic_draining_can_be_disabled(self) -> None:
        AppStatus.disable_automatic_graceful_drain()

        async with open_stream(self.response()) as stream:
            await stream.events(1)
            signal.raise_signal(signal.SIGTERM)
            AppStatus.handle_exit()
            assert 3 == len(await stream.events(3))

            AppStatus.enable_automatic_graceful_drain_mode()
            await self.rest(stream, set_flag)
            assert stream.complete

    async def test_any_attribute_may_be_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(AppStatus, "should_exit_event", None, raising=False)
        monkeypatch.setattr(AppStatus, "should_exit", False)
        calls: list[Any] = []
        monkeypatch.setattr(AppStatus, "original_handler", lambda *given: calls.append(given))

        AppStatus.handle_exit(15, None)

        assert ([(15, None)], True) == (calls, AppStatus.should_exit)

    async def test_a_client_that_does_not_read_holds_nothing_up(self) -> None:
        async with open_stream(EventSourceResponse(Items(*range(1000)), ping=0)) as stream:
            stream.stall()
            await stream.blocked()
            AppStatus.should_exit = True

            await stream.ended()

    async def test_streams_of_other_threads_end_too(self) -> None:
        ready = asyncio.Event()
        loop = asyncio.get_running_loop()

        def elsewhere() -> bool:
            async def follow() -> bool:
                async with open_stream(EventSourceResponse(Items("a"))) as stream:
                    await stream.events(1)
                    loop.call_soon_threadsafe(ready.set)
                    await stream.rest()
                    return stream.complete

            return asyncio.run(follow())

        other = asyncio.create_task(asyncio.to_thread(elsewhere))
        await ready.wait()
        AppStatus.should_exit = True

        assert await other


SERVED = """
import asyncio
from fastsse.compat.sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

closed = []

async def ticks():
    number = 0
    try:
        while True:
            yield {"data": number, "id": str(number)}
            number += 1
            await asyncio.sleep(0.01)
    finally:
        await asyncio.sleep(0)
        closed.append(number)

async def events(request):
    return EventSourceResponse(ticks())

async def state(request):
    return JSONResponse(len(closed))

app = Starlette(routes=[Route("/events", events), Route("/health", state)])
"""

SERVERS = [
    pytest.param(serve_uvicorn, (), id="uvicorn"),
    pytest.param(serve_granian, (), id="granian"),
    pytest.param(serve_granian, ("--task-impl", "rust"), id="granian-rust-tasks"),
]


@pytest.mark.parametrize(("start", "flags"), SERVERS)
async def test_real_servers_tell_a_stream_of_its_client_and_of_their_end(
    start: Any, flags: tuple[str, ...], tmp_path: Any, clients: Clients
) -> None:
    (tmp_path / "served.py").write_text(SERVED, "utf-8")
    with start(*flags, app="served:app", PYTHONPATH=str(tmp_path)) as server:
        leaving = await clients.connect(server, "GET /events HTTP/1.1")
        await leaving.start()
        assert ["0", "1"] == [event.data for event in await leaving.events(2)]
        await leaving.close()
        wait_for(lambda: json.loads(server.request("GET", "/health").body) == 1)

        staying = await clients.connect(server, "GET /events HTTP/1.1")
        await staying.start()
        await staying.events(1)
        server.signal(signal.SIGTERM)
        rest = await staying.to_the_end()

        assert rest.endswith(b"0\r\n\r\n")
        assert server.wait() in (0, -signal.SIGTERM)  # uvicorn raises it again


async def test_a_uvicorn_that_is_stopped_by_its_attribute_ends_its_streams() -> None:
    uvicorn = pytest.importorskip("uvicorn")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await EventSourceResponse(Items("a"))(scope, receive, send)

    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(5):
        while not server.started:
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"data: a\r\n\r\n")

        server.should_exit = True
        rest = await reader.read()
        writer.close()
        await serving

    assert rest.endswith(b"0\r\n\r\n")


def test_a_block_of_ours_passes_as_it_is() -> None:
    block = encode("a", id="1")

    assert block == ensure_bytes(block, "\r\n")
