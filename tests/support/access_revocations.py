"""The table of revocations: a token, what was revoked a moment before, and the status of a reader that brings it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from support.access_cases import hs

__all__ = ["REVOCATIONS", "Revocation"]


class Revocation(NamedTuple):
    """A revocation a moment before a token is brought, and the status of a reader that brings it.

    The times of `more` count from the moment of the revocation.
    """

    name: str
    what: dict[str, str]
    more: dict[str, Any]
    status: int = 401

    def of(self, number: int) -> Revocation:
        """Return the row with names of its own, for a hub that is asked all rows."""
        own = {k: f"{number}-{v}" if k in ("sub", "jti") and v else v for k, v in self.more.items()}
        what = {kind: f"{number}-{name}" for kind, name in self.what.items()}
        return self._replace(what=what, more=own)

    def token(self, now: float) -> str:
        """Sign the token; `now` is the moment of the revocation, in seconds since the epoch."""
        made = dict(self.more)
        if isinstance(made.get("iat"), int):
            made["iat"] += int(now)
        return hs(**made)


def _revocations() -> Iterator[Revocation]:
    subject, token = {"subject": "eve"}, {"jti": "t1"}
    yield Revocation("nobody", {}, {"sub": "eve", "jti": "t1", "iat": -9}, 200)
    yield Revocation("its subject", subject, {"sub": "eve", "iat": -9})
    yield Revocation("its subject, in the same second", subject, {"sub": "eve", "iat": 0})
    yield Revocation("its subject, and it tells no time", subject, {"sub": "eve"})
    yield Revocation(
        "its subject, and it was made in a time that is none", subject, {"sub": "eve", "iat": "9e9"}
    )
    yield Revocation("its subject, and it is newer", subject, {"sub": "eve", "iat": 9}, 200)
    yield Revocation("another subject", subject, {"sub": "bob", "iat": -9}, 200)
    yield Revocation("a subject that begins alike", subject, {"sub": "eve2", "iat": -9}, 200)
    yield Revocation("a subject, and the token has none", subject, {"sub": None, "iat": -9}, 200)
    yield Revocation(
        "a subject, and that is the token's name", subject, {"sub": "bob", "jti": "eve"}, 200
    )
    yield Revocation("its name", token, {"sub": "eve", "jti": "t1", "iat": -9})
    yield Revocation("its name, and it is newer", token, {"sub": "eve", "jti": "t1", "iat": 9})
    yield Revocation("its name, and it has no subject", token, {"sub": None, "jti": "t1"})
    yield Revocation("another name", token, {"sub": "eve", "jti": "t2"}, 200)
    yield Revocation("a name, and the token has none", token, {"sub": "eve"}, 200)
    yield Revocation("a name, and that is its subject", token, {"sub": "t1"}, 200)


REVOCATIONS = list(_revocations())
"""Tokens beside what was revoked; asked one after the other."""
