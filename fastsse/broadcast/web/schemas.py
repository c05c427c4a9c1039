"""Requests and answers in their parts: the schemas, parameters and bodies of the OpenAPI document.

Bounds are those of the settings. A bound in bytes of UTF-8 stands as a number of characters, of which no text within
the bound has more; the description says that bytes count.

The module knows names, values and bounds; it must not know routes or statuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastsse.broadcast.hub.drafts import MAX_EVENT_TYPE, MAX_KEY, MAX_RETRY
from fastsse.broadcast.hub.runs import REASONS

if TYPE_CHECKING:
    from fastsse.broadcast.settings import Settings

__all__ = ["Json", "bodies", "parameters", "reference", "schemas"]

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_IDS: Json = {"type": "array", "items": _TEXT}
_NAME = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
_LONGEST_REASON = 64  # bytes


def reference(kind: str, name: str) -> Json:
    """Make a reference to a component of the document, such as ``schemas`` and ``Topic``."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schemas(settings: Settings) -> Json:
    """Make the schemas: values of fields, and whole answers."""
    return _values(settings) | {
        "Problem": _PROBLEM,
        "Published": _PUBLISHED,
        "PublishedStream": _PUBLISHED_STREAM,
        "Ended": _answer("what ended", topics=_IDS, ends=_IDS),
        "EndedStreams": _answer("how many streams ended", ended=_COUNT),
        "Ticket": _answer(
            "a ticket, good once", ticket=_TEXT, seconds={"type": "number"}, topics=_IDS
        ),
        "Health": _HEALTH,
    }


def parameters(settings: Settings) -> Json:
    """Make the parameters, by the names that operations call them."""
    topic, field = reference("schemas", "Topic"), _query
    followed = _topics(topic, settings.topics_per_stream, "a topic that is there twice counts once")
    published = _topics(topic, settings.topics_per_publish)
    flag = reference("schemas", "Flag")
    return {
        "Followed": field("topic", "topics that the stream follows", followed, required=True),
        "Published": field(
            "topic", "topics of the event; in a form they may stand there", published
        ),
        "Ending": field("topic", "topics that end", published, required=True),
        "StreamsOf": field("topic", "topics whose streams end", published),
        "Subject": field("subject", "the subject whose streams end", _TEXT),
        "RevokedSubject": field("subject", "the subject whose tokens are revoked", _TEXT),
        "RevokedToken": field("jti", "the name of the token that is revoked", _TEXT),
        "Labels": field("labels", "1: a comment in each block names its topics", flag),
        "LastIdInQuery": field("last_event_id", _LAST_ID, _TEXT),
        "Type": field("event", "type of the event", reference("schemas", "Type")),
        "Retry": field("retry", _RETRY, reference("schemas", "Retry")),
        "End": field("end", "1: the topics end after what is published", flag),
        "EndReason": field("reason", "why the topics end", {"enum": list(REASONS)}),
        "StreamReason": field("reason", "why the streams end", _REASON),
        "LastEventId": _header("Last-Event-ID", f"{_LAST_ID}; goes before the query"),
        "IdempotencyKey": _header("Idempotency-Key", _KEY, {"type": "string", "minLength": 1}),
        "File": {
            "name": "file",
            "in": "path",
            "required": True,
            "description": "a file of the page, such as page.css; it may have slashes",
            "schema": _TEXT,
        },
    }


def bodies(settings: Settings) -> Json:
    """Make the body of a publish, of every kind that has a meaning of its own."""
    form = {
        "schema": {
            "type": "object",
            "required": ["data"],
            "additionalProperties": False,
            "properties": {
                "topic": _topics(reference("schemas", "Topic"), settings.topics_per_publish),
                "data": {"type": "string", "maxLength": settings.max_event_size},
                "event": reference("schemas", "Type"),
                "retry": reference("schemas", "Retry"),
                "end": reference("schemas", "Flag"),
            },
        }
    }
    raw = {"schema": {"type": "string", "maxLength": settings.max_event_size}}
    return {
        "Publish": {
            "description": (
                "A form has the fields of one event. An event stream is published event by event as it arrives. A body "
                "of any other type is the data of one event, in UTF-8."
            ),
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": form,
                "multipart/form-data": form,
                "text/event-stream": {"schema": _TEXT},
                "text/plain": raw,
                "application/json": {"schema": {}},
                "application/octet-stream": raw,
            },
        }
    }


