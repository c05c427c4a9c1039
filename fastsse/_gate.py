"""Waits that can be called back, and waits that nobody else's cancellation can cut short.

The task of a connection waits in the server's `receive`, because some servers tell only there that the client has
gone. A stream that is to end must get this task back, and the only way out of somebody else's `receive` is a
cancellation. So there is one rule for it, in `Gate.listen`: the cancellation that the gate itself has asked for ends
here, and every other one goes on, also when both come in the same turn of the loop.

The module knows tasks, futures and ASGI's `receive`; it must not know streams, positions or topics.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastsse.asgi import Receive

__all__ = ["PATIENCE", "Bell", "Gate", "cancellable_task", "keep", "outlast"]

# Cancellations that `outlast` lives through. asyncio cancels once or twice; a cancel scope of anyio does so at every
# turn of the loop, and waiting on would keep the loop turning for nothing.
PATIENCE = 100


class Gate:
    """Where one task waits, and where another can call it back.

    The task waits in one of three ways: in `listen` for the client to leave, in `rest` for something to do, or for
    `waiter`, which the pump sets to a future of its own. `close` ends each of them.

    Attributes:
        shut: the gate is closed, for good: nobody goes on waiting here.
        waiter: the future on which a half-done send or receive waits, set by the pump.
    """

    __slots__ = ("_idle", "_task", "shut", "waiter")

    def __init__(self) -> None:
        self.shut = False
        self.waiter: asyncio.Future[None] | None = None
        self._idle: asyncio.Future[None] | None = None  # of `rest`
        self._task: asyncio.Task[Any] | None = None  # has entered, and was not called back

    async def listen(self, receive: Receive) -> bool:
        """Wait in `receive` until the client has gone, or the gate is closed.

        Nothing is kept beside what the server keeps for its `receive`: no future, no second task, unless the running
        task cannot be cancelled.

        Returns:
            True when the client has gone.

        Raises:
            asyncio.CancelledError: somebody else has cancelled the task.
            Exception: `receive` has raised it.
        """
        task = cancellable_task()
        if task is None:
            return await self._listen_aside(receive)
        before = self._enter(task)
        gone = False
        try:
            while not (gone or self.shut):
                gone = (await receive())["type"] == "http.disconnect"
        except BaseException as error:
            if not self._leave(task, before, error):
                raise
        else:
            self._leave(task, before, None)
        return gone

    async def _listen_aside(self, receive: Receive) -> bool:
        """Let a task that can be cancelled listen in place of the running one."""
        listener = asyncio.get_running_loop().create_task(self.listen(receive))
        await asyncio.wait([listener])
        return listener.result()

    def _enter(self, task: asyncio.Task[Any]) -> int:
        """Let `close` cancel `task` until it leaves. Returns its cancellations until now, for `_leave`."""
        self._task = task
        return task.cancelling()

    def _leave(self, task: asyncio.Task[Any], before: int, error: BaseException | None) -> bool:
        """Take back our own cancellation of `task`, however its wait has ended.

        Args:
            before: what `_enter` has returned. A task may have swallowed cancellations before that; they are not new.
            error: what ended the wait, if anything did.

        Returns:
            True when only our own cancellation ended the wait; the caller then swallows `error`.
        """
        if self._task is not None:
            self._task = None
            return False
        others = task.uncancel() > before
        return isinstance(error, asyncio.CancelledError) and not others

    async def rest(self) -> None:
        """Wait until `wake` or `close` is called. A call that came before is not remembered: look first."""
        if not self.shut:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def wake(self) -> None:
        """Let the task in `rest` look again: there is something to do."""
        _set(self._idle)

    def close(self) -> None:
        """End the wait at once, and every later one."""
        self.shut = True
        _set(self.waiter)
        _set(self._idle)
        if self._task is not None:
            # Not now: the task itself may be running, and a cancellation would hit one of its later waits.
            self._task.get_loop().call_soon(self._call_back)

    def _call_back(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None


class Bell(Gate):
    """A gate at which any number of tasks may rest."""

    __slots__ = ("_resting",)

    def __init__(self) -> None:
        super().__init__()
        self._resting: set[asyncio.Future[None]] = set()

    async def rest(self) -> None:
        """Wait until `wake` or `close` is called."""
        future = asyncio.get_running_loop().create_future()
        self._resting.add(future)
        try:
            await future
        finally:
            self._resting.discard(future)

    def wake(self) -> None:
        """Let every task in `rest` look again."""
        for future in tuple(self._resting):
            if not future.get_loop().is_closed():
                _set(future)

    def close(self) -> None:
        """End the waits of all tasks at once."""
        self.shut = True
        self.wake()


def cancellable_task() -> asyncio.Task[Any] | None:
    """Return the running task, or None when it cannot be cancelled.

    Under granian's ``--task-impl rust`` the running task is an empty shell of one, which belongs to no loop.
    """
    task = asyncio.current_task()
    if task is not None:
        try:
            task.get_loop()
        except RuntimeError:
            return None
    return task


_kept: set[asyncio.Future[Any]] = set()


def keep(task: asyncio.Future[Any]) -> None:
    """Hold a task until it is done: the loop's own references are weak."""
    _kept.add(task)
    task.add_done_callback(_kept.discard)


async def outlast(task: asyncio.Future[Any]) -> None:
    """Wait until `task` is done, however often this wait is cancelled.

    A cancellation that comes meanwhile is raised in the end. After `PATIENCE` of them it is raised at once, and the
    task goes on without being waited for. The task's own exception is not raised.
    """
    keep(task)
    cancelled: asyncio.CancelledError | None = None
    for _ in range(PATIENCE):
        try:
            await asyncio.wait([task])
            break
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _set(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
