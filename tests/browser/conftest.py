"""A real Chromium over the real page: Debian's own binary, driven by playwright.

Whatever a test does, its pages must end without a console error, a breach of the content security policy or a
request to anybody but the server; a test that provokes an error names it.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from servers import Server, serve

INSTALL = "apt-get install chromium && python -m pip install --group browser"
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DEADLINE = 20_000  # ms: for whatever takes milliseconds on a quiet machine
SEEN_PUBLIC = frozenset({"data", "blob", "about"})  # schemes that reach nobody

_topics = itertools.count()

OpenPage = Callable[..., Awaitable[Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


def _absent(what: str) -> None:
    """Skip, or fail where a browser is required."""
    if os.environ.get("FASTSSE_REQUIRE_BROWSER", "0") not in ("", "0"):
        pytest.fail(f"FASTSSE_REQUIRE_BROWSER is set, and there is no {what}; {INSTALL}")
    pytest.skip(f"no {what} here; {INSTALL}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Any]:
    """A running browser."""
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        _absent("playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        _absent("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One broadcast for all tests that leave it running; each takes topics of its own."""
    with serve() as running:
        yield running


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"t{next(_topics)}"


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(chromium: Any) -> AsyncIterator[OpenPage]:
    """`await open_page(server, "topic", ..., expected=None, **context options)`: the live page, its stream open.

    `expected` is a pattern of the console errors that the test provokes.
    """
    contexts: list[Any] = []
    faults: list[str] = []

    async def open_it(
        server: Server,
        *topics: str,
        expected: str | None = None,
        path: str | None = None,
        **options: Any,
    ) -> Any:
        from playwright.async_api import expect

        expect.set_options(timeout=DEADLINE)
        context = await chromium.new_context(
            **({"viewport": {"width": 1280, "height": 900}} | options)
        )
        contexts.append(context)
        context.set_default_timeout(DEADLINE)
        page = await context.new_page()
        _watch(page, server, expected, faults)
        query = "&".join(f"topic={topic}" for topic in topics)
        await page.goto(server.url + (path or f"/?{query}"))
        if topics:
            await expect(page.locator("#state-word")).to_have_text("open")
        return page

    yield open_it
    for context in contexts:
        await context.close()
    assert [] == faults


def _watch(page: Any, server: Server, expected: str | None, faults: list[str]) -> None:
    def on_console(message: Any) -> None:
        provoked = expected is not None and re.search(expected, message.text)
        if message.type in ("error", "warning") and not provoked:
            faults.append(f"console: {message.text}")

    def on_request(request: Any) -> None:
        scheme = request.url.partition(":")[0]
        if scheme not in SEEN_PUBLIC and not request.url.startswith(f"{server.url}/"):
            faults.append(f"request to another: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: faults.append(f"uncaught: {error}"))
    page.on("request", on_request)
