"""The road from the store to the streams: each report goes into the history, then to the audiences.

    entry ──► a record: its id goes before its block ──► history ──► each audience of its topics ──► the pump
    lost, renewed ──► a hole, or an empty history ──► a gap event for each audience ──► the pump

All events come by here, in the order of the log, whoever published them. A gap for open streams is one more record of
an audience: the pump sends it in its turn, and streams that are late find the gap in the history.

This module knows entries, records and audiences, and nothing of requests, sends or how a store works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fastsse.broadcast.hub.record import Record
from fastsse.broadcast.hub.sending import FILTER
from fastsse.broadcast.names import ORDERS

if TYPE_CHECKING:
    from fastsse.broadcast.hub.fanout import Fanout
    from fastsse.broadcast.stores import Entry, Log

__all__ = ["Reports"]


class Reports:
    """The follower of a hub's store, from a start of the hub to its end.

    Args:
        fanout: the fanout of that start; its history is that of the log that the store has opened.
        obey: called with the block of each order; None: orders are passed by.
    """

    __slots__ = ("_audiences", "_delivery", "_eras", "_fanout", "_history", "_obey", "_places")

    def __init__(self, fanout: Fanout, obey: Callable[[bytes], object] | None = None) -> None:
        self._fanout = fanout
        self._obey = obey
        self._history = fanout.history
        self._audiences = fanout.audiences
        self._places = fanout.places
        self._eras = fanout.places.eras
        self._delivery = fanout.delivery

    def entry(self, entry: Entry) -> None:
        """Keep an entry and put it to the audiences of its topics; drop one that was reported before."""
        position = entry.position + self._eras.shift
        if position <= self._history.head:
            if self._eras.loose:
                self._eras.anchor(entry.position)
                self.entry(entry)
            return
        if entry.topics[0] == ORDERS:  # of the hubs, and no event
            self._history.pass_by(position)
            if self._obey is not None:
                self._obey(entry.block)
            return
        record = self._places.record(position, entry)
        if record.ends and self._history.ends.last(entry.topics):
            for topic in entry.topics:
                self._fanout.ending_topics.pop(topic, None)
            # Two processes have ended it at once, and it is told once.
            self._history.pass_by(position)
            return
        self._history.append(record)
        for topic in entry.topics:
            for audience in self._audiences.of(topic):
                if audience.newest != record.position and audience.takes(record):
                    self._delivery.put(audience, record)
                elif audience.broken is not None:
                    for subscriber in audience.snapshot():
                        self._fanout.finish(subscriber, "filter", FILTER)
                elif audience.filter is not None:
                    for subscriber in audience.snapshot():
                        subscriber.pass_by(record.position)
        if record.ends:
            self._fanout.note_end(record.topics)

    def lost(self, to: int) -> None:
        """Leave a hole in the history, and tell all streams of it."""
        if self._eras.loose:
            self._eras.anchor(to)
        self._fanout.ending_topics.clear()  # nobody knows whether their ends were among what is lost
        end = self._eras.position(to)
        after = self._history.lost(end)
        if after < end:
            self._tell(after, end, "lost")

    def renewed(self, log: Log) -> None:
        """Forget the history, and tell all streams that they are in another log now."""
        self._fanout.ending_topics.clear()
        head = self._history.head
        place = self._eras.renew(log, head)
        self._history.renew(place)
        self._places.begin_at(self._eras.position(log.floor))
        self._tell(head, place, "restart")

    def stalled(self, since: float | None) -> None:
        """Note since when the engine cannot be reached, for `Hub.stalled`; None: it can again."""
        self._fanout.stalled_since = since

    def _tell(self, after: int, end: int, reason: str) -> None:
        """Put a gap event to every audience, whatever its members follow and filter."""
        places = self._places
        for audience in self._audiences:
            block = places.gap(places.id(after), places.id(end), end, reason, audience.topics)
            self._delivery.put(audience, Record(end, (), block))
