"""Server-Sent Events: an exact codec, streams and responses. Nothing here needs a third-party package.

The codec is imported at once; `streams` and `response`, which need asyncio, when one of their names is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastsse._codec import (
    COMPILED,
    DEFAULT_MAX_EVENT_SIZE,
    DEFAULT_MAX_LINE_SIZE,
    MAX_RETRY,
    Decoder,
    Event,
    LineSplitter,
    decode,
    encode,
    encode_comment,
    encode_json,
    encode_many,
)
from fastsse.errors import EventTooLarge, FastSSEError, InvalidField, LimitExceeded, LineTooLong

if TYPE_CHECKING:
    from fastsse.response import EventSourceResponse, last_event_id
    from fastsse.streams import (
        Block,
        aiter_blocks,
        aiter_events,
        aiter_json,
        in_thread,
        iter_blocks,
        iter_events,
        iter_json,
    )

__all__ = [
    "COMPILED",
    "DEFAULT_MAX_EVENT_SIZE",
    "DEFAULT_MAX_LINE_SIZE",
    "MAX_RETRY",
    "Block",
    "Decoder",
    "Event",
    "EventSourceResponse",
    "EventTooLarge",
    "FastSSEError",
    "InvalidField",
    "LimitExceeded",
    "LineSplitter",
    "LineTooLong",
    "aiter_blocks",
    "aiter_events",
    "aiter_json",
    "decode",
    "encode",
    "encode_comment",
    "encode_json",
    "encode_many",
    "in_thread",
    "iter_blocks",
    "iter_events",
    "iter_json",
    "last_event_id",
]

__version__ = "0.1.0"

_LATER: dict[str, str] = {
    "Block": "fastsse.streams",
    "EventSourceResponse": "fastsse.response",
    "aiter_blocks": "fastsse.streams",
    "aiter_events": "fastsse.streams",
    "aiter_json": "fastsse.streams",
    "in_thread": "fastsse.streams",
    "iter_blocks": "fastsse.streams",
    "iter_events": "fastsse.streams",
    "iter_json": "fastsse.streams",
    "last_event_id": "fastsse.response",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | _LATER.keys())
