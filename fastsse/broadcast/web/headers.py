"""Request headers that decide something: a problem where one is given twice.

The module knows when a header is ambiguous; it must not know which headers there are, nor what they mean.
"""

from __future__ import annotations

from fastsse.asgi import Scope, headers
from fastsse.broadcast.web.problems import Problem

__all__ = ["header_once"]


def header_once(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of a request header, or None; `name` is in lower case.

    Of a header that is given twice neither value is taken, because a proxy in front could have taken the other one.

    Raises:
        Problem: 400 for a header that is there more than once.
    """
    found = headers(scope, name)
    if len(found) > 1:
        raise Problem.of_field(name.decode("latin-1"), b", ".join(found), "must be given once")
    return found[0] if found else None
