"""The transport over the standard library: one connection a request, and no dependency.

Certificates are checked as `ssl.create_default_context` does, and proxies are those of the environment
(``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY``). The transport asks for no compression, because a compressor may hold
an event back, and reads gzip and deflate nevertheless.

The module knows http.client; it must not know events.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import zlib
from collections.abc import Callable
from functools import partial
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    RemoteDisconnected,
    parse_headers,
)
from typing import Any, cast
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from fastsse.client._chunks import Chunks
from fastsse.client._failures import network_error, shut_down
from fastsse.client._inflate import INFLATED, Inflate
from fastsse.client.messages import Headers, Request, Response

__all__ = ["PlainConnection", "SecureConnection", "StdlibAnswer", "StdlibTransport"]

_CHUNK = 65536  # bytes read at once
_CONNECT = 10.0  # s
_MOST_INTERIM = 32  # answers before the one that counts
_PROBES = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


class StdlibTransport:
    """Makes requests by http.client."""

    def __init__(self, _client: None = None) -> None:
        self._context: ssl.SSLContext | None = None
        self._opening: HTTPConnection | None = None

    def open(self, request: Request, idle_timeout: float | None) -> StdlibAnswer:
        """Send a request and read the head of the answer.

        Raises:
            NetworkError: there is no answer.
        """
        parts = urlsplit(request.url)
        added = {"Accept-Encoding": "identity", "User-Agent": "fastsse"}
        if parts.username is not None:
            added["Authorization"] = _basic(parts)
        connection, target, more = self._connection(parts)
        changes = {name: value for name, value in added.items() if name not in request.headers}
        headers = request.headers.but({**changes, **more})
        try:
            self._opening = connection
            connection.connect()
            _keep_alive(connection.sock)
            connection.sock.settimeout(idle_timeout)
            # A server that refuses a body stops reading before the body's end: sending fails, and the answer says why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                _send(connection, request, target, headers)
            return StdlibAnswer(connection, request.url)
        except BaseException as error:
            connection.close()
            if isinstance(error, (OSError, HTTPException)):
                raise network_error(error, TimeoutError) from error
            raise
        finally:
            self._opening = None

    def interrupt(self) -> None:
        """Make an `open` of another thread fail at once, unless it still connects."""
        shut_down(getattr(self._opening, "sock", None))

    def close(self) -> None:
        """Do nothing: each answer closes its connection."""

    def _connection(self, parts: SplitResult) -> tuple[HTTPConnection, str, dict[str, str]]:
        """Return an unconnected connection, the target of the request on it, and headers for a proxy."""
        host, port = parts.hostname or "", parts.port
        place = parts.netloc.rpartition("@")[2]
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        proxy = None if proxy_bypass(place) else getproxies().get(parts.scheme)
        if proxy is None:
            return self._make(parts.scheme, host, port), target, {}
        via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        credentials = {"Proxy-Authorization": _basic(via)} if via.username is not None else {}
        if parts.scheme == "https":
            connection = self._make("https", via.hostname or "", via.port or 8080)
            connection.set_tunnel(host, port or 443, credentials)
            return connection, target, {}
        connection = self._make(via.scheme, via.hostname or "", via.port)
        return connection, f"http://{place}{target}", credentials

    def _make(self, scheme: str, host: str, port: int | None) -> HTTPConnection:
        if scheme != "https":
            return PlainConnection(host, port, timeout=_CONNECT)
        if self._context is None:
            self._context = ssl.create_default_context()
        return SecureConnection(host, port, timeout=_CONNECT, context=self._context)


class StdlibAnswer:
    """One answer of http.client while it is read."""

    def __init__(self, connection: HTTPConnection, url: str) -> None:
        self._connection = connection
        self._socket = connection.sock
        self._answer = connection.getresponse()
        fields = [(_raw(name), _raw(value)) for name, value in self._answer.headers.items()]
        self.response = Response(self._answer.status, Headers.received(fields), url)
        coding = self.response.headers.get("content-encoding", "").strip().lower()
        read: Callable[[], bytes] = partial(self._answer.read1, _CHUNK)
        if self._answer.chunked:
            read = Chunks(self._answer.fp.read1).read
        self._read = _inflated(read) if coding in INFLATED else read

    def read(self) -> bytes:
        """Return the bytes that have come, as soon as there are any; b"" at the end.

        Raises:
            NetworkError: the connection broke off, or was silent for too long.
        """
        try:
            return self._read()
        except (OSError, HTTPException, ValueError, AttributeError, zlib.error) as error:
            raise network_error(
                error, TimeoutError
            ) from error  # ValueError, AttributeError: closed meanwhile

    def interrupt(self) -> None:
        """Make a `read` of another thread return or raise at once."""
        shut_down(self._socket)

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError, HTTPException, ValueError):
            self._answer.close()
        self._connection.close()


class _Answer(HTTPResponse):
    """An answer after some interim ones, with a whole head.

    http.client knows 100 alone of the interim ones (RFC 9110, 15.2), and takes a head that is cut off for a short one.
    """

    def begin(self) -> None:
        """Read the head.

        Raises:
            HTTPException: the connection ended within it.
        """
        whole: Any = self.fp
        self.fp = cast("Any", _Head(whole))
        try:
            super().begin()
        finally:
            if self.fp is not None:  # pyright: ignore[reportUnnecessaryComparison] - None once it is closed
                self.fp = whole

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MOST_INTERIM):
            read: Any = super()
            version, status, reason = cast("tuple[str, int, str]", read._read_status())
            if not 100 <= status < 200 or status == 101:
                return version, status, reason
            parse_headers(self.fp)
        raise HTTPException(f"more than {_MOST_INTERIM} interim answers")


class _Head:
    """The stream of an answer while its head is read: the end of the connection is no end of a line."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readline(self, limit: int) -> bytes:
        line: bytes = self._stream.readline(limit)
        if not line.endswith(b"\n") and len(line) < limit:
            raise RemoteDisconnected("the connection ended within the head of the answer")
        return line

    def close(self) -> None:
        self._stream.close()


class PlainConnection(HTTPConnection):
    """A connection whose answers are whole heads, after any number of interim ones."""

    response_class = _Answer


class SecureConnection(HTTPSConnection):
    """A connection over TLS, otherwise as `PlainConnection`."""

    response_class = _Answer


def _inflated(source: Callable[[], bytes]) -> Callable[[], bytes]:
    """Return what reads a compressed body."""
    inflate = Inflate()

    def read() -> bytes:
        out = inflate.feed(b"")
        while not out and (chunk := source()):
            out = inflate.feed(chunk)
        return out

    return read


def _send(connection: HTTPConnection, request: Request, target: str, headers: Headers) -> None:
    """Send a request; each header stands under the name that the caller gave it."""
    body = request.body if isinstance(request.body, bytes) else None
    if (
        body is not None or request.method in ("POST", "PUT", "PATCH")
    ) and "content-length" not in headers:
        headers = headers.but({"Content-Length": str(len(body or b""))})
    connection.putrequest(request.method, target, "host" in headers, skip_accept_encoding=True)
    for name, value in headers.pairs():
        connection.putheader(name, value.encode())
    connection.endheaders(body)


def _keep_alive(sock: socket.socket) -> None:
    """Let the system probe a quiet connection, so that a peer that is gone is noticed within minutes."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _PROBES:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _basic(parts: SplitResult) -> str:
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _raw(text: str) -> bytes:
    return text.encode("latin-1", "replace")
