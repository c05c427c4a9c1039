"""A POST's body becomes what to publish: a form, raw data, or an event stream.

    application/x-www-form-urlencoded,      fields topic (one or more), data, event, retry; all but data may
    multipart/form-data                     stand in the query instead, none in both
    text/event-stream                       ?topic=…; every event is published as it arrives
    anything else, or nothing               ?topic=…&event=…&retry=…; the body is the data

All text is UTF-8, and nothing is repaired. One event is published whole or not at all. Of a stream, what was
complete stays published, and the answer says how many and where it broke. A stream's ids and reconnection times
tell its own readers how to come back to its source: they are dropped. So are its comments, and an event that no
blank line ends, as the standard has it; the answer says so.

It knows bodies and the hub; it must not know routes, or who may publish.
"""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import AsyncIterator
from typing import Any

from starlette.types import Receive, Scope

from fastsse import Decoder, Event, EventTooLarge, InvalidField
from fastsse.broadcast.access import header
from fastsse.broadcast.forms import (
    Pairs,
    decode_text,
    parse_content_type,
    parse_multipart,
    parse_pairs,
)
from fastsse.broadcast.hub import Hub, Receipt
from fastsse.broadcast.problems import Problem

__all__ = ["PATIENCE", "Body", "publish"]

PATIENCE = 30.0  # s that a form or a raw body may pause; a stream may pause for ever
TURN = 256  # events of one stream that are published before others get their turn

_FORM = b"application/x-www-form-urlencoded"
_MULTIPART = b"multipart/form-data"
_STREAM = b"text/event-stream"
_DIGITS = re.compile(rb"[0-9]{1,18}")

_BESIDE = 4096  # bytes that a decoder counts beside an event's data: names, its type, its id
_SPARE = 8  # fields beyond the most topics, so that a good form is never cut

_NOT_BOTH = "goes in the form or in the query, not in both"
_OF_THE_STREAM = "comes from the event stream in the body, not from the query"


