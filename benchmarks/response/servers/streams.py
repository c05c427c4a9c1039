"""The streams that every contender serves, and the way to ask how many are open.

/tokens     one item each `DELAY` seconds
/firehose   items that are never waited for, for `FIREHOSE` seconds: a loop that never waits hears nothing else
/idle       one item, then silence
/health     how many streams are open
/end        ends the streams of tokens at their next item, because not every sender hears that its client has gone
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

__all__ = [
    "AT_ONCE",
    "BLOCK",
    "DELAY",
    "FIREHOSE",
    "PATHS",
    "TOKEN",
    "counted",
    "ends",
    "firehose",
    "idle",
    "served",
    "tokens",
]

RATE = 40  # tokens a second, about what a fast model gives
DELAY = 1 / RATE  # s
FIREHOSE = 1.0  # s
AT_ONCE = 64  # items between two looks at the clock
TOKEN = (
    '{"id":"chatcmpl-9xK2","object":"chat.completion.chunk","created":1732900000,'
    '"choices":[{"index":0,"delta":{"content":" token"}}]}'
)
BLOCK = f"data: {TOKEN}\n\n".encode()  # the event as bytes, made before

_open = 0  # streams
ends = [0]  # how often streams of tokens were ended


@contextlib.contextmanager
def counted() -> Iterator[None]:
    """Count an open stream."""
    global _open
    _open += 1
    try:
        yield
    finally:
        _open -= 1


async def tokens(item: Any) -> AsyncGenerator[Any]:
    """Yield items at the pace of a model."""
    with counted():
        begun = ends[0]
        while ends[0] == begun:
            await asyncio.sleep(DELAY)
            yield item


async def firehose(item: Any) -> AsyncGenerator[Any]:
    """Yield items without ever waiting."""
    with counted():
        end = time.monotonic() + FIREHOSE
        while time.monotonic() < end:
            for _ in range(AT_ONCE):
                yield item


async def idle(item: Any) -> AsyncGenerator[Any]:
    """Yield one item, then wait for ever."""
    with counted():
        yield item
        await asyncio.Event().wait()


PATHS: dict[str, Callable[[Any], AsyncGenerator[Any]]] = {
    "/tokens": tokens,
    "/firehose": firehose,
    "/idle": idle,
}


def served(app: Any) -> Any:
    """Wrap an application: two paths are answered here, all else by the application, with the server's own `send`."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] in ("/health", "/end"):
            ends[0] += scope["path"] == "/end"
            await _tell(send)
        else:
            await app(scope, receive, send)

    return answer


async def _tell(send: Any) -> None:
    body = json.dumps({"streams": _open}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
