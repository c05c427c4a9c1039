"""Answers that end at once: JSON and problems.

The module knows statuses and headers; it must not know routes or the hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.responses import Response

from fastsse import _json
from fastsse.asgi import Scope
from fastsse.broadcast.details import media_type
from fastsse.broadcast.web.problems import Problem

__all__ = [
    "json_answer",
    "no_path",
    "not_started",
    "our_fault",
    "problem_answer",
]


def json_answer(members: Mapping[str, object], status: int = 200) -> Response:
    """Make an answer of JSON, which no cache keeps."""
    body = _json.dumps(members) + b"\n"
    return Response(body, status, {"Cache-Control": "no-store"}, "application/json")


def problem_answer(
    problem: Problem, scope: Scope, headers: Iterable[tuple[bytes, bytes]] = ()
) -> Response:
    """Make an answer of a problem, for the client that sent this request."""
    more = {"Cache-Control": "no-store"} | problem.headers
    answer = Response(problem.body(), problem.status, more, media_type(scope))
    answer.raw_headers += headers
    return answer


def no_path(path: str) -> Problem:
    """Make the problem of a path that is not there."""
    rule = "there is /events, /health, /metrics, the page at /, and all of it in /openapi.json"
    return Problem.of_field("path", path, rule, status=404)


def not_started() -> Problem:
    """Make the problem of a mounted app whose lifespan nobody runs."""
    return Problem(
        503,
        "the hub is not started: the server has not run this app's lifespan; an application that mounts it does "
        "that in its own, with `async with app.lifespan():`",
    )


def our_fault() -> Problem:
    """Make the problem of a fault that is not the client's."""
    return Problem(500, "a fault of the server; its log says more")
