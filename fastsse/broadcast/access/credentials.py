"""Credentials: what a request brings to say who sends it, and where that stands.

    Authorization: Bearer TOKEN     from programs, and from pages by fetch()
    ?ticket=NAME                    from a browser's EventSource, on a stream alone
    Cookie: __Host-fastsse=TOKEN    from pages of this host

The header goes before the ticket, and that before the cookie, because a browser adds cookies by itself. A header or
ticket that is there twice is refused; so is a ticket beside a header, for one of the two would be taken in error.

The module knows headers and queries; it must not know if a credential is good.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from fastsse.asgi import Scope, headers
from fastsse.broadcast.web.problems import Problem

__all__ = ["Credential", "find_credential"]

_TICKET = b"ticket="
_ONCE = "credentials must be given once"


class Credential(NamedTuple):
    """A credential of a request, before anybody has checked it.

    Attributes:
        kind: what `value` is; ``other`` for a scheme that is not Bearer.
        value: as it was sent.
        place: where it stood.
    """

    kind: Literal["token", "ticket", "other"]
    value: bytes
    place: Literal["header", "query", "cookie"]


def find_credential(scope: Scope, cookie: bytes, *, tickets: bool) -> Credential | None:
    """Find the credential of a request; None where it has none.

    Args:
        cookie: the cookie's name.
        tickets: the query may have a ticket; elsewhere the field means nothing.

    Raises:
        Problem: 400 for credentials that are given twice.
    """
    found = headers(scope, b"authorization")
    if len(found) > 1:
        raise Problem(400, _ONCE)  # repeats no value, unlike the problem of other headers
    given = found[0] if found else None
    ticket = _ticket(scope["query_string"]) if tickets else None
    if given is not None:
        if ticket is not None:
            raise Problem(400, _ONCE)
        scheme, _, value = given.partition(b" ")
        kind: Literal["token", "other"] = "token" if scheme.lower() == b"bearer" else "other"
        return Credential(kind, value.strip(), "header")
    if ticket is not None:
        return Credential("ticket", ticket, "query")
    token = _cookie(scope, cookie)
    return None if token is None else Credential("token", token, "cookie")


def _ticket(query: bytes) -> bytes | None:
    if _TICKET not in query:
        return None
    found = [part for part in query.split(b"&") if part.startswith(_TICKET)]
    if len(found) > 1:
        raise Problem(400, _ONCE)
    return found[0].removeprefix(_TICKET) if found else None


def _cookie(scope: Scope, name: bytes) -> bytes | None:
    """Find a cookie by its name. HTTP/2 may cut the header in several (RFC 9113, 8.2.3)."""
    found: list[bytes] = []
    for line in headers(scope, b"cookie"):
        if name in line:
            pairs = (part.strip().partition(b"=") for part in line.split(b";"))
            found += [value for key, _, value in pairs if key == name]
    if len(found) > 1:
        raise Problem(400, _ONCE)
    return found[0] if found else None
