"""The options of a source: what each may be, and what is made of it.

The module knows values; it must not know when a request is made.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

from fastsse._json import dumps
from fastsse.client.messages import Body, Headers, HeadersLike, Request, clean_url, sendable
from fastsse.client.policy import Policy
from fastsse.errors import quote

__all__ = [
    "body_bytes",
    "check_hooks",
    "event_id",
    "limit",
    "policy",
    "request",
    "with_credentials",
]

_HOOKS = ("on_comment", "auth", "on_open", "on_error", "on_retry")


def policy(
    delays: tuple[float, float, float | None],
    limits: tuple[int | None, float | None, int, int | None],
    retry_status: Iterable[int],
    *,
    refreshes: bool,
) -> Policy:
    """Check the options that say when to come again, and the limits.

    Args:
        delays: `reconnection_time`, `max_delay`, `max_wait`.
        limits: `max_retries`, `max_time`, `max_redirects`, `max_event_size`.
        retry_status: statuses after which to come again.
        refreshes: True when there is an `auth` hook.

    Raises:
        TypeError, ValueError: an option is not allowed.
    """
    reconnection_time, max_delay, max_wait = delays
    max_retries, max_time, max_redirects, max_event_size = limits
    return Policy(
        reconnection_time=_seconds("reconnection_time", reconnection_time),
        max_delay=_seconds("max_delay", max_delay),
        max_wait=limit("max_wait", max_wait),
        max_retries=None if max_retries is None else _count("max_retries", max_retries),
        max_time=limit("max_time", max_time),
        max_redirects=_count("max_redirects", max_redirects),
        max_event_size=max_event_size,
        retry_status=frozenset(_status(one) for one in retry_status),
        refreshes=refreshes,
    )


def with_credentials(request: Request, given: Any) -> Request:
    """Return a request with the headers that the `auth` hook gave: a mapping, the value of Authorization, or None.

    Raises:
        TypeError: the hook gave something else.
    """
    if given is None:
        return request
    if isinstance(given, str):
        given = {"Authorization": given}
    if not isinstance(given, Mapping):
        raise TypeError(f"auth must return a mapping of headers, a str or None, not {quote(given)}")
    return request.but(headers=request.headers.but(dict(cast("Mapping[str, str]", given))))


def body_bytes(body: Any) -> bytes | None:
    """Return a body as it is sent.

    Raises:
        TypeError: the function that makes it gave something else.
    """
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytearray, memoryview)):
        return bytes(cast("bytearray", body))
    raise TypeError(f"body must be str, bytes or a function that returns them, not {quote(body)}")


def request(
    url: Any, method: str | None, headers: HeadersLike | None, params: Any, body: Any, json: Any
) -> Request:
    """Make the request of the caller.

    Raises:
        TypeError, ValueError: an option is not allowed.
    """
    if not isinstance(url, str):
        url = str(url)  # URL objects of HTTP libraries
    sent = Headers(headers or ())
    made: Body = body if callable(body) else body_bytes(body)
    if json is not None:
        if body is not None:
            raise TypeError("body and json exclude each other")
        made = dumps(json)
        if "content-type" not in sent:
            sent = sent.but({"Content-Type": "application/json"})
    chosen = method or ("GET" if made is None else "POST")
    if not isinstance(chosen, str) or not chosen.isascii() or not chosen.isalpha():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"method {quote(method)}: must be a word such as 'GET'")
    return Request(chosen.upper(), clean_url(url, params), sent, made)


def check_hooks(on_comment: Any, *hooks: Any) -> None:
    """Check that hooks are functions, and that the one for comments is not async.

    Args:
        on_comment: the hook for comments.
        hooks: `auth`, `on_open`, `on_error`, `on_retry`.

    Raises:
        TypeError: a hook is none.
    """
    for name, hook in zip(_HOOKS, (on_comment, *hooks), strict=True):
        if hook is not None and not callable(hook):
            raise TypeError(f"{name} must be a function or None, not {quote(hook)}")
    if inspect.iscoroutinefunction(on_comment):
        raise TypeError(
            "on_comment must be a plain function: comments are told in the middle of a chunk"
        )


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be seconds, not {quote(value)}")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} {value!r}: must be seconds, 0 or more")
    return float(value)


def event_id(value: str) -> str:
    """Check the ID to begin after.

    Raises:
        TypeError, ValueError: no header can have it.
    """
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"last_event_id must be str, not {type(value).__name__}")
    if value.strip() and not sendable(value):
        raise ValueError(f"last_event_id {quote(value)}: must have no control characters")
    return value


def limit(name: str, value: Any) -> float | None:
    """Check a limit in seconds.

    Raises:
        TypeError, ValueError: the limit is not allowed.
    """
    if value is not None and _seconds(name, value) == 0:
        raise ValueError(f"{name} 0: must be seconds, more than 0, or None for no limit")
    return None if value is None else float(value)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {quote(value)}")
    if value < 0:
        raise ValueError(f"{name} {value}: must be 0 or more")
    return value


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 400 <= value <= 599:
        raise ValueError(f"retry_status {quote(value)}: must be statuses from 400 to 599")
    return value
