# pyright: basic, reportMissingTypeStubs=false
"""EventSourceResponse for Django, under ASGI and under WSGI.

    async def answer(request):
        return EventSourceResponse(words(request.GET["question"]))

One response serves both, as its server asks. Views and items may be sync or async, in any combination.

    ASGI    a client that leaves is noticed at once. The task that sends belongs to Django: after `send_timeout` the
            items are closed, and the task itself ends when the client reads or leaves
    WSGI    a stream holds one thread of the server; `fastsse.adapters.wsgi` says what WSGI can do and what not

Django starts a response after the view has returned. An exception before the first item therefore becomes Django's 500
only where the view waits for it: ``await afrom_asgi(request, fastsse.EventSourceResponse(items, wait_first=True))``, or
`from_asgi` under WSGI. `GZipMiddleware` lets these responses pass, because it would hold blocks back.

Items that are a plain generator have a thread of their own, and so a database connection of their own: end them with
``connections.close_all()``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from typing import Any, Unpack

from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, StreamingHttpResponse

import fastsse
from fastsse.adapters import wsgi
from fastsse.adapters._options import Options, as_text, refuse_instead
from fastsse.adapters._pull import Pull, parts_of, plain_scope
from fastsse.adapters._thread_pull import ThreadPull
from fastsse.adapters.wsgi import end_streams, run
from fastsse.asgi import App, Headers

__all__ = [
    "AsgiResponse",
    "EventSourceResponse",
    "afrom_asgi",
    "end_streams",
    "from_asgi",
    "last_event_id",
    "run",
]


class AsgiResponse(StreamingHttpResponse):
    """One of Django's responses that runs an ASGI response, on the loop or in the thread of whoever iterates it.

    Args:
        response: the ASGI response.
        status, headers: its status and headers.
        begun: the response, if it was begun already.
    """

    def __init__(
        self, response: App, status: int, headers: Headers, begun: Pull | ThreadPull | None = None
    ) -> None:
        self._response = response
        self._begun = begun
        super().__init__(status=status, headers=dict(as_text(headers)))
        self.streaming_content = self._async_parts() if _on_a_loop() else self._sync_parts()
        self._untouched = self._iterator  # until a middleware puts another one round it

    def __iter__(self) -> Iterator[bytes]:
        return self._sync_parts() if self._iterator is self._untouched else super().__iter__()

    def __aiter__(self) -> AsyncGenerator[bytes]:
        return self._async_parts() if self._iterator is self._untouched else super().__aiter__()

    def has_header(self, header: str) -> bool:
        """Return True for ``Content-Encoding``, too, so that no middleware compresses the stream."""
        return header.lower() == "content-encoding" or super().has_header(header)

    def close(self) -> None:
        """Close the stream, as Django does for every response."""
        if isinstance(self._begun, ThreadPull):
            self._begun.close()
        elif self._begun is not None:
            self._begun.leave()
        super().close()

    def _sync_parts(self) -> Iterator[bytes]:
        if self._begun is None:
            request = self._request()
            environ = request.environ if isinstance(request, WSGIRequest) else {}
            self._begun = wsgi.pull(self._response, environ)
        assert isinstance(self._begun, ThreadPull)
        yield from self._begun

    async def _async_parts(self) -> AsyncGenerator[bytes]:
        if self._begun is None:
            request = self._request()
            scope = request.scope if isinstance(request, ASGIRequest) else plain_scope()
            self._begun = Pull(self._response, scope)
        assert isinstance(self._begun, Pull)
        parts = parts_of(self._begun)
        try:
            async for part in parts:
                yield part
        finally:
            await parts.aclose()

    def _request(self) -> HttpRequest | None:
        """Find the request, which Django has given to the response to close: HEAD must be known."""
        for closer in self._resource_closers:
            request = getattr(closer, "__self__", None)
            if isinstance(request, HttpRequest):
                return request
        return None


class EventSourceResponse(AsgiResponse):
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
        refuse_instead(
            options,
            "afrom_asgi(request, fastsse.EventSourceResponse(...)), or from_asgi under WSGI",
        )
        response = fastsse.EventSourceResponse(items, **options)
        super().__init__(response, response.status_code, response.raw_headers)


async def afrom_asgi(request: HttpRequest, response: App) -> AsgiResponse:
    """Make a response of Django of an ASGI one, under ASGI: ``await afrom_asgi(request, hub.response("news"))``.

    Raises:
        TypeError: Django runs under WSGI.
        Exception: the response has raised it before it started.
    """
    if not isinstance(request, ASGIRequest):
        raise TypeError("afrom_asgi needs Django under ASGI: under WSGI, call from_asgi")
    begun = Pull(response, request.scope)
    return AsgiResponse(response, *await begun.start(), begun)


def from_asgi(request: HttpRequest, response: App) -> AsgiResponse:
    """Make a response of Django of an ASGI one, under WSGI; a hub must run on the loop of streams (`run`).

    Raises:
        TypeError: Django runs under ASGI.
        Exception: the response has raised it before it started.
    """
    if not isinstance(request, WSGIRequest):
        raise TypeError("from_asgi needs Django under WSGI: under ASGI, await afrom_asgi")
    begun = wsgi.pull(response, request.environ)
    return AsgiResponse(response, *begun.start(), begun)


def last_event_id(request: HttpRequest) -> str:
    """Return the last event ID of a client that reconnects, or ``""``, as `fastsse.last_event_id` does."""
    if isinstance(request, ASGIRequest):
        return fastsse.last_event_id(request.scope)
    return wsgi.last_event_id(request.META)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
