"""The transports over httpx, and over httpx2, whose names are the same.

Bytes are taken as they come, from below `iter_raw`, which counts and cuts them. A body in gzip is decompressed here,
because the library knows the first member of it alone; other codings are the library's. The read time-out is ours,
because httpx ends a quiet stream after 5 seconds by default.

The module knows httpx; it must not know events.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from importlib import import_module
from typing import Any

from fastsse.client._failures import network_error, shut_down
from fastsse.client._inflate import INFLATED, Inflate
from fastsse.client.errors import NetworkError
from fastsse.client.messages import Headers, Request, Response
from fastsse.client.redirects import OF_CREDENTIALS

__all__ = ["AsyncHttpxAnswer", "AsyncHttpxTransport", "HttpxAnswer", "HttpxTransport"]

_CONNECT = 10.0  # s, where the client is ours
_LEFT = 10_000  # pieces that may have come and are not read


class _Common:
    """The part that the sync and the async transport share."""

    name = "httpx"
    kind = "Client"

    def __init__(self, client: Any) -> None:
        self.library: Any = import_module(self.name)
        self.own = client is None
        # InvalidURL: of a redirect, whose address the library reads although it is not to follow it.
        self.failures = (self.library.TransportError, self.library.InvalidURL, OSError)
        library: Any = import_module(self.name)
        reading = library.RequestError, library.StreamError
        self.failures_of_reading = (*reading, OSError, zlib.error)
        # Follows no redirect and reads no body by itself; certificates and proxies are the library's.
        self.client: Any = (
            getattr(self.library, self.kind)(timeout=_CONNECT) if self.own else client
        )

    def built(self, request: Request, idle_timeout: float | None) -> Any:
        """Make the library's request."""
        client = self.client
        limits = client.timeout
        try:
            built = client.build_request(
                request.method,
                request.url,
                headers=[
                    (name.encode(), value.encode()) for name, value in request.headers.pairs()
                ],
                content=request.body,
                timeout=self.library.Timeout(
                    connect=_or(limits.connect, idle_timeout),
                    read=idle_timeout,
                    write=_or(limits.write, idle_timeout),
                    pool=limits.pool,
                ),
            )
        except self.library.InvalidURL as error:
            raise NetworkError(str(error)) from error
        if not request.credentials:
            for name in OF_CREDENTIALS:
                built.headers.pop(name, None)
            client.cookies.set_cookie_header(built)
        return built

    def options(self, request: Request) -> dict[str, Any]:
        """Return the options of `send`: no credentials of the client's where there may be none."""
        chosen = {} if request.credentials else {"auth": None}
        return {"stream": True, "follow_redirects": False, **chosen}

    def failure(self, error: Exception) -> NetworkError:
        """Say what a failure means."""
        return network_error(error, self.library.ReadTimeout)

    def head(self, answer: Any) -> Response:
        """Return the head of an answer."""
        return Response(
            answer.status_code, Headers.received(answer.headers.raw), str(answer.request.url)
        )


def _or(limit: float | None, idle_timeout: float | None) -> float | None:
    """Return the client's own time-out; where it has none, ours, which ends the wait for a server that does nothing."""
    return idle_timeout if limit is None else limit


def _inflate_for(answer: Any) -> tuple[Inflate | None, bool]:
    """Return what decompresses a body, if that is done here, and whether its bytes are taken as they come."""
    coding = answer.headers.get("content-encoding", "").strip().lower()
    if coding in INFLATED:
        return Inflate(), True
    return None, coding in ("", "identity")


