"""Readers who may read no longer: the part of a hub that ends their streams, here and in every hub of its log.

The module knows orders and the store; it must not know grants or requests.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastsse.broadcast.hub.groups import GroupPublisher
from fastsse.broadcast.hub.orders import Order, write_order
from fastsse.broadcast.hub.revoking import carry_out
from fastsse.broadcast.names import ORDERS
from fastsse.broadcast.stores import Draft
from fastsse.errors import FastSSEError

if TYPE_CHECKING:
    from fastsse.broadcast.hub.fanout import Fanout

__all__ = ["Revoker", "TooManyRevoked"]


class TooManyRevoked(FastSSEError, RuntimeError):
    """The hub remembers as many revoked tokens and subjects as it may; nothing was revoked."""


class Revoker(GroupPublisher):
    """The part of a `Hub` that ends streams and revokes tokens. Arguments and attributes as there."""

    async def end_streams(
        self,
        subject: str | None = None,
        topics: Iterable[str] | None = None,
        *,
        reason: str = "revoked",
    ) -> int:
        """End open streams whose readers may read no longer, each with an event ``expired``.

        Other hubs of a shared store hear it by the log, and end theirs. The readers may come back at once with a token
        that is good: see `revoke`. Subscriptions of this process go on.

        Args:
            subject: of the streams that are ended; None: any, or none.
            topics: the streams that follow one of these are ended; None: whatever they follow.
            reason: stands in the event; a word of 1 to 64 bytes.

        Returns:
            How many streams are ended in this process.

        Raises:
            InvalidField: the reason, the subject or a topic cannot be one.
            OSError: the streams of this process are ended, and other processes could not be told.
            HubClosed, RuntimeError: the hub is stopping, or not started here.
            TypeError: neither a subject nor topics are given.
        """
        if subject is None and topics is None:
            raise TypeError("end_streams needs a subject or topics")
        most = self.settings.topics_per_publish
        names = None if topics is None else self.check_topics(topics, most)
        order = Order(False, subject, names, None, reason, time.time())
        fanout = self._require_here()
        order.check()
        found = carry_out(fanout, self.revoked, order)
        if fanout.shared:
            await self._tell(fanout, order)
        return found

    async def revoke(
        self, *, subject: str | None = None, jti: str | None = None, reason: str = "revoked"
    ) -> int:
        """Take a token no more, or any token of a subject that was issued up to now, and end their streams.

        The hub remembers that for `Settings.revoked_seconds`, and for at most 100,000 tokens and subjects. Other hubs
        of a shared store hear it by the log. A store that keeps the log tells it to hubs that start later, as long as
        the entry is kept; with the memory store, nothing is known after a restart.

        Args:
            subject: whose tokens (``sub``). Tokens with a later ``iat`` are good; one without ``iat`` counts as older.
            jti: the name of one token.
            reason: stands in the event ``expired``; a word of 1 to 64 bytes.

        Returns:
            How many streams are ended in this process.

        Raises:
            InvalidField: the subject, the ``jti`` or the reason cannot be one.
            TooManyRevoked: the list is full.
            OSError: this process takes the tokens no more, and the log could not be told.
            HubClosed, RuntimeError: the hub is stopping, or not started here.
            TypeError: not exactly one of `subject` and `jti` is given.
        """
        if (subject is None) == (jti is None):
            raise TypeError("revoke needs a subject or a jti, and not both")
        order = Order(True, subject, None, jti, reason, time.time())
        fanout = self._require_here()
        order.check()
        if not self.revoked.has_room():
            raise TooManyRevoked("too many tokens and subjects are revoked: nothing was revoked")
        found = carry_out(fanout, self.revoked, order)
        if fanout.shared or fanout.archivist is not None:
            await self._tell(fanout, order)
        return found

    async def _tell(self, fanout: Fanout, order: Order) -> None:
        """Append an order to the log; this hub has carried it out, and may do so again when it is reported."""
        fanout.appending += 1
        try:
            await self._store.append(Draft((ORDERS,), write_order(order)))
        except OSError as error:
            self._note_failure(error)
            raise
        finally:
            fanout.appending -= 1
            if not fanout.open:
                fanout.change()
