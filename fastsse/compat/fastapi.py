"""The names of `fastapi.sse`: `EventSourceResponse` for ``response_class``, `ServerSentEvent`, `format_sse_event`.

    from fastsse.compat.fastapi import EventSourceResponse, ServerSentEvent

    @app.get("/items", response_class=EventSourceResponse)
    async def items():
        yield Item(name="a")
        yield ServerSentEvent(data={"done": True}, event="end")

Kept are: an endpoint that yields, async or not, whose items become JSON, strings too; `ServerSentEvent` with
``data`` or ``raw_data``; the bytes of every event; the headers; ``: ping`` when nothing was sent for 15 s.

Different on purpose:

- The endpoint's generator runs in one task, which is not FastAPI's chain of three tasks and three streams for each
  response. A token costs a quarter, and a client that does not read is left after 30 s.
- SIGTERM and SIGINT end streams with the end of the body, under every server.
- An id or event type with a line end is refused (`InvalidField`) by `format_sse_event`, too, and so is one that was set
  after the event had been made. FastAPI writes it, and with it any other field.
- FastAPI does not know this class, so the return annotation neither checks the items nor stands in OpenAPI, and the
  ``response_model_…`` options do nothing. A model is written by its aliases. The argument ``responses={200: {"model":
  Item}}`` documents the items.
- A response that an endpoint makes and returns writes its items in this manner, too: FastAPI's passes them on as they
  are. Bytes are a block that is written already.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, model_validator
from starlette.responses import Response

from fastsse.compat._fields import check_retry, encoded, lines, one_line
from fastsse.response import EventSourceResponse as _EventSourceResponse

__all__ = ["KEEPALIVE_COMMENT", "EventSourceResponse", "ServerSentEvent", "format_sse_event"]

KEEPALIVE_COMMENT = b": ping\n\n"

_PING_INTERVAL = 15.0  # s


def _single_line(field: str, value: str | None) -> str | None:
    if value is not None and ("\r" in value or "\n" in value):
        raise ValueError(f"SSE '{field}' must be a single line")
    return value


def _check_event(value: str | None) -> str | None:
    return _single_line("event", value)


def _check_id(value: str | None) -> str | None:
    if value is not None and "\0" in value:
        raise ValueError("SSE 'id' must not contain null characters")
    return _single_line("id", value)


class ServerSentEvent(BaseModel):
    """One event, or a comment, or both.

    Attributes:
        data: written as JSON, strings too: ``data="hello"`` gives ``data: "hello"`` with the quotes.
        raw_data: text that is written as it is, instead of `data`.
        event: the event type, one line.
        id: the last event ID, one line without NUL.
        retry: the reconnection time, integer milliseconds, 0 or more.
        comment: text that clients ignore.

    Raises:
        ValueError: a field is wrong, or `data` and `raw_data` are both given; pydantic's ValidationError.
    """

    data: Any = None
    raw_data: str | None = None
    event: Annotated[str | None, AfterValidator(_check_event)] = None
    id: Annotated[str | None, AfterValidator(_check_id)] = None
    retry: Annotated[int | None, Field(ge=0)] = None
    comment: str | None = None

    @model_validator(mode="after")
    def _check_data(self) -> ServerSentEvent:
        if self.data is not None and self.raw_data is not None:
            raise ValueError(
                "Cannot set both 'data' and 'raw_data' on the same ServerSentEvent: 'data' is written as JSON,"
                " 'raw_data' as it is"
            )
        return self


def format_sse_event(
    *,
    data_str: str | None = None,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
    comment: str | None = None,
) -> bytes:
    """Write one block, byte for byte as `fastapi.sse.format_sse_event` does: comment, event, data, id, retry; LF.

    Args:
        data_str: the data, text that is JSON already or need not be; each of its lines on a ``data`` line.
        event: the event type, one line.
        id: the last event ID, one line without NUL.
        retry: the reconnection time, integer milliseconds, 0 or more.
        comment: text that clients ignore, of one line or more.

    Raises:
        InvalidField: a field cannot be written without a change of its meaning, or would begin another one.
        TypeError: a field has another type.
    """
    block = "" if comment is None else lines(": ", comment, "\n")
    if event is not None:
        block += one_line("event", event, "\n")
    if data_str is not None:
        block += lines("data: ", data_str, "\n")
    if id is not None:
        block += one_line("id", id, "\n")
    if retry is not None:
        block += f"retry: {check_retry(retry)}\n"
    return encoded(block + "\n")


class EventSourceResponse(_EventSourceResponse, Response):  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]
    """A response class for endpoints that yield, whose items become events.

    Args:
        content: an async iterable of items, or a sync one, which is iterated in a thread. An item is a
            `ServerSentEvent`, or anything that FastAPI writes as JSON.
        status_code: the status code.
        headers: more headers, and other values for ``cache-control`` and ``x-accel-buffering``.
        media_type: ``text/event-stream``, or None.
        background: run after the response.

    Attributes:
        ping_interval: seconds of silence after which ``: ping`` is sent; a subclass sets another.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    __slots__ = ()

    ping_interval: float | None = _PING_INTERVAL

    def __init__(
        self,
        content: AsyncIterable[Any] | Iterable[Any],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        if media_type is not None and not media_type.startswith("text/event-stream"):
            raise ValueError(f"media_type must be text/event-stream, not {media_type!r}")
        super().__init__(
            _unwrapped(content),
            status_code=status_code,
            headers={"cache-control": "no-cache", **_lowered(headers)},
            heartbeat=self.ping_interval,
            background=background,
        )
        self._manner = self._manner._replace(write=_write, opening=b"", beat=KEEPALIVE_COMMENT)


def _lowered(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}


def _unwrapped(content: Any) -> Any:
    """Return the endpoint's own generator: FastAPI's wrapper gives up the loop after each item, which is not needed."""
    if inspect.isasyncgen(content) and content.__name__ == "_async_stream_raw":
        inner = content.ag_frame and content.ag_frame.f_locals.get("async_gen")
        if inspect.isasyncgen(inner):
            return inner
    return content


def _write(item: Any) -> bytes:
    """Write what an endpoint has yielded as one block."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, ServerSentEvent) or _is_fastapis(item):
        return _write_event(item)
    if _is_event(item):
        block: bytes = item.encode()
        return block
    dump = getattr(item, "model_dump_json", None)
    return format_sse_event(data_str=_json(item) if dump is None else dump(by_alias=True))


def _is_event(item: object) -> bool:
    return getattr(type(item), "_is_fastsse_event", False) is True


def _is_fastapis(item: Any) -> bool:
    """Return True for an event of FastAPI's own class, in a project that has changed one import of two."""
    theirs = getattr(sys.modules.get("fastapi.sse"), "ServerSentEvent", None)
    return theirs is not None and isinstance(item, theirs)


def _write_event(event: Any) -> bytes:
    data = event.raw_data
    if data is None and event.data is not None:
        dump = getattr(event.data, "model_dump_json", None)
        data = _json(event.data) if dump is None else dump()
    return format_sse_event(
        data_str=data, event=event.event, id=event.id, retry=event.retry, comment=event.comment
    )


def _encodable(value: Any) -> Any:
    """Make what `json` cannot write into something that it can, as FastAPI does."""
    from fastapi.encoders import jsonable_encoder

    return jsonable_encoder(value)


_encoder = json.JSONEncoder(allow_nan=False, default=_encodable)


def _json(value: Any) -> str:
    """Write a value as FastAPI does: models by their aliases, dates in ISO 8601, NaN and the infinities as null."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError):
        return json.dumps(_finite(_encodable(value)))


def _finite(value: Any) -> Any:
    """Put None in the places of NaN and the infinities in what `jsonable_encoder` has made."""
    kind: object = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is dict:
        return {key: _finite(one) for key, one in value.items()}
    if kind is list:
        return [_finite(one) for one in value]
    return value
