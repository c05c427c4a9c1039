"""`EventSourceResponse` under the name and in the manner of `sse_starlette.sse`.

Kept are: the arguments and their order, the bytes, the headers, a ping at every interval, an item asked for when
the one before has been sent, content of any kind, `AppStatus`.

Different on purpose:

- The generator runs in one task from its first line to its last, clean-up included, so that context variables, cancel
  scopes and database sessions within it are right. Its `finally` is cancelled once and may await; sse-starlette cancels
  each await in it. `cleanup_timeout` bounds that, too.
- A ping waits while an event is being sent. sse-starlette calls `send` while the call before is pending.
- SIGTERM and SIGINT end streams under every server, with the end of the body, so that clients see a proper end, and
  without a change of uvicorn's classes. Nothing of that stays behind for a server that the process starts later.
- `Connection: keep-alive` is left out of a response over HTTP/2 and HTTP/3, which forbid it.
- A client that leaves never makes the response raise. sse-starlette passes on the OSError of a server's `send`.
- Only asyncio is supported, not trio.

`fastsse.EventSourceResponse` is cheaper still: it sends what is ready together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    MappingView,
    Sequence,
    Set,
)
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.background import BackgroundTask
from starlette.datastructures import MutableHeaders
from starlette.responses import Response

from fastsse._items import as_async
from fastsse._request import share_receive
from fastsse.asgi import Message, Receive, Scope, Send, body_message, start_message
from fastsse.compat.sse_starlette._status import AppStatus
from fastsse.compat.sse_starlette._stream import Manner, Settable, Stream
from fastsse.compat.sse_starlette.event import JSONServerSentEvent, ServerSentEvent, ensure_bytes
from fastsse.streams import in_thread

__all__ = [
    "AppStatus",
    "AsyncContentStream",
    "Content",
    "ContentStream",
    "EventSourceResponse",
    "JSONServerSentEvent",
    "SendTimeoutError",
    "ServerSentEvent",
    "SyncContentStream",
    "ensure_bytes",
]

Content = str | bytes | dict[str, Any] | ServerSentEvent | Any
SyncContentStream = Iterator[Content]
AsyncContentStream = AsyncIterable[Content]
ContentStream = AsyncContentStream | SyncContentStream

logger = logging.getLogger("sse_starlette.sse")  # the name by which projects set its level

_COLLECTIONS = (Sequence, Set, MappingView)  # to iterate one of them does not block
_PER_CONNECTION = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"})


class SendTimeoutError(TimeoutError):
    """A send took longer than `send_timeout`."""


class EventSourceResponse(Response):
    """An event stream as a response of Starlette and FastAPI.

    Args:
        content: an async iterable, or a sync one, which is iterated in a thread unless it is a collection. An item is
            a `ServerSentEvent`, a dict of its arguments, bytes that are a block already, or anything else, which
            becomes the data by `str`. Content that cannot be iterated is an error when the response is called.
        status_code: the status code.
        headers: more headers. ``Connection`` and ``X-Accel-Buffering`` cannot be changed.
        media_type: the content type.
        background: run after the response.
        ping: seconds between two pings, 15 by default; 0 for none.
        sep: the line end: CRLF by default, LF or CR.
        ping_message_factory: makes each ping: an event, a dict, text or bytes.
        data_sender_callable: an async function that feeds `content`, run beside it and cancelled with it.
        send_timeout: seconds that one send may take before `SendTimeoutError` is raised; None for no limit.
        client_close_handler_callable: an async function that is called with the message ``http.disconnect``, before
            the content is cancelled.
        shutdown_event: set when the server ends; an event object of anyio or asyncio.
        shutdown_grace_period: seconds from then on that the content may go on.
        cleanup_timeout: seconds that the content may take to close before its clean-up is cancelled, which is logged;
            None for no limit.

    Attributes:
        body_iterator: the content as an async iterable of items; may be replaced until the response is called.
        active: False once the client has left or the response is over.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    DEFAULT_PING_INTERVAL: float = 15
    DEFAULT_SEPARATOR = "\r\n"
    DEFAULT_CLEANUP_TIMEOUT: float = 30.0

    def __init__(
        self,
        content: ContentStream | Iterable[Content],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = "text/event-stream",
        background: BackgroundTask | None = None,
        ping: float | None = None,
        sep: str | None = None,
        ping_message_factory: Callable[[], Content] | None = None,
        data_sender_callable: Callable[[], Coroutine[Any, Any, object]] | None = None,
        send_timeout: float | None = None,
        client_close_handler_callable: Callable[[Message], Awaitable[object]] | None = None,
        shutdown_event: Settable | None = None,
        shutdown_grace_period: float = 0,
        cleanup_timeout: float | None = DEFAULT_CLEANUP_TIMEOUT,
    ) -> None:
        if sep not in (None, "\r\n", "\r", "\n"):
            raise ValueError(f"sep must be one of: \\r\\n, \\r, \\n, got: {sep!r}")
        _check_delay("shutdown_grace_period", shutdown_grace_period)
        if cleanup_timeout is not None:
            _check_delay("cleanup_timeout", cleanup_timeout)
        self.sep = sep or self.DEFAULT_SEPARATOR
        self.body_iterator = content if isinstance(content, AsyncIterable) else _threaded(content)
        self.status_code = status_code
        if media_type is not None:  # pyright: ignore[reportUnnecessaryComparison]
            self.media_type = media_type
        self.background = background
        self.data_sender_callable = data_sender_callable
        self.send_timeout = send_timeout
        self.init_headers(_headers(headers))
        self.ping_interval = self.DEFAULT_PING_INTERVAL if ping is None else ping
        self.ping_message_factory = ping_message_factory
        self.client_close_handler_callable = client_close_handler_callable
        self.active = True
        self._shutdown_event = shutdown_event
        self._shutdown_grace_period = shutdown_grace_period
        self._cleanup_timeout = cleanup_timeout

    @property
    def ping_interval(self) -> float:
        """Seconds between two pings; 0 for none. To set another type or a negative number is an error."""
        return self._ping_interval

    @ping_interval.setter
    def ping_interval(self, value: float) -> None:
        if not isinstance(value, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError("ping interval must be int or float")
        if value < 0:
            raise ValueError("ping interval must be >= 0 (0 disables ping)")
        self._ping_interval = value

    def enable_compression(self, force: bool = False) -> None:
        """Refuse: a compressor keeps events back.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("Compression is not supported for SSE streams.")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or deny a WebSocket. HEAD gets the headers alone, and touches no content.

        Raises:
            SendTimeoutError: a send took longer than `send_timeout`.
            Exception: the content, a callback, `receive` or `send` has raised it; never because the client has left.
        """
        if scope["type"] == "websocket":
            send = partial(_send_denial, send)
        start = start_message(self.status_code, _sent_headers(self.raw_headers, scope))
        if scope["type"] == "http" and scope["method"].upper() == "HEAD":
            await self._answer_head(start, send)
        else:
            await self._stream(start, receive, send)
        if self.background is not None:
            await self.background()

    async def _answer_head(self, start: Message, send: Send) -> None:
        for message in (start, body_message(b"", more=False)):
            limit = asyncio.timeout(self.send_timeout)
            try:
                async with limit:
                    await send(message)
            except TimeoutError as error:
                if limit.expired():
                    raise SendTimeoutError from error
                raise

    async def _stream(self, start: Message, receive: Receive, send: Send) -> None:
        items = self.body_iterator
        shared = share_receive(items, receive)
        try:
            stream = Stream(self._manner(), start, items, send)
            await stream.run(shared.listen if shared else receive)
        finally:
            self.active = False
            if shared is not None:
                shared.close()

    def _manner(self) -> Manner:
        """Gather how this stream is served, as the attributes are now."""
        write: Callable[[Any], bytes] = partial(ensure_bytes, sep=self.sep)
        ping: Callable[[], bytes] = self._make_ping
        if logger.isEnabledFor(logging.DEBUG):
            write, ping = partial(_logged, "chunk", write), partial(_logged, "ping", ping)
        return Manner(
            write=write,
            make_ping=ping,
            ping=self._ping_interval,
            send_timeout=self.send_timeout,
            timed_out=SendTimeoutError,
            producer=self.data_sender_callable,
            left=self._left,
            shutdown_event=self._shutdown_event,
            grace=self._shutdown_grace_period,
            cleanup_timeout=self._cleanup_timeout,
            log=logger,
        )

    def _make_ping(self) -> bytes:
        if self.ping_message_factory is not None:
            return ensure_bytes(self.ping_message_factory(), self.sep)
        return ServerSentEvent(comment=f"ping - {datetime.now(UTC)}", sep=self.sep).encode()

    async def _left(self, message: Message) -> None:
        """Tell the application that the client has left."""
        self.active = False
        logger.debug("Got event: http.disconnect. Stop streaming.")
        if self.client_close_handler_callable is not None:
            await self.client_close_handler_callable(message)


def _check_delay(name: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{name} must be >= 0")


def _headers(given: Mapping[str, str] | None) -> MutableHeaders:
    """Join the headers given with those that an event stream has."""
    headers = MutableHeaders()
    if given is not None:
        headers.update(given)
    headers.setdefault("Cache-Control", "no-store")
    headers["Connection"] = "keep-alive"
    headers["X-Accel-Buffering"] = "no"
    return headers


def _sent_headers(raw: list[tuple[bytes, bytes]], scope: Scope) -> list[tuple[bytes, bytes]]:
    """Leave out what HTTP/2 and HTTP/3 forbid (RFC 9113, section 8.2.2)."""
    if scope.get("http_version", "1.1")[:1] in ("2", "3"):
        return [pair for pair in raw if pair[0] not in _PER_CONNECTION]
    return raw


def _is_collection(content: object) -> bool:
    return isinstance(content, _COLLECTIONS)


async def _threaded(content: Any) -> AsyncGenerator[Any]:
    """Iterate a sync iterable: in a thread where a step may block."""
    source: Any = as_async(content) if _is_collection(content) else in_thread(content)
    async with aclosing(source):
        async for item in source:
            yield item


async def _send_denial(send: Send, message: Message) -> None:
    await send({**message, "type": f"websocket.{message['type']}"})


def _logged(what: str, make: Callable[..., bytes], *args: Any) -> bytes:
    made = make(*args)
    logger.debug("%s: %s", what, made)
    return made
