"""Form bodies and query strings as names and raw values: pure, strict, linear, bounded.

What a lenient parser would repair or guess is refused here: broken escapes, text that is not UTF-8, a multipart
body without its last boundary, charsets and transfer encodings that would have to be undone. It knows the syntax;
it must not know which fields there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fastsse.broadcast.problems import Problem

__all__ = ["Pairs", "decode_text", "parse_content_type", "parse_multipart", "parse_pairs"]

Pairs = list[tuple[str, bytes]]  # in order; names may repeat

_CHARSETS = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_IDENTITIES = frozenset({b"binary", b"8bit", b"7bit"})  # transfer encodings that change nothing
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parse_content_type(value: bytes | None) -> tuple[bytes, dict[bytes, bytes]]:
    """A Content-Type's media type in lower case, and its parameters.

    Raises:
        Problem: 415 for a charset that is not UTF-8.
    """
    kind, parameters = parse_options_header(value)
    _check_charset("content-type", parameters)
    return kind.lower(), parameters


def parse_pairs(text: bytes, where: str, *, most: int) -> Pairs:
    """``a=1&b=2`` as the URL standard's ``application/x-www-form-urlencoded`` parser has it.

    Args:
        text: a query string or a form's body; ``+`` is a space, empty parts are nothing.
        where: what to call it in a problem: "form" or "query".
        most: fields that it may have.

    Raises:
        Problem: 400 for more fields, a broken escape, or a name that is not UTF-8.
    """
    parts = [part for part in text.split(b"&", most + 1) if part]
    if len(parts) > most:
        raise _too_many(where, most)
    pairs: Pairs = []
    for part in parts:
        key, _, value = part.partition(b"=")
        field = f"{where} field name"
        name = decode_text(field, _unquote(field, key))
        pairs.append((name, _unquote(name, value)))
    return pairs


def parse_multipart(body: bytes, parameters: dict[bytes, bytes], *, most: int) -> Pairs:
    """A ``multipart/form-data`` body (RFC 7578). A part with a file name is a field like others.

    Args:
        body: all of it.
        parameters: of its Content-Type.
        most: fields that it may have.

    Raises:
        Problem: 400 when it is malformed or incomplete, or has more fields; 415 for a part in another
            charset or transfer encoding.
    """
    boundary = parameters.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        rule = "must have a boundary of 1 to 70 characters"
        raise Problem.of_field("content-type", boundary, rule)
    parts = _Parts(most)
    parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError:
        parts.complete = False
    if not parts.complete:
        rule = "must be multipart/form-data, complete to its last boundary"
        raise Problem.of_field("body", body, rule)
    return parts.pairs


def decode_text(field: str, value: bytes) -> str:
    """Bytes as text.

    Raises:
        Problem: 400 when they are not UTF-8.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Problem.of_field(field, value, "must be UTF-8") from None


def _unquote(field: str, value: bytes) -> bytes:
    value = value.replace(b"+", b" ")
    if b"%" not in value:
        return value
    if _BROKEN_ESCAPE.search(value):
        raise Problem.of_field(field, value, "must be percent-encoded: % and two hex digits")
    return unquote_to_bytes(value)


class _Parts:
    """What the multipart parser calls back."""

    def __init__(self, most: int) -> None:
        self.pairs: Pairs = []
        self.complete = False  # the last boundary was seen
        self._most = most
        self._name = b""  # of the header that is being read
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._data = bytearray()

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.pairs) == self._most:
            raise _too_many("form", self._most)
        self._headers = {}
        self._data = bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"name" not in options:
            raise Problem.of_field("content-disposition", None, "every part must have a name")
        name = decode_text("form field name", options[b"name"])
        _check_charset(name, parse_options_header(self._headers.get(b"content-type"))[1])
        encoding = self._headers.get(b"content-transfer-encoding", b"binary")
        if encoding.strip().lower() not in _IDENTITIES:
            rule = "must have no Content-Transfer-Encoding"
            raise Problem.of_field(name, encoding, rule, status=415)
        self.pairs.append((name, bytes(self._data)))

    def _end(self) -> None:
        self.complete = True


def _check_charset(field: str, parameters: dict[bytes, bytes]) -> None:
    charset = parameters.get(b"charset")
    if charset is not None and charset.lower() not in _CHARSETS:
        raise Problem.of_field(field, b"charset=" + charset, "charset must be utf-8", status=415)


def _too_many(where: str, most: int) -> Problem:
    rule = f"must have at most {most} fields"
    return Problem(400, f"{where}: {rule}", field=where, rule=rule)
