# ruff: noqa: E402
"""The names of aiohttp-sse, of both its versions, in real aiohttp applications."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.neighbours import need

need("aiohttp")

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from fastsse import InvalidField
from fastsse.compat.aiohttp_sse import EventSourceResponse, sse_response

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SOON = 0.03  # s


@asynccontextmanager
async def client_of(handler: Handler, method: str = "*") -> AsyncIterator[Any]:
    app = web.Application()
    app.router.add_route(method, "/", handler)
    async with TestClient(TestServer(app)) as client:
        yield client


async def body_of(handler: Handler, **options: Any) -> str:
    async with client_of(handler) as client:
        async with client.get("/", **options) as response:
            assert 200 == response.status
            return str(await response.text())


def sending(*events: dict[str, Any], **options: Any) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        async with sse_response(request, **options) as response:
            for event in events:
                await response.send(**event)
        return response

    return handler


class TestSurface:
    def test_the_arguments_are_both_versions(self) -> None:
        names = "status reason headers sep allow_all_methods send_timeout ping_interval"

        assert names.split() == [*inspect.signature(EventSourceResponse).parameters]
        assert {"request", "response_cls", *names.split()} == {
            *inspect.signature(sse_response).parameters
        }
        assert ["self", "data", "id", "event", "retry"] == [
            *inspect.signature(EventSourceResponse.send).parameters
        ]

    def test_the_headers_of_a_stream_cannot_be_changed(self) -> None:
        response = EventSourceResponse(headers={"Cache-Control": "public", "X-A": "b"})

        assert {
            "X-A": "b",
            "Cache-Control": "no-cache",
            "Content-Type": "text/event-stream",
            "Connection": "keep-alive",
            "X-Accel-Buffering": "no",
        } == dict(response.headers)

    @pytest.mark.parametrize("value", [0, -1])
    def test_a_ping_interval_is_positive(self, value: float) -> None:
        with pytest.raises(ValueError, match="ping interval must be positive"):
            EventSourceResponse(ping_interval=value)

    def test_the_attribute_of_version_2_may_be_set(self) -> None:
        response = EventSourceResponse()
        assert 15 == response.ping_interval

        response.ping_interval = 2.5

        assert 2.5 == response.ping_interval
        with pytest.raises(ValueError, match="ping interval must be greater then 0"):
            response.ping_interval = -1
        with pytest.raises(TypeError, match="ping interval must be int or float"):
            response.ping_interval = "1"  # type: ignore[assignment]

    def test_a_separator_is_a_line_end(self) -> None:
        with pytest.raises(ValueError, match="sep must be a line end"):
            EventSourceResponse(sep="\\n")

    async def test_what_needs_a_request_says_so(self) -> None:
        response = EventSourceResponse()

        with pytest.raises(RuntimeError, match="must be prepared first"):
            _ = response.last_event_id
        with pytest.raises(RuntimeError, match="not started"):
            response.stop_streaming()
        with pytest.raises(RuntimeError, match="not started"):
            await response.wait()
        with pytest.raises(NotImplementedError):
            response.enable_compression()
        assert not response.is_connected()

    def test_another_class_is_refused(self) -> None:
        request = make_mocked_request("GET", "/")

        with pytest.raises(TypeError, match="must be subclass"):
            sse_response(request, response_cls=web.StreamResponse)  # type: ignore[type-var]


class TestBytes:
    @pytest.mark.parametrize("sep", [None, "\n", "\r"])
    async def test_fields_come_in_this_order(self, sep: str | None) -> None:
        event = {"data": "a\nb\r\nc\r", "event": "e", "id": "1", "retry": 2}

        body = await body_of(sending({"data": "x"}, event, sep=sep))

        expected = "data: x\n\nid: 1\nevent: e\ndata: a\ndata: b\ndata: c\ndata: \nretry: 2\n\n"
        assert expected.replace("\n", sep or "\r\n") == body

    @pytest.mark.parametrize(
        "event",
        [
            {"data": "x", "id": "1\nevent: evil"},
            {"data": "x", "id": "1\0"},
            {"data": "x", "event": "e\rdata: evil"},
            {"data": "x", "retry": -1},
            {"data": "\ud800"},
        ],
    )
    async def test_what_would_be_another_field_is_refused(self, event: dict[str, Any]) -> None:
        with pytest.raises(InvalidField):
            await EventSourceResponse().send(**event)

    async def test_a_reconnection_time_is_an_integer(self) -> None:
        with pytest.raises(TypeError, match="retry argument must be int"):
            await EventSourceResponse().send("x", retry="1")  # type: ignore[arg-type]


class TestStreams:
    async def test_a_response_may_be_awaited_as_in_version_2(self) -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = await sse_response(request)
            async with response:
                await response.send("a")
            return response

        assert "data: a\r\n\r\n" == await body_of(handler)

    async def test_a_response_may_be_prepared_by_hand(self) -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = EventSourceResponse()
            await response.prepare(request)
            await response.send(str(response.last_event_id))
            response.stop_streaming()
            await response.wait()
            return response

        assert "data: 7\r\n\r\n" == await body_of(handler, headers={"Last-Event-ID": "7"})

    async def test_a_subclass_of_version_2_may_stand_in(self) -> None:
        class Mine(EventSourceResponse):
            def __init__(
                self, *, status: Any, reason: Any, headers: Any, sep: Any
            ) -> None:  # as in version 2
                super().__init__(status=status, reason=reason, headers=headers, sep=sep)

            async def send(self, data: str, *fields: Any, **named: Any) -> None:
                await super().send(data.upper(), *fields, **named)

        assert "data: A\r\n\r\n" == await body_of(sending({"data": "a"}, response_cls=Mine))

    async def test_a_ping_comes_at_every_interval(self) -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            async with sse_response(request, ping_interval=0.01) as response:
                await response.wait()
            return response

        async with client_of(handler) as client, client.get("/") as response:
            assert b": ping\r\n\r\n: ping\r\n\r\n" == await response.content.readexactly(20)

    async def test_no_ping_comes_with_an_interval_of_0(self) -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = EventSourceResponse()
            response.ping_interval = 0
            await response.prepare(request)
            async with response:
                await asyncio.sleep(SOON)
            return response

        assert "" == await body_of(handler)

    @pytest.mark.parametrize(("allowed", "status"), [(True, 200), (False, 405)])
    async def test_other_methods_are_answered_unless_told_otherwise(
        self, allowed: bool, status: int
    ) -> None:
        handler = sending({"data": "a"}, **({} if allowed else {"allow_all_methods": False}))

        async with client_of(handler) as client, client.post("/") as response:
            assert status == response.status

    async def test_a_client_that_left_is_noticed(self) -> None:
        seen: list[Any] = []
        done = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = EventSourceResponse()
            await response.prepare(request)
            seen.append(response.is_connected())
            try:
                async with response:
                    while response.is_connected():
                        await response.send("x")
                        await asyncio.sleep(0.001)
            finally:
                seen.append(response.is_connected())
                done.set()
            return response

        async with client_of(handler) as client:
            response = await client.get("/")
            await response.content.readuntil(b"\r\n\r\n")
            response.close()
            async with asyncio.timeout(5):
                await done.wait()

        assert [True, False] == seen

    async def test_a_client_that_does_not_read_is_cut_off(self) -> None:
        raised: list[type[BaseException]] = []
        done = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            async with sse_response(request, send_timeout=SOON) as response:
                try:
                    while True:
                        await response.send("x" * 2**20)
                except BaseException as error:
                    raised.append(type(error))
                    done.set()
                    raise
            return response

        async with client_of(handler) as client:
            response = await client.get("/")
            async with asyncio.timeout(5):
                await done.wait()
            response.close()

        assert [TimeoutError] == raised

    async def test_a_cancellation_is_not_swallowed(self) -> None:
        ended: list[str] = []

        async def handler(request: web.Request) -> web.StreamResponse:
            async with sse_response(request) as response:
                waiting = asyncio.create_task(response.wait())
                await asyncio.sleep(0)
                waiting.cancel()
                try:
                    await waiting
                except asyncio.CancelledError:
                    ended.append("cancelled")
            return response

        await body_of(handler)

        assert ["cancelled"] == ended
