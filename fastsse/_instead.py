"""Another response in place of a stream: decided when the first item is there, and nothing has been sent.

The items are asked for in the stream's own task, through a generator around them. When the decision is for another
response, that generator raises `Answered`. The stream then ends as it does for every error before its start: nothing
was sent, the items are closed, and the exception comes out where the response is answered.

The module knows items and ASGI applications; it must not know connections, events or frameworks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from fastsse._items import Items, aclose, as_async
from fastsse.asgi import App

__all__ = ["Answered", "First", "Instead"]

Instead = Callable[[Any], "App | None"]


class Answered(Exception):
    """Another response answers the request."""


class First:
    """The decision at the first item of one stream.

    Args:
        instead: called with the first item, or with None when there is no item at all.

    Attributes:
        started: the stream has started, for example with a heartbeat; then there is nothing to decide.
        app: the response that answers in place of the stream, or None.
    """

    __slots__ = ("_instead", "app", "started")

    def __init__(self, instead: Instead) -> None:
        self._instead = instead
        self.started = False
        self.app: App | None = None

    async def ask(self, items: Items) -> AsyncGenerator[Any]:
        """Yield the items.

        Raises:
            Answered: another response answers.
            TypeError: `instead` has returned neither an ASGI application nor None.
        """
        source = as_async(items)
        asked = False
        try:
            async for item in source:
                if not asked:
                    asked = True
                    self._decide(item)
                yield item
            if not asked:
                self._decide(None)
        finally:
            await aclose(source)

    def _decide(self, item: Any) -> None:
        if self.started:
            return
        app = self._instead(item)
        if app is None:
            return
        if not callable(app):
            kind = type(app).__name__  # pyright: ignore[reportUnreachable]
            raise TypeError(f"instead must return an ASGI application or None, not {kind}")
        self.app = app
        raise Answered

    def tells(self, on_close: Callable[[str], object]) -> Callable[[str], object]:
        """Return an `on_close` that is told when another response has answered."""

        def tell(reason: str) -> object:
            return on_close("answered" if self.app is not None and reason == "failed" else reason)

        return tell
