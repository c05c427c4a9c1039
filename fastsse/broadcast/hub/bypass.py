"""The way past the middlewares: an outermost wrapper that leaves the server's own `send` where the hub finds it.

A middleware that takes every chunk through a queue into a task of its own costs a hundred times what the pump does.
So the start and the opening block of a stream go through all of them, and so does its end; what comes between may
pass them by, once the opening block has been seen to leave as it was sent. It knows ASGI messages; it must not know
topics, positions or history.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastsse.broadcast.subscriber import Subscriber

__all__ = ["DIRECT", "Direct", "Way"]

DIRECT = "fastsse.direct"  # the scope's key; what copies a scope copies it too

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]

_ALTERS = (b"content-encoding", b"content-length")  # headers of a body that is not what was sent


class Direct:
    """An ASGI app whose middlewares a hub's streams pass by: ``app = Direct(app)``, outermost, for the server to run.

    Middlewares see a stream's start, its opening block and its end, and may change them. Where one has changed the
    opening block, encodes it, or keeps it for a second, the whole stream goes through them.

    Args:
        app: the application with its middlewares.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or DIRECT in scope:
            await self._app(scope, receive, send)
            return
        way = Way(send)
        try:
            # A copy, and let go in the end: neither the server's scope nor a middleware's `send` makes a cycle.
            await self._app({**scope, DIRECT: way}, receive, way)
        finally:
            way.watch(None)


class Way:
    """The outermost `send` of one request.

    Attributes:
        send: the server's own.
        open: whether what the subscriber sends leaves at once and as it is; None until that is known.
    """

    __slots__ = ("_opening", "_subscriber", "open", "send")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.open: bool | None = None
        self._opening: bytes | None = None
        self._subscriber: Subscriber | None = None

    def __call__(self, message: Message) -> Awaitable[None]:
        return self.send(message) if self._subscriber is None else self._look(message)

    def watch(self, subscriber: Subscriber | None) -> None:
        """Look from here on at what leaves; with None no longer."""
        self._subscriber = subscriber

    def expect(self, opening: bytes) -> None:
        """The body that is sent next, and alone until it is decided."""
        if self.open is None:
            self._opening = opening

    def decide(self, open: bool) -> None:
        """It is open or closed from here on; the first word counts."""
        if self.open is None and self._subscriber is not None:
            self.open = open
            self._opening = None
            self._subscriber.park.wake()
            if not open:
                self._subscriber = None

    async def _look(self, message: Message) -> None:
        if self.open:
            if not self._cut(message):
                await self.send(message)
            return
        opens = self._opens(message)
        await self.send(message)
        if opens is not None:
            self.decide(opens)

    def _cut(self, message: Message) -> bool:
        """Whether nothing more can leave: the stream was ended while a send was pending, and still is."""
        subscriber = self._subscriber
        if subscriber is None:
            return False
        if not message.get("more_body") and subscriber.ending is None:
            subscriber.end("disconnected")  # a middleware ends the response, and did not ask us
        return subscriber.ended and subscriber.blocked_since > 0

    def _opens(self, message: Message) -> bool | None:
        """Whether the way is open once this has left; None while it cannot be known."""
        if message["type"] == "http.response.start":
            names = {bytes(name).lower() for name, _ in message.get("headers", ())}
            return None if message["status"] == 200 and names.isdisjoint(_ALTERS) else False
        return message.get("body") == self._opening and message.get("more_body") is True
