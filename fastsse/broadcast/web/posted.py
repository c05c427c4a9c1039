"""An event stream that somebody posts: each event is published as soon as a blank line ends it.

Events that have come together go to the store together, where it takes groups (`Grouped`), and the next ones after its
answer: so at most `TURN` events, of one part of the body, are on their way. The log always has a beginning of the
stream, and nothing after it.

When the stream breaks, the events before stay published, and the answer says how many there are and where the stream
broke. With a key (see `keys`) the stream may be sent again from any event on, and is published once. Where the query
has ``end=1``, the topics end after the last event, unless the stream broke: its publisher may go on with another one.
Ids and reconnection times in the stream tell its own readers how to come back to its source, so they are dropped. So
are comments, and the event at the end that no blank line ends, as in the standard ("Server-sent events", 9.2.6); the
answer tells of the latter. Unlike a reader, which replaces bytes that are not UTF-8, this refuses them.

The module knows the codec and the hub; it must not know routes, headers or forms.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from time import perf_counter

from fastsse import COMPILED, Decoder, Event, EventTooLarge, InvalidField
from fastsse.broadcast.hub.drafts import MAX_BESIDE, TooLarge, TopicEnded
from fastsse.broadcast.hub.hub import Hub, HubClosed, Receipt
from fastsse.broadcast.stores import Draft
from fastsse.broadcast.web.bodies import Bodies
from fastsse.broadcast.web.body import Body, append_failed, called_off
from fastsse.broadcast.web.ending import end_each
from fastsse.broadcast.web.fields import Allow, Charge, Fields, allow_all, no_topic
from fastsse.broadcast.web.keys import Key
from fastsse.broadcast.web.problems import Problem

__all__ = ["publish_stream"]

TURN = 256  # events of one stream that are published before other bodies get their turn
TURN_TIME = 0.005  # s after which other bodies get their turn, too: an event may have many topics

_FEED = 65_536 if COMPILED else 8192  # bytes that the decoder is given at a time: milliseconds
_FEW = 8  # events that are published without waiting for a turn
_MANY = 2**20  # bytes of work that more events count as, so that they wait for their turn

_BLANK = (b"\n\n", b"\r\r", b"\n\r")  # a blank line, with the end of the line before
_OF_THE_STREAM = "comes from the event stream in the body, not from the query"


async def publish_stream(
    hub: Hub,
    query: Fields,
    body: Body,
    bodies: Bodies,
    allow: Allow,
    key: Key | None,
    charge: Charge,
) -> dict[str, object]:
    """Publish each event of the body.

    Args:
        allow: asked for the verbs and topics before the body is read.
        charge: told of each part of the body before its events are published, and of nothing before the topics end.

    Returns:
        The answer: ``ids`` (of the first and the last event), ``count``, ``topics``, ``subscribers`` (of the last
        event), ``unfinished``: whether the body ended within an event; with a key also ``key``; with ``end`` also
        ``ends``, the ids of the ends. Events that were published before, by their keys, count, too.

    Raises:
        Problem: 400 to 503; from the first event on with the members of the answer, and ``broke_at``.
        InvalidField: a topic in the query that cannot be one.
    """
    await allow_all(allow, query)
    topics = _check_query(hub, query, key)
    source = _Source(hub.settings.max_event_size)
    sent = _Sent(topics, key)
    try:
        async for chunk in body.stream():
            for start in range(0, len(chunk), _FEED):
                async with bodies.turn(len(chunk)):
                    events = source.feed(chunk[start : start + _FEED])
                charge(topics, source.fed, len(events))
                await _publish_events(hub, events, sent, bodies)
                source.check()
            body.hold(source.held)
        unfinished = source.finish()
        ends = {"ends": await _end_topics(hub, topics, charge)} if query.end else {}
    except (InvalidField, HubClosed, OSError) as error:
        raise sent.broken(_problem_of(error, hub)) from None
    except Problem as problem:
        raise sent.broken(problem, source.byte) from None
    return sent.answer() | {"unfinished": unfinished} | ends


def _problem_of(error: InvalidField | HubClosed | OSError, hub: Hub) -> Problem:
    """Make the problem of an event that the hub has not published."""
    if isinstance(error, InvalidField):
        return Problem.of_invalid(error)
    if isinstance(error, HubClosed):
        return called_off("draining", hub.settings)
    return append_failed(error, hub.settings)


def _check_query(hub: Hub, query: Fields, key: Key | None) -> tuple[str, ...]:
    """Check topics and key before the body is read, because an event stream can be long."""
    for name, value in (("event", query.event), ("retry", query.retry)):
        if value is not None:
            raise Problem.of_field(name, value, _OF_THE_STREAM)
    if not query.topics:
        raise no_topic()
    topics = hub.check_topics(query.topics, hub.settings.topics_per_publish)
    for topic in topics:
        if hub.ended(topic):
            hub.stats.events_refused["topic"] += 1
            raise TopicEnded(topic)
    if key is not None:
        key.check_stem()
    return topics


async def _end_topics(hub: Hub, topics: tuple[str, ...], charge: Charge) -> list[str]:
    """End the topics, if the publisher still may: the end of a body can come long after its last part."""
    charge(topics, 0, 0)
    return await end_each(hub, topics)


async def _publish_events(hub: Hub, events: list[Event], sent: _Sent, bodies: Bodies) -> None:
    """Publish events in order; of many, some in each turn of the loop."""
    if len(events) > 1 and hub.takes_groups:
        await _publish_groups(hub, events, sent, bodies)
        return
    if len(events) <= _FEW:
        for event in events:
            sent.add(await _publish_event(hub, sent, event))
        return
    left, more = iter(events), True
    while more:
        async with bodies.turn(_MANY):
            more = await _publish_some(hub, left, sent)


async def _publish_some(hub: Hub, events: Iterator[Event], sent: _Sent) -> bool:
    """Publish as many events as fit in one turn of the loop; return whether any may be left."""
    until = perf_counter() + TURN_TIME
    for number, event in enumerate(events, 1):
        sent.add(await _publish_event(hub, sent, event))
        if number == TURN or perf_counter() > until:
            return True
    return False


async def _publish_event(hub: Hub, sent: _Sent, event: Event) -> Receipt:
    key = sent.key_of(0)
    return await hub.publish(sent.topics, event.data, event=_type_of(event), key=key)


async def _publish_groups(hub: Hub, events: list[Event], sent: _Sent, bodies: Bodies) -> None:
    """Publish events in order by a store that takes several in one step: `TURN` of them are on their way at most.

    Other bodies have their turns while the store is at work on a group.
    """
    left = iter(events)
    while True:
        async with bodies.turn(_MANY if len(events) > _FEW else 0):
            group = _Group(hub, sent, left)
        if group.drafts:
            receipts, error = await hub.append_group(group.drafts, group.keys)
            for receipt in receipts:
                sent.add(receipt)
            if error is not None:
                raise error
        if group.fault is not None:
            raise group.fault
        if group.last:
            return


class _Group:
    """Events that go to the store in one step: as many as fit in one turn of the loop.

    Args:
        hub: checks each event.
        sent: what was published before.
        events: taken from, up to the first event that cannot be published.

    Attributes:
        drafts: what is to be published.
        keys: the key of each, or None.
        fault: what stands against the event after these, or None.
        last: no event is left.
    """

    def __init__(self, hub: Hub, sent: _Sent, events: Iterator[Event]) -> None:
        self.drafts: list[Draft] = []
        self.keys: list[str | None] = []
        self.fault: InvalidField | None = None
        self.last = False
        until = perf_counter() + TURN_TIME
        for number, event in enumerate(events):
            key = sent.key_of(number)
            try:
                draft = hub.draft(sent.topics, event.data, _type_of(event), None, key)
            except InvalidField as fault:
                self.fault = fault
                return
            self.drafts.append(draft)
            self.keys.append(key)
            if number + 1 == TURN or perf_counter() > until:
                return
        self.last = True


def _type_of(event: Event) -> str | None:
    return None if event.event == "message" else event.event


class _Sent:
    """The part of a stream that has been published."""

    def __init__(self, topics: tuple[str, ...], key: Key | None) -> None:
        self.count = 0
        self.key = key
        self.topics = topics
        self._first = ""
        self._last = ""
        self._subscribers = 0

    def key_of(self, number: int) -> str | None:
        """Return the key of an event that comes so many after the last one that was published; None without keys."""
        return None if self.key is None else self.key.of_event(self.count + number)

    def add(self, receipt: Receipt) -> None:
        """Count one more event."""
        self.count += 1
        self._first = self._first or receipt.id
        self._last = receipt.id
        self._subscribers = receipt.subscribers

    def answer(self) -> dict[str, object]:
        """Return the members of an answer."""
        members: dict[str, object] = {
            "ids": [self._first, self._last][: min(self.count, 2)],
            "count": self.count,
            "topics": self.topics,
            "subscribers": self._subscribers,
        }
        return members if self.key is None else members | {"key": self.key.text}

    def broken(self, problem: Problem, byte: int | None = None) -> Problem:
        """Add to a problem what stays published and where the stream broke; `byte` is the offset in the body."""
        number = self.count + 1
        place = {"event": number} if byte is None else {"event": number, "byte": byte}
        problem.more |= self.answer() | {"broke_at": place}
        problem.detail += f" (event {number} of the stream; {self.count} before it stay published)"
        return problem


class _Source:
    """A decoder for one posted stream that refuses bytes that are not UTF-8.

    A fault is kept until `check`, so that the events before it are published first.

    Attributes:
        byte: offset in the body of the first byte that is not UTF-8, or None.
        fed: bytes of the last chunk.
        held: the most bytes that the decoder can hold of an event that no blank line has ended yet; comments count.
    """

    def __init__(self, max_event_size: int) -> None:
        self.byte: int | None = None
        self.fed = 0
        self.held = 0
        self._end = b""  # the last bytes of the chunks before this one
        self._limit = max_event_size
        self._decoder = Decoder(max_event_size=max_event_size + MAX_BESIDE)
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._taken = 0  # bytes of the chunks before this one
        self._fault: Problem | TooLarge | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """Decode a chunk as far as it is in order; return the events that it completes."""
        self.fed = len(chunk)
        held = len(self._utf8.getstate()[0])  # bytes of a character that an earlier chunk began
        try:
            self._utf8.decode(chunk)
        except UnicodeDecodeError as error:
            self.byte = self._taken - held + error.start
            bad = error.object[error.start : error.end]
            self._fault = Problem.of_field("data", bad, f"must be UTF-8; byte {self.byte} is not")
            chunk = chunk[: max(0, error.start - held)]
        self._taken += len(chunk)
        self._hold(chunk)
        try:
            return self._decoder.feed(chunk)
        except EventTooLarge as error:
            self._fault = TooLarge("data", None, self._limit)
            return error.events

    def _hold(self, chunk: bytes) -> None:
        """Count the bytes after the last blank line."""
        if chunk.endswith(b"\n\n"):
            self.held, self._end = 0, b"\n\n"
            return
        seen = self._end + chunk
        blank = max(seen.rfind(end) + len(end) if end in seen else 0 for end in _BLANK)
        self.held = len(seen) - blank if blank else self.held + len(chunk)
        self.held = min(self.held, self._limit + MAX_BESIDE)
        self._end = seen[-3:]

    def check(self) -> None:
        """Raise the fault that `feed` has found, if any.

        Raises:
            Problem: 400 for bytes that are not UTF-8.
            TooLarge: an event that is too large; nothing after the bound was looked at.
        """
        if self._fault is not None:
            raise self._fault

    def finish(self) -> bool:
        """End the stream; return True when its last event was left without a blank line, and so was not published.

        Two CRs end any line that was begun and make the blank line: what they dispatch is the event that was left.
        """
        try:
            return bool(self._decoder.feed(b"\r\r"))
        except EventTooLarge:
            return True