class Body:
    """A request's body as it comes; it can be called off.

    Args:
        scope: of the request; ``Content-Length`` is read.
        receive: of the request.

    Attributes:
        given: whether the request has a body at all, be it an empty one.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        length, coding = header(scope, b"content-length"), header(scope, b"transfer-encoding")
        told = _DIGITS.fullmatch(length) if length is not None and coding is None else None
        self._length = int(told[0]) if told else None
        self._waiting: asyncio.Timeout | None = None  # for the next chunk; `close` cuts it short
        self._closed = False
        self.given = length is not None or coding is not None

    def close(self) -> None:
        """Call the reading off: the server is about to stop. From the loop."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.reschedule(0)

    async def chunks(self, patience: float | None = None) -> AsyncIterator[bytes]:
        """The chunks up to the end: where the request says how long it is, no look behind the last byte.

        Args:
            patience: seconds that one chunk may take to come; None for no limit.

        Raises:
            Problem: 400 when the body breaks off, 408 when patience ends, 503 after `close`.
        """
        more = self._length != 0
        left = self._length
        while more:
            message = await self._next(patience)
            if message["type"] != "http.request":
                raise Problem(400, "the body broke off before its end; send it again")
            more = message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            if left is not None:
                left -= len(chunk)
                more = more and left != 0
            if chunk:
                self.given = True
                yield chunk

    async def read(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes.

        Raises:
            Problem: as `chunks`; 413 when it is longer, or says that it will be.
        """
        if self._length is not None and self._length > limit:
            raise _too_large("body", self._length, limit)
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.chunks(PATIENCE):
            size += len(chunk)
            if size > limit:
                raise _too_large("body", size, limit)
            chunks.append(chunk)
        return b"".join(chunks)

    async def _next(self, patience: float | None) -> Any:
        if self._closed:
            raise _closing()
        try:
            async with asyncio.timeout(patience) as self._waiting:
                return await self._receive()
        except TimeoutError:
            if self._closed:
                raise _closing() from None
            raise Problem(408, f"the body paused for {patience:g} s; send it again") from None
        finally:
            self._waiting = None


async def publish(hub: Hub, scope: Scope, body: Body) -> dict[str, Any]:
    """Publish what a POST carries.

    Returns:
        The answer: ``id``, ``topics``, ``subscribers``; for a stream ``ids`` (the first and the last),
        ``count``, ``topics``, ``subscribers`` (of the last event) and ``unfinished``.

    Raises:
        Problem: 400, 408, 413, 415 or 503; it names field, value and rule.
        InvalidField: a value that the hub refuses.
    """
    encoding = header(scope, b"content-encoding")
    if encoding is not None and encoding.strip().lower() != b"identity":
        raise Problem.of_field("content-encoding", encoding, "must be identity", status=415)
    kind, parameters = parse_content_type(header(scope, b"content-type"))
    most = hub.settings.topics_per_publish + _SPARE
    query = parse_pairs(scope["query_string"], "query", most=most)
    if kind == _STREAM:
        return await _publish_stream(hub, query, body)
    fields = _Fields(query, "query")
    hub.expect(body)
    try:
        form = kind in (_FORM, _MULTIPART)
        raw = await (_form(hub, body) if form else body.read(hub.settings.max_event_size))
    finally:
        hub.release(body)
    if kind == _FORM:
        fields.join(_Fields(parse_pairs(raw, "form", most=most), "form"))
    elif kind == _MULTIPART:
        fields.join(_Fields(parse_multipart(raw, parameters, most=most), "form"))
    else:
        fields.data = raw if body.given else None
    return _answer(await _publish_one(hub, fields))


class _Fields:
    """What a form or a query says: topics, and at most one of everything else."""

    def __init__(self, pairs: Pairs, where: str) -> None:
        self.topics: list[str] = []
        self.data: bytes | None = None
        self.event: str | None = None
        self.retry: int | None = None
        known = (
            ("topic", "event", "retry") if where == "query" else ("topic", "data", "event", "retry")
        )
        seen: set[str] = set()
        for name, value in pairs:
            if name not in known:
                raise _unknown(name, where, known)
            if name in seen and name != "topic":
                raise Problem.of_field(name, value, "must be given once")
            seen.add(name)
            self._set(name, value)

    def _set(self, name: str, value: bytes) -> None:
        if name == "topic":
            self.topics.append(decode_text(name, value))
        elif name == "data":
            self.data = value
        elif name == "event":
            self.event = decode_text(name, value)
        else:
            self.retry = _milliseconds(decode_text(name, value))

    def join(self, form: _Fields) -> None:
        """Put a form beside the query; what stands in both is refused."""
        if self.topics and form.topics:
            raise Problem.of_field("topic", form.topics[0], _NOT_BOTH)
        if self.event is not None and form.event is not None:
            raise Problem.of_field("event", form.event, _NOT_BOTH)
        if self.retry is not None and form.retry is not None:
            raise Problem.of_field("retry", form.retry, _NOT_BOTH)
        self.topics = self.topics or form.topics
        self.data = form.data
        self.event = form.event if self.event is None else self.event
        self.retry = form.retry if self.retry is None else self.retry


async def _form(hub: Hub, body: Body) -> bytes:
    """A form's body: the largest event and the most topics fit in, were every byte escaped."""
    knobs = hub.settings
    topics = knobs.topics_per_publish * (knobs.max_topic_length + 200)  # 200: a part's header lines
    return await body.read(3 * (knobs.max_event_size + topics) + _BESIDE)


async def _publish_one(hub: Hub, fields: _Fields) -> Receipt:
    if not fields.topics:
        raise _no_topic()
    if fields.data is None:
        raise Problem.of_field("data", None, "must be given: a form field, or the body")
    _check_size(len(fields.data), hub)
    return await hub.publish(fields.topics, fields.data, event=fields.event, retry=fields.retry)


async def _publish_stream(hub: Hub, query: Pairs, body: Body) -> dict[str, Any]:
    """Publish each event of the body once it is complete."""
    topics = _stream_topics(hub, query)
    source = _Source(hub.settings.max_event_size)
    sent = _Sent(topics)
    try:
        async for chunk in body.chunks():
            for event in source.feed(chunk):
                sent.add(await _publish_event(hub, topics, event))
                if sent.count % TURN == 0:
                    await asyncio.sleep(0)
            source.check()
    except InvalidField as error:
        raise sent.broken(Problem.of_invalid(error)) from None
    except Problem as problem:
        raise sent.broken(problem, source.byte) from None
    return sent.answer() | {"unfinished": source.unfinished}


def _stream_topics(hub: Hub, query: Pairs) -> tuple[str, ...]:
    """Checked before the body is read: a stream can be long."""
    fields = _Fields(query, "query")
    for name, value in (("event", fields.event), ("retry", fields.retry)):
        if value is not None:
            raise Problem.of_field(name, value, _OF_THE_STREAM)
    if not fields.topics:
        raise _no_topic()
    return hub.check_topics(fields.topics, hub.settings.topics_per_publish)


async def _publish_event(hub: Hub, topics: tuple[str, ...], event: Event) -> Receipt:
    if len(event.data) * 4 > hub.settings.max_event_size:  # else it is small whatever its letters
        _check_size(len(event.data.encode()), hub)
    name = None if event.event == "message" else event.event
    return await hub.publish(topics, event.data, event=name)


class _Sent:
    """What has been published of a stream so far."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        self.count = 0
        self._topics = topics
        self._first = ""
        self._last = ""
        self._subscribers = 0

    def add(self, receipt: Receipt) -> None:
        self.count += 1
        self._first = self._first or receipt.id
        self._last = receipt.id
        self._subscribers = receipt.subscribers

    def answer(self) -> dict[str, Any]:
        return {
            "ids": [self._first, self._last][: min(self.count, 2)],
            "count": self.count,
            "topics": self._topics,
            "subscribers": self._subscribers,
        }

    def broken(self, problem: Problem, byte: int | None = None) -> Problem:
        """The same problem, which says what stays published and where the stream broke."""
        place = (
            {"event": self.count + 1} if byte is None else {"event": self.count + 1, "byte": byte}
        )
        problem.more |= self.answer() | {"broke_at": place}
        problem.detail += (
            f" (event {self.count + 1} of the stream; {self.count} before it stay published)"
        )
        return problem


class _Source:
    """A stream's bytes to events, UTF-8 to the byte, unlike what readers put up with.

    A fault is kept until `check`, so that the events before it are published first.

    Attributes:
        byte: offset in the body of the first byte that is not UTF-8, or None.
    """

    def __init__(self, max_event_size: int) -> None:
        self.byte: int | None = None
        self._limit = max_event_size
        self._decoder = Decoder(max_event_size=max_event_size + _BESIDE)
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._taken = 0  # bytes of the chunks before this one
        self._fault: Problem | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        held = len(self._utf8.getstate()[0])  # bytes of a character that an earlier chunk began
        try:
            self._utf8.decode(chunk)
        except UnicodeDecodeError as error:
            self.byte = self._taken - held + error.start
            bad = error.object[error.start : error.end]
            self._fault = Problem.of_field("data", bad, f"must be UTF-8; byte {self.byte} is not")
            chunk = chunk[: max(0, error.start - held)]
        self._taken += len(chunk)
        try:
            return self._decoder.feed(chunk)
        except EventTooLarge as error:
            self._fault = _too_large("data", None, self._limit)
            return error.events

    def check(self) -> None:
        if self._fault is not None:
            raise self._fault

    @property
    def unfinished(self) -> bool:
        """At the end of the body: whether an event is left that no blank line has ended."""
        try:
            return bool(self._decoder.feed(b"\n\n\n"))
        except EventTooLarge:
            return True


def _answer(receipt: Receipt) -> dict[str, Any]:
    return {"id": receipt.id, "topics": receipt.topics, "subscribers": receipt.subscribers}


def _milliseconds(text: str) -> int:
    if not _DIGITS.fullmatch(text.encode()):
        rule = "must be a whole number of milliseconds, digits only"
        raise Problem.of_field("retry", text, rule)
    return int(text)


def _check_size(size: int, hub: Hub) -> None:
    if size > hub.settings.max_event_size:
        raise _too_large("data", size, hub.settings.max_event_size)


def _too_large(field: str, size: int | None, limit: int) -> Problem:
    rule = f"must be at most {limit} bytes"
    given = "" if size is None else f" of {size} bytes"
    return Problem(413, f"{field}{given}: {rule}", field=field, value=size, rule=rule)


def _unknown(name: str, where: str, known: tuple[str, ...]) -> Problem:
    if name == "data":
        return Problem(
            400, "data: goes in the body, not in the query", field="data", rule="goes in the body"
        )
    rule = f"is no {where} field; known are {', '.join(known)}"
    if where == "form":
        rule += "; to publish a raw body, give another Content-Type, such as text/plain"
    return Problem.of_field("field", name, rule)


def _no_topic() -> Problem:
    return Problem.of_field("topic", None, "name at least one: ?topic=news, or a form field topic")


def _closing() -> Problem:
    return Problem(503, "the server is stopping; try again soon", headers={"Retry-After": "2"})
