"""The adapter for aiohttp: the real framework under its own server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from support.adapted import shared
from support.adapted.contract import Contract, ask, python
from support.neighbours import need
from support.servers import Server

need("aiohttp")

from aiohttp import ClientSession, web  # noqa: E402

from fastsse.adapters.aiohttp import EventSourceResponse, end_streams_of  # noqa: E402


class Own:
    """The tests of this adapter alone, which run before the contract ends the server."""

    async def test_an_exception_within_the_handler_reaches_the_middlewares(
        self, server: Server
    ) -> None:
        reply = await ask(server, "GET", "/within")

        assert 503 == reply.status


class TestContract(Contract, Own):
    command = python("support.adapted.on_aiohttp", "PORT", "asyncio")


@pytest.mark.long
class TestOnUvloop(Contract, Own):
    needs = ("uvloop",)
    command = python("support.adapted.on_aiohttp", "PORT", "uvloop")


class TestInOneProcess:
    """Applications that a test runs itself, on its own loop."""

    async def test_a_runner_that_is_cleaned_up_ends_its_streams(self) -> None:
        async def endless(_: web.Request) -> web.StreamResponse:
            return EventSourceResponse(shared.endless(), last="bye")

        app = web.Application()
        app.router.add_get("/", endless)
        app.on_shutdown.append(end_streams_of)
        async with served(app) as (runner, session, url):
            response = await session.get(url)
            await response.content.readuntil(b"data: open\n\n")
            await runner.cleanup()
            rest = await response.content.read()

        assert b"data: bye\n\n" == rest

    async def test_headers_and_cookies_are_sent_besides_the_streams_own(self) -> None:
        async def once(_: web.Request) -> web.StreamResponse:
            response = EventSourceResponse(["one"], headers={"x-mine": "1"}, status_code=201)
            response.set_cookie("seen", "yes")
            response.headers["x-later"] = "2"
            return response

        app = web.Application()
        app.router.add_get("/", once)
        async with served(app) as (_, session, url):
            response = await session.get(url)
            body = await response.read()

        assert (201, "1", "2") == (
            response.status,
            response.headers["x-mine"],
            response.headers["x-later"],
        )
        assert "yes" == response.cookies["seen"].value
        assert b":\n\ndata: one\n\n" == body

    async def test_the_connection_serves_other_requests_after_a_stream(self) -> None:
        async def once(_: web.Request) -> web.StreamResponse:
            return EventSourceResponse(["one"])

        app = web.Application()
        app.router.add_get("/", once)
        async with served(app) as (_, _session, url):
            reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
            for _ in range(3):
                writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await reader.readuntil(b"data: one\n\n")
                await reader.readuntil(b"0\r\n\r\n")
            writer.close()
            await writer.wait_closed()

    async def test_a_response_streams_once(self) -> None:
        response = EventSourceResponse(["one"])

        async def twice(request: web.Request) -> web.StreamResponse:
            await response.stream(request)
            with pytest.raises(RuntimeError, match="answered a request already"):
                await response.stream(request)
            return response

        app = web.Application()
        app.router.add_get("/", twice)
        async with served(app) as (_, session, url):
            body = await (await session.get(url)).read()

        assert b":\n\ndata: one\n\n" == body


@asynccontextmanager
async def served(
    app: web.Application,
) -> AsyncIterator[tuple[web.AppRunner, ClientSession, str]]:
    """Run an application on the present loop, with a client for it."""
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with ClientSession() as session:
            port = runner.addresses[0][1]
            yield runner, session, f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()
