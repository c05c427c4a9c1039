# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""EventSourceResponse for Quart.

    @app.get("/answer")
    async def answer():
        return EventSourceResponse(words(request.args["question"]))

Async items run in the request's context, as by `quart.stream_with_context`; sync items, which have a thread, do not.
Quart's ``RESPONSE_TIMEOUT`` is lifted for streams. Quart starts a response after the view has returned, so an exception
before the first item becomes its 500 only by ``await from_asgi(fastsse.EventSourceResponse(items, wait_first=True))``,
which waits in the view. The task that sends belongs to Quart: after `send_timeout` the items are closed, and the task
itself ends when the client reads or leaves.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from types import TracebackType
from typing import Any, Unpack

from quart import Request, Response, has_request_context, request, stream_with_context
from quart.wrappers.response import ResponseBody

import fastsse
from fastsse._items import aclose, require_iterable
from fastsse.adapters._options import Options, as_text, refuse_instead
from fastsse.adapters._pull import Pull, parts_of, plain_scope
from fastsse.asgi import App

__all__ = ["EventSourceResponse", "from_asgi", "last_event_id"]


class EventSourceResponse(Response):
    """One response that streams `items` as events, for a view to return.

    Args:
        items: an async iterable, or a sync one, which is iterated in a thread.
        options: those of `fastsse.EventSourceResponse`.

    Raises:
        InvalidField, TypeError, ValueError: an argument is wrong, or is `instead`; raised at once.
    """

    def __init__(
        self, items: AsyncIterable[Any] | Iterable[Any], **options: Unpack[Options]
    ) -> None:
        refuse_instead(options, "await from_asgi(fastsse.EventSourceResponse(...))")
        require_iterable(items, "items", ("__aiter__", "__iter__"))
        if isinstance(items, AsyncIterable) and has_request_context():
            items = stream_with_context(_closed)(items)
        response = fastsse.EventSourceResponse(items, **options)
        headers = as_text(response.raw_headers)
        super().__init__(_Body(response), response.status_code, dict(headers))
        self.timeout = None


async def from_asgi(response: App) -> Response:
    """Make a response of Quart of an ASGI response: ``return await from_asgi(hub.response("news"))``.

    Raises:
        Exception: the response has raised it before it started.
    """
    body = _Body(response)
    status, headers = await body.begin().start()
    answer = Response(body, status, dict(as_text(headers)))
    answer.timeout = None
    return answer


def last_event_id(request: Request) -> str:
    """Return the last event ID of a client that reconnects, or ``""``, as `fastsse.last_event_id` does."""
    return fastsse.last_event_id(request.scope)


class _Body(ResponseBody):
    """The body of an ASGI response, as Quart iterates it."""

    def __init__(self, response: App) -> None:
        self._response = response
        self._scope = dict(request.scope) if has_request_context() else plain_scope()
        self._pull: Pull | None = None
        self._parts: AsyncGenerator[bytes]

    def begin(self) -> Pull:
        """Let the response begin, once."""
        if self._pull is None:
            self._pull = Pull(self._response, self._scope)
        return self._pull

    async def __aenter__(self) -> AsyncGenerator[bytes]:
        self._parts = parts_of(self.begin())
        return self._parts

    async def __aexit__(self, exc_type: type, exc_value: BaseException, tb: TracebackType) -> None:
        await self._parts.aclose()
        await self.begin().close()


async def _closed(items: AsyncIterable[Any]) -> AsyncGenerator[Any]:
    source = aiter(items)
    try:
        async for item in source:
            yield item
    finally:
        await aclose(source)
