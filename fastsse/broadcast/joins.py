"""What a subscriber is sent next: frames of the history, joined, with a gap where something is gone.

Replay, lag and live are one mechanism: a position and a history. Subscribers of one audience at the same position
share the same joined bytes and the same ASGI message. It knows ids and blocks; it must not know sends or tasks.

Bounds: a join is at most `JOIN_SIZE` bytes, or one event; `_CACHED` joins are kept for those who come to the same
position.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from typing import Any

from fastsse import encode
from fastsse.broadcast.audiences import Audience
from fastsse.broadcast.history import Frame, History, Lost
from fastsse.broadcast.stats import Stats
from fastsse.broadcast.subscriber import Subscriber

__all__ = [
    "EARLIEST",
    "GAP",
    "JOIN_SIZE",
    "Join",
    "Joins",
    "Opening",
    "body_message",
    "encode_label",
    "pending_size",
]

EARLIEST = "earliest"  # as a last event ID: all that is kept
GAP = "gap"  # the reserved event type
JOIN_SIZE = 64 * 1024  # bytes; granian counts chunks, not bytes, so a join must not be large
_CACHED = 64  # joins
_SHOWN = 256  # characters of a last event ID that a gap repeats

_ID = re.compile(r"([0-9A-Za-z_.]{1,64})-([0-9]{1,19})", re.ASCII)


class Join:
    """One ASGI message and what it does to who gets it.

    Attributes:
        message: the body message; shared, so nobody may change it.
        last: the position of its last event: where the subscriber then stands.
        events: events in it.
        size: bytes in it.
    """

    __slots__ = ("events", "last", "message", "size")

    def __init__(self, body: bytes, last: int, events: int) -> None:
        self.message: dict[str, Any] = body_message(body)
        self.last = last
        self.events = events
        self.size = len(body)


def body_message(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


class Joins:
    """The maker of joins.

    Args:
        epoch: the name of the log's numbering.
        retry: milliseconds, told to readers at the opening.
        stats: where openings, gaps and skips are counted.
    """

    def __init__(self, history: History, epoch: str, retry: int, stats: Stats) -> None:
        self._history = history
        self._epoch = epoch
        self._retry = retry
        self._stats = stats
        self._opened: tuple[int, bytes] | None = (
            None  # the last block of a place: many come at once
        )
        self._cached: OrderedDict[tuple[Audience, int], Join] = OrderedDict()

    def id(self, position: int) -> str:
        """A position as it stands on the wire."""
        return f"{self._epoch}-{position}"

    def frame(self, position: int, topics: tuple[str, ...], block: bytes) -> Frame:
        """An entry of the log as it is sent: its id goes before its block."""
        return Frame(position, topics, b"id: %b\n%b" % (self.id(position).encode(), block))

    def opening(self, topics: tuple[str, ...], last_event_id: str | None) -> Opening:
        """Where a reader with this last event ID stands, and the block that tells it so.

        The block carries an id without data: the standard moves the last event ID at the blank line all the same,
        so a reader that is cut off before its first event comes back to the right place.
        """
        history = self._history
        if not last_event_id:
            return self._open_at("new", history.head)
        if last_event_id == EARLIEST:
            place = history.before_first(topics)
            return self._open_at("earliest", place, history.floors(topics))
        match = _ID.fullmatch(last_event_id)
        if match is not None and match[1] == self._epoch and int(match[2]) <= history.head:
            return self._open_at("resumed", int(match[2]))
        self._stats.openings["gap"] += 1
        reason = "unknown" if match is None or match[1] == self._epoch else "restart"
        position = history.before_first(topics)
        floors = history.floors(topics)
        gap = self._gap(
            last_event_id[:_SHOWN], position, reason, topics, to=max(position, *floors.values())
        )
        return Opening(position, encode(None, comment="fastsse", retry=self._retry) + gap, floors)

    def _open_at(self, kind: str, position: int, told: dict[str, int] | None = None) -> Opening:
        self._stats.openings[kind] += 1
        if self._opened is None or self._opened[0] != position:
            block = encode(None, comment="fastsse", id=self.id(position), retry=self._retry)
            self._opened = position, block
        return Opening(position, self._opened[1], told)

    def _gap(
        self, after: str, position: int, reason: str, topics: tuple[str, ...], to: int | None = None
    ) -> bytes:
        """The event that tells of a gap. Its id is where the reader then stands, so it is told once."""
        self._stats.gaps[reason] += 1
        end = self.id(position if to is None else to)
        data = {"from": after, "to": end, "reason": reason, "topics": topics}
        text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
        return encode(text, event=GAP, id=self.id(position))

    def pending(self, audience: Audience) -> Join:
        """Take the audience's oldest pending frames, as many as fit one join."""
        frames = audience.pending
        size = count = 0
        for frame in frames:
            size += len(frame.block)
            if count and size > JOIN_SIZE:
                break
            count += 1
        taken = frames[:count]
        del frames[:count]
        body = (
            _block(audience, taken[0])
            if count == 1
            else b"".join([_block(audience, frame) for frame in taken])
        )
        return Join(body, taken[-1].position, count)

    def next(self, subscriber: Subscriber) -> Join | None:
        """What this subscriber is sent next; None, and it stands at the head, when it has everything."""
        history = self._history
        if subscriber.skip:
            subscriber.skip = False
            join = self._skip(subscriber)
            if join is not None:
                return join
        audience = subscriber.audience
        # Whatever came since it was live has been put to its audience: other topics' events need no look-up.
        quiet = subscriber.events >= 0 and subscriber.position >= audience.newest
        if quiet or subscriber.position == history.head:
            subscriber.position = history.head
            subscriber.told = None
            return None
        key = (audience, subscriber.position)
        cached = self._cached.get(key) if subscriber.told is None else None
        if cached is not None and (cached.last >= audience.newest or cached.size * 2 > JOIN_SIZE):
            return cached
        join, exact = self._collect(subscriber)
        if join is None:
            subscriber.position = history.head
            subscriber.told = None
        elif exact:
            self._cached[key] = join
            if len(self._cached) > _CACHED:
                self._cached.popitem(last=False)
        return join

    def _collect(self, subscriber: Subscriber) -> tuple[Join | None, bool]:
        """The next join from the history, and whether everybody at this place gets the same."""
        audience = subscriber.audience
        parts: list[bytes] = []
        size = 0
        last = subscriber.position
        for item in self._history.since(audience.topics, last, subscriber.told):
            if isinstance(item, Lost):
                block = self._tell(subscriber, item)
                last = item.place
            elif not audience.takes(item):
                continue
            else:
                block = _block(audience, item)
                if parts and size + len(block) > JOIN_SIZE:
                    break
                last = item.position
            parts.append(block)
            size += len(block)
        if not parts:
            return None, False
        return Join(b"".join(parts), last, len(parts)), subscriber.told is None

    def _tell(self, subscriber: Subscriber, lost: Lost) -> bytes:
        """The event that tells a subscriber of a gap, once."""
        told = dict.fromkeys(lost.topics, lost.position)
        subscriber.told = {**(subscriber.told or {}), **told}
        if subscriber.account is not None:
            subscriber.account.gaps += 1
        reason = "trimmed" if subscriber.events < 0 else "slow"
        return self._gap(self.id(lost.after), lost.place, reason, lost.topics, to=lost.position)

    def _skip(self, subscriber: Subscriber) -> Join | None:
        """Jump to the head, with a gap; by the policy "latest" the newest event of each topic follows it.

        None when nothing would be missed: a heartbeat, too, can be what a reader is blocked by.
        """
        audience = subscriber.audience
        after, head = subscriber.position, self._history.head
        newest: list[Frame] = []
        if audience.limits.slow_policy == "latest":
            latest = self._history.latest(audience.topics)
            newest = [f for f in latest if f.position > after and audience.takes(f)]
        if not any(
            isinstance(item, Lost) or (item not in newest and audience.takes(item))
            for item in self._history.since(audience.topics, after, subscriber.told)
        ):
            return None
        self._stats.skipped += 1
        if subscriber.account is not None:
            subscriber.account.skips += 1
            subscriber.account.gaps += 1
        place = newest[0].position - 1 if newest else head
        gap = self._gap(self.id(after), place, "slow", audience.topics, to=head)
        body = gap + b"".join([_block(audience, frame) for frame in newest])
        join = Join(body, head, 1 + len(newest))
        if subscriber.events >= 0:  # what was skipped no longer counts against it
            subscriber.events = audience.events - join.events
            subscriber.size = audience.size - join.size
        return join


class Opening:
    """How a stream begins: its first block, the position behind it, and the floors that it need not be told of."""

    __slots__ = ("block", "position", "told")

    def __init__(self, position: int, block: bytes, told: dict[str, int] | None) -> None:
        self.position = position
        self.block = block
        self.told = told


def _block(audience: Audience, frame: Frame) -> bytes:
    """A frame's block, with the label in front when the audience asks for it."""
    if not audience.labels:
        return frame.block
    topics = [topic for topic in frame.topics if topic in audience.topics]
    return encode_label(topics) + frame.block


def pending_size(audience: Audience) -> int:
    """Bytes that an audience's pending frames will take."""
    return sum(len(_block(audience, frame)) for frame in audience.pending)


def encode_label(topics: list[str]) -> bytes:
    """The comment that names a block's topics, as a JSON array: ASCII, so that no topic can end the line."""
    return b": topics %b\n" % json.dumps(topics, separators=(",", ":")).encode()
