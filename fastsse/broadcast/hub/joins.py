"""Joins: the next that a subscriber is sent, records of the history put together, with a gap where something is gone.

Replay, lag and live are one mechanism: a position and a history. Subscribers of one audience at the same position
share the same joined bytes and the same ASGI message.

No message is larger than `JOIN_SIZE` bytes, because servers count messages and not bytes. A join is at most that large,
unless it is one event or what follows a skip. A larger join leaves in several messages, which are cut when they are
sent: so a reader that does not read holds a place in blocks that are kept anyway, and no copy of its own. `_CACHED`
joins of one message are kept for other readers that come to the same position.

The module knows positions, blocks and where a subscriber stands; it must not know sends or tasks.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from fastsse.asgi import body_message
from fastsse.broadcast.hub.history import Lost
from fastsse.broadcast.hub.subscriber import Taker

if TYPE_CHECKING:
    from fastsse.asgi import Message
    from fastsse.broadcast.hub.audiences import Audience
    from fastsse.broadcast.hub.history import History, Record
    from fastsse.broadcast.hub.places import Places
    from fastsse.broadcast.hub.stats import Stats
    from fastsse.broadcast.hub.subscriber import Subscriber

__all__ = ["JOIN_SIZE", "Join", "JoinMaker"]

# Bytes of one message. granian's channel holds four messages, whatever their size.
JOIN_SIZE = 64 * 1024
_CACHED = 64  # joins


class Join:
    """The bytes that are sent next, and where they leave the subscriber.

    Attributes:
        pieces: its bytes, in order.
        last: the position of its last event: where the subscriber then stands.
        events: how many events it has; gaps count.
        size: how many bytes it has.
        weight: bytes of its events' blocks, without labels and gaps, as `Audience.total_bytes` counts them.
        message: the body message when one is enough; shared, so nobody may change it. None for a large join.
        parts: how many messages it takes.
    """

    __slots__ = ("events", "last", "message", "parts", "pieces", "size", "weight")

    def __init__(self, pieces: list[bytes], last: int, events: int, weight: int) -> None:
        self.pieces = pieces
        self.last = last
        self.events = events
        self.weight = weight
        self.size = size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        self.message: Message | None = None
        if size <= JOIN_SIZE:
            self.parts = 1
            self.message = body_message(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        else:
            self.parts = -(-size // JOIN_SIZE)

    def part(self, index: int) -> Message:
        """Return one of its messages. A message of a large join is cut anew at each call, and belongs to the caller."""
        if self.message is not None:
            return self.message
        skipped, room = index * JOIN_SIZE, JOIN_SIZE
        found: list[bytes] = []
        for piece in self.pieces:
            if skipped >= len(piece):
                skipped -= len(piece)
                continue
            found.append(piece[skipped : skipped + room])
            room -= len(found[-1])
            skipped = 0
            if not room:
                break
        return body_message(b"".join(found))


class JoinMaker:
    """The maker of joins.

    Args:
        history: what is kept.
        places: writes the gaps.
        stats: where skips are counted.
    """

    def __init__(self, history: History, places: Places, stats: Stats) -> None:
        self._history = history
        self._places = places
        self._stats = stats
        self._cached: OrderedDict[tuple[Audience[Subscriber], int], Join] = OrderedDict()

    def pending(self, audience: Audience[Subscriber]) -> Join:
        """Take an audience's oldest pending records: as many as fit one message, and one whatever its size."""
        records = audience.pending
        if len(records) == 1 and not audience.labels:
            [record] = records
            records.clear()
            return Join([record.block], record.position, 1, len(record.block))
        pieces: list[bytes] = []
        size = weight = count = 0
        for record in records:
            block = record.block
            label = audience.label(record) if audience.labels else b""
            size += len(block) + len(label)
            if count and size > JOIN_SIZE:
                break
            if label:
                pieces.append(label)
            pieces.append(block)
            weight += len(block)
            count += 1
        last = records[count - 1].position
        del records[:count]
        return Join(pieces, last, count, weight)

    def is_over(self, audience: Audience[Subscriber]) -> bool:
        """Return True when all topics of an audience have ended: who has everything is sent nothing more."""
        return self._history.ends.last(audience.topics) > 0

    def too_old(self, subscriber: Subscriber) -> bool:
        """Return True when the store's archive has what a subscriber is to get next, and the history has not.

        A reader that stands in an earlier log is not: it is told of a gap, for the archive is that of the present log.
        Neither is a subscription that has ended: the store may be closed, and the history gives what it has.
        """
        audience, after, places = subscriber.audience, subscriber.position, self._places
        if not places.archived or subscriber.skip_due or subscriber.ended:
            return False
        if audience.broken is not None:
            return False
        if after < places.eras.start or self._has_all(subscriber):
            return False
        return self._history.gone(audience.topics, after, subscriber.told) > 0

    def _has_all(self, subscriber: Subscriber) -> bool:
        """Return True when a subscriber has everything, without a look into the history.

        Everything that came since it stood at the head was put to its audience. When it has the newest of that, the
        events since then are of other topics.
        """
        position = subscriber.position
        quiet = subscriber.mark_events is not None and position >= subscriber.audience.newest
        return quiet or position == self._history.head

    def take(self, subscriber: Subscriber) -> Join | None:
        """Take what a subscriber is sent next. None when it has everything; it then stands at the head.

        None also when it is `too_old`: then it stays where it is.

        The subscriber's position does not move with a join: whoever has sent the join calls `Subscriber.advance`.
        """
        head = self._history.head
        if subscriber.skip_due and (join := self._skip(subscriber)) is not None:
            return join
        audience = subscriber.audience
        position = subscriber.position
        if position == head or (position >= audience.newest and self._has_all(subscriber)):
            subscriber.reach(head)
            return None
        if self._places.archived:
            if audience.broken is not None:
                return None
            if subscriber.position < self._places.eras.start:
                return self._change_logs(subscriber)
            if self.too_old(subscriber):
                return None
        key = (audience, subscriber.position)
        cached = self._cached.get(key) if subscriber.told is None else None
        if cached is not None and (cached.last >= audience.newest or cached.size * 2 > JOIN_SIZE):
            return cached
        join = self._collect(subscriber)
        if join is None:
            subscriber.reach(head)
        elif subscriber.told is None and join.message is not None:
            self._cached[key] = join
            if len(self._cached) > _CACHED:
                self._cached.popitem(last=False)
        return join

    def _collect(self, subscriber: Subscriber) -> Join | None:
        """Join what the history has after a subscriber's position.

        A subscriber that knows of any gap gets a join of its own; all others at this position get the same one.
        """
        audience = subscriber.audience
        pieces: list[bytes] = []
        size = weight = events = 0
        last = subscriber.position
        for item in self._history.since(audience.topics, last, subscriber.told):
            if isinstance(item, Lost):
                block = self._tell(subscriber, item)
                pieces.append(block)
                size += len(block)
                last = item.place
            elif audience.takes(item):
                label = audience.label(item) if audience.labels else b""
                taken = len(item.block) + len(label)
                if pieces and size + taken > JOIN_SIZE:
                    break
                pieces += (label, item.block) if label else (item.block,)
                size += taken
                weight += len(item.block)
                last = item.position
            else:
                continue
            events += 1
        return Join(pieces, last, events, weight) if pieces else None

    def _tell(self, subscriber: Subscriber, lost: Lost) -> bytes:
        """Write the event that tells a subscriber of a gap, and note that it is told."""
        subscriber.note_gap(lost.topics, lost.position)
        places = self._places
        if lost.after < places.eras.start:
            reason = "restart"
        elif lost.hole:
            reason = "lost"
        else:
            replayed = subscriber.mark_events is None or isinstance(subscriber, Taker)
            reason = "trimmed" if replayed else "slow"
        after, end = places.id(lost.after), places.id(lost.position)
        return places.gap(after, end, lost.place, reason, lost.topics)

    def _change_logs(self, subscriber: Subscriber) -> Join:
        """Tell a subscriber that stands in an earlier log of the present one, all of which is in the archive."""
        places, topics = self._places, subscriber.audience.topics
        after, place = places.id(subscriber.position), places.eras.place
        subscriber.note_gap(topics, place)
        gap = places.gap(after, places.id(place), place, "restart", topics)
        return Join([gap], place, 1, 0)

    def _skip(self, subscriber: Subscriber) -> Join | None:
        """Jump to the head, with a gap; by the policy "latest" the newest event of each topic is sent all the same.

        Each gap names what is gone between two of the events that are sent, so no event is both sent and named.

        None when nothing would be missed: a heartbeat, too, can be what blocks a reader.
        """
        subscriber.skip_now()
        audience, places = subscriber.audience, self._places
        pieces: list[bytes] = []
        start, gaps, weight = subscriber.position, 0, 0
        newest, head = self._newest(subscriber), self._history.head
        for record in [*newest, None]:
            end = head if record is None else record.position - 1
            if self._would_miss(subscriber, start, end):
                after = places.id(start)
                pieces.append(places.gap(after, places.id(end), end, "slow", audience.topics))
                gaps += 1
            if record is not None:
                label = audience.label(record) if audience.labels else b""
                pieces += (label, record.block) if label else (record.block,)
                weight += len(record.block)
                start = record.position
        if not gaps:
            return None
        self._stats.skipped += 1
        join = Join(pieces, head, gaps + len(newest), weight)
        subscriber.skip_to(join.events, weight, gaps)
        return join

    def _newest(self, subscriber: Subscriber) -> list[Record]:
        """Find the newest event of each topic that a subscriber has not got; without the policy "latest" only ends."""
        audience = subscriber.audience
        latest = self._history.latest(audience.topics)
        if audience.limits.slow_policy != "latest":
            latest = [record for record in latest if record.ends]
        return [r for r in latest if r.position > subscriber.position and audience.takes(r)]

    def _would_miss(self, subscriber: Subscriber, start: int, end: int) -> bool:
        """Return True when something that a subscriber is to get lies after `start`, up to `end`."""
        audience = subscriber.audience
        for item in self._history.since(audience.topics, start, subscriber.told):
            if isinstance(item, Lost):
                if item.after < end:
                    return True
            elif item.position > end:
                return False
            elif audience.takes(item):
                return True
        return False
