"""SIGTERM and SIGINT, heard before the server's own handlers, so that open streams can end first.

Servers wait for open responses without limit, and tell the application nothing until the last one is over. So code
that holds streams open must hear the signal itself. A handler of ours is put before the one that is installed. At the
first signal our handler schedules the callbacks on their loops, puts the earlier handler back, and passes the signal on
to it. A second signal therefore never reaches us.

    handler before                 what becomes of the first signal
    a function                     called at once, after the callbacks are scheduled
    a loop's own                   the loop hears by its wake-up descriptor, whatever the handler is
    SIG_DFL, default_int_handler   would end the process in the middle of a block: acts `GRACE` seconds later, by
                                   a timer of the loop, or by a thread where all streams are on loops of other threads
    SIG_IGN, or not Python's       left alone: nothing is installed

`hear_signals` keeps the handlers installed for streams that live on loops of other threads.
`end_streams` calls the same callbacks without a signal: for servers that stop for another reason, for loops in other
threads (where no handler can be installed), and for tests.

The module knows signals and loops; it must not know streams, responses or any server.
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

__all__ = ["GRACE", "end_streams", "hear_signals", "on_shutdown"]

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
    # Of the call that registered: a handler runs in the context it interrupts.
    context: contextvars.Context


class _Hook:
    """Our handler of one signal, with the handler that it was put before."""

    __slots__ = ("chain", "previous")

    def __init__(self, chain: _Chain, previous: _Handler) -> None:
        self.chain = chain
        self.previous = previous

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        elsewhere = not self.chain.waiting
        loop = self.chain.fire()
        if self.previous not in (signal.SIG_DFL, signal.default_int_handler):
            self.previous(signum, frame)
        elif loop is None:
            _act(signum, self.previous)
        elif elsewhere:
            _act_later(signum, self.previous)
        else:
            loop.call_soon_threadsafe(loop.call_later, GRACE, _act, signum, self.previous)


class _Chain:
    """The callbacks that wait for a signal, and the handlers that are installed for them.

    Handlers belong to the main thread. Registrations come and go in every thread, and a signal can interrupt between
    any two steps. So each step is one atomic operation of a dict, and leaves everything consistent. A lock would not
    help: the handler would wait for the very step that it has interrupted.
    """

    def __init__(self) -> None:
        self.waiting: dict[
            object, _Registration
        ] = {}  # made in the main thread: they keep our handlers
        self.elsewhere: dict[object, _Registration] = {}  # made in other threads
        self.hooks: dict[
            int, _Hook
        ] = {}  # installed, perhaps with a later handler before them; or empty
        # The loops that a signal has ended, and the handlers that were put back then. A callback that is registered
        # on such a loop afterwards is too late for the signal, so it is called at once. If the handlers have changed
        # since, another server lives on that loop, and the callback waits for a signal as usual.
        self.ended: set[asyncio.AbstractEventLoop] = set()
        self.kept = False  # handlers stay installed although no callback of the main thread waits
        self.handlers_then: list[_Handler] = []

    def register(self, registration: _Registration) -> Callable[[], None]:
        """Add a registration; return what withdraws it."""
        if self._is_ended(registration.loop):
            return registration.loop.call_soon(
                registration.callback, context=registration.context
            ).cancel
        self._forget_closed_loops()
        key = object()
        if _in_main_thread():
            self.waiting[key] = registration
            self._install()
        else:
            self.elsewhere[key] = registration
        return partial(self._withdraw, key)

    def keep_hearing(self) -> None:
        """Install handlers that stay, for callbacks of other threads, until the first signal."""
        if not self.ended:
            self.kept = True
            self._install(spared=signal.default_int_handler)

    def take(self, loop: asyncio.AbstractEventLoop) -> list[_Registration]:
        """Withdraw the registrations of one loop, and return them in their order."""
        taken = [*_pop(self.waiting, loop), *_pop(self.elsewhere, loop)]
        self._restore_if_idle()
        return taken

    def fire(self) -> asyncio.AbstractEventLoop | None:
        """Schedule every callback once; return the loop of one that will run, or None if none will.

        Other threads' loops come first, so that the loop returned is the main thread's where it has one.
        """
        registrations = [*_pop(self.elsewhere), *_pop(self.waiting)]
        self.kept = False
        self._restore()
        told = None
        self.handlers_then = _handlers()
        for loop, callback, context in registrations:
            if _schedule(loop, callback, context):
                self.ended.add(loop)
                told = loop
        return told

    def forget(self) -> None:
        """Drop everything in a forked child: its signals are its own, and the loops are the parent's."""
        self.waiting.clear()
        self.elsewhere.clear()
        self._restore()

    def _is_ended(self, loop: asyncio.AbstractEventLoop) -> bool:
        if self.ended and self.handlers_then != _handlers():
            self.ended.clear()
        return loop in self.ended

    def _withdraw(self, key: object) -> None:
        if self.waiting.pop(key, None):
            self._restore_if_idle()
        else:
            self.elsewhere.pop(key, None)

    def _forget_closed_loops(self) -> None:
        self.ended = {loop for loop in self.ended.copy() if not loop.is_closed()}
        for waiting in (self.waiting, self.elsewhere):
            for key, registration in waiting.copy().items():
                if registration.loop.is_closed():
                    waiting.pop(key, None)

    def _restore_if_idle(self) -> None:
        if not self.waiting and not self.kept and _in_main_thread():
            self._restore()

    def _install(self, spared: _Handler = None) -> None:
        for signum in _SIGNALS:
            current = _handler(signum)
            if current not in (self.hooks.get(signum), signal.SIG_IGN, spared, None):
                self.hooks[signum] = hook = _Hook(self, current)
                _set(signum, hook)

    def _restore(self) -> None:
        """Put back the handlers of before. Where a later handler stands before ours, ours stays and only passes on."""
        for signum, hook in self.hooks.items():
            if _handler(signum) is hook:
                _set(signum, hook.previous)
        self.hooks = {}


