"""The HTML standard's "Server-sent events" as a table: each rule, and each fault met elsewhere, is a row.

A row says what a decoder must make of a stream; `tests/codec/test_decoder.py` runs it whole, byte by byte and at
every cut, on both twins. A bug becomes a row here before it becomes a fix.

Sections: 9.2.5 "Parsing an event stream" (the grammar), 9.2.6 "Interpreting an event stream" (the steps),
and the Encoding standard's "UTF-8 decode", which 9.2.6 begins with.
"""

from __future__ import annotations

from typing import NamedTuple

from support.standard import MAX_RETRY
from support.standard import Fields as E


class Case(NamedTuple):
    """One row: what goes in, and all that must come out."""

    section: str
    rule: str
    stream: bytes
    events: list[E]
    last_event_id: str = ""
    retry: int | None = None
    comments: tuple[str, ...] = ()


class Prompt(NamedTuple):
    """The events that each chunk must deliver at once, without waiting for the next one."""

    rule: str
    chunks: list[bytes]
    events: list[list[E]]


BOM = b"\xef\xbb\xbf"
_SECTIONS: dict[str, list[tuple]] = {}  # type: ignore[type-arg]

# Grammar: stream = [ bom ] *event. "UTF-8 decode" takes one byte-order mark away, at the start only.
_SECTIONS["9.2.5 bom"] = [
    ("one is stripped before a field", BOM + b"data: a\n\n", [E("a")]),
    ("one is stripped before a comment", BOM + b": c\ndata: a\n\n", [E("a")], "", None, ("c",)),
    ("one is stripped before a blank line", BOM + b"\ndata: a\n\n", [E("a")]),
    ("one is stripped before a blank CR line", BOM + b"\rdata: a\r\r", [E("a")]),
    ("one is stripped before an id", BOM + b"id: 1\n\n", [], "1"),
    ("one is stripped before a retry", BOM + b"retry: 5\n", [], "", 5),
    ("one is stripped before an event type", BOM + b"event: x\ndata: a\n\n", [E("a", "x")]),
    ("one is stripped before a bare field name", BOM + b"data\n\n", [E("")]),
    ("alone it is no line", BOM, []),
    ("alone on its line it is a blank line", BOM + b"\n", []),
    ("of two the second belongs to the name", BOM + BOM + b"data: a\n\ndata: b\n\n", [E("b")]),
    (
        "in the middle it belongs to the name",
        BOM + b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n",
        [E("1"), E("3")],
    ),
    (
        "after a blank first line it belongs to the name",
        b"\n" + BOM + b"data: a\n\ndata: b\n\n",
        [E("b")],
    ),
    (
        "after a comment it belongs to the name",
        b":\n" + BOM + b"data: a\n\ndata: b\n\n",
        [E("b")],
        "",
        None,
        ("",),
    ),
    ("after a line end LF of CRLF still no start", b"\r\n" + BOM + b"data: a\n\n", []),
    ("within a value it stays", b"data: " + BOM + b"a\n\n", [E("\ufeffa")]),
    ("as a whole value it stays", b"data:" + BOM + b"\n\n", [E("\ufeff")]),
    ("before a colon it makes another name", b"x\n" + BOM + b": a\ndata: b\n\n", [E("b")]),
    ("a mark before a colon is a comment", BOM + b":x\n", [], "", None, ("x",)),
    ("one byte of it is an unknown name", b"\xefdata: a\n\ndata: b\n\n", [E("b")]),
    ("two bytes of it are an unknown name", b"\xef\xbbdata: a\n\ndata: b\n\n", [E("b")]),
    ("two bytes of it and a line end are no mark", b"\xef\xbb\n\xbfdata: a\n\n", []),
    ("two bytes of it at the end of file", b"\xef\xbb", []),
    ("a wrong third byte is an unknown name", b"\xef\xbb\xbedata: a\n\ndata: b\n\n", [E("b")]),
    ("UTF-16 marks are unknown names", b"\xff\xfedata: a\n\n\xfe\xffdata: b\n\n", []),
    (
        "a mark and nothing dispatched keeps the id",
        BOM + b"id: 7\n\ndata: a\n\n",
        [E("a", id="7")],
        "7",
    ),
]

