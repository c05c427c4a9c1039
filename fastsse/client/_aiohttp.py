"""The transport over aiohttp, on asyncio.

Bytes are taken as they come, in pieces as large as the socket gives them. When a connection breaks off, aiohttp raises
before it has given what came before; the transport takes that first, so that no event is lost.

The module knows aiohttp; it must not know events.
"""

from __future__ import annotations

import contextlib
from copy import copy
from importlib import import_module
from typing import Any

from fastsse.client._failures import network_error
from fastsse.client.errors import NetworkError
from fastsse.client.messages import Headers, Request, Response
from fastsse.client.redirects import OF_CREDENTIALS

__all__ = ["AiohttpAnswer", "AiohttpTransport"]

_BUFFER = 1 << 18  # bytes that aiohttp buffers before it stops reading
_CONNECT = 10.0  # s


class AiohttpTransport:
    """Makes requests by a ``ClientSession``."""

    def __init__(self, session: Any) -> None:
        self.library: Any = import_module("aiohttp")
        self._own = session is None
        self._session: Any = session
        self._copies: dict[bool, Any] = {}  # by whether they have the credentials of the session

    async def open(self, request: Request, idle_timeout: float | None) -> AiohttpAnswer:
        """Send a request and read the head of the answer; see `AsyncTransport`."""
        aiohttp = self.library
        yarl: Any = import_module("yarl")
        try:
            answer = await self._session_for(request).request(
                request.method,
                yarl.URL(request.url, encoded=True),
                headers=list(request.headers.pairs()),
                data=request.body,
                allow_redirects=False,
                raise_for_status=False,
                read_bufsize=_BUFFER,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT, sock_read=idle_timeout
                ),
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self.failure(error) from error
        return AiohttpAnswer(self, answer, request.url)

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
            if not request.credentials:
                headers = self._session.headers.copy()
                for name in OF_CREDENTIALS:
                    headers.popall(name, None)
                session._default_headers = headers
                session._default_auth = None
        return session


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
