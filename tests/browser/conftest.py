"""Real browsers over the real page: Chromium and Firefox.

Each test runs in both (`support/browsers.py`), unless it says by a marker why it cannot. Every run of the tests has the
modules of `QUICK` in Chromium; all else is `long`, and the gate `browsers` runs that.

Whatever a test does, its pages must end without a console error, a breach of the content security policy or a
request to anybody but the server; a test that provokes an error names it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from browser.live import DEADLINE, expect
from support.browsers import KINDS, Browser, browsing, sleepy
from support.servers import Server

QUICK = {"test_page", "test_event_source", "test_parser"}  # what the page is for
SEEN_PUBLIC = frozenset({"data", "blob", "about"})  # schemes that reach nobody

_topics = itertools.count()

OpenPage = Callable[..., Awaitable[Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test in each browser, or in the one that its marker `only_in` names."""
    if "browser" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("only_in")
        quick = metafunc.module.__name__.rpartition(".")[2] in QUICK
        kinds = [
            pytest.param(kind, marks=() if quick and kind == "chromium" else pytest.mark.long)
            for kind in (KINDS if only is None else only.args)
        ]
        metafunc.parametrize("browser", kinds, indirect=True, scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(request: pytest.FixtureRequest) -> AsyncIterator[Browser]:
    """Have a browser for all tests that run in it."""
    async with browsing(request.param) as running:
        yield running


@pytest.fixture
def topic() -> str:
    """Name a topic that no other test uses."""
    return f"t{next(_topics)}"


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser) -> AsyncIterator[OpenPage]:
    """Open the live page by `await open_page(server, "topic", …, expected=None, **context options)`, its stream open.

    `expected` is a pattern of the console errors that the test provokes; with `clock` the test can put the page's time
    forward.
    """
    contexts: list[Any] = []
    faults: list[list[str]] = []

    async def open_it(
        server: Server,
        *topics: str,
        expected: str | None = None,
        path: str | None = None,
        clock: bool = False,
        **options: Any,
    ) -> Any:
        query = urlencode([("topic", topic) for topic in topics])
        url = server.url + (path or f"/?{query}")

        async def steps(running: Any) -> tuple[Any, Any, list[str]]:
            context = await _context(running, options)
            page = await context.new_page()
            seen = _watch(page, server, expected)
            if clock:
                await page.clock.install()
            await page.goto(url)
            return context, page, seen

        context, page, seen = await browser.open(steps)
        contexts.append(context)
        faults.append(seen)
        if topics:
            await expect(page.locator("#state-word")).to_have_text("open")
        return page

    yield open_it
    for context in contexts:
        await browser.close(context)
    await browser.settle()
    assert [] == [fault for seen in faults for fault in seen]


async def _context(running: Any, options: dict[str, Any]) -> Any:
    context = await running.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.set_default_timeout(DEADLINE)
    if running.browser_type.name == "firefox" and options.get("color_scheme") == "dark":
        # BiDi cannot ask for that either: the page's own choice instead of the system's.
        await context.add_init_script(
            "if (location.protocol === 'http:') localStorage.setItem('theme', 'dark')"
        )
    return context


@pytest_asyncio.fixture(loop_scope="session")
async def sleepy_page(browser: Browser, tmp_path: Path) -> AsyncIterator[Callable[[str], Any]]:
    """Open a URL in a Chromium that is launched as people launch it, by `await sleepy_page(url)`."""
    async with AsyncExitStack() as stack:
        yield lambda url: stack.enter_async_context(sleepy(browser, tmp_path, url))
    await browser.settle()


def _watch(page: Any, server: Server, expected: str | None) -> list[str]:
    """Return a list that grows by each fault of a page."""
    faults: list[str] = []

    def note(what: str, text: str) -> None:
        if expected is None or not re.search(expected, text):
            faults.append(f"{what}: {text}")

    def on_console(message: Any) -> None:
        if message.type in ("error", "warning"):
            note("console", message.text)

    def on_request(request: Any) -> None:
        scheme = request.url.partition(":")[0]
        if scheme not in SEEN_PUBLIC and not request.url.startswith(f"{server.url}/"):
            faults.append(f"request to another: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: note("uncaught", str(error)))
    page.on("request", on_request)
    return faults
