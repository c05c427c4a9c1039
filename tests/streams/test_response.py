"""EventSourceResponse: in memory under the strictest server, then in frameworks and under real servers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from support.driver import turns
from support.servers import (
    ROOT,
    Clients,
    Connection,
    Server,
    serve_granian,
    serve_uvicorn,
    wait_for,
)

from fastsse import (
    Block,
    EventSourceResponse,
    InvalidField,
    _connection,
    encode,
    in_thread,
)
from fastsse.testing import Answer, Sends, Stream, fetch, open_stream

FASTAPI = importlib.util.find_spec("fastapi") is not None
if FASTAPI:  # here, because it reads annotations, and finds their names in the module
    from fastapi import BackgroundTasks, Depends, FastAPI

SENDS: list[Sends] = ["granian", "coroutine", "wrapped"]
HEARTBEAT = b":\n\n"
SOON = 0.02  # s
NEVER = 3600.0  # s


class Items:
    """An async source that a test steers: items that are put come out, and `closed` counts how often it was closed."""

    def __init__(self, *items: Any) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.given = 0
        self.closed = 0
        for item in items:
            self.queue.put_nowait(item)

    def put(self, *items: Any) -> None:
        for item in items:
            self.queue.put_nowait(item)

    def end(self) -> None:
        self.queue.put_nowait(StopAsyncIteration)

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            while (item := await self.queue.get()) is not StopAsyncIteration:
                if isinstance(item, BaseException):
                    raise item
                self.given += 1
                yield item
        finally:
            self.closed += 1


class App:
    """An application that answers every request with one kind of response, and remembers why each stream ended."""

    def __init__(self, items: Any, **options: Any) -> None:
        self.items = items
        self.options = options
        self.reasons: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        answer = EventSourceResponse(self.items, on_close=self.reasons.append, **self.options)
        await answer(scope, receive, send)


@asynccontextmanager
async def streaming(app: Any, *arguments: Any, **options: Any) -> AsyncIterator[Stream]:
    """Open a stream and read its first block."""
    async with open_stream(app, *arguments, **options) as stream:
        assert HEARTBEAT == await stream.block()
        yield stream


def content(answer: Answer) -> bytes:
    """Return the body after the first block."""
    assert answer.body.startswith(HEARTBEAT)
    return answer.body.removeprefix(HEARTBEAT)


async def endless() -> AsyncIterator[bytes]:
    """Yield items that are always ready, without ever giving up the loop."""
    while True:
        yield b"x" * 1000


class TestTheStart:
    async def test_the_headers_say_event_stream_and_keep_proxies_from_holding_it(self) -> None:
        async with open_stream(App(Items())) as stream:
            assert 200 == stream.status
            assert stream.raw_headers == [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store, no-transform"),
                (b"x-accel-buffering", b"no"),
                (b"incremental", b"?1"),
            ]

    async def test_it_does_not_wait_for_an_item(self) -> None:
        items = Items()

        async with open_stream(App(items)) as stream:
            await turns()

            assert 200 == stream.status
            assert (0, HEARTBEAT) == (items.given, stream.unread)

    async def test_it_waits_for_the_first_item_when_asked_to(self) -> None:
        items = Items()

        async with open_stream(App(items, wait_first=True), wait=False) as stream:
            await turns()
            before = stream.status
            items.put("a")
            await stream.started()

            assert (0, 200) == (before, stream.status)
            assert b"data: a\n\n" == await stream.block()

    async def test_a_heartbeat_starts_what_waits_for_its_first_item(self) -> None:
        async with open_stream(App(Items(), wait_first=True, heartbeat=SOON)) as stream:
            assert HEARTBEAT == await stream.block()

    async def test_the_reconnection_time_comes_first_even_without_an_item(self) -> None:
        async with open_stream(App(Items(), retry=5000)) as stream:
            assert b"retry: 5000\n\n" == await stream.chunk()

    async def test_status_and_headers_can_be_given(self) -> None:
        headers = {
            "X-Request": "1",
            "Cache-Control": "no-cache",
            "content-type": "text/event-stream",
        }

        async with open_stream(App(Items(), status=202, headers=headers)) as stream:
            assert 202 == stream.status
            assert {
                "x-request": "1",
                "cache-control": "no-cache",
                "content-type": "text/event-stream",
                "x-accel-buffering": "no",
                "incremental": "?1",
            } == stream.headers

    async def test_a_header_may_be_repeated(self) -> None:
        headers = [("Link", "</a>"), ("Link", "</b>")]

        async with open_stream(App(Items(), headers=headers)) as stream:
            assert [b"</a>", b"</b>"] == [v for name, v in stream.raw_headers if name == b"link"]

    async def test_head_gets_the_headers_and_the_items_are_closed(self) -> None:
        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                yield "b"
            finally:
                closed.append(1)

        closed: list[int] = []
        begun = items()
        await anext(begun)

        answer = await fetch(App(begun), method="HEAD")

        assert (200, b"") == (answer.status, answer.body)
        assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
        assert [1] == closed

    async def test_a_post_is_streamed_too_and_its_body_passed_over(self) -> None:
        async with streaming(App(Items("a")), method="POST", body=b"unread") as stream:
            assert b"data: a\n\n" == await stream.block()


WRONG: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "text": ("text", {}, TypeError, "put it in a list"),
    "a function": (endless, {}, TypeError, "must be an iterable or async iterable, not function"),
    "heartbeat": ([], {"heartbeat": -1}, ValueError, "heartbeat"),
    "send_timeout": ([], {"send_timeout": "5"}, TypeError, "send_timeout"),
    "retry": ([], {"retry": -1}, InvalidField, "retry"),
    "last": ([], {"last": {"event": "x"}}, InvalidField, "event"),
    "connection": ([], {"headers": {"Connection": "close"}}, ValueError, "leave it out"),
    "content-length": ([], {"headers": {"Content-Length": "1"}}, ValueError, "cannot be known"),
    "content-type": ([], {"headers": {"Content-Type": "text/plain"}}, ValueError, "event-stream"),
    "CR in a value": ([], {"headers": {"X-A": "1\rX-B: 2"}}, ValueError, "one line"),
    "LF in a name": ([], {"headers": {"X-A\n": "1"}}, ValueError, "one line"),
    "a name that is empty": ([], {"headers": {"": "1"}}, ValueError, "not empty"),
    "a value of bytes": ([], {"headers": {"X-A": b"1"}}, TypeError, "must be str"),
}


class TestTheArguments:
    @pytest.mark.parametrize(("items", "options", "error", "words"), WRONG.values(), ids=WRONG)
    def test_what_is_wrong_is_refused_before_anything_is_sent(
        self, items: Any, options: dict[str, Any], error: type[Exception], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            EventSourceResponse(items, **options)

    async def test_a_response_is_for_one_request(self) -> None:
        answer = EventSourceResponse(["a"])

        await fetch(answer)
        with pytest.raises(RuntimeError, match="its items are used up"):
            await fetch(answer)

    async def test_it_answers_http_only(self) -> None:
        with pytest.raises(RuntimeError, match="not websocket"):
            await EventSourceResponse([])({"type": "websocket"}, None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("sends", SENDS)
class TestTheStream:
    async def test_the_items_are_its_blocks_and_their_end_is_its_end(self, sends: Sends) -> None:
        items = Items("a", {"data": "b", "id": "1"}, Block(b": c\n\n"))
        items.end()
        app = App(items)

        answer = await fetch(app, sends=sends)

        assert b"data: a\n\nid: 1\ndata: b\n\n: c\n\n" == content(answer)
        assert ["finished"] == app.reasons
        assert 1 == items.closed

    async def test_json_on_request(self, sends: Sends) -> None:
        answer = await fetch(App([{"a": 1}, None], json=True, last={"b": 2}), sends=sends)

        assert b'data: {"a":1}\n\ndata: null\n\n' == content(answer)

    async def test_sync_items_are_streamed_too(self, sends: Sends) -> None:
        closed: list[int] = []

        def items() -> Iterator[str]:
            try:
                yield from ("a", "b")
            finally:
                closed.append(1)

        assert b"data: a\n\ndata: b\n\n" == content(await fetch(App(items()), sends=sends))
        assert b"data: a\n\n" == content(await fetch(App(in_thread(["a"])), sends=sends))
        assert [1] == closed

    async def test_each_item_leaves_at_once(self, sends: Sends) -> None:
        items = Items()

        async with streaming(App(items), sends=sends) as stream:
            for n in range(3):
                items.put(str(n))
                await turns()

                assert encode(str(n)) == stream.unread
                assert encode(str(n)) == await stream.chunk()

    async def test_items_that_are_ready_together_leave_as_one_chunk(self, sends: Sends) -> None:
        items = Items()

        async with streaming(App(items), sends=sends) as stream:
            items.put("a", "b", "c")

            assert b"data: a\n\ndata: b\n\ndata: c\n\n" == await stream.chunk()

    async def test_what_comes_while_a_send_is_pending_leaves_as_one_chunk(
        self, sends: Sends
    ) -> None:
        items = Items()

        async with streaming(App(items), sends=sends) as stream:
            stream.stall()
            for n in range(5):
                items.put(str(n))
                await turns()
            await stream.blocked()
            items.put("a", "b")
            await turns()
            items.put("c")
            await turns()
            stream.resume()
            chunks = [await stream.chunk() for _ in range(6)]

            assert [encode(str(n)) for n in range(5)] == chunks[:5]
            assert encode("a") + encode("b") + encode("c") == chunks[5]

    async def test_a_heartbeat_is_sent_into_silence_only(self, sends: Sends) -> None:
        items = Items("a")

        async with streaming(App(items, heartbeat=SOON), sends=sends) as stream:
            seen = [await stream.block() for _ in range(3)]
            items.put("b")
            while (block := await stream.block()) == HEARTBEAT:
                pass

            assert [b"data: a\n\n", HEARTBEAT, HEARTBEAT] == seen
            assert b"data: b\n\n" == block

    @pytest.mark.parametrize("heartbeat", [None, 0, NEVER])
    async def test_without_heartbeats_silence_is_silent(
        self, sends: Sends, heartbeat: float | None
    ) -> None:
        async with streaming(App(Items(), heartbeat=heartbeat), sends=sends) as stream:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream.chunk(), SOON)

    async def test_items_run_ahead_of_a_stalled_client_by_a_bounded_amount(
        self, sends: Sends
    ) -> None:
        given = 0

        async def items() -> AsyncIterator[bytes]:
            nonlocal given
            async for item in endless():
                given += 1
                yield item

        async with open_stream(App(items()), sends=sends) as stream:
            stream.stall()
            await stream.blocked()
            await turns()
            before = given
            await turns(100)

            assert before == given
            assert given * 1000 < 8 * _connection.JOIN


@pytest.mark.parametrize("sends", SENDS)
class TestTheEnd:
    async def test_a_client_that_leaves_ends_it_and_closes_the_items(self, sends: Sends) -> None:
        items = Items("a")
        app = App(items)

        async with streaming(app, sends=sends) as stream:
            await stream.block()
            stream.disconnect()
            await stream.ended()

            assert 1 == items.closed
            assert ["disconnected"] == app.reasons

    async def test_a_client_that_leaves_while_it_stalls_does_too(self, sends: Sends) -> None:
        closed: list[int] = []

        async def items() -> AsyncIterator[bytes]:
            try:
                async for item in endless():
                    yield item
            finally:
                closed.append(1)

        app = App(items())
        async with streaming(app, sends=sends) as stream:
            stream.stall()
            await stream.blocked()
            stream.disconnect()
            await stream.ended()

            assert [1] == closed
            assert ["disconnected"] == app.reasons

    async def test_a_client_that_left_before_the_start_gets_none(self, sends: Sends) -> None:
        items = Items()
        app = App(items, wait_first=True)

        async with open_stream(app, sends=sends, wait=False) as stream:
            stream.disconnect()
            await stream.ended()

            assert 0 == stream.status
            assert ["disconnected"] == app.reasons

    async def test_a_send_that_takes_too_long_ends_it(
        self, sends: Sends, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "fastsse")
        app = App(endless(), send_timeout=SOON)

        async with streaming(app, sends=sends) as stream:
            stream.stall()
            await stream.ended()

            assert not stream.complete
            assert ["timeout"] == app.reasons
            assert ["stream ended: a send took more than 0.02 s"] == caplog.messages

    async def test_a_heartbeat_that_takes_too_long_ends_it(self, sends: Sends) -> None:
        app = App(Items(), send_timeout=SOON, heartbeat=SOON / 10)

        async with streaming(app, sends=sends) as stream:
            stream.stall()
            await stream.ended()

            assert ["timeout"] == app.reasons

    async def test_without_a_send_timeout_a_stalled_client_is_waited_for(
        self, sends: Sends
    ) -> None:
        app = App(Items(), send_timeout=None, heartbeat=SOON / 10)

        async with streaming(app, sends=sends) as stream:
            stream.stall()
            await stream.blocked()
            stream.resume()

            assert [HEARTBEAT] * 6 == [await stream.block() for _ in range(6)]
            assert [] == app.reasons

    async def test_a_quiet_source_is_no_send_that_takes_long(self, sends: Sends) -> None:
        items = Items()
        app = App(items, send_timeout=SOON, heartbeat=None)

        async with streaming(app, sends=sends) as stream:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream.chunk(), 3 * SOON)
            items.put("a")

            assert b"data: a\n\n" == await stream.chunk()
            assert [] == app.reasons

    async def test_nor_is_a_loop_that_was_held_up(self, sends: Sends) -> None:
        """The timer goes off in the turn in which a sender has been made, and has not yet run."""
        items = Items()
        app = App(items, send_timeout=SOON, heartbeat=None)

        async with streaming(app, sends=sends) as stream:
            await turns()
            items.put("a")
            time.sleep(2 * SOON)  # noqa: ASYNC251 (this is what holds it up)

            assert b"data: a\n\n" == await stream.chunk()
            await turns()
            assert [] == app.reasons

    async def test_a_failure_reaches_the_server_and_not_the_client(self, sends: Sends) -> None:
        failure = KeyError("a secret")
        items = Items("a", failure)
        app = App(items)

        async with streaming(app, sends=sends) as stream:
            with pytest.raises(KeyError) as caught:
                await stream.rest()

            assert caught.value is failure
            assert b"data: a\n\n" == stream.unread
            assert not stream.complete
            assert ["failed"] == app.reasons
            assert 1 == items.closed

    async def test_an_item_that_cannot_be_written_is_a_failure(self, sends: Sends) -> None:
        items = Items("a", {"data": "b", "event": "c\n"})

        async with streaming(App(items), sends=sends) as stream:
            with pytest.raises(InvalidField, match="event"):
                await stream.rest()

            assert b"data: a\n\n" == stream.unread
            assert 1 == items.closed

    async def test_an_oserror_of_the_items_is_a_failure_and_no_disconnect(
        self, sends: Sends
    ) -> None:
        app = App(Items("a", ConnectionResetError("of a database")))

        async with streaming(app, sends=sends) as stream:
            with pytest.raises(ConnectionResetError):
                await stream.ended()

            assert ["failed"] == app.reasons

    async def test_items_that_somebody_else_cancels_are_a_failure(self, sends: Sends) -> None:
        app = App(Items("a", asyncio.CancelledError()))

        async with streaming(app, sends=sends) as stream:
            with pytest.raises(RuntimeError, match="were cancelled"):
                await stream.ended()

            assert not stream.complete
            assert ["failed"] == app.reasons

    async def test_a_failure_before_the_first_await_comes_before_the_start(
        self, sends: Sends
    ) -> None:
        async def items() -> AsyncIterator[str]:
            raise KeyError("at once")
            yield "never"

        async with open_stream(App(items()), sends=sends, wait=False) as stream:
            with pytest.raises(KeyError, match="at once"):
                await stream.ended()

            assert 0 == stream.status

    async def test_a_failure_before_the_first_item_does_when_that_is_waited_for(
        self, sends: Sends
    ) -> None:
        items = Items()

        async with open_stream(App(items, wait_first=True), sends=sends, wait=False) as stream:
            await turns()
            items.put(KeyError("before the first"))
            with pytest.raises(KeyError, match="before the first"):
                await stream.ended()

            assert 0 == stream.status

    async def test_the_servers_own_cancellation_goes_on_and_closes_the_items(
        self, sends: Sends
    ) -> None:
        items = Items("a")
        app = App(items)

        async with streaming(app, sends=sends) as stream:
            await stream.block()
            stream._task.cancel()
            await asyncio.wait([stream._task])

            assert stream._task.cancelled()
            assert 1 == items.closed
            assert ["cancelled"] == app.reasons

    async def test_the_connections_task_is_not_left_cancelled(self, sends: Sends) -> None:
        states: list[int] = []
        app = App(["a"])

        async def outer(scope: Any, receive: Any, send: Any) -> None:
            async with asyncio.timeout(NEVER):
                await app(scope, receive, send)
            task = asyncio.current_task()
            assert task is not None
            states.append(task.cancelling())
            await asyncio.sleep(0)

        await fetch(outer, sends=sends)

        assert [0] == states


async def test_a_cancelled_response_does_not_wait_for_a_step_that_blocks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_connection, "FAREWELL", SOON)
    blocked, release = threading.Event(), threading.Event()

    def items() -> Iterator[str]:
        yield "a"
        blocked.set()
        release.wait()

    app = App(items())
    async with streaming(app) as stream:
        await stream.block()
        await asyncio.to_thread(blocked.wait, 5)
        stream._task.cancel()
        await asyncio.wait([stream._task], timeout=5)
        over = stream._task.cancelled()
        release.set()

    assert (True, ["cancelled"]) == (over, app.reasons)
    assert ["items that block were left behind when the server ended"] == caplog.messages


async def test_nothing_is_sent_once_the_client_has_gone() -> None:
    sent: list[Any] = []
    left: list[int] = []

    async def items() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.sleep(NEVER)
        finally:
            left.append(len(sent))

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        async def count(message: Any) -> None:
            sent.append(message)
            await send(message)

        await App(items())(scope, receive, count)
        await turns()

    async with streaming(outer) as stream:
        await stream.block()
        stream.disconnect()
        await stream.ended()

    assert [len(sent)] == left


async def test_a_cancellation_that_was_swallowed_before_is_not_taken_for_a_new_one() -> None:
    app = App(["a"])
    left: list[int] = []

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(NEVER)
        await app(scope, receive, send)
        left.append(task.cancelling())

    answer = await fetch(outer)

    assert b"data: a\n\n" == content(answer)
    assert (["finished"], [1]) == (app.reasons, left)


@pytest.mark.parametrize("turned_into", ["a message", "an error"])
async def test_a_server_that_keeps_our_cancellation_to_itself_does_no_harm(
    turned_into: str,
) -> None:
    app = App(["a"])
    left: list[int] = []

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        async def translate() -> Any:
            try:
                return await receive()
            except asyncio.CancelledError:
                if turned_into == "an error":
                    raise OSError("the connection is lost") from None
                return {"type": "http.request", "body": b"", "more_body": False}

        await app(scope, translate, send)
        task = asyncio.current_task()
        assert task is not None
        left.append(task.cancelling())

    answer = await fetch(outer)

    assert b"data: a\n\n" == content(answer)
    assert (["finished"], [0]) == (app.reasons, left)


async def test_a_server_that_raises_when_the_client_has_gone_is_understood() -> None:
    """In ASGI 2.4 send() may tell it before receive() does."""
    app = App(["a"])

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(_message: Any) -> None:
        raise OSError("gone")

    await app({"type": "http", "method": "GET"}, receive, send)

    assert ["disconnected"] == app.reasons


@pytest.mark.parametrize("broken", ["receive", "send"])
async def test_a_server_that_fails_is_heard_and_the_items_are_closed(broken: str) -> None:
    items = Items("a")
    app = App(items)

    async def receive() -> Any:
        await turns()
        if broken == "receive":
            raise KeyError("of the server")
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if broken == "send" and message["type"] == "http.response.body":
            raise KeyError("of the server")

    with pytest.raises(KeyError, match="of the server"):
        await app({"type": "http", "method": "GET"}, receive, send)

    assert 1 == items.closed
    assert ["failed"] == app.reasons


class TestWhatItCosts:
    async def test_an_idle_connection_has_one_task_besides_the_servers(self) -> None:
        before = len(asyncio.all_tasks())

        async with streaming(App(Items("a"))) as stream:
            await stream.block()
            await turns()

            assert before + 2 == len(asyncio.all_tasks())

    async def test_nothing_is_left_when_it_is_over(self) -> None:
        before = asyncio.all_tasks()

        async with streaming(App(Items("a"))) as stream:
            await stream.block()
        await fetch(App(["a"]))

        assert before == asyncio.all_tasks()
        assert {} == _connection._open


class TestAfterwards:
    async def test_on_close_may_be_async_and_sees_the_items_closed(self) -> None:
        items = Items("a")
        items.end()
        seen: list[Any] = []

        async def on_close(reason: str) -> None:
            await asyncio.sleep(0)
            seen.append((reason, items.closed))

        await fetch(EventSourceResponse(items, on_close=on_close))

        assert [("finished", 1)] == seen

    async def test_a_background_task_runs_when_the_stream_is_over(self) -> None:
        items = Items("a")
        done: list[int] = []

        async def background() -> None:
            done.append(items.closed)

        answer = EventSourceResponse(items)
        answer.background = background
        async with streaming(answer) as stream:
            await stream.block()
            stream.disconnect()
            await stream.ended()

        assert [1] == done

    async def test_items_that_fail_while_they_are_closed_are_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.Event().wait()
            finally:
                raise KeyError("while closing")

        async with streaming(App(items())) as stream:
            await stream.block()
            stream.disconnect()
            await stream.ended()

        assert ["items failed while they were closed"] == caplog.messages
        assert "while closing" in caplog.text

    async def test_items_that_do_not_close_are_left_behind_and_logged(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_connection, "CLEANUP", SOON)
        release = asyncio.Event()
        closed = asyncio.Event()

        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.Event().wait()
            finally:
                await release.wait()
                closed.set()

        async with streaming(App(items())) as stream:
            await stream.block()
            stream.disconnect()
            await stream.ended()

        assert ["items were not closed 0.02 s after the end of their stream"] == caplog.messages
        release.set()
        await closed.wait()
        await turns()


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Stand for the server: a handler is there before any stream, and hears the signals too."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, _frame: heard.append(signum))
    yield heard
    signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
class TestShutdown:
    @pytest.mark.parametrize("sends", SENDS)
    async def test_every_stream_gets_its_last_block_and_its_end(
        self, sends: Sends, heard: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_connection, "FAREWELL", NEVER)
        items = [Items("a"), Items("a")]
        apps = [App(each, last={"comment": "bye", "retry": 100}) for each in items]

        async with streaming(apps[0], sends=sends) as one, streaming(apps[1]) as two:
            for stream in (one, two):
                await stream.block()
            signal.raise_signal(signal.SIGTERM)

            for stream in (one, two):
                assert b": bye\nretry: 100\n\n" == await stream.rest()
                assert stream.complete
        assert [1, 1] == [each.closed for each in items]
        assert [["shutdown"], ["shutdown"]] == [app.reasons for app in apps]
        assert [signal.SIGTERM] == heard

    async def test_what_the_items_gave_before_is_sent_first(self, heard: list[int]) -> None:
        items = Items()
        app = App(items, last="bye")

        async with streaming(app) as stream:
            stream.stall()
            for n in range(6):
                items.put(str(n))
                await turns()
            signal.raise_signal(signal.SIGTERM)
            await turns()
            stream.resume()

            blocks = b"".join(encode(str(n)) for n in range(6))
            assert blocks + encode("bye") == await stream.rest()
            assert stream.complete
        assert [signal.SIGTERM] == heard

    async def test_the_end_waits_for_items_that_close_slowly(self, heard: list[int]) -> None:
        go_on = asyncio.Event()

        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.Event().wait()
            finally:
                await go_on.wait()

        async with streaming(App(items())) as stream:
            await stream.block()
            signal.raise_signal(signal.SIGTERM)
            await turns()
            before = stream.complete
            go_on.set()
            await stream.ended()

            assert (False, True) == (before, stream.complete)
        assert [signal.SIGTERM] == heard

    async def test_items_that_close_are_not_interrupted_by_the_next_reason(
        self, heard: list[int]
    ) -> None:
        go_on = asyncio.Event()
        closed: list[int] = []

        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.Event().wait()
            finally:
                await go_on.wait()
                closed.append(1)

        async with streaming(App(items())) as stream:
            await stream.block()
            signal.raise_signal(signal.SIGTERM)
            await turns()
            stream.disconnect()
            await turns()
            go_on.set()
            await stream.ended()

        assert [1] == closed
        assert [signal.SIGTERM] == heard

    async def test_but_not_for_ever(
        self, heard: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_connection, "FAREWELL", SOON)
        go_on = asyncio.Event()

        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.Event().wait()
            finally:
                await go_on.wait()

        async with streaming(App(items(), last="bye")) as stream:
            await stream.block()
            signal.raise_signal(signal.SIGTERM)

            assert b"data: bye\n\n" == await stream.block()
            await stream._until(lambda: stream.complete, "the final chunk")
            go_on.set()
        assert [signal.SIGTERM] == heard

    async def test_nor_for_a_client_that_stalls(
        self, heard: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_connection, "FAREWELL", SOON)
        app = App(endless())

        async with streaming(app) as stream:
            stream.stall()
            await stream.blocked()
            signal.raise_signal(signal.SIGTERM)
            await stream.ended()

        assert ["shutdown"] == app.reasons
        assert [signal.SIGTERM] == heard

    async def test_a_stream_that_comes_too_late_is_ended_at_once(self, heard: list[int]) -> None:
        async with streaming(App(Items())) as early:
            signal.raise_signal(signal.SIGTERM)
            await early.ended()

        answer = await fetch(App(Items(), last="bye"))

        assert b"data: bye\n\n" == content(answer)
        assert [signal.SIGTERM] == heard

    async def test_a_stream_that_comes_while_others_end_is_ended_too(
        self, heard: list[int]
    ) -> None:
        go_on = asyncio.Event()

        async def items() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.Event().wait()
            finally:
                await go_on.wait()

        async with streaming(App(items())) as early:
            await early.block()
            signal.raise_signal(signal.SIGTERM)
            await turns()

            answer = await fetch(App(Items(), last="bye"))
            go_on.set()
            await early.ended()

        assert b"data: bye\n\n" == content(answer)
        assert [signal.SIGTERM] == heard

    async def test_streams_that_are_over_leave_the_handlers_as_they_were(
        self, heard: list[int]
    ) -> None:
        before = signal.getsignal(signal.SIGTERM)

        await fetch(App(["a"]))

        assert before == signal.getsignal(signal.SIGTERM)
        assert [] == heard

    def test_it_works_twice_in_a_process(self, heard: list[int]) -> None:
        async def once() -> None:
            async with streaming(App(Items("a"))) as stream:
                assert b"data: a\n\n" == await stream.block()
                await turns()
                assert stream.running
                signal.raise_signal(signal.SIGTERM)
                await stream.ended()
                assert stream.complete

        asyncio.run(once())
        asyncio.run(once())

        assert [signal.SIGTERM, signal.SIGTERM] == heard


@pytest.fixture
def starlette() -> ModuleType:
    return pytest.importorskip("starlette.responses")


def application(*endpoints: Any, middleware: Any = ()) -> Any:
    """Make a Starlette application with a route for each endpoint."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    routes = [Route(f"/{endpoint.__name__}", endpoint) for endpoint in endpoints]
    return Starlette(routes=routes, middleware=middleware)


