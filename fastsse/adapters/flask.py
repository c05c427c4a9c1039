"""EventSourceResponse for Flask.

    @app.get("/answer")
    def answer():
        return EventSourceResponse(words(request.args["question"]))

The items run in the request's context, as by `flask.stream_with_context`: `request`, `session` and `g` are theirs,
whether they are a plain generator or an async one. A stream holds one thread of the server; `fastsse.adapters.wsgi`
says what WSGI can do and what not.

With ``wait_first=True`` the first item of a sync iterable is made in the view, so that Flask's error handlers see an
exception; one of async items becomes the server's 500.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator, Sized
from typing import Any, Unpack

from flask import Request, Response, has_request_context, stream_with_context
from werkzeug.wsgi import ClosingIterator

import fastsse
from fastsse._items import aclose, close, require_iterable
from fastsse.adapters import wsgi
from fastsse.adapters._options import Options, as_text, refuse_instead
from fastsse.adapters.wsgi import end_streams, from_asgi, run

__all__ = ["EventSourceResponse", "end_streams", "from_asgi", "last_event_id", "run"]

_NOTHING: Any = object()


class EventSourceResponse(Response):
    """One response that streams `items` as events, for a view to return.

    Args:
        items: an async iterable, or a sync one.
        options: those of `fastsse.EventSourceResponse`.

    Raises:
        InvalidField, TypeError, ValueError: an argument is wrong, or is `instead`; raised at once.
        Exception: with `wait_first`, sync items have raised it before their first item.
    """

    implicit_sequence_conversion = False

    def __init__(
        self, items: AsyncIterable[Any] | Iterable[Any], **options: Unpack[Options]
    ) -> None:
        refuse_instead(options, "from_asgi(fastsse.EventSourceResponse(...))")
        require_iterable(items, "items", ("__aiter__", "__iter__"))
        if options.get("wait_first") and not isinstance(items, AsyncIterable):
            items = _with_its_first(items)
        if has_request_context():
            items = _in_context(items)
        self._stream = fastsse.EventSourceResponse(items, **options)
        super().__init__(
            iter(()), status=self._stream.status_code, headers=as_text(self._stream.raw_headers)
        )

    def get_app_iter(self, environ: wsgi.Environ) -> Iterable[bytes]:
        """Return the parts of the body; nothing runs before the first one is asked for."""
        parts = wsgi.pull(self._stream, environ)
        return ClosingIterator(parts, [self.close])


def last_event_id(request: Request) -> str:
    """Return the last event ID of a client that reconnects, or ``""``, as `fastsse.last_event_id` does."""
    return wsgi.last_event_id(request.environ)


def _with_its_first(items: Iterable[Any]) -> Iterable[Any]:
    """Make the first item now, and return an iterable of all."""
    source = iter(items)
    first = next(source, _NOTHING)
    return _after(first, source)


def _after(first: Any, rest: Iterator[Any]) -> Generator[Any]:
    try:
        if first is not _NOTHING:
            yield first
            yield from rest
    finally:
        close(rest)


def _in_context(items: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterable[Any] | Iterable[Any]:
    """Have items iterated in the context of the present request; a collection needs none."""
    if isinstance(items, AsyncIterable):
        return _async_within(items, stream_with_context(_once()))
    if isinstance(items, Sized):
        return items
    return stream_with_context(_closed(items))


def _closed(items: Iterable[Any]) -> Generator[Any]:
    source = iter(items)
    try:
        yield from source
    finally:
        close(source)


def _once() -> Generator[str]:
    yield ""


async def _async_within(items: AsyncIterable[Any], context: Iterator[Any]) -> AsyncGenerator[Any]:
    """Iterate items while a generator of `stream_with_context` holds the context open, in this very task."""
    next(context)
    source = aiter(items)
    try:
        async for item in source:
            yield item
    finally:
        await aclose(source)
        close(context)
