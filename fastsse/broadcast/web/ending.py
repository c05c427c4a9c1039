"""Topics that a request ends: by DELETE, or with ``end=1`` after what it publishes.

    DELETE /events?topic=run/42                  several topics may be named; reason=… is optional
    POST   /events?topic=run/42&end=1            after the event, or after the last one of a posted stream

To end a topic that has ended changes nothing, and is answered as the first time: a client may try again.

The module knows topics and reasons; it must not know routes or bodies.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastsse.broadcast.hub.hub import Hub, HubClosed
from fastsse.broadcast.web.body import append_failed, called_off
from fastsse.broadcast.web.fields import Allow, no_topic
from fastsse.broadcast.web.forms import decode_text, parse_pairs
from fastsse.broadcast.web.problems import Problem

__all__ = ["end_by_query", "end_each"]

_KNOWN = ("topic", "reason")
_SPARE = 8  # fields beyond the most topics, so that a good query is never cut
_LONGEST_REASON = 64  # bytes


async def end_by_query(hub: Hub, query: bytes, allow: Allow) -> dict[str, object]:
    """End the topics that a query names.

    Args:
        allow: asked for the topics before one of them is ended.

    Returns:
        The answer: ``topics``, and ``ends``, the ids of their ends.

    Raises:
        Problem: 400 or 503.
        InvalidField: a topic or a reason that cannot be one.
    """
    knobs = hub.settings

    def fits(name: str, size: int) -> None:
        if name not in _KNOWN:
            raise Problem.of_field("field", name, "is no field of DELETE; known are topic, reason")
        most = knobs.max_topic_length if name == "topic" else _LONGEST_REASON
        if size > most:
            raise Problem.of_size(name, size, most, status=400)

    names: list[str] = []
    reasons: list[str] = []
    for name, value in parse_pairs(
        query, "query", most=knobs.topics_per_publish + _SPARE, fits=fits
    ):
        (names if name == "topic" else reasons).append(decode_text(name, value))
    if not names:
        raise no_topic()
    if len(reasons) > 1:
        raise Problem.of_field("reason", reasons[1], "must be given once")
    topics = hub.check_topics(names, knobs.topics_per_publish)
    await allow("end", topics)
    return {"topics": topics, "ends": await end_each(hub, topics, reasons[0] if reasons else None)}


async def end_each(hub: Hub, topics: Iterable[str], reason: str | None = None) -> list[str]:
    """End topics, one after the other; return the ids of their ends.

    Raises:
        Problem: 503 where the hub is stopping, or its store cannot be reached. The topics before stay ended.
        InvalidField: a reason that cannot be one.
    """
    ids: list[str] = []
    try:
        for topic in topics:
            receipt = await hub.end(topic, reason=reason)
            ids.append(receipt.id)
    except HubClosed:
        raise called_off("draining", hub.settings) from None
    except OSError as error:
        raise append_failed(error, hub.settings) from None
    return ids
