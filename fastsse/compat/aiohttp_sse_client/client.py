"""The names of aiohttp-sse-client 0.2: `EventSource` and `MessageEvent`.

    from fastsse.compat.aiohttp_sse_client import client as sse_client

    async with sse_client.EventSource("https://example.com/events") as event_source:
        async for event in event_source:
            print(event.type, event.data)

Kept are: the arguments, those of ``ClientSession.request`` among them, and a ready session, which stays open; the hooks
and their states; the exceptions, ``ConnectionError`` and its kinds for answers, aiohttp's own for connections;
`connect` and `close` for use without a block. A first answer of 204 raises, as every status but 200 does.

Different on purpose:

- The wait before a request is the server's ``retry`` exactly, otherwise `reconnection_time`; after failures in a row,
  a random one up to 30 s. aiohttp-sse-client doubles it each time, and forgets the server's.
- `max_connect_retry` counts for every connection, and not for the first one alone. An answer of 429, 500, 502, 503 or
  504 counts as a connection that failed, and ``Retry-After`` is kept; aiohttp-sse-client gives up at once.
- An answer of 204 to a later request ends the iteration, as the standard says. aiohttp-sse-client raises.
- aiohttp's limit of five minutes for a whole answer does not hold; a stream is lost when no byte came for 300 s. A
  `timeout` of the caller's, or of the caller's session, decides.
- The bytes are read as the standard says. aiohttp-sse-client knows no CR, and fails on lines over 512 KiB.
- An id with NUL is ignored. `MessageEvent.type` is never None, and `message` repeats it.
- `close` ends the iteration, of another task, too, and closes a session of our own. Headers are copied. A certificate
  that is not to be trusted raises at once.
- An event over `EventSource.max_event_size` (16 MiB) raises ``ConnectionAbortedError``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, NoReturn, Self

import aiohttp
from aiohttp.client import DEFAULT_TIMEOUT
from multidict import CIMultiDict
from yarl import URL

from fastsse import EventTooLarge
from fastsse.client import AsyncEventSource
from fastsse.client._aiohttp import AiohttpAnswer, AiohttpTransport
from fastsse.client.errors import BadContentType, BadStatus, ClientError, StreamEnded
from fastsse.client.messages import Request
from fastsse.client.redirects import REDIRECTS
from fastsse.compat._reconnecting import ANY_ADDRESS, CLOSED, CONNECTING, Fatal, Reconnecting

__all__ = [
    "CONTENT_TYPE_EVENT_STREAM",
    "DEFAULT_MAX_CONNECT_RETRY",
    "DEFAULT_MAX_READ_RETRY",
    "DEFAULT_RECONNECTION_TIME",
    "LAST_EVENT_ID_HEADER",
    "READY_STATE_CLOSED",
    "READY_STATE_CONNECTING",
    "READY_STATE_OPEN",
    "EventSource",
    "MessageEvent",
]

READY_STATE_CONNECTING = 0
READY_STATE_OPEN = 1
READY_STATE_CLOSED = 2

DEFAULT_RECONNECTION_TIME = timedelta(seconds=5)
DEFAULT_MAX_CONNECT_RETRY = 5
DEFAULT_MAX_READ_RETRY = 10  # which nothing reads there, either

CONTENT_TYPE_EVENT_STREAM = "text/event-stream"
LAST_EVENT_ID_HEADER = "Last-Event-Id"

_IDLE = 300.0  # s without a byte
_CONNECT = 30.0  # s
_BUFFER = 1 << 18  # bytes that aiohttp buffers before it stops reading
_REFUSED = (305, 401, 407)
_COMES_AGAIN = (  # of the library's exceptions; the others say that the request itself is wrong
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    OSError,
)


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """One event.

    Attributes:
        type: the event type.
        message: the event type, too.
        data: the data, lines joined by LF.
        origin: scheme, host and port that the event came from.
        last_event_id: the last event ID at this event.
    """

    type: str
    message: str
    data: str
    origin: str
    last_event_id: str


class EventSource(Reconnecting):
    """The events at an address, over as many connections as needed; an async context manager and iterator.

    Args:
        url: where the stream is.
        option: ``{"method": …}`` for another method than GET; or None.
        reconnection_time: how long to wait before coming again, until the server says otherwise.
        max_connect_retry: how often in a row to ask again when there is no event stream.
        session: an ``aiohttp.ClientSession``, which is not closed; None for one of our own.
        on_open: called when a stream opens.
        on_message: called with each event, before it is given.
        on_error: called when a connection is lost, and when the stream has failed; `ready_state` tells which.
        kwargs: more arguments of ``ClientSession.request``; `headers` are copied.

    Raises:
        ConnectionError: while connecting; the answer is no event stream. Its kinds are ``ConnectionRefusedError``
            (401, 407) and ``ConnectionAbortedError`` (a status below 400, a wrong content type).
        aiohttp.ClientConnectionError: the connection has failed `max_connect_retry` times in a row.
    """

    def __init__(
        self,
        url: str | URL,
        option: dict[str, Any] | None = None,
        reconnection_time: timedelta = DEFAULT_RECONNECTION_TIME,
        max_connect_retry: int = DEFAULT_MAX_CONNECT_RETRY,
        session: aiohttp.ClientSession | None = None,
        on_open: Callable[[], Any] | None = None,
        on_message: Callable[[MessageEvent], Any] | None = None,
        on_error: Callable[[], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        headers: CIMultiDict[str] = CIMultiDict(kwargs.pop("headers", None) or {})
        begin = headers.popall(LAST_EVENT_ID_HEADER, [""])[-1]
        super().__init__(
            reconnection_time, max_connect_retry, (on_open, on_message, on_error), begin
        )
        headers["Accept"] = CONTENT_TYPE_EVENT_STREAM
        headers["Cache-Control"] = "no-cache"
        self._url = URL(url)
        self._method = (option or {}).get("method", "GET")
        self._headers = headers
        self._kwargs = {"raise_for_status": False, "read_bufsize": _BUFFER, **kwargs}
        if session is None or session.timeout == DEFAULT_TIMEOUT:
            limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_IDLE)
            self._kwargs.setdefault("timeout", limits)
        self._transport = _Transport(session, self._ask)

    def __enter__(self) -> NoReturn:
        """Refuse.

        Raises:
            TypeError: always.
        """
        raise TypeError("Use async with instead")

    def __exit__(self, *exc: object) -> None:
        """Stand beside `__enter__`, without which Python would say something else."""

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            await self.connect(self._max_connect_retry)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        await self.close()

    @property
    def url(self) -> URL:
        """The address, as it was given."""
        return self._url

    @property
    def ready_state(self) -> int:
        """The state of the connection: `READY_STATE_CONNECTING`, `READY_STATE_OPEN` or `READY_STATE_CLOSED`."""
        return self._state

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MessageEvent:
        """Return the next event.

        Raises:
            ValueError: `connect` was not called.
        """
        if self._source is None:
            if self._state == CLOSED:
                raise StopAsyncIteration
            raise ValueError("there is no connection: call connect, or use an async with block")
        with self._translated():
            event = await anext(self._source, None)
        if event is None:
            self._end()
            raise StopAsyncIteration
        message = MessageEvent(event.event, event.event, event.data, self._origin, event.id)
        if self._on_message is not None:
            self._on_message(message)
        return message

    async def connect(self, retry: int = 0) -> None:
        """Connect, unless there is a connection.

        Args:
            retry: how often to ask again when there is no event stream.

        Raises:
            ConnectionError, aiohttp.ClientError: there is no event stream; see the class.
        """
        if self._source is None:
            self._state = CONNECTING
            self._source = AsyncEventSource(ANY_ADDRESS, **self._options(self._transport))
        self._allowed = retry
        try:
            with self._translated():
                try:
                    await self._source.open()
                except StreamEnded:
                    if self._state != CLOSED:  # by the answer of 204, and not by `close`
                        raise Fatal(self._refused(204)) from None
        finally:
            self._allowed = self._max_connect_retry
            if self._source is None:  # the connection has failed: nobody need close
                await self._transport.close()

    async def close(self) -> None:
        """End the iteration at once, also that of another task, and close the connection."""
        self._state = CLOSED
        source = self._let_go()
        if source is not None:
            await source.aclose()
        await self._transport.close()

    async def _ask(self, session: Any, request: Request) -> aiohttp.ClientResponse:
        """Make one request by the library, with the arguments of the caller."""
        headers = self._headers.copy()
        place = request.headers.get("last-event-id")
        if place is not None:
            headers[LAST_EVENT_ID_HEADER] = place
        return await session.request(  # type: ignore[no-any-return]
            self._method, self._url, headers=headers, **self._kwargs
        )

    def _refused(self, status: int) -> Exception:
        if status >= 400 or status in _REFUSED:
            kind = ConnectionRefusedError if status in _REFUSED else ConnectionError
            return kind(f"fetch {self._url} failed: {status}")
        return ConnectionAbortedError(
            f"fetch {self._url} failed with wrong response status: {status}"
        )

    def _exception(self, why: ClientError) -> Exception:
        if isinstance(why, BadStatus):
            return self._refused(why.response.status)
        if isinstance(why, BadContentType):
            given = why.response.headers.get("content-type")
            return ConnectionAbortedError(
                f"fetch {self._url} failed with wrong Content-Type: {given}"
            )
        cause = why.__cause__
        if isinstance(cause, (aiohttp.ClientError, ConnectionError)):
            return cause
        error = ConnectionError(str(why))
        error.__cause__ = cause
        return error

    def _too_large(self, error: EventTooLarge) -> Exception:
        return ConnectionAbortedError(str(error))

    def _origin_of(self, url: str) -> str:
        return str(URL(url).origin())


class _Transport(AiohttpTransport):
    """Has aiohttp make each request with the arguments of the caller, and follow redirects."""

    def __init__(
        self, session: Any, ask: Callable[[Any, Request], Awaitable[aiohttp.ClientResponse]]
    ) -> None:
        super().__init__(session)
        self._ask = ask

    async def open(self, request: Request, idle_timeout: float | None) -> AiohttpAnswer:  # noqa: ARG002
        """Send a request and read the head of the answer; the caller's arguments hold, and not `idle_timeout`.

        Raises:
            NetworkError: there is no answer.
            Fatal: the request is wrong, or the answer is a redirect that the caller does not follow.
        """
        try:
            answer = await self._ask(self._session_for(request), request)
        except _COMES_AGAIN as error:
            raise self.failure(error) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise Fatal(error) from error
        if answer.status in REDIRECTS:
            answer.close()
            raise Fatal(
                ConnectionAbortedError(
                    f"fetch {answer.url} failed with wrong response status: {answer.status}"
                )
            )
        return AiohttpAnswer(self, answer, str(answer.url))
