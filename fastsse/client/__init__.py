"""A client that comes back as the HTML standard says: `EventSource` for threads, `AsyncEventSource` for tasks.

Both read an event stream over as many connections as needed: after the server's reconnection time, with back-off
after failures, with the last event ID, until the server answers 204. They use the HTTP library that you have: httpx2,
httpx, aiohttp, requests, or the standard library. No library is imported before a source needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastsse.client._base import DEFAULT_IDLE_TIMEOUT
from fastsse.client._sync import EventSource
from fastsse.client.errors import (
    BadContentType,
    BadData,
    BadRedirect,
    BadStatus,
    BudgetSpent,
    CertificateError,
    ClientError,
    IdleTimeout,
    NetworkError,
    OutOfTime,
    ResponseError,
    StreamEnded,
    TooManyRetries,
    WaitTooLong,
)
from fastsse.client.messages import Headers, Request, Response
from fastsse.client.policy import RETRY_STATUS
from fastsse.client.transports import Answer, AsyncAnswer, AsyncTransport, Transport

if TYPE_CHECKING:
    from fastsse.client._async import AsyncEventSource

__all__ = [
    "DEFAULT_IDLE_TIMEOUT",
    "RETRY_STATUS",
    "Answer",
    "AsyncAnswer",
    "AsyncEventSource",
    "AsyncTransport",
    "BadContentType",
    "BadData",
    "BadRedirect",
    "BadStatus",
    "BudgetSpent",
    "CertificateError",
    "ClientError",
    "EventSource",
    "Headers",
    "IdleTimeout",
    "NetworkError",
    "OutOfTime",
    "Request",
    "Response",
    "ResponseError",
    "StreamEnded",
    "TooManyRetries",
    "Transport",
    "WaitTooLong",
]


def __getattr__(name: str) -> Any:
    """Import `AsyncEventSource` when it is first asked for: programs without asyncio start sooner."""
    if name != "AsyncEventSource":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastsse.client._async import AsyncEventSource

    globals()[name] = AsyncEventSource
    return AsyncEventSource


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
