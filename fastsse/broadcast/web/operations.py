"""Every operation of the HTTP side: what it is for, what it takes, and each status that it may answer.

One entry for each method of each route. `openapi` makes the document of them, and leaves out what the settings rule
out. Where code answers with another status from now on, that status belongs into the entry.

The module knows operations and statuses; it must not know settings or how a document is written.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["OPERATIONS", "STATUSES", "Operation"]

Need = Literal["nothing", "read", "publish", "end", "ticket", "operator", "details"]
"""What a request needs where there is access control; ``details`` is nothing, and more is told to operators."""


class Operation(NamedTuple):
    """One method of one route.

    Attributes:
        name: of the operation, unique.
        summary: a line.
        words: more about it.
        good: the response of each status that is no problem, by a name of `openapi`.
        problems: every other status.
        need: what the request needs where there is access control.
        parameters: names of parameters.
        body: the name of the body; empty where there is none.
    """

    name: str
    summary: str
    words: str
    good: dict[int, str]
    problems: tuple[int, ...]
    need: Need = "nothing"
    parameters: tuple[str, ...] = ()
    body: str = ""


STATUSES = {
    400: "the request cannot be read; field, value and rule say what to mend",
    401: "a token is needed, or the one that came is not good",
    403: "this is not allowed: by the grant, or to a page of another site",
    404: "there is nothing of this name here",
    408: "the body took too long, or was silent for too long",
    409: "a topic has ended",
    413: "the event or the body is too large",
    414: "the query is longer than any reader needs",
    415: "the type, charset or coding of the body is none that is read",
    416: "no such range is in the file",
    421: "the request names another server; add its name to `hosts`",
    422: "the key belongs to another event",
    429: "there are too many of this address or subject; Retry-After says when to come again",
    500: "a fault of the server",
    501: "the body has a transfer coding other than chunked",
    503: "not now: the hub stops, is full, or cannot reach what it needs; come again later",
    507: "the store has no room for more",
}
"""What each problem means."""

_ANY = (400, 421, 500)  # of every request
_ASKED = (400, 401, 403, 421, 500, 503)  # of a request whose grant is looked for
_READ = (*_ASKED, 414, 429)
_CHANGE = (*_ASKED, 429, 507)

_STREAM_QUERY = ("Followed", "Labels")
_READER = (*_STREAM_QUERY, "LastIdInQuery", "LastEventId")


def _options(name: str, path: str) -> Operation:
    good = {200: "Preflight", 204: "Methods"}
    return Operation(f"{name}Options", f"Methods of {path}", "", good, _ANY)


def _probe(name: str, path: str) -> Operation:
    """Make the operation of a load balancer's OPTIONS, which may name any host."""
    good = {200: "Preflight", 204: "Methods", 503: "MethodsLater"}
    return Operation(f"{name}Options", f"Methods of {path}", "", good, (400, 421, 500))


def _head(get: Operation, name: str, summary: str, words: str = "") -> Operation:
    """Describe HEAD, which is answered as GET is, without the body."""
    return get._replace(name=name, summary=summary, words=words)


def _file(name: str, summary: str, *parameters: str) -> Operation:
    good = {200: "File", 206: "File", 304: "Unchanged"}
    lost = (404,) if parameters else ()
    return Operation(name, summary, "", good, (*_ANY, *lost, 416), parameters=parameters)


_READ_EVENTS = Operation(
    "readEvents",
    "Follow topics",
    "An event stream without an end. The first block tells the heartbeat's interval, the last event ID and the "
    "reconnection time. Events that are lost for good are told of by an event of the type `gap`; a topic that ends "
    "by one of the type `end`; a grant that ends by one of the type `expired`. Other query fields mean nothing.",
    {200: "Stream", 204: "Over"},
    _READ,
    "read",
    _READER,
)

