"""The command's standard streams: text for people, with colours where a terminal shows them; streams that are shut.

The module knows terminals; it must not know where a text comes from.
"""

from __future__ import annotations

import os
import re
import sys
from typing import BinaryIO, TextIO

__all__ = ["DIM", "EVENT", "WARNING", "Failure", "open_closed", "settle", "show", "standard_input"]

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


def standard_input() -> BinaryIO:
    """Return the bytes of standard input; somebody at a terminal is told that the command waits for them.

    Raises:
        Failure: the command was started without a standard input.
    """
    if sys.stdin is None:
        raise Failure("standard input is closed, and there is nothing to read")
    if sys.stdin.isatty():
        show("fastsse: reads from this terminal, up to Ctrl-D", sys.stderr, DIM)
    return sys.stdin.buffer


def open_closed() -> None:
    """Put something in the place of standard streams that the command was started without, as a daemon may be.

    A file or a socket that is opened later would otherwise get the number of the missing stream, and what is printed.
    A write to a missing stdout fails, so that nothing is lost in silence; one to a missing stderr goes nowhere.
    """
    if sys.stdin is None:
        os.open(
            os.devnull, os.O_RDONLY
        )  # takes the number; `standard_input` says that there is none
    if sys.stdout is None:
        sys.stdout = _nowhere(os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _nowhere(os.O_WRONLY)


def settle() -> None:
    """Write out what stdout holds; where nobody takes it, let it go.

    Python would try again at the end of the process, and complain.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _nowhere(flags: int) -> TextIO:
    number = os.open(os.devnull, flags)
    os.set_inheritable(number, True)
    return open(number, "w", encoding="utf-8")


def _paint(text: str, style: str) -> str:
    """Colour a text, unless the environment asks for none (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{style}m{text}\x1b[0m"


def _escape(text: str) -> str:
    """Write each character that moves a cursor, colours, or reorders letters as JSON would: ``\\u001b``."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
