"""Text that receivers cannot take as it is, and how it is mended where the caller asks for that.

    half of a surrogate pair      has no UTF-8; U+FFFD takes its place ("USVString" of the Encoding standard)
    U+0085, U+2028, U+2029        end a line for clients that split with `str.splitlines`, and cut their JSON; in JSON
                                  they can be written as an escape

The module knows text and UTF-8; it must not know blocks, fields or JSON libraries.
"""

from __future__ import annotations

import re
from typing import Any, Literal, cast

__all__ = [
    "LineSeparators",
    "Surrogates",
    "check_options",
    "escape_line_separators",
    "mend",
    "replace_surrogates",
]

Surrogates = Literal["refuse", "replace"]
LineSeparators = Literal["keep", "escape"]

_HALF = re.compile("[\ud800-\udfff]")
_ESCAPES = {"\x85": r"\u0085", "\u2028": r"\u2028", "\u2029": r"\u2029"}
_ESCAPES_UTF8 = {key.encode(): escape.encode() for key, escape in _ESCAPES.items()}


def check_options(surrogates: object, line_separators: object) -> None:
    """Check the two options that the ways out of the package share.

    Raises:
        ValueError: an option is neither of its two words.
    """
    if surrogates not in ("refuse", "replace"):
        raise ValueError(f"surrogates must be 'refuse' or 'replace', not {surrogates!r}")
    if line_separators not in ("keep", "escape"):
        raise ValueError(f"line_separators must be 'keep' or 'escape', not {line_separators!r}")


def mend(data: Any, surrogates: object, line_separators: object) -> Any:
    """Return data as the options ask for it. Anything but text and bytes-like comes back as it is.

    Bytes are UTF-8 already or will be refused, so `surrogates` is for text alone.

    Raises:
        ValueError: an option is neither of its two words.
    """
    check_options(surrogates, line_separators)
    if isinstance(data, str):
        text = str.__str__(data)
        if surrogates == "replace":
            text = replace_surrogates(text)
        return _escape_text(text) if line_separators == "escape" else text
    if line_separators == "escape" and isinstance(data, (bytes, bytearray, memoryview)):
        return escape_line_separators(bytes(cast("bytes", data)))
    return data


def replace_surrogates(text: str) -> str:
    """Join surrogates that make a pair, and put U+FFFD for each that is alone (Encoding Standard, "USVString")."""
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def escape_line_separators(data: bytes) -> bytes:
    """Write U+0085, U+2028 and U+2029 as JSON escapes; `data` is JSON in UTF-8. The time is linear."""
    for character, escape in _ESCAPES_UTF8.items():
        data = data.replace(character, escape)
    return data


def _escape_text(text: str) -> str:
    if text.isascii():
        return text
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text
