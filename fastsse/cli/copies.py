"""A log as lines of JSON: a line for the numbering, a line for each entry, a line that says how many there were.

    {"fastsse": "log", "version": 1, "epoch": "6b0d9e1c", "floor": 0, "head": 2}
    {"position": 1, "topics": ["news"], "block": "data: hello\n\n"}
    {"position": 2, "topics": ["news"], "block": "event: end\ndata: …\n\n"}
    {"entries": 2}

The module knows lines and entries; it must not know stores.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

from fastsse import _json
from fastsse.broadcast.names import ORDERS, is_text
from fastsse.broadcast.stores import Entry, Log
from fastsse.cli.terminal import Failure

__all__ = ["PIECE", "Damage", "entry_of", "head_of", "line_of", "log_of"]

PIECE = 2**20  # bytes of blocks that are read or written at once

_VERSION = 1
_EPOCH = re.compile(r"[0-9A-Za-z_.]{1,64}", re.ASCII)
_MOST = 2**62


def head_of(log: Log) -> bytes:
    """Write the first line."""
    head = {"fastsse": "log", "version": _VERSION, **log._asdict()}
    return _json.dumps(head) + b"\n"


def line_of(entry: Entry) -> bytes:
    """Write the line of an entry, whose block is UTF-8 as every block that the hub has written."""
    block = entry.block.decode("utf-8", "replace")
    line = {"position": entry.position, "topics": entry.topics, "block": block}
    return _json.dumps(line) + b"\n"


def log_of(line: bytes) -> Log:
    """Read the first line.

    Raises:
        Failure: the line is no such line, or of a newer version.
    """
    found = _read(line, 1)
    if found.get("fastsse") != "log":
        raise Failure("line 1: not a log that `fastsse store export` has written")
    if found.get("version") != _VERSION:
        raise Failure(f"line 1: written by a newer fastsse (version {found.get('version')})")
    epoch: Any = found.get("epoch")
    floor: Any = found.get("floor")
    head: Any = found.get("head")
    named = isinstance(epoch, str) and _EPOCH.fullmatch(epoch) is not None
    if not named or not _whole(floor) or not _whole(head) or not 0 <= floor <= head < _MOST:
        raise Failure("line 1: epoch, floor and head must be a name and two positions")
    return Log(epoch, floor, head)


def entry_of(line: bytes, number: int) -> Entry | int:
    """Read the line of an entry; of the last line how many entries there are.

    Raises:
        Failure: the line is neither; the message names its number.
    """
    found = _read(line, number)
    if _whole(found.get("entries")):
        return int(found["entries"])
    position: Any = found.get("position")
    topics: Any = found.get("topics")
    block: Any = found.get("block")
    names: list[Any] = cast("Any", topics) if isinstance(topics, list) else []
    named = bool(names) and all(_is_name(name) for name in names)
    if not named or not _whole(position) or not isinstance(block, str) or not 0 < position < _MOST:
        raise Failure(f"line {number}: must have position, topics and block")
    if not _is_block(block):
        raise Failure(f"line {number}: the block must be that of one event, without an id")
    return Entry(position, tuple(names), block.encode("utf-8", "replace"))


class Damage:
    """Where a log could not be read, and how a copy gets past.

    Pages are read that are smaller and smaller until the place is found; then ever larger steps lead over it.

    Args:
        skip: go on after damage; otherwise the first error ends the copy.

    Attributes:
        limit: bytes that the next page may have.
        lost: the ranges of positions that could not be read.
    """

    def __init__(self, skip: bool) -> None:
        self._skip = skip
        self._step = 0
        self.limit = PIECE
        self.lost: list[tuple[int, int]] = []

    def after(self, error: OSError, at: int, head: int) -> int:
        """Return the position after which to try next.

        Raises:
            OSError: the copy must not go on.
        """
        if not self._skip:
            raise error
        if self.limit > 1:
            self.limit = 1
            return at
        first = self.lost.pop()[0] if self._step else at + 1
        self._step = 2 * self._step or 1
        end = min(head, at + self._step)
        self.lost.append((first, end))
        return end

    def over(self) -> None:
        """Note that a page could be read."""
        self._step = 0
        self.limit = min(PIECE, 2 * self.limit)


def _read(line: bytes, number: int) -> dict[str, Any]:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Failure(f"line {number}: no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Failure(f"line {number}: must be an object")
    return cast("dict[str, Any]", found)


def _is_name(value: Any) -> bool:
    """Return True for a topic; that of the orders of hubs is one, since a copy keeps what was revoked."""
    return isinstance(value, str) and value != "" and (value == ORDERS or is_text(value))


def _is_block(block: str) -> bool:
    """Return True for one block as a hub writes it: lines ended by LF, one blank line, no field ``id``."""
    lines = block.removesuffix("\n\n").split("\n")
    whole = block.endswith("\n\n") and "" not in lines and "\r" not in block
    return whole and all(line.partition(":")[0] != "id" for line in lines)


def _whole(value: Any) -> bool:
    return type(value) is int
