"""The encoding of an event in a log on another machine, with a version, for every store that keeps bytes.

    1\\n<topic>\\n<topic>\\n\\n<block>

The first line is the version. Each topic has a line, an empty line ends them, and the block follows as it is. No topic
holds a line end, so reading is exact. A release that needs another form takes another version and goes on reading this
one: entries of an older fastsse stay readable, and an older fastsse skips entries that it cannot read.

This module knows drafts and bytes, and nothing of engines.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from fastsse.broadcast.stores import Draft

__all__ = ["Unreadable", "digest", "read_entry", "read_topics", "write_entry"]

_VERSION = b"1\n"
_HEADS = 4096  # lists of topics that are kept in their encoded form


class Unreadable(ValueError):
    """An entry that is not ours, is damaged, or was written by a release that is newer than this one."""


def write_entry(draft: Draft) -> bytes:
    """Encode an event."""
    return _head(draft.topics) + draft.block


def read_entry(entry: bytes) -> tuple[tuple[str, ...], bytes]:
    """Decode topics and block.

    Raises:
        Unreadable: these bytes are no event that this release can read.
    """
    topics, begin = read_topics(entry)
    return topics, entry[begin:]


def read_topics(entry: bytes) -> tuple[tuple[str, ...], int]:
    """Decode the topics alone, and return them with the place at which the block begins.

    Raises:
        Unreadable: these bytes are no event that this release can read.
    """
    end = entry.find(b"\n\n")
    if end < 0 or not entry.startswith(_VERSION) or not entry.endswith(b"\n\n"):
        raise Unreadable(f"no event of this version: {entry[:32]!r}")
    begin = end + 2
    if begin == len(entry):
        raise Unreadable(f"no block: {entry[:32]!r}")
    return _topics(entry[:end]), begin


def digest(entry: bytes) -> bytes:
    """Return 32 hexadecimal digits that tell an event from every other one."""
    return blake2b(entry, digest_size=16).hexdigest().encode()


@lru_cache(_HEADS)
def _head(topics: tuple[str, ...]) -> bytes:
    return b"%b%b\n\n" % (_VERSION, "\n".join(topics).encode())


@lru_cache(_HEADS)
def _topics(head: bytes) -> tuple[str, ...]:
    """Decode the lines before the empty one.

    Raises:
        Unreadable: they are no topics.
    """
    try:
        topics = tuple(head[len(_VERSION) :].decode().split("\n"))
    except UnicodeDecodeError:
        raise Unreadable(f"topics are not UTF-8: {head[:32]!r}") from None
    if "" in topics:
        raise Unreadable(f"a topic is empty: {head[:32]!r}")
    return topics