# Grammar: end-of-line = cr lf / cr / lf.
_SECTIONS["9.2.5 end-of-line"] = [
    ("LF", b"data: a\ndata: b\n\n", [E("a\nb")]),
    ("CR", b"data: a\rdata: b\r\r", [E("a\nb")]),
    ("CRLF", b"data: a\r\ndata: b\r\n\r\n", [E("a\nb")]),
    ("CRLF is one line end, not two", b"data: a\r\nid: 1\r\n\r\n", [E("a", id="1")], "1"),
    ("LF CR are two", b"data: a\n\rdata: b\n\r", [E("a"), E("b")]),
    ("CR CRLF are two", b"data: a\r\r\ndata: b\r\r\n", [E("a"), E("b")]),
    ("CRLF CR are two", b"data: a\r\n\rdata: b\r\n\r", [E("a"), E("b")]),
    ("CRLF LF are two", b"data: a\r\n\ndata: b\r\n\n", [E("a"), E("b")]),
    ("LF CRLF are two", b"data: a\n\r\ndata: b\n\r\n", [E("a"), E("b")]),
    ("CR CR LF LF is one blank line too many", b"data: a\r\r\n\ndata: b\n\n", [E("a"), E("b")]),
    (
        "mixed in one stream",
        b"data: a\r\ndata: b\n\rdata: c\r\n\r\n",
        [E("a\nb"), E("c")],
    ),
    (
        "mixed in one block",
        b"event: e\rid: 1\ndata: a\r\ndata: b\r\n\n",
        [E("a\nb", "e", "1")],
        "1",
    ),
    (
        "CRLF after a long line",
        b"data: " + b"x" * 70 + b"\r\ndata: y\r\n\r\n",
        [E("x" * 70 + "\ny")],
    ),
    ("a CRLF at byte 512", b"data: " + b"x" * 505 + b"\r\ndata: s\r\n\r\n", [E("x" * 505 + "\ns")]),
    ("CR at the end of file closes its line", b"data: a\n\r", [E("a")]),
    ("blank lines only, LF", b"\n\n\n\n", []),
    ("blank lines only, CR", b"\r\r\r\r", []),
    ("blank lines only, CRLF", b"\r\n\r\n\r\n", []),
    ("blank lines before the first field", b"\n\r\n\rdata: a\n\n", [E("a")]),
    ("blank lines between blocks", b"data: a\n\n\n\n\ndata: b\n\n", [E("a"), E("b")]),
    ("blank CR lines between blocks", b"data: a\r\r\r\rdata: b\r\r", [E("a"), E("b")]),
    ("an empty stream", b"", []),
    ("U+2028 and U+2029 end no line", "data: a\u2028b\u2029c\n\n".encode(), [E("a\u2028b\u2029c")]),
    ("U+0085 ends no line", b"data: a\xc2\x85b\n\n", [E("a\x85b")]),
    (
        "VT, FF, FS, GS, RS and US end no line",
        b"data: a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg\n\n",
        [E("a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg")],
    ),
    (
        "none of them ends a line among CRs",
        b"data: a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg\xc2\x85h\xe2\x80\xa8i\rdata: j\x0bk\r\r",
        [E("a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg\x85h\u2028i\nj\x0bk")],
    ),
    ("a bare 0x85 ends no line", b"data: a\x85b\n\n", [E("a\ufffdb")]),
    ("NUL ends no line", b"data: a\x00data: b\n\n", [E("a\x00data: b")]),
    ("a backslash and n end no line", b"data: a\\ndata: b\n\n", [E("a\\ndata: b")]),
    ("two bytes that hold 0x0A are not UTF-8", b"data: \xc4\x0a\x0a", [E("\ufffd")]),
    ("two bytes that hold 0x0D are not UTF-8", b"data: \xc4\x0d\x0d", [E("\ufffd")]),
    (
        "LF in the high byte of U+0A0D is text",
        "data: \u0a0d\u0d0a\n\n".encode(),
        [E("\u0a0d\u0d0a")],
    ),
]

# Grammar: field = 1*name-char [ colon [ space ] *any-char ] end-of-line.
_SECTIONS["9.2.5 field"] = [
    ("without a colon the value is empty", b"data\n\ndata\ndata\n\ndata:", [E(""), E("\n")]),
    ("without a value it is empty", b"data:\n\n", [E("")]),
    ("a space alone is no value", b"data: \n\n", [E("")]),
    ("two spaces are one", b"data:  \n\n", [E(" ")]),
    ("no space after the colon", b"data:x\n\n", [E("x")]),
    ("one space goes", b"data: x\n\n", [E("x")]),
    ("one space only goes", b"data:x\n\ndata:  y\n\ndata:   z\n\n", [E("x"), E(" y"), E("  z")]),
    ("a tab stays", b"data:\tx\n\n", [E("\tx")]),
    ("a tab after the space stays", b"data: \tx\n\n", [E("\tx")]),
    ("a no-break space stays", "data:\u00a0x\n\n".encode(), [E("\u00a0x")]),
    ("spaces at the end stay", b"data: x  \n\n", [E("x  ")]),
    ("a space before the colon is of the name", b"data : x\n\ndata: y\n\n", [E("y")]),
    ("a space before the name is of the name", b" data: x\n\ndata: y\n\n", [E("y")]),
    ("a tab before the name is of the name", b"\tdata: x\n\ndata: y\n\n", [E("y")]),
    ("the first colon parts", b"data: a: b:c\n\n", [E("a: b:c")]),
    ("two colons", b"data::\n\n", [E(":")]),
    ("a colon as the value", b"data: :\n\n", [E(":")]),
    ("a value that looks like a field", b"data: data: x\n\n", [E("data: x")]),
    ("a value that looks like a comment", b"data: : x\n\n", [E(": x")]),
    ("a URL as the value", b"data: http://a/?b=c:d\n\n", [E("http://a/?b=c:d")]),
    ("a BOM within a name makes another name", b"da" + BOM + b"ta: a\n\ndata: b\n\n", [E("b")]),
    ("NUL within a name makes another name", b"da\x00ta: a\n\ndata: b\n\n", [E("b")]),
    ("NUL after a name makes another name", b"data\x00: a\n\ndata\x00\n\ndata: b\n\n", [E("b")]),
    ("NUL in data stays", b"data: \x00\n\n", [E("\x00")]),
    ("NUL in an event type stays", b"event: a\x00b\ndata: x\n\n", [E("x", "a\x00b")]),
    ("U+FFFD in a name makes another name", b"da\xffta: a\n\ndata: b\n\n", [E("b")]),
    ("astral characters", "data: \U0001f600\U0010ffff\n\n".encode(), [E("\U0001f600\U0010ffff")]),
    (
        "every ASCII character but the line ends",
        b"data: " + bytes(c for c in range(128) if c not in b"\r\n") + b"\n\n",
        [E("".join(chr(c) for c in range(128) if c not in b"\r\n"))],
    ),
]

