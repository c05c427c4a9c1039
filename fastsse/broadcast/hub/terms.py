"""Terms: all that one reader asks for and is granted, in one immutable value, from the request to the stream's end.

Whoever knows the request makes the terms; the hub reads them and never changes them. The module knows values; it must
not know requests, audiences or streams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastsse import Event
from fastsse.errors import quote

__all__ = ["Filter", "Terms", "check_asked"]

Filter = Callable[[Event, tuple[str, ...]], bool]
"""A function that returns True when a reader gets an event, by the event and its topics.

The hub calls a filter on the loop, so a filter must be quick."""


class Terms(NamedTuple):
    """The terms of one stream.

    Attributes:
        topics: the topics that it follows, checked, sorted and each once: see `Hub.check_topics`.
        last_event_id: where the reader left off; ``earliest`` for all that is kept; None or empty for what is new.
        labels: each block begins with a comment that names its topics.
        filter: the events that the reader gets; None for all. A stream with a filter shares no bytes with others.
        remote: the client's host and port, for the log.
        subject: the name that a token gives its bearer; None without a token.
        until: loop time at which the stream ends with an event ``expired``; None for no such time. The end comes at the
            hub's next look, at most a second later.
        token_id: the token's own name; None for a token that has none.
    """

    topics: tuple[str, ...]
    last_event_id: str | None = None
    labels: bool = False
    filter: Filter | None = None
    remote: Sequence[Any] | None = None
    subject: str | None = None
    until: float | None = None
    token_id: str | None = None


def check_asked(last_event_id: object, filter: object) -> None:
    """Check what a caller asks for in the place of a request.

    Raises:
        TypeError: `last_event_id` is not str, or `filter` cannot be called.
    """
    if last_event_id is not None and not isinstance(last_event_id, str):
        raise TypeError(f"last_event_id must be str or None, not {quote(last_event_id)}")
    if filter is not None and not callable(filter):
        raise TypeError(f"filter must be a function or None, not {quote(filter)}")
