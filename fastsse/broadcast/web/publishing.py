"""A POST's body becomes what to publish: a form, raw data, or an event stream.

    application/x-www-form-urlencoded,      fields topic (one or more), data, event, retry; all but data may
    multipart/form-data                     stand in the query instead, none in both; retry if the settings allow it;
                                            with end=1 the topics end after what is published
    text/event-stream                       ?topic=…; each event is published as it arrives, see `posted`
    anything else, or nothing               ?topic=…&event=…&retry=…; the body is the data

With the header Idempotency-Key, see `keys`, a request can be sent again without publishing twice.

All text is UTF-8, and nothing is repaired. One event is published whole or not at all.

The module knows bodies and the hub; it must not know routes, or who may publish.
"""

from __future__ import annotations

from fastsse.asgi import Scope
from fastsse.broadcast.hub.drafts import MAX_BESIDE
from fastsse.broadcast.hub.hub import Hub, HubClosed, Receipt
from fastsse.broadcast.web.bodies import Bodies
from fastsse.broadcast.web.body import Body, append_failed, called_off
from fastsse.broadcast.web.ending import end_each
from fastsse.broadcast.web.fields import (
    Allow,
    Charge,
    Fields,
    Rules,
    allow_all,
    free,
    no_topic,
)
from fastsse.broadcast.web.forms import (
    parse_content_type,
    parse_form,
    parse_multipart,
    parse_pairs,
)
from fastsse.broadcast.web.headers import header_once
from fastsse.broadcast.web.keys import read_key
from fastsse.broadcast.web.posted import publish_stream
from fastsse.broadcast.web.problems import Problem

__all__ = ["publish"]

_FORM = b"application/x-www-form-urlencoded"
_MULTIPART = b"multipart/form-data"
_STREAM = b"text/event-stream"

_PART = 200  # bytes of the header lines of one part of a multipart form
_LONGEST_CODING = 1024  # bytes of Content-Encoding that are looked at
_RETRY_RULE = (
    "readers' reconnection time is the server's to set; --retry-from-publishers or "
    "FASTSSE_RETRY_FROM_PUBLISHERS=1 lets publishers do so"
)


async def publish(
    hub: Hub, scope: Scope, body: Body, bodies: Bodies, allow: Allow, charge: Charge = free
) -> dict[str, object]:
    """Publish what a POST carries.

    Args:
        bodies: all bodies that are being read; one that is a lot of work waits for its turn there.
        allow: asked for the verbs and topics before anything is published.
        charge: told what is about to be published: an event's data and type, or a part of an event stream.

    Returns:
        The answer: ``id``, ``topics``, ``subscribers``, with a key also ``key``, with ``end`` also ``ends``, the ids of
        the ends; for an event stream what `publish_stream` returns.

    Raises:
        Problem: 400, 403, 408, 413, 415, 429 or 503; field, value and rule are named in it.
        InvalidField: a value that the hub refuses; `KeyReused` for a key that belongs to another event.
    """
    _check_coding(header_once(scope, b"content-encoding"))
    kind, parameters = parse_content_type(header_once(scope, b"content-type"))
    key = read_key(scope, hub.stats)
    rules = Rules(hub.settings, hub.stats)
    query = parse_pairs(scope["query_string"], "query", most=rules.most, fits=rules.query)
    fields = Fields(query)
    if kind == _STREAM:
        return await publish_stream(hub, fields, body, bodies, allow, key, charge)
    name = None if key is None else key.of_one()
    await allow_all(allow, fields)
    if kind in (_FORM, _MULTIPART):
        raw = await _read(hub, body, _longest_form(hub))
        fields.merge(await _read_form(raw, kind, parameters, rules, bodies))
        await allow_all(allow, fields)
    else:
        raw = await _read(hub, body, hub.settings.max_event_size)
        fields.data = raw if body.given else None
    async with bodies.turn(len(fields.data or b"")):
        receipt = await _publish_one(hub, fields, name, charge)
    answer: dict[str, object] = {
        "id": receipt.id,
        "topics": receipt.topics,
        "subscribers": receipt.subscribers,
    }
    if name is not None:
        answer["key"] = name
    return answer | {"ends": await end_each(hub, receipt.topics)} if fields.end else answer


def _check_coding(coding: bytes | None) -> None:
    if coding is None or (len(coding) <= _LONGEST_CODING and coding.strip().lower() == b"identity"):
        return
    raise Problem.of_field("content-encoding", coding, "must be identity", status=415)


def _longest_form(hub: Hub) -> int:
    """Return how many bytes the largest event and the most topics take in a form that escapes every byte."""
    knobs = hub.settings
    topics = knobs.topics_per_publish * (knobs.max_topic_length + _PART)
    return 3 * (knobs.max_event_size + topics) + MAX_BESIDE


async def _read(hub: Hub, body: Body, limit: int) -> bytes:
    """Read a form's or a raw body; events that are published meanwhile wait a moment, to leave in one send with it."""
    with hub.gathering():
        return await body.read(limit)


async def _read_form(
    raw: bytes, kind: bytes, parameters: dict[bytes, bytes], rules: Rules, bodies: Bodies
) -> Fields:
    if kind == _FORM:
        pairs = await parse_form(raw, most=rules.most, fits=rules.form, turns=bodies.turn)
    else:
        pairs = await parse_multipart(
            raw, parameters, most=rules.most, fits=rules.form, turns=bodies.turn
        )
    return Fields(pairs)


async def _publish_one(hub: Hub, fields: Fields, key: str | None, charge: Charge) -> Receipt:
    if not fields.topics:
        raise no_topic()
    if fields.data is None:
        raise Problem.of_field("data", None, "must be given: a form field, or the body")
    if fields.retry is not None and not hub.settings.retry_from_publishers:
        hub.stats.events_refused["retry"] += 1
        raise Problem.of_field("retry", fields.retry, _RETRY_RULE, status=403)
    charge(fields.topics, len(fields.data) + len((fields.event or "").encode()), 1)
    try:
        return await hub.publish(
            fields.topics, fields.data, event=fields.event, retry=fields.retry, key=key
        )
    except HubClosed:
        raise called_off("draining", hub.settings) from None
    except OSError as error:
        raise append_failed(error, hub.settings) from None
