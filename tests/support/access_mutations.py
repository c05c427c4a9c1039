"""Faults that are put into access control on purpose: each must be found by the table of cases.

Knows where a fault goes; must not know how a case is asked.
"""

from __future__ import annotations

from functools import partial

from support.mutations import Mutation

__all__ = ["ACCESS_MUTATIONS"]

_Fault = partial(Mutation, package="fastsse.broadcast.access")

ACCESS_MUTATIONS = [
    _Fault(
        "a prefix covers what only begins alike",
        "grants:Reach.__init__",
        "_fill(pattern[:-1], subject)",
        "_fill(pattern[:-1].rstrip('/'), subject)",
    ),
    _Fault(
        "a name covers what lies under it",
        "grants:Reach.covers",
        "topic in self._exact",
        "any(topic.startswith(e) for e in self._exact)",
    ),
    _Fault("one granted topic is enough", "grants:Grant.allows", "return all(", "return any("),
    _Fault(
        "what is private is open",
        "grants:Grant.allows",
        'verb == "subscribe" and not self._private',
        "False",
    ),
    _Fault(
        "reading is asked for in place of every verb",
        "grants:Grant.allows",
        "self._reach[verb].covers",
        'self._reach["subscribe"].covers',
    ),
    _Fault("a star may stand anywhere", "grants:_check", 'or "*" in body', ""),
    _Fault("a subject may be a path", "grants:_fill", 'set("/*{}") & set(subject)', "False"),
    _Fault(
        "a member that nobody knows is let pass",
        "tokens:read_grant",
        "not given.keys() <= _MEMBERS",
        "False",
    ),
    _Fault("every value is a flag", "grants:_flag", "not isinstance(value, bool)", "False"),
    _Fault(
        "an algorithm is the token's to choose",
        "keys:Keyring.of",
        "if algorithm in key.algorithms",
        "if True",
    ),
    _Fault(
        "an issuer's tokens are checked with every key",
        "keys:Keyring.of",
        "own = self._keys.get(issuer) if issuer in self._keys else self._keys.get(None)",
        "own = [key for keys in self._keys.values() for key in keys]",
    ),
    _Fault(
        "a kid is not looked at",
        "keys:Keyring.of",
        "named or [key for key in fitting if key.id is None]",
        "fitting",
    ),
    _Fault(
        "the algorithm of a JWK does not narrow",
        "keys:Key.__init__",
        "known if algorithm is None else frozenset({algorithm})",
        "known",
    ),
    _Fault(
        "exp is not needed",
        "tokens:Tokens._grant",
        'raise BadToken("claims", "exp is needed")',
        "until = now + 60",
    ),
    _Fault("an expired token is good", "tokens:Tokens._grant", "if until <= now:", "if False:"),
    _Fault(
        "nbf is not looked at",
        "tokens:Tokens._grant",
        "begins is not None and begins > now + self._leeway",
        "False",
    ),
    _Fault(
        "a token without audience is good",
        "tokens:Tokens._check_audience",
        "if self._audience:",
        "if False:",
    ),
    _Fault(
        "a token for another audience is good",
        "tokens:Tokens._check_audience",
        "not self._audience.intersection(names)",
        "False",
    ),
    _Fault(
        "a name may be there twice",
        "tokens:_parse",
        "_READER.decode(text.decode())",
        "json.loads(text)",
    ),
    _Fault(
        "numbers that are none are let pass",
        "tokens:_second",
        "isinstance(value, bool) or not isinstance(value, int | float)",
        "isinstance(value, dict)",
    ),
    _Fault("a token may have any size", "tokens:read_header", "len(token) > LONGEST", "False"),
    _Fault("names may have line ends", "tokens:_name", " or not is_text(value)", ""),
    _Fault(
        "a signature is not needed",
        "tokens:Tokens._verified",
        "if good:",
        "if True:",
    ),
    _Fault(
        "another scheme is as good as Bearer", "guard:Guard.grant", 'given.kind == "other"', "False"
    ),
    _Fault(
        "a bad token is as good as none",
        "guard:Guard._of_token",
        "raise self._stranger(error.reason, error.words) from None",
        "return self._everybody",
    ),
    _Fault(
        "everybody may do everything",
        "guard:Guard.need",
        "not grant.allows(verb, topics)",
        "grant.known and not grant.allows(verb, topics)",
    ),
    _Fault(
        "labels are not asked for",
        "guard:Guard.need_stream",
        "terms.labels and not grant.labels",
        "False",
    ),
    _Fault(
        "every grant is an operator's", "guard:Guard.need_operator", "not grant.operator", "False"
    ),
    _Fault(
        "what is revoked is asked of new tokens alone",
        "guard:Guard._of_token",
        "self._not_revoked(tokens.known(token) or tokens.check(token))",
        "tokens.known(token) or self._not_revoked(tokens.check(token))",
    ),
    _Fault(
        "what is revoked is asked of known tokens alone",
        "guard:Guard._of_token",
        "self._not_revoked(tokens.known(token) or tokens.check(token))",
        "tokens.check(token) if tokens.known(token) is None else self._not_revoked(tokens.known(token))",
    ),
    _Fault(
        "a ticket outlives its token",
        "guard:Guard._of_ticket",
        "return self._not_revoked(self._not_over(found))",
        "return found",
    ),
    _Fault(
        "nothing is ever revoked",
        "guard:Guard._not_revoked",
        "self._revoked.covers(grant.subject, grant.token_id, grant.issued)",
        "False",
    ),
    _Fault(
        "a ticket forgets whose it is",
        "grants:Grant.narrowed",
        "subject=self.subject,",
        "",
    ),
    _Fault(
        "a ticket forgets its token's name",
        "grants:Grant.narrowed",
        "token_id=self.token_id,",
        "",
    ),
    _Fault(
        "a ticket forgets when its token was made",
        "grants:Grant.narrowed",
        "issued=self.issued,",
        "",
    ),
    _Fault(
        "a token that tells no time is new",
        "hub.revoked:Revoked.covers",
        "issued is None or issued",
        "issued is not None and issued",
        package="fastsse.broadcast",
    ),
    _Fault(
        "a new token of a subject is revoked, too",
        "hub.revoked:Revoked.covers",
        "issued <= at + self._leeway",
        "True",
        package="fastsse.broadcast",
    ),
    _Fault(
        "names of tokens are taken for subjects",
        "hub.revoked:Revoked.covers",
        "self._subjects.get(subject, oldest)",
        "{**self._subjects, **self._tokens}.get(subject, oldest)",
        package="fastsse.broadcast",
    ),
]