# 9.2.6: "If the line starts with a colon: ignore the line."
_SECTIONS["9.2.6 comment"] = [
    ("alone", b":\n", [], "", None, ("",)),
    ("with text", b": hi\n", [], "", None, ("hi",)),
    ("one space goes", b":a\n: b\n:  c\n", [], "", None, ("a", "b", " c")),
    ("with colons", b"::\n: a:b\n", [], "", None, (":", "a:b")),
    ("that looks like a field", b":data: x\n\n", [], "", None, ("data: x",)),
    ("within a block", b"data: a\n: c\ndata: b\n\n", [E("a\nb")], "", None, ("c",)),
    ("first in a block", b": c\ndata: a\n\n", [E("a")], "", None, ("c",)),
    ("last in a block", b"data: a\n: c\n\n", [E("a")], "", None, ("c",)),
    ("and a blank line dispatch nothing", b":\n\n:\n\n: x\n\n", [], "", None, ("", "", "x")),
    (
        "after an id makes no event",
        b"id: 1\ndata: a\n\n: ping\n\ndata: b\n\n",
        [E("a", id="1"), E("b", id="1")],
        "1",
        None,
        ("ping",),
    ),
    (
        "does not reset the event type",
        b"event: x\n: c\ndata: a\n\n",
        [E("a", "x")],
        "",
        None,
        ("c",),
    ),
    ("with NUL", b": a\x00b\n", [], "", None, ("a\x00b",)),
    ("that is not UTF-8", b": \xff\ndata: a\n\n", [E("a")], "", None, ("\ufffd",)),
    ("that ends in half a character", b": \xe2\x82\ndata: a\n\n", [E("a")], "", None, ("\ufffd",)),
    ("with U+2028", ": a\u2028b\n".encode(), [], "", None, ("a\u2028b",)),
    ("with CR", b": a\r: b\r", [], "", None, ("a", "b")),
    ("with CRLF", b": a\r\n: b\r\n", [], "", None, ("a", "b")),
    ("unfinished at the end of file", b"data: a\n\n: c", [E("a")]),
    ("long", b":" + b"x" * 700 + b"\ndata: a\n\n", [E("a")], "", None, ("x" * 700,)),
    (
        "between every field",
        b":1\nid: 1\n:2\nevent: e\n:3\nretry: 4\n:5\ndata: a\n:6\n\n:7\n",
        [E("a", "e", "1", 4)],
        "1",
        4,
        ("1", "2", "3", "5", "6", "7"),
    ),
    ("that holds a byte-order mark", b": " + BOM + b"\n", [], "", None, ("\ufeff",)),
]

# 9.2.6: 'If the field name is "data": append the field value to the data buffer, then a single U+000A.'
_SECTIONS["9.2.6 data"] = [
    ("one line", b"data: a\n\n", [E("a")]),
    ("lines are joined by LF", b"data: a\ndata: b\ndata: c\n\n", [E("a\nb\nc")]),
    ("an empty line is a line", b"data: a\ndata\ndata\n\n", [E("a\n\n")]),
    ("an empty line first", b"data\ndata: a\n\n", [E("\na")]),
    ("an empty line with a colon first", b"data:\ndata: a\n\n", [E("\na")]),
    ("an empty line between", b"data: a\ndata:\ndata: b\n\n", [E("a\n\nb")]),
    ("one empty line is an event", b"data:\n\n", [E("")]),
    ("two empty lines are one LF", b"data:\ndata:\n\n", [E("\n")]),
    ("three empty lines are two LF", b"data\ndata:\ndata: \n\n", [E("\n\n")]),
    ("only the last LF goes", b"data: a\ndata: \ndata: \n\n", [E("a\n\n")]),
    (
        "other fields between its lines",
        b"data: a\nid: 1\ndata: b\nx: y\ndata: c\n\n",
        [E("a\nb\nc", id="1")],
        "1",
    ),
    ("the buffer is reset", b"data: a\n\ndata: b\n\n", [E("a"), E("b")]),
    ("equal events are both dispatched", b"data: a\n\ndata: a\n\n", [E("a"), E("a")]),
    ("JSON", b'data: {"a": [1, "\\n"]}\n\n', [E('{"a": [1, "\\n"]}')]),
    ("the marker of chat streams", b"data: [DONE]\n\n", [E("[DONE]")]),
    ("a long value", b"data: " + b"x" * 700 + b"\n\n", [E("x" * 700)]),
    ("many lines", b"data: x\n" * 64 + b"\n", [E("\n".join("x" * 64))]),
    ("many empty lines", b"data\n" * 64 + b"\n", [E("\n" * 63)]),
]

