"""The guard: what a request may do, found once, before the hub is asked.

    grant       who asks, and what is granted: by a token or a ticket, otherwise what everybody may
    need        a verb and topics against the grant
    need_operator   for the numbers of the hub

Credentials that are there must be good, even where everybody may do what is asked. A request without credentials that
may not is told to bring some (401), one with credentials that they do not allow it (403), as RFC 6750 says. No answer
names a topic, and none tells whether a topic exists.

Without keys there is no access control: everybody may do everything, but for what begins with ``private/``.

The module knows headers and grants; it must not know the hub, nor how a token is checked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from math import ceil
from typing import TYPE_CHECKING

from fastsse.asgi import Scope
from fastsse.broadcast.access.credentials import find_credential
from fastsse.broadcast.access.grants import OPEN, BadPattern, Grant, Verb, anonymous
from fastsse.broadcast.access.hosts import Access
from fastsse.broadcast.access.tickets import Tickets
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.hub.terms import Terms
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.web.problems import Problem
from fastsse.errors import SettingError

if TYPE_CHECKING:
    from fastsse.broadcast.access.tokens import Tokens

__all__ = ["Guard"]

_REALM = 'Bearer realm="fastsse"'
_NO_EXTRA = "keys need {}, which is not installed: pip install 'fastsse-core[access]'"
_PRIVATE_RULE = "topics that begin with private/ are read with a grant alone: set keys"
_NEEDS_KEYS = "without keys everybody may read and publish; set keys, too"
_DOES = {"subscribe": "read", "publish": "publish to", "end": "end"}


class Guard:
    """The access control of one app.

    Args:
        settings: the knobs of `Admission`.
        access: the rules for origins, for requests with a cookie.
        stats: where refusals are counted.
        clock: seconds since the epoch.

    Attributes:
        closed: there is access control.

    Raises:
        SettingError: a key or a pattern that cannot be one, or a library that is missing.
    """

    def __init__(
        self,
        settings: Settings,
        access: Access,
        stats: Stats,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._access = access
        self._stats = stats
        self._cookie = settings.cookie.encode()
        self._tickets = Tickets(settings.ticket_seconds, clock)
        self._clock = clock
        self._tokens = _tokens(settings, clock) if settings.keys else None
        self.closed = self._tokens is not None
        if not self.closed and (settings.anonymous_read or settings.anonymous_publish):
            raise SettingError(f"anonymous_read and anonymous_publish: {_NEEDS_KEYS}")
        self._everybody = _everybody(settings) if self.closed else OPEN

    def grant(self, scope: Scope, *, tickets: bool = False) -> Grant:
        """Return what a request may do.

        Args:
            tickets: the request may have a ticket in its place of a token. The ticket stays good until `spend`.

        Raises:
            Problem: 400 for credentials that are given twice, 401 for credentials that are not good, 403 for a cookie
                that another site's page may have sent.
        """
        if self._tokens is None:
            return OPEN
        given = find_credential(scope, self._cookie, tickets=tickets)
        if given is None:
            return self._everybody
        if given.kind == "ticket":
            found = self._tickets.look(given.value.decode("latin-1"))
            if found is None:
                raise self._stranger(
                    "ticket", "the ticket is not good, or was used: get another one"
                )
            return found
        if given.kind == "other":
            raise self._stranger("scheme", "the header Authorization must be: Bearer TOKEN")
        if given.place == "cookie":
            self._access.check_cookie(scope)
        return self._of_token(self._tokens, given.value)

    def issue(self, scope: Scope, terms: Terms) -> dict[str, object]:
        """Make a ticket for a stream of these terms; return the answer: ``ticket``, ``seconds``, ``topics``.

        Raises:
            Problem: as `grant` and `need`, 503 when there are too many tickets.
        """
        if self._tokens is None:
            raise Problem(404, "there are no tickets, because there is no access control: set keys")
        grant = self.grant(scope)
        if not grant.known:
            raise self._refusal(grant, "to get a ticket")
        self.need_stream(grant, terms)
        name = self._tickets.issue(grant, terms.topics)
        if name is None:
            self._stats.denied["tickets"] += 1
            after = str(ceil(self._tickets.seconds))
            raise Problem(
                503, "there are too many tickets; come again later", headers={"Retry-After": after}
            )
        return {"ticket": name, "seconds": self._tickets.seconds, "topics": terms.topics}

    def spend(self, scope: Scope) -> None:
        """Make the ticket of a request good no more, because its stream begins now."""
        if self._tokens is None or b"ticket=" not in scope["query_string"]:
            return
        given = find_credential(scope, self._cookie, tickets=True)
        if given is not None and given.kind == "ticket":
            self._tickets.spend(given.value.decode("latin-1"))

    def need(self, grant: Grant, verb: Verb, topics: Iterable[str]) -> None:
        """Refuse a verb that is not granted for all of these topics.

        Raises:
            Problem: 401 for a request without credentials, 403 for one with credentials.
        """
        if not grant.allows(verb, topics):
            raise self._refusal(grant, f"to {_DOES[verb]} all of these topics")

    def need_some(self, grant: Grant, verb: Verb) -> None:
        """Refuse a verb that is granted for no topic at all, before a body is read.

        Raises:
            Problem: as `need`.
        """
        if not grant.allows_some(verb):
            raise self._refusal(grant, f"to {_DOES[verb]} any topic")

    async def allow(self, grant: Grant, verb: Verb, topics: tuple[str, ...]) -> None:
        """Do as `need`, for callers that may have to wait."""
        self.need(grant, verb, topics)

    def need_stream(self, grant: Grant, terms: Terms) -> None:
        """Refuse a stream whose topics or labels are not granted.

        Raises:
            Problem: as `need`.
        """
        self.need(grant, "subscribe", terms.topics)
        if terms.labels and not grant.labels:
            raise self._refusal(grant, "labels")

    def put_into(self, terms: Terms, grant: Grant) -> Terms:
        """Return terms that also have the grant's subject and its end. Call it on the loop."""
        if grant.until is None:
            return terms if grant.subject is None else terms._replace(subject=grant.subject)
        left = max(0.0, grant.until - self._clock())
        now = asyncio.get_running_loop().time()
        return terms._replace(subject=grant.subject, until=now + left)

    def need_operator(self, grant: Grant) -> None:
        """Refuse the numbers of the hub to everybody but its operators.

        Raises:
            Problem: as `need`.
        """
        if not grant.operator:
            raise self._refusal(grant, "the numbers of the hub")

    def _of_token(self, tokens: Tokens, token: bytes) -> Grant:
        from fastsse.broadcast.access.tokens import BadToken

        known = tokens.known(token)
        if known is not None:
            return known
        try:
            return tokens.check(token)
        except BadToken as error:
            raise self._stranger(error.reason, error.words) from None

    def _stranger(self, reason: str, words: str) -> Problem:
        self._stats.denied[reason] += 1
        told = f'{_REALM}, error="invalid_token", error_description="{_quotable(words)}"'
        return Problem(401, words, headers={"WWW-Authenticate": told})

    def _refusal(self, grant: Grant, what: str) -> Problem:
        if not self.closed:
            self._stats.denied["private"] += 1
            return Problem(403, _PRIVATE_RULE)
        if not grant.known:
            self._stats.denied["anonymous"] += 1
            return Problem(401, f"a token is needed {what}", headers={"WWW-Authenticate": _REALM})
        self._stats.denied["grant"] += 1
        told = f'{_REALM}, error="insufficient_scope"'
        return Problem(403, f"the grant does not allow {what}", headers={"WWW-Authenticate": told})


def _tokens(settings: Settings, clock: Callable[[], float]) -> Tokens:
    try:
        from fastsse.broadcast.access.keys import Keyring, read_keys
        from fastsse.broadcast.access.tokens import Tokens
    except ModuleNotFoundError as error:
        raise SettingError(_NO_EXTRA.format(error.name)) from error
    keys = [key for text in settings.keys for key in read_keys(text)]
    return Tokens(Keyring(keys), settings.audience, settings.leeway, clock)


def _everybody(settings: Settings) -> Grant:
    """Make the grant of requests without credentials."""
    try:
        anonymous(settings.anonymous_read, ())
    except BadPattern as error:
        raise SettingError(f"anonymous_read: {error}") from None
    try:
        return anonymous(settings.anonymous_read, settings.anonymous_publish)
    except BadPattern as error:
        raise SettingError(f"anonymous_publish: {error}") from None


def _quotable(words: str) -> str:
    """Return words as a quoted text of a header may have them (RFC 6750, 3)."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in words)
