"""The client in a thread: `EventSource`.

Each request is opened in a thread of its own, for which the caller waits: so `close` ends that wait at once, whatever
the HTTP library is doing, and Ctrl-C is heard while a name is looked up. The body is read in the caller's own thread;
`close` interrupts a read by shutting the socket down.

The module knows threads; it must not know a library, or a rule of the standard.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from fastsse import Event
from fastsse.client._base import (
    MAX_ERROR_BODY,
    MAX_ERROR_TIME,
    Source,
)
from fastsse.client._opening import Opening
from fastsse.client.connection import Again, Read, State, Stop
from fastsse.client.errors import NetworkError, ResponseError, StreamEnded
from fastsse.client.messages import Request, Response
from fastsse.client.options import body_bytes, with_credentials
from fastsse.client.redirects import REDIRECTS
from fastsse.client.transports import Answer, Transport, find
from fastsse.client.typed import Reader, readers

__all__ = ["EventSource"]

_T = TypeVar("_T")
_LONGEST_WAIT = (
    3600.0  # s that one wait for a condition takes at most; longer ones are made of several
)


class EventSource(Source):
    """The events at an address, over as many connections as needed; a context manager and an iterator.

        with EventSource("https://example.com/events") as events:
            for event in events:
                print(event.data)

    An iteration that ended with an exception, or by ``break``, may be begun again: the next step goes on with the next
    event. One thread at a time may iterate; any thread may call `close`.

    Args:
        url: where the stream is.
        client: a ``Client`` of httpx2 or httpx, a ``Session`` of requests, which stay open in the end; the name of a
            library (``"httpx2"``, ``"httpx"``, ``"requests"``, ``"stdlib"``); a `Transport`; or None: the standard
            library.
        method: ``GET``, or ``POST`` where there is a body, unless you say otherwise.
        headers: a mapping or pairs; values are sent as UTF-8.
        params: added to the query of `url`: a mapping or pairs; a value may be a list.
        body: str or bytes, sent again with each request; or a function without arguments that makes them anew.
        json: a value that is sent as JSON, in place of `body`.
        auth: called with each `Request` before it is sent, except after a redirect to another origin. Returns headers
            to add, or the value of ``Authorization``, or None. After an answer of 401 the hook is called once more:
            `Request.refused` is that answer then.
        last_event_id: begin after this event.
        idle_timeout: seconds without a byte, comments included, after which the connection counts as lost; None for
            never. Takes the place of the read time-out of `client`.
        reconnection_time: seconds to wait before coming again, until the server says otherwise by ``retry``.
        max_delay: seconds, the cap of the back-off after failures in a row. No wait is shorter than the server asks
            for.
        max_wait: seconds; a server that asks for a longer wait, by ``retry`` or ``Retry-After``, ends the stream with
            `WaitTooLong`. None for no limit.
        max_retries: how often in a row to come again without an event, before `TooManyRetries`; None for no limit. 0:
            never; the end of the stream ends the iteration then, and an error is raised as it is.
        max_time: seconds from the first request to `OutOfTime`; None for no limit.
        max_redirects: how many redirects in a row to follow.
        max_event_size: bytes of one event; `EventTooLarge` beyond them. None for no limit.
        retry_status: statuses after which to come again; ``()`` is the standard to the letter.
        on_open: called with the `Response` of each stream that opens.
        on_error: called with each `ClientError` that ends a connection, the server's end included.
        on_retry: called with the seconds until the next request, and the error because of which it will be made.
        on_comment: called with the text of each comment.

    Raises:
        TypeError, ValueError: at once, for an option that is not allowed.
        ClientError: while iterating; the tree is in `fastsse.client.errors`.
        EventTooLarge: while iterating.
    """

    def _prepare(self) -> None:
        super()._prepare()
        self._transport: Transport | None = None
        self._answer: Answer | None = None
        self._turn = threading.Lock()  # of the thread that works
        self._changed = threading.Condition()  # the source is closed, or a request is over
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        """Iterate the events. Leaving a loop loses none of them: the next loop goes on."""
        while True:
            yield from self._ready
            if not self._advance():
                return

    def __next__(self) -> Event:
        """Return the next event."""
        while True:
            for event in self._ready:
                return event  # type: ignore[no-any-return]
            if not self._advance():
                raise StopIteration

    def open(self) -> Response:
        """Connect now, and not at the first event. Returns the response, whose body is an event stream.

        Raises:
            StreamEnded: the server said that there is no stream (204), or the source is closed.
        """
        self._take_turn()
        try:
            if self._answer is None and not self._connect():
                raise StreamEnded
        except BaseException:
            self._drop()
            self._connection.abandon()
            raise
        finally:
            self._end_turn()
        assert self._response is not None
        return self._response

    def close(self) -> None:
        """End the iteration at once, also that of another thread, and close the connection."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        answer = self._answer
        if not self._release_if_idle() and answer is not None:
            answer.interrupt()

    def on(self, event: str, model: Callable[..., _T] | type[_T]) -> Iterator[_T]:
        """Iterate the events of one type, the data of each read as `model`; other events are passed over.

        Args:
            event: the type of the events.
            model: a msgspec Struct, a pydantic model or TypeAdapter, a dataclass, str, a plain JSON type such as dict,
                or a function that takes the data.

        Raises:
            BadData: data that is not so; the iteration may be begun again, and goes on with the next event.
        """
        return self._typed(readers({event: model}))

    def typed(self, models: Mapping[str, Any]) -> Iterator[Any]:
        """Iterate the events of several types, the data of each read as the model of its type, as `on` does."""
        return self._typed(readers(models))

    def _typed(self, known: Mapping[str, Reader]) -> Iterator[Any]:
        for event in self:
            read = known.get(event.event)
            if read is not None:
                yield read(event)

    def _advance(self) -> bool:
        """Wait until there are events. Returns False when there will be no more."""
        if self._pending is not None:
            self._raise_pending()
        self._take_turn()
        try:
            more = self._read()
        except BaseException:
            self._drop()
            self._connection.abandon()
            raise
        finally:
            self._end_turn()
        if more and self._pending is not None and not self._ready.__length_hint__():
            self._raise_pending()
        return more

    def _take_turn(self) -> None:
        """Let one thread at a time work."""
        if not self._turn.acquire(blocking=False):
            raise RuntimeError("another thread iterates this EventSource already")

    def _end_turn(self) -> None:
        """Let others work, and clean up for a thread that has closed the source meanwhile."""
        self._turn.release()
        if self._closed:
            self._release_if_idle()

    def _read(self) -> bool:
        """Read, and connect where there is nothing to read, until there are events."""
        while not self._closed:
            answer = self._answer
            if answer is None:
                if not self._connect():
                    return False
                continue
            try:
                chunk = answer.read()
            except NetworkError as error:
                self._ended(error)
                continue
            if not chunk:
                self._ended(None)
            elif self._take(chunk):
                if self._pending is not None and self._connection.state is not State.OPEN:
                    self._drop()
                return True
        return False

    def _ended(self, error: NetworkError | None) -> None:
        """Take the end of a connection; the machine says whether there will be another one."""
        self._drop()
        if self._closed:
            return
        if self._connection.time_left() == 0:
            self._follow(self._connection.expired())
        else:
            self._follow(self._connection.ended(error))

    def _connect(self) -> bool:
        """Wait, and make requests, until a stream is open. Returns False when there will be none."""
        connection = self._connection
        while not self._closed and connection.state is not State.STOPPED:
            if not self._wait(connection.wait_left()):
                return False
            if self._transport is None:
                self._transport = find(self._client)
            request = self._dressed(connection.begin())
            if self._closed:  # by a hook, or meanwhile
                return False
            try:
                answer = self._opened(request)
            except NetworkError as error:
                self._ended(error)
                continue
            if answer is None:
                if not self._closed:
                    self._follow(connection.expired())
                return False
            self._response = answer.response
            self._answer = answer
            step = connection.answered(answer.response)
            if isinstance(step, Read):
                self._guard_time()
                if self._on_open is not None:
                    self._on_open(answer.response)
                return True
            if isinstance(step.why, ResponseError) and answer.response.status not in REDIRECTS:
                step.why.body = self._error_body(answer)
            self._drop()
            if not self._closed:
                self._follow(step)
        return False

    def _follow(self, step: Again | Stop) -> None:
        """Tell the hooks, and raise what ends the stream."""
        self._note(step)
        if step.why is None:
            return
        if self._on_error is not None:
            self._on_error(step.why)
        if isinstance(step, Stop):
            raise step.why
        if self._on_retry is not None:
            self._on_retry(step.delay, step.why)

    def _wait(self, seconds: float) -> bool:
        """Wait, unless the source is closed meanwhile: then return False."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._closed and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(left, _LONGEST_WAIT))
        return not self._closed

    def _dressed(self, request: Request) -> Request:
        """Return a request with its body made, and with the credentials of the hook."""
        if callable(request.body):
            request = request.but(body=body_bytes(request.body()))
        if self._auth is not None and request.credentials:
            request = with_credentials(request, self._auth(request))
        return request

    def _opened(self, request: Request) -> Answer | None:
        """Send a request in a thread of its own. Returns None when the source is closed first, or out of time."""
        assert self._transport is not None
        opening = Opening(self._transport, request, self._idle_timeout, self._changed)
        opening.begin()
        left = self._connection.time_left()
        try:
            with self._changed:
                self._changed.wait_for(lambda: opening.over or self._closed, left)
        except BaseException:
            opening.leave()
            raise
        if not opening.over:
            opening.leave()
            return None
        if opening.error is not None:
            raise opening.error
        return opening.answer

    def _guard_time(self) -> None:
        """Interrupt the reading when `max_time` is over."""
        left = self._connection.time_left()
        answer = self._answer
        if left is not None and answer is not None:
            self._timer = threading.Timer(left, answer.interrupt)
            self._timer.daemon = True
            self._timer.start()

    def _error_body(self, answer: Answer) -> bytes:
        """Read the beginning of an error's body, bounded in size and time."""
        timer = threading.Timer(MAX_ERROR_TIME, answer.interrupt)
        timer.daemon = True
        timer.start()
        body = bytearray()
        try:
            while len(body) < MAX_ERROR_BODY and (chunk := answer.read()):
                body += chunk
        except NetworkError:
            pass
        finally:
            timer.cancel()
        return bytes(body[:MAX_ERROR_BODY])

    def _drop(self) -> None:
        """Close the connection that is open."""
        answer, self._answer = self._answer, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if answer is not None:
            answer.close()

    def _release_if_idle(self) -> bool:
        """Close everything, because the iteration is over, unless a thread works: then return False."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            self._drop()
            transport, self._transport = self._transport, None
            if transport is not None:
                transport.close()
        finally:
            self._turn.release()
        return True
