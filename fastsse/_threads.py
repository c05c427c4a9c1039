"""Threads for iterators that block: bounded in number, kept for the next job, and daemons.

The event loop's own executor cannot serve here. A process that ends waits for the executor's threads, so one iterator
that blocks would keep the process alive for ever. And the executor has few threads, which it shares with all other work
of the application.

The module knows threads; it must not know loops, items or blocks.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["IDLE", "MAX_THREADS", "Threads", "threads"]

MAX_THREADS = 128  # a job beyond them waits for its turn
IDLE = 5.0  # s that a thread waits for its next job

Job = Callable[[], None]  # must not raise


class Threads:
    """Bounded threads that run jobs in the order in which they come."""

    __slots__ = ("_changed", "_idle", "_running", "_waiting")

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running = 0  # threads, idle ones included
        self._idle = 0

    def start(self, job: Job) -> None:
        """Run `job` as soon as there is a thread for it.

        Raises:
            RuntimeError: the system gives no thread, and no earlier one is there to do the job later.
        """
        with self._changed:
            self._waiting.append(job)
            if self._idle >= len(self._waiting):
                self._changed.notify()
                return
            if self._running >= MAX_THREADS:
                return
            self._running += 1
        try:
            threading.Thread(target=self._work, name="fastsse", daemon=True).start()
        except RuntimeError:
            with self._changed:
                self._running -= 1
                if not self._running:
                    self._waiting.remove(job)
                    raise

    def withdraw(self, job: Job) -> bool:
        """Take back a job that no thread has begun. Returns False when a thread has it already."""
        with self._changed:
            try:
                self._waiting.remove(job)
            except ValueError:
                return False
            return True

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
            del job  # so that an idle thread keeps nobody's items alive

    def _next(self) -> Job | None:
        with self._changed:
            self._idle += 1
            if not self._waiting:
                self._changed.wait(IDLE)
            self._idle -= 1
            if self._waiting:
                return self._waiting.popleft()
            self._running -= 1
            return None

    def forget(self) -> None:
        """Begin anew in a forked child, which has none of its parent's threads."""
        self.__init__()  # type: ignore[misc]


threads = Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=threads.forget)
