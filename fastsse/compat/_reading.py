"""A body read chunk by chunk for libraries whose events tell the reconnection time.

A server sends ``retry`` in a block of its own, as a rule, which is no event. These libraries have no other place for
the value than an event, so the next event that is given tells it.

The module knows the decoder; it must not know a library.
"""

from __future__ import annotations

from fastsse import Decoder, Event, EventTooLarge

__all__ = ["Reading"]


class Reading:
    """One body while it is read.

    Args:
        max_event_size: bytes of one event; None for no limit.
    """

    def __init__(self, max_event_size: int | None) -> None:
        self._decoder = Decoder(max_event_size=max_event_size)
        self._known: int | None = None  # the reconnection time that was seen last
        self._untold: int | None = None  # one that came without an event

    def read(self, chunk: bytes) -> tuple[list[tuple[Event, int | None]], EventTooLarge | None]:
        """Decode a chunk.

        Returns:
            Each event with the reconnection time that it tells, in milliseconds; and the error that comes after them.
        """
        failure = None
        try:
            events = self._decoder.feed(chunk)
        except EventTooLarge as error:
            events, failure = error.events, error
        retry = self._decoder.retry
        if retry != self._known:
            self._known = retry
            self._untold = None if any(one.retry == retry for one in events) else retry
        return [(one, self._retry_of(one)) for one in events], failure

    def _retry_of(self, event: Event) -> int | None:
        if event.retry is not None:
            return event.retry
        untold, self._untold = self._untold, None
        return untold
