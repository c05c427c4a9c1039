"""Every exception that fastsse raises on purpose.

    FastSSEError
    ├── InvalidField (ValueError)      what you gave cannot be written as this field
    └── LimitExceeded                  what the peer sent is larger than we agreed to hold
        ├── LineTooLong                from LineSplitter
        └── EventTooLarge              from Decoder

An event stream itself is never in error: the HTML standard gives every byte sequence a meaning.
The only faults are our caller's (InvalidField) and our own limits (LimitExceeded).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastsse._codec_py import Event

__all__ = ["EventTooLarge", "FastSSEError", "InvalidField", "LimitExceeded", "LineTooLong"]

_SHOWN = 60  # characters of an offending value that a message repeats


def _shorten(value: object) -> str:
    """The repr of a value, however long, whatever its repr does: a message must not fail."""
    try:
        # Cut before the repr, too: with its quotes it is still longer than what we show.
        text = repr(value[:_SHOWN] if isinstance(value, (str, bytes)) else value)
    except Exception:
        return f"of type {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


class FastSSEError(Exception):
    """Root of the tree."""


class InvalidField(FastSSEError, ValueError):
    """A value that cannot be written as this field without changing its meaning.

    Attributes:
        field: the field's name: ``data``, ``event``, ``id``, ``retry`` or ``comment``.
        value: what was given.
        rule: what is allowed, in words.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(field, value, rule)
        self.field = field
        self.value = value
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.field} {_shorten(self.value)}: {self.rule}"


class LimitExceeded(FastSSEError):
    """The peer sent more than ``limit`` bytes where we hold them; ``reset()`` starts afresh.

    Attributes:
        limit: the bound in bytes.
    """

    _what = "input"

    def __init__(self, limit: int, before: list[Any]) -> None:
        super().__init__(limit, before)
        self.limit = limit

    def __str__(self) -> str:
        return f"{self._what} is over {self.limit} bytes; reset() to go on, or raise the limit"


class LineTooLong(LimitExceeded):
    """A line is longer than ``max_line_size``.

    Attributes:
        lines: what the same ``feed`` had found before it; nothing that was complete is lost.
    """

    _what = "line"

    def __init__(self, limit: int, lines: list[bytes]) -> None:
        super().__init__(limit, lines)
        self.lines = lines


class EventTooLarge(LimitExceeded):
    """An event is larger than ``max_event_size``.

    Attributes:
        events: what the same ``feed`` had dispatched before it; nothing that was complete is lost.
    """

    _what = "event"

    def __init__(self, limit: int, events: list[Event]) -> None:
        super().__init__(limit, events)
        self.events = events
