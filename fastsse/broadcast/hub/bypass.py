"""The bypass: an outermost wrapper that leaves the server's own `send` where the hub finds it.

A middleware that takes every chunk through a queue into a task of its own costs a hundred times what the pump does.
So only a stream's start, its opening block and its end go through all middlewares. The blocks between may go past them,
once the opening block has been seen to leave as it was sent:

    hub ─── start, opening block, end ───► middlewares ───► OuterSend ───► the server's send
     └───── everything between ──────────────────────────────────────────────────►┘

The module knows ASGI messages; it must not know topics, positions or history.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastsse.asgi import App, Message, Receive, Scope, Send
    from fastsse.broadcast.hub.subscriber import Subscriber

__all__ = ["BYPASS", "Bypass", "Direct", "OuterSend"]

BYPASS = "fastsse.bypass"  # the scope's key; whatever copies a scope copies it too

_ALTERS = (b"content-encoding", b"content-length")  # headers of a body that is not what was sent


class Bypass:
    """An ASGI app whose middlewares a hub's streams go past: ``app = Bypass(app)``, outermost, for the server to run.

    Middlewares see a stream's start, its opening block and its end, and may change them. Where one has changed the
    opening block, encodes it, or keeps it for a second, the whole stream goes through them.

    Args:
        app: the application with its middlewares.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or BYPASS in scope:
            await self._app(scope, receive, send)
            return
        outer = OuterSend(send)
        try:
            # A copy, and let go in the end: neither the server's scope nor a middleware's `send` makes a cycle.
            await self._app({**scope, BYPASS: outer}, receive, outer)
        finally:
            outer.watch(None)


Direct = Bypass  # its first name, which applications may still import


class OuterSend:
    """The outermost `send` of one request.

    Attributes:
        send: the server's own.
        open: True when what the subscriber sends leaves at once and unchanged; None until that is known.
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
        """Look from here on at what leaves; with None, look no longer."""
        self._subscriber = subscriber

    def expect(self, opening: bytes) -> None:
        """Note the body that is sent next. Nothing else is sent until `open` is decided."""
        if self.open is None:
            self._opening = opening

    def decide(self, open: bool) -> None:
        """Settle whether the bypass is open. The first decision counts."""
        if self.open is None and self._subscriber is not None:
            self.open = open
            self._opening = None
            self._subscriber.park.wake()
            if not open:
                self._subscriber = None

    async def _look(self, message: Message) -> None:
        """Send a message that came through the middlewares, and decide by it."""
        if self.open:
            if not self._is_late(message):
                await self.send(message)
            return
        opens = self._opens(message)
        await self.send(message)
        if opens is not None:
            self.decide(opens)

    def _is_late(self, message: Message) -> bool:
        """Return True when this message must be dropped: the stream ended while an earlier send was still blocked."""
        subscriber = self._subscriber
        if subscriber is None:
            return False
        if not message.get("more_body") and not subscriber.ending:
            subscriber.end("disconnected")  # a middleware ends the response, and did not ask us
        return subscriber.ended and subscriber.blocked_since is not None

    def _opens(self, message: Message) -> bool | None:
        """Tell whether the bypass is open once this message has left; None while that cannot be known."""
        if message["type"] == "http.response.start":
            names = {bytes(name).lower() for name, _ in message.get("headers", ())}
            return None if message["status"] == 200 and names.isdisjoint(_ALTERS) else False
        return message.get("body") == self._opening and message.get("more_body") is True
