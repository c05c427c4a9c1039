"""The standard a third time: a parser that shares no idea with the twins, to judge them by.

The twins split bytes first and decode each value after. This parser does what the HTML standard's text says, in its
order: decode the whole stream (the Encoding standard's "UTF-8 decode", state by state), then go through it character by
character. The parser is slow, is never fed in parts, and must stay simple. The benchmarks judge their contenders by it,
too (`benchmarks/reference.py`).
"""

from __future__ import annotations

from typing import NamedTuple

MAX_RETRY = 2**63 - 1  # ours: the standard sets no bound on the reconnection time


class Fields(NamedTuple):
    """An event as plain values: equal whichever twin it came from."""

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None


class Reading(NamedTuple):
    """All that a stream says."""

    events: list[Fields]
    last_event_id: str
    retry: int | None
    comments: list[str]


def fields_of(event: object) -> Fields:
    """Take the fields of either twin's Event."""
    return Fields(event.data, event.event, event.id, event.retry)  # type: ignore[attr-defined]


def utf8_decode(octets: bytes) -> str:
    """Encoding standard, "UTF-8 decode": a leading byte-order mark goes, each error is one U+FFFD."""
    if octets[:3] == b"\xef\xbb\xbf":
        octets = octets[3:]
    text: list[str] = []
    point = seen = needed = 0
    lower, upper = 0x80, 0xBF
    position = 0
    while position < len(octets):
        octet = octets[position]
        position += 1
        if needed == 0:
            if octet <= 0x7F:
                text.append(chr(octet))
            elif 0xC2 <= octet <= 0xDF:
                needed, point = 1, octet & 0x1F
            elif 0xE0 <= octet <= 0xEF:
                lower = 0xA0 if octet == 0xE0 else 0x80
                upper = 0x9F if octet == 0xED else 0xBF
                needed, point = 2, octet & 0xF
            elif 0xF0 <= octet <= 0xF4:
                lower = 0x90 if octet == 0xF0 else 0x80
                upper = 0x8F if octet == 0xF4 else 0xBF
                needed, point = 3, octet & 0x7
            else:
                text.append("\ufffd")
        elif not lower <= octet <= upper:
            point = seen = needed = 0
            lower, upper = 0x80, 0xBF
            position -= 1
            text.append("\ufffd")
        else:
            lower, upper = 0x80, 0xBF
            point = point << 6 | octet & 0x3F
            seen += 1
            if seen == needed:
                text.append(chr(point))
                point = seen = needed = 0
    if needed:
        text.append("\ufffd")
    return "".join(text)


class _Stream:
    """The buffers of section 9.2.6, which belong to a stream, and its steps for each line."""

    def __init__(self, last_event_id: str) -> None:
        self.data_buffer = ""
        self.event_type_buffer = ""
        self.last_event_id_buffer = last_event_id
        self.last_event_id = last_event_id
        self.reconnection_time: int | None = None
        self.block_retry: int | None = None
        self.events: list[Fields] = []
        self.comments: list[str] = []

    def line(self, line: str) -> None:
        if line == "":
            self.dispatch()
        elif line[0] == ":":
            self.comments.append(line[2:] if line[1:2] == " " else line[1:])
        elif ":" in line:
            at = line.index(":")
            self.field(
                line[:at], line[at + 2 :] if line[at + 1 : at + 2] == " " else line[at + 1 :]
            )
        else:
            self.field(line, "")

    def field(self, name: str, value: str) -> None:
        if name == "event":
            self.event_type_buffer = value
        elif name == "data":
            self.data_buffer += value + "\n"
        elif name == "id":
            if "\0" not in value:
                self.last_event_id_buffer = value
        elif name == "retry" and value != "" and all(digit in "0123456789" for digit in value):
            number = 0
            for digit in value:
                number = min(number * 10 + "0123456789".index(digit), MAX_RETRY)
            self.reconnection_time = self.block_retry = number

    def dispatch(self) -> None:
        self.last_event_id = self.last_event_id_buffer
        if self.data_buffer != "":
            self.events.append(
                Fields(
                    self.data_buffer[:-1],
                    self.event_type_buffer or "message",
                    self.last_event_id,
                    self.block_retry,
                )
            )
        self.data_buffer = self.event_type_buffer = ""
        self.block_retry = None


def read(octets: bytes, last_event_id: str = "") -> Reading:
    """Interpret a whole event stream. A line that no line end has closed is discarded, as at the end of a file."""
    stream = _Stream(last_event_id)
    line = ""
    after_cr = False
    for character in utf8_decode(octets):
        if character == "\n" and after_cr:
            after_cr = False
        elif character in "\r\n":
            after_cr = character == "\r"
            stream.line(line)
            line = ""
        else:
            after_cr = False
            line += character
    return Reading(stream.events, stream.last_event_id, stream.reconnection_time, stream.comments)
