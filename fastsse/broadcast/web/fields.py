"""The fields of a publish: which there are, how large each may be, and what an empty one means.

    topic   one or more: who gets the event
    data    in a form only; with another body, the body is the data
    event   the event's type
    retry   the reconnection time that its readers are told, in milliseconds
    end     1: the topics end after what is published

A browser submits an input that nobody has filled in as an empty field. So an empty `event` is the default type, as an
empty ``event`` line is in an event stream, and an empty `retry` is none. Empty `data` is data. An empty `topic` is
refused, because dropping it would hide a fault in the sender.

The module knows fields; it must not know requests, bodies or what happens to an event.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Literal

from fastsse.broadcast.hub.drafts import MAX_EVENT_TYPE, MAX_RETRY
from fastsse.broadcast.web.forms import Pairs, decode_text
from fastsse.broadcast.web.problems import Problem

if TYPE_CHECKING:
    from fastsse.broadcast.hub.stats import Stats
    from fastsse.broadcast.settings import Settings

__all__ = ["Allow", "Charge", "Fields", "Rules", "allow_all", "free", "no_topic"]

Allow = Callable[[Literal["publish", "end"], tuple[str, ...]], Awaitable[None]]
"""A function that raises a `Problem` where a verb is not granted for all of these topics."""

Charge = Callable[[Sequence[str], int, int], None]
"""A function that raises a `Problem` where so many bytes and events are too much for these topics or their sender."""

_SPARE = 8  # fields beyond the most topics, so that a good form is never cut
_LONGEST_RETRY = 1024  # bytes of the field `retry` that are looked at
_LONGEST_FLAG = 64  # bytes of the field `end`
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_NOT_BOTH = "goes in the form or in the query, not in both"


class Rules:
    """The fields that a query or a form may have, and their sizes.

    A parser asks `query` or `form` about each field, by its name and by the size that its value will have, before it
    undoes any escape of that value.

    Attributes:
        most: fields that a query or a form may have.
    """

    def __init__(self, settings: Settings, stats: Stats) -> None:
        self.most = settings.topics_per_publish + _SPARE
        self._refused = stats.events_refused
        self._sizes = {  # bytes of UTF-8
            "topic": settings.max_topic_length,
            "event": MAX_EVENT_TYPE,
            "retry": _LONGEST_RETRY,
            "end": _LONGEST_FLAG,
            "data": settings.max_event_size,
        }

    def query(self, name: str, size: int) -> None:
        """Check one field of a query.

        Raises:
            Problem: 400 for a field that a query does not have, 400 or 413 for one that is too large.
        """
        if name == "data":
            raise Problem(
                400, f"data: {_IN_THE_BODY}, not in the query", field="data", rule=_IN_THE_BODY
            )
        if name not in self._sizes:
            raise Problem.of_field(
                "field", name, "is no query field; known are topic, event, retry, end"
            )
        self._check(name, size)

    def form(self, name: str, size: int) -> None:
        """Check one field of a form.

        Raises:
            Problem: as `query`.
        """
        if name not in self._sizes:
            raise Problem.of_field("field", name, _NO_FORM_FIELD)
        self._check(name, size)

    def _check(self, name: str, size: int) -> None:
        most = self._sizes[name]
        if size > most:
            self._refused[name] += 1
            status = 413 if name in ("data", "event") else 400
            raise Problem.of_size(name, size, most, status=status)


_IN_THE_BODY = "goes in the body"
_NO_FORM_FIELD = (
    "is no form field; known are topic, data, event, retry, end; to publish a raw body, give another Content-Type, "
    "such as text/plain"
)


class Fields:
    """The values of a form or a query: topics, and at most one of everything else.

    Args:
        pairs: names that `Rules` has let pass, and values whose escapes are undone.

    Raises:
        Problem: 400 for a field that is given twice, that is not UTF-8, or that cannot be what it should be.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.topics: list[str] = []
        self.data: bytes | None = None
        self.event: str | None = None
        self.retry: int | None = None
        self.end: bool | None = None
        seen: set[str] = set()
        for name, value in pairs:
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
            self.event = decode_text(name, value) or None
        elif name == "end":
            self.end = _flag(decode_text(name, value)) if value else None
        else:
            self.retry = _milliseconds(decode_text(name, value)) if value else None

    def merge(self, form: Fields) -> None:
        """Take over the fields of a form, which go with these of the query.

        Raises:
            Problem: 400 for a field that both have.
        """
        if self.topics and form.topics:
            raise Problem.of_field("topic", form.topics[0], _NOT_BOTH)
        if self.event is not None and form.event is not None:
            raise Problem.of_field("event", form.event, _NOT_BOTH)
        if self.retry is not None and form.retry is not None:
            raise Problem.of_field("retry", form.retry, _NOT_BOTH)
        if self.end is not None and form.end is not None:
            raise Problem.of_field("end", form.end, _NOT_BOTH)
        self.end = form.end if self.end is None else self.end
        self.topics = self.topics or form.topics
        self.data = form.data
        self.event = form.event if self.event is None else self.event
        self.retry = form.retry if self.retry is None else self.retry


async def allow_all(allow: Allow, fields: Fields) -> None:
    """Ask for what these fields are going to do: to publish to their topics, and to end them.

    Raises:
        Problem: the one of `allow`.
    """
    topics = tuple(fields.topics)
    if topics:
        await allow("publish", topics)
        if fields.end:
            await allow("end", topics)


def free(_topics: Sequence[str], _size: int, _events: int) -> None:
    """Charge nothing: where there are no quotas."""


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise Problem.of_field("end", text, "must be 1 or 0")
    return text == "1"


def no_topic() -> Problem:
    """Make the problem of a publish that names no topic."""
    return Problem.of_field("topic", None, "name at least one: ?topic=news, or a form field topic")


def _milliseconds(text: str) -> int:
    if not _DIGITS.fullmatch(text) or int(text) > MAX_RETRY:
        rule = f"must be a whole number of milliseconds, digits only, at most {MAX_RETRY}"
        raise Problem.of_field("retry", text, rule)
    return int(text)
