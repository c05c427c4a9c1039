"""Events before they have a position: fields, checked and bounded, and the block, written once for everybody.

The hub holds blocks, so blocks are bounded and not the data alone: each line of the data takes seven bytes more, and a
megabyte of line ends would be a block of seven. Sizes are found out before anything large is built.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fastsse import InvalidField, encode

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "END",
    "EXPIRED",
    "GAP",
    "MAX_BESIDE",
    "MAX_EVENT_TYPE",
    "MAX_KEY",
    "MAX_RETRY",
    "TooLarge",
    "TopicEnded",
    "check_key",
    "take_block",
    "write_block",
    "write_end",
]

GAP = "gap"  # the reserved event types: only the hub publishes them
END = "end"
EXPIRED = "expired"  # of one stream, and no entry of the log
MAX_BESIDE = 4096  # bytes that a block may have beside as much data as is allowed: field names, line ends, the type
MAX_EVENT_TYPE = 256  # bytes of UTF-8
MAX_KEY = 256  # bytes of UTF-8 of the key of a publish
MAX_RETRY = 86_400_000  # ms, a day: as the setting `retry`

_RESERVED = {
    GAP: "a gap",
    END: "the end of a topic; end a topic by hub.end, end=1 or DELETE",
    EXPIRED: "the end of what they are granted",
}
_EVENT = b"event: "
_DATA = b"data: "
_BOM = b"\xef\xbb\xbf"
_UTF8 = "must be valid UTF-8"
_ONE_BLOCK = "must be one block, up to and including its blank line, as BlockSplitter gives it"
_LINE = len(b"data: \n")  # bytes that a line costs beside its text


class TooLarge(InvalidField):
    """An event that is over one of the hub's bounds in bytes; nothing was published.

    Args:
        field: ``data`` or ``event``.
        size: bytes that were given; None where only the bytes up to the bound were looked at.
        limit: bytes that are allowed.
        note: more words of the rule.

    Attributes:
        size: as given.
        limit: as given.
    """

    def __init__(self, field: str, size: int | None, limit: int, note: str = "") -> None:
        super().__init__(field, size, f"must be at most {limit} bytes{note}")
        self.args = (field, size, limit, note)  # what a pickle keeps, to call this with
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        given = "" if self.size is None else f" of {self.size} bytes"
        return f"{self.field}{given}: {self.rule}"


class TopicEnded(InvalidField):
    """A topic that has ended, and takes no more events; nothing was published."""

    def __init__(self, topic: str) -> None:
        super().__init__("topic", topic, "has ended: take another name for what is new")

    def __reduce__(self) -> tuple[type[TopicEnded], tuple[object]]:
        return TopicEnded, (self.value,)


def write_block(
    data: str | Buffer | None, event: str | None, retry: int | None, max_size: int
) -> bytes:
    """Write an event's block, without an id.

    Args:
        max_size: bytes of data; the block may have `MAX_BESIDE` more.

    Raises:
        InvalidField: a field cannot be published.
        TooLarge: the data, its block or the event type is over its limit.
        TypeError: a field is of another type.
    """
    if event is not None:
        _check_type(event)
    if isinstance(retry, int) and not 0 <= retry <= MAX_RETRY:
        raise InvalidField("retry", retry, f"must be 0 to {MAX_RETRY} ms, a day")
    if data is None:
        raise InvalidField("data", data, "is needed: an event without data is never dispatched")
    # Most events are small whatever they consist of.
    if not isinstance(data, (str, bytes)) or (len(data) + 1) * _LINE > max_size:
        _check_data(data, max_size)
    block = encode(data, event=event, retry=retry)
    if len(block) > max_size + MAX_BESIDE:
        raise _block_too_large(len(block), max_size)
    return block


def take_block(block: bytes, max_size: int) -> bytes | None:
    """Return a block of another stream as the hub publishes it; None when a decoder would dispatch nothing for it.

    Data and type stay. The id, the reconnection time, comments and unknown fields go: they are between that stream and
    its own readers. The usual block is returned itself, and no text is made of its data. As for every publish, bytes
    that are not UTF-8 are refused.

    Args:
        max_size: bytes of data; the block may have `MAX_BESIDE` more.

    Raises:
        InvalidField: it is not one block, or has an event that cannot be published. `TooLarge` where that is over its
            bound.
    """
    start = _usual_data(block)
    if start:
        if start > len(_DATA):
            _check_type_of_block(block[len(_EVENT) : start - len(_DATA) - 1])
        if len(block) - start - 2 > max_size:
            raise TooLarge("data", len(block) - start - 2, max_size)
        if not block.isascii():
            _check_utf8("data", block[start:-2])
        return block
    event, values = _read_block(block.removeprefix(_BOM))
    if not values:
        return None
    name = _check_type_of_block(event)
    return write_block(values[0] if len(values) == 1 else b"\n".join(values), name, None, max_size)


def _usual_data(block: bytes) -> int:
    """Return where the data begins in a block of which nothing has to go; 0 for any other block.

    Such is the usual block: a type perhaps, and one line of data, each written as `encode` writes it.
    """
    if block[-2:] != b"\n\n" or b"\r" in block:
        return 0
    line = 0
    if block.startswith(_EVENT):
        line = block.find(b"\n") + 1
        if line <= len(_EVENT) + 1:  # an empty type is none
            return 0
    if not block.startswith(_DATA, line) or block.find(b"\n", line) != len(block) - 2:
        return 0
    return line + len(_DATA)


def _read_block(block: bytes) -> tuple[bytes | None, list[bytes]]:
    """Read the last type and all data lines of one block, as the standard does (9.2.6), as bytes."""
    lines = block.splitlines()  # bytes: at CR, LF and CRLF
    if b"" not in lines or lines.index(b"") != len(lines) - 1:
        raise InvalidField("block", block, _ONE_BLOCK)
    event: bytes | None = None
    values: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            values.append(value)
        elif name == b"event":
            event = value
    return event, values


def _check_type_of_block(event: bytes | None) -> str | None:
    if not event:
        return None
    name = _check_utf8("event", event)
    _check_type(name)
    return name


def _check_utf8(field: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidField(field, value, _UTF8) from error


def write_end(topic: str, reason: str) -> bytes:
    """Write the block of a topic's end, without an id."""
    data = json.dumps({"topic": topic, "reason": reason}, separators=(",", ":"))
    return encode(data, event=END)


