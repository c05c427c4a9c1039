"""Steps that a serving process takes once: tune the garbage collector, and stop by one signal alone.

Everything here concerns the whole process, so no import does it. `fastsse serve` does, whose processes are ours alone;
an application with a hub inside decides for itself. The module knows the process, its signals and the habits of
granian; it must not know hubs, streams or the app.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["Once", "heed_one_sigterm", "tune_collector"]


def tune_collector() -> None:
    """Let Python's garbage collector look less often: for a process whose many streams are objects that live long.

    Call it once, when the application is made. By default Python looks through every 700 new objects, and through all
    objects whenever a quarter has been added. That takes a quarter of what 10,000 streams cost that come at once, and a
    third of what streams cost behind middlewares that put every chunk through tasks of their own. Nothing is found
    there, because a hub's streams make no cycles.

    Objects that exist now are never looked at again; young objects are looked at after 50,000 new ones. This
    holds for the whole process, whose other code may well make cycles: measure before you call it elsewhere.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class Once:
    """A gate for one call, shared by all the functions that it wraps."""

    def __init__(self) -> None:
        self._done = False

    def wrap(self, function: Callable[..., object]) -> Callable[..., None]:
        """Return `function`, made to do nothing once it or another wrapped one has been called."""

        def call(*arguments: object) -> None:
            if not self._done:
                self._done = True
                function(*arguments)

        return call


def heed_one_sigterm(
    loop: asyncio.AbstractEventLoop, end: Callable[[Callable[[], object]], object] | None = None
) -> None:
    """Let a worker process of granian stop by its main process's SIGTERM alone, and by the first one.

    Of the handlers that are added to `loop` from now on, one is called, once; SIGINT and SIGHUP are ignored. Nothing
    happens where loops have no signal handlers (Windows).

    granian (2.8) needs this for two reasons. Its handler deadlocks when a second signal calls it while the first call
    runs. And a worker that ends before its main process told it to counts as a crash. Second signals are common: a
    terminal sends Ctrl-C and hangups to each of its processes, and systemd signals all processes of a service, so a
    worker hears that signal and then its main process's.

    Args:
        loop: the worker's; it need not run yet.
        end: called on the loop in place of a handler, with a function that calls the handler, so that the streams can
            end first.
    """
    add: Callable[..., None] = loop.add_signal_handler
    once = Once()

    def add_signal_handler(signum: int, callback: Callable[..., object], *arguments: Any) -> None:
        if signum == signal.SIGINT:
            signal.signal(signum, signal.SIG_IGN)
        else:
            handler = partial(callback, *arguments)
            add(signum, once.wrap(handler if end is None else partial(end, handler)))

    if os.name == "posix":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        loop.add_signal_handler = add_signal_handler  # type: ignore[assignment, method-assign]
