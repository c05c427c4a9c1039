"""The HTTP side described for programs: an OpenAPI 3.1 document, made of the routes that exist.

The document is written once and kept as bytes. The settings show in it: the bounds, which requests need a token, which
cookie brings one, whether tickets exist, and whether pages of other sites are answered. No key, host, origin and no
name of a topic is in it, because everybody may read it.

The module knows operations, settings and how OpenAPI writes them; it must not know requests or the hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import fastsse
from fastsse import _json
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.web.operations import OPERATIONS, STATUSES, Operation
from fastsse.broadcast.web.schemas import Json, bodies, parameters, reference, schemas

__all__ = ["Description", "Facts"]

_PROBLEM_TYPES = ("application/problem+json", "application/json")


class Facts(NamedTuple):
    """The facts that decide which answers there are.

    Attributes:
        settings: the knobs.
        closed: there is access control.
        tokens: tokens are taken, because there are keys.
        asked: a function of the operator's says what a request without a token may do.
    """

    settings: Settings
    closed: bool
    tokens: bool
    asked: bool


class Description:
    """The document of one app.

    Args:
        routes: the methods of each path, with commas between them, as the header Allow has them.
        facts: what decides which answers there are.
    """

    def __init__(self, routes: Mapping[str, str], facts: Facts) -> None:
        self._routes = routes
        self._facts = facts

    def written(self, root: str = "") -> bytes:
        """Return the document as JSON.

        Args:
            root: the path at which the app is mounted, which clients put before each path.
        """
        server = _json.dumps([{"url": root or "/"}])
        return b'{"openapi":"3.1.1","servers":' + server + b"," + self._rest

    @cached_property
    def _rest(self) -> bytes:
        return _json.dumps(self._members()).removeprefix(b"{") + b"\n"

    def _members(self) -> Json:
        settings = self._facts.settings
        components: Json = {
            "schemas": schemas(settings),
            "parameters": parameters(settings),
            "requestBodies": bodies(settings),
            "responses": _responses(),
        }
        if self._facts.closed:
            components["securitySchemes"] = _schemes(self._facts)
        return {
            "info": _INFO | {"version": fastsse.__version__},
            "paths": {path: self._path(path, allow) for path, allow in self._routes.items()},
            "components": components,
        }

    def _path(self, path: str, allow: str) -> Json:
        found = OPERATIONS[path]
        return {
            method.lower(): self._operation(method, found[method]) for method in allow.split(", ")
        }

    def _operation(self, method: str, operation: Operation) -> Json:
        made: Json = {"operationId": operation.name, "summary": operation.summary}
        if operation.words:
            made["description"] = operation.words
        if operation.parameters:
            made["parameters"] = [reference("parameters", name) for name in operation.parameters]
        if operation.body:
            made["requestBody"] = reference("requestBodies", operation.body)
        suffix = "Head" if method == "HEAD" else ""
        good = {status: name + suffix for status, name in self._good(operation).items()}
        bad = {status: self._problem(status, method) for status in self._problems(operation)}
        answers = {str(status): name for status, name in sorted((bad | good).items())}
        made["responses"] = {
            status: reference("responses", name) for status, name in answers.items()
        }
        security = self._security(operation)
        return made if security is None else made | {"security": security}

    def _good(self, operation: Operation) -> dict[int, str]:
        """Leave out what the settings rule out: tickets without access control, preflights without origins."""
        good = dict(operation.good)
        if good.get(200) == "Preflight" and not self._facts.settings.origins:
            del good[200]
        if operation.name in ("makeTicket", "endStreams") and not self._facts.closed:
            return {}
        return good

    def _problems(self, operation: Operation) -> list[int]:
        ruled_out = {404} if operation.need == "ticket" and self._facts.closed else {401}
        if self._facts.closed:
            ruled_out.discard(401)
        return [status for status in operation.problems if status not in ruled_out]

    def _problem(self, status: int, method: str) -> str:
        name = f"Problem{status}"
        if method == "OPTIONS" and status == 400:
            return "PreflightRefused"
        return name + "Head" if method == "HEAD" else name

    def _security(self, operation: Operation) -> list[Json] | None:
        """Return which credentials an operation takes; None where there are none at all."""
        if not self._facts.closed or operation.need == "nothing":
            return None
        settings = self._facts.settings
        found: list[Json] = [{"bearer": []}, {"cookie": []}] if self._facts.tokens else []
        if operation.need == "read":
            found.append({"ticket": []})
        everybody = {"read": settings.anonymous_read, "publish": settings.anonymous_publish}
        if self._facts.asked or operation.need == "details" or everybody.get(operation.need):
            found.append({})
        return found


def _schemes(facts: Facts) -> Json:
    ticket = {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "a ticket of POST /tickets",
    }
    if not facts.tokens:
        return {"ticket": ticket}
    return {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": facts.settings.cookie,
            "description": "a token in a cookie, from pages of this host",
        },
        "ticket": ticket,
    }


def _responses() -> Json:
    """Make every response, and its twin without a body for HEAD."""
    made = {name: _response(*parts) for name, parts in _GOOD.items()}
    for status in STATUSES:
        made[f"Problem{status}"] = _of_problem(status)
    heads = {
        f"{name}Head": {key: value for key, value in found.items() if key != "content"}
        for name, found in made.items()
    }
    made["PreflightRefused"] = _of_problem(400)
    made["PreflightRefused"]["content"]["text/plain"] = {"schema": {"type": "string"}}
    return made | heads


def _response(
    words: str, content: Mapping[str, Json], headers: Mapping[str, str] | None = None
) -> Json:
    made: Json = {"description": words}
    if headers:
        made["headers"] = {name: _header(text) for name, text in headers.items()}
    if content:
        made["content"] = {kind: {"schema": schema} for kind, schema in content.items()}
    return made


def _of_problem(status: int) -> Json:
    content: dict[str, Json] = dict.fromkeys(_PROBLEM_TYPES, reference("schemas", "Problem"))
    if status in (400, 416):  # of a file's ranges, by the framework
        content["text/plain"] = {"type": "string"}
    return _response(STATUSES[status], content, _PROBLEM_HEADERS.get(status))


def _header(words: str) -> Json:
    return {"description": words, "schema": {"type": "string"}}


_CHALLENGE = {"WWW-Authenticate": "what is asked for, as RFC 6750 says; where a token can help"}
_LATER = {"Retry-After": "seconds after which to come again"}
_PROBLEM_HEADERS = {401: _CHALLENGE, 403: _CHALLENGE, 429: _LATER, 503: _LATER, 507: _LATER}

_JSON = "application/json"
_ALLOW = {"Allow": "the methods"}
_FILE_TYPES = (
    "text/html; charset=utf-8",
    "text/css; charset=utf-8",
    "text/javascript; charset=utf-8",
    "image/svg+xml",
    "multipart/byteranges",
)
_STREAM = {
    "description": "an event stream, as in the HTML standard"
}  # some tools check single events by it

_GOOD: dict[str, tuple[Any, ...]] = {
    "Stream": (
        "the event stream; for an EventSource that there is no place for now, one that ends at once and names a "
        "reconnection time",
        {"text/event-stream": _STREAM},
    ),
    "Over": ("the topics have ended, and nothing is kept that the reader has not; stay away", {}),
    "Published": (
        "the event is published, or all events of the stream",
        {
            _JSON: {
                "oneOf": [
                    reference("schemas", "Published"),
                    reference("schemas", "PublishedStream"),
                ]
            }
        },
    ),
    "Ended": ("the topics have ended", {_JSON: reference("schemas", "Ended")}),
    "Ticket": ("a ticket", {_JSON: reference("schemas", "Ticket")}),
    "EndedStreams": ("the streams have ended", {_JSON: reference("schemas", "EndedStreams")}),
    "Health": ("the hub takes readers", {_JSON: reference("schemas", "Health")}, _CHALLENGE),
    "HealthLater": (
        "the hub takes no readers now",
        {
            _JSON: {
                "anyOf": [reference("schemas", "Health"), reference("schemas", "Problem")],
            },
            "application/problem+json": reference("schemas", "Problem"),
        },
        _CHALLENGE,
    ),
    "Metrics": ("the numbers", {"text/plain": {"type": "string"}}),
    "Document": ("this document", {_JSON: {"type": "object"}}),
    "File": ("a file, or ranges of it", {kind: {"type": "string"} for kind in _FILE_TYPES}),
    "Unchanged": ("the file is as the client has it", {}),
    "Preflight": (
        "the answer to a preflight of a page of another site",
        {"text/plain": {"type": "string"}},
    ),
    "Methods": ("the methods of this path", {}, _ALLOW),
    "MethodsLater": ("the hub takes no readers now", {}, _ALLOW),
}

_INFO: Json = {
    "title": "fastsse",
    "summary": "Topics as event streams: publish, follow, come back without a gap",
    "description": (
        "The broadcast of fastsse. Events are published to topics and followed as Server-Sent Events (HTML standard). "
        "Every error is problem details as JSON (RFC 9457); where Accept names text/html, its media type is "
        "application/json. Paths or methods that are not here are answered 404 or 405."
    ),
    "license": {"name": "MIT", "identifier": "MIT"},
}
