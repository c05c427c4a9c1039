"""How long to wait before the next request.

    after an event        the reconnection time, exactly
    n failures in a row   at random between the reconnection time and its 2^(n-1)-fold, which `max_delay` caps
    Retry-After           never less than the server asks for by it

The reconnection time is the server's: the last ``retry`` field, otherwise the caller's. The cap never makes a wait
shorter than that. The random part spreads clients that lost their server in one moment ("full jitter").

The module knows seconds and header fields; it must not know why a wait is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from fastsse.client.messages import Headers

__all__ = ["back_off", "retry_after"]

_UNIT_OF_NONE = (
    0.01  # s, for `retry: 0`: such a stream comes again at once, and yet backs off in a row
)
_MOST_DOUBLINGS = 32
_SECONDS = re.compile(r"[0-9]+")
_MOST_DIGITS = 15


def back_off(
    reconnection_time: float, failures: int, max_delay: float, random: Callable[[], float]
) -> float:
    """Return the wait in seconds after `failures` attempts in a row without an event.

    Args:
        reconnection_time: seconds that the server, or the caller, asks for.
        failures: 1 or less for the first wait after an event.
        max_delay: seconds; a longer reconnection time counts nevertheless.
        random: gives a number from 0 up to 1.
    """
    doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
    if not doublings:
        return reconnection_time
    longest = min((reconnection_time or _UNIT_OF_NONE) * 2.0**doublings, max_delay)
    return reconnection_time + random() * max(longest - reconnection_time, 0.0)


def retry_after(headers: Headers, now: Callable[[], float]) -> float:
    """Read ``Retry-After`` in seconds, given as such or as a date (RFC 9110, 10.2.3); 0.0 when there is none.

    A date is compared with the ``Date`` of the same answer, so that clocks may differ.

    Args:
        headers: of the answer.
        now: gives the time in seconds since 1970, for an answer without a ``Date``.
    """
    given = headers.get("retry-after", "")
    if _SECONDS.fullmatch(given):
        digits = given.lstrip("0") or "0"
        return float(digits) if len(digits) <= _MOST_DIGITS else float(10**_MOST_DIGITS)
    until = _timestamp(given)
    if until is None:
        return 0.0
    since = _timestamp(headers.get("date", ""))
    return max(until - (now() if since is None else since), 0.0)


def _timestamp(date: str) -> float | None:
    if not date:
        return None
    try:
        parsed = parsedate_to_datetime(date)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
