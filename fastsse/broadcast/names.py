"""The rule for names of topics, and patterns of such names.

A name is 1 to `Settings.max_topic_length` bytes of UTF-8 without control characters and line separators, so that no
name can end a line, in a log or anywhere else. Every other character is allowed, even one that this Python does not
know: the refused characters are listed below, and do not change with the Unicode version of an interpreter.

Names are compared byte by byte. Two ways to write one letter (``é`` as one code point or as two) are two topics.

The module knows texts; it must not know who follows a topic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from fastsse.errors import InvalidField, quote

__all__ = ["ORDERS", "RULE", "Pattern", "check_name", "check_names", "is_text"]

RULE = "must not contain control characters or line separators"

ORDERS = "\x01orders"
"""The topic by which hubs of one log tell each other what to end. No name may have its first character."""

_REFUSED = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # category Cc: C0, DEL, C1
    "\u2028\u2029"  # categories Zl and Zp: line and paragraph separator
    "\ud800-\udfff"  # category Cs: surrogates, which have no UTF-8
    "]"
)


def is_text(text: str) -> bool:
    """Return True when a text has none of the refused characters."""
    return _REFUSED.search(text) is None


def check_names(topics: str | Iterable[str], limit: int, length: int) -> tuple[str, ...]:
    """Check topics; return them sorted, none twice.

    Args:
        topics: one name or several.
        limit: how many names there may be.
        length: bytes of UTF-8 that one name may have.

    Raises:
        InvalidField: there is no topic, there are more than `limit`, or one cannot be a name.
        TypeError: a topic is not str.
    """
    if isinstance(topics, str):
        check_name(topics, length)
        return (topics,)
    try:
        unique = sorted(set(topics))
    except TypeError:
        raise _no_topics(topics) from None
    if not unique:
        raise InvalidField("topic", None, "at least one is needed, as in ?topic=news")
    if len(unique) > limit:
        raise InvalidField("topic", f"{len(unique)} topics", f"at most {limit} are allowed")
    for name in unique:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _no_topics(topics)
        check_name(name, length)
    return tuple(unique)


def _no_topics(given: object) -> TypeError:
    return TypeError(f"topics must be str or an iterable of str, not {quote(given)}")


def check_name(name: str, length: int) -> None:
    """Check one name, in a time that does not grow with the part of the name that is over the limit.

    Raises:
        InvalidField: the name is empty, longer than `length` bytes, or has a refused character.
    """
    if 0 < len(name) <= length:  # a character is at least one byte
        # A text that Python finds printable has no refused character in any version; only other texts need a look.
        if not name.isprintable() and not is_text(name):
            raise InvalidField("topic", name, RULE)
        if name.isascii() or len(name.encode()) <= length:
            return
    raise InvalidField("topic", name, f"must be 1 to {length} bytes of UTF-8")


class Pattern(NamedTuple):
    """A pattern of names: ``*`` stands for any characters, none and ``/`` included, all others for themselves.

    Attributes:
        text: the pattern as it was written.
        parts: the texts between the stars.
    """

    text: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Read a pattern; every text is one."""
        return cls(text, tuple(text.split("*")))

    def matches(self, topic: str) -> bool:
        """Return True when a topic matches.

        Each part is looked for at the first place that is left for it: no other choice could match more.
        """
        if len(self.parts) == 1:
            return topic == self.text
        first, *middle, last = self.parts
        place, end = len(first), len(topic) - len(last)
        if place > end or not (topic.startswith(first) and topic.endswith(last)):
            return False
        for part in middle:
            found = topic.find(part, place, end)
            if found < 0:
                return False
            place = found + len(part)
        return True
