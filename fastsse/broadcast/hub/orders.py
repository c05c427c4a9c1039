"""Orders: what one hub tells every hub of its log, as entries of a topic that nobody else can name.

    end       the streams of a subject or of topics end
    revoke    a token, or all older tokens of a subject, are taken no more, and their streams end

An order walks the road of all entries, so each hub hears it in order and once, and hears after a stall what came
meanwhile. No reader follows the topic and no publisher reaches it, because its name has a control character. The
history keeps no order.

The module knows orders as values and as blocks; it must not know streams, grants or stores.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, cast

from fastsse import InvalidField, decode, encode
from fastsse.broadcast.names import is_text

__all__ = ["Order", "read_order", "write_order"]

_TYPE = "order"
_LONGEST_REASON = 64  # bytes
_LONGEST_NAME = 256  # characters of a subject or of a token's name: as tokens may have them


class Order(NamedTuple):
    """One order.

    Attributes:
        revokes: tokens are taken no more; otherwise streams end, and nothing more.
        subject: whose streams and tokens; None: anybody's.
        topics: the streams that follow one of these; None: whatever they follow. Nothing but an order to end has some.
        token_id: the name of one token (``jti``).
        reason: stands in the event ``expired`` of each stream.
        at: seconds since the epoch.
    """

    revokes: bool
    subject: str | None = None
    topics: tuple[str, ...] | None = None
    token_id: str | None = None
    reason: str = "revoked"
    at: float = 0.0

    def check(self) -> None:
        """Refuse an order that cannot be one.

        Raises:
            InvalidField: ``reason``, ``subject`` or ``jti``.
        """
        reason = self.reason
        if not 0 < len(reason.encode("utf-8", "replace")) <= _LONGEST_REASON or not is_text(reason):
            rule = f"must be 1 to {_LONGEST_REASON} bytes of text without control characters"
            raise InvalidField("reason", reason, rule)
        for field, name in (("subject", self.subject), ("jti", self.token_id)):
            if name is not None and not (0 < len(name) <= _LONGEST_NAME and is_text(name)):
                rule = f"must be 1 to {_LONGEST_NAME} characters without control characters"
                raise InvalidField(field, name, rule)


def write_order(order: Order) -> bytes:
    """Write an order as a block, without an id."""
    return encode(json.dumps(order._asdict(), separators=(",", ":")), event=_TYPE)


def read_order(block: bytes) -> Order | None:
    """Read an order; None for a block that is none, such as one of a later release."""
    try:
        [event] = decode(block)
        found: Any = json.loads(event.data)
        order = _order(cast("dict[str, Any]", found))
        order.check()
    except (ValueError, TypeError, KeyError, InvalidField, RecursionError):
        return None
    return order if event.event == _TYPE else None


def _order(found: dict[str, Any]) -> Order:
    """Make an order of what was read.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or has another type.
    """
    revokes, at, reason, topics = found["revokes"], found["at"], found["reason"], found["topics"]
    subject, token_id = found["subject"], found["token_id"]
    if not isinstance(revokes, bool) or isinstance(at, bool) or not math.isfinite(at):
        raise TypeError("no order")
    if not isinstance(reason, str) or not all(
        isinstance(n, str | None) for n in (subject, token_id)
    ):
        raise TypeError("no order")
    if topics is not None:
        topics = tuple(str(topic) for topic in topics)
    if subject is None and topics is None and token_id is None:
        raise ValueError("an order that names nobody would end everything")
    return Order(revokes, subject, topics, token_id, reason, float(at))
