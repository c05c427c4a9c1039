"""The terms that a reader asks for: which topics, from where on, with labels or not.

Reading is lenient where publishing is strict. Libraries, proxies and pages add fields to a reader's URL, and an
EventSource that is answered 400 never comes back. So fields that mean nothing here are left alone, whatever bytes they
are made of. The fields that mean something are checked.

Topics are counted after the whole query has been read, so that other fields cannot use up their number.

The module knows the query, and which header goes before it; it must not know who may read, or how terms are kept.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from fastsse.asgi import Scope, names_last_event_id
from fastsse.broadcast.hub.terms import Terms
from fastsse.broadcast.names import check_names
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.web import forms
from fastsse.broadcast.web.problems import Problem
from fastsse.errors import InvalidField

__all__ = ["SHOWN_ID", "read_id", "read_terms", "terms_of_request"]

SHOWN_ID = (
    257  # characters of a last event ID that are looked at; an id has fewer, and a gap shows 256
)

_KINDS = {b"topic": "topic", b"labels": "labels", b"last_event_id": "id", b"lastEventId": "id"}
_ID_BYTES = 4 * SHOWN_ID
_LONGEST_NAME = 64  # bytes of a field's name as it is sent; no name of ours is longer
_SHORTEST_NAME = 5  # bytes: "topic"; escapes make a name longer
_FIRST = b"lLeE-_"  # what the name of a last event ID begins with, unless it is escaped
_FIELDS = 8192  # fields beside topics: to read one takes a microsecond
_SPELLINGS = 2  # ways to escape one name, as far as one stream's topics are counted
_BESIDE = 8  # bytes of a query beside a topic's name: "&topic="
_ELSEWHERE = 16_384  # bytes of a query for other fields, beside the most topics


def read_terms(query: bytes, settings: Settings) -> Terms:
    """Read the terms that a query asks for; the rest of the request is added by `terms_of_request`.

    Args:
        query: the query string without the question mark, still escaped.
        settings: `topics_per_stream` and `max_topic_length`, which also bound how long an honest query can be.

    Raises:
        Problem: 400 for a topic that is not UTF-8, broken in its escapes or too long, and for `labels` that are
            neither 1 nor 0, or given twice; 414 for a query that no honest reader needs.
        InvalidField: no topic, more than `topics_per_stream`, or one that cannot be a name.
    """
    _check_length(query, settings)
    topics: dict[bytes, None] = {}
    labels: list[bytes] = []
    last = b""
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        kind = _KINDS.get(name) or _kind(name)
        if kind == "topic":
            topics[value] = None
        elif kind == "labels":
            labels.append(value)
        elif kind == "id":
            last = value or last
    longest, most = settings.max_topic_length, settings.topics_per_stream
    if len(topics) > _SPELLINGS * most:  # counted before each of them costs work
        raise InvalidField("topic", f"{len(topics)} topics", f"at most {most} are allowed")
    names = [_topic(value, longest) for value in topics]
    labelled = _flag("labels", labels)
    last_event_id = read_id(_unquote(last[: 3 * _ID_BYTES])) if last else None
    return Terms(check_names(names, most, longest), last_event_id, labelled)


def terms_of_request(asked: Terms, last_event_id: bytes | None, scope: Scope) -> Terms:
    """Return the terms of a query with the client's address and the header ``Last-Event-ID``.

    The header goes before the query, because a browser sends the header when it reconnects to the same URL: the ID in
    the header is the newer one.
    """
    last = read_id(last_event_id) if last_event_id else asked.last_event_id
    # By place: keywords would double the time that a tuple takes, and every stream comes by here.
    return Terms(asked.topics, last, asked.labels, None, scope.get("client"))


def read_id(value: bytes) -> str:
    """Decode the beginning of a last event ID, so that a long ID costs no more than a short one.

    Bytes that are not UTF-8 make an ID that no event has, so the reader is told of a gap.
    """
    return value[:_ID_BYTES].decode("utf-8", "replace")[:SHOWN_ID]


def _kind(name: bytes) -> str | None:
    """Return what a field of this name holds, by the values of `_KINDS`; None for a field that means nothing here."""
    if not _SHORTEST_NAME <= len(name) <= _LONGEST_NAME:
        return None
    if b"%" not in name and name[0] not in _FIRST:
        return None
    text = _unquote(name).decode("utf-8", "replace")
    return "id" if names_last_event_id(text) else _KINDS.get(text.encode())


def _topic(value: bytes, longest: int) -> str:
    size = len(value) - 2 * value.count(b"%")
    if size > longest:  # checked first, because to undo escapes costs a hundred times more a byte
        raise Problem.of_field("topic", value, f"must be 1 to {longest} bytes of UTF-8")
    if b"%" not in value and b"+" not in value:
        return forms.decode_text("topic", value)
    [(name, raw)] = forms.parse_pairs(b"topic=" + value, "query", most=1)
    return forms.decode_text(name, raw)


def _flag(name: str, values: list[bytes]) -> bool:
    if len(values) > 1:
        raise Problem.of_field(name, values[1], "must be given once")
    if values and values[0] not in (b"0", b"1"):
        raise Problem.of_field(name, values[0], "must be 1 or 0")
    return values == [b"1"]


def _unquote(value: bytes) -> bytes:
    return unquote_to_bytes(value.replace(b"+", b" "))


def _check_length(query: bytes, settings: Settings) -> None:
    size, fields = len(query), 1 + query.count(b"&")
    most = settings.topics_per_stream * 3 * (settings.max_topic_length + _BESIDE) + _ELSEWHERE
    if size > most:
        raise Problem.of_size("query", size, most, status=414)
    if fields > _FIELDS + _SPELLINGS * settings.topics_per_stream:
        rule = f"must have at most {_FIELDS} fields beside its topics"
        raise Problem.of_field("query", query, rule, status=414)
