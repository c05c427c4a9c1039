"""Fixtures of the broadcast's tests: real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from servers import Clients, Server, serve


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One broadcast for all tests that leave it running; each takes topics of its own."""
    with serve() as running:
        yield running


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    return str(request.node.name).replace("[", "-").replace("]", "")


@pytest.fixture(params=["uvloop", "asyncio"])
def loop_server(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[Server]]:
    """`serve` on either event loop."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")

    def start(*flags: str, **env: str) -> AbstractContextManager[Server]:
        return serve("--loop", request.param, *flags, **env)

    return start


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Raw connections, closed in the end."""
    opened = Clients()
    yield opened
    await opened.close()
