"""The lines of a block in the orders and with the line ends that other libraries use.

The codec writes one order and LF alone, which is what a new stream should have. A stream that takes another library's
place keeps that library's bytes, which its tests and its clients may compare. So each module of this folder puts its
lines together in its own order, with the functions from here, which check every field as the codec does.

The module knows fields and line ends; it must not know responses or libraries.
"""

from __future__ import annotations

from typing import Any

from fastsse.errors import InvalidField

__all__ = ["check_retry", "encoded", "lines", "one_line"]

# The words that aiohttp-sse's users may look for are in these sentences.
_RULES = {
    "event": "an event must not contain line separators",
    "id": "an id must not contain line separators or null characters",
    "retry": "a retry must not be negative",
}
_SURROGATES = "must not contain half of a surrogate pair, which UTF-8 cannot write"


def lines(name: str, text: str, end: str) -> str:
    """Write text as a field on one line or more, cut at CR, LF and CRLF and at nothing else.

    Args:
        name: what each line begins with: ``"data: "``, or ``": "`` for a comment.
        text: the value, of any length.
        end: the line end to write.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" in text:
        text = text.replace("\n", f"{end}{name}")
    return f"{name}{text}{end}"


def one_line(name: str, value: Any, end: str) -> str:
    """Write a field that has one line: the event type, or the id, which has no NUL either.

    Raises:
        InvalidField: the value would begin another line, or is ignored by clients.
        TypeError: the value is not str.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str or None, not {type(value).__name__}")
    if "\n" in value or "\r" in value or (name == "id" and "\0" in value):
        raise InvalidField(name, value, _RULES[name])
    return name + ": " + value + end


def check_retry(value: Any) -> int:
    """Check a reconnection time in milliseconds.

    Raises:
        InvalidField: the value is negative, and clients would ignore the line.
        TypeError: the value is no integer. The words are sse-starlette's and aiohttp-sse's.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("retry argument must be int")
    if value < 0:
        raise InvalidField("retry", value, _RULES["retry"])
    return value


def encoded(block: str) -> bytes:
    """Encode a block that is complete.

    Raises:
        InvalidField: half of a surrogate pair is in it.
    """
    try:
        return block.encode()
    except UnicodeEncodeError as error:
        raise InvalidField("text", block, _SURROGATES) from error
