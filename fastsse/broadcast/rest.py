"""The routes of the broadcast beside event streams: health, numbers, the page, faults of a path.

    GET /health     the hub's state as JSON, for its operators; everybody else is told whether it takes readers
    GET /metrics    the hub's numbers as Prometheus text, for its operators
    GET /openapi.json   all routes described (OpenAPI 3.1)
    DELETE /streams, POST /revocations      streams and tokens that an operator ends, see `access.operators`
    GET /, /page/…  the live page
    OPTIONS         of every path

Starlette's router finds the route. The module knows these routes; it must not know event streams or bodies.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from fastsse.asgi import Headers, Receive, Scope, Send
from fastsse.broadcast.access.audit import note_denied
from fastsse.broadcast.access.guard import CHALLENGE, Guard
from fastsse.broadcast.access.hosts import Access
from fastsse.broadcast.access.operators import Operators
from fastsse.broadcast.hub.hub import Hub
from fastsse.broadcast.web.answers import json_answer, no_path, our_fault, problem_answer
from fastsse.broadcast.web.metrics import CONTENT_TYPE, Metrics, process_text
from fastsse.broadcast.web.openapi import Description, Facts
from fastsse.broadcast.web.pages import PageFiles, index_page
from fastsse.broadcast.web.problems import Problem

__all__ = ["EVENTS", "METHODS", "PROBES", "TICKETS", "Rest", "route_path"]

EVENTS = "/events"
TICKETS = "/tickets"
PROBES = frozenset({"GET", "HEAD", "OPTIONS"})

_STREAMS = "/streams"
_REVOCATIONS = "/revocations"
_HEALTH = "/health"
_METRICS = "/metrics"
_DOCUMENT = "/openapi.json"
_PROBED = "GET, HEAD, OPTIONS"
_READ = "GET, HEAD"  # of every other path
METHODS = {
    EVENTS: "DELETE, GET, HEAD, OPTIONS, POST",
    TICKETS: "OPTIONS, POST",
    _STREAMS: "DELETE, OPTIONS",
    _REVOCATIONS: "OPTIONS, POST",
    _HEALTH: _PROBED,
    _METRICS: _PROBED,
    _DOCUMENT: _PROBED,
    "/": _PROBED,
    "/page/{file}": _READ,
}
"""The methods of each path; each has its entry in `OPERATIONS`."""


class Rest:
    """The routes of one app but for ``/events``.

    Args:
        hub: whose state is told.
        access: the rules for hosts and origins.
        guard: who may read the numbers.
        facts: what the document says of access.
        lifespan: the app's, as Starlette takes it.

    Attributes:
        app: the ASGI application of these routes.
    """

    def __init__(self, hub: Hub, access: Access, guard: Guard, facts: Facts, lifespan: Any) -> None:
        self._hub = hub
        self._access = access
        self._guard = guard
        self._metrics = Metrics(hub)
        self._facts = facts
        self._description = Description(METHODS, facts)
        self._apart = False  # the numbers are told by `tell_operator` alone
        self._operators = Operators(hub, guard)
        self.app = Starlette(
            routes=[
                Route(EVENTS, self._options, methods=["OPTIONS"]),
                Route(TICKETS, self._options, methods=["OPTIONS"]),
                Route(_STREAMS, self._options, methods=["OPTIONS"]),
                Route(_STREAMS, self._end_streams, methods=["DELETE"]),
                Route(_REVOCATIONS, self._options, methods=["OPTIONS"]),
                Route(_REVOCATIONS, self._revoke, methods=["POST"]),
                Route(_HEALTH, self._health, methods=["GET", "OPTIONS"]),
                Route(_METRICS, self._numbers, methods=["GET"]),
                Route(_METRICS, self._options, methods=["OPTIONS"]),
                Route(_DOCUMENT, self._describe, methods=["GET"]),
                Route(_DOCUMENT, self._options, methods=["OPTIONS"]),
                Route("/", self._index, methods=["GET", "OPTIONS"]),
                Mount("/page", PageFiles()),
            ],
            exception_handlers={
                HTTPException: self._on_http_exception,
                Problem: self._on_problem,
                Exception: self._on_exception,
            },
            lifespan=lifespan,
        )
        self.app.router.redirect_slashes = False

    def keep_numbers_apart(self) -> None:
        """Tell the numbers by `tell_operator` alone, and describe no route to them."""
        self._apart = True
        routes = {path: methods for path, methods in METHODS.items() if path != _METRICS}
        self._description = Description(routes, self._facts)

    def stranger(self, problem: Problem, path: str, scope: Scope) -> Response:
        """Answer a request that is not for this server.

        A probe may name any host, and is told whether the hub takes readers.
        """
        if problem.status == 421 and path == _HEALTH and scope["method"] in PROBES:
            return self.probe(scope)
        return self.refuse(problem, scope, self._access.shield(scope))

    def refuse(self, problem: Problem, scope: Scope, headers: Headers) -> Response:
        """Answer with a problem, and count it."""
        self._hub.stats.problems[str(problem.status)] += 1
        if problem.denied:
            note_denied(problem.denied, scope, problem.subject)
        return problem_answer(problem, scope, headers)

    def probe(self, scope: Scope) -> Response:
        """Tell whether the hub takes readers, and no more, because the numbers are not for everybody."""
        status, code = self._state()
        if scope["method"] == "OPTIONS":
            answer = Response(status_code=204 if code == 200 else code, headers={"Allow": _PROBED})
        else:
            answer = json_answer({"status": status}, code)
        answer.raw_headers += self._access.shield(scope)
        return answer

    def _state(self) -> tuple[str, int]:
        if not self._hub.started:
            return "not started", 503
        if self._hub.draining:
            return "draining", 503
        if self._hub.settings.store_ready and self._hub.stalled is not None:
            return "stalled", 503
        return "ok", 200

    async def _options(self, request: Request) -> Response:
        path = route_path(request.scope)
        if self._apart and path == _METRICS:
            raise no_path(path)
        return Response(status_code=204, headers={"Allow": METHODS[path]})

    async def _health(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return self.probe(request.scope)
        if self._apart:
            await self._guard.check_token(request.scope)  # the page asks here if a token is good
        elif (await self._guard.find(request.scope, "operate", ())).operator:
            return self._all_of_health(request.scope)
        answer = self.probe(request.scope)
        if self._guard.closed:
            answer.headers["WWW-Authenticate"] = CHALLENGE
        return answer

    def _all_of_health(self, scope: Scope) -> Response:
        status, code = self._state()
        answer = json_answer(self._hub.health() | {"status": status}, code)
        answer.raw_headers += self._access.shield(scope)
        return answer

    async def _numbers(self, request: Request) -> Response:
        if self._apart:
            raise no_path(_METRICS)
        self._guard.need_operator(await self._guard.find(request.scope, "operate", ()))
        return await self._all_numbers(request.scope)

    async def _all_numbers(self, scope: Scope) -> Response:
        text = await asyncio.to_thread(process_text) + self._metrics.text()
        answer = Response(text, headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE)
        answer.raw_headers += self._access.shield(scope)
        return answer

    async def tell_operator(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request at the operators' port, as an ASGI app: all of /health, and /metrics, without a token."""
        try:
            self._access.check(scope)
            if scope["path"] not in (_HEALTH, _METRICS):
                raise no_path(scope["path"])
            if scope["method"] not in ("GET", "HEAD"):
                rule = f"must be one of {_READ}"
                raise Problem.of_field("method", scope["method"], rule, status=405)
            numbers = scope["path"] == _METRICS
            answer = await self._all_numbers(scope) if numbers else self._all_of_health(scope)
        except Problem as problem:
            answer = self.refuse(problem, scope, self._access.shield(scope))
        await answer(scope, receive, send)

    async def _end_streams(self, request: Request) -> Response:
        return self._shielded(await self._operators.end_streams(request), request)

    async def _revoke(self, request: Request) -> Response:
        return self._shielded(await self._operators.revoke(request), request)

    def _shielded(self, answer: Response, request: Request) -> Response:
        answer.raw_headers += self._access.shield(request.scope)
        return answer

    async def _describe(self, request: Request) -> Response:
        root: str = request.scope.get("root_path", "")
        headers = {"Cache-Control": "no-cache"}
        answer = Response(self._description.written(root), 200, headers, "application/json")
        answer.raw_headers += self._access.shield(request.scope)
        return answer

    async def _index(self, request: Request) -> Response:
        if request.method == "OPTIONS":  # from a load balancer that is told no path
            return self.probe(request.scope)
        return index_page()

    async def _on_http_exception(self, request: Request, error: Exception) -> Response:
        """Answer a request that Starlette refuses: an unknown path, a wrong method."""
        assert isinstance(error, HTTPException)
        problem = Problem(error.status_code, "the request cannot be answered")
        if error.status_code == 405:
            allow = METHODS.get(route_path(request.scope), _READ)
            rule = f"must be one of {allow}"
            problem = Problem.of_field("method", request.method, rule, status=405)
            problem.headers = {"Allow": allow}
        if error.status_code == 404:
            problem = no_path(request.scope["path"])
        return self.refuse(problem, request.scope, self._access.shield(request.scope))

    async def _on_problem(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return self.refuse(error, request.scope, self._access.shield(request.scope))

    async def _on_exception(self, request: Request, _: Exception) -> Response:
        """Answer for a fault of ours: the server logs it, and the client learns nothing of it."""
        return self.refuse(our_fault(), request.scope, self._access.shield(request.scope))


def route_path(scope: Scope) -> str:
    """Return the part of the path that follows the place where the app is mounted.

    A place may be written with a slash at its end, or be the slash alone. A path that does not begin with the place has
    come through a proxy that cut the place off.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root:
        return path
    for place in (root, root.rstrip("/")):
        rest = path[len(place) :]
        if path.startswith(place) and (rest.startswith("/") or (not rest and place[-1:] != "/")):
            return rest
    return path
