"""The syntax of forms and queries: names and raw values, read strictly and within bounds.

A lenient parser repairs or guesses; this one refuses. Refused are broken escapes, text that is not UTF-8, a multipart
body without its last boundary, and charsets and transfer encodings that would have to be undone.

A stranger chooses how much there is to do, so all work is linear, and bounded before it is done:

    a header       its length is checked before it is parsed
    a value        the size that it will have is checked before its escapes are undone
    a long body    slices, each in a turn of the loop of its own (`Turns`), so that nobody else stands still

The module knows the syntax; it must not know which fields there are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import islice

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fastsse.broadcast.web._escapes import SLICE, BrokenEscape, unescape, unescaped_size
from fastsse.broadcast.web.problems import Problem

__all__ = [
    "Fits",
    "Pairs",
    "Turns",
    "decode_text",
    "parse_content_type",
    "parse_form",
    "parse_multipart",
    "parse_pairs",
]

Pairs = list[tuple[str, bytes]]
"""Names and values in order; names may repeat."""

Fits = Callable[[str, int], None]
"""A check of a field's name and of its value's size in bytes, which raises a `Problem`."""

Turns = Callable[[int], AbstractAsyncContextManager[object]]
"""A maker of turns of the loop, for work on so many bytes."""

_CHARSETS = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_IDENTITIES = frozenset({b"binary", b"8bit", b"7bit"})  # transfer encodings that change nothing
_LONGEST_HEADER = 1024  # bytes of a header that is parsed; an honest one has a tenth of that
_LONGEST_NAME = 1024  # bytes of a field's name as it is sent
_WRITE = 65_536  # bytes that the multipart parser is given at a time: at worst, some milliseconds
_RUNS = (b"&" * 4096, b"&" * 64, b"&")  # separators, skipped by the longest run that fits

_silent = logging.Logger("python_multipart", logging.CRITICAL)
"""A logger that keeps silent, for the multipart parser: a line for each malformed body lets strangers fill a disk."""


def parse_content_type(value: bytes | None) -> tuple[bytes, dict[bytes, bytes]]:
    """Read a Content-Type: the media type in lower case, and the parameters.

    Raises:
        Problem: 415 for a charset that is not UTF-8, and for more than 1,024 bytes.
    """
    kind, parameters = _parse_header("content-type", value, 415)
    _check_charset("content-type", parameters)
    return kind.lower(), parameters


def parse_pairs(text: bytes, where: str, *, most: int, fits: Fits | None = None) -> Pairs:
    """Read ``a=1&b=2`` as the URL standard's ``application/x-www-form-urlencoded`` parser does, in one go.

    Args:
        text: a query string or a short form; ``+`` is a space, empty parts are nothing.
        where: the name of `text` in a problem: "form" or "query".
        most: fields that there may be.
        fits: checks each name, and the size that its value will have; all fit when None.

    Raises:
        Problem: 400 for more fields, a broken escape, or a name that is not UTF-8; whatever `fits` raises.
    """
    return [(name, _unescape(name, value, 0)) for name, value in _split(text, where, most, fits)]


async def parse_form(body: bytes, *, most: int, fits: Fits, turns: Turns) -> Pairs:
    """Read a form's body as `parse_pairs` does, in slices where it is long.

    Raises:
        Problem: as `parse_pairs`.
    """
    async with turns(len(body)):
        parts = _split(body, "form", most, fits)
    return [(name, await _unescape_in_slices(name, value, turns)) for name, value in parts]


async def parse_multipart(
    body: bytes, parameters: dict[bytes, bytes], *, most: int, fits: Fits, turns: Turns
) -> Pairs:
    """Read a ``multipart/form-data`` body (RFC 7578). A part with a file name is a field like others.

    Args:
        body: all of it.
        parameters: of its Content-Type.
        most: fields that there may be.
        fits: checks the name and the size of each value, again as the value grows.
        turns: where a long body waits for its turn.

    Raises:
        Problem: 400 when the body is malformed or incomplete, or has more fields; 415 for a part in another
            charset or transfer encoding; whatever `fits` raises.
    """
    boundary = parameters.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        rule = "must have a boundary of 1 to 70 characters"
        raise Problem.of_field("content-type", boundary, rule)
    parts = _Parts(most, fits)
    parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
    parser.logger = _silent
    try:
        for start in range(0, len(body), _WRITE):
            async with turns(len(body)):
                parser.write(body[start : start + _WRITE])
        parser.finalize()
    except FormParserError:
        parts.complete = False
    if not parts.complete:
        rule = "must be multipart/form-data, complete to its last boundary"
        raise Problem.of_field("body", body, rule)
    return parts.pairs


def decode_text(field: str, value: bytes) -> str:
    """Decode a field's value as text.

    Raises:
        Problem: 400 when the value is not UTF-8.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Problem.of_field(field, value, "must be UTF-8") from None


