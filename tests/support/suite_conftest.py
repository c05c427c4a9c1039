"""The conftest of sse-starlette's suite, which its source distribution lacks: the fixtures that its tests name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from asgi_lifespan import LifespanManager
from sse_starlette import sse
from starlette.applications import Starlette
from starlette.routing import Route

_log = logging.getLogger(__name__)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def reset_shutdown_state() -> Iterator[None]:
    """Begin each test with streams that nothing has ended."""

    def reset() -> None:
        sse.AppStatus.should_exit = False
        sse.AppStatus.enable_automatic_graceful_drain = True
        if hasattr(sse, "_thread_state"):
            vars(sse._thread_state).clear()

    reset()
    yield
    reset()


async def _endless(_request: Any) -> sse.EventSourceResponse:
    async def numbers() -> AsyncIterator[dict[str, int]]:
        number = 0
        try:
            while True:
                number += 1
                yield {"data": number}
                await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            _log.info("Disconnected from client")
            raise

    return sse.EventSourceResponse(numbers())


@pytest.fixture
async def httpx_client() -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(routes=[Route("/endless", _endless)])
    async with LifespanManager(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client
