"""One `receive` for two readers: the items that read their request's body, and the stream that waits for its client.

ASGI has one `receive` for each request, and gives each message once. A stream must call `receive` all the time, because
some servers tell only there that the client has gone. Items that read the body of their own request call `receive` too,
through the request object that the framework has made. Each of the two would take messages from the other, and the body
would arrive in part, or never.

So the request object is looked for among the objects that the items hold, and its `receive` is replaced by one that
shares: every message that the stream's own call brings is kept for the request, and both are told of the disconnect.
Where the items hold the server's `receive` itself, nothing can stand between them; then a body that was not read before
is an error.

The module knows ASGI and how generators are made; it must not know streams, responses or frameworks.
"""

from __future__ import annotations

import asyncio
import functools
import types
from collections import deque
from collections.abc import Iterable
from typing import Any

from fastsse.asgi import Message, Receive

__all__ = ["KEPT", "SharedReceive", "share_receive"]

KEPT = 2**20  # bytes of a body that are kept for items that may read it

_OBJECTS = 64  # objects that the search looks at, at most
_PLAIN = frozenset(  # types of objects that hold no request, or are not looked into
    {type(None), bool, bytes, dict, float, int, list, set, str, tuple, type}
    | {types.BuiltinFunctionType, types.FunctionType, types.MethodType, types.ModuleType}
)
_FRAMES: dict[type, str] = {
    types.AsyncGeneratorType: "ag_frame",
    types.CoroutineType: "cr_frame",
    types.GeneratorType: "gi_frame",
}
_CAUSE = (
    "the request's body had not been read when its event stream began, and its items call receive themselves: read the"
    " body first"
)
_LOST = (
    f"the request's body is lost: more than {KEPT} bytes of it came after the event stream had begun and before the"
    " items read it; read the body first, or sooner"
)


class SharedReceive:
    """A server's `receive`, called by one task of the stream, for the stream and for a request.

    Unread messages are kept, up to `KEPT` bytes. When more comes, and the request has read something already, the
    client has to wait. When the request has read nothing yet, the messages are dropped: a body that nobody reads must
    not hide that the client has gone.
    """

    __slots__ = (
        "_asked",
        "_bare",
        "_changed",
        "_closed",
        "_gone",
        "_kept",
        "_lost",
        "_receive",
        "_size",
    )

    def __init__(self, receive: Receive, *, bare: bool) -> None:
        self._receive = receive
        self._bare = bare  # the items hold the server's own `receive`
        self._kept: deque[Message] = deque()
        self._size = 0  # bytes of bodies in _kept
        self._asked = False  # the request has called `receive`
        self._lost = False  # a part of the body was dropped
        self._gone: Message | None = None  # http.disconnect, once it has come
        self._closed = False  # the stream is over, and calls the server's `receive` no more
        self._changed = asyncio.Event()

    async def listen(self) -> Message:
        """Receive a message for the stream.

        Raises:
            RuntimeError: the items call the server's `receive` themselves, and the body had not been read.
        """
        while self._asked and self._size >= KEPT:
            await self._change()
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = message
        elif self._bare and (message.get("body") or message.get("more_body")):
            raise RuntimeError(_CAUSE)
        else:
            self._keep(message)
        self._changed.set()
        return message

    async def receive(self) -> Message:
        """Receive a message for the request.

        Raises:
            RuntimeError: a part of the body was dropped before the request asked for it.
        """
        self._asked = True
        while True:
            if self._lost:
                raise RuntimeError(_LOST)
            if self._kept:
                message = self._kept.popleft()
                self._size -= len(message.get("body", b""))
                self._changed.set()
                return message
            if self._gone is not None:
                return self._gone
            if self._closed:
                return await self._receive()
            await self._change()

    def close(self) -> None:
        """Leave the server's `receive` to the request, because the stream is over."""
        self._closed = True
        self._changed.set()

    def _keep(self, message: Message) -> None:
        if self._lost:
            return
        self._kept.append(message)
        self._size += len(message.get("body", b""))
        if self._size > KEPT and not self._asked:
            self._lost = True
            self._kept.clear()
            self._size = 0

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def share_receive(items: object, receive: Receive) -> SharedReceive | None:
    """Share `receive` with the requests that the items hold. None where they hold neither a request nor `receive`."""
    requests, bare = _find(items, receive)
    if not requests and not bare:
        return None
    shared = SharedReceive(receive, bare=bare and not requests)
    for request in requests:
        request["_receive"] = shared.receive
    return shared


def _find(items: object, receive: Receive) -> tuple[list[dict[str, Any]], bool]:
    """Find the requests that the items hold, near ones first.

    Returns:
        The attributes of each request, and True when the items hold `receive` itself.
    """
    requests: list[dict[str, Any]] = []
    bare = False
    waiting: deque[object] = deque([items])
    seen: set[int] = set()
    while waiting and len(seen) < _OBJECTS:
        thing = waiting.popleft()
        if thing is receive:
            bare = True
        elif type(thing) not in _PLAIN and id(thing) not in seen:
            seen.add(id(thing))
            attributes = _attributes(thing)
            if attributes.get("_receive") is receive:
                requests.append(attributes)
            else:
                waiting.extend(_held_by(thing))
    return requests, bare


def _held_by(thing: object) -> Iterable[object]:
    """Return the objects that a generator, a partial function or a plain object holds."""
    name = _FRAMES.get(type(thing))
    if name is not None:
        frame = getattr(thing, name)
        return frame.f_locals.values() if frame else ()
    if isinstance(thing, functools.partial):
        return (*thing.args, *thing.keywords.values())  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    return _attributes(thing).values()


def _attributes(thing: object) -> dict[str, Any]:
    try:
        attributes = vars(thing)
        return attributes if type(attributes) is dict else {}
    except Exception:  # an object without attributes, or a proxy with a will of its own
        return {}
