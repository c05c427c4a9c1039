"""Fixtures of the broadcast's tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from support.servers import Server, serve


@pytest.fixture(params=["uvloop", "asyncio"])
def loop_server(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[Server]]:
    """`serve` on either event loop."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")

    def start(*flags: str, **env: str) -> AbstractContextManager[Server]:
        return serve("--loop", request.param, *flags, **env)

    return start
