"""The pump: one pass over an audience, calling each subscriber's ASGI `send` and stepping it once.

Waking a task per subscriber would cost as much as the system call that sends. A `send` that has room finishes
within its first step (granian: fewer than four chunks wait; uvicorn: the transport is not paused), so the pass goes
on to the next subscriber at once. One that does not finish is handed back half done, and a task finishes it.

An awaitable may be a coroutine, or an object whose ``__await__`` gives an iterator or the object (granian's). What the
iterator yields is a future-like with `add_done_callback`, or None for one turn of the loop.

The module knows awaitables and positions; it must not know topics, history or policies.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fastsse._stepping import iterator_of

if TYPE_CHECKING:
    from fastsse._gate import Gate
    from fastsse.asgi import Message, Send

__all__ = ["Half", "Member", "begin", "finish", "sweep"]

M = TypeVar("M", bound="Member")


class Member:
    """The part of a subscriber that the pump reads.

    Attributes:
        send: the connection's ASGI `send`.
        position: the position of the last event that was handed to `send`: everything up to here is on its way.
        live: the pump may call `send`, and no earlier call is pending.
        own_task: the connection's own task sends, unless `live`; the pump only hands such a member back.
    """

    __slots__ = ("live", "own_task", "position", "send")

    def __init__(self, send: Send, position: int, own_task: bool) -> None:
        self.send = send
        self.position = position
        self.own_task = own_task
        self.live = False


class Half:
    """An awaitable that was begun.

    Attributes:
        waits_for: the future-like on which it waits; None for a turn of the loop.
        done: True when it has finished.
        value: what it has returned, once done.
    """

    __slots__ = ("_iterator", "done", "value", "waits_for")

    def __init__(self, iterator: Any) -> None:
        self._iterator: Any = iterator
        self.waits_for: Any = None
        self.done = False
        self.value: Any = None
        self.step()

    def step(self) -> None:
        """Go on to the next wait, or to the end."""
        try:
            self.waits_for = next(self._iterator)
        except StopIteration as stop:
            self.done = True
            self.value = stop.value
            self._iterator = None
            self.waits_for = None

    def drop(self) -> None:
        """Give the awaitable up where it stands."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class _Steps:
    """A coroutine as an iterator."""

    __slots__ = ("_coroutine", "close")

    def __init__(self, coroutine: types.CoroutineType[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self.close = coroutine.close

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        return self._coroutine.send(None)


def begin(awaitable: Awaitable[Any]) -> Half:
    """Step an awaitable once; an exception of the awaitable is raised here.

    Raises:
        TypeError: the object is no awaitable.
    """
    if isinstance(awaitable, types.CoroutineType):
        return Half(_Steps(awaitable))  # pyright: ignore[reportUnknownArgumentType]
    return Half(iterator_of(awaitable))


@types.coroutine
def finish(half: Half, gate: Gate) -> Generator[Any, Any, bool]:
    """Wait until `half` is done, or until `gate` is shut: then the awaitable is dropped.

    Returns:
        True when `half` is done.
    """
    loop = asyncio.get_running_loop()
    try:
        while not half.done:
            waits_for = half.waits_for
            if waits_for is None:
                yield None
            else:
                waiter = loop.create_future()
                # The future was yielded as if to the task that awaits it. No task does: we take its place.
                waits_for._asyncio_future_blocking = False
                waits_for.add_done_callback(partial(_wake, waiter))
                gate.waiter = waiter
                if gate.shut:
                    return False
                yield from waiter
                gate.waiter = None
            if gate.shut:
                return False
            half.step()
        return True
    finally:
        if not half.done:
            half.drop()


def _wake(waiter: asyncio.Future[None], _: object) -> None:
    if not waiter.done():
        waiter.set_result(None)


def sweep(
    members: list[M], start: int, stop: int, message: Message, first: int, last: int
) -> tuple[int, list[tuple[M, Half | Exception | None]]]:
    """Send one message to the members from `start` to `stop`, whose positions lie before `first`.

    Args:
        members: subscribers of one audience.
        message: the ASGI message, shared by all.
        first: position of the first event in the message; 0 for a heartbeat, which moves nobody.
        last: position of the last event in the message; each member then stands there.

    Returns:
        How many sends finished, and the members that need more. With each comes its half-done send, or what its
        `send` has raised, or None for a member that has a part of the message already or has its own task.
    """
    finished = 0
    rest: list[tuple[M, Half | Exception | None]] = []
    for index in range(start, stop):
        member = members[index]
        if not member.live:
            if member.own_task:
                rest.append((member, None))
            continue
        if first:
            if member.position >= first:
                if member.position < last:
                    rest.append((member, None))
                continue
            member.position = last
        try:
            half = begin(member.send(message))
        except Exception as error:
            rest.append((member, error))
            continue
        if half.done:
            finished += 1
        else:
            rest.append((member, half))
    return finished, rest
