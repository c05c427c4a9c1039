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
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

from fastsse.asgi import Scope
from fastsse.broadcast.access.audit import note_allowed
from fastsse.broadcast.access.credentials import Credential, find_credential
from fastsse.broadcast.access.grants import OPEN, BadPattern, Grant, Verb, anonymous
from fastsse.broadcast.access.hosts import Access
from fastsse.broadcast.access.own import May, OwnRule, load_rule
from fastsse.broadcast.access.rates import Bill, Rates
from fastsse.broadcast.access.tickets import Tickets
from fastsse.broadcast.hub.revoked import Revoked
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.hub.terms import Terms
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.web.problems import Problem
from fastsse.errors import SettingError, shorten

if TYPE_CHECKING:
    from fastsse.broadcast.access.remote import RemoteSet
    from fastsse.broadcast.access.tokens import Tokens

__all__ = ["CHALLENGE", "Guard"]

CHALLENGE = 'Bearer realm="fastsse"'
"""The header ``WWW-Authenticate`` of an answer that a token would change (RFC 9110, 11.6.1)."""

_NO_EXTRA = "keys need {}, which is not installed: pip install 'fastsse-core[access]'"
_PRIVATE_RULE = "topics that begin with private/ are read with a grant alone: set keys"
_NEEDS_KEYS = "without keys everybody may read and publish; set keys, too"
_NO_KEYS = "the keys of the token's issuer cannot be had now; try again later"
_DOES = {"subscribe": "read", "publish": "publish to", "end": "end"}


