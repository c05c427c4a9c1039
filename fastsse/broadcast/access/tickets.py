"""Tickets: names for a URL, in the place of a token that no URL should have.

A browser's EventSource can set no header. So a page asks for a ticket with its token, and opens its stream by the
ticket. A ticket is good once, for some seconds, and for the topics that it was made for. Its grant ends when
the token's does.

Tickets live in this process and are bounded in number, in all and for each subject. The module knows grants; it must
not know requests.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from fastsse.broadcast.access.grants import Grant

__all__ = ["MOST", "Tickets"]

MOST = 10_000
"""Tickets that are good at a time."""

_EACH = 100  # tickets of one subject
_BYTES = 32  # of chance in a name
_LENGTH = 43  # characters of a name


class _Ticket(NamedTuple):
    grant: Grant
    until: float


class Tickets:
    """The tickets of one app.

    Args:
        seconds: for which a ticket is good.
        clock: seconds since the epoch.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._good: OrderedDict[str, _Ticket] = OrderedDict()  # in the order in which they expire
        self._of: Counter[str | None] = Counter()

    def issue(self, grant: Grant, topics: tuple[str, ...]) -> str | None:
        """Make a ticket for a stream of these topics; return None when there are too many."""
        self._let_go()
        if len(self._good) >= MOST or self._of[grant.subject] >= _EACH:
            return None
        name = secrets.token_urlsafe(_BYTES)
        self._good[name] = _Ticket(grant.narrowed(topics), self._clock() + self.seconds)
        self._of[grant.subject] += 1
        return name

    def look(self, name: str) -> Grant | None:
        """Return what a ticket grants, and leave it good; None for one that is not good."""
        ticket = self._good.get(name) if len(name) == _LENGTH else None
        if ticket is None or ticket.until <= self._clock():
            return None
        return ticket.grant

    def spend(self, name: str) -> None:
        """Make a ticket good no more."""
        ticket = self._good.pop(name, None)
        if ticket is not None:
            subject = ticket.grant.subject
            self._of[subject] -= 1
            if not self._of[subject]:
                del self._of[subject]

    def _let_go(self) -> None:
        """Forget the tickets that are over; the oldest come first."""
        now = self._clock()
        while self._good:
            name = next(iter(self._good))
            if self._good[name].until > now:
                return
            self.spend(name)
