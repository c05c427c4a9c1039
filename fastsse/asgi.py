"""The words of ASGI that this package uses, each said once.

Everything that answers a request builds its messages here and reads the request's headers here: types, the start and
the body of a response, the headers of an event stream, the last event ID, and how a response becomes one of
Starlette's. No framework is imported.

The module knows ASGI and headers; it must not know streams, topics or tasks.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

__all__ = [
    "EVENT_STREAM_HEADERS",
    "App",
    "Headers",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "accepts",
    "as_starlette",
    "body_message",
    "has_directive",
    "header",
    "headers",
    "last_event_id",
    "names_last_event_id",
    "start_message",
]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

T = TypeVar("T")

EVENT_STREAM_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),  # granian sends these headers at once
    (b"cache-control", b"no-store, no-transform"),  # no copies, and no proxy that compresses blocks
    (b"x-accel-buffering", b"no"),  # nginx
    (b"incremental", b"?1"),  # RFC 10036: a proxy should pass the stream on byte by byte
)

_LONGEST_LIST = 1024  # bytes of a header that is a list; the rest is not looked at


def start_message(status: int, headers: Iterable[tuple[bytes, bytes]]) -> Message:
    """Make the message that starts a response."""
    return {"type": "http.response.start", "status": status, "headers": headers}


def body_message(body: bytes, *, more: bool = True) -> Message:
    """Make the message for one part of a response's body; `more=False` makes it the last part."""
    return {"type": "http.response.body", "body": body, "more_body": more}


def header(scope: Mapping[str, Any], name: bytes) -> bytes | None:
    """Return the first value of a request header, or None; `name` is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


def headers(scope: Mapping[str, Any], name: bytes) -> list[bytes]:
    """Return all values of a request header; `name` is in lower case."""
    return [value for key, value in scope["headers"] if key == name]


def accepts(scope: Mapping[str, Any], kind: bytes) -> bool:
    """Return True when the request's Accept names this media type itself, not a range that contains the type."""
    return kind in _members(scope, b"accept")


def has_directive(scope: Mapping[str, Any], directive: bytes) -> bool:
    """Return True when the request's Cache-Control has this directive."""
    return directive in _members(scope, b"cache-control")


def _members(scope: Mapping[str, Any], name: bytes) -> set[bytes]:
    """Split a header that is a list into its members, in lower case and without their parameters."""
    given = b",".join(headers(scope, name))[:_LONGEST_LIST].lower()
    return {part.partition(b";")[0].strip() for part in given.split(b",")}


def last_event_id(scope: Mapping[str, Any]) -> str:
    """Return the last event ID of a client that reconnects, or ``""``: the place where the client left off.

    The header ``Last-Event-ID`` goes first (UTF-8, "The Last-Event-ID header" of the standard). A client that cannot
    set headers puts the ID into the query, under any name that `names_last_event_id` knows. Such a client may append
    the field to its URL at each reconnection, so the last field that is not empty counts.
    """
    for name, value in scope["headers"]:
        if name == b"last-event-id" and value:
            return bytes(value).decode("utf-8", "replace")
    query = bytes(scope.get("query_string", b"")).decode("utf-8", "replace")
    found = [value for name, value in parse_qsl(query) if names_last_event_id(name)]
    return found[-1] if found else ""


def names_last_event_id(name: str) -> bool:
    """Return True when a query field of this name holds a last event ID.

    Case, ``-`` and ``_`` do not count, because clients differ in them: ``lastEventId`` (event-source-polyfill,
    reconnecting-eventsource), ``last-event-id``, ``Last-Event-ID``, ``last_event_id``, and ``evs_last_event_id``
    (eventsource-polyfill).
    """
    return name.replace("-", "").replace("_", "").lower().removeprefix("evs") == "lasteventid"


_starlettes: dict[type, type] = {}


def as_starlette(cls: type[T]) -> type[T]:
    """Return `cls` as a subclass of Starlette's Response where Starlette is loaded, otherwise `cls` itself.

    FastAPI serializes a return value that is not a Response, and users of Starlette expect ``set_cookie`` and mutable
    headers. Code that can return an object to Starlette has imported Starlette already, so nothing is imported here.
    The class calls this in its ``__new__``, and has the attributes `status_code`, `raw_headers` and `background`.
    """
    base = getattr(sys.modules.get("starlette.responses"), "Response", None)
    if base is None or issubclass(cls, base):
        return cls
    if cls not in _starlettes:
        namespace = {"__slots__": (), "__module__": cls.__module__, "__doc__": cls.__doc__}
        _starlettes[cls] = type(cls.__name__, (cls, base), namespace)
    return _starlettes[cls]
