"""Values of command-line arguments: each function reads one text, or refuses it with the rule.

The functions are the `type=` of options, so a refusal is argparse's error and exit code 2. The module knows texts; it
must not know which option a text is for.
"""

from __future__ import annotations

import argparse
import re

__all__ = ["as_typed", "names", "port", "positive", "whole"]


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


def names(text: str) -> tuple[str, ...]:
    """Read names that commas separate; empty ones are left out."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def as_typed(argument: str) -> bytes:
    """Return the bytes of an argument as they were typed, UTF-8 or not."""
    return argument.encode("utf-8", "surrogateescape")