# 9.2.6: 'If the field name is "event": set the event type buffer to the field value.'
_SECTIONS["9.2.6 event"] = [
    ("names the type", b"event: x\ndata: a\n\n", [E("a", "x")]),
    ("after the data", b"data: a\nevent: x\n\n", [E("a", "x")]),
    ("without it the type is message", b"data: a\n\n", [E("a", "message")]),
    ("message by name", b"event: message\ndata: a\n\n", [E("a", "message")]),
    ("empty is message", b"event:\ndata: a\n\n", [E("a")]),
    ("empty with a space is message", b"event: \ndata: a\n\n", [E("a")]),
    ("without a colon is message", b"event\ndata: a\n\n", [E("a")]),
    ("two spaces are a type of one", b"event:  \ndata: a\n\n", [E("a", " ")]),
    ("the last one wins", b"event: x\nevent: y\ndata: a\n\n", [E("a", "y")]),
    ("a last empty one wins", b"event: x\nevent:\ndata: a\n\n", [E("a")]),
    ("is reset after dispatch", b"event: x\ndata: a\n\ndata: b\n\n", [E("a", "x"), E("b")]),
    ("without data makes no event", b"event: x\n\n", []),
    ("without data is reset", b"event: x\n\ndata: a\n\n", [E("a")]),
    ("keeps its spaces at the end", b"event: x \ndata: a\n\n", [E("a", "x ")]),
    ("with a colon", b"event: a:b\ndata: c\n\n", [E("c", "a:b")]),
    ("in other alphabets", "event: événement\ndata: a\n\n".encode(), [E("a", "événement")]),
    ("that is not UTF-8", b"event: \xff\ndata: a\n\n", [E("a", "\ufffd")]),
    ("repeated", b"event: x\ndata: a\n\nevent: x\ndata: b\n\n", [E("a", "x"), E("b", "x")]),
    (
        "alternating, one the prefix of the other",
        b"event: ab\ndata: 1\n\nevent: a\ndata: 2\n\nevent: abc\ndata: 3\n\nevent: ab\ndata: 4\n\n",
        [E("1", "ab"), E("2", "a"), E("3", "abc"), E("4", "ab")],
    ),
    (
        "error and open are types like others",
        b"event: error\ndata: a\n\nevent: open\ndata: b\n\n",
        [E("a", "error"), E("b", "open")],
    ),
]

