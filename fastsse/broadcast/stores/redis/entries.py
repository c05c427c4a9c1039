"""Ids, keys and fields of a log in Redis.

The module knows how an entry is written in a stream; it must not know connections, nor where a process stands.
"""

from __future__ import annotations

from typing import Any

from fastsse.broadcast.stores import Entry
from fastsse.broadcast.stores._entries import Unreadable, read_entry

__all__ = [
    "NOTHING",
    "NOT_REACHED",
    "Fields",
    "Found",
    "gone_of",
    "id_of",
    "is_mark",
    "key_of",
    "mark_of",
    "number_of",
    "position_of",
    "read",
]

NOTHING = b"0-0"  # the id before every entry
NOT_REACHED = b"~"  # in place of an id: an event of the same group before it has failed

Fields = list[bytes]
Found = list[tuple[bytes, Fields]]  # ids and fields, as XRANGE gives them


def position_of(id: bytes) -> int:
    """Return the position that an id of Redis stands for."""
    milliseconds, _, n = id.partition(b"-")
    return int(milliseconds) << 18 | int(n)


def id_of(position: int) -> bytes:
    """Return the id of Redis that a position stands for."""
    return b"%d-%d" % (position >> 18, position & 0x3FFFF)


def key_of(namespace: str, name: str) -> str:
    """Return the name of a key; the braces keep all keys of a namespace on one node of a cluster."""
    return f"{{{namespace}}}:{name}"


def read(id: bytes, fields: Fields) -> Entry:
    """Decode an entry.

    Raises:
        Unreadable: the entry is not ours, or cannot be read.
    """
    if len(fields) != 4 or fields[2] != b"e" or number_of(fields) is None:
        raise Unreadable(f"fields {fields[0][:32]!r}, …")
    topics, block = read_entry(fields[3])
    position = position_of(id)
    if not 0 < position < 2**62:
        raise Unreadable(f"id {id!r}")
    return Entry(position, topics, block)


def is_mark(fields: Fields) -> bool:
    """Return True for an entry at which another log has begun; its value is the log's name."""
    return fields[0] == b"epoch"


def mark_of(fields: Fields) -> bytes:
    """Return the text that tells an entry from any other that has its id; nothing where the entry is not ours."""
    if is_mark(fields):
        return fields[1]
    return b"" if number_of(fields) is None else fields[1].rpartition(b" ")[2]


def number_of(fields: Fields) -> int | None:
    """Read the number of an entry; None where the entry is not ours."""
    number, _, rest = fields[1].partition(b" ")
    if fields[0] != b"n" or not number.isdigit() or rest.count(b" ") != 1:
        return None
    return int(number)


def gone_of(about: list[Any]) -> int:
    """Find the position up to which a stream has nothing any more in an answer of XINFO STREAM; 0 for none.

    Redis tells which entry is the first and how many there ever were, and not which was the last to go. The place just
    before the first entry says as much: nothing up to it is there.
    """
    known: dict[Any, Any] = dict(zip(about[::2], about[1::2], strict=True))
    if known[b"entries-added"] <= known[b"length"]:
        return 0
    first = known.get(b"first-entry")
    return position_of(first[0]) - 1 if first else position_of(known[b"last-generated-id"])
