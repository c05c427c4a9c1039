"""Refusals: why somebody has to come again later, for how long to stay away, and how a reader is told.

A hub that drains or is full has no stream for a reader. An EventSource gives up for good at any status but 200, and
hears nothing of an answer but its event stream (HTML standard, "Server-sent events", 9.2.3). So an EventSource is
answered with the shortest event stream there is, which names a reconnection time. Programs and people get 503 (429
where the reader itself has too many), ``Retry-After`` and a problem.

Readers that are turned away together are told different times, so that they do not come back together.

The module knows statuses and headers, and no framework; it must not know topics, audiences or routes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any, NamedTuple, Self

from fastsse import encode
from fastsse.asgi import Send, accepts, body_message, has_directive, header, start_message
from fastsse.broadcast.details import media_type, write_details
from fastsse.broadcast.settings import Settings

__all__ = ["Answer", "Refusal", "least_seconds"]


class Answer(NamedTuple):
    """A whole response.

    Attributes:
        status: the HTTP status.
        headers: names in lower case, and values.
        body: the bytes.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Refusal(NamedTuple):
    """A reason to come again later.

    Attributes:
        reason: the name by which refusals are counted, such as ``full``.
        words: the reason in words.
        seconds: to stay away at least.
    """

    reason: str
    words: str
    seconds: int

    @classmethod
    def of(cls, reason: str, settings: Settings) -> Self:
        """Make the refusal of a stream.

        Args:
            reason: ``draining``, ``full`` (all streams are taken), ``names`` (the names that streams follow take all
                of their bytes), ``subject``, ``address`` (it has all of its streams) or ``rate`` (opened too often).
            settings: the bounds that the words name, and the reconnection time.
        """
        words, least = _REASONS[reason]
        return cls(reason, words.format(knobs=settings), least_seconds(least, settings))

    @property
    def detail(self) -> str:
        """The reason in words, and what to do."""
        return f"{self.words}; come again later"

    def stay_away(self) -> float:
        """Choose the seconds that one client stays away: between one and two times `seconds`, by chance."""
        return self.seconds * (1 + random.random())

    @property
    def retry_after(self) -> str:
        """The value of a ``Retry-After`` header, another one each time."""
        return str(int(self.stay_away()))

    def answer(self, scope: Mapping[str, Any], turn_away: str) -> Answer:
        """Make the answer for a reader.

        Args:
            scope: the request's.
            turn_away: as `Settings.turn_away`: ``retry`` for an event stream where an EventSource asks, ``status`` for
                503 in any case.
        """
        if turn_away == "retry" and _is_event_source(scope):
            later = int(1000 * self.stay_away())
            body = encode(None, comment=f"{self.reason}: {self.words}", retry=later)
            headers = {
                b"content-type": b"text/event-stream; charset=utf-8",
                b"cache-control": b"no-store, no-transform",
            }
            return _answer(200, headers, body)
        headers = {
            b"content-type": media_type(scope).encode(),
            b"cache-control": b"no-store",
            b"retry-after": self.retry_after.encode(),
        }
        status = 429 if self.reason in _THEIRS else 503
        return _answer(status, headers, write_details(status, self.detail))

    async def tell(
        self,
        scope: Mapping[str, Any],
        send: Send,
        turn_away: str,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Send the answer for a reader, with more headers."""
        answer = self.answer(scope, turn_away)
        await send(start_message(answer.status, [*answer.headers, *headers]))
        await send(body_message(answer.body, more=False))


def least_seconds(least: int, settings: Settings) -> int:
    """Return `least`, or the reconnection time where that is longer: nobody is told to come again sooner."""
    return max(least, ceil(settings.retry / 1000))


_THEIRS = frozenset({"subject", "address", "rate"})  # too many of one client: 429
_REASONS = {  # in words, and the seconds to stay away at least
    "subject": ("this subject has all of its {knobs.streams_per_subject} streams", 5),
    "address": ("this address has all of its {knobs.streams_per_address} streams", 5),
    "rate": ("streams are opened too often", 5),
    "draining": ("the server is stopping", 1),
    "full": ("all {knobs.max_streams} streams are taken", 5),
    "names": ("the names that readers follow take all of their {knobs.max_followed} bytes", 5),
}


def _answer(status: int, headers: dict[bytes, bytes], body: bytes) -> Answer:
    headers[b"content-length"] = str(len(body)).encode()
    return Answer(status, list(headers.items()), body)


def _is_event_source(scope: Mapping[str, Any]) -> bool:
    """Return True when an EventSource asks: the Fetch standard has every EventSource send these headers.

    A ``fetch`` with ``cache: "no-store"`` that accepts event streams sends them too, and npm's EventSources are made of
    that. A navigation comes from somebody who reads the answer.
    """
    return (
        scope["method"] == "GET"
        and accepts(scope, b"text/event-stream")
        and has_directive(scope, b"no-cache")
        and header(scope, b"sec-fetch-mode") != b"navigate"
    )
