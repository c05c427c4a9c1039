"""One endpoint in each framework, twice: in the framework's own way, and by our adapter.

An endpoint sends a token, waits, and so on, for ever. The own way writes each block by hand and has neither heartbeats
nor a time-out nor an end at shutdown; no library stands between. Litestar and Sanic have no more than that either, but
for Litestar's `ServerSentEvent`.

Each application is a function `FRAMEWORK_WAY` that returns it, so that servers of any kind can load one.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

__all__ = ["PAUSE", "blocks", "tokens"]

PAUSE = 0.05  # s between two tokens of a stream
TYPE = "text/event-stream"


async def tokens() -> AsyncIterator[str]:
    while True:
        yield "token "
        await asyncio.sleep(PAUSE)


async def blocks() -> AsyncIterator[bytes]:
    async for token in tokens():
        yield f"data: {token}\n\n".encode()


def sync_tokens() -> Iterator[str]:
    while True:
        yield "token "
        time.sleep(PAUSE)


def sync_blocks() -> Iterator[bytes]:
    for token in sync_tokens():
        yield f"data: {token}\n\n".encode()


def _litestar(make: Any, kind: type) -> Any:
    from litestar import Litestar, get

    async def stream() -> Any:
        return make()

    stream.__annotations__["return"] = kind  # which Litestar needs
    return Litestar([get("/")(stream)])


def litestar_own() -> Any:
    from litestar.response import ServerSentEvent

    return _litestar(lambda: ServerSentEvent(tokens()), ServerSentEvent)


def litestar_stream() -> Any:
    from litestar.response import Stream

    return _litestar(lambda: Stream(blocks(), media_type=TYPE), Stream)


def litestar_ours() -> Any:
    from fastsse.adapters.litestar import EventSourceResponse

    return _litestar(lambda: EventSourceResponse(tokens()), EventSourceResponse)


def aiohttp_own() -> Any:
    from aiohttp import web

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": TYPE})
        await response.prepare(request)
        async for block in blocks():
            await response.write(block)
        return response

    app = web.Application()
    app.router.add_get("/", stream)
    return app


def aiohttp_ours() -> Any:
    from aiohttp import web

    from fastsse.adapters.aiohttp import EventSourceResponse

    async def stream(_: web.Request) -> web.StreamResponse:
        return EventSourceResponse(tokens())

    app = web.Application()
    app.router.add_get("/", stream)
    return app


def sanic_own() -> Any:
    from sanic import Sanic

    app: Any = Sanic("own")

    @app.get("/")
    async def stream(request: Any) -> None:
        response = await request.respond(content_type=TYPE)
        async for block in blocks():
            await response.send(block)

    return app


def sanic_ours() -> Any:
    from sanic import Sanic

    from fastsse.adapters.sanic import EventSourceResponse

    app: Any = Sanic("ours")

    @app.get("/")
    async def stream(_: Any) -> Any:
        return EventSourceResponse(tokens())

    return app


def quart_own() -> Any:
    from quart import Quart, Response

    app = Quart("own")

    @app.get("/")
    async def stream() -> Any:
        response = Response(blocks(), content_type=TYPE)
        response.timeout = None
        return response

    return app


def quart_ours() -> Any:
    from quart import Quart

    from fastsse.adapters.quart import EventSourceResponse

    app = Quart("ours")

    @app.get("/")
    async def stream() -> Any:
        return EventSourceResponse(tokens())

    return app


def _django(view: Any, kind: str) -> Any:
    import django
    from django.conf import settings
    from django.urls import path

    settings.configure(
        SECRET_KEY="none", ALLOWED_HOSTS=["*"], ROOT_URLCONF=(path("", view),), MIDDLEWARE=[]
    )
    django.setup()
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    return get_asgi_application() if kind == "asgi" else get_wsgi_application()


def django_own() -> Any:
    from django.http import StreamingHttpResponse

    async def stream(_: Any) -> Any:
        return StreamingHttpResponse(blocks(), content_type=TYPE)

    return _django(stream, "asgi")


def django_ours() -> Any:
    async def stream(_: Any) -> Any:
        from fastsse.adapters.django import EventSourceResponse

        return EventSourceResponse(tokens())

    return _django(stream, "asgi")


def djangowsgi_own() -> Any:
    from django.http import StreamingHttpResponse

    def stream(_: Any) -> Any:
        return StreamingHttpResponse(sync_blocks(), content_type=TYPE)

    return _django(stream, "wsgi")


def djangowsgi_ours() -> Any:
    def stream(_: Any) -> Any:
        from fastsse.adapters.django import EventSourceResponse

        return EventSourceResponse(sync_tokens())

    return _django(stream, "wsgi")


def flask_own() -> Any:
    from flask import Flask, Response

    app = Flask("own")

    @app.get("/")
    def stream() -> Any:
        return Response(sync_blocks(), content_type=TYPE)

    return app


def flask_ours() -> Any:
    from flask import Flask

    from fastsse.adapters.flask import EventSourceResponse

    app = Flask("ours")

    @app.get("/")
    def stream() -> Any:
        return EventSourceResponse(sync_tokens())

    return app


def flask_async() -> Any:
    from flask import Flask

    from fastsse.adapters.flask import EventSourceResponse

    app = Flask("async")

    @app.get("/")
    def stream() -> Any:
        return EventSourceResponse(tokens())

    return app


if __name__ == "__main__":  # aiohttp's and Sanic's own servers: NAME PORT
    made = globals()[sys.argv[1]]()
    if sys.argv[1].startswith("aiohttp"):
        from aiohttp import web

        web.run_app(made, host="127.0.0.1", port=int(sys.argv[2]), print=None)
    else:
        made.run("127.0.0.1", int(sys.argv[2]), single_process=True, access_log=False, motd=False)
