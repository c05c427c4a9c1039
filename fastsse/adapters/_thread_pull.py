"""An ASGI response whose body is taken by the thread that a WSGI server gives to a request.

All responses run on one event loop in a thread of its own, one for the process: heartbeats, items that are async, and a
hub live there, so that an HTTP client or a hub can serve all streams. The server's thread only waits for the next part.

A WSGI server tells the application that a client has gone when it writes to it. Where the server shows the socket
(gunicorn, werkzeug), the loop watches it and knows at once.

The module knows ASGI's messages, threads and sockets; it must not know frameworks, streams or headers.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import logging
import os
import socket
import threading
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from fastsse._gate import keep
from fastsse._signals import hear_signals
from fastsse.adapters._pull import CUT, GONE
from fastsse.asgi import App, Headers, Message

__all__ = ["PATIENCE", "ThreadPull", "end_streams", "loop_of_streams", "run"]

PATIENCE = 5.0  # s that a server's thread waits for a response whose reader has gone

T = TypeVar("T")

_log = logging.getLogger("fastsse.adapters")


class _Loop:
    """The loop of this process's streams, in a daemon thread; made when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = _new_loop()
                run = self._loop.run_forever
                threading.Thread(target=run, name="fastsse-streams", daemon=True).start()
            return self._loop

    def forget(self) -> None:
        """Begin anew in a forked child, which has none of its parent's threads."""
        self.__init__()  # type: ignore[misc]


def _new_loop() -> asyncio.AbstractEventLoop:
    """Make a loop that watches a descriptor without a change to it.

    uvloop would make the server's own socket non-blocking, which shares its flags with the descriptor that is watched;
    the server's next write to a slow client would fail.
    """
    return asyncio.SelectorEventLoop() if os.name == "posix" else asyncio.new_event_loop()


_loop = _Loop()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_loop.forget)


def loop_of_streams() -> asyncio.AbstractEventLoop:
    """Return the event loop on which this process's WSGI streams run; started when it is first asked for."""
    return _loop.get()


def run(coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """Run a coroutine on the loop of the WSGI streams, and wait for its result: ``run(hub.start())``.

    Args:
        coroutine: what is run.
        timeout: seconds; None for as long as it takes. A coroutine that runs into it is cancelled.

    Raises:
        TimeoutError: the coroutine was not done in time.
        RuntimeError: called on the loop itself, which would wait for itself.
        Exception: the coroutine has raised it.
    """
    loop = loop_of_streams()
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        coroutine.close()
        raise RuntimeError("run() on the loop of the WSGI streams would wait for itself: await it")
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result(timeout)
    except TimeoutError:
        future.cancel()
        raise


def end_streams() -> None:
    """End all WSGI streams of this process, as a SIGTERM does: for hooks of servers that stop without one."""
    import fastsse._signals

    fastsse._signals.end_streams(loop_of_streams())


class ThreadPull:
    """One request, answered by an ASGI response on the loop of streams; its parts are taken in another thread.

    The response begins when its start or its first part is asked for, in a copy of the context in which this object was
    made.

    Args:
        response: the ASGI response.
        scope: the request's.
        client: the client's socket, if the server shows it; watched, and never read.
    """

    def __init__(self, response: App, scope: Mapping[str, Any], client: Any = None) -> None:
        hear_signals()
        self._response = response
        self._scope = dict(scope)
        self._client = client
        self._context = contextvars.copy_context()
        self._loop = loop_of_streams()
        self._begun = False
        # Under the lock.
        self._changed = threading.Condition(threading.Lock())
        self._part = b""
        self._start: Message | None = None
        self._whole = False
        self._over = False
        self._room: asyncio.Future[None] | None = None
        # On the loop.
        self._task: asyncio.Task[None] | None = None
        self._gone: asyncio.Event
        self._watched: socket.socket | None = None
        self._ended = threading.Event()

    # In the server's thread.

    def start(self) -> tuple[int, Headers]:
        """Wait until the response starts, and return its status and headers.

        Raises:
            Exception: the response has raised it instead.
        """
        self._begin_once()
        with self._changed:
            while self._start is None and not self._over:
                self._changed.wait()
            start = self._start
        if start is None:
            self._raise()
            raise RuntimeError("the ASGI response has returned without an answer")
        return start["status"], list(start["headers"])

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """Wait for the next part of the body and return it.

        Raises:
            ConnectionError: the body has ended without its proper end.
            Exception: the response has raised it.
        """
        self._begin_once()
        with self._changed:
            while not self._part and not self._over:
                self._changed.wait()
            part, self._part = self._part, b""
            room, self._room = self._room, None
            whole = self._whole
        if room is not None:
            self._loop.call_soon_threadsafe(_set, room)
        if part:
            return part
        if whole:
            raise StopIteration
        self._raise()
        raise ConnectionResetError(errno.ECONNRESET, CUT)

    def close(self) -> None:
        """Tell the response that its reader has gone, and wait at most `PATIENCE` seconds until it has returned."""
        if self._begun:
            self._loop.call_soon_threadsafe(self._leave)
            self._ended.wait(PATIENCE)
        else:
            self._begun = True
            self._over = self._whole = True

    def _begin_once(self) -> None:
        if not self._begun:
            self._begun = True
            self._loop.call_soon_threadsafe(self._begin)

    def _raise(self) -> None:
        """Raise what the response has raised, if anything."""
        task = self._task
        if task is not None and task.done() and not task.cancelled():
            task.result()

    # On the loop.

    def _begin(self) -> None:
        self._gone = asyncio.Event()
        call = _call(self._response, self._scope, self._receive, self._send)
        self._task = self._loop.create_task(call, context=self._context)
        self._task.add_done_callback(self._end)
        keep(self._task)
        self._watch()

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            with self._changed:
                self._start = message
                self._changed.notify()
        elif message["type"] == "http.response.body":
            while (room := self._put(message)) is not None:
                await room

    def _put(self, message: Message) -> asyncio.Future[None] | None:
        """Put a part where it is taken. Returns what to wait for when the last part is still there."""
        if self._gone.is_set():
            raise ConnectionResetError(errno.ECONNRESET, GONE)
        with self._changed:
            if self._part:
                self._room = self._loop.create_future()
                return self._room
            self._part = message.get("body", b"")
            self._whole = self._over = not message.get("more_body", False)
            self._changed.notify()
        return None

    def _leave(self) -> None:
        self._gone.set()
        self._unwatch()
        with self._changed:
            room, self._room = self._room, None
        if room is not None:
            _set(room)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._unwatch()
        with self._changed:
            self._over = True
            whole = self._whole
            self._changed.notify()
        error = None if task.cancelled() else task.exception()
        if error is not None and (whole or self._gone.is_set()):
            _log.error("an event stream failed after its reader had gone", exc_info=error)
        self._ended.set()

    # The client's socket.

    def _watch(self) -> None:
        """Watch the client's socket for its end, by a descriptor of our own: the server's may be closed at any time."""
        try:
            self._watched = socket.socket(fileno=os.dup(self._client.fileno()))
            self._loop.add_reader(self._watched, self._look)
        except (AttributeError, OSError, ValueError, NotImplementedError):
            self._unwatch()

    def _look(self) -> None:
        """Look whether the client has gone; what it sends otherwise is the server's to read."""
        assert self._watched is not None
        try:
            sent = self._watched.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            sent = b""
        self._unwatch()
        if not sent:
            self._leave()

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            self._watched.close()
            self._watched = None


async def _call(response: App, scope: Any, receive: Any, send: Any) -> None:
    await response(scope, receive, send)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