@pytest.mark.usefixtures("starlette")
class TestInStarlette:
    async def test_an_endpoint_returns_it(self) -> None:
        from starlette.background import BackgroundTask

        items = Items("a")
        done: list[str] = []

        async def endpoint(_request: Any) -> Any:
            answer: Any = EventSourceResponse(items)
            answer.set_cookie("name", "value")
            answer.headers["x-more"] = "1"
            answer.background = BackgroundTask(done.append, "background")
            return answer

        async with streaming(application(endpoint), "/endpoint") as stream:
            assert "text/event-stream; charset=utf-8" == stream.headers["content-type"]
            assert stream.headers["set-cookie"].startswith("name=value")
            assert "1" == stream.headers["x-more"]
            assert b"data: a\n\n" == await stream.block()
        assert 1 == items.closed
        assert ["background"] == done

    def test_it_is_one_of_its_responses(self, starlette: ModuleType) -> None:
        class Mine(EventSourceResponse):
            pass

        class Both(Mine, starlette.Response):  # type: ignore[misc,name-defined]
            pass

        for kind in (EventSourceResponse, Mine, Both):
            answer = kind([])
            assert isinstance(answer, kind)
            assert isinstance(answer, starlette.Response)
            assert type(answer) is type(kind([]))

    @pytest.mark.parametrize("sends", SENDS)
    async def test_middleware_that_wraps_everything_may_stand_round_it(self, sends: Sends) -> None:
        from starlette.middleware import Middleware
        from starlette.middleware.base import BaseHTTPMiddleware
        from starlette.middleware.cors import CORSMiddleware
        from starlette.middleware.gzip import GZipMiddleware

        class Wrapping(BaseHTTPMiddleware):
            async def dispatch(self, request: Any, call_next: Any) -> Any:
                answer = await call_next(request)
                answer.headers["x-wrapped"] = "1"
                return answer

        items = Items()

        async def endless(_request: Any) -> Any:
            return EventSourceResponse(items, heartbeat=NEVER)

        async def finite(_request: Any) -> Any:
            return EventSourceResponse(["a", "b"])

        around = [
            Middleware(GZipMiddleware, minimum_size=1),
            Middleware(CORSMiddleware, allow_origins=["*"]),
            Middleware(Wrapping),
            Middleware(Wrapping),
        ]
        app = application(endless, finite, middleware=around)
        headers = {"accept-encoding": "gzip", "origin": "http://x"}
        async with streaming(app, "/endless", headers=headers, sends=sends) as stream:
            items.put("a")
            first = await stream.block()
            items.put("b")
            second = await stream.block()
            stream.disconnect()
            await stream.ended()
        answer = await fetch(app, "/finite", headers=headers, sends=sends)

        assert "1" == stream.headers["x-wrapped"]
        assert "content-encoding" not in stream.headers
        assert (b"data: a\n\n", b"data: b\n\n") == (first, second)
        assert 1 == items.closed
        assert b"data: a\n\ndata: b\n\n" == content(answer)

    async def test_a_failure_before_the_start_is_a_500(self) -> None:
        items = Items(KeyError("a secret"))

        async def endpoint(_request: Any) -> Any:
            return EventSourceResponse(items, wait_first=True)

        async with open_stream(application(endpoint), "/endpoint") as stream:
            with pytest.raises(KeyError):
                await stream.rest()

            assert 500 == stream.status
            assert b"secret" not in stream.unread

    def test_it_needs_no_starlette(self) -> None:
        import subprocess

        code = (
            "import sys; sys.modules['starlette'] = None\n"
            "from fastsse import EventSourceResponse\n"
            "assert type(EventSourceResponse([])) is EventSourceResponse\n"
            "assert not [name for name in sys.modules if name.startswith('starlette.')]\n"
        )

        subprocess.run([sys.executable, "-c", code], check=True, timeout=30, cwd=ROOT)


