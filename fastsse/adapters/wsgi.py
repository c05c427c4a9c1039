"""EventSourceResponse as a WSGI application, for any WSGI server and framework.

A stream holds the thread that the server gave it for as long as it lasts: a server with eight threads serves eight
streams. Items, heartbeats and time-outs run on one event loop in a thread beside them, so async items work, too, and an
HTTP client or a hub can serve all streams (`run`). Sync items are iterated in a thread of their own.

    disconnect    noticed at once under gunicorn and werkzeug, which show the client's socket; elsewhere when the server
                  writes next, and heartbeats see to that
    SIGTERM       ends open streams when this module was imported in the main thread after the server had set its
                  handlers: gunicorn without ``--preload``, waitress, werkzeug. Elsewhere call `hear_signals` then, in
                  a hook of the server, or `end_streams` when the server stops
    wait_first    an exception before the first item becomes the server's 500
    send_timeout  ends the items; the server's thread is free when its own write returns

gunicorn's sync worker serves one stream at a time, and is killed after ``--timeout`` seconds: take ``gthread``. Workers
of gevent and eventlet are not supported.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Unpack
from urllib.parse import quote

import fastsse
from fastsse._signals import hear_signals
from fastsse.adapters._options import Options, as_text
from fastsse.adapters._pull import plain_scope
from fastsse.adapters._thread_pull import ThreadPull, end_streams, loop_of_streams, run
from fastsse.asgi import App

__all__ = [
    "EventSourceResponse",
    "end_streams",
    "from_asgi",
    "hear_signals",
    "last_event_id",
    "loop_of_streams",
    "pull",
    "run",
    "scope_of",
]

Environ = Mapping[str, Any]
StartResponse = Callable[..., object]

hear_signals()  # here, because requests come in other threads, which cannot install a handler


class EventSourceResponse:
    """One WSGI response that streams `items` as events: ``return EventSourceResponse(items)(environ, start_response)``.

    Args:
        items: an async iterable, or a sync one.
        options: those of `fastsse.EventSourceResponse`.

    Raises:
        InvalidField, TypeError, ValueError: an argument is wrong; raised at once.
    """

    def __init__(
        self, items: AsyncIterable[Any] | Iterable[Any], **options: Unpack[Options]
    ) -> None:
        self._response = fastsse.EventSourceResponse(items, **options)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. HEAD gets the headers alone.

        Raises:
            Exception: the items have raised it before the response started.
        """
        return from_asgi(self._response)(environ, start_response)


def from_asgi(response: App) -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    """Make a WSGI application of an ASGI response, for one request: ``from_asgi(hub.response("news"))``."""

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        parts = pull(response, environ)
        status, headers = parts.start()
        start_response(f"{status} {HTTPStatus(status).phrase}", as_text(headers))
        return parts

    return application


def pull(response: App, environ: Environ) -> ThreadPull:
    """Begin to answer a request by an ASGI response, whose parts are iterated."""
    client = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return ThreadPull(response, scope_of(environ), client)


def last_event_id(environ: Environ) -> str:
    """Return the last event ID of a client that reconnects, or ``""``, as `fastsse.last_event_id` does."""
    return fastsse.last_event_id(scope_of(environ))


def scope_of(environ: Environ) -> dict[str, Any]:
    """Write what ASGI calls the scope of a WSGI request."""
    path = _raw(environ.get("PATH_INFO", "")).decode("utf-8", "replace")
    scope = plain_scope(environ.get("REQUEST_METHOD", "GET"))
    scope["http_version"] = environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2]
    scope["scheme"] = environ.get("wsgi.url_scheme", "http")
    scope["path"] = path
    scope["raw_path"] = quote(path).encode()
    scope["query_string"] = _raw(environ.get("QUERY_STRING", ""))
    scope["root_path"] = environ.get("SCRIPT_NAME", "")
    scope["headers"] = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), _raw(value))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    if environ.get("REMOTE_ADDR"):
        scope["client"] = (environ["REMOTE_ADDR"], int(environ.get("REMOTE_PORT") or 0))
    return scope


def _raw(text: str) -> bytes:
    """Return the bytes of a text, which is ISO 8859-1 by PEP 3333; granian gives UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