def _pop(
    waiting: dict[object, _Registration], loop: asyncio.AbstractEventLoop | None = None
) -> list[_Registration]:
    """Take the registrations of one loop, or of all, out of `waiting`, to which other threads may be adding."""
    return [
        registration
        for key, registration in waiting.copy().items()
        if (loop is None or registration.loop is loop) and waiting.pop(key, None) is not None
    ]


_chain = _Chain()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_chain.forget)


def on_shutdown(callback: Callable[[], object]) -> Callable[[], None]:
    """Have `callback` called on the running loop at the first SIGTERM or SIGINT from now on.

    The callback is called once, in the context of this call; its exception goes to the loop's exception handler. On a
    loop that such a signal has already ended, the callback is called at once. Several callbacks share one handler. On
    Windows SIGBREAK counts, too. Outside the main thread no handler can be installed: a callback there is called when
    the main thread hears a signal for callbacks of its own, and by `end_streams`.

    Returns:
        A function that withdraws the callback. When the main thread's last callback is withdrawn, the handlers are
        again what they were before.

    Raises:
        RuntimeError: no loop is running.
    """
    loop = asyncio.get_running_loop()
    return _chain.register(_Registration(loop, callback, contextvars.copy_context()))


def hear_signals() -> None:
    """Install the handlers now, and keep them until the first signal, for streams that live in other threads.

    A stream on the loop of another thread cannot install a handler, so the main thread must do so before: when it
    imports a module of `fastsse.adapters` for WSGI, after the server has set its own handlers. Python's own handler of
    Ctrl-C is left alone. Nothing is done in another thread, nor after a signal has come.
    """
    if _in_main_thread():
        _chain.keep_hearing()


def end_streams(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """End the event streams that are open on a loop, as a SIGTERM would, without ending anything else.

    Responses get their last block and their end, and hubs drain. Streams that are opened afterwards are not affected,
    and a signal is heard as before. Call this where a server stops without a signal, for a loop of another thread than
    the main one, where no signal is heard, and in tests. `docs/servers.md` says which server needs the call, and where.

    Args:
        loop: the loop whose streams end; the running one if None. Any thread may name any loop.

    Raises:
        RuntimeError: no loop is given, and none is running.
    """
    running = _running_loop()
    if loop is None:
        loop = asyncio.get_running_loop()
    if loop is running:
        _end_streams(loop)
    else:
        _schedule(loop, partial(_end_streams, loop), contextvars.Context())


def _end_streams(loop: asyncio.AbstractEventLoop) -> None:
    """Call every callback of the running loop once, in its own context."""
    for _, callback, context in _chain.take(loop):
        try:
            context.run(callback)
        except Exception as error:
            message = "a callback of on_shutdown failed"
            loop.call_exception_handler({"message": message, "exception": error})


def _schedule(
    loop: asyncio.AbstractEventLoop, callback: Callable[[], object], context: contextvars.Context
) -> bool:
    """Have `callback` called on `loop`, from any thread; return False where the loop is closed."""
    try:
        loop.call_soon_threadsafe(callback, context=context)
    except RuntimeError:
        return False
    return True


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _handler(signum: int) -> _Handler:
    return signal.getsignal(signum)


def _handlers() -> list[_Handler]:
    return [signal.getsignal(signum) for signum in _SIGNALS]


def _set(signum: int, handler: _Handler) -> None:
    signal.signal(signum, handler)
    if hasattr(signal, "siginterrupt") and callable(handler):
        # As asyncio does, so that system calls of other threads go on.
        signal.siginterrupt(signum, False)


def _act_later(signum: int, default: _Handler) -> None:
    """Let the default action end the process after `GRACE` seconds, while the main thread may be anywhere."""
    _set(signum, default)
    timer = threading.Timer(GRACE, os.kill, (os.getpid(), signum))
    timer.daemon = True
    timer.start()


def _act(signum: int, default: _Handler) -> None:
    """Let the default action end the process, as if our handler had never been there."""
    _set(signum, default)
    signal.raise_signal(signum)
