"""The transport over aiohttp, on asyncio.

Bytes are taken as they come, in pieces as large as the socket gives them. When a connection breaks off, aiohttp raises
before it has given what came before; the transport takes that first, so that no event is lost.

The module knows aiohttp; it must not know events.
"""

from __future__ import annotations

import asyncio
import contextlib
from copy import copy
from importlib import import_module
from io import BytesIO
from typing import Any

from fastsse.client._failures import network_error
from fastsse.client.errors import IdleTimeout, NetworkError
from fastsse.client.messages import Headers, Request, Response
from fastsse.client.redirects import OF_CREDENTIALS

__all__ = ["AiohttpAnswer", "AiohttpTransport"]

_BUFFER = 1 << 18  # bytes that aiohttp buffers before it stops reading
_CONNECT = 10.0  # s
_LARGE = 1 << 20  # bytes of a body, over which aiohttp warns of what is no file
_LEAST_RATE = 65536  # bytes of a request's body a second that a server must take


class AiohttpTransport:
    """Makes requests by a ``ClientSession``."""

    def __init__(self, session: Any) -> None:
        self.library: Any = import_module("aiohttp")
        self._own = session is None
        self._session: Any = session
        self._copies: dict[bool, Any] = {}  # by whether they have the credentials of the session
        self.wire: Any = None  # the connection that the newest request was sent on

    async def open(self, request: Request, idle_timeout: float | None) -> AiohttpAnswer:
        """Send a request and read the head of the answer; see `AsyncTransport`."""
        aiohttp = self.library
        limit = asyncio.timeout(_time_for(request.body, idle_timeout))
        self.wire = None
        try:
            async with limit:
                answer = await self._asked(aiohttp, request, idle_timeout)
        except BaseException as error:
            # The library would keep the connection until the whole body is taken.
            if self.wire is not None:
                self.wire.abort()
            if limit.expired():
                raise IdleTimeout("the request's body was not taken in time") from error
            if isinstance(error, (aiohttp.ClientError, OSError, ValueError)):
                raise self.failure(error) from error
            raise
        return AiohttpAnswer(self, answer, request.url)

    async def _asked(self, aiohttp: Any, request: Request, idle_timeout: float | None) -> Any:
        """Send a request by the library, and return its answer."""
        yarl: Any = import_module("yarl")
        return await self._session_for(request).request(
            request.method,
            yarl.URL(request.url, encoded=True),
            headers=list(request.headers.pairs()),
            data=_sendable(request.body),
            allow_redirects=False,
            raise_for_status=False,
            read_bufsize=_BUFFER,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT, sock_read=idle_timeout
            ),
        )

    async def close(self) -> None:
        """Close the session, where it is ours."""
        for session in self._copies.values():
            session.detach()
        self._copies.clear()
        if self._own and self._session is not None:
            await self._session.close()
            self._session = None

    def failure(self, error: BaseException) -> NetworkError:
        """Say what a failure means."""
        return network_error(error, self.library.SocketTimeoutError)

    def _session_for(self, request: Request) -> Any:
        """Return a copy of the session that sends each request once, without its credentials where there may be none.

        aiohttp repeats a request at once when the connection breaks before an answer, although the server may have
        asked for a wait. A copy shares connections, cookies and all settings with the caller's session.
        """
        if self._session is None:
            self._session = self.library.ClientSession()
        session = self._copies.get(request.credentials)
        if session is None:
            session = self._copies[request.credentials] = copy(self._session)
            session._retry_connection = False
            session._request_class = _remembering(session._request_class, self)
            if not request.credentials:
                headers = self._session.headers.copy()
                for name in OF_CREDENTIALS:
                    headers.popall(name, None)
                session._default_headers = headers
                session._default_auth = None
        return session


def _remembering(kind: Any, transport: AiohttpTransport) -> Any:
    """Return a class of requests that tells the transport the connection of each."""

    class Remembering(kind):  # type: ignore[misc]
        async def send(self, conn: Any) -> Any:
            transport.wire = conn.transport
            above: Any = super()
            return await above.send(conn)

    return Remembering


def _sendable(body: Any) -> Any:
    """Return a body as the library likes it: a large one as a file, of which it writes a piece at a time."""
    return BytesIO(body) if isinstance(body, bytes) and len(body) > _LARGE else body


def _time_for(body: Any, idle_timeout: float | None) -> float | None:
    """Return the seconds until an answer's head must be there; None for no limit.

    The library's own time-outs do not count while a body is sent, so that a server that takes none of it would be
    waited for without an end.
    """
    if idle_timeout is None or not isinstance(body, bytes):
        return None
    return _CONNECT + 2 * idle_timeout + len(body) / _LEAST_RATE


class AiohttpAnswer:
    """One answer while it is read in a task."""

    def __init__(self, transport: AiohttpTransport, answer: Any, url: str) -> None:
        self.response = Response(answer.status, Headers.received(answer.raw_headers), url)
        self._answer = answer
        self._content = answer.content
        self._failure = transport.failure
        self._failures = (transport.library.ClientError, OSError, ValueError)
        self._error: BaseException | None = None

    async def read(self) -> bytes:
        """Return the bytes that have come; see `AsyncAnswer`."""
        if self._error is not None:
            raise self._failure(self._error) from self._error
        try:
            return await self._content.readany()  # type: ignore[no-any-return]
        except self._failures as error:
            rest = self._rest()
            if rest:
                self._error = error
                return rest
            raise self._failure(error) from error

    def _rest(self) -> bytes:
        """Return what came before the connection broke off, and aiohttp has not given."""
        try:
            return b"".join(self._content._buffer)[self._content._buffer_offset :]
        except (AttributeError, TypeError):
            return b""

    async def close(self) -> None:
        """Close the answer, and with it its connection."""
        with contextlib.suppress(Exception):
            self._answer.close()
