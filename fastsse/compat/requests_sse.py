"""The names of requests-sse 0.5: `EventSource`, `MessageEvent`, `ReadyState` and two exceptions.

    from fastsse.compat.requests_sse import EventSource

    with EventSource("https://example.com/events", timeout=30) as event_source:
        for event in event_source:
            print(event.type, event.data)

Kept are: the arguments, those of ``requests.request`` among them, and a ready session, which stays open; the hooks and
their states; the exceptions, which are kinds of ``requests.RequestException``; `connect` and `close` for use without a
block. A first answer of 204 raises `InvalidStatusCodeError`, as every status but 200 does.

Different on purpose:

- The wait before a request is the server's ``retry`` exactly, otherwise `reconnection_time`; after failures in a row,
  a random one up to 30 s. requests-sse doubles it each time, and forgets the server's.
- An answer of 429, 500, 502, 503 or 504 counts as a connection that failed, `max_connect_retry` times in a row, and
  ``Retry-After`` is kept. requests-sse gives up at once.
- An answer of 204 to a later request ends the iteration, as the standard says. requests-sse raises.
- The last event ID is kept through events without one. An id with NUL is ignored. `latest_event_id` is not forgotten
  at the first event.
- The bytes are read as the standard says, whatever the edges of their chunks; requests-sse cuts an event in two there.
- `MessageEvent.type` is never empty, and `origin` is the one of the address after redirects.
- `close` ends the iteration, of another thread, too. A certificate that is not to be trusted raises at once.
- An event over `EventSource.max_event_size` (16 MiB) raises ``requests.RequestException``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from fastsse import EventTooLarge
from fastsse.client import EventSource as _EventSource
from fastsse.client._requests import RequestsAnswer, RequestsTransport
from fastsse.client.errors import BadContentType, BadStatus, ClientError, StreamEnded
from fastsse.client.messages import Request
from fastsse.client.redirects import REDIRECTS
from fastsse.compat._reconnecting import ANY_ADDRESS, CLOSED, CONNECTING, Fatal, Reconnecting

__all__ = [
    "EventSource",
    "InvalidContentTypeError",
    "InvalidStatusCodeError",
    "MessageEvent",
    "ReadyState",
]

__version__ = "0.5.3"  # whose names these are

DEFAULT_RECONNECTION_TIME = timedelta(seconds=5)
DEFAULT_MAX_CONNECT_RETRY = 5

_EVENT_STREAM = "text/event-stream"
_COMES_AGAIN = (  # of the library's exceptions; the others say that the request itself is wrong
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


class InvalidStatusCodeError(requests.RequestException):
    """An answer with a status other than 200.

    Attributes:
        status_code: the status.
        response: the answer, with the beginning of its body.
    """

    def __init__(self, status_code: int, *args: Any, **kwargs: Any) -> None:
        self.status_code = status_code
        super().__init__(*args, **kwargs)


class InvalidContentTypeError(requests.RequestException):
    """An answer whose content type is not ``text/event-stream``.

    Attributes:
        content_type: the content type; None when there is none.
        response: the answer, with the beginning of its body.
    """

    def __init__(self, content_type: str | None, *args: Any, **kwargs: Any) -> None:
        self.content_type = content_type
        super().__init__(*args, **kwargs)


class ReadyState(IntEnum):
    """The state of a connection."""

    CONNECTING = 0
    OPEN = 1
    CLOSED = 2


@dataclass
class MessageEvent:
    """One event.

    Attributes:
        type: the event type.
        data: the data, lines joined by LF.
        origin: scheme, host and port that the event came from.
        last_event_id: the last event ID at this event.
    """

    type: str | None
    data: str | None
    origin: str
    last_event_id: str


class EventSource(Reconnecting):
    """The events at an address, over as many connections as needed; a context manager and an iterator.

    Args:
        url: where the stream is.
        method: of the request.
        reconnection_time: how long to wait before coming again, until the server says otherwise.
        max_connect_retry: how often in a row to ask again when there is no event stream.
        timeout: seconds without a byte after which the connection counts as lost; or a pair, as requests takes it;
            None for no limit.
        session: a ``requests.Session``, which is not closed; None for one of our own.
        on_open: called when a stream opens.
        on_message: called with each event of type ``message``, before it is given.
        on_error: called when a connection is lost, and when the stream has failed; `ready_state` tells which.
        latest_event_id: begin after this event.
        kwargs: more arguments of ``requests.request``; `headers` are copied.

    Raises:
        InvalidStatusCodeError: while connecting; the status is not 200.
        InvalidContentTypeError: while connecting; the answer is no event stream.
        requests.RequestException: the connection has failed `max_connect_retry` times in a row.
    """

    def __init__(
        self,
        url: str,
        method: str = "GET",
        reconnection_time: timedelta = DEFAULT_RECONNECTION_TIME,
        max_connect_retry: int = DEFAULT_MAX_CONNECT_RETRY,
        timeout: float | tuple[float | None, float | None] | None = None,
        session: requests.Session | None = None,
        on_open: Callable[[], None] | None = None,
        on_message: Callable[[MessageEvent], None] | None = None,
        on_error: Callable[[], None] | None = None,
        latest_event_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        headers: CaseInsensitiveDict[Any] = CaseInsensitiveDict(kwargs.pop("headers", None) or {})
        given = headers.pop("Last-Event-ID", None)
        begin = latest_event_id if latest_event_id is not None else given
        super().__init__(
            reconnection_time, max_connect_retry, (on_open, on_message, on_error), begin or ""
        )
        headers.update({"Accept": _EVENT_STREAM, "Cache-Control": "no-cache"})
        self._url, self._method, self._timeout = url, method, timeout
        self._headers, self._kwargs = headers, kwargs
        self._own = session is None
        self._session = requests.Session() if session is None else session
        self._transport = _Transport(self._session, self._ask)

    def __enter__(self) -> Self:
        """Connect."""
        try:
            self.connect(self._max_connect_retry)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    @property
    def url(self) -> str:
        """The address, as it was given."""
        return self._url

    @property
    def ready_state(self) -> ReadyState:
        """The state of the connection."""
        return ReadyState(self._state)

    def __iter__(self) -> Iterator[MessageEvent]:
        return self

    def __next__(self) -> MessageEvent:
        """Return the next event.

        Raises:
            ValueError: `connect` was not called.
        """
        if self._source is None:
            if self._state == CLOSED:
                raise StopIteration
            raise ValueError("there is no connection: call connect, or use a with block")
        with self._translated():
            event = next(self._source, None)
        if event is None:
            self._end()
            raise StopIteration
        message = MessageEvent(event.event, event.data, self._origin, event.id)
        if self._on_message is not None and message.type == "message":
            self._on_message(message)
        return message

    def connect(self, retry: int = 0) -> None:
        """Connect, unless there is a connection.

        Args:
            retry: how often to ask again when there is no event stream.

        Raises:
            requests.RequestException: there is no event stream; see the class.
        """
        if self._source is None:
            self._state = CONNECTING
            self._source = _EventSource(
                ANY_ADDRESS, idle_timeout=None, **self._options(self._transport)
            )
        self._allowed = retry
        try:
            with self._translated():
                try:
                    self._source.open()
                except StreamEnded:
                    if self._state != CLOSED:  # by the answer of 204, and not by `close`
                        raise Fatal(self._refused(self._transport.answer, b"")) from None
        finally:
            self._allowed = self._max_connect_retry

    def close(self) -> None:
        """End the iteration at once, also that of another thread, and close the connection."""
        self._state = CLOSED
        self._let_go()
        if self._own:
            self._session.close()

    def _ask(self, request: Request) -> requests.Response:
        """Make one request by the library, with the arguments of the caller."""
        headers = self._headers.copy()
        place = request.headers.get("last-event-id")
        if place is not None:
            headers["Last-Event-Id"] = place.encode()
        return self._session.request(
            method=self._method,
            url=self._url,
            stream=True,
            timeout=self._timeout,
            headers=headers,
            **self._kwargs,
        )

    def _refused(self, answer: requests.Response, body: bytes) -> InvalidStatusCodeError:
        status = answer.status_code
        return InvalidStatusCodeError(
            status,
            f"fetch {self._url} failed with wrong response status: {status}",
            response=_with_body(answer, body),
        )

    def _exception(self, why: ClientError) -> Exception:
        answer = self._transport.answer
        if isinstance(why, BadStatus):
            return self._refused(answer, why.body)
        if isinstance(why, BadContentType):
            given = why.response.headers.get("content-type")
            return InvalidContentTypeError(
                given,
                f"fetch {self._url} failed with wrong Content-Type: {given}",
                response=_with_body(answer, why.body),
            )
        cause = why.__cause__
        if isinstance(cause, requests.RequestException):
            return cause
        return requests.ConnectionError(str(why))

    def _too_large(self, error: EventTooLarge) -> Exception:
        return requests.RequestException(str(error))

    def _origin_of(self, url: str) -> str:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class _Transport(RequestsTransport):
    """Has requests make each request with the arguments of the caller, and follow redirects."""

    def __init__(
        self, session: requests.Session, ask: Callable[[Request], requests.Response]
    ) -> None:
        super().__init__(session)
        self._ask = ask
        self.answer: Any = None

    def open(self, request: Request, idle_timeout: float | None) -> RequestsAnswer:  # noqa: ARG002
        """Send a request and read the head of the answer; the caller's arguments hold, and not `idle_timeout`.

        Raises:
            NetworkError: there is no answer.
            Fatal: the request is wrong, or the answer is a redirect that the caller does not follow.
        """
        try:
            answer = self._ask(request)
        except _COMES_AGAIN as error:
            raise self.failure(error) from error
        except (requests.RequestException, ValueError) as error:
            raise Fatal(error) from error
        self.answer = answer
        if answer.status_code in REDIRECTS:
            answer.close()
            raise Fatal(
                InvalidStatusCodeError(
                    answer.status_code,
                    f"fetch {answer.url} failed with wrong response status: {answer.status_code}",
                    response=answer,
                )
            )
        return RequestsAnswer(self, answer, answer.url)


def _with_body(answer: Any, body: bytes) -> requests.Response:
    """Give an answer the part of its body that was read before it was closed."""
    answer._content, answer._content_consumed = body, True
    return answer  # type: ignore[no-any-return]
