"""The running event loop, for everything that needs asyncio, and a plain word where another library runs.

The module knows asyncio; it must not know streams, responses or hubs.
"""

from __future__ import annotations

import asyncio

__all__ = ["require_asyncio"]


def require_asyncio(name: str) -> asyncio.AbstractEventLoop:
    """Return the running event loop of asyncio.

    Args:
        name: what needs it, for the message.

    Raises:
        RuntimeError: no loop of asyncio is running here, for example because trio runs.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            f"{name} needs asyncio, and no loop of asyncio is running here. Under trio these work: the codec,"
            " aiter_events, aiter_json, aiter_blocks(items, heartbeat=None) and fastsse.client"
        ) from None