def check_key(key: str) -> None:
    """Check the key that makes a publish idempotent.

    Raises:
        InvalidField: the key is empty, or longer than `MAX_KEY` bytes.
        TypeError: the key is not str.
    """
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"key must be str or None, not {type(key).__name__}")
    if not 0 < len(key) <= MAX_KEY or _size(key) > MAX_KEY:
        raise InvalidField("key", key, f"must be 1 to {MAX_KEY} bytes of UTF-8")


def _check_type(event: str) -> None:
    if event in _RESERVED:
        raise InvalidField("event", event, f"is reserved: it tells readers of {_RESERVED[event]}")
    if not isinstance(event, str):  # pyright: ignore[reportUnnecessaryIsInstance] - `encode` says so
        return
    if len(event) > MAX_EVENT_TYPE or _size(event) > MAX_EVENT_TYPE:
        raise TooLarge("event", _size(event), MAX_EVENT_TYPE)


def _check_data(data: str | Buffer, limit: int) -> None:
    """Refuse data that is over the limit, and data whose line ends alone would make its block so."""
    text = data if isinstance(data, (str, bytes)) else _bytes(data, limit)
    if len(text) > limit:
        size = len(text) if isinstance(text, bytes) or text.isascii() else _size(text)
        raise TooLarge("data", size, limit)
    size = _size(text) if isinstance(text, str) else len(text)
    if size > limit:
        raise TooLarge("data", size, limit)
    lines, ends = _count_lines(text)
    written = size - ends + lines * _LINE
    if written > limit + MAX_BESIDE:
        raise _block_too_large(written, limit)


def _bytes(data: Buffer, limit: int) -> bytes:
    """Copy a bytes-like object, unless it is over the limit."""
    try:
        view = memoryview(data)
    except TypeError:
        rule = "data must be str or bytes-like UTF-8 (json.dumps() writes JSON, and an Event has .data)"
        raise TypeError(f"{rule}, not {type(data).__name__}") from None
    if view.nbytes > limit:
        raise TooLarge("data", view.nbytes, limit)
    return view.tobytes()


def _count_lines(text: str | bytes) -> tuple[int, int]:
    """Count the lines of a text, and the bytes of their ends: LF, CR, or both together."""
    if isinstance(text, str):
        if "\n" not in text and "\r" not in text:  # to search is ten times faster than to count
            return 1, 0
        lf, cr, both = text.count("\n"), text.count("\r"), text.count("\r\n")
    else:
        if b"\n" not in text and b"\r" not in text:
            return 1, 0
        lf, cr, both = text.count(b"\n"), text.count(b"\r"), text.count(b"\r\n")
    return lf + cr - both + 1, lf + cr


def _size(text: str) -> int:
    """Measure a text in UTF-8; a lone surrogate, which has none, counts as three bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _block_too_large(size: int, limit: int) -> TooLarge:
    note = f" as it is written; each line takes {_LINE} more"
    return TooLarge("data", size, limit + MAX_BESIDE, note)
