"""relay: an upstream's stream as the answer, in memory under the strictest server; a test steers the upstream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from support.driver import turns
from support.models import STREAMS, chunked
from support.split import blocks_of

from fastsse import BlockTooLarge, LimitExceeded, decode, end_streams, relay, relay_headers
from fastsse.testing import Ended, Sends, fetch, open_stream

SENDS: list[Sends] = ["granian", "coroutine", "wrapped"]
HEARTBEAT = b":\n\n"
SOON = 0.02  # s
BOM = b"\xef\xbb\xbf"
SSE = {"Content-Type": "text/event-stream"}


class Response:
    """An open response like those of the async clients; a test puts its chunks, and sees it closed."""

    def __init__(
        self, *chunks: Any, status: int = 200, headers: Any = None, over: bool = True
    ) -> None:
        self.status = status
        self.headers = SSE if headers is None else headers
        self.closed = 0
        self.reading = asyncio.Event()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self.put(*chunks)
        if over:
            self.end()

    def put(self, *chunks: Any) -> None:
        for chunk in chunks:
            self._queue.put_nowait(chunk)

    def end(self) -> None:
        self.put(StopAsyncIteration)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.reading.set()
            chunk = await self._queue.get()
            if chunk is StopAsyncIteration:
                return
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    async def aclose(self) -> None:
        self.closed += 1


class Opening:
    """A context manager that opens a response when a test lets it, in the task that closes it."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.let = asyncio.Event()
        self.entered = 0
        self.left = 0
        self._task: Any = None

    async def __aenter__(self) -> Any:
        self._task = asyncio.current_task()
        self.entered += 1
        await self.let.wait()
        if isinstance(self.response, BaseException):
            raise self.response
        return self.response

    async def __aexit__(self, *_: object) -> None:
        assert self._task is asyncio.current_task()
        self.left += 1


class ConnectError(OSError):
    """The error of a client that cannot connect."""


def named(name: str, *bases: type[Exception]) -> Exception:
    """Make an exception of a class of this name, as a client has it."""
    return type(name, bases or (Exception,), {})("a secret of the upstream")


class TestTheBytes:
    @pytest.mark.parametrize("name", STREAMS)
    @pytest.mark.parametrize("sends", SENDS)
    async def test_are_the_upstreams_at_every_chunking(self, name: str, sends: Sends) -> None:
        stream = STREAMS[name](Random(name), 40)
        for size in (1, 7, 64, 300, 4096, None):
            chunks = chunked(stream, Random(0), size)

            answer = await fetch(relay(Response(*chunks)), sends=sends)

            assert (200, stream) == (answer.status, answer.body), size

    async def test_of_an_unfinished_block_are_passed_on(self) -> None:
        stream = b"data: a\n\ndata: b\ndata"

        assert stream == (await fetch(relay(Response(stream)))).body

    async def test_leave_in_whole_blocks_as_soon_as_they_are_there(self) -> None:
        upstream = Response(over=False)

        async with open_stream(relay(upstream)) as stream:
            upstream.put(b"data: a\n\nda")
            assert b"data: a\n\n" == await stream.chunk()
            upstream.put(b"ta: b\n")
            await turns()
            assert b"" == stream.unread
            upstream.put(b"\ndata: c\r\rd")
            assert b"data: b\n\ndata: c\r\r" == await stream.chunk()

    async def test_of_a_chunk_that_is_whole_are_not_copied(self) -> None:
        chunk = b"data: " + b"x" * 100 + b"\n\n"
        seen: list[bytes] = []
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message.get("body"))

        async def receive() -> Any:
            await asyncio.Event().wait()

        scope = {"type": "http", "method": "GET", "headers": []}
        await relay(Response(b":\n\n", chunk), on_block=seen.append)(scope, receive, send)

        assert any(chunk is body for body in sent) or b":\n\n" + chunk in sent
        assert chunk is seen[1]

    async def test_may_come_from_an_iterable_alone(self) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"data: a\n\n"

        assert b"data: a\n\n" == (await fetch(relay(chunks()))).body
        assert b"data: a\n\n" == (await fetch(relay([b"data: ", b"a\n\n"]))).body
        assert b"data: a\n\n" == (await fetch(relay(iter([b"data: a\n\n"])))).body


