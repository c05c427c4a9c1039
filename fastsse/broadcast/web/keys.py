"""The key of a publish: the header ``Idempotency-Key``, by which a request that may have failed can be sent again.

    Idempotency-Key: "order-7-paid"            one event has this key
    Idempotency-Key: "job-42"                  a posted stream: event n of the body has the key job-42-<n>, n from 1
    Idempotency-Key: "job-42";first=1001       the first event of this body has the key job-42-1001

The header is that of the IETF's draft "The Idempotency-Key HTTP Header Field": a string of RFC 9651, in double quotes.
Many clients send the bare text, which is taken, too, where it has no space, comma, semicolon or quote. A key belongs to
the hub, whoever sends it and whatever the topic, so a client should choose one that nobody else has.

The module knows the header's syntax and bounds; it must not know what is published.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fastsse.broadcast.hub.drafts import MAX_KEY
from fastsse.broadcast.web.headers import header_once
from fastsse.broadcast.web.problems import Problem

if TYPE_CHECKING:
    from fastsse.asgi import Scope
    from fastsse.broadcast.hub.stats import Stats

__all__ = ["HEADER", "MAX_STEM", "Key", "read_key"]

HEADER = "idempotency-key"
MAX_STEM = MAX_KEY - 18  # bytes of the key of a posted stream, whose events add "-" and a number
# Bytes of the header that are looked at: every byte escaped, and the parameter.
_LONGEST = 2 * MAX_KEY + 64

_HEADER = re.compile(
    rb'(?:"((?:[ !#-\[\]-~]|\\["\\])*)"|([!#-+\--:<-~]+))(?: *; *first=([0-9]{1,15}))?'
)
_ESCAPED = re.compile(rb"\\(.)")
_RULE = (
    'must be a string in double quotes, such as "8e03978e-40d5", of 1 to '
    f"{MAX_KEY} printable ASCII characters; ;first=N may follow"
)


class Key(NamedTuple):
    """The header as it was read.

    Attributes:
        text: the key.
        first: the number of the first event of a posted stream; None where none is given.
    """

    text: str
    first: int | None

    def of_one(self) -> str:
        """Return the key of the one event of a request.

        Raises:
            Problem: 400 where the header numbers events.
        """
        if self.first is not None:
            rule = "first numbers the events of a posted event stream; leave it out for one event"
            raise Problem.of_field(HEADER, f"first={self.first}", rule)
        return self.text

    def of_event(self, index: int) -> str:
        """Return the key of an event of a posted stream, whose first one has the index 0."""
        return f"{self.text}-{(1 if self.first is None else self.first) + index}"

    def check_stem(self) -> None:
        """Check that a number can follow.

        Raises:
            Problem: 400 for a key that is too long for that.
        """
        if len(self.text) > MAX_STEM:
            rule = (
                f"must be at most {MAX_STEM} bytes for a posted stream: each event adds its number"
            )
            raise Problem.of_field(HEADER, self.text, rule)


def read_key(scope: Scope, stats: Stats) -> Key | None:
    """Read the header; None where there is none.

    Args:
        stats: counts a refusal, as of the field ``key``.

    Raises:
        Problem: 400 for a header that is given twice, or is no key.
    """
    given = header_once(scope, HEADER.encode())
    if given is None:
        return None
    found = _HEADER.fullmatch(given.strip(b" \t")) if len(given) <= _LONGEST else None
    text = b"" if found is None else _ESCAPED.sub(rb"\1", found[1] or b"") or found[2] or b""
    if found is None or not 0 < len(text) <= MAX_KEY:
        stats.events_refused["key"] += 1
        raise Problem.of_field(HEADER, given, _RULE)
    return Key(text.decode("ascii"), int(found[3]) if found[3] else None)
