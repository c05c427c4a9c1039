"""The part that the sync and the async source share: options, events that wait to be taken, news for the caller.

The module knows the options and the machine in `connection`; it must not wait for anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from fastsse import DEFAULT_MAX_EVENT_SIZE, Event, EventTooLarge
from fastsse.client.connection import Again, Connection, State, Stop
from fastsse.client.errors import ClientError
from fastsse.client.messages import HeadersLike, Request, Response
from fastsse.client.options import check_hooks, event_id, limit, policy, request
from fastsse.client.policy import RETRY_STATUS

__all__ = ["DEFAULT_IDLE_TIMEOUT", "MAX_ERROR_BODY", "MAX_ERROR_TIME", "Source"]

DEFAULT_IDLE_TIMEOUT = 300.0  # s
MAX_ERROR_BODY = 65536  # bytes of an error's body that are kept
MAX_ERROR_TIME = 5.0  # s that the body of an error is read for

_log = logging.getLogger("fastsse.client")


class Source:
    """Options and state of `EventSource` and `AsyncEventSource`, which document them."""

    def __init__(
        self,
        url: str,
        *,
        client: Any = None,
        method: str | None = None,
        headers: HeadersLike | None = None,
        params: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
        body: str | bytes | Callable[[], Any] | None = None,
        json: Any = None,
        auth: Callable[[Request], Any] | None = None,
        last_event_id: str = "",
        idle_timeout: float | None = DEFAULT_IDLE_TIMEOUT,
        reconnection_time: float = 3.0,
        max_delay: float = 30.0,
        max_wait: float | None = 3600.0,
        max_retries: int | None = None,
        max_time: float | None = None,
        max_redirects: int = 20,
        max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
        retry_status: Iterable[int] = RETRY_STATUS,
        on_open: Callable[[Response], Any] | None = None,
        on_error: Callable[[ClientError], Any] | None = None,
        on_retry: Callable[[float, ClientError], Any] | None = None,
        on_comment: Callable[[str], Any] | None = None,
    ) -> None:
        delays = (reconnection_time, max_delay, max_wait)
        limits = (max_retries, max_time, max_redirects, max_event_size)
        check_hooks(on_comment, auth, on_open, on_error, on_retry)
        self._auth, self._on_open = auth, on_open
        self._on_error, self._on_retry = on_error, on_retry
        self._idle_timeout = limit("idle_timeout", idle_timeout)
        self._client, self._on_comment = client, on_comment
        self._connection = Connection(
            request(url, method, headers, params, body, json),
            policy(delays, limits, retry_status, refreshes=auth is not None),
            last_event_id=event_id(last_event_id),
            on_comment=None if on_comment is None else self._comment,
        )
        self._before = self._connection.last_event_id  # the last event ID before the batch
        self._prepare()

    def _prepare(self) -> None:
        """Set up the state; a source adds its own."""
        self._decoder = self._connection.decoder
        self._response: Response | None = None
        self._closed = False
        self._batch: list[Event] = []  # the newest events, taken or not
        self._ready: Any = iter(self._batch)  # those that wait to be taken
        self._pending: BaseException | None = None  # to be raised once the batch is taken

    @property
    def response(self) -> Response | None:
        """The newest answer: status, headers, URL. None before the first one."""
        return self._response

    @property
    def last_event_id(self) -> str:
        """The last event ID of the newest event that was taken: pass it to a new source to go on from here."""
        left: int = self._ready.__length_hint__()
        if not left:
            return self._connection.last_event_id
        taken = len(self._batch) - left
        return self._batch[taken - 1].id if taken else self._before

    @property
    def reconnection_time(self) -> float:
        """Seconds: what the server said last in a ``retry`` field, otherwise the option."""
        return self._connection.reconnection_time

    @property
    def state(self) -> str:
        """``waiting``, ``connecting``, ``open``, ``stopped`` (by the server, or by `close`) or ``failed``."""
        return State.STOPPED.value if self._closed else self._connection.state.value

    def _comment(self, text: str) -> None:
        """Tell a comment; what the hook raises must not end the decoder's chunk in its middle."""
        assert self._on_comment is not None
        try:
            self._on_comment(text)
        except BaseException as error:
            self._pending = self._pending or error

    def _take(self, chunk: bytes) -> bool:
        """Feed a chunk. Returns True when the caller is to be given something: events, or an exception."""
        before = self._decoder.last_event_id
        try:
            events = self._connection.feed(chunk)
        except EventTooLarge as error:
            events = cast("list[Event]", error.events)
            self._pending = error
        if events:
            self._before = before
            self._batch = events
            self._ready = iter(events)
            return True
        return self._pending is not None

    def _raise_pending(self) -> None:
        """Raise what came after the events that are taken now."""
        error, self._pending = self._pending, None
        if error is not None:
            raise error

    def _note(self, step: Again | Stop) -> None:
        """Log why a stream comes again, or does not."""
        if step.why is not None:
            if isinstance(step, Again):
                _log.info("comes again in %.3g s: %s", step.delay, step.why)
            else:
                _log.info("fails: %s", step.why)
