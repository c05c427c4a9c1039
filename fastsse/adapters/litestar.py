"""EventSourceResponse for Litestar.

    @get("/answer", media_type="text/event-stream")
    async def answer(question: str) -> EventSourceResponse:
        return EventSourceResponse(words(question))

Litestar is ASGI through and through: the stream is `fastsse.EventSourceResponse` itself, at its cost and with all that
it promises. The headers and cookies of the handler, its layers and the response are sent with it. Handlers that are
annotated with `litestar.types.ASGIApp` return any ASGI response as it is: ``return hub.response("news")``. The media
type of the handler is for the schema alone; a handler answers HEAD when its `http_method` says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any, Unpack

from litestar import Request, Response
from litestar.response.base import ASGIResponse

import fastsse
from fastsse.adapters._options import Options

__all__ = ["EventSourceResponse", "last_event_id"]


class EventSourceResponse(Response[Any]):
    """One response that streams `items` as events, for a handler to return.

    Args:
        items: an async iterable, or a sync one, which is iterated in a thread.
        options: those of `fastsse.EventSourceResponse`.

    Raises:
        InvalidField, TypeError, ValueError: an argument is wrong; raised at once.
    """

    __slots__ = ("_stream",)

    def __init__(
        self, items: AsyncIterable[Any] | Iterable[Any], **options: Unpack[Options]
    ) -> None:
        self._stream = fastsse.EventSourceResponse(items, **options)
        super().__init__(
            None,
            background=self._stream.background,  # type: ignore[arg-type]
            media_type="text/event-stream",
            status_code=self._stream.status_code,
        )

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **given: Any) -> Any:
        """Return the ASGI response, with the headers and cookies that Litestar adds.

        Args:
            app: not used; Litestar gives None.
            request: not used.
            given: what the handler and its layers say: headers, cookies, background.
        """
        del app, request
        stream = self._stream
        added = ASGIResponse(
            headers={**(given.get("headers") or {}), **self.headers},
            cookies=[*self.cookies, *(given.get("cookies") or ())],
            encoded_headers=given.get("encoded_headers"),
        ).encode_headers()
        added = [pair for pair in added if pair[0] not in _OURS]
        names = {name for name, _ in added}
        stream.raw_headers = [pair for pair in stream.raw_headers if pair[0] not in names] + added
        stream.background = self.background or given.get("background")
        return stream


def last_event_id(request: Request[Any, Any, Any]) -> str:
    """Return the last event ID of a client that reconnects, or ``""``, as `fastsse.last_event_id` does."""
    return fastsse.last_event_id(request.scope)


_OURS = frozenset({b"content-length", b"content-type"})