def _parse_header(field: str, value: bytes | None, status: int) -> tuple[bytes, dict[bytes, bytes]]:
    """Parse a header with parameters, unless the header is longer than any honest one."""
    if value is not None and len(value) > _LONGEST_HEADER:
        rule = f"must be at most {_LONGEST_HEADER} bytes"
        raise Problem.of_field(field, value, rule, status=status)
    return parse_options_header(value)


def _split(text: bytes, where: str, most: int, fits: Fits | None) -> Pairs:
    """Split into names and values, check each, and leave the values escaped.

    Raises:
        Problem: 400 for more fields, or for a name that is too long or no text; whatever `fits` raises.
    """
    parts = list(islice(_split_at_separators(text), most + 1))
    if len(parts) > most:
        raise _too_many(where, most)
    pairs: Pairs = []
    for part in parts:
        key, _, value = part.partition(b"=")
        field = f"{where} field name"
        if len(key) > _LONGEST_NAME:
            raise Problem.of_field(field, key, f"must be at most {_LONGEST_NAME} bytes")
        name = decode_text(field, _unescape(field, key, 0))
        if fits is not None:
            fits(name, unescaped_size(value))
        pairs.append((name, value))
    return pairs


def _split_at_separators(text: bytes) -> Iterator[bytes]:
    """Yield the texts between separators one by one, because a million of them must not become a list."""
    at = _skip_separators(text, 0)
    while at < len(text):
        end = text.find(b"&", at)
        end = len(text) if end < 0 else end
        yield text[at:end]
        at = _skip_separators(text, end)


def _skip_separators(text: bytes, at: int) -> int:
    """Return the place of the first byte from `at` on that is no separator."""
    for run in _RUNS:
        while text.startswith(run, at):
            at += len(run)
    return at


async def _unescape_in_slices(field: str, value: bytes, turns: Turns) -> bytes:
    """Undo the escapes of a value, one slice in each turn."""
    made: list[bytes] = []
    start = 0
    while start < len(value):
        async with turns(len(value)):
            part = value[start : start + SLICE]
            if start + SLICE < len(value):
                part = part[: _cut(part)]
            made.append(_unescape(field, part, start))
        start += len(part)
    return made[0] if len(made) == 1 else b"".join(made)


def _cut(part: bytes) -> int:
    """Return the place where a slice of escaped text ends so that no escape is cut."""
    at = part.find(b"%", len(part) - 2)
    return len(part) if at < 0 else at


def _unescape(field: str, value: bytes, before: int) -> bytes:
    """Undo the escapes of a value, or of a slice of a value; `before` bytes of the value lie before the slice."""
    if b"%" not in value and b"+" not in value:
        return value
    try:
        return unescape(value)
    except BrokenEscape as error:
        rule = f"must be percent-encoded: % and two hex digits; byte {before + error.at} is not"
        raise Problem.of_field(field, value, rule) from None


class _Parts:
    """The parts of a multipart form, collected from the parser's callbacks."""

    def __init__(self, most: int, fits: Fits) -> None:
        self.pairs: Pairs = []
        self.complete = False  # the last boundary was seen
        self._most = most
        self._fits = fits
        self._name = b""  # of the header that is being read
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._field = ""  # of the part that is being read
        self._data = bytearray()

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
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
        name = self._name.lower()
        if name in self._headers:  # of two, another reader could believe the other
            raise Problem.of_field("header of a part", name, "must be given once")
        self._headers[name] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        disposition = self._headers.get(b"content-disposition")
        _, options = _parse_header("content-disposition", disposition, 400)
        if b"name" not in options:
            raise Problem.of_field("content-disposition", None, "every part must have a name")
        self._field = name = decode_text("form field name", options[b"name"])
        kind = self._headers.get(b"content-type")
        _check_charset(name, _parse_header("content-type", kind, 415)[1])
        encoding = self._headers.get(b"content-transfer-encoding", b"binary")
        if encoding.strip().lower() not in _IDENTITIES:
            rule = "must have no Content-Transfer-Encoding"
            raise Problem.of_field(name, encoding, rule, status=415)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]
        self._fits(self._field, len(self._data))

    def _part_end(self) -> None:
        self.pairs.append((self._field, bytes(self._data)))
        self._data = bytearray()

    def _end(self) -> None:
        self.complete = True


def _check_charset(field: str, parameters: dict[bytes, bytes]) -> None:
    charset = parameters.get(b"charset")
    if charset is not None and charset.lower() not in _CHARSETS:
        raise Problem.of_field(field, b"charset=" + charset, "charset must be utf-8", status=415)


def _too_many(where: str, most: int) -> Problem:
    rule = f"must have at most {most} fields"
    return Problem(400, f"{where}: {rule}", field=where, rule=rule)
