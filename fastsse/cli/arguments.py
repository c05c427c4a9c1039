"""Values of command-line arguments: each function reads one text, or refuses it with the rule.

The functions are the `type=` of options, so a refusal is argparse's error and exit code 2. The module knows texts; it
must not know which option a text is for.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

from fastsse.cli.terminal import standard_input

__all__ = [
    "TOKEN",
    "as_typed",
    "body",
    "credentials",
    "header",
    "names",
    "port",
    "positive",
    "seconds",
    "whole",
]


TOKEN = "FASTSSE_TOKEN"  # the environment variable that has the token for a broadcast


def port(text: str) -> int:
    """Read a port's number, 0 to 65535."""
    number = whole(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: must be 0 to 65535")
    return number


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    number = whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be at least 1")
    return number


def whole(text: str) -> int:
    """Read a whole number of at most ten ASCII digits; `int` alone would also take ``+1``, ``1_0`` and ``٣``."""
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number")
    return int(text)


def seconds(text: str) -> float:
    """Read seconds, such as 30 or 0.5; `float` alone would also take ``nan``, ``1e9`` and ``1_0``."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r}: must be seconds, such as 30 or 0.5")
    return float(text)


def header(text: str) -> tuple[str, str]:
    """Read a header field, ``Name: value``."""
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise argparse.ArgumentTypeError(f"{name!r}: must be a header, such as 'Accept: text/html'")
    return name, value.strip(" \t")


def credentials(given: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that were given, and the token of the environment where they have no ``Authorization``.

    Other users of a machine can read the arguments of a process, and not its environment.
    """
    token = os.environ.get(TOKEN, "")
    if not token or any(name.lower() == "authorization" for name, _ in given):
        return list(given)
    return [("Authorization", f"Bearer {token}"), *given]


def body(text: str) -> bytes:
    """Read a body: the text itself; after an @ the name of a file, or - for standard input."""
    if not text.startswith("@"):
        return as_typed(text)
    try:
        return standard_input().read() if text == "@-" else Path(text[1:]).read_bytes()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.strerror}") from error


def names(text: str) -> tuple[str, ...]:
    """Read names that commas separate; empty ones are left out."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def as_typed(argument: str) -> bytes:
    """Return the bytes of an argument as they were typed, UTF-8 or not."""
    return argument.encode("utf-8", "surrogateescape")