class TestTheHead:
    async def test_is_the_upstreams_as_far_as_it_is_for_the_reader(self) -> None:
        headers = [
            ("Content-Type", "text/event-stream;charset=utf-8"),
            ("X-Request-Id", "7"),
            ("Set-Cookie", "a=b"),
            ("OpenAI-Organization", "ours"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
            ("Content-Length", "10"),
            ("Content-Encoding", "gzip"),
            ("X-Extra", "1"),
            ("X-Extra", "2"),
            ("Retry-After", "1\r\nX-Injected: 1"),
        ]
        response = relay(
            Response(b":\n\n", headers=headers),
            pass_headers=["X-Extra", "Connection", "content-encoding"],
            headers={"X-Ours": "3"},
        )

        async with open_stream(response) as stream:
            assert [
                (b"cache-control", b"no-store, no-transform"),
                (b"x-accel-buffering", b"no"),
                (b"incremental", b"?1"),
                (b"x-ours", b"3"),
                (b"content-type", b"text/event-stream;charset=utf-8"),
                (b"x-request-id", b"7"),
                (b"x-extra", b"1"),
                (b"x-extra", b"2"),
            ] == stream.raw_headers

    async def test_comes_as_soon_as_the_upstreams_is_there_and_not_before(self) -> None:
        opening = Opening(Response(over=False))

        async with open_stream(relay(opening, heartbeat=SOON), wait=False) as stream:
            await asyncio.sleep(3 * SOON)
            before = stream.status
            opening.let.set()
            await stream.started()

            assert (0, 200) == (before, stream.status)
            assert HEARTBEAT == await stream.chunk()
        assert (1, 1) == (opening.entered, opening.left)

    async def test_may_be_followed_by_a_comment_at_once(self) -> None:
        async with open_stream(relay(Response(over=False), opening=True)) as stream:
            assert HEARTBEAT == await stream.chunk()

    async def test_of_a_head_request_opens_nothing(self) -> None:
        opening, opened = Opening(Response()), Response()

        answers = [await fetch(relay(it), method="HEAD") for it in (opening, opened)]

        assert [(200, b"")] * 2 == [(answer.status, answer.body) for answer in answers]
        assert (0, 1) == (opening.entered, opened.closed)

    async def test_may_be_that_of_another_answer(self) -> None:
        body = b'{"error": {"message": "slow down"}}'
        headers = {"content-type": "application/json", "retry-after": "2", "content-length": "35"}
        upstream = Response(body[:9], body[9:], status=429, headers=headers)

        answer = await fetch(relay(upstream, opening=True, heartbeat=SOON))

        assert (429, body) == (answer.status, answer.body)
        assert headers | {"cache-control": "no-store, no-transform"} == answer.headers
        assert 1 == upstream.closed

    async def test_of_another_answer_brings_no_heartbeats(self) -> None:
        upstream = Response(b"{", headers={"content-type": "application/json"}, over=False)

        async with open_stream(relay(upstream, heartbeat=SOON)) as stream:
            assert b"{" == await stream.chunk()
            await asyncio.sleep(4 * SOON)
            upstream.put(b"}")
            assert b"}" == await stream.chunk()
            upstream.end()
            await stream.ended()
            assert stream.complete

    async def test_may_say_that_there_is_nothing(self) -> None:
        answer = await fetch(relay(Response(status=204, headers={})))

        assert (204, b"", {"cache-control": "no-store, no-transform"}) == (
            answer.status,
            answer.body,
            answer.headers,
        )

    async def test_of_an_encoded_body_has_no_length(self) -> None:
        headers = {"content-type": "text/plain", "content-encoding": "gzip", "content-length": "9"}

        answer = await fetch(relay(Response(b"decoded text", status=500, headers=headers)))

        assert (500, b"decoded text") == (answer.status, answer.body)
        assert {"content-type", "cache-control"} == set(answer.headers)

    async def test_of_a_body_that_is_too_large_is_followed_by_no_end(self) -> None:
        upstream = Response(b"x" * 4, b"x" * 5, status=500, headers={"content-type": "text/plain"})

        async with open_stream(relay(upstream, max_block_size=8)) as stream:
            with pytest.raises(LimitExceeded):
                await stream.ended()
            assert not stream.complete


class TestHeartbeats:
    async def test_stand_between_blocks_and_never_within(self) -> None:
        upstream = Response(b"data: a\n\ndata: b\n", over=False)

        async with open_stream(relay(upstream, heartbeat=SOON)) as stream:
            assert b"data: a\n\n" == await stream.chunk()
            assert HEARTBEAT == await stream.chunk()
            upstream.put(b"data: c\n\n")
            chunk = HEARTBEAT
            while chunk == HEARTBEAT:
                chunk = await stream.chunk()
            assert b"data: b\ndata: c\n\n" == chunk

    async def test_leave_all_events_as_they_are_however_slow_the_upstream(self) -> None:
        whole = STREAMS["anthropic"](Random(1), 4)
        upstream = Response(over=False)
        body = b""

        async with open_stream(relay(upstream, heartbeat=0.001)) as stream:
            for chunk in chunked(whole, Random(2), 60):
                upstream.put(chunk)
                await asyncio.sleep(0.003)
            upstream.end()
            with contextlib.suppress(Ended):
                while True:
                    body += await stream.chunk()

        assert decode(whole) == decode(body)
        assert HEARTBEAT in body
        beats = [block for block in blocks_of(body)[0] if block == HEARTBEAT]
        assert whole == b"".join(block for block in blocks_of(body)[0] if block != HEARTBEAT)
        assert beats

    async def test_may_be_lines_for_readers_that_make_events_of_blank_ones(self) -> None:
        upstream = Response(over=False)
        response = relay(upstream, heartbeat=SOON, heartbeat_form="line", opening=True)

        async with open_stream(response) as stream:
            assert b":\n" == await stream.chunk()
            assert b":\n" == await stream.chunk()

    async def test_do_not_follow_an_unfinished_block(self) -> None:
        class Slow(Response):
            async def aclose(self) -> None:
                await asyncio.sleep(5 * SOON)
                await super().aclose()

        answer = await fetch(relay(Slow(b"data: a\n\ndata: b"), heartbeat=SOON))

        assert b"data: a\n\ndata: b" == answer.body

    async def test_before_a_byte_order_mark_take_its_place(self) -> None:
        upstream = Response(over=False)

        async with open_stream(relay(upstream, heartbeat=SOON)) as stream:
            assert HEARTBEAT == await stream.chunk()
            upstream.put(BOM + b"data: a\n\n")
            chunk = HEARTBEAT
            while chunk == HEARTBEAT:
                chunk = await stream.chunk()
            assert b"data: a\n\n" == chunk

    @pytest.mark.parametrize(("opening", "first"), [(False, BOM), (True, HEARTBEAT)])
    async def test_a_byte_order_mark_stays_first(self, opening: bool, first: bytes) -> None:
        answer = await fetch(relay(Response(BOM + b"data: a\n\n"), opening=opening))

        assert first + b"data: a\n\n" == answer.body


class TestBlocks:
    async def test_are_seen_one_by_one(self) -> None:
        stream = b"data: a\r\n\r\n: ping\r\n\r\n\r\nid: 1\r\ndata: b\r\n\r\n"
        for size in (1, 5, None):
            seen: list[bytes] = []

            answer = await fetch(
                relay(Response(*chunked(stream, Random(3), size)), on_block=seen.append)
            )

            assert (stream, blocks_of(stream)[0]) == (answer.body, seen)

    async def test_that_wait_for_their_lf_are_seen_at_the_end(self) -> None:
        seen: list[bytes] = []

        answer = await fetch(relay(Response(b"data: a\r\n\r"), on_block=seen.append))

        assert (b"data: a\r\n\r", [b"data: a\r\n\r"]) == (answer.body, seen)

    async def test_may_be_rewritten(self) -> None:
        def number(block: bytes) -> bytes:
            return b"" if block == b":\n\n" else b"id: 1\n" + block

        answer = await fetch(relay(Response(b"data: a\n\n:\n\ndata: b\n\nda"), rewrite=number))

        assert b"id: 1\ndata: a\n\nid: 1\ndata: b\n\nda" == answer.body

    async def test_before_a_fault_of_the_application_are_sent(self) -> None:
        def fail(block: bytes) -> None:
            if b"b" in block:
                raise ZeroDivisionError

        upstream = Response(b"data: a\n\n", b"data: b\n\n", over=False)
        async with open_stream(relay(upstream, on_block=fail)) as stream:
            with pytest.raises(ZeroDivisionError):
                await stream.ended()
            assert not stream.complete
        assert 1 == upstream.closed

    async def test_that_are_too_large_end_the_stream_after_those_before(self) -> None:
        upstream = Response(b"data: a\n\ndata: " + b"x" * 100)

        async with open_stream(relay(upstream, max_block_size=50)) as stream:
            assert b"data: a\n\n" == await stream.chunk()
            with pytest.raises(BlockTooLarge):
                await stream.ended()
            assert not stream.complete


FAILURES: dict[str, tuple[Exception, int]] = {
    "refused": (ConnectionRefusedError("a secret of the upstream"), 502),
    "time-out": (TimeoutError("a secret of the upstream"), 504),
    "httpx, connect": (named("ConnectError", type("TransportError", (Exception,), {})), 502),
    "httpx, time": (named("ConnectTimeout", type("TimeoutException", (Exception,), {})), 504),
    "aiohttp": (named("ServerDisconnectedError", type("ClientError", (Exception,), {})), 502),
    "requests": (named("SSLError", type("RequestException", (OSError,), {})), 502),
}


class TestFailures:
    @pytest.mark.parametrize(("error", "status"), FAILURES.values(), ids=FAILURES)
    async def test_before_the_head_are_problems(
        self, error: Exception, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        opening = Opening(error)
        opening.let.set()

        with caplog.at_level(logging.WARNING, "fastsse.relay"):
            answer = await fetch(relay(opening, opening=True))

        problem = json.loads(answer.body)
        assert (status, status) == (answer.status, problem["status"])
        assert "application/problem+json" == answer.headers["content-type"]
        assert str(len(answer.body)) == answer.headers["content-length"]
        assert b"secret" not in answer.body
        assert "a secret of the upstream" in caplog.text

    async def test_of_the_application_are_the_frameworks(self) -> None:
        def broken() -> Any:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fetch(relay(broken))

    async def test_that_bring_a_response_are_that_response(self) -> None:
        error = named("RateLimitError", type("APIError", (Exception,), {}))
        error.response = SimpleNamespace(  # type: ignore[attr-defined]
            status_code=429,
            headers={"content-type": "application/json", "retry-after": "3"},
            content=b'{"error": {}}',
        )
        opening = Opening(error)
        opening.let.set()

        answer = await fetch(relay(opening))

        assert (429, b'{"error": {}}') == (answer.status, answer.body)
        assert "3" == answer.headers["retry-after"]

    @pytest.mark.parametrize("status", [301, 302, 307, 407])
    async def test_redirects_are_not_passed_on(self, status: int) -> None:
        upstream = Response(status=status, headers={"location": "http://inside/"})

        answer = await fetch(relay(upstream))

        assert 502 == answer.status
        assert b"inside" not in answer.body
        assert "location" not in answer.headers
        assert 1 == upstream.closed

    @pytest.mark.parametrize("sends", SENDS)
    async def test_after_the_head_leave_the_body_without_its_end(self, sends: Sends) -> None:
        upstream = Response(b"data: a\n\ndata: b", ConnectError("reset"))

        async with open_stream(relay(upstream), sends=sends) as stream:
            assert b"data: a\n\n" == await stream.chunk()
            with pytest.raises(ConnectError):
                await stream.ended()
            assert not stream.complete
        assert 1 == upstream.closed


class TestTheReader:
    @pytest.mark.parametrize("sends", SENDS)
    async def test_that_leaves_closes_the_upstream_within_a_read(self, sends: Sends) -> None:
        upstream = Response(b"data: a\n\n", over=False)
        reasons: list[str] = []

        async with open_stream(relay(upstream, on_close=reasons.append), sends=sends) as stream:
            await stream.chunk()
            upstream.reading.clear()
            stream.disconnect()
            await stream.ended()

        assert (1, ["disconnected"]) == (upstream.closed, reasons)

    async def test_that_leaves_before_the_head_ends_the_opening(self) -> None:
        opening = Opening(Response())

        async with open_stream(relay(opening), wait=False) as stream:
            await turns()
            stream.disconnect()
            await stream.ended()

        assert (1, 0) == (opening.entered, opening.left)

    async def test_that_stalls_holds_the_upstream_back_and_is_ended(self) -> None:
        upstream = Response(*[b"data: " + b"x" * 10_000 + b"\n\n"] * 1000)
        reasons: list[str] = []

        response = relay(upstream, send_timeout=0.2, on_close=reasons.append)
        async with open_stream(response) as stream:
            stream.stall()
            await stream.blocked()
            await stream.ended()
            left = upstream._queue.qsize()

        assert (1, ["timeout"]) == (upstream.closed, reasons)
        assert left > 900

    async def test_is_told_of_a_shutdown(self) -> None:
        upstream = Response(b"data: a\n\ndata: b\n", over=False)

        async with open_stream(relay(upstream, last={"event": "bye", "data": ""})) as stream:
            await stream.chunk()
            end_streams()
            assert b"event: bye\ndata: \n\n" == await stream.chunk()
            await stream.ended()
            assert stream.complete
        assert 1 == upstream.closed

    async def test_is_told_of_a_shutdown_before_the_head(self) -> None:
        opening = Opening(Response())

        async with open_stream(relay(opening), wait=False) as stream:
            await turns()
            end_streams()
            await stream.started()
            assert 503 == stream.status
            await stream.ended()


WRONG: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "text": ("data: a\n\n", {}, TypeError, "upstream must be a response"),
    "bytes": (b"data: a\n\n", {}, TypeError, "upstream must be a response"),
    "nothing": (None, {}, TypeError, "not NoneType"),
    "a number": (5, {}, TypeError, "not int"),
    "heartbeat": ([], {"heartbeat": -1}, ValueError, "heartbeat"),
    "max_block_size": ([], {"max_block_size": 0}, ValueError, "at least 1"),
    "on_block": ([], {"on_block": 1}, TypeError, "on_block must be callable"),
    "a length": ([], {"headers": {"content-length": "1"}}, ValueError, "leave it out"),
}


class TestTheArguments:
    @pytest.mark.parametrize(("upstream", "options", "error", "words"), WRONG.values(), ids=WRONG)
    def test_what_is_wrong_is_refused_before_anything_is_opened(
        self, upstream: Any, options: dict[str, Any], error: type[Exception], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            relay(upstream, **options)

    def test_a_function_that_must_be_awaited_is_refused(self) -> None:
        async def see(_block: bytes) -> None:
            pass

        with pytest.raises(TypeError, match="on_block must be a plain function"):
            relay([], on_block=see)

    @pytest.mark.parametrize("way", ["awaited", "called", "entered", "called and awaited"])
    async def test_an_upstream_may_be_opened_in_many_ways(self, way: str) -> None:
        response = Response(b"data: a\n\n")

        async def coroutine() -> Response:
            return response

        @asynccontextmanager
        async def manager() -> AsyncIterator[Response]:
            yield response

        ways: dict[str, Callable[[], Any]] = {
            "awaited": coroutine,
            "called": lambda: lambda: response,
            "entered": manager,
            "called and awaited": lambda: coroutine,
        }

        assert b"data: a\n\n" == (await fetch(relay(ways[way]()))).body
        assert 1 == response.closed


def scope(headers: dict[str, str] | None = None, query: str = "") -> dict[str, Any]:
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return {"type": "http", "headers": pairs, "query_string": query.encode()}


class TestTheHeadersForTheUpstream:
    def test_ask_for_a_stream_that_nobody_compresses(self) -> None:
        assert {"accept": "text/event-stream", "accept-encoding": "identity"} == relay_headers(
            scope({"cookie": "secret", "authorization": "secret"})
        )

    @pytest.mark.parametrize(
        ("given", "query", "id"),
        [
            ({"last-event-id": "7"}, "", "7"),
            ({}, "lastEventId=8", "8"),
            ({}, "lastEventId=8%0D%0AX-Injected:1", None),
            ({"last-event-id": "é"}, "", None),
        ],
    )
    def test_have_the_place_where_the_reader_left_off(
        self, given: dict[str, str], query: str, id: str | None
    ) -> None:
        assert id == relay_headers(scope(given, query)).get("last-event-id")
