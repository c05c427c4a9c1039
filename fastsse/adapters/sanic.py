# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""EventSourceResponse for Sanic, under its own server.

    @app.get("/answer")
    async def answer(request):
        return EventSourceResponse(words(request.args.get("question")))

Sanic cancels the task of a client that leaves, which the items see as the end of their stream. Sanic also ends a stream
that has sent nothing for ``RESPONSE_TIMEOUT`` (60 s), so keep the heartbeats. Under an ASGI server Sanic does not say
that a client has gone: there a stream ends when a send fails or takes longer than `send_timeout`.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterable, Iterable
from typing import Any, AnyStr, Unpack

from sanic import Request
from sanic.response import BaseHTTPResponse

import fastsse
from fastsse.adapters._options import Options, as_text
from fastsse.adapters._pull import CUT, GONE, plain_scope
from fastsse.adapters._push import Push, in_a_task
from fastsse.asgi import App, Message

__all__ = ["AsgiResponse", "EventSourceResponse", "from_asgi", "last_event_id"]


class AsgiResponse(BaseHTTPResponse):
    """One of Sanic's responses that runs an ASGI response.

    Args:
        response: the ASGI response. Headers and cookies that are set here are sent besides its own.
    """

    __slots__ = ("_asgi",)

    def __init__(self, response: App) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._asgi: App | None = response
        self.status = 200
        self.content_type = "text/event-stream; charset=utf-8"

    async def send(self, data: AnyStr | None = None, end_stream: bool | None = None) -> None:
        """Stream; called by Sanic, to send the end of the response, after the handler has returned."""
        response, self._asgi = self._asgi, None
        if response is None or self.stream is None:
            await super().send(data, end_stream)
            return
        request = self.stream.request
        push = Push(response, _scope_of(request), self, in_a_task)  # signals of Sanic's run in send
        try:
            await push.run()
        finally:
            if push.started and not push.whole:
                request.transport.close()  # or Sanic would give the body its proper end
        if not push.whole:
            raise ConnectionResetError(errno.ECONNRESET, CUT)

    async def begin(self, message: Message) -> None:
        """Take status and headers of ASGI's message; they leave with the first part of the body."""
        self.status = message["status"]
        for name, value in as_text(message["headers"]):
            self.headers[name] = value

    async def put(self, body: bytes, more: bool) -> None:
        """Write a part of the body; without `more` it is the last one."""
        try:
            await super().send(body, not more)
        except asyncio.CancelledError as error:
            if type(error) is asyncio.CancelledError:
                raise
            raise ConnectionResetError(
                errno.ECONNRESET, GONE
            ) from error  # Sanic's RequestCancelled


class EventSourceResponse(AsgiResponse):
    """One response that streams `items` as events, for a handler to return.

    Args:
        items: an async iterable, or a sync one, which is iterated in a thread.
        options: those of `fastsse.EventSourceResponse`.

    Raises:
        InvalidField, TypeError, ValueError: an argument is wrong; raised at once.
    """

    __slots__ = ()

    def __init__(
        self, items: AsyncIterable[Any] | Iterable[Any], **options: Unpack[Options]
    ) -> None:
        super().__init__(fastsse.EventSourceResponse(items, **options))


def from_asgi(response: App) -> AsgiResponse:
    """Make a response of Sanic of an ASGI response: ``return from_asgi(hub.response("news"))``."""
    return AsgiResponse(response)


def last_event_id(request: Request) -> str:
    """Return the last event ID of a client that reconnects, or ``""``, as `fastsse.last_event_id` does."""
    return fastsse.last_event_id(_scope_of(request))


def _scope_of(request: Request) -> dict[str, Any]:
    """Write what ASGI calls the scope of a request."""
    scope = plain_scope(request.method)
    scope["http_version"] = request.version
    scope["scheme"] = request.scheme
    scope["path"] = request.path
    scope["raw_path"] = request.path.encode()
    scope["query_string"] = request.query_string.encode()
    scope["headers"] = [
        (name.lower().encode("latin-1"), value.encode("utf-8", "surrogateescape"))
        for name, value in request.headers.items()
    ]
    scope["client"] = (request.ip, request.port)
    return scope
