"""The hub inside another application: a response for its endpoints, an iterator for its own code."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from fastsse import Decoder, Event, last_event_id
from fastsse.broadcast.direct import DIRECT

if TYPE_CHECKING:
    from fastsse.broadcast.audiences import Filter
    from fastsse.broadcast.delivery import Message, Receive, Send
    from fastsse.broadcast.hub import Hub

__all__ = ["HubResponse", "Subscription"]


class HubResponse(Response):
    """One stream of a hub as a response of Starlette and FastAPI, or an ASGI app of its own.

    It answers 503 while the hub is full or draining. Headers, cookies and background tasks are as on any response.
    """

    def __init__(
        self,
        hub: Hub,
        topics: tuple[str, ...],
        last_event_id: str | None,
        labels: bool,
        filter: Filter | None,
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._hub = hub
        self._topics = topics
        self._last_event_id = last_event_id
        self._labels = labels
        self._filter = filter

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        hub = self._hub
        if hub.full or hub.draining:
            hub.stats.refused["draining" if hub.draining else "full"] += 1
            await Response(status_code=503, headers={"Retry-After": "1"})(scope, receive, send)
            return
        last = self._last_event_id
        await hub.converse(
            receive,
            send,
            self._topics,
            last_event_id(scope) if last is None else last,
            self._labels,
            self._filter,
            self.raw_headers,
            scope.get("client"),
            scope.get(DIRECT),
        )
        if self.background is not None:
            await self.background()


class Subscription:
    """A subscriber in this process: an async iterator of events, gap events included.

    It is never sent to, it takes: a slow consumer is bounded by the history alone, and a `gap` tells it what it
    has missed. The iteration ends when the hub drains or its lifetime is over. Close it: use ``async with``.
    """

    def __init__(
        self,
        hub: Hub,
        topics: str | Iterable[str],
        last_event_id: str | None,
        filter: Filter | None,
    ) -> None:
        self._hub = hub
        names = hub.check_topics(topics, hub.settings.topics_per_stream)
        self._subscriber, block = hub.admit(names, last_event_id, False, filter, _nowhere, True)
        self._decoder = Decoder(max_event_size=None)
        self._events = deque(self._decoder.feed(block))  # taken, and not yet asked for
        self._last = ""  # id of the last event that was asked for
        self._open = True

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            await self._more()
        event = self._events.popleft()
        self._last = event.id
        return event

    @property
    def last_event_id(self) -> str:
        """Where it stands: give it to the next subscription to miss nothing."""
        return self._last if self._events else self._decoder.last_event_id

    async def _more(self) -> None:
        subscriber = self._subscriber
        if subscriber.ending is not None or subscriber.ended:
            self.close()
            raise StopAsyncIteration
        join = self._hub.take_next(subscriber)
        if join is not None:
            self._events.extend(self._decoder.feed(join.message["body"]))
            return
        subscriber.park.idle = asyncio.get_running_loop().create_future()
        await subscriber.park.idle

    def close(self) -> None:
        """Stop following. Idempotent."""
        if self._open:
            self._open = False
            self._subscriber.end("closed")
            self._hub.dismiss(self._subscriber)


async def _nowhere(_: Message) -> None:
    raise AssertionError("a subscription in this process has no connection")
