"""Fixtures of the tests behind proxies: one hub of each kind for all of them, each proxy while its tests run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from proxies.documented import PROXIES, Proxy, absent, find, run
from proxies.measure import HUB
from support.servers import ROOT, Server, free_port, serve, serve_uvicorn


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.proxy)


@pytest.fixture(scope="session")
def quiet_hub() -> Iterator[Server]:
    """Run a hub without heartbeats: only the proxy's own word tells the hub that a reader has left."""
    with serve(*HUB) as running:
        yield running


@pytest.fixture(scope="session")
def beating_hub() -> Iterator[Server]:
    """Run a hub with a heartbeat each second."""
    with serve(*HUB, "--heartbeat", "1") as running:
        yield running


@pytest.fixture(scope="session")
def late_app() -> Iterator[Server]:
    """Run an application of its own, whose first item is late."""
    folders = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with serve_uvicorn(app="proxies.late:app", PYTHONPATH=folders) as running:
        yield running


@pytest.fixture(scope="module", params=PROXIES, ids=lambda proxy: proxy.name)
def proxy(request: pytest.FixtureRequest) -> Proxy:
    """Give a test each proxy of the page that is installed."""
    found: Proxy = request.param
    if find(found) is None:
        absent(f"no {found.program} here; {found.install}")
    return found


@pytest.fixture(scope="module")
def hub(proxy: Proxy, request: pytest.FixtureRequest) -> Server:
    """Choose the hub that suits the proxy."""
    found: Server = request.getfixturevalue("quiet_hub" if proxy.tells else "beating_hub")
    return found


@pytest.fixture(scope="module")
def fronts(proxy: Proxy, hub: Server, late_app: Server) -> Iterator[tuple[Server, Server]]:
    """Run the proxy in front of the hub, and in front of the late application."""
    with ExitStack() as stack:
        yield (
            stack.enter_context(run(proxy, free_port(), hub)),
            stack.enter_context(run(proxy, free_port(), late_app)),
        )


@pytest.fixture
def front(fronts: tuple[Server, Server]) -> Server:
    return fronts[0]


@pytest.fixture
def late_front(fronts: tuple[Server, Server]) -> Server:
    return fronts[1]


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """Name a topic that no other test uses."""
    return str(request.node.name).replace("[", "-").replace("]", "")
