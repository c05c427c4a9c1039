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
import random
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from support.starts import STARTS, Hung, started

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
    "serve_command",
    "serve_granian",
    "serve_gunicorn",
    "serve_hypercorn",
    "serve_uvicorn",
    "unchunk",
    "wait_for",
]

ROOT = Path(fastsse.__file__).parents[1]
DEADLINE = 20.0  # s: for whatever takes milliseconds on a quiet machine
APP = "fastsse.broadcast.app:app"

_random = random.SystemRandom()  # a test that seeds `random` must not choose the ports

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
        """Publish one event and return its id."""
        body = urlencode({"topic": topic, "data": data, **more})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        reply = self.request("POST", "/events", body, headers)
        assert reply.status == 200, reply
        return str(reply.json["id"])

    def health(self) -> Any:
        return self.request("GET", "/health").json

    def signal(self, signum: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the main process, or to all of its processes, as a terminal's Ctrl-C does."""
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
        """Read the next chunk of a chunked body; the last one is empty."""
        size = int(await self.until(b"\r\n"), 16)
        async with asyncio.timeout(DEADLINE):
            return (await self._reader.readexactly(size + 2))[:-2]

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read the chunks up to the last one, which is empty and is left out."""
        while chunk := await self.chunk():
            yield chunk

    async def events(self, count: int) -> list[Event]:
        """Read the next events of an event stream, those of its opening chunk first."""
        while len(self._events) < count:
            self._events += self._decoder.feed(await self.chunk())
        found, self._events = self._events[:count], self._events[count:]
        return found

    async def read_into(self, events: list[Event]) -> None:
        """Add the events that come to a list, until the body ends or the connection breaks."""
        events += self._events
        self._events = []
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while chunk := await self.chunk():
                events += self._decoder.feed(chunk)

    async def open(self) -> None:
        """Read the head and the first chunk of an event stream."""
        await self.start()
        assert self.status == 200, self.head
        self.opening = await self.chunk()
        self._events = self._decoder.feed(self.opening)

    async def to_the_end(self) -> bytes:
        """Read all that comes until the server closes the connection."""
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
    """Cut a chunked body that begins with a chunk: its content, and True when the last chunk is there."""
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return content, body == b"\r\n"
        content, body = content + body[:length], body[length + 2 :]
    return content, False


def environment(**more: str) -> dict[str, str]:
    """Make a child's environment: the child imports the same fastsse, and takes no setting from the outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTSSE_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # each start would compile all modules anew
    kept |= {name: os.environ[name] for name in ("FASTSSE_NO_EXTENSIONS",) if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


@contextmanager
def serve(*flags: str, **env: str) -> Iterator[Server]:
    """Run ``fastsse serve`` on a free port until it is ready."""
    with serve_as([sys.executable, "-m", "fastsse", "serve"], *flags, env=env) as server:
        yield server


@contextmanager
def serve_as(
    command: list[str], *flags: str, env: dict[str, str] | None = None, **options: Any
) -> Iterator[Server]:
    """Run `fastsse serve` by a command of your own, and with `subprocess.Popen`'s options."""
    whole = [*command, "--port", "0", *QUIET, *flags]
    with started(
        "fastsse serve", lambda: _process(whole, env or {}, **options), _announced
    ) as server:
        yield server


def _announced(process: subprocess.Popen[bytes]) -> Server:
    line = _read_line(process)
    assert line.startswith(("fastsse: http://", "fastsse: https://")), line
    host, _, port = line.partition("://")[2].strip().rstrip("/").rpartition(":")
    return Server(process, int(port), host.strip("[]"))


def serve_uvicorn(*flags: str, app: str = APP, **env: str) -> AbstractContextManager[Server]:
    """Run the app under uvicorn until it is ready: /health answers 200."""
    return _serve_by([sys.executable, "-m", "uvicorn", "--no-access-log", app, *flags], env)


def serve_granian(*flags: str, app: str = APP, **env: str) -> AbstractContextManager[Server]:
    """Run the app under granian's own command until it is ready: /health answers 200."""
    return _serve_by([sys.executable, "-m", "granian", "--interface", "asgi", app, *flags], env)


def serve_hypercorn(*flags: str, app: str = APP, **env: str) -> AbstractContextManager[Server]:
    """Run the app under hypercorn until it is ready; without workers, which are told of no signal."""
    command = [sys.executable, "-m", "hypercorn", "--workers", "0", app, *flags]
    return _serve_by(command, env, bind=True)


def serve_gunicorn(*flags: str, app: str = APP, **env: str) -> AbstractContextManager[Server]:
    """Run the app under gunicorn with uvicorn's worker until it is ready."""
    worker = "uvicorn_worker.UvicornWorker"
    command = [sys.executable, "-m", "gunicorn", "--worker-class", worker, app, *flags]
    return _serve_by(command, env, bind=True)


def serve_command(
    command: list[str], *, status: int = 200, **env: str
) -> AbstractContextManager[Server]:
    """Run any server's command until /health answers `status`; PORT stands in it for a free port."""

    @contextmanager
    def start() -> Iterator[Server]:
        port = free_port()
        words = [word.replace("PORT", str(port)) for word in command]
        with _process(words, env) as process:
            yield Server(process, port)

    return started(command[:3][-1], start, partial(_answering, status=status))


def _serve_by(
    command: list[str], env: dict[str, str], *, bind: bool = False
) -> AbstractContextManager[Server]:
    env = {"FASTSSE_HEARTBEAT": "0", "FASTSSE_LIFETIME": "0"} | env

    @contextmanager
    def start() -> Iterator[Server]:
        port = free_port()
        address = ["--bind", f"127.0.0.1:{port}"] if bind else ["--port", str(port)]
        with _process([*command, *address], env) as process:
            yield Server(process, port)

    return started(" ".join(command[1:3]), start, _answering)


def _answering(server: Server, status: int = 200) -> Server:
    wait_for(lambda: _answers(server, status), STARTS)
    return server


def run(*arguments: str, given: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run the ``fastsse`` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "fastsse", *arguments],
        input=given,
        capture_output=True,
        env=environment(**env),
        timeout=DEADLINE,
        check=False,
    )


def free_port() -> int:
    """Choose a port that nobody listens on.

    The port lies below those that a system gives to outgoing connections: 32768 and up in Linux. One of those could
    be taken by a connection of anybody between two servers that a test runs at the same port.
    """
    while True:
        port = _random.randrange(20_000, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(happened: Callable[[], bool], deadline: float = DEADLINE) -> None:
    """Look again and again until a condition holds; raise `Hung` at the deadline."""
    end = time.monotonic() + deadline
    while not happened():
        if time.monotonic() >= end:
            raise Hung(f"not within {deadline:g} s")
        time.sleep(0.01)


@contextmanager
def _process(
    command: list[str], env: dict[str, str], **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in a session of its own. Its stderr is shown when the test fails."""
    with tempfile.TemporaryFile() as errors:  # a full pipe that nobody reads would stop the process
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
    """Read the first line that a server prints; kill a server that prints none in time."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(STARTS):
            process.kill()
            raise Hung(f"no line within {STARTS:g} s")
    return process.stdout.readline().decode()


def _answers(server: Server, status: int) -> bool:
    if server.process.poll() is not None:
        raise Hung(f"ended with {server.process.returncode}")
    try:
        return server.request("GET", "/health").status == status
    except OSError:
        return False
