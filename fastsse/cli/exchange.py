"""Requests that change a broadcast, over one connection, which is made anew when it breaks.

    what happens                                        what is done
    nobody has ever answered, and no connection is made the command fails: the address may be wrong
    the connection breaks, or cannot be made again      the request is sent again, after back-off
    429, 500, 502, 503, 504                             the request is sent again, not before Retry-After
    another status than 200                             the command fails

Each request may be sent again, because it carries a key, or changes nothing the second time. A server whose answer does
not name the key knows none: of it no request is sent again whose fate nobody knows.

The module knows HTTP, by the standard library; it must not know events.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from fastsse.cli.terminal import Failure
from fastsse.cli.url import broadcast_url, place
from fastsse.client import RETRY_STATUS, Headers
from fastsse.client._stdlib import PlainConnection, SecureConnection
from fastsse.client.delays import back_off, retry_after
from fastsse.client.messages import clean_url

__all__ = ["MAX_RETRIES", "Exchange", "Refused"]

MAX_RETRIES = 10  # in a row, by default: some minutes
_TIMEOUT = 60.0  # s that a server may take for a part of an answer
_CONNECT = 10.0  # s
_PAUSE = 0.5  # s before the second retry; the first one comes at once where the connection had served before
_LONGEST_PAUSE = 30.0  # s
_MOST_ANSWER = 2**20  # bytes


class Refused(Failure):
    """An answer that says no.

    Attributes:
        problem: the members of its body (RFC 9457), or none.
    """

    def __init__(self, status: int, reason: str, body: bytes) -> None:
        self.problem = _object(body)
        super().__init__(f"refused ({status}): {self.problem.get('detail', reason)}")


class _Answer(NamedTuple):
    status: int
    reason: str
    headers: Headers
    body: bytes


class Exchange:
    """Requests to one server, one after the other.

    Args:
        url: where the broadcast is.
        headers: to be sent with each request.
        max_retries: how often in a row a request is sent again.
        tell: called with a line about each retry.

    Attributes:
        knows_keys: whether the server has named a key in an answer; None before the first answer.
    """

    def __init__(
        self,
        url: str,
        headers: Sequence[tuple[str, str]],
        max_retries: int,
        tell: Callable[[str], None],
    ) -> None:
        parts = urlsplit(_ascii(broadcast_url(url, [])))
        self._url = url
        self._headers = _headers(headers)
        self._place = place(url)
        kind = SecureConnection if parts.scheme == "https" else PlainConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=_CONNECT)
        self._max_retries = max_retries
        self._tell = tell
        self._reached = False  # a connection was made once
        self._sent = False  # a part of the present request has been sent
        self.knows_keys: bool | None = None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def send(
        self,
        method: str,
        query: Sequence[tuple[str, str | int]],
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> dict[str, Any]:
        """Send a request, again and again if need be; return the members of the answer.

        Args:
            query: names and values, in the order to be sent.

        Raises:
            Refused: the server says no.
            Failure: nobody answers, or nobody knows what became of the request.
        """
        parts = urlsplit(_ascii(broadcast_url(self._url, query)))
        target = f"{parts.path}?{parts.query}"
        failures = 0
        while True:
            fresh = self._connection.sock is None
            try:
                answer = self._once(method, target, headers, body)
            except (OSError, HTTPException, ValueError) as error:  # ValueError: no header
                self._connection.close()
                why, asked = self._words(error), 0.0
                if not self._reached or isinstance(error, ValueError):
                    raise Failure(why) from error
                if self._sent and self.knows_keys is False:
                    raise Failure(f"{why}; {_NOBODY_KNOWS}") from error
            else:
                if answer.status not in RETRY_STATUS or self.knows_keys is False:
                    return self._accepted(answer)
                fresh = True
                why = str(Refused(answer.status, answer.reason, answer.body))
                asked = retry_after(answer.headers, time.time)
            failures += 1
            if failures > self._max_retries:
                raise Failure(why if failures == 1 else f"{why}, {failures} times in a row")
            if fresh or failures > 1:
                self._wait(why, max(asked, _pause(failures)))

    def _connect(self) -> None:
        connection = self._connection
        connection.connect()
        connection.sock.settimeout(_TIMEOUT)
        self._reached = True

    def _wait(self, why: str, seconds: float) -> None:
        self._tell(f"{why}; sends again in {seconds:.3g} s")
        time.sleep(seconds)

    def _once(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> _Answer:
        """Send the request, and read the answer."""
        connection = self._connection
        self._sent = False
        if connection.sock is None:
            self._connect()
        self._sent = True
        broken: OSError | None = None
        try:
            connection.request(method, target, body, {**self._headers, **headers})
        except (BrokenPipeError, ConnectionResetError) as error:
            broken = error  # a server that refuses a body stops reading before its end: the answer says why
        try:
            response = connection.getresponse()
        except (OSError, HTTPException) as error:
            raise broken or error from None
        with response:
            fields = [(_raw(name), _raw(value)) for name, value in response.headers.items()]
            payload = response.read(_MOST_ANSWER)
            if response.length and len(payload) < _MOST_ANSWER:
                raise HTTPException("the answer broke off")
            if broken is not None or not response.isclosed():
                connection.close()
            return _Answer(response.status, response.reason, Headers.received(fields), payload)

    def _accepted(self, answer: _Answer) -> dict[str, Any]:
        if answer.status != 200:
            raise Refused(answer.status, answer.reason, answer.body)
        members = _object(answer.body)
        if not members:
            raise Failure(f"{self._place}: answered 200 without JSON; is this a broadcast?")
        if "count" in members or "id" in members:
            self.knows_keys = "key" in members
        return members

    def _words(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"{self._place}: {reason}"


_NOBODY_KNOWS = (
    "this server knows no idempotency keys, so nobody knows what was published of the last request"
)


def _pause(failures: int) -> float:
    return back_off(_PAUSE, failures, _LONGEST_PAUSE, random.random)


def _object(body: bytes) -> dict[str, Any]:
    """Return the members of a JSON object; none where the body is another thing."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _headers(given: Sequence[tuple[str, str]]) -> dict[str, bytes]:
    """Return headers as they are sent; no message repeats a value, which may be a secret."""
    try:
        return {name: value.encode() for name, value in Headers(given).items()}
    except ValueError as error:
        raise Failure(str(error)) from error


def _ascii(url: str) -> str:
    try:
        return clean_url(url)
    except ValueError as error:
        raise Failure(str(error)) from error


def _raw(text: str) -> bytes:
    return text.encode("latin-1", "replace")
