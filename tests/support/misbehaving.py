"""A server on raw sockets that does to each connection just what a script says, right or wrong.

    with Misbehaving(
        [send(head() + b"data: a\\n\\n"), reset],      what the first connection meets
        [send(answer(503, {"Retry-After": "0"}))],    the second; the last script serves all that come later
    ) as server:
        ...
        server.requests[0].headers["last-event-id"]

A script is a list of steps. A step takes the connection's socket; after the last one the connection is closed. The
module knows sockets and the bytes of HTTP/1.1; it must not know the client.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Self

__all__ = [
    "Asked",
    "Misbehaving",
    "Script",
    "Step",
    "answer",
    "chunk",
    "close",
    "head",
    "reset",
    "send",
    "silence",
    "stream",
    "trickle",
]

Step = Callable[[socket.socket], None]
Script = Sequence[Step]
DEADLINE = 10.0  # s, after which a silent connection is closed, so that nothing stays behind


class Asked(NamedTuple):
    """One request, as it came.

    Attributes:
        method, target: the request line.
        headers: names in small letters; values as UTF-8.
        body: as many bytes as Content-Length says.
        at: `time.monotonic` when the connection was accepted.
        others: connections that were open besides.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    others: int


def send(data: bytes) -> Step:
    """Send bytes, in one piece."""

    def step(sock: socket.socket) -> None:
        sock.sendall(data)

    return step


def trickle(data: bytes, pause: float = 0.0, size: int = 1) -> Step:
    """Send bytes in pieces, with a pause after each."""

    def step(sock: socket.socket) -> None:
        for start in range(0, len(data), size):
            sock.sendall(data[start : start + size])
            time.sleep(pause)

    return step


def silence(seconds: float = DEADLINE) -> Step:
    """Say nothing until the client leaves, for so many seconds at most."""

    def step(sock: socket.socket) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([sock], [], [], left)
            if readable and not sock.recv(65536):
                return

    return step


def reset(sock: socket.socket) -> None:
    """Break the connection off, so that the client meets ECONNRESET."""
    time.sleep(0.002)  # a reset overtakes bytes that the client has not read
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def close(sock: socket.socket) -> None:
    """Close the connection, which the end of a script does, too."""
    sock.close()


def head(
    status: int | str = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str | None = "text/event-stream",
) -> bytes:
    """Write the head of an answer whose body ends with the connection."""
    fields = {} if content_type is None else {"Content-Type": content_type}
    lines = [f"HTTP/1.1 {status} X" if isinstance(status, int) else status]
    lines += [f"{name}: {value}" for name, value in {**fields, **(headers or {})}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def stream(body: bytes, headers: Mapping[str, str] | None = None) -> Step:
    """Send an event stream."""
    return send(head(200, {"Connection": "close", **(headers or {})}) + body)


def answer(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """Write a whole answer that is no event stream."""
    bare = status in (204, 304)  # such an answer has no body
    length = {} if bare else {"Content-Length": str(len(body))}
    fields = {"Connection": "close", **length, **(headers or {})}
    return head(status, fields, None if bare else "text/plain") + (b"" if bare else body)


def chunk(data: bytes) -> bytes:
    """Write one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Misbehaving:
    """The server; a context manager, which listens while its block runs.

    Args:
        scripts: one for each connection in turn; the last serves all later ones.
        listening: False to refuse connections until `listen` is called.
        record: False to keep no requests, where there are very many.

    Attributes:
        url: of the server.
        requests: what came, in order.
        listening: True once connections are accepted.
        accepted: `time.monotonic` of the newest connection.
        most_at_once: how many connections have been open at a time, at most.
    """

    def __init__(self, *scripts: Script, listening: bool = True, record: bool = True) -> None:
        self._scripts = list(scripts)
        self.listening = False
        self._at_once = listening
        self._record = record
        self.accepted = 0.0
        self.most_at_once = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._count = 0
        self.requests: list[Asked] = []
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/events"

    def __enter__(self) -> Self:
        if self._at_once:
            self.listen()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            left = list(self._open)
        for sock in left:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)

    def listen(self) -> None:
        """Accept connections from now on."""
        self.listening = True
        self._socket.listen(64)
        self._start(self._accept)

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return len(self._open)

    def _start(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self.accepted = time.monotonic()
            others = self._others()
            self.most_at_once = max(self.most_at_once, others + 1)
            with self._lock:
                self._open.add(sock)
                script = self._scripts[min(self._count, len(self._scripts) - 1)]
                self._count += 1
            self._start(self._serve, sock, script, others)

    def _others(self) -> int:
        """Count the connections that are open besides; one that the client has closed gets time to be noticed."""
        until = time.monotonic() + 0.5
        while self.open_connections and time.monotonic() < until:
            time.sleep(0.0005)
        return self.open_connections

    def _serve(self, sock: socket.socket, script: Script, others: int) -> None:
        at = time.monotonic()
        sock.settimeout(DEADLINE)
        with sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                asked = _read_request(sock, at, others)
                if asked is not None:
                    if self._record:
                        self.requests.append(asked)
                    for step in script:
                        step(sock)
                if (
                    sock.fileno() != -1
                ):  # so that the client reads the end, and no reset because of bytes unread
                    sock.shutdown(socket.SHUT_WR)
            finally:
                with self._lock:
                    self._open.discard(sock)


def _read_request(sock: socket.socket, at: float, others: int) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return None
        data += more
    top, _, body = data.partition(b"\r\n\r\n")
    first, *lines = top.decode("utf-8", "surrogateescape").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += sock.recv(65536)
    while len(body) < int(headers.get("content-length", "0")):
        body += sock.recv(65536)
    return Asked(method, target, headers, body, at, others)
