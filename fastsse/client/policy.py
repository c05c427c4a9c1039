"""When a stream comes again, and its limits: one immutable value.

The module knows numbers and their units; it must not know what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastsse import DEFAULT_MAX_EVENT_SIZE

__all__ = ["RETRY_STATUS", "Policy"]

RETRY_STATUS = (429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Policy:
    """When to come again, and the limits.

    Attributes:
        reconnection_time: seconds, until the server says otherwise.
        max_delay: seconds, the cap of the back-off.
        max_wait: seconds; a server that asks for more ends the stream. None for no limit.
        max_retries: how often in a row to come again without an event; 0 for never, None for no limit.
        max_time: seconds from the first request to the end of all; None for no limit.
        max_redirects: how many redirects in a row to follow.
        max_event_size: bytes, an option of `fastsse.Decoder`.
        retry_status: statuses after which to come again; ``()`` is the standard to the letter.
        refreshes: True when a hook can make new credentials after an answer of 401.
    """

    reconnection_time: float = 3.0
    max_delay: float = 30.0
    max_wait: float | None = 3600.0
    max_retries: int | None = None
    max_time: float | None = None
    max_redirects: int = 20
    max_event_size: int | None = DEFAULT_MAX_EVENT_SIZE
    retry_status: frozenset[int] = frozenset(RETRY_STATUS)
    refreshes: bool = False
