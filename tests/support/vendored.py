# SPDX-License-Identifier: MIT
#
# MIT License
#
# Copyright (c) 2026 The fastsse authors
#
# Permission is hereby granted, free of charge, to any person obtaining a copy
# of this software and associated documentation files (the "Software"), to deal
# in the Software without restriction, including without limitation the rights
# to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
# copies of the Software, and to permit persons to whom the Software is
# furnished to do so, subject to the following conditions:
#
# The above copyright notice and this permission notice shall be included in all
# copies or substantial portions of the Software.
#
# THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
# IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
# FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
# AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
# LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
# OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
# SOFTWARE.
"""Decode Server-Sent Events by the steps of the HTML standard, section "Interpreting an event stream".

    decoder = Decoder()
    for chunk in response:  # bytes, cut anywhere
        for event in decoder.feed(chunk):
            print(event.event, event.data)

Needs Python 3.9 or later, and nothing beyond the standard library. Written by ``python -m fastsse.vendor`` of
fastsse-core 0.1.0: write it anew instead of changing it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Lock
from typing import Any, NoReturn, SupportsIndex, final

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_MAX_EVENT_SIZE",
    "MAX_RETRY",
    "Decoder",
    "Event",
    "EventTooLarge",
    "decode",
]

DEFAULT_MAX_EVENT_SIZE = 16 * 2**20  # bytes
MAX_RETRY = 2**63 - 1  # milliseconds; a longer reconnection time is read as this one
_BOM = b"\xef\xbb\xbf"
_COLON = 0x3A
_LF = 0x0A
_CR = 0x0D
_FOLD = 4096  # values of one event that are joined in advance
_CHUNK = "chunk must be bytes-like"


class LimitExceeded(Exception):
    """Input of more than `limit` bytes where the decoder holds it; `reset()` starts afresh.

    Attributes:
        limit: the bound in bytes.
    """

    _what = "input"

    def __init__(self, limit: int, before: list[Any]) -> None:
        super().__init__(limit, before)
        self.limit = limit

    def __str__(self) -> str:
        return f"{self._what} is over {self.limit} bytes; reset() to go on, or raise the limit"


class EventTooLarge(LimitExceeded):
    """An event larger than `max_event_size`.

    Attributes:
        events: the events that the same `feed` had dispatched before, each an `Event`, so that none is lost.
    """

    _what = "event"

    def __init__(self, limit: int, events: list[Event]) -> None:
        super().__init__(limit, events)
        self.events = events


class _Draft:
    """An Event while it is being made: the same slots, still writable."""

    __slots__ = ("data", "event", "id", "retry")

    data: str
    event: str
    id: str
    retry: int | None


@final
class Event(_Draft):
    """One event, as a decoder dispatches it (section 9.2.6). Immutable and hashable.

    Attributes:
        data: the data buffer, lines joined by LF.
        event: the event type; ``"message"`` when the stream names none.
        id: the last event ID string at dispatch; ``""`` when there is none.
        retry: the reconnection time in milliseconds that this block set, or None.

    Raises:
        TypeError: a field has another type.
    """

    __slots__ = ()
    __match_args__ = ("data", "event", "id", "retry")

    def __new__(
        cls, data: str, event: str = "message", id: str = "", retry: int | None = None
    ) -> Event:
        return _event(
            _str("data", data),
            _str("event", event),
            _str("id", id),
            None if retry is None else _int("retry", retry),
        )

    def json(self) -> Any:
        """Parse the data as JSON.

        Raises:
            ValueError: the data is not JSON.
        """
        return json.loads(self.data)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Event is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Event is immutable: cannot delete {name!r}")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("type 'Event' is not an acceptable base type")

    def __repr__(self) -> str:
        data, event, id, retry = _fields(self)
        return f"Event(data={data!r}, event={event!r}, id={id!r}, retry={retry!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return _fields(self) == _fields(other)

    def __hash__(self) -> int:
        return hash(_fields(self))

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[Any, ...]:
        return Event, _fields(self)


def _fields(event: Any) -> tuple[str, str, str, int | None]:
    return event.data, event.event, event.id, event.retry


def _event(data: str, event: str, id: str, retry: int | None) -> Event:
    """Make an Event without its checks: fill the writable slots, then close them."""
    draft = _Draft()
    draft.data = data
    draft.event = event
    draft.id = id
    draft.retry = retry
    draft.__class__ = Event
    return draft  # type: ignore[return-value]


class _Lines:
    """Splits chunks into complete lines, in linear time however the input is cut."""

    __slots__ = ("pending", "swallow")

    def __init__(self) -> None:
        # The line that no line end has closed yet. New bytes are appended; none is searched twice.
        self.pending = bytearray()
        # The last chunk ended in CR, which closed its line; an LF that comes next belongs to that CR.
        self.swallow = False

    def split(self, chunk: bytes) -> list[bytes]:
        if self.swallow and chunk:
            self.swallow = False
            if chunk[0] == _LF:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self.swallow = chunk[-1] == _CR
            lines = chunk.splitlines()  # bytes: at CR, LF and CRLF, and nowhere else
            if chunk[-1] == _CR or chunk[-1] == _LF:
                lines.append(b"")
        else:
            lines = chunk.split(b"\n")
        rest = lines.pop()
        if self.pending and lines:
            self.pending += lines[0]
            lines[0] = bytes(self.pending)
            self.pending = bytearray()
        if rest:
            self.pending += rest
        return lines


class Decoder:
    """Decodes the bytes of an event stream into events (section 9.2.6). Has no I/O and no clock.

    Args:
        last_event_id: the last event ID before the first event: the one that a reconnecting client sent.
        max_event_size: bytes that the data buffer and the current line may have together; None for
            no limit.
        on_comment: called with the text of each comment, without its colon and one leading space.

    No call is needed at the end of a stream: the standard discards an event whose blank line never
    came. Threads may share a decoder: each `feed` is atomic. With `on_comment`, a second `feed` while
    the first still runs raises RuntimeError.
    """

    __slots__ = (
        "_bom",
        "_data",
        "_data_size",
        "_event",
        "_event_retry",
        "_failure",
        "_feeding",
        "_folded",
        "_id",
        "_last_event_id",
        "_lines",
        "_lock",
        "_max_event_size",
        "_on_comment",
        "_retry",
    )

    def __init__(
        self,
        *,
        last_event_id: str = "",
        max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE,
        on_comment: Callable[[str], object] | None = None,
    ) -> None:
        if getattr(self, "_feeding", False):
            self._refuse()
        last_event_id = _str("last_event_id", last_event_id)
        if on_comment is not None and not callable(on_comment):
            raise TypeError("on_comment must be callable or None")
        self._max_event_size = _limit("max_event_size", max_event_size)
        self._on_comment = on_comment
        self._last_event_id = last_event_id  # the stream's: moves at a blank line
        self._retry: int | None = None  # the reconnection time: moves at its own line
        self._feeding = False  # True while on_comment may run, which must not call this decoder
        self._lock = Lock()  # makes each feed atomic among threads
        self._start()

    def _start(self) -> None:
        self._lines = _Lines()
        self._bom = True  # the next line is the stream's first: a byte-order mark may begin it
        self._data: list[bytes] = []  # the data buffer: one value for each data line
        self._data_size = 0  # its size in bytes, each value with its LF
        self._folded = 0  # how many items of _data hold several values, joined by _fold
        self._event = ""  # the event type buffer
        self._event_retry: int | None = None  # the retry field of this block, for Event.retry
        self._id = self._last_event_id  # the last event ID buffer: moves at an id line
        self._failure = ""  # why feed refuses until reset

    @property
    def last_event_id(self) -> str:
        """The last event ID string: what a reconnecting client sends as ``Last-Event-ID``."""
        return self._last_event_id

    @property
    def retry(self) -> int | None:
        """The reconnection time in milliseconds, or None while the stream has not set one."""
        return self._retry

    def feed(self, chunk: bytes | bytearray | memoryview, /) -> list[Event]:
        """Take the next chunk (any bytes-like object) and return the events that it dispatches.

        Raises:
            EventTooLarge: an event is over the limit; ``.events`` has the events before it. Every
                later `feed` raises it again, until `reset`.
            RuntimeError: called from within `on_comment`, or after `on_comment` has raised.
            TypeError: `chunk` is not bytes-like.
        """
        chunk = _bytes(chunk, _CHUNK)
        if self._feeding:
            self._refuse()
        limit = self._max_event_size
        events: list[Event] = []
        with self._lock:
            if self._failure:
                self._refuse()
            lines_in = self._lines
            # Where the whole chunk cannot reach the limit, no line of it needs to be checked.
            near = (
                limit is not None and self._data_size + len(lines_in.pending) + len(chunk) > limit
            )
            lines = lines_in.split(chunk)
            if self._on_comment is None:
                self._interpret(lines, events, limit if near else None)
            else:
                self._interpret_guarded(lines, events, limit if near else None)
            if self._folded or len(self._data) > _FOLD:
                self._fold()
            if near and self._data_size + len(lines_in.pending) > limit:  # type: ignore[operator]
                self._fail_size(events)
        return events

    def reset(self) -> None:
        """Begin a new stream: drop the buffers, forget a failure, accept a byte-order mark again.

        `last_event_id` and `retry` are kept: a client that reconnects needs both.

        Raises:
            RuntimeError: called from within `on_comment`.
        """
        if self._feeding:
            self._refuse()
        with self._lock:
            self._start()

    def _interpret(self, lines: list[bytes], events: list[Event], limit: int | None) -> None:
        """Follow the standard's steps for each line. A state machine: long, and better in one piece.

        The common data line is tested first, and `moved` lets a blank line after nothing but data
        skip the other fields: both are there for speed and change no result.
        """
        if self._bom and lines:
            self._bom = False
            if lines[0].startswith(_BOM):
                if limit is not None and self._data_size + len(lines[0]) > limit:
                    self._fail_size(events)
                lines[0] = lines[0][len(_BOM) :]
        data, size = self._data, self._data_size
        event, id, retry = "message", self._id, self._event_retry
        moved = True  # whether a field other than data may have come since the last blank line
        for line in lines:
            if limit is not None and size + len(line) > limit:
                self._fail_size(events)
            if line[:6] == b"data: ":
                data.append(line[6:])
                size += len(line) - 5
            elif not line:
                if moved:
                    event, id, retry = self._event or "message", self._id, self._event_retry
                    self._last_event_id = id
                if data:
                    text = data[0] if len(data) == 1 else b"\n".join(data)
                    events.append(_event(_decoded(text), event, id, retry))
                    data.clear()
                    size = 0
                if moved:
                    self._event, self._event_retry = "", None
                    event, retry = "message", None
                    moved = False
            elif line[0] == _COLON:
                if self._on_comment is not None:
                    self._on_comment(_decoded(line[2:] if line[1:2] == b" " else line[1:]))
            else:
                value = self._field(line)
                if value is None:
                    moved = True
                else:
                    data.append(value)
                    size += len(value) + 1
        self._data_size = size

    def _field(self, line: bytes) -> bytes | None:
        """Interpret a line that is no comment, not blank, and does not begin with "data: ".

        Returns:
            The value when the field is data, for the caller to add to the data buffer; otherwise None.
        """
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"event":
            self._event = _decoded(value)
        elif name == b"id":
            if b"\0" not in value:
                self._id = _decoded(value)
        elif name == b"retry":
            if value.isdigit():  # bytes: ASCII digits only, and at least one
                self._retry = self._event_retry = _milliseconds(value)
        elif name == b"data":
            return value
        return None

    def _fold(self) -> None:
        """Join the newest values of an event that has very many, so that its blank line has little left to join.

        Joining a million values at once takes 80 bytes of scratch memory for each, and most of the time
        goes into that memory.
        """
        data = self._data
        if not data:
            self._folded = 0
        elif len(data) - self._folded > _FOLD:
            data[self._folded :] = [b"\n".join(data[self._folded :])]
            self._folded += 1

    def _interpret_guarded(
        self, lines: list[bytes], events: list[Event], limit: int | None
    ) -> None:
        """Interpret lines while `on_comment` may run: refuse its calls to us, and remember if it raises."""
        self._feeding = True
        self._failure = "on_comment raised"
        try:
            self._interpret(lines, events, limit)
            self._failure = ""
        finally:
            self._feeding = False

    def _fail_size(self, events: list[Event]) -> NoReturn:
        assert self._max_event_size is not None
        self._failure = "size"
        self._feeding = False
        raise EventTooLarge(self._max_event_size, events)

    def _refuse(self) -> NoReturn:
        if self._feeding:
            raise RuntimeError("on_comment must not call the decoder that calls it")
        if self._failure == "size":
            assert self._max_event_size is not None
            raise EventTooLarge(self._max_event_size, [])
        raise RuntimeError("on_comment has raised in the middle of a chunk; reset() to go on")


def decode(stream: bytes | bytearray | memoryview) -> list[Event]:
    """Decode a whole event stream that is in memory already. No event is too large.

    Raises:
        TypeError: `stream` is not bytes-like.
    """
    return Decoder(max_event_size=None).feed(stream)


def _str(name: str, value: object, otherwise: str = "") -> str:
    if type(value) is str:
        return value
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str{otherwise}, not {type(value).__name__}")
    return _exact_str(value)


def _int(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be int or None, not {type(value).__name__}")
    return _exact_int(value)


def _exact_str(value: str) -> str:
    """Return plain str, because methods of a subclass (an Enum's `__format__`) could write other text."""
    return value if type(value) is str else str.__str__(value)


def _exact_int(value: int) -> int:
    return value if type(value) is int else int.__index__(value)


def _bytes(value: Any, otherwise: str) -> bytes:
    """Return the value itself when it is bytes, otherwise one contiguous copy of it."""
    if type(value) is bytes:
        return value
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(f"{otherwise}, not {type(value).__name__}") from None
    if not view.c_contiguous:
        raise BufferError("bytes-like values must be contiguous")
    return view.tobytes()


def _limit(name: str, value: int | None) -> int | None:
    if value is None:
        return None
    value = _int(name, value)
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def _decoded(value: bytes) -> str:
    """Decode a value as UTF-8, with U+FFFD for each part that is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")


def _milliseconds(digits: bytes) -> int:
    if len(digits) < 19:
        return int(digits)
    digits = digits.lstrip(b"0")  # int() refuses a few thousand digits
    return min(int(digits or b"0"), MAX_RETRY) if len(digits) <= 19 else MAX_RETRY