# 9.2.6: 'If the field name is "id": if the field value does not contain U+0000 NULL, then set the last event
# ID buffer to the field value. Otherwise, ignore the field.' The buffer moves here, the stream's value at the
# blank line, whether or not anything is dispatched.
_SECTIONS["9.2.6 id"] = [
    ("is the event's", b"id: 1\ndata: a\n\n", [E("a", id="1")], "1"),
    ("after the data", b"data: a\nid: 1\n\n", [E("a", id="1")], "1"),
    ("is kept", b"id: 7\ndata: a\n\ndata: b\n\n", [E("a", id="7"), E("b", id="7")], "7"),
    ("moves on", b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n", [E("a", id="1"), E("b", id="2")], "2"),
    ("the last one wins", b"id: 1\nid: 2\ndata: a\n\n", [E("a", id="2")], "2"),
    ("empty resets it", b"id: 1\ndata: a\n\nid:\ndata: b\n\n", [E("a", id="1"), E("b")], ""),
    (
        "without a colon resets it",
        b"id: 1\ndata: a\n\nid\ndata: b\n\n",
        [E("a", id="1"), E("b")],
        "",
    ),
    (
        "a space alone resets it",
        b"id: 1\ndata: a\n\nid: \ndata: b\n\n",
        [E("a", id="1"), E("b")],
        "",
    ),
    ("a last empty one wins", b"id: 1\nid\ndata: a\n\n", [E("a")], ""),
    ("two spaces are an id of one", b"id:  \ndata: a\n\n", [E("a", id=" ")], " "),
    ("without data makes no event", b"id: 9\n\n", [], "9"),
    ("without data counts for the next event", b"id: 9\n\ndata: a\n\n", [E("a", id="9")], "9"),
    ("without data and reset", b"id: 9\n\nid\n\ndata: a\n\n", [E("a")], ""),
    ("before its blank line moves no last event ID", b"id: 1\n", [], ""),
    (
        "before its blank line keeps the last one",
        b"id: 1\ndata: a\n\nid: 2\n",
        [E("a", id="1")],
        "1",
    ),
    (
        "before its blank line, with data",
        b"id: 1\ndata: a\n\nid: 2\ndata: b\n",
        [E("a", id="1")],
        "1",
    ),
    ("with NUL is ignored", b"id: 2\x003\ndata: a\n\n", [E("a")], ""),
    (
        "with NUL keeps the last one",
        b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n",
        [E("a", id="1"), E("b", id="1")],
        "1",
    ),
    ("with NUL first is ignored", b"id: 1\nid: \x00\ndata: a\n\n", [E("a", id="1")], "1"),
    ("with NUL last is ignored", b"id: 1\nid: 2\x00\ndata: a\n\n", [E("a", id="1")], "1"),
    ("NUL right after the colon", b"id: 1\nid:\x00\ndata: a\n\n", [E("a", id="1")], "1"),
    (
        "with an escaped NUL is an id",
        b"id: \xc0\x80\ndata: a\n\n",
        [E("a", id="\ufffd\ufffd")],
        "\ufffd\ufffd",
    ),
    ("keeps its spaces", b"id:  a b \ndata: a\n\n", [E("a", id=" a b ")], " a b "),
    ("with a colon", b"id: a:1\ndata: x\n\n", [E("x", id="a:1")], "a:1"),
    ("is any text", "id: …\ndata: a\n\n".encode(), [E("a", id="…")], "…"),
    ("that is not UTF-8", b"id: \xff1\ndata: a\n\n", [E("a", id="\ufffd1")], "\ufffd1"),
    ("a number is text", b"id: 007\ndata: a\n\n", [E("a", id="007")], "007"),
    (
        "in its own block after the data",
        b"data: a\n\nid: 1\n\ndata: b\n\n",
        [E("a"), E("b", id="1")],
        "1",
    ),
    ("a comment block keeps it", b"id: 1\n\n:\n\ndata: a\n\n", [E("a", id="1")], "1", None, ("",)),
    ("a retry block keeps it", b"id: 1\n\nretry: 2\n\ndata: a\n\n", [E("a", id="1")], "1", 2),
    ("long", b"id: " + b"9" * 300 + b"\ndata: a\n\n", [E("a", id="9" * 300)], "9" * 300),
]

# 9.2.6: 'If the field name is "retry": if the field value consists of only ASCII digits, then interpret it
# as an integer in base ten, and set the event stream's reconnection time. Otherwise, ignore the field.'
_SECTIONS["9.2.6 retry"] = [
    ("digits", b"retry: 3000\n", [], "", 3000),
    ("needs no blank line", b"retry: 3000", [], "", None),
    ("needs its line end", b"retry: 3000\r", [], "", 3000),
    ("is the event's too", b"retry: 10\ndata: a\n\n", [E("a", retry=10)], "", 10),
    (
        "is of its own block only",
        b"retry: 10\ndata: a\n\ndata: b\n\n",
        [E("a", retry=10), E("b")],
        "",
        10,
    ),
    ("without data makes no event", b"retry: 3000\n\n", [], "", 3000),
    ("without data is not of the next event", b"retry: 3000\n\ndata: a\n\n", [E("a")], "", 3000),
    ("the last one wins", b"retry: 1\nretry: 2\ndata: a\n\n", [E("a", retry=2)], "", 2),
    ("a bad one after a good one", b"retry: 1\nretry: x\ndata: a\n\n", [E("a", retry=1)], "", 1),
    ("zero", b"retry: 0\ndata: a\n\n", [E("a", retry=0)], "", 0),
    ("many zeros", b"retry: 000\n", [], "", 0),
    ("zeros before", b"retry: 0010\n", [], "", 10),
    ("a hundred zeros before", b"retry: " + b"0" * 100 + b"7\n", [], "", 7),
    ("no space", b"retry:15\n", [], "", 15),
    ("a second space", b"retry:  15\n", [], "", None),
    ("a space after", b"retry: 15 \n", [], "", None),
    ("a tab", b"retry:\t15\n", [], "", None),
    ("a space between", b"retry: 1 5\n", [], "", None),
    ("empty", b"retry:\n", [], "", None),
    ("empty keeps the last one", b"retry: 1000\nretry:\nretry\nretry: \n", [], "", 1000),
    ("without a colon", b"retry\n", [], "", None),
    ("a minus sign", b"retry: -5\ndata: a\n\n", [E("a")], "", None),
    ("a plus sign", b"retry: +5\ndata: a\n\n", [E("a")], "", None),
    ("an underscore", b"retry: 1_000\ndata: a\n\n", [E("a")], "", None),
    ("a decimal point", b"retry: 1.5\n", [], "", None),
    ("a decimal point and nothing after", b"retry: 1.\n", [], "", None),
    ("an exponent", b"retry: 1e3\ndata: a\n\n", [E("a")], "", None),
    ("hexadecimal", b"retry: 0x10\n", [], "", None),
    ("letters", b"retry: abc\n", [], "", None),
    ("letters after", b"retry: 1000x\n", [], "", None),
    ("letters before", b"retry: x1000\n", [], "", None),
    ("a comma", b"retry: 1,000\n", [], "", None),
    ("Arabic digits", "retry: ٣\ndata: a\n\n".encode(), [E("a")], "", None),
    ("full-width digits", "retry: １０\n".encode(), [], "", None),
    ("superscript digits", "retry: ²\n".encode(), [], "", None),
    ("NUL", b"retry: 1\x00\n", [], "", None),
    ("a byte that is not UTF-8", b"retry: 1\xff\n", [], "", None),
    ("the colon after the digits", b"retry: 1:\n", [], "", None),
    ("the character before 0", b"retry: /\n", [], "", None),
    ("the character after 9", b"retry: 1:2\n", [], "", None),
    ("2 to the 31", b"retry: 2147483648\n", [], "", 2**31),
    ("2 to the 53 and one", b"retry: 9007199254740993\n", [], "", 2**53 + 1),
    ("19 digits", b"retry: 9223372036854775806\n", [], "", MAX_RETRY - 1),
    ("the largest", b"retry: 9223372036854775807\n", [], "", MAX_RETRY),
    ("one more than the largest", b"retry: 9223372036854775808\n", [], "", MAX_RETRY),
    ("2 to the 64", b"retry: 18446744073709551616\n", [], "", MAX_RETRY),
    ("19 nines", b"retry: " + b"9" * 19 + b"\n", [], "", MAX_RETRY),
    ("20 digits", b"retry: 10000000000000000000\n", [], "", MAX_RETRY),
    ("20 digits, the first zero", b"retry: 01000000000000000000\n", [], "", 10**18),
    (
        "500 digits",
        b"retry: " + b"8" * 500 + b"\ndata: a\n\n",
        [E("a", retry=MAX_RETRY)],
        "",
        MAX_RETRY,
    ),
]

# 9.2.6: "Otherwise: the field is ignored." Field names are compared literally, with no case folding.
_SECTIONS["9.2.6 other fields"] = [
    ("are ignored", b"foo: x\ndata: a\n\n", [E("a")]),
    ("without a colon are ignored", b"foo\ndata: a\n\n", [E("a")]),
    ("alone make no event", b"foo: x\n\nfoo\n\n", []),
    ("named Data", b"Data: x\n\ndata: a\n\n", [E("a")]),
    ("named DATA", b"DATA: x\n\ndata: a\n\n", [E("a")]),
    ("named ID, Id and iD", b"ID: 1\nId: 2\niD: 3\ndata: a\n\n", [E("a")], ""),
    ("named Event", b"Event: x\nEVENT: y\ndata: a\n\n", [E("a")]),
    ("named Retry", b"Retry: 1\nRETRY: 2\n", [], "", None),
    ("named by a prefix", b"dat: x\nd: y\nda: z\ni: 1\neven: e\nretr: 1\ndata: a\n\n", [E("a")]),
    ("named by more", b"data1: x\ndatas: y\nids: 1\nevents: e\nretrys: 1\ndata: a\n\n", [E("a")]),
    ("named by more, without a colon", b"dataa\nidd\nevente\nretryy\ndata: a\n\n", [E("a")]),
    ("of the same length", b"date: x\nix: 1\nevens: e\nretri: 1\ndata: a\n\n", [E("a")]),
    ("with a hyphen", b"last-event-id: 1\ndata: a\n\n", [E("a")]),
    ("do not end the data", b"data: a\nfoo: x\ndata: b\n\n", [E("a\nb")]),
    (
        "in a stream of something else",
        b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n<p>hello</p>\r\n\r\n",
        [],
    ),
    ("names of long s are not folded", "ſdata: x\ndata: a\n\n".encode(), [E("a")]),
    ("a full-width colon parts nothing", "data： a\n\ndata: b\n\n".encode(), [E("b")]),
    ("a soft hyphen makes another name", "da\u00adta: a\n\ndata: b\n\n".encode(), [E("b")]),
    ("a long name", b"x" * 300 + b": y\ndata: a\n\n", [E("a")]),
]

# 9.2.6: the steps at a blank line.
_SECTIONS["9.2.6 dispatch"] = [
    ("nothing without data", b"\n\n\n", []),
    ("no phantom after a type", b"event: x\n\ndata: a\n\n", [E("a")]),
    ("no phantom after an id", b"id: 9\n\ndata: a\n\n", [E("a", id="9")], "9"),
    ("no phantom after a retry", b"retry: 3000\n\ndata: a\n\n", [E("a")], "", 3000),
    ("no phantom after all but data", b"id: 1\nevent: e\nretry: 2\n\n", [], "1", 2),
    ("a second blank line dispatches nothing", b"data: a\n\n\n", [E("a")]),
    (
        "all fields",
        b"id: 1\nevent: e\nretry: 2\ndata: a\ndata: b\n\n",
        [E("a\nb", "e", "1", 2)],
        "1",
        2,
    ),
    (
        "all fields backwards",
        b"data: b\nretry: 2\nevent: e\nid: 1\n\n",
        [E("b", "e", "1", 2)],
        "1",
        2,
    ),
    (
        "what is reset and what is kept",
        b"id: 1\nevent: e\nretry: 2\ndata: a\n\ndata: b\n\n",
        [E("a", "e", "1", 2), E("b", "message", "1", None)],
        "1",
        2,
    ),
    (
        "the standard's stocks",
        b"data: YHOO\ndata: +2\ndata: 10\n\n",
        [E("YHOO\n+2\n10")],
    ),
    (
        "the standard's four blocks",
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [E("first event", id="1"), E("second event"), E(" third event")],
        "",
        None,
        ("test stream",),
    ),
    ("the standard's empty data", b"data\n\ndata\ndata\n\ndata:", [E(""), E("\n")]),
    ("the standard's equal events", b"data:test\n\ndata: test\n\n", [E("test"), E("test")]),
    (
        "the standard's types",
        b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n",
        [E("73857293", "add"), E("2153", "remove"), E("113411", "add")],
    ),
    (
        "odd spelling of everything",
        b"data:\x00\ndata:  2\rData:1\ndata\x00:2\ndata:1\r\x00data:4\nda-ta:3\rdata_5\ndata:3\r"
        b"data:\r\n data:32\ndata:4\n\n",
        [E("\x00\n 2\n1\n3\n\n4")],
    ),
    (
        "a mark, all line ends, all fields",
        BOM + b"event: e\r\ndata: 1\r\n\r\nretry: 10\rdata: 2\r\rid: 3\ndata: 3\n\n",
        [E("1", "e"), E("2", retry=10), E("3", id="3")],
        "3",
        10,
    ),
]

# 9.2.6: "Once the end of the file is reached, any pending data must be discarded."
_SECTIONS["9.2.6 end of file"] = [
    ("within a line", b"data: a\n\ndata: b", [E("a")]),
    ("after a line", b"data: a\n\ndata: b\n", [E("a")]),
    ("after a CR line", b"data: a\r\rdata: b\r", [E("a")]),
    ("after a CRLF line", b"data: a\r\n\r\ndata: b\r\n", [E("a")]),
    ("within a name", b"data: a\n\nda", [E("a")]),
    ("after a name", b"data: a\n\ndata", [E("a")]),
    ("after a colon", b"data: a\n\ndata:", [E("a")]),
    ("within a character", b"data: a\n\ndata: \xe2\x82", [E("a")]),
    ("with nothing but data", b"data: a", []),
    ("with nothing but a line", b"data: a\n", []),
    ("an id is discarded", b"data: a\n\nid: 1", [E("a")], ""),
    ("a type is discarded", b"event: x", []),
    ("a retry line counts at its end", b"retry: 1\nretry: 2", [], "", 1),
]

# Encoding standard, "UTF-8 decode": each maximal wrong part is one U+FFFD, and a line end is never eaten.
_SECTIONS["UTF-8 decode"] = [
    ("two, three and four bytes", "data: é€\U0001f600\n\n".encode(), [E("é€\U0001f600")]),
    (
        "the first and last of each length",
        "data: \x7f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff\n\n".encode(),
        [E("\x7f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff")],
    ),
    ("noncharacters are characters", "data: \ufdd0\ufffe\n\n".encode(), [E("\ufdd0\ufffe")]),
    ("U+FFFD itself", "data: \ufffd\n\n".encode(), [E("\ufffd")]),
    ("nothing is composed", "data: e\u0301\n\n".encode(), [E("e\u0301")]),
    ("a byte that never occurs", b"data: a\xffb\n\n", [E("a\ufffdb")]),
    ("two of them", b"data: \xfe\xff\n\n", [E("\ufffd\ufffd")]),
    ("a lone continuation", b"data: a\x80b\n\n", [E("a\ufffdb")]),
    ("continuations", b"data: \x80\xbf\n\n", [E("\ufffd\ufffd")]),
    ("a cut pair at the line's end", b"data: a\xc3\ndata: b\n\n", [E("a\ufffd\nb")]),
    ("a cut triple at the line's end", b"data: a\xe2\x82\ndata: b\n\n", [E("a\ufffd\nb")]),
    ("a cut quadruple at the line's end", b"data: a\xf0\x9f\x98\ndata: b\n\n", [E("a\ufffd\nb")]),
    ("a cut triple before CR", b"data: a\xe2\x82\rdata: b\r\r", [E("a\ufffd\nb")]),
    ("a cut triple before CRLF", b"data: a\xe2\x82\r\ndata: b\r\n\r\n", [E("a\ufffd\nb")]),
    ("a triple that a line end parts", b"data: \xe2\x82\n\xacdata: b\n\n", [E("\ufffd")]),
    (
        "halves on two data lines do not meet",
        b"data: \xe2\x82\ndata:\xac\n\n",
        [E("\ufffd\n\ufffd")],
    ),
    ("a cut triple before text", b"data: \xe2\x82b\n\n", [E("\ufffdb")]),
    ("a cut quadruple before text", b"data: \xf0\x9fb\n\n", [E("\ufffdb")]),
    ("a cut triple before another", b"data: \xe2\x82\xe2\x82\xac\n\n", [E("\ufffd€")]),
    ("overlong slash, two bytes", b"data: \xc0\xaf\n\n", [E("\ufffd\ufffd")]),
    ("overlong slash, three bytes", b"data: \xe0\x80\xaf\n\n", [E("\ufffd\ufffd\ufffd")]),
    ("overlong slash, four bytes", b"data: \xf0\x80\x80\xaf\n\n", [E("\ufffd\ufffd\ufffd\ufffd")]),
    ("overlong LF ends no line", b"data: a\xc0\x8ab\n\n", [E("a\ufffd\ufffdb")]),
    ("overlong colon parts nothing", b"data\xc0\xba x\n\ndata: a\n\n", [E("a")]),
    ("a high surrogate", b"data: \xed\xa0\x80\n\n", [E("\ufffd\ufffd\ufffd")]),
    ("a surrogate pair", b"data: \xed\xa0\xbd\xed\xb8\x80\n\n", [E("\ufffd" * 6)]),
    ("beyond U+10FFFF", b"data: \xf4\x90\x80\x80\n\n", [E("\ufffd\ufffd\ufffd\ufffd")]),
    ("five bytes", b"data: \xf8\x88\x80\x80\x80\n\n", [E("\ufffd" * 5)]),
    ("lead bytes only", b"data: \xc3\xe2\xf0\n\n", [E("\ufffd\ufffd\ufffd")]),
    ("Latin-1", b"data: caf\xe9\n\n", [E("caf\ufffd")]),
    ("windows-1252", b"data: \x93a\x94\n\n", [E("\ufffda\ufffd")]),
    ("in a name", b"d\xc3\xa9ta: x\n\ndata: a\n\n", [E("a")]),
    ("in an unknown value", b"foo: \xff\ndata: a\n\n", [E("a")]),
    (
        "NUL between bytes of a character",
        b"data: \xe2\x00\x82\xac\n\n",
        [E("\ufffd\x00\ufffd\ufffd")],
    ),
    (
        "16 ASCII bytes and a wrong one",
        b"data: 0123456789abcdef\xff\n\n",
        [E("0123456789abcdef\ufffd")],
    ),
    (
        "a wrong one and 16 ASCII bytes",
        b"data: \xff0123456789abcdef\n\n",
        [E("\ufffd0123456789abcdef")],
    ),
    (
        "32 ASCII bytes around a character",
        b"data: " + b"x" * 32 + "€".encode() + b"y" * 32 + b"\n\n",
        [E("x" * 32 + "€" + "y" * 32)],
    ),
]

CASES = [Case(section, *row) for section, rows in _SECTIONS.items() for row in rows]

# Complete is complete: a line end that may still turn out to be half of a CRLF closes its line at once.
PROMPT = [
    Prompt("LF LF", [b"data: a\n\n"], [[E("a")]]),
    Prompt("CR CR", [b"data: a\r\r"], [[E("a")]]),
    Prompt("CRLF CRLF", [b"data: a\r\n\r\n"], [[E("a")]]),
    Prompt("CRLF CR", [b"data: a\r\n\r"], [[E("a")]]),
    Prompt("LF CR", [b"data: a\n\r"], [[E("a")]]),
    Prompt("LF CRLF", [b"data: a\n\r\n"], [[E("a")]]),
    Prompt("CR CRLF", [b"data: a\r\r\n"], [[E("a")]]),
    Prompt(
        "the LF that comes after is nothing",
        [b"data: a\r\n\r", b"\n", b"data: b\n\n"],
        [[E("a")], [], [E("b")]],
    ),
    Prompt(
        "the LF that comes after, with more",
        [b"data: a\r\r", b"\ndata: b\n\n"],
        [[E("a")], [E("b")]],
    ),
    Prompt(
        "the LF that comes after empty chunks",
        [b"data: a\r\r", b"", b"", b"\n", b"data: b\r\r"],
        [[E("a")], [], [], [], [E("b")]],
    ),
    Prompt("only one LF belongs to the CR", [b"data: a\r", b"\n", b"\n"], [[], [], [E("a")]]),
    Prompt("no LF comes after", [b"data: a\r", b"data: b\r", b"\r"], [[], [], [E("a\nb")]]),
    Prompt(
        "a CR stream, a line a chunk",
        [b"data: a\r", b"\r", b"data: b\r", b"\r"],
        [[], [E("a")], [], [E("b")]],
    ),
    Prompt("the blank line in its own chunk", [b"data: a\n", b"\n"], [[], [E("a")]]),
    Prompt("two events in one chunk", [b"data: a\n\ndata: b\n\n"], [[E("a"), E("b")]]),
    Prompt("an event and a half", [b"data: a\n\nda", b"ta: b\n\n"], [[E("a")], [E("b")]]),
    Prompt("a cut within a character", [b"data: \xe2\x82", b"\xac\n\n"], [[], [E("€")]]),
    Prompt("a cut within a name", [b"da", b"ta: a\n\n"], [[], [E("a")]]),
    Prompt("a cut at the colon", [b"data", b": a\n\n"], [[], [E("a")]]),
    Prompt("a cut at the space", [b"data:", b" a\n\n"], [[], [E("a")]]),
    Prompt("a cut after the space", [b"data: ", b" a\n\n"], [[], [E(" a")]]),
    Prompt("a cut within the text", [b"data: he", b"llo\n\n"], [[], [E("hello")]]),
    Prompt("a cut mark", [b"\xef", b"\xbb\xbfdata: a\n\n"], [[], [E("a")]]),
    Prompt(
        "a mark in three chunks and one of its own",
        [b"\xef", b"\xbb", b"\xbf", b"data: a\n\n"],
        [[], [], [], [E("a")]],
    ),
    Prompt("an event, whatever follows it", [b"data: a\n\n:", b"\n"], [[E("a")], []]),
    Prompt(
        "300 kB in 4 kB chunks",
        [b"data: ", *[b"x" * 4096] * 75, b"\n\n"],
        [[]] * 76 + [[E("x" * 307200)]],
    ),
]
