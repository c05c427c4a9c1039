"""Streams that are ended because their readers may read no longer: by subject, by topic, or both.

The module knows open streams and their subjects; it must not know grants or requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsse import InvalidField
from fastsse.broadcast.hub.rounds import expired
from fastsse.broadcast.hub.subscriber import OVER, Taker
from fastsse.broadcast.names import is_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastsse.broadcast.hub.fanout import Fanout

__all__ = ["end_streams"]

_LONGEST = 64  # bytes of a reason


def end_streams(
    fanout: Fanout, subject: str | None, topics: Collection[str] | None, reason: str
) -> int:
    """End the streams of a subject that follow one of these topics; None stands for any. Return how many there were.

    Raises:
        InvalidField: the reason cannot be one.
    """
    if not 0 < len(reason.encode("utf-8", "replace")) <= _LONGEST or not is_text(reason):
        raise InvalidField(
            "reason", reason, f"must be 1 to {_LONGEST} bytes of text without control characters"
        )
    words = expired(reason)
    wanted = None if topics is None else frozenset(topics)
    found = 0
    for subscriber in tuple(fanout.audiences.members()):
        if isinstance(subscriber, Taker) or subscriber.state in OVER:
            continue
        if subject is not None and fanout.holders.subject_of(subscriber) != subject:
            continue
        if wanted is not None and wanted.isdisjoint(subscriber.audience.topics):
            continue
        fanout.finish(subscriber, "revoked", words)
        found += 1
    return found
