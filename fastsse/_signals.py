"""SIGTERM and SIGINT, heard before the server's own handlers, so that open streams can end first.

Servers wait for open responses, without limit (granian, uvicorn), and tell the application nothing
until the last one is over. So whoever holds streams open must hear the signal for itself. A Python
handler is put before the one that stands there; at the first signal the callbacks are scheduled on
their loops, what stood there before is put back, and the same signal is passed on to it. A second
signal therefore never meets us.

    handler before                 what becomes of the first signal
    a function (uvicorn)           called at once, after the callbacks are scheduled
    the loop's (granian)           the loop hears by its wake-up descriptor, whoever the handler is
    SIG_DFL, default_int_handler   would end the process mid-block: acts `GRACE` seconds later
    SIG_IGN, or not Python's       left alone: nothing is installed

It knows signals and loops; it must not know streams, responses or servers.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

__all__ = ["GRACE", "Once", "heed_one_sigterm", "on_shutdown"]

GRACE = 0.5  # s between the callbacks and a default action that ends the process

_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGTERM", "SIGINT", "SIGBREAK")
    if name in signal.Signals.__members__
)

_Handler = Any  # what signal.getsignal returns: a function, SIG_DFL, SIG_IGN or None


class _Registration(NamedTuple):
    loop: asyncio.AbstractEventLoop
    callback: Callable[[], object]
    context: contextvars.Context  # the registrar's: a signal interrupts anybody's


class _Hook:
    """The handler installed for one signal, and the one that it stands before."""

    __slots__ = ("chain", "previous")

    def __init__(self, chain: _Chain, previous: _Handler) -> None:
        self.chain = chain
        self.previous = previous

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        loop = self.chain.fire()
        if self.previous not in (signal.SIG_DFL, signal.default_int_handler):
            self.previous(signum, frame)
        elif loop is None:
            _act(signum, self.previous)
        else:
            loop.call_soon_threadsafe(loop.call_later, GRACE, _act, signum, self.previous)


class _Chain:
    """Who waits for the signal, and where we are installed.

    Main thread only. A signal can interrupt between any two steps, so each leaves it consistent.
    """

    def __init__(self) -> None:
        self.waiting: dict[object, _Registration] = {}
        self.hooks: dict[int, _Hook] = {}  # empty, or installed: perhaps with somebody on top
        # The loop that a signal has ended, and the handlers then put back. Who registers there
        # afterwards is too late for the signal, and is told at once; unless the handlers have
        # changed since, for then another server lives on the same loop.
        self.ended: tuple[asyncio.AbstractEventLoop, list[_Handler]] | None = None

    def register(self, registration: _Registration) -> Callable[[], None]:
        if self._is_ended(registration.loop):
            return registration.loop.call_soon(
                registration.callback, context=registration.context
            ).cancel
        key = object()
        self.waiting[key] = registration
        self._install()
        return partial(self._withdraw, key)

    def fire(self) -> asyncio.AbstractEventLoop | None:
        """Schedule every callback once. The loop of one that will run, or None if none will."""
        registrations = list(self.waiting.values())
        self.waiting.clear()
        self._restore()
        told = None
        for loop, callback, context in registrations:
            if not loop.is_closed():
                loop.call_soon_threadsafe(callback, context=context)
                told = loop
        if told is not None:
            self.ended = told, _handlers()
        return told

    def forget(self) -> None:
        """In a forked child: its signals are its own, and the loops are the parent's."""
        self.waiting.clear()
        self._restore()

    def _is_ended(self, loop: asyncio.AbstractEventLoop) -> bool:
        if self.ended is not None and self.ended != (loop, _handlers()):
            self.ended = None
        return self.ended is not None

    def _withdraw(self, key: object) -> None:
        if self.waiting.pop(key, None) and not self.waiting and _in_main_thread():
            self._restore()

    def _install(self) -> None:
        for signum in _SIGNALS:
            current = _handler(signum)
            if current not in (self.hooks.get(signum), signal.SIG_IGN, None):
                self.hooks[signum] = hook = _Hook(self, current)
                _set(signum, hook)

    def _restore(self) -> None:
        """Put back what stood before; where somebody has been put on top, we stay, transparent."""
        for signum, hook in self.hooks.items():
            if _handler(signum) is hook:
                _set(signum, hook.previous)
        self.hooks = {}


_chain = _Chain()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_chain.forget)


def on_shutdown(callback: Callable[[], object]) -> Callable[[], None]:
    """Have `callback` called on the running loop at the first SIGTERM or SIGINT from now on.

    It is called once, in the context of this call; an exception in it goes to the loop's exception
    handler. On a loop that such a signal has already ended it is called at once. Several callbacks
    share one handler. On Windows SIGBREAK counts too.

    Returns:
        What takes it back; after the last of them the handlers are again what they were before.
        Outside the main thread, where no handler can be installed, it undoes nothing.

    Raises:
        RuntimeError: no loop is running.
    """
    loop = asyncio.get_running_loop()
    if not _in_main_thread():
        return _nothing
    return _chain.register(_Registration(loop, callback, contextvars.copy_context()))


class Once:
    """Lets one call through, of all the functions that it wraps."""

    def __init__(self) -> None:
        self._done = False

    def wrap(self, function: Callable[..., object]) -> Callable[..., None]:
        """`function`, which does nothing once this or another one has been called."""

        def call(*arguments: object) -> None:
            if not self._done:
                self._done = True
                function(*arguments)

        return call


def heed_one_sigterm(loop: asyncio.AbstractEventLoop) -> None:
    """In a worker process: let it stop by its main process's SIGTERM alone, and by the first one.

    Of the handlers that are added to `loop` from now on, one is called once; SIGINT and SIGHUP are ignored. For
    granian (2.8), whose handler deadlocks when a second signal calls it while the first call runs, and which
    takes a worker that ends before its main process says so for a crash. Second signals are no accident: Ctrl-C
    and a hangup go to every process of a terminal, and systemd signals all of a service, so a worker hears that and
    then its main process. Does nothing where loops have no signal handlers (Windows).
    """
    add: Callable[..., None] = loop.add_signal_handler
    once = Once()

    def add_signal_handler(signum: int, callback: Callable[..., object], *arguments: Any) -> None:
        if signum == signal.SIGINT:
            signal.signal(signum, signal.SIG_IGN)
        else:
            add(signum, once.wrap(callback), *arguments)

    if os.name == "posix":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        loop.add_signal_handler = add_signal_handler  # type: ignore[assignment, method-assign]


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _handler(signum: int) -> _Handler:
    return signal.getsignal(signum)


def _handlers() -> list[_Handler]:
    return [signal.getsignal(signum) for signum in _SIGNALS]


def _set(signum: int, handler: _Handler) -> None:
    signal.signal(signum, handler)
    if hasattr(signal, "siginterrupt") and callable(handler):
        signal.siginterrupt(signum, False)  # as asyncio does: other threads' system calls go on


def _act(signum: int, default: _Handler) -> None:
    """Let the default action end the process, as if we had never been here."""
    _set(signum, default)
    signal.raise_signal(signum)


def _nothing() -> None:
    """The undo of what was never done."""
