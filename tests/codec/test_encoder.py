"""The encoder: exact bytes, nothing injected, nothing lost, nothing repaired."""

from __future__ import annotations

import array
import enum
import mmap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from support.standard import MAX_RETRY, Fields, fields_of, read

MIB = 2**20


class Colour(str, enum.Enum):  # noqa: UP042 (StrEnum has the format that this one lacks)
    """A str whose `format()` is another text than its value."""

    RED = "red"


class Forger(str):
    """A str whose own methods would write fields of their own."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return "x\ndata: forged"

    def __str__(self) -> str:
        return "x\ndata: forged"

    __repr__ = __str__

    def __contains__(self, part: object) -> bool:
        return False

    def encode(self, *_: object, **__: object) -> bytes:
        return b"x\ndata: forged"

    def replace(self, *_: object) -> str:  # type: ignore[override]
        return "x\nid: forged"

    def __radd__(self, other: str) -> str:
        return other + "x\ndata: forged"

    def __len__(self) -> int:
        return 10**6

    def __iter__(self) -> Iterator[str]:
        return iter("forged")


class Level(enum.IntEnum):
    HIGH = 5


class ForgedNumber(int):
    """An int that says it is another one."""

    def __repr__(self) -> str:
        return "1\ndata: forged"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "1\ndata: forged"

    def __le__(self, other: object) -> bool:
        return True

    __ge__ = __lt__ = __gt__ = __le__

    def __int__(self) -> int:
        return 1

    __index__ = __int__


# data, the other fields, the block.
ACCEPTED: dict[str, tuple[Any, dict[str, Any], bytes]] = {
    "text": ("hello", {}, b"data: hello\n\n"),
    "empty text": ("", {}, b"data: \n\n"),
    "LF at the end": ("a\n", {}, b"data: a\ndata: \n\n"),
    "LF at the beginning": ("\na", {}, b"data: \ndata: a\n\n"),
    "LF alone": ("\n", {}, b"data: \ndata: \n\n"),
    "CR alone": ("\r", {}, b"data: \ndata: \n\n"),
    "CRLF alone": ("\r\n", {}, b"data: \ndata: \n\n"),
    "LF CR": ("\n\r", {}, b"data: \ndata: \ndata: \n\n"),
    "CR CRLF": ("\r\r\n", {}, b"data: \ndata: \ndata: \n\n"),
    "all line ends": ("a\nb\rc\r\nd", {}, b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
    "CR at the end": ("a\r", {}, b"data: a\ndata: \n\n"),
    "blank lines": ("a\n\n\nb", {}, b"data: a\ndata: \ndata: \ndata: b\n\n"),
    "leading spaces": ("  a", {}, b"data:   a\n\n"),
    "a leading space on a later line": ("a\n b", {}, b"data: a\ndata:  b\n\n"),
    "trailing spaces": ("a  ", {}, b"data: a  \n\n"),
    "a colon": (": a:b", {}, b"data: : a:b\n\n"),
    "what looks like a block": ("id: 1\n\ndata: x", {}, b"data: id: 1\ndata: \ndata: data: x\n\n"),
    "U+2028, U+2029, U+0085": ("a\u2028b\u2029c\x85d", {}, "data: a\u2028b\u2029c\x85d\n\n".encode()),
    "VT, FF, FS, GS, RS, US": ("a\v\f\x1c\x1d\x1e\x1fb", {}, b"data: a\v\f\x1c\x1d\x1e\x1fb\n\n"),
    "NUL in data": ("a\0b", {}, b"data: a\0b\n\n"),
    "a byte-order mark": ("\ufeffa", {}, b"data: \xef\xbb\xbfa\n\n"),
    "characters of two bytes": ("é\nè", {}, "data: é\ndata: è\n\n".encode()),
    "characters of three bytes": ("€\r\n‰", {}, "data: €\ndata: ‰\n\n".encode()),
    "characters of four bytes": ("😀\r😁", {}, "data: 😀\ndata: 😁\n\n".encode()),
    "bytes": (b"a", {}, b"data: a\n\n"),
    "empty bytes": (b"", {}, b"data: \n\n"),
    "bytes with all line ends": (b"a\nb\rc\r\nd", {}, b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
    "bytes that are UTF-8": ("é€😀".encode(), {}, "data: é€😀\n\n".encode()),
    "bytes with a mark": (b"\xef\xbb\xbfa", {}, b"data: \xef\xbb\xbfa\n\n"),
    "event": ("x", {"event": "e"}, b"event: e\ndata: x\n\n"),
    "event with a space in front": ("x", {"event": " e"}, b"event:  e\ndata: x\n\n"),
    "event of a space": ("x", {"event": " "}, b"event:  \ndata: x\n\n"),
    "event with NUL": ("x", {"event": "a\0b"}, b"event: a\0b\ndata: x\n\n"),
    "event with U+2028": ("x", {"event": "a\u2028b"}, "event: a\u2028b\ndata: x\n\n".encode()),
    "event message": ("x", {"event": "message"}, b"event: message\ndata: x\n\n"),
    "event with a colon": ("x", {"event": "a: b"}, b"event: a: b\ndata: x\n\n"),
    "id": ("x", {"id": "1"}, b"id: 1\ndata: x\n\n"),
    "id with a space in front": ("x", {"id": " 1"}, b"id:  1\ndata: x\n\n"),
    "id that is empty": ("x", {"id": ""}, b"id: \ndata: x\n\n"),
    "id without data": (None, {"id": "1"}, b"id: 1\n\n"),
    "an empty id without data": (None, {"id": ""}, b"id: \n\n"),
    "id that is not ASCII": ("x", {"id": "é€😀"}, "id: é€😀\ndata: x\n\n".encode()),
    "retry": ("x", {"retry": 5}, b"retry: 5\ndata: x\n\n"),
    "retry of zero": ("x", {"retry": 0}, b"retry: 0\ndata: x\n\n"),
    "retry without data": (None, {"retry": 3000}, b"retry: 3000\n\n"),
    "the largest retry": ("x", {"retry": MAX_RETRY}, b"retry: 9223372036854775807\ndata: x\n\n"),
    "comment": ("x", {"comment": "c"}, b": c\ndata: x\n\n"),
    "comment that is empty": ("x", {"comment": ""}, b":\ndata: x\n\n"),
    "comment without data": (None, {"comment": "c"}, b": c\n\n"),
    "comment with all line ends": ("x", {"comment": "a\rb\r\nc\nd"}, b": a\n: b\n: c\n: d\ndata: x\n\n"),
    "comment with blank lines": ("x", {"comment": "\n\n"}, b":\n:\n:\ndata: x\n\n"),
    "comment that would be a field": ("x", {"comment": "c\ndata: evil"}, b": c\n: data: evil\ndata: x\n\n"),
    "comment with CR that would be a field": ("x", {"comment": "c\rid: 1"}, b": c\n: id: 1\ndata: x\n\n"),
    "comment with NUL": ("x", {"comment": "\0"}, b": \0\ndata: x\n\n"),
    "comment with U+2028": ("x", {"comment": "a\u2028b"}, ": a\u2028b\ndata: x\n\n".encode()),
    "comment with a space in front": ("x", {"comment": " c"}, b":  c\ndata: x\n\n"),
    "all fields": (
        "a\nb",
        {"event": "e", "id": "1", "retry": 5, "comment": "c"},
        b": c\nid: 1\nevent: e\nretry: 5\ndata: a\ndata: b\n\n",
    ),
    "all but data and event": (None, {"id": "1", "retry": 5, "comment": "c"}, b": c\nid: 1\nretry: 5\n\n"),
    "None is left out": ("x", {"event": None, "id": None, "retry": None, "comment": None}, b"data: x\n\n"),
    "an enumeration": (
        Colour.RED,
        {"event": Colour.RED, "id": Colour.RED, "comment": Colour.RED},
        b": red\nid: red\nevent: red\ndata: red\n\n",
    ),
    "a str with methods of its own": (
        Forger("d"),
        {"event": Forger("e"), "id": Forger("i"), "comment": Forger("c")},
        b": c\nid: i\nevent: e\ndata: d\n\n",
    ),
    "lines of a str with methods of its own": (Forger("a\rb\nc"), {}, b"data: a\ndata: b\ndata: c\n\n"),
    "an enumeration of numbers": ("x", {"retry": Level.HIGH}, b"retry: 5\ndata: x\n\n"),
    "an int with methods of its own": ("x", {"retry": ForgedNumber(7)}, b"retry: 7\ndata: x\n\n"),
}  # fmt: skip

ONE_LINE = "must not contain CR or LF: it would end the line and begin another field"
UNICODE = "must not contain lone surrogates: they have no UTF-8"
UTF8 = "must be valid UTF-8"
NUL = "must not contain NUL: receivers ignore such an id"
UNNAMED = "must not be empty: receivers read that as 'message'; leave it out"
UNDISPATCHED = "goes with data: a block without data is never dispatched"
NOTHING = "with no other field leaves nothing to write"
RETRY = "must be a whole number of milliseconds, 0 to 9223372036854775807"

# data, the other fields, the field that is named, its value, the rule.
REFUSED: dict[str, tuple[Any, dict[str, Any], str, Any, str]] = {
    "event with LF": ("x", {"event": "e\ndata: evil"}, "event", "e\ndata: evil", ONE_LINE),
    "event with CR": ("x", {"event": "e\rdata: evil"}, "event", "e\rdata: evil", ONE_LINE),
    "event with CRLF": ("x", {"event": "e\r\ndata: evil"}, "event", "e\r\ndata: evil", ONE_LINE),
    "event that ends in LF": ("x", {"event": "e\n"}, "event", "e\n", ONE_LINE),
    "event that is LF": ("x", {"event": "\n"}, "event", "\n", ONE_LINE),
    "event with LF past U+FFFF": ("x", {"event": "😀\n"}, "event", "😀\n", ONE_LINE),
    "event that is empty": ("x", {"event": ""}, "event", "", UNNAMED),
    "event with a lone surrogate": ("x", {"event": "\udc80"}, "event", "\udc80", UNICODE),
    "event without data": (None, {"event": "x"}, "event", "x", UNDISPATCHED),
    "event without data, with all else": (None, {"event": "x", "id": "1", "comment": ""}, "event", "x", UNDISPATCHED),
    "event of a str with methods of its own": ("x", {"event": Forger("e\nid: x")}, "event", "e\nid: x", ONE_LINE),
    "id with LF": ("x", {"id": "1\nevent: evil"}, "id", "1\nevent: evil", ONE_LINE),
    "id with CR": ("x", {"id": "1\revent: evil"}, "id", "1\revent: evil", ONE_LINE),
    "id with CRLF": ("x", {"id": "1\r\n"}, "id", "1\r\n", ONE_LINE),
    "id with NUL": ("x", {"id": "1\x002"}, "id", "1\x002", NUL),
    "id that is NUL": ("x", {"id": "\0"}, "id", "\0", NUL),
    "id that ends in NUL": ("x", {"id": "1\0"}, "id", "1\0", NUL),
    "id with NUL past ASCII": ("x", {"id": "€\0"}, "id", "€\0", NUL),
    "id with a lone surrogate": ("x", {"id": "a\ud800"}, "id", "a\ud800", UNICODE),
    "id with LF, without data": (None, {"id": "1\n"}, "id", "1\n", ONE_LINE),
    "id of a str with methods of its own": ("x", {"id": Forger("1\0")}, "id", "1\0", NUL),
    "retry below zero": ("x", {"retry": -1}, "retry", -1, RETRY),
    "retry far below zero": ("x", {"retry": -(2**70)}, "retry", -(2**70), RETRY),
    "retry too large": ("x", {"retry": MAX_RETRY + 1}, "retry", MAX_RETRY + 1, RETRY),
    "retry far too large": ("x", {"retry": 2**70}, "retry", 2**70, RETRY),
    "retry of True": ("x", {"retry": True}, "retry", True, RETRY),
    "retry of False": ("x", {"retry": False}, "retry", False, RETRY),
    "retry of a fraction": ("x", {"retry": 1.5}, "retry", 1.5, RETRY),
    "retry of a float": ("x", {"retry": 5.0}, "retry", 5.0, RETRY),
    "retry as text": ("x", {"retry": "5"}, "retry", "5", RETRY),
    "retry as text with a field": ("x", {"retry": "1\ndata: evil"}, "retry", "1\ndata: evil", RETRY),
    "retry as bytes": ("x", {"retry": b"5"}, "retry", b"5", RETRY),
    "retry without data": (None, {"retry": -1}, "retry", -1, RETRY),
    "retry of an int with methods of its own": ("x", {"retry": ForgedNumber(-7)}, "retry", ForgedNumber(-7), RETRY),
    "data with a high surrogate": ("\ud800", {}, "data", "\ud800", UNICODE),
    "data with a low surrogate": ("a\udfff", {}, "data", "a\udfff", UNICODE),
    "data with a pair of surrogates": ("\ud83d\ude00", {}, "data", "\ud83d\ude00", UNICODE),
    "data with LF and a surrogate": ("a\nb\ud800", {}, "data", "a\nb\ud800", UNICODE),
    "data with CR and a surrogate": ("a\rb\ud800", {}, "data", "a\rb\ud800", UNICODE),
    "bytes that never occur": (b"\xff", {}, "data", b"\xff", UTF8),
    "bytes with a cut character": (b"a\xe2\x82", {}, "data", b"a\xe2\x82", UTF8),
    "bytes with a character that LF cuts": (b"\xe2\x82\n\xac", {}, "data", b"\xe2\x82\n\xac", UTF8),
    "bytes with a character that CR cuts": (b"\xc3\r", {}, "data", b"\xc3\r", UTF8),
    "bytes with a surrogate": (b"\xed\xa0\x80", {}, "data", b"\xed\xa0\x80", UTF8),
    "bytes with an overlong LF": (b"\xc0\x8a", {}, "data", b"\xc0\x8a", UTF8),
    "bytes with an overlong NUL": (b"\xe0\x80\x80", {}, "data", b"\xe0\x80\x80", UTF8),
    "bytes beyond U+10FFFF": (b"\xf4\x90\x80\x80", {}, "data", b"\xf4\x90\x80\x80", UTF8),
    "bytes of Latin-1": ("é".encode("latin-1"), {}, "data", b"\xe9", UTF8),
    "comment with a lone surrogate": ("x", {"comment": "a\n\ud800"}, "comment", "a\n\ud800", UNICODE),
    "nothing": (None, {}, "data", None, NOTHING),
    "nothing but None": (None, {"event": None, "id": None, "retry": None, "comment": None}, "data", None, NOTHING),
}  # fmt: skip

# data, the other fields, the message.
OF_ANOTHER_TYPE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "data of int": (1, {}, "data must be str, bytes-like UTF-8 or None (encode_json() writes JSON), not int"),
    "data of float": (1.5, {}, "data must be str, bytes-like UTF-8 or None (encode_json() writes JSON), not float"),
    "data of bool": (True, {}, "data must be str, bytes-like UTF-8 or None (encode_json() writes JSON), not bool"),
    "data of dict": ({"a": 1}, {}, "data must be str, bytes-like UTF-8 or None (encode_json() writes JSON), not dict"),
    "data of list": (["a"], {}, "data must be str, bytes-like UTF-8 or None (encode_json() writes JSON), not list"),
    "event of bytes": ("x", {"event": b"e"}, "event must be str or None, not bytes"),
    "event of int": ("x", {"event": 1}, "event must be str or None, not int"),
    "id of int": ("x", {"id": 1}, "id must be str or None, not int"),
    "id of bytes": ("x", {"id": b"1"}, "id must be str or None, not bytes"),
    "id of bool": (None, {"id": False}, "id must be str or None, not bool"),
    "comment of bytes": ("x", {"comment": b"c"}, "comment must be str or None, not bytes"),
    "comment of int": (None, {"comment": 0}, "comment must be str or None, not int"),
}  # fmt: skip


class TestEncode:
    @pytest.mark.parametrize(("data", "fields", "block"), ACCEPTED.values(), ids=ACCEPTED.keys())
    def test_a_block_is_exact(
        self, codec: ModuleType, data: Any, fields: dict[str, Any], block: bytes
    ) -> None:
        encoded = codec.encode(data, **fields)

        assert block == encoded
        assert bytes is type(encoded)

    @pytest.mark.parametrize(
        ("data", "fields", "field", "value", "rule"), REFUSED.values(), ids=REFUSED.keys()
    )
    def test_what_would_change_meaning_is_refused(
        self,
        codec: ModuleType,
        data: Any,
        fields: dict[str, Any],
        field: str,
        value: Any,
        rule: str,
    ) -> None:
        with pytest.raises(codec.InvalidField) as caught:
            codec.encode(data, **fields)

        error = caught.value
        assert (field, rule) == (error.field, error.rule)
        assert (value, type(value)) == (error.value, type(error.value))
        assert str(error).startswith(f"{field} ")
        assert str(error).endswith(f": {rule}")

    @pytest.mark.parametrize(
        ("data", "fields", "message"), OF_ANOTHER_TYPE.values(), ids=OF_ANOTHER_TYPE.keys()
    )
    def test_a_value_of_another_type_is_refused(
        self, codec: ModuleType, data: Any, fields: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(TypeError) as caught:
            codec.encode(data, **fields)

        assert message == str(caught.value)

    @pytest.mark.parametrize("data", ["\ud800", b"\xff"], ids=["text", "bytes"])
    def test_a_refusal_names_its_cause(self, codec: ModuleType, data: str | bytes) -> None:
        with pytest.raises(codec.InvalidField) as caught:
            codec.encode(data)

        assert isinstance(caught.value.__cause__, UnicodeError)

    def test_the_first_of_many_wrong_fields_is_named(self, codec: ModuleType) -> None:
        wrong: dict[str, Any] = {"comment": "\ud800", "id": "\n", "event": "", "retry": -1}
        named = []

        for _ in range(5):
            with pytest.raises(codec.InvalidField) as caught:
                codec.encode(b"\xff", **wrong)
            named.append(caught.value.field)
            wrong.pop(caught.value.field, None)

        assert ["comment", "id", "event", "retry", "data"] == named

    @pytest.mark.parametrize(
        ("arguments", "fields"),
        [
            ((), {}),
            ((), {"event": "e"}),
            (("x", "e"), {}),
            (("x",), {"data": "x"}),
            (("x",), {"name": "e"}),
            (("x",), {"Event": "e"}),
            (("x",), {"sep": "\r\n"}),
        ],
        ids=lambda value: repr(value),
    )
    def test_a_call_that_names_another_field_is_refused(
        self, codec: ModuleType, arguments: tuple[Any, ...], fields: dict[str, Any]
    ) -> None:
        with pytest.raises(TypeError):
            codec.encode(*arguments, **fields)

    def test_data_may_be_given_by_name(self, codec: ModuleType) -> None:
        assert b"id: 1\ndata: x\n\n" == codec.encode(id="1", data="x")

    @pytest.mark.parametrize(
        "make",
        [
            bytes,
            type("Octets", (bytes,), {}),
            bytearray,
            memoryview,
            lambda octets: memoryview(b"xx" + octets + b"xx")[2:-2],
            lambda octets: array.array("B", octets),
            lambda octets: array.array("H", octets),
        ],
        ids=["bytes", "subclass", "bytearray", "memoryview", "slice", "array", "array of pairs"],
    )
    def test_any_bytes_like_data_is_taken(self, codec: ModuleType, make: Any) -> None:
        assert "data: €\ndata: b\n\n".encode() == codec.encode(make("€\r\nb".encode()))

    def test_a_mapped_file_is_taken(self, codec: ModuleType) -> None:
        with mmap.mmap(-1, 3) as mapped:
            mapped[:] = b"a\rb"

            assert b"data: a\ndata: b\n\n" == codec.encode(mapped)

    def test_bytes_that_are_not_contiguous_are_refused(self, codec: ModuleType) -> None:
        with pytest.raises(BufferError):
            codec.encode(memoryview(b"abcdef")[::2])

    def test_the_values_of_a_refusal_are_bytes_whatever_was_given(self, codec: ModuleType) -> None:
        with pytest.raises(codec.InvalidField) as caught:
            codec.encode(bytearray(b"\xff"))

        assert b"\xff" == caught.value.value

    @pytest.mark.parametrize("end", ["\n", "\r", "\r\n"], ids=["LF", "CR", "CRLF"])
    @pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
    def test_a_line_end_at_every_offset(self, codec: ModuleType, end: str, letter: str) -> None:
        for before in range(70):
            lines = [letter * before, letter * (69 - before), ""]
            wanted = "".join(f"data: {line}\n" for line in lines).encode() + b"\n"

            assert wanted == codec.encode(end.join(lines))
            assert wanted == codec.encode(end.join(lines).encode())

    @pytest.mark.parametrize("octet", ["\n", "\r", "\0"], ids=["LF", "CR", "NUL"])
    @pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
    def test_a_forbidden_character_at_every_offset_of_an_id(
        self, codec: ModuleType, octet: str, letter: str
    ) -> None:
        for before in range(70):
            with pytest.raises(codec.InvalidField):
                codec.encode("x", id=letter * before + octet + letter * (69 - before))

    def test_a_wrong_byte_at_every_offset(self, codec: ModuleType) -> None:
        for before in range(70):
            with pytest.raises(codec.InvalidField):
                codec.encode(b"x" * before + b"\xff" + b"y" * (69 - before))

    def test_a_long_line_is_written_whole(self, codec: ModuleType) -> None:
        assert b"data: " + b"x" * MIB + b"\n\n" == codec.encode("x" * MIB)
        assert b"data: " + b"x" * MIB + b"\n\n" == codec.encode(b"x" * MIB)

    def test_many_lines_are_written_whole(self, codec: ModuleType) -> None:
        assert b"data: x\n" * 50_000 + b"data: \n\n" == codec.encode("x\r\n" * 50_000)

    @pytest.mark.parametrize("before", [1000, 8000, 100_000])
    def test_a_surrogate_far_inside_is_refused(self, codec: ModuleType, before: int) -> None:
        with pytest.raises(codec.InvalidField):
            codec.encode("é\n" * before + "\udc80")

    @pytest.mark.parametrize(
        "number", [0, 9, 10, 99, 10**9, 2**31, 2**32, 2**53, 10**18, MAX_RETRY]
    )
    def test_every_digit_of_a_reconnection_time_is_written(
        self, codec: ModuleType, number: int
    ) -> None:
        assert f"retry: {number}\n\n".encode() == codec.encode(None, retry=number)

    def test_what_is_given_is_left_as_it_was(self, codec: ModuleType) -> None:
        data = bytearray(b"a\r\nb")

        codec.encode(data)
        data.clear()  # a buffer that somebody still held would refuse

        assert b"" == data


class TestComment:
    @pytest.mark.parametrize(
        ("text", "block"),
        [
            ("", b":\n\n"),
            ("ping", b": ping\n\n"),
            (" ", b":  \n\n"),
            ("a\rb\r\nc\nd", b": a\n: b\n: c\n: d\n\n"),
            ("\n", b":\n:\n\n"),
            ("a\n", b": a\n:\n\n"),
            ("x\n\ndata: evil", b": x\n:\n: data: evil\n\n"),
            ("é€😀\u2028", ": é€😀\u2028\n\n".encode()),
            (Colour.RED, b": red\n\n"),
            (Forger("a\rb"), b": a\n: b\n\n"),
        ],
        ids=ascii,
    )
    def test_a_heartbeat_is_a_comment_and_a_blank_line(
        self, codec: ModuleType, text: str, block: bytes
    ) -> None:
        assert block == codec.encode_comment(text)

    def test_it_may_be_empty(self, codec: ModuleType) -> None:
        assert b":\n\n" == codec.encode_comment()

    def test_a_lone_surrogate_is_refused(self, codec: ModuleType) -> None:
        with pytest.raises(codec.InvalidField) as caught:
            codec.encode_comment("a\ud800")

        assert ("comment", "a\ud800", UNICODE) == (
            caught.value.field,
            caught.value.value,
            caught.value.rule,
        )

    @pytest.mark.parametrize("text", [None, b"x", 1], ids=repr)
    def test_anything_but_text_is_refused(self, codec: ModuleType, text: Any) -> None:
        with pytest.raises(TypeError, match=f"^comment must be str.*, not {type(text).__name__}$"):
            codec.encode_comment(text)


class TestMany:
    @pytest.mark.parametrize(
        ("events", "blocks"),
        [
            ([], b""),
            ([Fields("a")], b"data: a\n\n"),
            ([Fields("a"), Fields("b")], b"data: a\n\ndata: b\n\n"),
            ([Fields("a", "x", "1", 5)], b"id: 1\nevent: x\nretry: 5\ndata: a\n\n"),
            ([Fields("a", id="1"), Fields("b")], b"id: 1\ndata: a\n\nid: \ndata: b\n\n"),
            (
                [Fields("a", id="1"), Fields("b"), Fields("c")],
                b"id: 1\ndata: a\n\nid: \ndata: b\n\ndata: c\n\n",
            ),
            ([Fields("a"), Fields("b", id="1")], b"data: a\n\nid: 1\ndata: b\n\n"),
            ([Fields("a", id="1"), Fields("b", id="1")], b"id: 1\ndata: a\n\nid: 1\ndata: b\n\n"),
            ([Fields("a\n", "x"), Fields("")], b"event: x\ndata: a\ndata: \n\ndata: \n\n"),
            ([Fields("a", retry=0)], b"retry: 0\ndata: a\n\n"),
        ],
        ids=lambda value: repr(value) if isinstance(value, bytes) else "",
    )
    def test_blocks_are_exact_and_come_back(
        self, codec: ModuleType, events: list[Fields], blocks: bytes
    ) -> None:
        made = [codec.Event(*fields) for fields in events]

        assert blocks == codec.encode_many(made)
        assert made == codec.decode(blocks)
        assert events == read(blocks).events

    @pytest.mark.parametrize("make", [list, tuple, iter, lambda events: (e for e in events)])
    def test_any_iterable_of_events_is_taken(self, codec: ModuleType, make: Any) -> None:
        events = [codec.Event("a"), codec.Event("b")]

        assert b"data: a\n\ndata: b\n\n" == codec.encode_many(make(events))

    def test_events_of_the_other_twin_are_taken(
        self, codec: ModuleType, twins: tuple[ModuleType, ModuleType]
    ) -> None:
        events = [twin.Event("a", id=twin.__name__) for twin in twins]

        assert events == codec.decode(codec.encode_many(events))

    @pytest.mark.parametrize(
        "item", ["a", b"data: a\n\n", None, Fields("a"), {"data": "a"}], ids=repr
    )
    def test_anything_else_is_refused(self, codec: ModuleType, item: Any) -> None:
        with pytest.raises(TypeError, match=f"^events must be Event, not {type(item).__name__}$"):
            codec.encode_many([codec.Event("a"), item])

    @pytest.mark.parametrize("events", [None, 5], ids=repr)
    def test_what_is_no_iterable_is_refused(self, codec: ModuleType, events: Any) -> None:
        with pytest.raises(TypeError):
            codec.encode_many(events)

    def test_a_single_event_is_no_iterable(self, codec: ModuleType) -> None:
        with pytest.raises(TypeError):
            codec.encode_many(codec.Event("a"))

    def test_one_that_cannot_be_written_refuses_them_all(self, codec: ModuleType) -> None:
        with pytest.raises(codec.InvalidField) as caught:
            codec.encode_many([codec.Event("a"), codec.Event("b", id="1\n")])

        assert "id" == caught.value.field

    def test_what_the_iterable_raises_is_the_callers(self, codec: ModuleType) -> None:
        def failing() -> Iterator[Any]:
            yield codec.Event("a")
            raise KeyError("x")

        with pytest.raises(KeyError):
            codec.encode_many(failing())

    def test_ten_thousand_come_back(self, codec: ModuleType) -> None:
        events = [codec.Event("x" * (n % 100), id=str(n), retry=n) for n in range(10_000)]

        assert events == codec.decode(codec.encode_many(events))


class TestJson:
    @pytest.mark.parametrize(
        ("obj", "block"),
        [
            (None, b"data: null\n\n"),
            (True, b"data: true\n\n"),
            (0, b"data: 0\n\n"),
            ("", b'data: ""\n\n'),
            ([], b"data: []\n\n"),
            ({}, b"data: {}\n\n"),
            ({"a": [1, 2.5, None, "b"]}, b'data: {"a":[1,2.5,null,"b"]}\n\n'),
            ("a\nb\r\nc", b'data: "a\\nb\\r\\nc"\n\n'),
            ("é€😀", 'data: "é€😀"\n\n'.encode()),
        ],
        ids=ascii,
    )
    def test_a_block_is_exact(self, codec: ModuleType, obj: Any, block: bytes) -> None:
        assert block == codec.encode_json(obj)

    def test_it_takes_the_other_fields_too(self, codec: ModuleType) -> None:
        block = codec.encode_json([1], event="e", id="1", retry=5)

        assert b"id: 1\nevent: e\nretry: 5\ndata: [1]\n\n" == block

    def test_everything_may_be_given_by_name(self, codec: ModuleType) -> None:
        assert b"id: 1\ndata: [1]\n\n" == codec.encode_json(obj=[1], id="1")

    def test_json_that_a_library_passes_on_as_it_is_begins_no_field(
        self, codec: ModuleType
    ) -> None:
        orjson = pytest.importorskip("orjson", reason="pip install orjson")
        if codec._json.LIBRARY != "orjson":
            pytest.skip("only orjson has fragments")

        block = codec.encode_json([orjson.Fragment(b"1\nevent: e\r\rid: 2")])

        assert [Fields("[1\nevent: e\n\nid: 2]")] == list(map(fields_of, codec.decode(block)))

    def test_it_refuses_what_encode_refuses(self, codec: ModuleType) -> None:
        with pytest.raises(codec.InvalidField) as caught:
            codec.encode_json(1, event="a\nb")

        assert "event" == caught.value.field

    def test_none_is_null_and_no_missing_data(self, codec: ModuleType) -> None:
        (event,) = codec.decode(codec.encode_json(None, event="e"))

        assert Fields("null", "e") == fields_of(event)

    @pytest.mark.parametrize("obj", [object(), b"a", 1j], ids=["object", "bytes", "complex"])
    def test_what_json_cannot_say_is_refused(self, codec: ModuleType, obj: Any) -> None:
        with pytest.raises(TypeError):
            codec.encode_json(obj)

    def test_the_fields_go_by_name_only(self, codec: ModuleType) -> None:
        with pytest.raises(TypeError):
            codec.encode_json(1, "e")
