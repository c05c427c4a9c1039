"""The exceptions that fastsse raises for its callers to catch, in one tree.

    FastSSEError
    ├── InvalidField (ValueError)      a value that cannot be written as this field
    │   ├── TooLarge                   of fastsse.broadcast: an event over the hub's limits
    │   ├── TopicEnded                 of fastsse.broadcast: an event for a topic that has ended
    │   └── KeyReused                  of fastsse.broadcast: a publish's key that belongs to another event
    ├── LimitExceeded                  the peer sent more than we agreed to hold
    │   ├── BlockTooLarge              from BlockSplitter
    │   ├── LineTooLong                from LineSplitter
    │   └── EventTooLarge              from Decoder
    ├── StorageFull (OSError)          of fastsse.broadcast: the store has no room for an event
    ├── StoreUnusable (OSError)        of fastsse.broadcast: a store that waiting does not mend
    ├── SettingError (ValueError)      a setting that is unknown or not allowed
    ├── TooManyRuns (RuntimeError)     of fastsse.broadcast: as many runs go on as may
    ├── TooManyRevoked (RuntimeError)  of fastsse.broadcast: as much is revoked as the hub remembers
    ├── UnsupportedSDK (RuntimeError)  of fastsse.adapters: a version of an SDK that takes no decoder
    └── HubClosed (RuntimeError)       of fastsse.broadcast: the hub is stopping

An event stream itself is never in error: the HTML standard gives every byte sequence a meaning. So the causes are few:
a value or a setting of the caller, a limit of ours, the end of a hub.

Outside the tree are Python's own exceptions, for wrong types and for calls at the wrong time (`TypeError`,
`RuntimeError`); `fastsse.testing.Ended`, which tells a test that nothing more comes; and exceptions that never leave
the package: a `Problem` of the broadcast becomes an HTTP answer, a `Failure` of the command a line on stderr.

`shorten` and `quote` are the one way in which a message repeats what was given. The module knows values and words; it
must not know which code raises an exception.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BlockTooLarge",
    "EventTooLarge",
    "FastSSEError",
    "InvalidField",
    "LimitExceeded",
    "LineTooLong",
    "SettingError",
]

_SHOWN = 60  # characters of an offending value that a message repeats


def shorten(text: str, most: int = _SHOWN) -> str:
    """Return `text` whole, or its beginning and "…", together `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def quote(value: object, most: int = _SHOWN) -> str:
    """Return the repr of `value`, cut to `most` characters; a repr that fails gives the type's name instead.

    Text and bytes are cut before their repr is made, so a large value costs no more than a small one.
    """
    try:
        # The quotes alone make the repr of the cut text longer than `most`, so that "…" still tells of the cut.
        text = repr(value[:most] if isinstance(value, (str, bytes)) else value)
    except Exception:
        return f"of type {type(value).__name__}"
    return shorten(text, most)


class FastSSEError(Exception):
    """The root of the tree."""


class InvalidField(FastSSEError, ValueError):
    """A value that cannot be written as this field without a change of its meaning.

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
        return f"{self.field} {quote(self.value)}: {self.rule}"


class LimitExceeded(FastSSEError):
    """Input of more than `limit` bytes where the codec holds it; `reset()` starts afresh.

    Attributes:
        limit: the bound in bytes.
    """

    _what = "input"

    def __init__(self, limit: int, before: list[Any]) -> None:
        super().__init__(limit, before)
        self.limit = limit

    def __str__(self) -> str:
        return f"{self._what} is over {self.limit} bytes; reset() to go on, or raise the limit"


class BlockTooLarge(LimitExceeded):
    """A block larger than `max_block_size`.

    Attributes:
        blocks: the blocks that the same call had completed before, so that none is lost.
    """

    _what = "block"

    def __init__(self, limit: int, blocks: list[bytes]) -> None:
        super().__init__(limit, blocks)
        self.blocks = blocks


class LineTooLong(LimitExceeded):
    """A line longer than `max_line_size`.

    Attributes:
        lines: the lines that the same `feed` had completed before, so that none is lost.
    """

    _what = "line"

    def __init__(self, limit: int, lines: list[bytes]) -> None:
        super().__init__(limit, lines)
        self.lines = lines


class EventTooLarge(LimitExceeded):
    """An event larger than `max_event_size`.

    Attributes:
        events: the events that the same `feed` had dispatched before, each an `Event`, so that none is lost. Their
            type is not named to type checkers, because the codec imports this module.
    """

    _what = "event"

    def __init__(self, limit: int, events: list[Any]) -> None:
        super().__init__(limit, events)
        self.events = events


class SettingError(FastSSEError, ValueError):
    """A setting that is unknown or not allowed; the message has its name, what was given, and the rule."""