_EVENTS = {
    "GET": _READ_EVENTS,
    "HEAD": _head(
        _READ_EVENTS,
        "probeEvents",
        "Ask for the headers of a stream",
        "The answer of a GET without its body. Nothing is followed, and no ticket is spent.",
    ),
    "POST": Operation(
        "publish",
        "Publish an event, or an event stream",
        "An event is published whole or not at all. Of an event stream that breaks, the events before stay published. "
        "Fields stand in the query or in a form, in one of them alone.",
        {200: "Published"},
        (*_CHANGE, 408, 409, 413, 415, 422, 501),
        "publish",
        ("Published", "Type", "Retry", "End", "IdempotencyKey"),
        "Publish",
    ),
    "DELETE": Operation(
        "endTopics",
        "End topics",
        "Readers get an event of the type `end` and the end of the body. To end a topic again changes nothing.",
        {200: "Ended"},
        _CHANGE,
        "end",
        ("Ending", "EndReason"),
    ),
    "OPTIONS": _options("events", "/events"),
}

_TICKETS = {
    "POST": Operation(
        "makeTicket",
        "Get a ticket for one stream",
        "A ticket stands in the URL of a browser's EventSource, in the place of a token. It is good once.",
        {200: "Ticket"},
        (*_READ, 404),
        "ticket",
        _STREAM_QUERY,
    ),
    "OPTIONS": _options("tickets", "/tickets"),
}

_STREAMS = {
    "DELETE": Operation(
        "endStreams",
        "End streams of a subject, of topics, or of both",
        "At least one of them must be named. Each stream gets an event of the type `expired` first.",
        {200: "EndedStreams"},
        _CHANGE,
        "operator",
        ("Subject", "StreamsOf", "StreamReason"),
    ),
    "OPTIONS": _options("streams", "/streams"),
}

_REVOCATIONS = {
    "POST": Operation(
        "revoke",
        "Take a token no more, or all tokens that a subject has now",
        "Exactly one of them must be named. Their streams end, each with an event of the type `expired` first.",
        {200: "EndedStreams"},
        _CHANGE,
        "operator",
        ("RevokedSubject", "RevokedToken", "StreamReason"),
    ),
    "OPTIONS": _options("revocations", "/revocations"),
}

_TELL_HEALTH = Operation(
    "health",
    "Tell whether the hub takes readers",
    "Operators are told all numbers as well.",
    {200: "Health", 503: "HealthLater"},
    (400, 401, 403, 421, 500),
    "details",
)

_HEALTH = {
    "GET": _TELL_HEALTH,
    "HEAD": _head(_TELL_HEALTH, "probeHealth", "Ask whether the hub takes readers"),
    "OPTIONS": _probe("health", "/health"),
}

_TELL_METRICS = Operation(
    "metrics", "The hub's numbers for Prometheus", "", {200: "Metrics"}, _ASKED, "operator"
)

_METRICS = {
    "GET": _TELL_METRICS,
    "HEAD": _head(_TELL_METRICS, "probeMetrics", "The headers of the numbers"),
    "OPTIONS": _options("metrics", "/metrics"),
}

_DESCRIBE = Operation("describe", "This document", "", {200: "Document"}, _ANY)

_DOCUMENT = {
    "GET": _DESCRIBE,
    "HEAD": _head(_DESCRIBE, "probeDocument", "The headers of this document"),
    "OPTIONS": _options("document", "/openapi.json"),
}

_PAGE = _file("page", "The live page")

_INDEX = {
    "GET": _PAGE,
    "HEAD": _head(_PAGE, "probePage", "The headers of the live page"),
    "OPTIONS": _probe("page", "/"),
}

_PAGE_FILE = _file("pageFile", "A file of the live page", "File")

_FILES = {
    "GET": _PAGE_FILE,
    "HEAD": _head(_PAGE_FILE, "probePageFile", "The headers of a file of the live page"),
}

OPERATIONS: dict[str, dict[str, Operation]] = {
    "/events": _EVENTS,
    "/tickets": _TICKETS,
    "/streams": _STREAMS,
    "/revocations": _REVOCATIONS,
    "/health": _HEALTH,
    "/metrics": _METRICS,
    "/openapi.json": _DOCUMENT,
    "/": _INDEX,
    "/page/{file}": _FILES,
}
"""The operations by path and method."""
