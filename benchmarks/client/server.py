"""The server of the measurement: blocks of ours under granian, on one processor that no reader uses.

``/100/60000`` answers with 60,000 events, 100 in each message, that is in each chunk. Run as
``python -m benchmarks.client.server PORT``.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from fastsse import encode_json

__all__ = ["EVENT", "application", "main"]

DATA = {"id": "chatcmpl-1", "object": "chunk", "choices": [{"delta": {"content": " hello"}}]}
EVENT = encode_json(DATA, event="token", id="12345")


_HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


async def application(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
    """Answer a request whose path says how many events there are, and how many in each chunk.

    Each message is sent by the server's own `send`. Our response would join what is there at once, to 64 KiB.
    """
    if scope["type"] != "http":
        return
    _, size, count = scope["path"].split("/")
    block = EVENT * int(size)
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    for _ in range(int(count) // int(size)):
        await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _load(*_: Any) -> Any:
    return application


def main(port: int) -> None:
    """Serve until the process is ended."""
    server = Granian(
        "benchmarks.client.server",
        "127.0.0.1",
        port,
        interface=Interfaces.ASGINL,
        log_level=LogLevels.warning,
        log_access=False,
    )
    server.serve(target_loader=partial(_load), wrap_loader=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))