class HttpxTransport(_Common):
    """Makes requests by a ``Client``."""

    _stream: Any = None  # of the connection that the request under way has made

    def open(self, request: Request, idle_timeout: float | None) -> HttpxAnswer:
        """Send a request and read the head of the answer; see `Transport`."""
        built = self.built(request, idle_timeout)
        self._stream = None
        built.extensions = {**built.extensions, "trace": self._trace}
        try:
            answer = self.client.send(built, **self.options(request))
        except self.failures as error:
            raise self.failure(error) from error
        return HttpxAnswer(self, answer)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the connection; the library calls this for each of its steps."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info.get("return_value")

    def interrupt(self) -> None:
        """Shut the socket down that `open` waits for, if `open` has made it, and for itself alone."""
        stream = self._stream
        if stream is not None:
            secured = stream.get_extra_info("ssl_object")
            if secured is None or secured.selected_alpn_protocol() != "h2":
                shut_down(stream.get_extra_info("socket"))

    def close(self) -> None:
        """Close the client, where it is ours."""
        if self.own:
            self.client.close()


class HttpxAnswer:
    """One answer while it is read."""

    def __init__(self, transport: HttpxTransport, answer: Any) -> None:
        self.response = transport.head(answer)
        self._answer = answer
        self._inflate, raw = _inflate_for(answer)
        self._chunks: Iterator[bytes] = iter(answer.stream) if raw else answer.iter_bytes()
        self._failure = transport.failure
        self._failures = transport.failures_of_reading

    def read(self) -> bytes:
        """Return the bytes that have come; see `Answer`."""
        inflate = self._inflate
        try:
            if inflate is not None and (waiting := inflate.feed(b"")):
                return waiting
            for chunk in self._chunks:
                if out := chunk if inflate is None else inflate.feed(chunk):
                    return out
        except self._failures as error:
            raise self._failure(error) from error
        return b""

    def interrupt(self) -> None:
        """Shut the socket down, unless other streams share it (HTTP/2) or there is none."""
        extensions = self._answer.extensions
        stream = extensions.get("network_stream")
        if stream is not None and extensions.get("http_version") != b"HTTP/2":
            shut_down(stream.get_extra_info("socket"))

    def close(self) -> None:
        """Close the answer, and with it its connection."""
        with contextlib.suppress(Exception):
            self._answer.close()


class AsyncHttpxTransport(_Common):
    """Makes requests by an ``AsyncClient``, on asyncio or trio."""

    kind = "AsyncClient"

    async def open(self, request: Request, idle_timeout: float | None) -> AsyncHttpxAnswer:
        """Send a request and read the head of the answer; see `AsyncTransport`."""
        built = self.built(request, idle_timeout)
        try:
            answer = await self.client.send(built, **self.options(request))
        except self.failures as error:
            raise self.failure(error) from error
        return AsyncHttpxAnswer(self, answer)

    async def close(self) -> None:
        """Close the client, where it is ours."""
        if self.own:
            await self.client.aclose()


class AsyncHttpxAnswer:
    """One answer while it is read in a task."""

    def __init__(self, transport: AsyncHttpxTransport, answer: Any) -> None:
        self.response = transport.head(answer)
        self._answer = answer
        self._inflate, raw = _inflate_for(answer)
        self._chunks: AsyncIterator[bytes] = aiter(answer.stream) if raw else answer.aiter_bytes()
        self._failure = transport.failure
        self._failures = transport.failures_of_reading

    async def read(self) -> bytes:
        """Return the bytes that have come; see `AsyncAnswer`."""
        inflate = self._inflate
        try:
            if inflate is not None and (waiting := inflate.feed(b"")):
                return waiting
            async for chunk in self._chunks:
                if out := chunk if inflate is None else inflate.feed(chunk):
                    return out
        except self._failures as error:
            raise self._failure(error) from error
        return b""

    async def close(self) -> None:
        """Close the answer, and with it its connection.

        The library's own generators are read to their end then, which comes at once. One that is left alone is
        finalised in a task that nobody awaits, and trio warns of it.
        """
        with contextlib.suppress(Exception):
            await self._answer.aclose()
        if self._answer.http_version == "HTTP/2":
            return  # whose connection is still open, for other streams
        with contextlib.suppress(Exception):
            for _ in range(_LEFT):
                await anext(self._chunks)
