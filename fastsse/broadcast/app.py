"""The broadcast as an ASGI app: routes, headers, status codes.

    GET, HEAD /events     an event stream ┐ raw ASGI, nothing in between
    POST /events          publish         ┘
    GET /health           state as JSON; 503 while draining     ┐
    GET /metrics          the numbers as Prometheus text        ├ by Starlette
    GET /, /page/…        the live page                         ┘

Every request passes `Access` first. Errors are JSON problems. The app owns the hub's life: it starts it with the
lifespan, and at SIGTERM or SIGINT ends every stream and every body that is still being read, because a server
waits for them without limit. It knows HTTP; it must not know positions, history or sends.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from functools import lru_cache
from math import ceil
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from fastsse import InvalidField, _json
from fastsse._signals import heed_one_sigterm, on_shutdown
from fastsse.broadcast import forms, problems
from fastsse.broadcast.access import Access, header
from fastsse.broadcast.direct import DIRECT
from fastsse.broadcast.hub import EVENT_STREAM_HEADERS, Hub
from fastsse.broadcast.metrics import CONTENT_TYPE, Metrics
from fastsse.broadcast.problems import Problem
from fastsse.broadcast.publishing import Body, publish
from fastsse.broadcast.settings import Settings

__all__ = ["PAGE_HEADERS", "Broadcast", "create_app"]

PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}

_PAGE = Path(__file__).parent / "page"
_MEDIA_TYPES = {  # fixed: what the system knows of ".js" varies, and nosniff makes it count
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_EVENTS = "/events"
_METHODS = {_EVENTS: "GET, HEAD, OPTIONS, POST"}  # by path; the rest is only read
_SHORT, _KNOWN = 256, 256  # bytes of a query that is kept with its meaning; how many are
_SPARE = 8  # query fields beyond the most topics
_FULL = 5  # s that a reader stays away when there is no room

_log = logging.getLogger("fastsse.broadcast")


def create_app(settings: Settings | None = None, hub: Hub | None = None) -> Broadcast:
    """The broadcast, to be served or mounted.

    Args:
        settings: the knobs; the hub's when None, else the defaults.
        hub: what it speaks for; a new one over a memory store when None.

    Raises:
        SettingError: an origin or a host cannot be one.
    """
    if hub is None:
        hub = Hub(settings)
    return Broadcast(hub.settings if settings is None else settings, hub)


class Broadcast:
    """The ASGI app. One app, one hub, one event loop.

    Attributes:
        settings: the knobs.
        hub: what it speaks for.
        outermost: no middleware stands around the app, so nobody wants the request's headers once its stream is
            open: they are let go, 2 to 4 KiB a stream.
        alone: and the server does not look at the scope again either, as granian without an access log: all of
            it is let go.
    """

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self.settings = settings
        self.hub = hub
        self.outermost = False
        self.alone = False
        self._access = Access(settings)
        self._numbers = Metrics(hub)
        self._asked = lru_cache(maxsize=_KNOWN)(self._ask)  # many come with the same query
        self._bodies: set[Body] = set()  # that are being read
        self._rest = Starlette(
            routes=[
                Route(_EVENTS, self._options, methods=["OPTIONS"]),
                Route("/health", self._health, methods=["GET"]),
                Route("/metrics", self._metrics, methods=["GET"]),
                Route("/", self._index, methods=["GET"]),
                Mount("/page", _Page(directory=_PAGE)),
            ],
            exception_handlers={
                HTTPException: _on_http_exception,
                Exception: _on_exception,
            },
            lifespan=self._lifespan,
        )
        self._rest.router.redirect_slashes = False
        self._web = self._access.wrap(self._rest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope, receive, send)

    def _answer(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """What answers a request. No coroutine itself: a stream keeps nothing of its request but what this returns."""
        if scope["type"] != "http":
            return self._rest(scope, receive, send)
        try:
            self._access.check(scope)
        except Problem as problem:
            return _response(problem)(scope, receive, send)
        if _route_path(scope) == _EVENTS:
            if scope["method"] in ("GET", "HEAD"):
                return self._stream(scope, receive, send)
            if scope["method"] == "POST":
                return self._post(scope, receive, send)
        return self._web(scope, receive, send)

    def drain(self) -> None:
        """Begin to end every stream and every body that is being read; new ones are refused. From the loop."""
        self.hub.drain()
        for body in tuple(self._bodies):
            body.close()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None, None]:
        await self.hub.start()
        undo = on_shutdown(self.drain)
        try:
            yield
        finally:
            undo()
            self.drain()
            await self.hub.stop()

    # GET /events

    def _stream(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        headers = self._access.grant(scope)
        try:
            query = scope["query_string"]
            asked = self._ask(query) if len(query) > _SHORT else self._asked(query)
            self._check_room()
        except (Problem, InvalidField) as error:
            return _refusal(error, headers)(scope, receive, send)
        if scope["method"] == "HEAD":
            return _send_head(send, headers)
        # The header is the newer one: a browser sends it when it reconnects to the same URL. Bytes that are not
        # UTF-8 make an id that is nobody's, so the reader is told of a gap.
        sent = header(scope, b"last-event-id")
        last_event_id = sent.decode("utf-8", "replace") if sent else asked.last_event_id
        remote, way = scope.get("client"), scope.get(DIRECT)
        if self.alone:
            scope.clear()
        elif self.outermost:
            _forget_headers(scope)
        return self.hub.converse(
            receive, send, asked.topics, last_event_id, asked.labels, None, headers, remote, way
        )

    def _ask(self, query: bytes) -> _Asked:
        most = self.settings.topics_per_stream
        asked = _Asked(query, most + _SPARE)
        asked.topics = self.hub.check_topics(asked.topics, most)
        return asked

    def _check_room(self) -> None:
        if self.hub.draining:
            self.hub.stats.refused["draining"] += 1
            wait = max(1, ceil(self.settings.retry / 1000))
            raise Problem(503, "the server is stopping; come again soon", headers=_later(wait))
        if self.hub.full:
            self.hub.stats.refused["full"] += 1
            detail = f"all {self.settings.max_streams} streams are taken; come again later"
            raise Problem(503, detail, headers=_later(_FULL))

    # POST /events

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = self._access.grant(scope)
        body = Body(scope, receive)
        self._bodies.add(body)
        if self.hub.draining:
            body.close()
        try:
            response = _json_response(await publish(self.hub, scope, body))
            response.raw_headers += headers
        except (Problem, InvalidField) as error:
            response = _refusal(error, headers)
        except Exception:
            await _refusal(_our_fault(), headers)(scope, receive, send)
            raise  # for the server's log
        finally:
            self._bodies.discard(body)
        await response(scope, receive, send)

    async def _options(self, _: Request) -> Response:
        return Response(status_code=204, headers={"Allow": _METHODS[_EVENTS]})

    # The rest

    async def _health(self, _: Request) -> Response:
        return _json_response(self.hub.health(), 503 if self.hub.draining else 200)

    async def _metrics(self, _: Request) -> Response:
        return Response(
            self._numbers.text(), headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE
        )

    async def _index(self, _: Request) -> Response:
        return FileResponse(
            _PAGE / "index.html", headers=PAGE_HEADERS, media_type=_MEDIA_TYPES[".html"]
        )


class _Asked:
    """What a reader's query says.

    Raises:
        Problem: 400 for a field that is unknown, given twice, or not UTF-8.
    """

    def __init__(self, query: bytes, most: int) -> None:
        self.topics: tuple[str, ...] = ()
        self.labels = False
        self.last_event_id: str | None = None
        seen: set[str] = set()
        for name, value in forms.parse_pairs(query, "query", most=most):
            if name == "topic":
                self.topics += (forms.decode_text(name, value),)
                continue
            if name in seen:
                raise Problem.of_field(name, value, "must be given once")
            seen.add(name)
            self._set(name, value)

    def _set(self, name: str, value: bytes) -> None:
        if name == "last_event_id":
            self.last_event_id = value.decode("utf-8", "replace") or None
        elif name == "labels":
            if value not in (b"0", b"1"):
                raise Problem.of_field(name, value, "must be 1 or 0")
            self.labels = value == b"1"
        else:
            rule = "is no query field here; known are topic, last_event_id, labels"
            raise Problem.of_field("field", name, rule)


class _Page(StaticFiles):
    """The page's files, with the headers that keep it to itself."""

    def file_response(self, full_path: Any, *args: Any, **options: Any) -> Response:
        response = super().file_response(full_path, *args, **options)
        response.headers.update(PAGE_HEADERS)
        kind = _MEDIA_TYPES.get(Path(full_path).suffix)
        if kind is not None:
            response.headers["content-type"] = kind
        return response