def _values(settings: Settings) -> Json:
    longest = settings.max_topic_length
    return {
        "Topic": {
            "type": "string",
            "description": (
                f"1 to {longest} bytes of UTF-8, without control characters and line separators"
            ),
            "minLength": 1,
            "maxLength": longest,
            "pattern": _NAME,
            "examples": ["news"],
        },
        "Type": {
            "type": "string",
            "description": f"at most {MAX_EVENT_TYPE} bytes of UTF-8 in one line; empty: the default type",
            "maxLength": MAX_EVENT_TYPE,
            "pattern": r"^[^\u0000\n\r]*$",
        },
        "Retry": {"type": "integer", "minimum": 0, "maximum": MAX_RETRY},
        "Flag": {"type": "string", "enum": ["0", "1"]},
    }


def _topics(topic: Json, most: int, words: str = "") -> Json:
    made: Json = {"type": "array", "items": topic, "minItems": 1, "maxItems": most}
    return made | {"description": words} if words else made


def _query(name: str, words: str, schema: Json, *, required: bool = False) -> Json:
    found = {"name": name, "in": "query", "description": words, "schema": schema}
    return found | {"required": True} if required else found


def _header(name: str, words: str, schema: Json = _TEXT) -> Json:
    return {"name": name, "in": "header", "description": words, "schema": schema}


def _answer(words: str, **members: Json) -> Json:
    return {
        "type": "object",
        "description": words,
        "required": list(members),
        "properties": members,
        "additionalProperties": False,
    }


_LAST_ID = "the last event ID that the reader has, after which the stream goes on; earliest: all that is kept"
_RETRY = (
    "reconnection time for readers, in milliseconds; where publishers may set it, otherwise 403"
)
_KEY = (
    f"a string of RFC 9651 in double quotes, of 1 to {MAX_KEY} printable ASCII characters, by which a request can be "
    "sent again and is published once; ;first=N numbers the events of an event stream"
)
_REASON: Json = {"type": "string", "minLength": 1, "maxLength": _LONGEST_REASON, "pattern": _NAME}

_PROBLEM: Json = {
    "type": "object",
    "description": "problem details (RFC 9457)",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": _TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "what is wrong, and what to do"},
        "field": {"type": "string", "description": "the field, parameter or header at fault"},
        "value": {
            "type": ["string", "number", "null"],
            "description": "what was given, shortened",
        },
        "rule": {"type": "string", "description": "what is allowed"},
        "ids": {**_IDS, "description": "of a posted stream that broke: as in its answer"},
        "count": {**_COUNT, "description": "events of the stream that stay published"},
        "topics": _IDS,
        "subscribers": _COUNT,
        "key": _TEXT,
        "broke_at": {
            "type": "object",
            "description": "where the stream broke",
            "required": ["event"],
            "properties": {"event": _COUNT, "byte": _COUNT},
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}

_PUBLISHED: Json = _answer("one event was published", id=_TEXT, topics=_IDS, subscribers=_COUNT)
_PUBLISHED["properties"] |= {"key": _TEXT, "ends": _IDS}

_PUBLISHED_STREAM: Json = _answer(
    "an event stream was published",
    ids={**_IDS, "maxItems": 2, "description": "of the first and the last event"},
    count=_COUNT,
    topics=_IDS,
    subscribers=_COUNT,
    unfinished={
        "type": "boolean",
        "description": "the body ended within an event, which was not published",
    },
)
_PUBLISHED_STREAM["properties"] |= {"key": _TEXT, "ends": _IDS}

_HEALTH: Json = {
    "type": "object",
    "description": "whether the hub takes readers; for operators, all of its numbers as well",
    "required": ["status"],
    "properties": {"status": {"enum": ["ok", "draining", "stalled", "not started"]}},
}
