"""The worker of ``fastsse serve``: the app, with a start and an end of its own.

    at the start    the address is printed as soon as the app answers there, once for all workers of a server; from
                    then on the kernel ends the connections of readers that take nothing
    at the end      1. the streams end, over `Settings.drain` seconds; meanwhile the server goes on accepting, so that
                       probes and new readers get an answer (503)
                    2. the server is told to stop, and has a moment to write what is left
                    3. the connections that are still there are shut down, because the server would wait for them

The end begins with SIGTERM, or when the main process is gone. The module knows signals, sockets and the app; it must
not know which server runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any, Literal

from fastsse.asgi import Message, Receive, Scope, Send
from fastsse.broadcast import sockets
from fastsse.broadcast.app import Broadcast
from fastsse.broadcast.hub.topics import TopicLimits
from fastsse.broadcast.operators import LOOPBACK, Operators

if TYPE_CHECKING:
    from multiprocessing.synchronize import Semaphore  # which not every system has

__all__ = ["Security", "Worker", "authority"]

Security = Literal["none", "tls", "clients"]

_KNOCK = 0.02  # s between two requests to see if the server answers
_MARGIN = 3.0  # s beyond the longest lag_seconds: the hub ends a slow stream first, then the kernel its connection
_LOOK = 0.05  # s between two counts of the connections that are left
_GRACE = 0.3  # s in which no connection ended by itself, after which the rest is shut down
_PATIENCE = 2.0  # s after which the rest is shut down in any case


class Worker:
    """The app as the server in this process calls it.

    Args:
        app: the application.
        address: the address that the server has bound.
        port: the port that the server has bound.
        operators: ports for operators, the first free one of which this worker takes; none: the numbers are told where
            readers are served.
        security: how the server is reached: ``none``, over ``tls``, or over TLS by ``clients`` with a certificate.
        turn: taken by the one worker of several that prints the address; None where there is one worker.
    """

    def __init__(
        self,
        app: Broadcast,
        address: str,
        port: int,
        operators: Sequence[int] = (),
        security: Security = "none",
        turn: Semaphore | None = None,
    ) -> None:
        self._app = app
        self._address = address
        self._port = port
        self._security = security
        self._turn = turn
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False
        self._operators = Operators(app.tell_operator, operators) if operators else None
        if operators:
            app.keep_numbers_apart()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._live(scope, receive, send)
        if self._ending and scope["http_version"] != "2":
            send = partial(_send_and_close, send)
        return self._app(scope, receive, send)

    def end(self, stop: Callable[[], object]) -> None:
        """End the streams, then call `stop`, which stops the server, then shut the connections that are left.

        For the loop's own thread. A second call does nothing.
        """
        if not self._ending:
            self._ending = True
            self._run(self._end(stop))

    def end_threadsafe(self, stop: Callable[[], object]) -> None:
        """Call `end` from any thread; where no loop runs, call `stop` at once."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self.end, stop)
                return
        except RuntimeError:  # the loop is closed
            pass
        stop()

    def end_with_parent(self, loop: asyncio.AbstractEventLoop) -> None:
        """End this process as at SIGTERM when its main process has died, for whatever reason.

        Otherwise the worker would go on serving, and no new server could have the port. On Windows nothing happens,
        because loops cannot watch a process there.
        """
        parent = parent_process()
        if parent is None or sys.platform == "win32":
            return

        def orphaned() -> None:
            loop.remove_reader(parent.sentinel)
            signal.raise_signal(signal.SIGTERM)

        loop.add_reader(parent.sentinel, orphaned)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = False  # a worker that is a thread may be started again with the same app
        self._run(self._announce())
        hub = self._app.hub
        try:
            await hub.start()
            if await self._listen_to_operators(send):
                await self._app(scope, receive, send)
        except OSError as error:
            # The store's word says it all: the server's traceback would hide it.
            print(f"fastsse: the store cannot be opened: {error}", file=sys.stderr, flush=True)
            await send({"type": "lifespan.startup.failed", "message": "the store cannot be opened"})
        finally:
            await hub.stop()
            if self._operators is not None:
                self._operators.stop()
            for task in self._tasks:
                task.cancel()

    async def _listen_to_operators(self, send: Send) -> bool:
        """Open the operators' port, where there is one; return False where it cannot be opened."""
        if self._operators is None:
            return True
        try:
            await self._operators.start()
        except OSError as error:
            words = f"the operators' port cannot be opened: {error.strerror}"
            print(f"fastsse: {words}", file=sys.stderr, flush=True)
            await send({"type": "lifespan.startup.failed", "message": words})
            return False
        url = f"http://{authority(LOOPBACK, self._operators.port)}/metrics"
        print(f"fastsse: for operators: {url}", file=sys.stderr, flush=True)
        return True

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The start.

    async def _announce(self) -> None:
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._address, self._address)
        while not await self._answers(here):
            if self._app.hub.draining:
                self._end_again()
                return
            await asyncio.sleep(_KNOCK)
        seconds = TopicLimits(self._app.settings).longest + _MARGIN
        sockets.limit_silence(self._address, self._port, seconds)
        sockets.limit_unsent(self._address, self._port)
        if self._turn is not None and not self._turn.acquire(block=False):
            return
        scheme = "http" if self._security == "none" else "https"
        with contextlib.suppress(OSError):  # the hub serves although nobody takes this line
            print(f"fastsse: {scheme}://{authority(here, self._port)}/", flush=True)

    def _end_again(self) -> None:
        """Raise SIGTERM again for the server: the first came before its loop ran, and maybe only the app heard it."""
        if parent_process() is not None and not self._ending:
            signal.raise_signal(signal.SIGTERM)

    async def _answers(self, address: str) -> bool:
        try:
            reader, writer = await asyncio.open_connection(
                address, self._port, ssl=self._knocking()
            )
        except OSError:
            return False
        try:
            if self._security == "clients":
                return True  # there was a handshake, and there is no certificate to ask more with
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()

    def _knocking(self) -> ssl.SSLContext | None:
        """Make the client's side of TLS for a question to this process itself, whose name nobody has to check."""
        if self._security == "none":
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    # The end.

    async def _end(self, stop: Callable[[], object]) -> None:
        if not self._app.hub.draining:  # a worker that is a thread heard no signal
            self._app.drain()
        await self._app.hub.drained()
        stop()
        await self._let_out()
        sockets.shut(self._address, self._port)

    async def _let_out(self) -> None:
        """Wait for as long as connections end by themselves, `_PATIENCE` at most."""
        loop = asyncio.get_running_loop()
        patience = loop.time() + _PATIENCE
        fewest, grace = sockets.count_descriptors(), loop.time() + _GRACE
        while loop.time() < min(grace, patience):
            await asyncio.sleep(_LOOK)
            left = sockets.count_descriptors()
            if left < fewest:
                fewest, grace = left, loop.time() + _GRACE


def _send_and_close(send: Send, message: Message) -> Awaitable[None]:
    """Send a message, and close its connection after the answer: a client or a proxy would use it again."""
    if message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], (b"connection", b"close")]
    return send(message)


def authority(address: str, port: int) -> str:
    """Write address and port as in a URL."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