class Guard:
    """The access control of one app.

    Args:
        settings: the knobs of `Admission`.
        access: the rules for origins, for requests with a cookie.
        stats: where refusals are counted.
        clock: seconds since the epoch.
        may: the operator's own function; when None, the one that the settings name.
        revoked: the tokens that are taken no more; the hub's list.

    Attributes:
        closed: there is access control.
        rates: the quotas.

    Raises:
        SettingError: a key or a pattern that cannot be one, or a library that is missing.
    """

    def __init__(
        self,
        settings: Settings,
        access: Access,
        stats: Stats,
        clock: Callable[[], float] = time.time,
        may: May | None = None,
        revoked: Revoked | None = None,
    ) -> None:
        self._access = access
        self._stats = stats
        self._revoked = Revoked(0.0) if revoked is None else revoked
        self._cookie = settings.cookie.encode()
        self._tickets = Tickets(settings.ticket_seconds, clock)
        self._clock = clock
        self._leeway = settings.leeway
        self.rates = Rates(settings, stats)
        self._remote: dict[str | None, RemoteSet] = {}
        self._tokens = _tokens(settings, clock, self._remote) if settings.keys else None
        if may is None and settings.may != "none":
            may = load_rule(settings.may)
        self._own = None if may is None else OwnRule(may, settings.may_seconds)
        self.closed = self._tokens is not None or self._own is not None
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
        if not self.closed:
            return OPEN
        given = find_credential(scope, self._cookie, tickets=tickets)
        if given is not None and given.kind == "ticket":
            return self._of_ticket(given.value)
        if given is None or self._tokens is None:
            return self._everybody
        if given.kind == "other":
            raise self._stranger("scheme", "the header Authorization must be: Bearer TOKEN")
        if given.place == "cookie":
            self._access.check_cookie(scope)
        return self._of_token(self._tokens, given.value)

    async def check_token(self, scope: Scope) -> None:
        """Refuse, as `find` does, a bad token of a request that needs none; ask no function of the operator's."""
        if self._own is None or self._is_ours(find_credential(scope, self._cookie, tickets=False)):
            await self.find(scope, "operate", ())

    def settled(self, scope: Scope) -> bool:
        """Return True when `grant` can say at once what a stream may do; otherwise `find` has to wait."""
        if self._own is None and not self._remote:
            return True
        try:
            given = find_credential(scope, self._cookie, tickets=True)
        except Problem:
            return True  # `grant` raises it again
        if given is not None and given.kind == "ticket":
            return True
        if self._own is not None and not self._is_ours(given):
            return False
        return given is None or self._lacking(given) is None

    async def find(
        self, scope: Scope, verb: str, topics: tuple[str, ...], *, tickets: bool = False
    ) -> Grant:
        """Return what a request may do, as `grant`; ask the operator's function, or fetch a key, where that is needed.

        Args:
            verb: what the request is for: a verb of grants, or ``operate``.
            topics: its topics, as far as they are known.

        Raises:
            Problem: as `grant`, and 503 where nobody can say now.
        """
        if self._own is not None or self._remote:
            given = find_credential(scope, self._cookie, tickets=tickets)
            of_ticket = given is not None and given.kind == "ticket"
            if self._own is not None and not of_ticket and not self._is_ours(given):
                self._access.check_sender(scope)
                found = await self._own.ask(scope, verb, topics)
                if found is None:
                    return self._everybody
                # The function has decided just now: what was revoked before does not count.
                return self._not_over(found.dated(self._clock() + self._leeway))
            if given is not None and (keys := self._lacking(given)) is not None:
                if await keys.fetch() and self._tokens is not None:
                    self._tokens.forget()
                if not keys.loaded:
                    raise Problem(503, _NO_KEYS, headers={"Retry-After": "30"})
        return self.grant(scope, tickets=tickets)

    async def allower(
        self, scope: Scope, verb: Verb, bill: Bill
    ) -> Callable[[Verb, tuple[str, ...]], Awaitable[None]]:
        """Return the function that is asked for the topics of a request once they are known.

        Args:
            bill: is told the subject.

        Raises:
            Problem: as `find`; as `need` where the verb is granted for no topic at all.
        """
        given = find_credential(scope, self._cookie, tickets=False) if self._own else None
        if self._own is not None and not self._is_ours(given):
            return partial(self._ask, scope, bill)
        grant = await self.find(scope, verb, ())
        self.need_some(grant, verb)
        return partial(self._allow, scope, bill, grant)

    async def _ask(self, scope: Scope, bill: Bill, verb: Verb, topics: tuple[str, ...]) -> None:
        await self._allow(scope, bill, await self.find(scope, verb, topics), verb, topics)

    async def _allow(
        self, scope: Scope, bill: Bill, grant: Grant, verb: Verb, topics: tuple[str, ...]
    ) -> None:
        self.need(grant, verb, topics)
        self.rates.check_subject(grant.subject)
        bill.subject = grant.subject
        bill.checks[verb] = partial(self._still_good, grant)
        self.note(verb, grant, topics, scope)

    def _still_good(self, grant: Grant) -> None:
        """Refuse what a body brings after its grant has expired or was revoked."""
        self._not_revoked(self._not_over(grant))

    def note(
        self, verb: str, grant: Grant, topics: tuple[str, ...], scope: Scope, **of: str | None
    ) -> None:
        """Write to the audit log that a request was let in, where there is access control."""
        if self.closed:
            note_allowed(verb, grant.subject, topics, scope, of)

    def _is_ours(self, given: Credential | None) -> bool:
        """Return True for a token, where there are keys: tokens go before the operator's function."""
        return self._tokens is not None and given is not None and given.kind == "token"

    def _lacking(self, given: Credential) -> RemoteSet | None:
        """Return the remote set that has to be fetched for a token; None where its key is there, or there is no set."""
        from fastsse.broadcast.access.tokens import BadToken, read_header

        if self._tokens is None or not self._remote or given.kind != "token":
            return None
        if self._tokens.known(given.value) is not None:
            return None
        try:
            header = read_header(given.value)
        except BadToken:
            return None
        keys = self._remote.get(header.issuer)
        return keys if keys is not None and keys.lacks(header.key) else None

    async def issue(self, scope: Scope, terms: Terms) -> dict[str, object]:
        """Make a ticket for a stream of these terms; return the answer: ``ticket``, ``seconds``, ``topics``.

        Raises:
            Problem: as `grant` and `need`, 503 when there are too many tickets.
        """
        if not self.closed:
            raise Problem(404, "there are no tickets, because there is no access control: set keys")
        grant = await self.find(scope, "subscribe", terms.topics)
        if not grant.known:
            raise self._refusal(grant, "to get a ticket")
        self.need_stream(grant, terms)
        self.rates.check_subject(grant.subject)
        name = self._tickets.issue(grant, terms.topics)
        if name is None:
            self._stats.denied["tickets"] += 1
            after = str(ceil(self._tickets.seconds))
            raise Problem(
                503, "there are too many tickets; come again later", headers={"Retry-After": after}
            )
        self.note("ticket", grant, terms.topics, scope)
        return {"ticket": name, "seconds": self._tickets.seconds, "topics": terms.topics}

    def spend(self, scope: Scope) -> None:
        """Make the ticket of a request good no more, because its stream begins now."""
        if not self.closed or b"ticket=" not in scope["query_string"]:
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
            if grant.subject is None and grant.token_id is None:
                return terms
            return terms._replace(subject=grant.subject, token_id=grant.token_id)
        left = max(0.0, grant.until - self._clock())
        now = asyncio.get_running_loop().time()
        # By place: `_replace` would double the time, and every stream with a token comes by here.
        return Terms(*terms[:5], grant.subject, now + left, grant.token_id)

    def need_operator(self, grant: Grant) -> None:
        """Refuse the numbers of the hub to everybody but its operators.

        Raises:
            Problem: as `need`.
        """
        if not grant.operator:
            raise self._refusal(grant, "the numbers of the hub")

    def _of_ticket(self, name: bytes) -> Grant:
        found = self._tickets.look(name.decode("latin-1"))
        if found is None:
            raise self._stranger("ticket", "the ticket is not good, or was used: get another one")
        return self._not_revoked(self._not_over(found))

    def _of_token(self, tokens: Tokens, token: bytes) -> Grant:
        try:
            return self._not_revoked(tokens.known(token) or tokens.check(token))
        except tokens.Bad as error:
            raise self._stranger(error.reason, error.words) from None

    def _not_over(self, grant: Grant) -> Grant:
        if grant.until is not None and grant.until <= self._clock():
            raise self._stranger("expired", "the token has expired")
        return grant

    def _not_revoked(self, grant: Grant) -> Grant:
        if self._revoked.covers(grant.subject, grant.token_id, grant.issued):
            raise self._stranger("revoked", "the token was revoked: sign in again")
        return grant

    def _stranger(self, reason: str, words: str) -> Problem:
        self._stats.denied[reason] += 1
        told = f'{CHALLENGE}, error="invalid_token", error_description="{_quotable(words)}"'
        return _marked(Problem(401, words, headers={"WWW-Authenticate": told}), reason)

    def _refusal(self, grant: Grant, what: str) -> Problem:
        if not self.closed:
            reason, problem = "private", Problem(403, _PRIVATE_RULE)
        elif not grant.known:
            told = {"WWW-Authenticate": CHALLENGE}
            reason, problem = "anonymous", Problem(401, f"a token is needed {what}", headers=told)
        else:
            told = {"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope"'}
            words = f"the grant does not allow {what}"
            reason, problem = "grant", Problem(403, words, headers=told)
        self._stats.denied[reason] += 1
        problem.subject = grant.subject
        return _marked(problem, reason)


def _tokens(
    settings: Settings, clock: Callable[[], float], remote: dict[str | None, RemoteSet]
) -> Tokens:
    """Read the keys, and put the sets that have to be fetched into `remote`, by issuer."""
    try:
        from fastsse.broadcast.access.keys import Keyring, read_keys, split_source
        from fastsse.broadcast.access.remote import RemoteSet
        from fastsse.broadcast.access.tokens import Tokens
    except ModuleNotFoundError as error:
        raise SettingError(_NO_EXTRA.format(error.name)) from error
    sources = [(text, *split_source(text)) for text in settings.keys]
    local = [
        text for text, _, source in sources if "://" not in source or source.startswith("secret:")
    ]
    ring = Keyring([key for text in local for key in read_keys(text)])
    for text, issuer, source in sources:
        if text not in local:
            if issuer in remote or ring.all_of(issuer):
                raise SettingError(f"keys {shorten(source)!r}: its issuer has other keys, too")
            remote[issuer] = RemoteSet(issuer, source, ring)
    return Tokens(ring, settings.audience, settings.leeway, clock)


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


def _marked(problem: Problem, reason: str) -> Problem:
    problem.denied = reason
    return problem


def _quotable(words: str) -> str:
    """Return words as a quoted text of a header may have them (RFC 6750, 3)."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in words)
