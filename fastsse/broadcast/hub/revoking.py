"""Orders carried out: streams end whose readers may read no longer, and what is revoked is remembered.

    obey      an order that the log has brought
    recall    what was revoked before the hub has started, and lies further back than it looks otherwise

The module knows open streams and whose they are; it must not know grants or requests.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from fastsse.broadcast.hub.orders import read_order
from fastsse.broadcast.hub.rounds import expired
from fastsse.broadcast.hub.subscriber import OVER, Taker
from fastsse.broadcast.names import ORDERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastsse.broadcast.hub.fanout import Fanout
    from fastsse.broadcast.hub.orders import Order
    from fastsse.broadcast.hub.revoked import Revoked
    from fastsse.broadcast.stores import Archive, Log

__all__ = ["carry_out", "end_streams", "obey", "recall"]

_PAGE = 2**16  # bytes of orders that are read at once
_AGAIN = 1.0  # seconds until a store that could not be read is asked again

_log = logging.getLogger("fastsse.broadcast")


def carry_out(fanout: Fanout, revoked: Revoked, order: Order) -> int:
    """Do what an order says; return how many streams end here."""
    if order.revokes:
        revoked.add(order)
    return end_streams(fanout, order)


def obey(fanout: Fanout, revoked: Revoked, block: bytes) -> None:
    """Do what an entry of the topic of orders says; of one that cannot be read, tell the operator."""
    order = read_order(block)
    if order is None:
        _log.warning("an order of another hub cannot be read, and is not carried out")
    else:
        carry_out(fanout, revoked, order)


async def recall(fanout: Fanout, revoked: Revoked, store: Archive, log: Log) -> None:
    """Read all orders to revoke that the log has, and carry them out; those to end streams concern the past alone."""
    after, before = log.floor, log.head + 1
    while after < log.head:
        try:
            page = await store.read((ORDERS,), after, before, _PAGE)
        except OSError:
            await asyncio.sleep(_AGAIN)
            continue
        if page.epoch != log.epoch:
            return
        for entry in page.entries:
            order = read_order(entry.block)
            if order is not None and order.revokes:
                carry_out(fanout, revoked, order)
        after = page.end


def end_streams(fanout: Fanout, order: Order) -> int:
    """End the streams that an order means, open ones and those that are about to begin. Return how many there were."""

    def concerns(subject: str | None, token_id: str | None, topics: Iterable[str]) -> bool:
        if order.subject is not None and subject != order.subject:
            return False
        if order.token_id is not None and token_id != order.token_id:
            return False
        return wanted is None or not wanted.isdisjoint(topics)

    words = expired(order.reason)
    wanted = None if order.topics is None else frozenset(order.topics)
    holders = fanout.holders
    found = holders.end_waiting(lambda it: concerns(it.subject, it.token_id, it.topics))
    for subscriber in tuple(fanout.audiences.members()):
        if isinstance(subscriber, Taker) or subscriber.state in OVER:
            continue
        whose = holders.subject_of(subscriber), holders.token_id_of(subscriber)
        if concerns(*whose, subscriber.audience.topics):
            fanout.finish(subscriber, "revoked", words)
            found += 1
    return found
