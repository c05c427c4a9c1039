"""How streams hear that the server ends: `AppStatus`, signals, and a uvicorn that is stopped by its attribute.

    SIGTERM, SIGINT, end_streams()   each stream of that loop ends, unless that is disabled in `AppStatus`
    AppStatus.should_exit = True     each stream of every loop ends, at once, and so does each that begins afterwards
    server.should_exit = True        uvicorn's `Server` in the main thread: no signal tells it, so it is looked at twice
                                     a second while streams are open

The module knows loops and what a stream can be told; it must not know responses.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from fastsse._signals import on_shutdown

__all__ = ["AppStatus", "register", "unregister"]

_LOOK = 0.5  # s between two looks at a uvicorn server


class _Stream(Protocol):
    def shut_down(self) -> None:
        """End, because the server ends. Called on the stream's loop; a second call does nothing."""


class _Watched(type):
    """The class of `AppStatus`: to set `should_exit` is to act."""

    def __setattr__(cls, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "should_exit" and value:
            _end_everywhere()


class AppStatus(metaclass=_Watched):
    """The switch that ends all streams of this module, as an attribute of the class.

    Attributes:
        should_exit: set this to True to end every open stream, in whichever thread its loop runs. A stream that begins
            while this is True ends at once, so set it to False afterwards where the process goes on. A signal ends the
            streams that are open and leaves this alone.
        enable_automatic_graceful_drain: False while signals do not end streams.
        original_handler: called by `handle_exit` after the streams were told. None unless you set it: uvicorn's own
            handler is never replaced.
    """

    should_exit: bool = False
    enable_automatic_graceful_drain: bool = True
    original_handler: Callable[..., object] | None = None

    @staticmethod
    def disable_automatic_graceful_drain() -> None:
        """Leave streams open when a signal comes. The server waits for them until you set `should_exit`."""
        AppStatus.enable_automatic_graceful_drain = False

    @staticmethod
    def enable_automatic_graceful_drain_mode() -> None:
        """End streams when a signal comes, which is the default."""
        AppStatus.enable_automatic_graceful_drain = True

    @staticmethod
    def handle_exit(*args: Any, **kwargs: Any) -> None:
        """End all streams as a signal would, then call `original_handler` with the arguments."""
        if AppStatus.enable_automatic_graceful_drain:
            AppStatus.should_exit = True
        if AppStatus.original_handler is not None:
            AppStatus.original_handler(*args, **kwargs)


class _OpenStreams:
    """The open streams of one loop, and what listens for their end."""

    __slots__ = ("_loop", "_server", "_stop_listening", "_timer", "streams")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.streams: set[_Stream] = set()
        self._loop = loop
        self._server = _uvicorn_server()
        self._stop_listening = on_shutdown(self._heard)
        self._timer = None if self._server is None else loop.call_later(_LOOK, self._look)

    def shut_down(self) -> None:
        """Tell every stream that the server ends."""
        for stream in tuple(self.streams):
            stream.shut_down()

    def close(self) -> None:
        """Stop listening: the last stream has gone."""
        self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()

    def _heard(self) -> None:
        # A registration is called once, and streams that begin later must hear of the next signal.
        self._stop_listening = _nothing
        if AppStatus.enable_automatic_graceful_drain:
            _open.pop(self._loop, None)
            self.close()
            self.shut_down()

    def _look(self) -> None:
        if self._server.should_exit and AppStatus.enable_automatic_graceful_drain:
            self.shut_down()
        self._timer = self._loop.call_later(_LOOK, self._look)


_open: dict[asyncio.AbstractEventLoop, _OpenStreams] = {}  # loops with streams, and only those


def register(loop: asyncio.AbstractEventLoop, stream: _Stream) -> None:
    """Have the stream's `shut_down` called when the server ends; at once, if `AppStatus.should_exit` says so."""
    if loop not in _open:
        _open[loop] = _OpenStreams(loop)
    _open[loop].streams.add(stream)
    if AppStatus.should_exit:
        loop.call_soon(stream.shut_down)


def unregister(loop: asyncio.AbstractEventLoop, stream: _Stream) -> None:
    """Forget a stream that has ended."""
    there = _open.get(loop)
    if there is not None:
        there.streams.discard(stream)
        if not there.streams:
            there.close()
            del _open[loop]


def _end_everywhere() -> None:
    """Tell all streams of all loops, from any thread or a signal handler."""
    for loop in tuple(_open):
        try:
            loop.call_soon_threadsafe(partial(_end_on, loop))
        except RuntimeError:  # a loop that was closed with its streams open
            _open.pop(loop, None)


def _end_on(loop: asyncio.AbstractEventLoop) -> None:
    there = _open.get(loop)
    if there is not None:
        there.shut_down()


def _uvicorn_server() -> Any:
    """Find the uvicorn server that this process runs: its method is the handler of SIGTERM. None if there is none."""
    handler: Any = signal.getsignal(signal.SIGTERM)
    while hasattr(handler, "previous"):  # ours stands before the server's
        handler = handler.previous
    server = getattr(handler, "__self__", None)
    return server if hasattr(server, "should_exit") else None


def _nothing() -> None:
    """Withdraw nothing: the registration has been called."""