@pytest.mark.skipif(not FASTAPI, reason="needs fastapi")
class TestInFastAPI:
    async def test_the_readmes_endpoint_works_as_it_is_written(self) -> None:
        blocks = re.findall(
            r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
        )
        space: dict[str, Any] = {}
        exec(next(block for block in blocks if "FastAPI()" in block), space)

        answer = await fetch(space["app"], "/answer", query={"question": "why?"})
        schema = await fetch(space["app"], "/openapi.json")

        assert b"data: You\n\ndata: asked:\n\ndata: why?\n\n" == content(answer)
        assert b"text/event-stream" in schema.body

    @pytest.mark.parametrize("sends", SENDS)
    async def test_an_endpoint_returns_it(self, sends: Sends) -> None:
        app = FastAPI()
        items = Items("a")
        steps: list[str] = []

        async def dependency() -> AsyncIterator[None]:
            yield
            steps.append("dependency closed")

        @app.get("/bare")
        async def bare(background: BackgroundTasks, _given: None = Depends(dependency)) -> Any:
            background.add_task(steps.append, "background")
            return EventSourceResponse(items, on_close=steps.append)

        @app.get("/annotated", response_model=None)
        def annotated() -> EventSourceResponse:
            return EventSourceResponse(["a"])

        async with streaming(app, "/bare", sends=sends) as stream:
            assert "text/event-stream; charset=utf-8" == stream.headers["content-type"]
            assert b"data: a\n\n" == await stream.block()
        answer = await fetch(app, "/annotated", sends=sends)

        assert ["disconnected", "background", "dependency closed"] == steps
        assert b"data: a\n\n" == content(answer)


