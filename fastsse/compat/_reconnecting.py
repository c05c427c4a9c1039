"""The part that the clients of requests-sse and aiohttp-sse-client share: states, hooks, how often they connect anew.

Both libraries describe one class, sync and async. Our own source (`fastsse.client`) does the work: connects, waits,
decodes, keeps the last event ID. Their library is asked for each answer with the arguments of the caller, and follows
redirects by itself.

The module knows when a failure ends a stream for those libraries; it must not know requests or aiohttp.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from fastsse import DEFAULT_MAX_EVENT_SIZE, EventTooLarge
from fastsse.client.errors import (
    BadStatus,
    BudgetSpent,
    CertificateError,
    ClientError,
    NetworkError,
    StreamEnded,
)
from fastsse.client.messages import Response
from fastsse.client.policy import RETRY_STATUS

__all__ = ["ANY_ADDRESS", "CLOSED", "CONNECTING", "OPEN", "Fatal", "Reconnecting"]

CONNECTING, OPEN, CLOSED = 0, 1, 2

ANY_ADDRESS = "http://localhost/"  # for our source: the library itself reads the caller's address


class Fatal(Exception):
    """Carries the exception that a caller is to meet through our source."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Reconnecting:
    """States and hooks of an event source that comes back.

    Args:
        reconnection_time: a timedelta, or seconds, before coming again, until the server says otherwise.
        max_connect_retry: how often in a row to ask again when there is no event stream.
        hooks: `on_open`, `on_message`, `on_error`; each may be None.
        last_event_id: what to begin after.

    Attributes:
        max_event_size: bytes of one event, 16 MiB; None for no limit. Set it before the connection, or in a subclass.
    """

    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE

    def __init__(
        self,
        reconnection_time: timedelta | float,
        max_connect_retry: int,
        hooks: tuple[
            Callable[[], Any] | None, Callable[[Any], Any] | None, Callable[[], Any] | None
        ],
        last_event_id: str = "",
    ) -> None:
        self._reconnection_time = (
            reconnection_time.total_seconds()
            if isinstance(reconnection_time, timedelta)
            else reconnection_time
        )
        self._max_connect_retry = max_connect_retry
        self._on_open, self._on_message, self._on_error = hooks
        self._last_event_id = last_event_id
        self._state = CONNECTING
        self._source: Any = None  # ours, from `connect` to `close`
        self._allowed = (
            max_connect_retry  # how often in a row to ask again, by the call that is under way
        )
        self._refusals = 0  # requests in a row without an event stream
        self._origin = ""

    def _options(self, transport: Any) -> dict[str, Any]:
        """Return the options of our source."""
        return {
            "client": transport,
            "reconnection_time": self._reconnection_time,
            "last_event_id": self._last_event_id,
            "max_event_size": self.max_event_size,
            "on_open": self._opened,
            "on_error": self._failed,
        }

    def _exception(self, why: ClientError) -> Exception:
        """Make the exception of the library for an error that ends the stream."""
        raise NotImplementedError

    def _exception_of(self, why: ClientError) -> Exception:
        """Make the exception of the library; of a limit that is reached, the one of the error before."""
        if isinstance(why, BudgetSpent) and why.last is not None:
            return self._exception(why.last)
        return self._exception(why)

    def _too_large(self, error: EventTooLarge) -> Exception:
        """Make the exception of the library for an event that is too large."""
        raise NotImplementedError

    def _origin_of(self, url: str) -> str:
        """Return the origin of an address."""
        raise NotImplementedError

    def _opened(self, response: Response) -> None:
        """Announce the connection."""
        self._refusals = 0
        self._origin = self._origin_of(response.url)
        if self._state != CLOSED:
            self._state = OPEN
            if self._on_open is not None:
                self._on_open()

    def _failed(self, why: ClientError) -> None:
        """Take an error of our source: tell that it will come again, or end the stream.

        Raises:
            Fatal: the stream ends.
        """
        if self._state != OPEN:
            self._refusals += 1
        if not _may_come_again(why) or self._refusals > self._allowed:
            raise Fatal(self._exception_of(why))
        if self._state != CLOSED:
            self._state = CONNECTING
            if self._on_error is not None:
                self._on_error()

    def _end(self) -> None:
        """Announce that the stream is over for good, unless it was closed."""
        if self._state != CLOSED:
            self._state = CLOSED
            if self._on_error is not None:
                self._on_error()

    @contextmanager
    def _translated(self) -> Generator[None]:
        """Raise the exceptions of the library in place of ours; after one of them the stream is over."""
        try:
            yield
        except Fatal as fatal:
            error, cause = fatal.error, fatal.error.__cause__
        except EventTooLarge as failure:
            error, cause = self._too_large(failure), failure
        else:
            return
        self._let_go()
        self._end()
        raise error from cause

    def _let_go(self) -> Any:
        """Close our source, remember its place, and return it: a later connection begins there."""
        source, self._source = self._source, None
        if source is not None:
            source.close()
            self._last_event_id = source.last_event_id
        self._refusals = 0
        return source


def _may_come_again(why: ClientError) -> bool:
    if isinstance(why, BadStatus):
        return why.response.status in RETRY_STATUS
    return isinstance(why, (NetworkError, StreamEnded)) and not isinstance(why, CertificateError)
