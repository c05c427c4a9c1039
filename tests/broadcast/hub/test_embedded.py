"""A hub inside another application, under every server, at SIGTERM and SIGINT: streams end whole, and all is gone soon.

The application is `support/embedded.py`; every way to hold a stream is open at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.servers import (
    ROOT,
    Clients,
    serve_granian,
    serve_gunicorn,
    serve_hypercorn,
    serve_uvicorn,
    unchunk,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")

TESTS = Path(__file__).parents[2]
WAYS = ("/response", "/raw", "/items", "/mounted/events?topic=a")
SOON = 2.0  # s


def served_by(serve: Any, module: str, *flags: str, name: str) -> Any:
    return pytest.param((serve, module, flags), id=name)


GRANIAN = served_by(serve_granian, "granian", "--loop", "uvloop", name="granian-uvloop")
UVICORN = served_by(serve_uvicorn, "uvicorn", "--loop", "asyncio", name="uvicorn-asyncio")
GUNICORN = served_by(serve_gunicorn, "gunicorn", name="gunicorn")
QUICK = [GRANIAN, UVICORN]
SERVERS = [
    *QUICK,
    GUNICORN,
    served_by(serve_granian, "granian", "--loop", "asyncio", name="granian-asyncio"),
    served_by(serve_uvicorn, "uvicorn", "--loop", "uvloop", name="uvicorn-uvloop"),
    served_by(serve_hypercorn, "hypercorn", "-k", "asyncio", name="hypercorn-asyncio"),
    served_by(serve_hypercorn, "hypercorn", "-k", "uvloop", name="hypercorn-uvloop"),
]


async def assert_all_ends(server: Any, signum: signal.Signals, around: str = "") -> None:
    """Run it up to three times, because other processes may have the machine just then."""
    seconds = [await ended(server, signum, around)]
    while min(seconds) >= SOON and len(seconds) < 3:
        seconds.append(await ended(server, signum, around))
    assert min(seconds) < SOON, seconds


async def ended(server: tuple[Any, str, Any], signum: signal.Signals, around: str) -> float:
    """Open a stream in every way, send the signal, and check how all of it ends; seconds until the process has."""
    serve, module, flags = server
    pytest.importorskip("fastapi")
    pytest.importorskip(module)
    if "uvloop" in flags:
        pytest.importorskip("uvloop")
    path = f"{ROOT}{os.pathsep}{TESTS}"
    clients = Clients()
    with serve(*flags, app="support.embedded:app", PYTHONPATH=path, EMBEDDED=around) as running:
        streams = [await clients.follow(running, way) for way in WAYS for _ in range(3)]
        start = time.monotonic()

        # As Ctrl-C; its main process sends no SIGINT.
        running.signal(signum, group=module == "gunicorn")
        bodies = [await stream.to_the_end() for stream in streams]
        code = await asyncio.to_thread(running.wait)

        seconds = time.monotonic() - start
        assert running.process.stdout is not None
        said = running.process.stdout.read()
    await clients.close()
    for body in bodies:
        content, complete = unchunk(body)
        assert complete, body
        assert b"shutdown" in content, body
        assert content.endswith(b"\n\n"), body
    assert b"stopped" in said  # the lifespan was left properly
    assert code in (0, -signum, 128 + signum)
    return seconds


@pytest.mark.parametrize("server", SERVERS)
async def test_every_way_to_hold_a_stream_ends_at_sigterm(server: Any) -> None:
    await assert_all_ends(server, signal.SIGTERM)


@pytest.mark.parametrize("server", [*QUICK, GUNICORN])
async def test_every_way_to_hold_a_stream_ends_at_sigint(server: Any) -> None:
    await assert_all_ends(server, signal.SIGINT)


@pytest.mark.parametrize("around", ["middleware", "middleware, direct"])
@pytest.mark.parametrize("server", QUICK)
async def test_streams_behind_middlewares_end_too(server: Any, around: str) -> None:
    await assert_all_ends(server, signal.SIGTERM, around)
