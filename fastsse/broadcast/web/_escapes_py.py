"""Percent-encoding undone, pure: ``%`` and two hex digits are a byte, ``+`` is a space (URL standard, 5.1).

The standard leaves a broken escape as it stands. Here a broken escape is refused, because nothing that is published is
guessed. A million escapes take a second or more, so callers give long values in slices.

The module knows escapes; it must not know fields.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

__all__ = ["SLICE", "BrokenEscape", "unescape", "unescaped_size"]

SLICE = 16_384  # bytes that take some milliseconds at most, whatever they are

_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class BrokenEscape(ValueError):
    """A ``%`` that two hex digits do not follow.

    Attributes:
        at: the offset of the ``%`` in the text.
    """

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


def unescaped_size(text: bytes) -> int:
    """Return how many bytes `text` becomes if every escape is whole; much quicker than to undo them."""
    return len(text) - 2 * text.count(b"%")


def unescape(text: bytes) -> bytes:
    """Undo the escapes of a text.

    Raises:
        BrokenEscape: for the first escape that is broken.
    """
    broken = _BROKEN.search(text)
    if broken is not None:
        raise BrokenEscape(broken.start())
    return unquote_to_bytes(text.replace(b"+", b" "))
