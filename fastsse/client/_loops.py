"""Waits in a task that `close` can end, on asyncio and on trio.

`Guard.run` awaits a function; `Guard.interrupt`, from any task or thread, makes that wait raise `Interrupted`. On
asyncio the guard cancels the task and takes back its own cancellation alone, as `asyncio.timeout` does: a cancellation
by anybody else goes on to the caller. On trio a cancel scope does both.

`asyncio.wait_for` is not used: in Python 3.11 it swallows a cancellation that comes in the moment in which its future
is done.

The module knows tasks; it must not know what is awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol, TypeVar

__all__ = ["AsyncioGuard", "Guard", "Interrupted", "TrioGuard", "guard"]

_T = TypeVar("_T")
_CLOSING = 5.0  # s that closing a connection may take


class Interrupted(Exception):
    """The wait was ended by `Guard.interrupt`."""


class Guard(Protocol):
    """Waits of one task at a time."""

    async def run(
        self, limit: float | None, function: Callable[..., Awaitable[_T]], *given: Any
    ) -> _T:
        """Await a function for `limit` seconds at most; None for no limit.

        Raises:
            Interrupted: `interrupt` was called, now or before.
            TimeoutError: the limit is over.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, as `run` does."""
        ...

    async def finish(self, function: Callable[[], Awaitable[object]]) -> None:
        """Await a function that closes something, although the task is cancelled."""
        ...

    def interrupt(self) -> None:
        """End the wait that is under way, and each later one; from any thread."""
        ...


def guard() -> Guard:
    """Return a guard for the loop that runs the caller.

    Raises:
        RuntimeError: the caller runs in neither asyncio nor trio.
    """
    try:
        if asyncio.current_task() is not None:
            return AsyncioGuard()
    except RuntimeError:
        pass
    try:
        trio: Any = import_module("trio")
        trio.lowlevel.current_task()
    except (ImportError, RuntimeError):
        raise RuntimeError("AsyncEventSource must be used in a task of asyncio or trio") from None
    return TrioGuard(trio)


class AsyncioGuard:
    """Waits of a task of asyncio."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[Any] | None = None  # while it is in `run`
        self._interrupted = False
        self._cancelled = False  # our cancellation is under way

    async def run(
        self, limit: float | None, function: Callable[..., Awaitable[_T]], *given: Any
    ) -> _T:
        """Await a function; see `Guard`."""
        if self._interrupted:
            raise Interrupted
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        self._task = task
        try:
            if limit is None:
                return await function(*given)
            async with asyncio.timeout(limit):
                return await function(*given)
        except BaseException as error:
            ours = self._cancelled
            if self._take_back(task) <= before and ours:
                raise Interrupted from None
            if isinstance(error, Exception) and task.cancelling() > before:
                raise asyncio.CancelledError from error  # a library has hidden it behind an error of its own
            raise
        finally:
            self._task = None
            self._take_back(task)

    async def sleep(self, seconds: float) -> None:
        """Wait; see `Guard`."""
        await self.run(None, asyncio.sleep, seconds)

    async def finish(self, function: Callable[[], Awaitable[object]]) -> None:
        """Await a function that closes something; a cancellation that comes meanwhile is raised in the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await function()

    def interrupt(self) -> None:
        """End the wait that is under way; see `Guard`."""
        self._interrupted = True
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._cancel()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is asyncio.current_task():
            return  # a hook that this task awaits has called: it goes on to its end, and the next wait does not begin
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    def _take_back(self, task: asyncio.Task[Any]) -> int:
        """Take our own cancellation back, and return the number of the others."""
        if self._cancelled:
            self._cancelled = False
            return task.uncancel()
        return task.cancelling()


class TrioGuard:
    """Waits of a task of trio."""

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._scope: Any = None
        self._task: Any = None  # while it is in `run`
        self._interrupted = False

    async def run(
        self, limit: float | None, function: Callable[..., Awaitable[_T]], *given: Any
    ) -> _T:
        """Await a function; see `Guard`."""
        if self._interrupted:
            raise Interrupted
        with self._trio.CancelScope() as scope:
            if limit is not None:
                scope.deadline = self._trio.current_time() + limit
            self._scope, self._task = scope, self._trio.lowlevel.current_task()
            try:
                return await function(*given)
            finally:
                self._scope = self._task = None
        raise Interrupted if self._interrupted else TimeoutError

    async def sleep(self, seconds: float) -> None:
        """Wait; see `Guard`."""
        await self.run(None, self._trio.sleep, seconds)

    async def finish(self, function: Callable[[], Awaitable[object]]) -> None:
        """Await a function that closes something; see `Guard`."""
        with self._trio.move_on_after(_CLOSING, shield=True):
            await function()

    def interrupt(self) -> None:
        """End the wait that is under way; see `Guard`."""
        self._interrupted = True
        try:
            here = self._trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:
            here = False
        if here:
            if self._trio.lowlevel.current_task() is not self._task:
                self._cancel()
        else:
            with suppress(self._trio.RunFinishedError):
                self._token.run_sync_soon(self._cancel)

    def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
