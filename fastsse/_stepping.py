"""Awaitables begun without a task of their own, and the server's `send` behind a framework's wrappers.

A server's `send` that has room finishes within its first step: granian's while fewer than four chunks wait, uvicorn's
while the transport is not paused. So whoever has a message steps the `send` once and goes on, and only a `send` that
waits is carried on by a task. A task for each message would cost more than all the rest that a message takes.

Only a server's own `send` may be treated so. A middleware's may hold a cancel scope, a timeout or a context variable,
and those belong to the task that has begun it. `own_send` tells the two apart.

The module knows awaitables and ASGI's `send`; it must not know streams, items or timers.
"""

from __future__ import annotations

import types
from collections.abc import Generator, Iterator
from functools import lru_cache
from typing import Any, cast

from fastsse.asgi import Message, Send

__all__ = ["DONE", "finish", "iterator_of", "own_send"]

# The value of ``next(iterator_of(send(message)), DONE)`` when the send has finished.
DONE: Any = object()

_SERVERS = ("granian", "uvicorn", "fastsse")  # their own send may be stepped outside a task
_WRAPPERS = 16  # of a framework, at most


def iterator_of(awaitable: Any) -> Iterator[Any]:
    """Return what an awaitable is stepped by, by ``next``.

    Raises:
        TypeError: the object is no awaitable; the message is that of an ``await``.
    """
    try:
        begin = awaitable.__await__
    except AttributeError:
        kind = type(awaitable).__name__
        raise TypeError(f"object {kind} can't be used in 'await' expression") from None
    return cast("Iterator[Any]", begin())


@types.coroutine
def finish(steps: Any, waits_for: Any) -> Generator[Any, Any, Any]:
    """Finish an awaitable that was begun by hand, in the running task.

    Args:
        steps: the iterator that the awaitable's `__await__` has given.
        waits_for: what its first step has given.
    """
    while True:
        try:
            yield waits_for
        except GeneratorExit:
            if hasattr(steps, "close"):
                steps.close()
            raise
        except BaseException as error:
            if not hasattr(steps, "throw"):  # a server's own kind of awaitable
                raise
            try:
                waits_for = steps.throw(error)
            except StopIteration as stop:
                return stop.value
        else:
            return (yield from cast("Generator[Any, Any, Any]", steps))


def own_send(send: Send) -> Send | None:
    """Find the server's own `send` behind wrappers that pass on every body as it is. None where there is another one.

    The start of a response must go through the wrappers nevertheless, because they take note of it.
    """
    found: Any = send
    for _ in range(_WRAPPERS):
        owner = getattr(found, "__self__", None)
        if owner is not None:
            own: Send = found
            return own if _is_servers(owner.__class__.__module__) else None
        if not isinstance(found, types.FunctionType) or not _only_notes_the_start(found.__code__):
            return None
        found = cast("Any", found).__closure__[1].cell_contents
    return None


def _is_servers(module: str) -> bool:
    return module.partition(".")[0] in _SERVERS


@lru_cache(maxsize=64)
def _only_notes_the_start(code: types.CodeType) -> bool:
    """Return True for a function whose bytecode is that of `_note_start`: names differ at most."""
    return _bytecode(code) == _NOTES


def _bytecode(code: types.CodeType) -> tuple[object, ...]:
    return code.co_code, code.co_consts, code.co_names, len(code.co_freevars)


def _note_start(send: Send) -> types.CodeType:
    """Write what frameworks put around `send` to know whether a response has started; Starlette does so thrice."""
    begun = False

    async def noting(message: Message) -> None:
        nonlocal begun
        if message["type"] == "http.response.start":
            begun = True
        await send(message)

    return noting.__code__


_NOTES = _bytecode(_note_start(cast("Any", None)))
