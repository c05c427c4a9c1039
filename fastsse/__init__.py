"""Server-Sent Events: an exact codec, streams and responses. Nothing here needs a third-party package."""

from __future__ import annotations

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

__all__ = [
    "COMPILED",
    "DEFAULT_MAX_EVENT_SIZE",
    "DEFAULT_MAX_LINE_SIZE",
    "MAX_RETRY",
    "Decoder",
    "Event",
    "EventTooLarge",
    "FastSSEError",
    "InvalidField",
    "LimitExceeded",
    "LineSplitter",
    "LineTooLong",
    "decode",
    "encode",
    "encode_comment",
    "encode_json",
    "encode_many",
]

__version__ = "0.1.0"
