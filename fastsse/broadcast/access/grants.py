"""Grants: which topics somebody may read, publish to and end, found once and asked at each request.

A pattern of a grant is one of

    news            this topic alone
    prices/*        every topic that begins with ``prices/``
    *               every topic
    user/{sub}      the topic of the token's own subject; ``user/{sub}/*`` those under it

A star elsewhere is an error, because a pattern that is read in another sense than its author's opens too much. A
subject that would change where its pattern ends (one with ``/``, ``*``, ``{`` or ``}``) cannot stand in a topic.

Topics that begin with ``private/`` are read by the bearer of a grant alone: no anonymous pattern reaches them, not
even ``*``, and neither does a hub that is open to everybody.

The module knows names and patterns; it must not know tokens, keys or requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, Literal, Self, cast

from fastsse.broadcast.names import is_text

__all__ = ["OPEN", "PRIVATE", "BadPattern", "Grant", "Reach", "Verb", "anonymous", "read_grant"]

Verb = Literal["subscribe", "publish", "end"]

PRIVATE = "private/"
"""How the topics begin that nobody reads without a grant."""

_VERBS: tuple[Verb, ...] = ("subscribe", "publish", "end")
_MEMBERS = frozenset({*_VERBS, "labels", "operator"})
_MOST = 1000  # patterns of one verb
_LONGEST = 4096  # characters of one pattern
_PLAIN = re.compile(  # what most patterns are
    r"[\w.:/-]+(?:\{sub\}[\w.:/-]*)*(?:(?<=/)\*)?", re.ASCII
)
_RULE = "must be a topic's name, a prefix that ends with /*, or *"


class BadPattern(ValueError):
    """A pattern or a grant that cannot be read. The text says what is wrong, and shows nothing of the grant."""


class Reach:
    """The topics that some patterns cover.

    Args:
        patterns: as above.
        subject: what stands for ``{sub}``; None where no pattern may have it.

    Raises:
        BadPattern: a pattern that cannot be one, more than 1,000, or ``{sub}`` without a fitting subject.
    """

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, patterns: Iterable[str], subject: str | None = None) -> None:
        exact: set[str] = set()
        prefixes: set[str] = set()
        for pattern in patterns:
            _check(pattern)
            if pattern.endswith("*"):
                prefixes.add(_fill(pattern[:-1], subject))
            else:
                exact.add(_fill(pattern, subject))
        if len(exact) + len(prefixes) > _MOST:
            raise BadPattern(f"must be at most {_MOST} patterns")
        self._exact = frozenset(exact)
        self._prefixes: tuple[str, ...] = tuple(prefixes)

    @classmethod
    def of_names(cls, topics: Iterable[str]) -> Self:
        """Make the reach of these topics alone, in whose names stars and braces stand for themselves."""
        reach = cls(())
        reach._exact = frozenset(topics)
        return reach

    def __bool__(self) -> bool:
        """Return True when some topic is covered."""
        return bool(self._exact or self._prefixes)

    def covers(self, topic: str) -> bool:
        """Return True when a pattern covers a topic; names are compared byte by byte."""
        return topic in self._exact or topic.startswith(self._prefixes)


_NOTHING = Reach(())  # of most verbs of most tokens


class Grant:
    """The verbs and topics that one request may have, and until when.

    Attributes:
        subject: the name that the token gives its bearer; None without one.
        until: seconds since the epoch after which the grant is void; None for no such time.
        token_id: the token's ``jti``; None without one.
        issued: when the grant was given, in seconds since the epoch: the token's ``iat``; None where nobody says.
        labels: streams may carry labels.
        operator: numbers of the hub may be read, and streams of others ended.
        known: somebody has signed in: the grant comes from a token, a ticket or a function of the operator.
    """

    __slots__ = (
        "_private",
        "_reach",
        "issued",
        "known",
        "labels",
        "operator",
        "subject",
        "token_id",
        "until",
    )

    def __init__(
        self,
        subscribe: Iterable[str] = (),
        publish: Iterable[str] = (),
        end: Iterable[str] = (),
        *,
        subject: str | None = None,
        until: float | None = None,
        token_id: str | None = None,
        issued: float | None = None,
        labels: bool = True,
        operator: bool = False,
        known: bool = True,
        private: bool = True,
    ) -> None:
        self.subject = subject
        self.until = until
        self.token_id = token_id
        self.issued = issued
        self.labels = labels
        self.operator = operator
        self.known = known
        self._private = private
        self._reach = {
            "subscribe": _NOTHING if subscribe == () else Reach(subscribe, subject),
            "publish": _NOTHING if publish == () else Reach(publish, subject),
            "end": _NOTHING if end == () else Reach(end, subject),
        }

    def narrowed(self, topics: Iterable[str]) -> Grant:
        """Return a grant to read these topics alone, for the same subject and time."""
        narrow = Grant(
            subject=self.subject,
            until=self.until,
            token_id=self.token_id,
            issued=self.issued,
            labels=self.labels,
        )
        narrow._reach["subscribe"] = Reach.of_names(topics)
        return narrow

    def dated(self, issued: float) -> Grant:
        """Return this grant as one that was given at a time, in seconds since the epoch, unless the grant has one."""
        if self.issued is not None:
            return self
        found = copy(self)
        found.issued = issued
        return found

    def allows(self, verb: Verb, topics: Iterable[str]) -> bool:
        """Return True when `verb` is allowed for every one of these topics."""
        covers = self._reach[verb].covers
        hidden = verb == "subscribe" and not self._private
        return all(covers(topic) and not (hidden and topic.startswith(PRIVATE)) for topic in topics)

    def allows_some(self, verb: Verb) -> bool:
        """Return True when `verb` is allowed for some topic."""
        return bool(self._reach[verb])


def anonymous(read: Iterable[str], publish: Iterable[str]) -> Grant:
    """Make the grant of a request without credentials.

    Raises:
        BadPattern: a pattern that cannot be one, or one of topics that nobody reads without a grant.
    """
    read = tuple(read)
    if any(pattern.startswith(PRIVATE) for pattern in read):
        raise BadPattern(f"{PRIVATE}… is never readable without a grant")
    return Grant(read, publish, known=False, private=False)


def read_grant(
    claim: object,
    subject: str | None,
    until: float | None,
    token_id: str | None = None,
    issued: float | None = None,
) -> Grant:
    """Read the claim ``fastsse`` of a token; a token without the claim allows nothing.

    Raises:
        BadPattern: the claim has another form, a member that nobody knows, or a pattern that cannot be one.
    """
    given: Mapping[Any, Any] = {}
    if isinstance(claim, Mapping):
        given = cast("Any", claim)
    elif claim is not None:
        raise BadPattern("must be an object")
    if not given.keys() <= _MEMBERS:
        raise BadPattern(f"has a member that is none of {', '.join(sorted(_MEMBERS))}")
    subscribe, publish, end = (_list(verb, given.get(verb, ())) for verb in _VERBS)
    labels, operator = _flag("labels", given, True), _flag("operator", given, False)
    return Grant(
        subscribe,
        publish,
        end,
        subject=subject,
        until=until,
        token_id=token_id,
        issued=issued,
        labels=labels,
        operator=operator,
    )


def _list(verb: str, value: object) -> Iterable[str]:
    given: Any = value
    if not isinstance(value, (list, tuple)) or len(given) > _MOST:
        raise BadPattern(f"{verb} must be a list of at most {_MOST} patterns")
    for pattern in given:
        if not isinstance(pattern, str):
            raise BadPattern(f"{verb} must be a list of texts")
    return given or ()


def _flag(name: str, given: Mapping[Any, Any], default: bool) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise BadPattern(f"{name} must be true or false")
    return value


def _check(pattern: str) -> None:
    if len(pattern) <= _LONGEST and _PLAIN.fullmatch(pattern):
        return
    whole = pattern == "*" or pattern.endswith("/*")
    body = pattern[:-1] if whole else pattern
    if not pattern or "*" in body or len(pattern) > _LONGEST or not is_text(pattern):
        raise BadPattern(_RULE)
    if set("{}") & set(body.replace("{sub}", "")):
        raise BadPattern("must have no braces but {sub}")


def _fill(text: str, subject: str | None) -> str:
    """Put the subject into a text whose star was taken off, so that no subject can become a pattern."""
    if "{sub}" not in text:
        return text
    if not subject or set("/*{}") & set(subject):
        raise BadPattern("{sub} needs a subject without /, * and braces")
    return text.replace("{sub}", subject)


OPEN = Grant(("*",), ("*",), ("*",), operator=True, known=False, private=False)
"""What everybody may do at a hub without access control: everything but to read what is private."""