def _route_path(scope: Scope) -> str:
    """The path behind the place where the app is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


async def _send_head(send: Send, headers: list[tuple[bytes, bytes]]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [*EVENT_STREAM_HEADERS, *headers],
        }
    )
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _forget_headers(scope: Scope) -> None:
    """In place where that can be: uvicorn's connection keeps the same list for as long as the stream lasts."""
    if isinstance(scope["headers"], list):
        scope["headers"].clear()
    scope["headers"] = []


def _later(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


def _json_response(members: Any, status: int = 200) -> Response:
    return Response(
        _json.dumps(members) + b"\n",
        status,
        {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        "application/json",
    )


def _response(problem: Problem) -> Response:
    """A problem as an answer. An ASGI app, like every Response."""
    return Response(
        problem.body(),
        problem.status,
        {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} | problem.headers,
        problems.CONTENT_TYPE,
    )


def _refusal(error: Problem | InvalidField, headers: list[tuple[bytes, bytes]]) -> Response:
    """The same where Starlette does not stand around: with the headers that CORS grants."""
    response = _response(error if isinstance(error, Problem) else Problem.of_invalid(error))
    response.raw_headers += headers
    return response


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = _METHODS.get(_route_path(request.scope), "GET, HEAD")
        rule = f"must be one of {allow}"
        problem = Problem.of_field("method", request.method, rule, status=405)
        problem.headers = {"Allow": allow}
        return _response(problem)
    if error.status_code == 404:
        rule = "there is /events, /health, /metrics and the page at /"
        return _response(Problem.of_field("path", request.scope["path"], rule, status=404))
    return _response(Problem(error.status_code, "the request cannot be answered"))


async def _on_exception(_: Request, __: Exception) -> Response:
    """Ours, a fault: the server logs it, the client learns nothing of it."""
    return _response(_our_fault())


def _our_fault() -> Problem:
    return Problem(500, "a fault of the server; its log says more")


if TYPE_CHECKING:
    app: Broadcast  # from the environment: for `granian --interface asgi fastsse.broadcast.app:app`
else:

    def __getattr__(name: str) -> Any:
        """`app`, made when it is asked for, so that a bad setting is an error where the server loads it."""
        if name != "app":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        made = create_app(Settings.load())
        made.outermost = True
        if "granian" in sys.modules and parent_process() is not None:
            heed_one_sigterm(asyncio.get_event_loop())  # the worker's; it does not run yet
        globals()["app"] = made
        return made
