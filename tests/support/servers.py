"""Real servers for the tests: ``fastsse serve`` (and uvicorn) as processes of their own, and raw clients of them.

Nothing here knows the app but by HTTP. A server gets a free port and counts as ready when it says so itself; every
wait has a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import fastsse
from fastsse import Decoder, Event

__all__ = [
    "APP",
    "DEADLINE",
    "Clients",
    "Connection",
    "Reply",
    "Server",
    "environment",
    "free_port",
    "run",
    "serve",
    "serve_as",
    "serve_granian",
    "serve_uvicorn",
    "unchunk",
    "wait_for",
]

ROOT = Path(fastsse.__file__).parents[1]
DEADLINE = 20.0  # s: for whatever takes milliseconds on a quiet machine
APP = "fastsse.broadcast.app:app"

# Few readers come at the full hour: quiet streams whose bytes a test can foretell.
QUIET = ("--heartbeat", "0", "--lifetime", "0")


class Reply(NamedTuple):
    """A whole HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A server process and its address."""

    def __init__(
        self, process: subprocess.Popen[bytes], port: int, host: str = "127.0.0.1"
    ) -> None:
        self.process = process
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, response.read())
        finally:
            connection.close()

    def publish(self, topic: str, data: str, **more: str) -> str:
        """Publish one event; its id."""
        body = urlencode({"topic": topic, "data": data, **more})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        reply = self.request("POST", "/events", body, headers)
        assert reply.status == 200, reply
        return str(reply.json["id"])

    def health(self) -> Any:
        return self.request("GET", "/health").json

    def signal(self, signum: signal.Signals, *, group: bool = False) -> None:
        """To the main process, or to all of its processes, as a terminal's Ctrl-C does."""
        (os.killpg if group else os.kill)(self.process.pid, signum)

    def wait(self) -> int:
        return self.process.wait(DEADLINE)


class Connection:
    """One request over a raw socket, whose response is read as it comes, chunk by chunk.

    Attributes:
        head: the status line and headers, once `start` has read them.
        opening: the body's first chunk, once `Clients.follow` has read it.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.head = b""
        self.opening = b""
        self._reader = reader
        self._decoder = Decoder()
        self._events: list[Event] = []  # decoded, and not yet asked for

    @property
    def status(self) -> int:
        return int(self.head.split(None, 2)[1])

    async def start(self) -> None:
        """Read the head of the response."""
        self.head = await self.until(b"\r\n\r\n")

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self._reader.readuntil(end)

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; the last one is empty."""
        size = int(await self.until(b"\r\n"), 16)
        async with asyncio.timeout(DEADLINE):
            return (await self._reader.readexactly(size + 2))[:-2]

    async def events(self, count: int) -> list[Event]:
        """The next events of an event stream, those of its opening chunk first."""
        while len(self._events) < count:
            self._events += self._decoder.feed(await self.chunk())
        found, self._events = self._events[:count], self._events[count:]
        return found

    async def open(self) -> None:
        """Read the head and the first chunk of an event stream."""
        await self.start()
        assert self.status == 200, self.head
        self.opening = await self.chunk()
        self._events = self._decoder.feed(self.opening)

    async def to_the_end(self) -> bytes:
        """All that comes until the server closes, as it comes."""
        async with asyncio.timeout(DEADLINE):
            return await self._reader.read()

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class Clients:
    """Opens connections, and closes whatever is left open in the end."""

    def __init__(self) -> None:
        self._opened: list[Connection] = []

    async def connect(self, server: Server, head: str, body: bytes = b"") -> Connection:
        """Send a request's head (without Host and the blank line) and perhaps a part of its body."""
        async with asyncio.timeout(DEADLINE):
            reader, writer = await asyncio.open_connection(server.host, server.port, limit=2**20)
            connection = Connection(reader, writer)
            self._opened.append(connection)
            writer.write(f"{head}\r\nHost: localhost\r\n\r\n".encode() + body)
            await writer.drain()
        return connection

    async def follow(self, server: Server, target: str, *headers: str) -> Connection:
        """Open an event stream and read its first chunk."""
        head = "\r\n".join([f"GET {target} HTTP/1.1", *headers])
        connection = await self.connect(server, head)
        await connection.open()
        return connection

    async def close(self) -> None:
        for connection in self._opened:
            await connection.close()


