"""EventSourceResponse for aiohttp's server.

    async def answer(request):
        return EventSourceResponse(words(request.query["question"]))

A client that leaves is noticed at once, whatever the server's option `handler_cancellation` says. aiohttp begins a
response after the handler and all middlewares have returned, so with ``wait_first=True`` an exception before the first
item becomes aiohttp's own 500, which no middleware sees. Where middlewares should see it, let the handler stream:
``return await EventSourceResponse(items, wait_first=True).stream(request)``.

SIGTERM ends open streams and hubs by itself. A runner that is cleaned up without a signal needs
``app.on_shutdown.append(end_streams_of)``.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterable, Iterable
from typing import Any, Unpack

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

import fastsse
from fastsse.adapters._options import Options, as_text
from fastsse.adapters._pull import CUT, plain_scope
from fastsse.adapters._push import Push
from fastsse.asgi import App, Message

__all__ = [
    "AsgiResponse",
    "EventSourceResponse",
    "end_streams_of",
    "from_asgi",
    "last_event_id",
]


class AsgiResponse(web.StreamResponse):
    """One of aiohttp's responses that runs an ASGI response.

    Args:
        response: the ASGI response. Headers and cookies that are set here are sent besides its own.
    """

    def __init__(self, response: App) -> None:
        super().__init__()
        self._asgi: App | None = response
        self._request: web.BaseRequest | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Take the request; the headers are sent when the ASGI response starts."""
        self._request = request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Stream; called by aiohttp after the handler has returned, and without data."""
        del data
        request, push = self._request, self._push()
        if push is None or request is None:
            return
        try:
            await _serve(push, request)
        except Exception as error:
            if push.started:
                raise
            failed = request.protocol.handle_error(request, 500, error)
            await failed.prepare(request)
            await failed.write_eof()

    async def stream(self, request: web.BaseRequest) -> AsgiResponse:
        """Stream within the handler, and return this response for the handler to return.

        Raises:
            Exception: the items have raised it; before the start of the response it becomes the 500 of the application.
        """
        self._request = request
        push = self._push()
        if push is None:
            raise RuntimeError("the response has answered a request already")
        await _serve(push, request)
        return self

    def _push(self) -> Push | None:
        response, self._asgi = self._asgi, None
        if response is None or self._request is None:
            return None
        return Push(response, _scope_of(self._request), self)

    async def begin(self, message: Message) -> None:
        """Start the response by ASGI's message."""
        self.set_status(message["status"])
        for name, value in as_text(message["headers"]):
            self.headers[name] = value
        assert self._request is not None
        await super().prepare(self._request)

    async def put(self, body: bytes, more: bool) -> None:
        """Write a part of the body; without `more` it is the last one."""
        if body:
            await self.write(body)
        if not more:
            await super().write_eof()


class EventSourceResponse(AsgiResponse):
    """One response that streams `items` as events, for a handler to return.

    Args:
        items: an async iterable, or a sync one, which is iterated in a thread.
        options: those of `fastsse.EventSourceResponse`.

    Raises:
        InvalidField, TypeError, ValueError: an argument is wrong; raised at once.
    """

    def __init__(
        self, items: AsyncIterable[Any] | Iterable[Any], **options: Unpack[Options]
    ) -> None:
        super().__init__(fastsse.EventSourceResponse(items, **options))


def from_asgi(response: App) -> AsgiResponse:
    """Make a response of aiohttp of an ASGI response: ``return from_asgi(hub.response("news"))``."""
    return AsgiResponse(response)


def last_event_id(request: web.BaseRequest) -> str:
    """Return the last event ID of a client that reconnects, or ``""``, as `fastsse.last_event_id` does."""
    return fastsse.last_event_id(_scope_of(request))


async def end_streams_of(_app: web.Application) -> None:
    """End the streams of the running loop, hubs included: for ``app.on_shutdown``."""
    fastsse.end_streams()


def _scope_of(request: web.BaseRequest) -> dict[str, Any]:
    """Write what ASGI calls the scope of a request."""
    transport = request.transport
    scope = plain_scope(request.method)
    scope["http_version"] = f"{request.version.major}.{request.version.minor}"
    scope["scheme"] = request.scheme
    scope["path"] = request.path
    scope["raw_path"] = request.raw_path.partition("?")[0].encode()
    scope["query_string"] = request.rel_url.raw_query_string.encode()
    scope["headers"] = [(name.lower(), value) for name, value in request.raw_headers]
    scope["client"] = transport.get_extra_info("peername") if transport else None
    return scope


async def _serve(push: Push, request: web.BaseRequest) -> None:
    """Run a response, and tell it when the connection is lost.

    Raises:
        ConnectionError: the body has ended without its proper end.
    """
    transport = request.transport
    if transport is None:
        push.leave()
        await push.run()
        return
    before = transport.get_protocol()
    transport.set_protocol(_Watching(before, push))
    try:
        await push.run()
    finally:
        if isinstance(transport.get_protocol(), _Watching):
            transport.set_protocol(before)
    if not push.whole:
        raise ConnectionResetError(errno.ECONNRESET, CUT)


class _Watching(asyncio.Protocol):
    """A protocol that hands everything on to another, and tells a response that the connection is lost."""

    def __init__(self, protocol: Any, push: Push) -> None:
        self._protocol = protocol
        self._push = push

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        kept_open: bool | None = self._protocol.eof_received()
        return kept_open

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._push.leave()
        self._protocol.connection_lost(exc)
