"""HubResponse: one stream of a hub as an ASGI response, in any framework, without importing one.

The module knows ASGI and terms; it must not know how a stream is held: an object with `refusal` and `converse` does
that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, Self

from fastsse.asgi import as_starlette, last_event_id
from fastsse.broadcast.hub.bypass import BYPASS

if TYPE_CHECKING:
    from fastsse.asgi import Headers, Receive, Scope, Send
    from fastsse.broadcast.hub.bypass import OuterSend
    from fastsse.broadcast.hub.refusal import Refusal
    from fastsse.broadcast.hub.stats import Stats
    from fastsse.broadcast.hub.terms import Terms
    from fastsse.broadcast.settings import Settings

__all__ = ["HubResponse", "Streams"]


class Streams(Protocol):
    """The part of a hub that a response needs."""

    settings: Settings
    stats: Stats

    def refusal(self, terms: Terms) -> Refusal | None:
        """Return why no stream with these terms can begin now; None when one can."""
        ...

    def converse(
        self,
        terms: Terms,
        receive: Receive,
        send: Send,
        headers: Iterable[tuple[bytes, bytes]] = (),
        outer: OuterSend | None = None,
        *,
        asked: bool = False,
    ) -> Awaitable[None]:
        """Hold one stream from its response's start to its end."""
        ...

    def answer_head(
        self, terms: Terms, send: Send, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> Awaitable[None]:
        """Answer a HEAD request by the headers that the stream would have."""
        ...


class HubResponse:
    """One stream of a hub as a response of Starlette and FastAPI, or an ASGI app of its own.

    A reader for whom there is no stream now, because the hub is full or draining, is told to come again
    (`Settings.turn_away`). Under Starlette this is a `Response` too, so headers, cookies and background tasks are as on
    any other.

    Args:
        streams: the hub.
        terms: what the reader follows. The request's own last event ID goes before theirs.
        status_code: an attribute alone; FastAPI reads the default of a `response_class` to describe its endpoint.
    """

    __slots__ = ("__weakref__", "_streams", "_terms", "background", "raw_headers", "status_code")

    media_type = "text/event-stream"
    charset = "utf-8"

    def __new__(cls, *_args: Any, **_options: Any) -> Self:
        return object.__new__(as_starlette(cls))

    def __init__(self, streams: Streams, terms: Terms, status_code: int = 200) -> None:
        self._streams = streams
        self._terms = terms
        # Attributes that frameworks read and set on a response.
        self.status_code = status_code
        self.raw_headers: Headers = []
        self.background: Callable[[], Awaitable[object]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streams, terms = self._streams, self._terms
        if (refusal := streams.refusal(terms)) is not None:
            streams.stats.refused[refusal.reason] += 1
            await refusal.tell(scope, send, streams.settings.turn_away, self.raw_headers)
            return
        last = last_event_id(scope) or terms.last_event_id
        terms = terms._replace(remote=scope.get("client"), last_event_id=last)
        if (
            scope["method"] == "HEAD"
        ):  # from a probe; routers of many frameworks pass it to the endpoint of GET
            await streams.answer_head(terms, send, self.raw_headers)
        else:
            outer = scope.get(BYPASS)
            await streams.converse(terms, receive, send, self.raw_headers, outer, asked=True)
        if self.background is not None:
            await self.background()
