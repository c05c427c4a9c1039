"""Server-Sent Events: an exact codec, streams and responses. Nothing here needs a third-party package.

The codec is imported at once. `streams` and `response`, which need asyncio, are imported when one of their names
is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastsse._codec import (
    COMPILED,
    DEFAULT_MAX_BLOCK_SIZE,
    DEFAULT_MAX_EVENT_SIZE,
    DEFAULT_MAX_LINE_SIZE,
    MAX_RETRY,
    BlockSplitter,
    Decoder,
    Event,
    LineSplitter,
    decode,
    encode,
    encode_comment,
    encode_json,
    encode_many,
)
from fastsse.errors import (
    BlockTooLarge,
    EventTooLarge,
    FastSSEError,
    InvalidField,
    LimitExceeded,
    LineTooLong,
    SettingError,
)

if TYPE_CHECKING:
    from fastsse._relay import RelayResponse, relay, relay_headers
    from fastsse._signals import end_streams
    from fastsse.asgi import last_event_id
    from fastsse.response import EventSourceResponse
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
    "DEFAULT_MAX_BLOCK_SIZE",
    "DEFAULT_MAX_EVENT_SIZE",
    "DEFAULT_MAX_LINE_SIZE",
    "MAX_RETRY",
    "Block",
    "BlockSplitter",
    "BlockTooLarge",
    "Decoder",
    "Event",
    "EventSourceResponse",
    "EventTooLarge",
    "FastSSEError",
    "InvalidField",
    "LimitExceeded",
    "LineSplitter",
    "LineTooLong",
    "RelayResponse",
    "SettingError",
    "aiter_blocks",
    "aiter_events",
    "aiter_json",
    "decode",
    "encode",
    "encode_comment",
    "encode_json",
    "encode_many",
    "end_streams",
    "in_thread",
    "iter_blocks",
    "iter_events",
    "iter_json",
    "last_event_id",
    "relay",
    "relay_headers",
]

__version__ = "0.1.0"

_LATER = (
    "fastsse.asgi",
    "fastsse._signals",
    "fastsse.streams",
    "fastsse.response",
    "fastsse._relay",
)  # lightest first


def __getattr__(name: str) -> Any:
    """Import a public name from the first of the later modules that has it."""
    for path in _LATER if name in __all__ else ():
        module = import_module(path)
        if hasattr(module, name):
            value = globals()[name] = getattr(module, name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