SERVED = """
import asyncio, json
from fastsse import EventSourceResponse

reasons, steps = [], []

async def idle():
    try:
        yield "open"
        await asyncio.Event().wait()
    finally:
        steps.append("closed")

async def endless():
    try:
        while True:
            yield "x" * 1000
    finally:
        steps.append("closed")

async def failing():
    yield "a"
    await asyncio.sleep(0)
    raise KeyError("a secret")

async def finite():
    yield "a"
    await asyncio.sleep(0)
    yield "b"

async def silent():
    await asyncio.Event().wait()
    yield

SOURCES = {"/idle": idle, "/endless": endless, "/failing": failing, "/finite": finite, "/silent": silent}

async def bare(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            step = (await receive())["type"]
            await send({"type": step + ".complete"})
            if step == "lifespan.shutdown":
                return
    source = SOURCES.get(scope["path"])
    if source is None:
        body = json.dumps({"reasons": reasons, "steps": steps}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
        return
    last = {"comment": "bye"}
    await EventSourceResponse(source(), last=last, on_close=reasons.append)(scope, receive, send)

def wrapped():
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.routing import Mount

    async def dispatch(request, call_next):
        return await call_next(request)

    app = Starlette(routes=[Mount("/", bare)], middleware=[Middleware(BaseHTTPMiddleware, dispatch)])
    return app
"""

