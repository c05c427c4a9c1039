"""The package of aiohttp-sse-client; all its names are in `client`."""

from __future__ import annotations

__all__: list[str] = []

__version__ = "0.2.1"  # whose names these are
