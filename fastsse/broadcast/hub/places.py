"""Places: ids on the wire, the block that opens a stream, and the event that tells of a gap.

An id is ``<epoch>-<n>``: the epoch names the log, the number is a place in it. An id of another epoch, or one that
cannot be read, is known to be lost; its reader is told of a gap.

The module knows ids, positions and the history's floors; it must not know subscribers, joins or sends.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from fastsse import encode
from fastsse.broadcast.hub.drafts import GAP
from fastsse.broadcast.hub.record import End, Record

if TYPE_CHECKING:
    from fastsse.broadcast.hub.eras import Eras
    from fastsse.broadcast.hub.history import History
    from fastsse.broadcast.hub.stats import Stats
    from fastsse.broadcast.stores import Entry

__all__ = ["EARLIEST", "Opening", "Places"]

EARLIEST = "earliest"  # as a last event ID: all that is kept
_SHOWN = 256  # characters of a last event ID that a gap repeats

_ID = re.compile(r"([0-9A-Za-z_.]{1,64})-([0-9]{1,19})", re.ASCII)


class Opening(NamedTuple):
    """How a stream begins.

    Attributes:
        position: where its reader stands after the block.
        block: the first block.
        told: the history's floors that the reader knows of, by topic; None: of none.
        gaps: how many gaps the block tells of.
    """

    position: int
    block: bytes
    told: dict[str, int] | None
    gaps: int


class Places:
    """The ids of one log, and the blocks that tell a reader where it stands.

    Args:
        history: what is kept, and the floors of what is not.
        eras: the numbers that positions have in ids.
        retry: milliseconds, told to readers at the opening.
        heartbeat: seconds that a stream may be quiet, told to readers at the opening; 0: for ever.
        stats: where openings and gaps are counted.

    Attributes:
        eras: as given.
        archived: the store is an archive, which has what the history does not.
    """

    def __init__(
        self, history: History, eras: Eras, retry: int, heartbeat: float, stats: Stats
    ) -> None:
        self.eras = eras
        self.archived = False
        self._begins = 0  # the position after which the archive begins
        self._history = history
        self._retry = retry
        self._greeting = f"fastsse heartbeat={heartbeat:g}" if heartbeat else "fastsse"
        self._stats = stats
        # The latest opening block and its position: many readers open at the same place.
        self._opened: tuple[int, bytes] | None = None

    def id(self, position: int) -> str:
        """Write a position as it stands on the wire."""
        return self.eras.id(position)

    def entry_id(self, number: int) -> str:
        """Write the id of an entry of the present log."""
        return f"{self.eras.epoch}-{number}"

    def record(self, position: int, entry: Entry) -> Record:
        """Make an entry of the present log ready to be kept and sent: its id goes before its block."""
        id = f"{self.eras.epoch}-{entry.position}"  # as `entry_id`, without the call: once for every publish
        block = b"id: %b\n%b" % (id.encode(), entry.block)
        return (End if entry.ends else Record)(position, entry.topics, block)

    def begin_at(self, position: int) -> None:
        """Note that the present log has nothing up to a position any more."""
        self._begins = max(self._begins, position)

    def opening(self, topics: tuple[str, ...], last_event_id: str | None) -> Opening:
        """Find where a reader with this last event ID stands, and write the block that says so.

        The block has an id and no data: the standard moves the last event ID at the blank line all the same, so a
        reader that is cut off before its first event comes back to the right place.
        """
        history = self._history
        if not last_event_id:
            # A reader that comes too late hears of the end, and of nothing else.
            if end := history.ends.last(topics):
                told = None if self.archived else history.floors(topics)
                return self._open_at("new", end - 1, told)
            return self._open_at("new", history.head)
        if last_event_id == EARLIEST:
            if self.archived:
                return self._open_at("earliest", min(self._begins, history.head))
            place = history.before_first(topics)
            return self._open_at("earliest", place, history.floors(topics))
        found = self._read(last_event_id)
        if isinstance(found, str):
            return self._open_with_gap(topics, last_event_id, found)
        return self._open_at("resumed", found)

    def nothing_left(self, topics: tuple[str, ...], last_event_id: str | None) -> bool:
        """Return True when all topics have ended, and nothing is kept that a reader with this last event ID has not."""
        history = self._history
        end = history.ends.last(topics)
        if not end:
            return False
        place = end - 1 if not last_event_id else self._read(last_event_id)
        known = not isinstance(place, str)
        after = place if isinstance(place, int) else 0
        if after >= end:
            return True
        if self.archived and (known or last_event_id == EARLIEST):
            return False  # the archive may have what the history has not
        return history.before_first(topics, after) == history.head

    def may_come(self, last_event_id: str | None) -> bool:
        """Return True for an id that this process does not know, and that another process of the log may have given."""
        match = None if last_event_id is None else _ID.fullmatch(last_event_id)
        if match is None or not self.eras.knows(match[1]):
            return match is not None
        return match[1] == self.eras.epoch and self._read(match[0]) == "unknown"

    def _read(self, last_event_id: str) -> int | str:
        """Read a last event ID: the position that it stands for, or the reason why nobody knows that."""
        match = _ID.fullmatch(last_event_id)
        if match is None:
            return "unknown"
        if match[1] != self.eras.epoch:
            return "restart"
        number = int(match[2])
        if number < self.eras.floor:  # gone already when the log took another one's place
            return "trimmed"
        position = self.eras.position(number)
        return "unknown" if position > self._history.head else position

    def _open_at(self, kind: str, position: int, told: dict[str, int] | None = None) -> Opening:
        self._stats.openings[kind] += 1
        if self._opened is None or self._opened[0] != position:
            block = encode(None, comment=self._greeting, id=self.id(position), retry=self._retry)
            self._opened = position, block
        return Opening(position, self._opened[1], told, 0)

    def _open_with_gap(self, topics: tuple[str, ...], last_event_id: str, reason: str) -> Opening:
        """Open before everything that is kept, for a reader whose place in the log nobody knows.

        Topics whose events are gone up to different places have a gap each. Only the last one moves the reader: a
        reader that is cut off between two of them comes back with its old id, and is told of all of them again.
        """
        self._stats.openings["gap"] += 1
        history = self._history
        position, floors = history.before_first(topics), history.floors(topics)
        ends: dict[int, list[str]] = {}
        for topic, floor in floors.items():
            ends.setdefault(max(position, floor), []).append(topic)
        after, last = last_event_id[:_SHOWN], max(ends)
        blocks = [encode(None, comment=self._greeting, retry=self._retry)]
        for end, names in sorted(ends.items()):
            place = position if end == last else None
            blocks.append(self.gap(after, self.id(end), place, reason, tuple(names)))
        return Opening(position, b"".join(blocks), floors, len(ends))

    def gap(
        self, after: str, end: str, place: int | None, reason: str, topics: tuple[str, ...]
    ) -> bytes:
        """Write the event that tells of a gap.

        Args:
            after: the id after which events are gone.
            end: the id up to which they are.
            place: the position where the reader then stands. The event has its id, so the gap is told once. None where
                the reader stays where it was.
            reason: ``trimmed``, ``slow``, ``lost``, ``restart`` or ``unknown``.
            topics: the topics that have lost events.
        """
        self._stats.gaps[reason] += 1
        data = {"from": after, "to": end, "reason": reason, "topics": topics}
        text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
        return encode(text, event=GAP, id=None if place is None else self.id(place))