BARE, WRAPPED = "served:bare", "served:wrapped"
SERVERS: list[Any] = [
    pytest.param((serve_granian, ("--loop", "asyncio")), id="granian-asyncio"),
    pytest.param((serve_granian, ("--loop", "uvloop")), id="granian-uvloop"),
    pytest.param(
        (serve_granian, ("--loop", "asyncio", "--task-impl", "rust")), id="granian-rust-tasks"
    ),
    pytest.param((serve_uvicorn, ("--loop", "asyncio")), id="uvicorn-asyncio"),
    pytest.param((serve_uvicorn, ("--loop", "uvloop")), id="uvicorn-uvloop"),
]


@pytest.fixture(scope="module", params=SERVERS)
def start(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Start one of the servers with an application of `SERVED`."""
    serve, flags = request.param
    pytest.importorskip(serve.__name__.removeprefix("serve_"))
    pytest.importorskip(flags[1])
    folder = tmp_path_factory.mktemp("served")
    (folder / "served.py").write_text(SERVED)
    path = f"{ROOT}{os.pathsep}{folder}"

    def start(app: str = BARE) -> Any:
        if app == BARE:
            return serve(*flags, app=app, PYTHONPATH=path)
        pytest.importorskip("starlette")
        if "rust" in flags:
            pytest.skip("Starlette's middleware needs tasks that can be cancelled")
        return serve(*flags, "--factory", app=app, PYTHONPATH=path)

    return start


@pytest.fixture(scope="module")
def server(start: Callable[..., Any]) -> Iterator[Server]:
    with start() as server:
        yield server


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    await clients.close()


def state(server: Server) -> Any:
    return server.request("GET", "/state").json


async def get(clients: Clients, server: Server, path: str, method: str = "GET") -> Connection:
    connection = await clients.connect(server, f"{method} {path} HTTP/1.1")
    connection.head = await connection.until(b"\r\n\r\n")
    return connection


class TestUnderARealServer:
    async def test_the_headers_come_before_any_item(self, server: Server, clients: Clients) -> None:
        stream = await get(clients, server, "/silent")

        assert 200 == stream.status
        assert b"content-type: text/event-stream; charset=utf-8\r\n" in stream.head
        assert b"connection:" not in stream.head.lower()

    async def test_a_finite_stream_has_its_proper_end(
        self, server: Server, clients: Clients
    ) -> None:
        stream = await get(clients, server, "/finite")

        body = await stream.until(b"0\r\n\r\n")

        assert body.index(b"data: a\n\n") < body.index(b"data: b\n\n")

    async def test_head_has_no_body(self, server: Server, clients: Clients) -> None:
        stream = await get(clients, server, "/idle", "HEAD")

        assert 200 == stream.status
        assert b"text/event-stream" in stream.head

    async def test_a_failure_leaves_the_body_without_its_end(
        self, server: Server, clients: Clients
    ) -> None:
        stream = await get(clients, server, "/failing")

        body = await stream.to_the_end()

        assert b"data: a\n\n" in body
        assert not body.endswith(b"0\r\n\r\n")
        assert b"secret" not in body

    async def test_a_client_that_leaves_is_noticed_within_a_second(
        self, server: Server, clients: Clients
    ) -> None:
        closed = len(state(server)["steps"])
        stream = await get(clients, server, "/idle")
        await stream.until(b"data: open\n\n")

        await stream.close()

        await asyncio.to_thread(wait_for, lambda: len(state(server)["steps"]) > closed, 1.0)
        assert "disconnected" == state(server)["reasons"][-1]

    async def test_a_client_that_stalls_and_leaves_is_too(
        self, server: Server, clients: Clients
    ) -> None:
        closed = len(state(server)["steps"])
        stream = await get(clients, server, "/endless")
        await stream.until(b"x\n\n")
        stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.to_thread(wait_for, lambda: is_quiet(server))

        await stream.close()

        await asyncio.to_thread(wait_for, lambda: len(state(server)["steps"]) > closed, 1.0)
        assert "disconnected" == state(server)["reasons"][-1]


def is_quiet(server: Server) -> bool:
    """Return True when the server answers at once again, because its endless stream waits for the client."""
    start = time.perf_counter()
    state(server)
    return time.perf_counter() - start < 0.05


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
@pytest.mark.parametrize("app", [BARE, WRAPPED])
async def test_sigterm_ends_every_stream_properly_and_the_server_within_a_second(
    start: Callable[..., Any], clients: Clients, app: str
) -> None:
    with start(app) as server:
        streams = [await get(clients, server, "/idle") for _ in range(10)]
        for stream in streams:
            await stream.until(b"data: open\n\n")
        begun = time.perf_counter()
        server.signal(signal.SIGTERM)
        bodies = [await stream.to_the_end() for stream in streams]
        code = await asyncio.to_thread(server.wait)
        took = time.perf_counter() - begun

    assert all(b": bye\n\n" in body for body in bodies), bodies
    assert all(body.endswith(b"0\r\n\r\n") for body in bodies), bodies
    assert code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert took < 1.0
