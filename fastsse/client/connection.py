"""A stream over all its connections, without I/O and without a clock of its own: what to send, and what to do next.

A driver asks `begin` for the request, sends it, and tells what came: `answered`, then `feed` for each chunk, then
`ended`; or `ended` at once when there was no answer. Each of them says what to do next: `Read` the body, come `Again`
not before `wait_left` seconds, or `Stop`, for good or with an error.

    state        told                             becomes      says
    WAITING      begin, when the wait is over     CONNECTING   the request
    CONNECTING   answered 200, event stream       OPEN         Read
                 answered 204                     STOPPED      Stop(None)
                 answered with a redirect         WAITING      Again, as a rule at once; or FAILED: Stop(BadRedirect)
                 answered 401, with an auth hook  WAITING      Again, once
                 answered with a retry_status     WAITING      Again, after back-off and Retry-After
                 answered otherwise               FAILED       Stop(BadStatus), Stop(BadContentType)
                 ended, with an error             WAITING      Again, after back-off
    OPEN         feed                             OPEN         events; the first one ends the row of failures
                 feed, an event is too large      FAILED       raises EventTooLarge
                 ended                            WAITING      Again, after the reconnection time or back-off
    WAITING,     a limit is reached: max_retries, FAILED       Stop(TooManyRetries), Stop(OutOfTime),
    CONNECTING,  max_time, max_wait                            Stop(WaitTooLong)
    OPEN         max_retries=0, the stream ended  STOPPED      Stop(None)
    FAILED       begin: the caller goes on        CONNECTING   the request; all limits begin anew
    STOPPED      begin                            STOPPED      raises RuntimeError

In the words of the standard ("Processing model", section 9.2.3): OPEN begins with "announce the connection", Again is
"reestablish the connection", Stop is "fail the connection". With ``retry_status=()`` every status but 200 and redirects
fails it, as the standard says. An event that the end of a connection cuts off is discarded; the last event ID and the
reconnection time are kept.

The module knows every rule of this; it must not know a library, a thread or a task.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from enum import Enum
from random import random as _random
from typing import NamedTuple

from fastsse import Decoder, Event, EventTooLarge
from fastsse.client.delays import back_off, retry_after
from fastsse.client.errors import (
    BadContentType,
    BadRedirect,
    BadStatus,
    CertificateError,
    ClientError,
    NetworkError,
    OutOfTime,
    StreamEnded,
    TooManyRetries,
    WaitTooLong,
)
from fastsse.client.messages import Headers, Request, Response, sendable
from fastsse.client.policy import Policy
from fastsse.client.redirects import OF_BODY, OF_CREDENTIALS, PERMANENT, REDIRECTS, Target

__all__ = ["Again", "Connection", "Read", "State", "Stop"]

_EVENT_STREAM = "text/event-stream"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TYPE = re.compile(f"{_TOKEN}/{_TOKEN}")
_VALUE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.?)*"?)+', re.DOTALL)  # no comma but within quotes


class State(Enum):
    """Where a stream stands; the top of the module has all transitions."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    OPEN = "open"
    STOPPED = "stopped"
    FAILED = "failed"


class Read(NamedTuple):
    """Read the body, and feed it."""


class Again(NamedTuple):
    """Make another request.

    Attributes:
        delay: seconds to wait before.
        why: the error because of which the stream comes again; None for a redirect.
    """

    delay: float
    why: ClientError | None


class Stop(NamedTuple):
    """Make no more requests.

    Attributes:
        why: the error that ended the stream; None when the server asked for the end.
    """

    why: ClientError | None


