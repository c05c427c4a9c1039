"""Servers that accept a connection and do nothing: every client notices and lets go, whatever it waits for."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from support.neighbours import need

import fastsse.client._aiohttp
import fastsse.client._requests
import fastsse.client._stdlib
from fastsse.client import AsyncEventSource, EventSource, NetworkError

PATIENCE = 20.0  # s, far more than the time-outs below
BODY = {"body": b"x" * (1 << 24)}  # more than the buffers of the system take

LONG_HTTPX = pytest.param("httpx", marks=pytest.mark.long)  # whose code is that of httpx2

# A server that reads nothing keeps a body; one that writes nothing keeps a handshake of TLS, and a head.
CASES = {"body": ("http", BODY), "handshake": ("https", {}), "head": ("http", {})}


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Listen, and accept nothing: the system alone answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        yield server


def came(silent: socket.socket) -> int:
    """Accept the connection that was given up, and count the bytes that still come."""
    connection, _ = silent.accept()
    count = 0
    with connection, contextlib.suppress(ConnectionError):
        connection.settimeout(PATIENCE)
        while chunk := connection.recv(1 << 16):
            count += len(chunk)
    return count


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for connections that are not those of a test a moment only."""
    for module in (fastsse.client._aiohttp, fastsse.client._requests, fastsse.client._stdlib):
        monkeypatch.setattr(module, "_CONNECT", 0.5)
    monkeypatch.setattr(fastsse.client._aiohttp, "_LEAST_RATE", 1 << 26)


def held() -> int:
    """Count the bytes that transports of asyncio still keep for a peer that takes none."""
    kept = [one for one in gc.get_objects() if issubclass(type(one), asyncio.Transport)]
    return sum(one.get_write_buffer_size() for one in kept)


def options(case: str, silent: socket.socket) -> tuple[str, dict[str, Any]]:
    scheme, more = CASES[case]
    return f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/", {
        "idle_timeout": 0.2,
        "max_retries": 0,
        **more,
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("library", ["stdlib", "httpx2", LONG_HTTPX, "requests"])
def test_a_thread_does_not_wait_for_ever(library: str, case: str, silent: socket.socket) -> None:
    url, more = options(case, silent)
    made: Any = library
    if library.startswith("httpx"):
        made = need(library).Client(verify=False, timeout=None)
    elif library == "requests":
        made = need(library).Session()
    begun = time.monotonic()

    with EventSource(url, client=made, **more) as events, pytest.raises(NetworkError):
        next(events)

    assert time.monotonic() - begun < PATIENCE
    assert came(silent) < len(BODY["body"])
    if made is not library:
        made.close()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("library", ["httpx2", LONG_HTTPX, "aiohttp"])
async def test_a_task_does_not_wait_for_ever(
    library: str, case: str, silent: socket.socket
) -> None:
    url, more = options(case, silent)
    module: Any = need(library)
    make = (
        module.ClientSession
        if library == "aiohttp"
        else partial(module.AsyncClient, verify=False, timeout=None)
    )
    begun = time.monotonic()

    async with make() as client, AsyncEventSource(url, client=client, **more) as events:
        with pytest.raises(NetworkError):
            await anext(events)

        assert time.monotonic() - begun < PATIENCE
        assert 0 == held()
        assert await asyncio.to_thread(came, silent) < len(BODY["body"])
