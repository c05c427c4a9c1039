"""Errors as JSON: RFC 9457, "Problem Details for HTTP APIs".

A `Problem` is raised where the fault is found and becomes the whole answer. It names the field, the value
(shortened) and the rule, so that whoever sent it can mend it. It knows statuses and words; it must not know
requests, hubs or frameworks, and it never repeats the text of an exception that it was not made for.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastsse import _json
from fastsse.errors import InvalidField

__all__ = ["CONTENT_TYPE", "Problem", "shown"]

CONTENT_TYPE = "application/problem+json"

_SHOWN = 60  # characters of an offending value that an answer repeats
_LARGEST = 2**53  # beyond, JSON readers lose digits


class Problem(Exception):
    """A request that is answered with an error.

    Args:
        status: the HTTP status, 400 to 599.
        detail: what is wrong and what to do, one sentence, lower case, no full stop.
        field: the name of the field, parameter or header at fault, or None.
        value: what was given for it; shortened in the answer.
        rule: what is allowed.
        headers: further response headers, such as ``Allow`` and ``Retry-After``.
        more: further members of the JSON object.

    `type` is ``about:blank``: the status says what kind of problem it is, `field` and `rule` say which one.
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
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.value = value
        self.rule = rule
        self.headers = headers or {}
        self.more = more or {}

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
        more: dict[str, Any] | None = None,
    ) -> Problem:
        """A value that breaks the rule of its field. A `value` of None stands for "not given"."""
        given = "missing" if value is None else _quoted(value)
        return cls(
            status, f"{field} {given}: {rule}", field=field, value=value, rule=rule, more=more
        )

    @classmethod
    def of_invalid(cls, error: InvalidField, *, more: dict[str, Any] | None = None) -> Problem:
        """What the codec or the hub refused to publish."""
        return cls.of_field(error.field, error.value, error.rule, more=more)

    @property
    def title(self) -> str:
        """The status in words, as RFC 9457 asks for ``about:blank``."""
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return "Error"

    def body(self) -> bytes:
        """The JSON object, UTF-8, and a line end for those who read it in a terminal."""
        members: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": _text(self.detail),
        }
        if self.field is not None:
            members["field"] = _text(self.field)
            members["value"] = shown(self.value)
        if self.rule is not None:
            members["rule"] = self.rule
        members.update(self.more)
        return _json.dumps(members) + b"\n"


def shown(value: object) -> str | int | float | None:
    """A value as an answer repeats it: JSON-able, short, always valid Unicode.

    Text and bytes are cut after 60 characters; what is not UTF-8 shows as escapes such as ``\\xff``.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int) and -_LARGEST < value < _LARGEST:
        return value
    if isinstance(value, (bytes, bytearray)):
        return _cut(value[: 4 * (_SHOWN + 1)].decode("utf-8", "backslashreplace"))
    if isinstance(value, str):
        return _cut(_text(value[: _SHOWN + 1]))
    return type(value).__name__


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _text(text: str) -> str:
    """Text without lone surrogates, which have no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _quoted(value: object) -> str:
    short = shown(value)
    return repr(short) if isinstance(short, str) else str(short)
