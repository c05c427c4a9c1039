"""Problem details: how a problem is written as JSON (RFC 9457), and under which media type.

The module knows the members that every problem has; it must not know which problems there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastsse import _json
from fastsse.asgi import accepts

__all__ = ["CONTENT_TYPE", "media_type", "title_of", "valid_text", "write_details"]

CONTENT_TYPE = "application/problem+json"


def write_details(status: int, detail: str, members: Mapping[str, object] | None = None) -> bytes:
    """Write a problem as a JSON object, in UTF-8, with a line end for people who read it in a terminal.

    `type` is ``about:blank``: the status says what kind of problem it is.

    Args:
        members: more members of the object.
    """
    found: dict[str, object] = {
        "type": "about:blank",
        "title": title_of(status),
        "status": status,
        "detail": valid_text(detail),
    }
    return _json.dumps(found | dict(members or {})) + b"\n"


def media_type(scope: Mapping[str, Any]) -> str:
    """Return the media type of a problem for the client that sent this request.

    Programs get ``application/problem+json``. Where Accept names ``text/html``, somebody looks at the answer in a
    browser, and gets ``application/json``: Firefox shows that, but puts a page of its own in the place of the other.
    """
    return "application/json" if accepts(scope, b"text/html") else CONTENT_TYPE


def title_of(status: int) -> str:
    """Return the status in words, as RFC 9457 asks for where the type is ``about:blank``."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def valid_text(text: str) -> str:
    """Replace lone surrogates, which have no UTF-8, by escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
