"""The exceptions of the client, in one tree.

    FastSSEError
    └── ClientError
        ├── NetworkError (OSError)          the connection failed, or broke off; come again
        │   ├── IdleTimeout                 no byte came for `idle_timeout` seconds
        │   └── CertificateError            the server's certificate is not to be trusted; coming again cannot help
        ├── StreamEnded                     the server ended its answer; come again
        ├── ResponseError                   an answer that is no event stream: .response and .body
        │   ├── BadStatus                   a status other than 200
        │   ├── BadContentType              a type other than text/event-stream
        │   └── BadRedirect                 a redirect that leads nowhere, or one too many
        ├── BudgetSpent                     a limit of yours: .limit, and .last, the error before
        │   ├── TooManyRetries              `max_retries`
        │   ├── OutOfTime                   `max_time`
        │   └── WaitTooLong                 `max_wait`; .asked is the wait that the server asks for
        └── BadData (ValueError)            data that is not what its type's model asks for

An event over `max_event_size` raises `fastsse.EventTooLarge`, as the decoder does. Iteration may go on after each of
them: the next step comes again, not before the reconnection time, with the last event ID.

The module knows words and values; it must not know which code raises an exception.
"""

from __future__ import annotations

from fastsse.client.messages import Response
from fastsse.errors import FastSSEError, quote, shorten
from fastsse.event import Event

__all__ = [
    "BadContentType",
    "BadData",
    "BadRedirect",
    "BadStatus",
    "BudgetSpent",
    "CertificateError",
    "ClientError",
    "IdleTimeout",
    "NetworkError",
    "OutOfTime",
    "ResponseError",
    "StreamEnded",
    "TooManyRetries",
    "WaitTooLong",
]

_SHOWN = 200  # characters of an error body that a message repeats


class ClientError(FastSSEError):
    """The root of the client's exceptions."""


class NetworkError(ClientError, OSError):
    """A connection that failed or broke off. `__cause__` is the HTTP library's own exception."""


class IdleTimeout(NetworkError, TimeoutError):
    """A connection on which no byte came for so long that it counts as lost."""


class CertificateError(NetworkError):
    """A server whose certificate is not to be trusted: the stream fails at once, because a wait mends nothing."""


class StreamEnded(ClientError):
    """An answer that the server ended: why a client comes again, in `on_error` and `on_retry`."""

    def __init__(self, message: str = "the server ended the stream") -> None:
        super().__init__(message)


class ResponseError(ClientError):
    """An answer that is no event stream.

    Attributes:
        response: status, headers and URL of the answer.
        body: the beginning of its body, 64 KiB at most, as far as it came within 5 seconds; empty for a redirect.
    """

    def __init__(self, response: Response, reason: str) -> None:
        super().__init__(response, reason)
        self.response = response
        self.reason = reason
        self.body = b""

    def __str__(self) -> str:
        text = " ".join(self.body.decode("utf-8", "replace").split())
        return f"{self.reason}: {shorten(text, _SHOWN)}" if text else self.reason


class BadStatus(ResponseError):
    """An answer with a status other than 200."""

    def __init__(self, response: Response) -> None:
        super().__init__(response, f"{shorten(response.url, _SHOWN)} answered {response.status}")

    def __reduce__(self) -> tuple[type[BadStatus], tuple[Response], dict[str, object]]:
        return type(self), (self.response,), self.__dict__


class BadContentType(ResponseError):
    """An answer whose content type is not exactly ``text/event-stream``."""

    def __init__(self, response: Response) -> None:
        given = response.headers.get("content-type", "")
        named = f"content type {quote(given)}" if given else "no content type"
        super().__init__(
            response,
            f"{shorten(response.url, _SHOWN)} answered with {named}, not text/event-stream",
        )

    def __reduce__(self) -> tuple[type[BadContentType], tuple[Response], dict[str, object]]:
        return type(self), (self.response,), self.__dict__


class BadRedirect(ResponseError):
    """A redirect without a place to go to, to a scheme other than http and https, or one more than `max_redirects`."""


class BudgetSpent(ClientError):
    """A limit of the caller's own ended the stream.

    Attributes:
        limit: the limit, in the unit of the option.
        last: the error before, because of which the client would have come again; None when there was none.
    """

    def __init__(self, limit: float, last: ClientError | None, message: str) -> None:
        super().__init__(limit, last, message)
        self.limit = limit
        self.last = last
        self.message = message

    def __str__(self) -> str:
        return f"{self.message}; last: {self.last}" if self.last is not None else self.message


class TooManyRetries(BudgetSpent):
    """The client came again `max_retries` times in a row, and no event came."""


class OutOfTime(BudgetSpent):
    """`max_time` seconds have passed since the first request, or would pass before the next."""


class WaitTooLong(BudgetSpent):
    """The server asks for a wait of more than `max_wait` seconds, so the client does not come again by itself.

    Attributes:
        asked: the wait in seconds.
    """

    def __init__(self, limit: float, last: ClientError | None, message: str, asked: float) -> None:
        super().__init__(limit, last, message)
        self.asked = asked

    def __reduce__(self) -> tuple[type[WaitTooLong], tuple[object, ...]]:
        return type(self), (self.limit, self.last, self.message, self.asked)


class BadData(ClientError, ValueError):
    """Data that cannot be read as the model of its event's type; the stream goes on with the next event.

    Attributes:
        event: the event.
        model: what its data should be.
    """

    def __init__(self, event: Event, model: object, reason: str) -> None:
        super().__init__(event, model, reason)
        self.event = event
        self.model = model
        self.reason = reason

    def __str__(self) -> str:
        name = getattr(self.model, "__name__", None) or repr(self.model)
        return (
            f"data of event {quote(self.event.event)} is no {name}: {shorten(self.reason, _SHOWN)}"
        )
