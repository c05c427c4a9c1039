"""Signals to the main process of `serve`, whose worker holds the streams.

    SIGTERM, SIGINT   the server stops, once: a second signal changes nothing
    SIGHUP            the worker is ended, and then a new one is started; a terminal that is closed stops the server
    under nohup       SIGHUP stays ignored

The worker is a process, which ends its streams itself when it is told to stop (`broadcast/process.py`); or, on
free-threaded Python, a thread of this process, which hears no signal at all and is told from here. The module knows
signals, and the parts of granian's server (2.8) that `Server` lists; it must not know how the server is made.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any, Protocol

from fastsse.broadcast.process import Once
from fastsse.broadcast.worker import Worker

__all__ = ["MainProcess", "Server", "WorkerProcess", "thread_workers"]

_Handler = Callable[[int, FrameType | None], object]

_WAKE_UPS = 4096  # bytes read at once; each is one signal

thread_workers: list[Worker] = []
"""The workers that are threads of this process."""


class WorkerProcess(Protocol):
    """A worker as granian keeps it."""

    def terminate(self) -> Any: ...

    def kill(self) -> Any: ...

    def join(self, timeout: float | None = None) -> Any: ...

    def is_alive(self) -> bool: ...


class Server(Protocol):
    """The parts of granian's server that are used here.

    Attributes:
        main_loop_interrupt: the event that its main thread waits for.
        interrupt_signal: True once it was told to stop.
        wrks: its workers.
        workers_kill_timeout: seconds that a worker has to end before it is killed.
    """

    main_loop_interrupt: threading.Event
    interrupt_signal: bool

    @property
    def wrks(self) -> Sequence[WorkerProcess]: ...

    @property
    def workers_kill_timeout(self) -> float | None: ...


class MainProcess:
    """The main process of `serve`. Make it before granian sets handlers: it remembers those of before.

    Args:
        server: granian's server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._hangup = signal.getsignal(signal.SIGHUP) if hasattr(signal, "SIGHUP") else None
        self._had_terminal = _has_terminal()

    def take_signals(self) -> None:
        """Put our handlers before granian's, which must be in place by now, and let one signal through to them.

        `heed_one_sigterm` says why a second signal must not reach granian.
        """
        _shield_forks()
        server = self._server
        if os.name == "posix":
            server.main_loop_interrupt = _Interrupt(server.main_loop_interrupt)
        once = Once()
        stop = once.wrap(partial(_stop, _handler(signal.SIGTERM)))
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, once.wrap(partial(_stop, _handler(signal.SIGINT))))
        if self._hangup is signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        elif self._hangup is not None and self._had_terminal:
            restart = _handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, partial(_hang_up, stop, restart))

    def end_workers(self) -> None:
        """End the old worker at a SIGHUP, before granian makes the new one.

        granian itself would end the old one after that. For a while there would be two hubs on one port, each with a
        part of the readers and a part of what is published.
        """
        server = self._server
        _end_threads(server.workers_kill_timeout)
        for worker in server.wrks:
            worker.terminate()
            worker.join(server.workers_kill_timeout)
            if worker.is_alive():
                worker.kill()
                worker.join()
        if server.interrupt_signal:
            # SIGTERM or SIGINT came meanwhile. granian looks for that only when it is woken again.
            server.main_loop_interrupt.set()


class _Interrupt(threading.Event):
    """An event whose waiter is woken by every signal, whichever thread the system gave the signal to.

    Python runs handlers in the main thread alone, and a main thread that waits for a plain event is woken only by
    signals of its own. Of two signals that come together Linux may give the second to another thread, such as
    granian's thread that waits for the worker. Then neither handler ran, and the server did not end.

    Args:
        before: the event that this one replaces.
    """

    def __init__(self, before: threading.Event) -> None:
        super().__init__()
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        if before.is_set():
            self.set()

    def set(self) -> None:
        super().set()
        with contextlib.suppress(BlockingIOError):  # a full buffer wakes the waiter, too
            self._waker.send(b"\0")

    def wait(self, timeout: float | None = None) -> bool:
        while not self.is_set():
            if not select.select([self._woken], [], [], timeout)[0]:
                return False
            self._woken.recv(_WAKE_UPS)
        return True


def _shield_forks() -> None:
    """Let a forked worker end if SIGTERM comes before the worker has handlers of its own.

    Otherwise the worker would lose that SIGTERM: either the handlers that it has from the main process take it, or it
    is pending when Python starts in the child, and forgotten. The worker would then be killed after a long wait. So
    SIGTERM is blocked during the fork, and let through once the child has the default action.
    """
    if not hasattr(os, "register_at_fork"):
        return
    unblock = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, (signal.SIGTERM,))

    def forget() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        unblock()

    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, (signal.SIGTERM,)),
        after_in_parent=unblock,
        after_in_child=forget,
    )


def _handler(signum: int) -> _Handler:
    """Return granian's handler of a signal."""
    handler = signal.getsignal(signum)
    assert callable(handler)
    return handler


def _stop(handler: _Handler, signum: int, frame: FrameType | None) -> None:
    """Call granian's handler of a signal: at once where workers are processes, which end their streams themselves, and
    after the streams have ended where workers are threads."""
    stop = partial(handler, signum, frame)
    if not thread_workers:
        stop()
    for worker in thread_workers:
        worker.end_threadsafe(stop)


def _hang_up(stop: _Handler, restart: _Handler, signum: int, frame: FrameType | None) -> None:
    """Stop the server if its terminal was closed; restart the worker if somebody sent the SIGHUP."""
    (restart if _has_terminal() else stop)(signum, frame)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError:
        return False
    return True


def _end_threads(most: float | None) -> None:
    """End the streams of workers that are threads, and wait for their end, `most` seconds for each."""
    ended = [threading.Event() for _ in thread_workers]
    for worker, event in zip(thread_workers, ended, strict=True):
        worker.end_threadsafe(event.set)
    for event in ended:
        event.wait(most)
