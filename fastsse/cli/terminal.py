"""Text for people: why the command failed, and what strangers wrote, with colours where a terminal shows them.

The module knows terminals; it must not know where a text comes from.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

__all__ = ["DIM", "EVENT", "WARNING", "Failure", "show"]

DIM = "2"
EVENT = "36"  # cyan
WARNING = "33"  # yellow

# Controls other than tab and line feed; line and paragraph separators; embeddings, overrides and isolates of direction.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Failure(Exception):
    """The reason why the command ends with exit code 1; the message goes to stderr.

    The class stands outside of `FastSSEError`, because no code but that of the command raises or catches a failure.
    """


def show(text: str, stream: TextIO, style: str = "", lead: str = "") -> None:
    """Print a line of others' text. A terminal gets escapes for what it would obey; a pipe gets the text as it is.

    Args:
        text: one line or more.
        stream: stdout or stderr; flushed, so that a reader has the line at once.
        style: the colour of the line, or of `lead` where there is one; only a terminal gets it, and none where the
            environment has NO_COLOR or a TERM that is dumb.
        lead: stands before the text on a terminal alone.
    """
    if not stream.isatty():
        print(text, file=stream, flush=True)
        return
    text, lead = _escape(text), _escape(lead)
    if lead:
        text = f"{_paint(lead, style)}  {text}"
    elif style:
        text = _paint(text, style)
    print(text, file=stream, flush=True)


def _paint(text: str, style: str) -> str:
    """Colour a text, unless the environment asks for none (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{style}m{text}\x1b[0m"


def _escape(text: str) -> str:
    """Write each character that moves a cursor, colours, or reorders letters as JSON would: ``\\u001b``."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