def unchunk(body: bytes) -> tuple[bytes, bool]:
    """The content of a chunked body from a chunk's start, and whether its last chunk is there."""
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return content, body == b"\r\n"
        content, body = content + body[:length], body[length + 2 :]
    return content, False


def environment(**more: str) -> dict[str, str]:
    """Ours for a child: it imports the same fastsse, and takes no setting from the outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTSSE_")}
    kept |= {name: os.environ[name] for name in ("FASTSSE_NO_EXTENSIONS",) if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


@contextmanager
def serve(*flags: str, **env: str) -> Iterator[Server]:
    """``fastsse serve`` on a free port, ready."""
    with serve_as([sys.executable, "-m", "fastsse", "serve"], *flags, env=env) as server:
        yield server


@contextmanager
def serve_as(
    command: list[str], *flags: str, env: dict[str, str] | None = None, **options: Any
) -> Iterator[Server]:
    """The same by a command of your own, and by `subprocess.Popen`'s options."""
    with _process([*command, "--port", "0", *QUIET, *flags], env or {}, **options) as process:
        line = _read_line(process)
        assert line.startswith("fastsse: http://"), line
        host, _, port = line.removeprefix("fastsse: http://").strip().rstrip("/").rpartition(":")
        yield Server(process, int(port), host.strip("[]"))


def serve_uvicorn(*flags: str, app: str = APP, **env: str) -> AbstractContextManager[Server]:
    """The app under uvicorn, ready: it answers 200 at /health."""
    return _serve_by([sys.executable, "-m", "uvicorn", "--no-access-log", app, *flags], env)


def serve_granian(*flags: str, app: str = APP, **env: str) -> AbstractContextManager[Server]:
    """The app under granian's own command, ready: it answers 200 at /health."""
    return _serve_by([sys.executable, "-m", "granian", "--interface", "asgi", app, *flags], env)


@contextmanager
def _serve_by(command: list[str], env: dict[str, str]) -> Iterator[Server]:
    port = free_port()
    env = {"FASTSSE_HEARTBEAT": "0", "FASTSSE_LIFETIME": "0"} | env
    with _process([*command, "--port", str(port)], env) as process:
        server = Server(process, port)
        wait_for(lambda: _answers(server))
        yield server


def run(*arguments: str, given: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    """The ``fastsse`` command, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "fastsse", *arguments],
        input=given,
        capture_output=True,
        env=environment(**env),
        timeout=DEADLINE,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(happened: Callable[[], bool], deadline: float = DEADLINE) -> None:
    """Look until it has."""
    end = time.monotonic() + deadline
    while not happened():
        assert time.monotonic() < end, f"not within {deadline} s"
        time.sleep(0.01)


@contextmanager
def _process(
    command: list[str], env: dict[str, str], **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own. What it says on stderr is shown when the test fails."""
    with tempfile.TemporaryFile() as errors:  # a pipe that nobody reads would stop it once full
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(**env),
            start_new_session=True,
            **options,
        )
        try:
            yield process
        finally:
            _stop(process)
            errors.seek(0)
            sys.stderr.write(errors.read().decode(errors="replace"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(DEADLINE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(DEADLINE)
    assert process.stdout is not None
    process.stdout.close()


def _read_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        ready = selector.select(DEADLINE)
    return process.stdout.readline().decode() if ready else ""


def _answers(server: Server) -> bool:
    try:
        return server.request("GET", "/health").status == 200
    except OSError:
        return False
