"""The transport over requests, whose bytes are taken from urllib3.

`requests` itself gives a body in pieces of a fixed size, and waits until each is full. urllib3's ``read1`` gives what
has come (urllib3 2.2 or later).

The module knows requests and urllib3; it must not know events.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from importlib import import_module
from typing import Any

from fastsse.client._chunks import Chunks
from fastsse.client._failures import network_error, shut_down
from fastsse.client.errors import NetworkError
from fastsse.client.messages import Headers, Request, Response
from fastsse.client.redirects import OF_CREDENTIALS

__all__ = ["RequestsAnswer", "RequestsTransport"]

_CHUNK = 65536  # bytes read at once
_CONNECT = 10.0  # s


class RequestsTransport:
    """Makes requests by a ``Session``."""

    def __init__(self, session: Any) -> None:
        self.library: Any = import_module("requests")
        self.urllib3: Any = import_module("urllib3")
        if not hasattr(self.urllib3.HTTPResponse, "read1"):
            raise RuntimeError("the client needs urllib3 2.2 or later below requests")
        self._own = session is None
        self._session: Any = self.library.Session() if session is None else session

    def open(self, request: Request, idle_timeout: float | None) -> RequestsAnswer:
        """Send a request and read the head of the answer; see `Transport`."""
        session = self._session
        try:
            prepared = session.prepare_request(
                self.library.Request(
                    request.method,
                    request.url,
                    headers={name: value.encode() for name, value in request.headers.pairs()},
                    data=request.body,
                    auth=None if request.credentials else _unchanged,
                )
            )
            if not request.credentials:
                self._strip(prepared)
            prepared.register_hook("response", _not_followed)
            settings = session.merge_environment_settings(prepared.url, {}, True, None, None)
            answer = session.send(
                prepared, timeout=(_CONNECT, idle_timeout), allow_redirects=False, **settings
            )
        except (self.library.RequestException, OSError, ValueError) as error:
            raise self.failure(error) from error
        return RequestsAnswer(self, answer, request.url)

    def interrupt(self) -> None:
        """Do nothing: the library hides the socket until there is an answer, and the time-out ends the wait."""

    def close(self) -> None:
        """Close the session, where it is ours."""
        if self._own:
            self._session.close()

    def failure(self, error: BaseException) -> NetworkError:
        """Say what a failure means."""
        timeouts = (self.library.ReadTimeout, self.urllib3.exceptions.ReadTimeoutError)
        return network_error(error, *timeouts, TimeoutError)

    def _strip(self, prepared: Any) -> None:
        """Take the credentials of the session away, but for its cookies of the other origin."""
        for name in OF_CREDENTIALS:
            prepared.headers.pop(name, None)
        prepared.prepare_cookies(self._session.cookies)


def _unchanged(prepared: Any) -> Any:
    """Stand for the session's own credentials, and for those in .netrc: add none."""
    return prepared


def _not_followed(answer: Any, **_: Any) -> None:
    """Hide where a redirect leads: the library would read the whole of its body, and the address, for nobody."""
    answer.headers.pop("location", None)


class RequestsAnswer:
    """One answer while it is read."""

    def __init__(self, transport: RequestsTransport, answer: Any, url: str) -> None:
        raw = answer.raw
        fields = [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in raw.headers.items()
        ]
        self.response = Response(answer.status_code, Headers.received(fields), url)
        self._answer = answer
        self._raw = raw
        coding = self.response.headers.get("content-encoding", "identity").lower()
        self._read = _reader(raw, coding not in ("", "identity"))
        self._failure = transport.failure
        self._failures = (
            transport.urllib3.exceptions.HTTPError,
            transport.library.RequestException,
            HTTPException,
            OSError,
            ValueError,
            AttributeError,
        )
        self._socket = _socket_of(raw)

    def read(self) -> bytes:
        """Return the bytes that have come; see `Answer`."""
        try:
            return self._read() or b""
        except self._failures as error:
            raise self._failure(error) from error

    def interrupt(self) -> None:
        """Shut the socket down, where it can be found."""
        shut_down(self._socket)

    def close(self) -> None:
        """Close the answer, and with it its connection."""
        with contextlib.suppress(Exception):
            self._raw.close()
        with contextlib.suppress(Exception):
            self._answer.close()


def _reader(raw: Any, decodes: bool) -> Callable[[], bytes | None]:
    """Return the function that gives what has come: of our own for plain chunks, which urllib3 reads one by one."""
    answer = getattr(raw, "_fp", None)
    read = getattr(getattr(answer, "fp", None), "read1", None)
    if read is not None and not decodes and getattr(answer, "chunked", False):
        return Chunks(read).read
    return partial(raw.read1, _CHUNK, decode_content=decodes)


def _socket_of(raw: Any) -> Any:
    """Find the socket below an answer; None where there is none, as in tests without a network."""
    sock = getattr(getattr(raw, "_connection", None), "sock", None)
    if sock is None:  # the server closes after this answer, so that only the answer has it
        reader = getattr(getattr(getattr(raw, "_fp", None), "fp", None), "raw", None)
        sock = getattr(reader, "_sock", None)
    return sock