class Connection:
    """The state of one stream. Threads must not call it at the same time.

    Args:
        request: method, address, headers and body of the caller.
        policy: when to come again, and the limits.
        last_event_id: what to begin after.
        on_comment: called with the text of each comment; must not raise.
        clock: gives seconds that only grow.
        now: gives the seconds since 1970, for dates in ``Retry-After``.
        random: gives a number from 0 up to 1.
    """

    def __init__(
        self,
        request: Request,
        policy: Policy,
        *,
        last_event_id: str = "",
        on_comment: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        random: Callable[[], float] = _random,
    ) -> None:
        self.state = State.WAITING
        self._request = request
        self._policy = policy
        self.decoder = Decoder(
            last_event_id=last_event_id or request.headers.get("last-event-id", ""),
            max_event_size=policy.max_event_size,
            on_comment=on_comment,
        )
        self._clock = clock
        self._now = now
        self._random = random
        self._home = Target(request.method, request.url)  # where each attempt begins
        self._target = self._home  # where the next request goes
        self._hops = 0  # redirects since the attempt began
        self._permanent = True  # all of them were permanent, and kept the method
        self._failures = 0  # attempts in a row without an event
        self._delivered = False  # this attempt has brought an event
        self._retries = 0  # how often the stream has come again since the last event
        self._refused: Response | None = None  # an answer of 401 that new credentials may mend
        self._due = clock()  # no request before
        self._deadline: float | None = None  # of max_time; set by the first request
        self._why: ClientError | None = None  # the last error, for a limit that is reached

    @property
    def last_event_id(self) -> str:
        """The value that the next request sends as ``Last-Event-ID``."""
        return self.decoder.last_event_id

    @property
    def reconnection_time(self) -> float:
        """Seconds: the server's last ``retry``, otherwise the caller's."""
        retry = self.decoder.retry
        return self._policy.reconnection_time if retry is None else retry / 1000

    def wait_left(self) -> float:
        """Return the seconds until `begin` may be called."""
        return max(self._due - self._clock(), 0.0)

    def time_left(self) -> float | None:
        """Return the seconds until `max_time` is over; None without that limit, or before the first request."""
        return None if self._deadline is None else max(self._deadline - self._clock(), 0.0)

    def begin(self) -> Request:
        """Return the request to send now.

        Raises:
            RuntimeError: the stream has stopped, or a connection is under way.
        """
        if self.state not in (State.WAITING, State.FAILED):
            raise RuntimeError(f"no request can begin while the stream is {self.state.value}")
        if self._deadline is None and self._policy.max_time is not None:
            self._deadline = self._clock() + self._policy.max_time
        self.state = State.CONNECTING
        self._delivered = False
        self.decoder.reset()
        return self._request.but(
            method=self._target.method,
            url=self._target.url,
            headers=self._headers(),
            body=self._request.body if self._target.body else None,
            credentials=self._target.credentials,
            attempt=self._failures + 1,
            refused=self._refused,
        )

    def _headers(self) -> Headers:
        given = self._request.headers
        changes: dict[str, str | None] = {}
        if "accept" not in given:
            changes["Accept"] = _EVENT_STREAM
        if "cache-control" not in given:
            changes["Cache-Control"] = "no-store"
        changes["Last-Event-ID"] = sendable(self.decoder.last_event_id) or None
        if not self._target.body:
            changes.update(dict.fromkeys(OF_BODY))
        if not self._target.credentials:
            changes.update(dict.fromkeys(OF_CREDENTIALS))
        return given.but(changes)

    def answered(self, response: Response) -> Read | Again | Stop:
        """Take the head of an answer."""
        if response.status == 200:
            if _essence(response.headers.get("content-type", "")) != _EVENT_STREAM:
                return self._refuse(BadContentType(response))
            self.state = State.OPEN
            self._refused = None
            self._begin_anew()
            return Read()
        if response.status == 204:
            self.state = State.STOPPED
            return Stop(None)
        asked = retry_after(response.headers, self._now)
        if response.status in REDIRECTS:
            return self._redirected(response, asked)
        error = BadStatus(response)
        if response.status == 401 and self._refreshes():
            self._refused = response
            return self._wait(asked, error)
        if response.status in self._policy.retry_status:
            return self._come_again(error, asked)
        return self._refuse(error)

    def feed(self, chunk: bytes) -> list[Event]:
        """Take bytes of the body and return the events that they dispatch.

        Raises:
            EventTooLarge: an event is over the limit; ``.events`` has the events before it.
        """
        try:
            events = self.decoder.feed(chunk)
        except EventTooLarge as error:
            if error.events:
                self._succeed()
            self._refuse(None)
            raise
        if events and not self._delivered:
            self._succeed()
        return events

    def ended(self, error: NetworkError | None = None) -> Again | Stop:
        """Take the end of a connection: an error, or None where the server ended its answer."""
        if isinstance(error, CertificateError):
            return self._refuse(error)
        if error is None and self._policy.max_retries == 0:
            self.state = State.STOPPED
            return Stop(None)
        return self._come_again(StreamEnded() if error is None else error)

    def expired(self) -> Stop:
        """Take that `max_time` is over."""
        limit = self._policy.max_time or 0.0
        return self._fail(OutOfTime(limit, self._why, f"max_time of {limit:g} s is over"))

    def abandon(self) -> None:
        """Take that the driver gave a connection up, because of a cancellation or an exception of the caller's."""
        if self.state in (State.CONNECTING, State.OPEN):
            self._count()
            self._begin_anew()
            self.state = State.WAITING
            self._due = self._clock() + self._delay()

    def _succeed(self) -> None:
        """End the row of failures: an event came."""
        self._delivered = True
        self._failures = self._retries = 0
        self._why = None

    def _count(self) -> None:
        """Count an attempt that ends, unless it has brought an event."""
        if not self._delivered:
            self._failures += 1

    def _delay(self) -> float:
        policy = self._policy
        return back_off(self.reconnection_time, self._failures, policy.max_delay, self._random)

    def _refreshes(self) -> bool:
        """Return True when new credentials may turn an answer of 401 into a better one."""
        return self._policy.refreshes and self._refused is None and self._target.credentials

    def _come_again(self, error: ClientError, asked: float = 0.0) -> Again | Stop:
        self._count()
        self._why = error
        self._refused = None
        self._begin_anew()
        limit = self._policy.max_retries
        if limit is not None and self._retries >= limit:
            if limit == 0:
                return self._fail(error)
            times = "once" if limit == 1 else f"{limit} times in a row"
            return self._fail(TooManyRetries(limit, error, f"came again {times} without an event"))
        self._retries += 1
        return self._wait(max(self._delay(), asked), error)

    def _wait(self, delay: float, error: ClientError | None) -> Again | Stop:
        """Wait before the next request, unless that takes more than a limit allows."""
        now = self._clock()
        limit = self._policy.max_wait
        if limit is not None and delay > limit:
            words = f"the server asks for a wait of {delay:g} s, and max_wait is {limit:g} s"
            return self._fail(WaitTooLong(limit, error, words, delay))
        if self._deadline is not None and now + delay >= self._deadline:
            return self.expired()
        self.state = State.WAITING
        self._due = now + delay
        return Again(delay, error)

    def _refuse(self, error: ClientError | None) -> Stop:
        """Fail because of what the server did."""
        self._count()
        return self._fail(error)

    def _fail(self, error: ClientError | None) -> Stop:
        """Fail the connection. A caller that goes on nevertheless waits as after a failure, and has all limits anew.

        After a wait that was too long, the caller knows how long it is, and decides.
        """
        self.state = State.FAILED
        longest = 0.0 if isinstance(error, WaitTooLong) else self._policy.max_wait
        delay = self._delay()
        self._due = self._clock() + (delay if longest is None else min(delay, longest))
        self._retries = 0
        self._deadline = None
        self._refused = None
        self._begin_anew()
        return Stop(error)

    def _begin_anew(self) -> None:
        """Let the next request be the first of its attempt again: no redirect behind it."""
        self._target = self._home
        self._hops = 0
        self._permanent = True

    def _redirected(self, response: Response, asked: float) -> Again | Stop:
        limit = self._policy.max_redirects
        self._hops += 1
        if self._hops > limit:
            return self._refuse(BadRedirect(response, f"more than {limit} redirects in a row"))
        try:
            target = self._target.after(response)
        except ValueError as error:
            return self._refuse(BadRedirect(response, f"a redirect that leads nowhere: {error}"))
        self._permanent &= response.status in PERMANENT and target.method == self._target.method
        self._target = target
        if self._permanent:
            self._home = target
        return self._wait(asked, None)


def _essence(content_type: str) -> str:
    """Return the last valid type of a field, in small letters and without parameters (Fetch, "extract a MIME type")."""
    found = ""
    for one in _VALUE.findall(content_type):
        essence = one.partition(";")[0].strip(" \t\r\n").lower()
        if _TYPE.fullmatch(essence) and essence != "*/*":
            found = essence
    return found
