"""The tokens that are taken no more although they have not expired: by their own name, or by their subject.

A subject is revoked up to a moment: tokens that were issued later (``iat``) are good, so that somebody who signs in
anew is let in. A token without ``iat`` counts as older. An entry is forgotten when every token that it can concern has
expired: after `Settings.revoked_seconds`, which must be as long as the longest token is good.

Bound: `MOST` entries, about 300 bytes each.

The module knows names and times; it must not know streams, tokens or the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastsse.broadcast.hub.orders import Order

__all__ = ["MOST", "Revoked"]

MOST = 100_000
"""Entries. With as many, nothing more is revoked here; what others have revoked is taken up to twice as many."""


class Revoked:
    """The list of one hub.

    Args:
        seconds: for which an entry is remembered.
        leeway: seconds by which the clocks of issuers may differ.
        clock: seconds since the epoch.
        most: entries.
    """

    def __init__(
        self,
        seconds: float,
        leeway: float = 0.0,
        clock: Callable[[], float] = time.time,
        most: int = MOST,
    ) -> None:
        self._seconds = seconds
        self._leeway = leeway
        self._clock = clock
        self._most = most
        # The moment by name, in about the order of the moments.
        self._subjects: dict[str, float] = {}
        self._tokens: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._subjects) + len(self._tokens)

    def has_room(self) -> bool:
        """Return True when one more fits, after all that is over has gone."""
        if len(self) >= self._most:
            self._let_go(all_of_them=True)
        return len(self) < self._most

    def add(self, order: Order) -> None:
        """Take an order to revoke; one that is older than what is known, or than is remembered, changes nothing."""
        if order.at + self._seconds <= self._clock():
            return
        self._let_go(all_of_them=False)
        if order.token_id is not None:
            _note(self._tokens, order.token_id, order.at)
        elif order.subject is not None:
            _note(self._subjects, order.subject, order.at)
        if len(self) > 2 * self._most:
            larger = max(self._subjects, self._tokens, key=len)
            del larger[next(iter(larger))]

    def covers(self, subject: str | None, token_id: str | None, issued: float | None) -> bool:
        """Return True for a token that is taken no more.

        Args:
            subject: the token's ``sub``.
            token_id: its ``jti``.
            issued: its ``iat``: seconds since the epoch.
        """
        if not (self._subjects or self._tokens):
            return False
        oldest = self._clock() - self._seconds
        if token_id is not None and self._tokens.get(token_id, oldest) > oldest:
            return True
        at = oldest if subject is None else self._subjects.get(subject, oldest)
        return at > oldest and (issued is None or issued <= at + self._leeway)

    def _let_go(self, *, all_of_them: bool) -> None:
        """Forget what is over: the first of each list as far as they are, or all that is."""
        oldest = self._clock() - self._seconds
        for known in (self._subjects, self._tokens):
            if all_of_them:
                for name in [name for name, at in known.items() if at <= oldest]:
                    del known[name]
            while known and known[next(iter(known))] <= oldest:
                del known[next(iter(known))]


def _note(known: dict[str, float], name: str, at: float) -> None:
    """Note the later of two moments, at the end of the list."""
    known[name] = max(at, known.pop(name, at))
