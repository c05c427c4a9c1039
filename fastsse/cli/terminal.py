"""Text for people: why the command failed, and what strangers wrote.

The module knows terminals; it must not know where a text comes from.
"""

from __future__ import annotations

import re
from typing import TextIO

__all__ = ["Failure", "show"]

# Controls other than tab and line feed; line and paragraph separators; embeddings, overrides and isolates of direction.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Failure(Exception):
    """The reason why the command ends with exit code 1; the message goes to stderr.

    The class stands outside of `FastSSEError`, because no code but that of the command raises or catches a failure.
    """


def show(text: str, stream: TextIO) -> None:
    """Print a line of others' text. A terminal gets escapes for what it would obey; a pipe gets the text as it is."""
    print(_escape(text) if stream.isatty() else text, file=stream, flush=True)


def _escape(text: str) -> str:
    """Write each character that moves a cursor, colours, or reorders letters as JSON would: ``\\u001b``."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
