"""The transports over httpx2: those over httpx, with the other library.

The module knows the library's name; it must not know more.
"""

from __future__ import annotations

from fastsse.client._httpx import AsyncHttpxTransport, HttpxTransport

__all__ = ["AsyncHttpx2Transport", "Httpx2Transport"]


class Httpx2Transport(HttpxTransport):
    """Makes requests by a ``Client`` of httpx2."""

    name = "httpx2"


class AsyncHttpx2Transport(AsyncHttpxTransport):
    """Makes requests by an ``AsyncClient`` of httpx2, on asyncio or trio."""

    name = "httpx2"
