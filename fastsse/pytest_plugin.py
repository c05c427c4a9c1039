"""A fixture for pytest: clients of `fastsse.testing_sync` that are closed at the end of their test.

Put ``pytest_plugins = ["fastsse.pytest_plugin"]`` into your conftest, or run ``pytest -p fastsse.pytest_plugin``.
Without that nothing is loaded, in nobody's tests. An async test needs no fixture: `fastsse.testing.open_stream` is an
async context manager, on the loop that pytest-asyncio or anyio's plugin gives to the test.

The module knows pytest and the client; it must not know any application or framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fastsse.asgi import App
from fastsse.testing_sync import Client

__all__ = ["sse_client"]


@pytest.fixture
def sse_client() -> Iterator[Callable[..., Client]]:
    """Open clients of applications: ``client = sse_client(app)``, with the arguments of `Client`."""
    with ExitStack() as opened:

        def open_client(app: App, **options: object) -> Client:
            return opened.enter_context(Client(app, **options))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        yield open_client
