"""The messages of one response on their way to its `send`: one at a time, and mostly without a task.

A server's own `send` is stepped where there is something to send (`fastsse._stepping`). One that waits is carried on by
a task, which also sends what has become ready meanwhile. So no task is made or woken for a message that the server has
room for, and `send` is never called while its last call is pending.

A middleware's `send` may need one task from its beginning to its end: for a cancel scope, a timeout or a context
variable. There one task makes all sends, and waits between them for as long as the response lives.

The module knows messages, sends and tasks; it must not know items, timers or the reasons why a stream ends.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastsse._flow import Outlet
from fastsse._stepping import DONE, finish, iterator_of, own_send
from fastsse.asgi import Message, Send

__all__ = ["Sending"]


class Sending(Outlet):
    """The base of what sends messages: a subclass says which (`_next`), and is told what became of them.

    Args:
        send: the server's, or a middleware's.
    """

    __slots__ = ("_loop", "_send", "_sender", "_started", "_wanted")

    def __init__(self, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        super().__init__(own_send(send), self._loop.time)
        self._send = send
        self._started = False  # the start of the response has left
        self._sender: asyncio.Task[None] | None = None
        self._wanted: asyncio.Future[None] | None = None  # the sender waits for something to send

    def _next(self) -> Message | None:
        """Make the message that can be sent now; None without one."""
        raise NotImplementedError

    def _sent(self) -> None:
        """Note that the last message of `_next` has left."""
        raise NotImplementedError

    def _send_failed(self, error: BaseException) -> None:
        """Note that the last message of `_next` could not be made or sent, and that all is over."""
        raise NotImplementedError

    def _flush_all(self) -> None:
        """Send what is ready when that may be more than blocks. No send is pending."""
        self._pending = True
        if self._own is None:
            self._wake_sender()
            return
        try:
            while (message := self._next()) is not None:
                self._sent_at = self._now()
                steps = iterator_of((self._own if self._started else self._send)(message))
                waits_for = next(steps, DONE)
                if waits_for is not DONE:
                    self._carry_on(steps, waits_for)
                    return
                self._started = True
                self._sent()
        except (Exception, asyncio.CancelledError) as error:
            self._send_failed(error)
        self._pending = False

    def _carry_on(self, steps: Any, waits_for: Any) -> None:
        """Let a task finish a send that waits."""
        self._sender = self._loop.create_task(self._carry(steps, waits_for))

    async def _carry(self, steps: Any, waits_for: Any) -> None:
        """Finish a send that waits, then send what has become ready meanwhile."""
        try:
            await finish(steps, waits_for)
            self._note_sent()
            await self._send_ready()
        except (Exception, asyncio.CancelledError) as error:
            self._send_failed(error)
        finally:
            self._pending = False
            self._sender = None

    def _wake_sender(self) -> None:
        """Let a task send: begun and finished in one task, a middleware's `send` is right whatever it holds."""
        self._sent_at = self._now()
        if self._sender is None:
            self._sender = self._loop.create_task(self._keep_sending())
        elif self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def _keep_sending(self) -> None:
        try:
            while True:
                await self._send_ready()
                self._pending = False
                if self._over:  # perhaps `send` has swallowed our cancellation
                    return
                self._wanted = self._loop.create_future()
                await self._wanted
        except (Exception, asyncio.CancelledError) as error:
            self._send_failed(error)
        finally:
            self._pending = False

    async def _send_ready(self) -> None:
        while (message := self._next()) is not None:
            self._sent_at = self._now()
            await (self._own if self._own and self._started else self._send)(message)
            self._note_sent()

    def _note_sent(self) -> None:
        self._started = True
        self._sent_at = self._now()
        self._sent()
