"""Errors as JSON: RFC 9457, "Problem Details for HTTP APIs".

A `Problem` is raised where the fault is found, and becomes the whole answer. The answer has the field, the value
(shortened) and the rule, so that the sender can mend the fault.

The module knows statuses and words; it must not know requests or frameworks, and it never repeats the text of an
exception that it was not made for.
"""

from __future__ import annotations

from fastsse.broadcast.details import title_of, valid_text, write_details
from fastsse.broadcast.hub.drafts import TooLarge, TopicEnded
from fastsse.broadcast.hub.refusal import Refusal
from fastsse.broadcast.stores import KeyReused
from fastsse.errors import InvalidField, shorten

__all__ = ["Problem", "shown"]

_STATUSES = ((TopicEnded, 409), (KeyReused, 422))
_SHOWN = 60  # characters of an offending value that an answer repeats
_LARGEST = 2**53  # beyond, JSON readers lose digits


class Problem(Exception):
    """An error with which a request is answered.

    Args:
        status: the HTTP status, 400 to 599. The status says what kind of problem this is, `field` and `rule` which one.
        detail: what is wrong and what to do, one sentence, lower case, no full stop.
        field: the name of the field, parameter or header at fault, or None.
        value: what was given for the field; shortened in the answer.
        rule: what is allowed.
        headers: more response headers, such as ``Allow`` and ``Retry-After``.
        more: more members of the JSON object.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        value: object = None,
        rule: str | None = None,
        headers: dict[str, str] | None = None,
        more: dict[str, object] | None = None,
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.value = value
        self.rule = rule
        self.headers = headers or {}
        self.more = more or {}
        self.denied = (
            ""  # why access control refuses the request, for its log; empty for other problems
        )
        self.subject: str | None = None  # whose request is refused, where that is known

    def __str__(self) -> str:
        return f"{self.status} {self.detail}"

    @classmethod
    def of_field(
        cls,
        field: str,
        value: object,
        rule: str,
        *,
        status: int = 400,
    ) -> Problem:
        """Make the problem of a value that breaks the rule of its field; a `value` of None stands for "not given"."""
        given = "missing" if value is None else _quoted(value)
        return cls(status, f"{field} {given}: {rule}", field=field, value=value, rule=rule)

    @classmethod
    def of_size(cls, field: str, size: int, limit: int, *, status: int = 413) -> Problem:
        """Make the problem of a value that is over its limit in bytes."""
        rule = f"must be at most {limit} bytes"
        return cls(status, f"{field} of {size} bytes: {rule}", field=field, value=size, rule=rule)

    @classmethod
    def of_invalid(cls, error: InvalidField) -> Problem:
        """Make the problem of a value that the codec or the hub refused to publish.

        The status is 413 for a value that is too large, 409 for a topic that has ended, 422 for a key that belongs to
        another event, otherwise 400.
        """
        if isinstance(error, TooLarge):
            return cls(413, str(error), field=error.field, value=error.size, rule=error.rule)
        status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 400)
        return cls.of_field(error.field, error.value, error.rule, status=status)

    @classmethod
    def of_error(cls, error: Problem | InvalidField) -> Problem:
        """Return a problem as it is; make one of a value that the codec or the hub refused."""
        return error if isinstance(error, Problem) else cls.of_invalid(error)

    @classmethod
    def of_refusal(cls, refusal: Refusal) -> Problem:
        """Make the problem of a client that has to come again later."""
        return cls(503, refusal.detail, headers={"Retry-After": refusal.retry_after})

    @property
    def title(self) -> str:
        """The status in words."""
        return title_of(self.status)

    def body(self) -> bytes:
        """Write the problem as JSON."""
        members: dict[str, object] = {}
        if self.field is not None:
            members["field"] = valid_text(self.field)
            members["value"] = shown(self.value)
        if self.rule is not None:
            members["rule"] = self.rule
        return write_details(self.status, self.detail, members | self.more)


def shown(value: object) -> str | int | float | None:
    """Return a value as an answer repeats it: fit for JSON, short, and always valid Unicode.

    Text and bytes are cut after 60 characters; bytes that are not UTF-8 show as escapes such as ``\\xff``.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int) and -_LARGEST < value < _LARGEST:
        return value
    if isinstance(value, (bytes, bytearray)):
        return shorten(value[: 4 * (_SHOWN + 1)].decode("utf-8", "backslashreplace"), _SHOWN)
    if isinstance(value, str):
        return shorten(valid_text(value[: _SHOWN + 1]), _SHOWN)
    return type(value).__name__


def _quoted(value: object) -> str:
    short = shown(value)
    return repr(short) if isinstance(short, str) else str(short)
