"""Debian's own Chromium and Firefox, driven by playwright, each replaced when it hangs.

Playwright speaks the DevTools protocol with Chromium, and WebDriver BiDi with the stock Firefox: neither a build of its
own nor a geckodriver is needed. A browser, or the driver that playwright puts before it, can hang while it starts, or
while it opens a page. Then both are killed, and fresh ones go on from there: see `support/starts.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import pytest
from support.starts import STARTS, Hung, bounded, children, kill, note, started_async, tree
from support.twins import is_set

__all__ = ["KINDS", "Browser", "browsing", "sleepy"]

CLOSES = 10.0  # s: for what is killed otherwise
DEAD = re.compile(r"closed|crashed|disconnected|terminated", re.IGNORECASE)  # what playwright says
Opened = TypeVar("Opened")


class Kind(NamedTuple):
    """A browser, how it is found, and how it is launched."""

    package: str  # of Debian
    commands: tuple[str, ...]
    options: dict[str, Any]


KINDS = {
    "chromium": Kind(
        "chromium",
        ("chromium", "chromium-browser", "google-chrome"),
        {
            "args": [
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-dev-shm-usage",  # a container's has 64 MB, which some pages exceed
                "--disable-sync",
            ]
        },
    ),
    "firefox": Kind(
        "firefox-esr",
        ("firefox-esr", "firefox"),
        {
            "channel": "moz-firefox",  # speaks BiDi, with whatever Firefox it is given
            "firefox_user_prefs": {"ui.prefersReducedMotion": 1},  # BiDi cannot ask for that
        },
    ),
}


class _Run(NamedTuple):
    """A running browser, playwright's driver of it, and the driver's process."""

    browser: Any
    playwright: Any
    driver: set[int]


class Browser:
    """A browser for many tests: started when it is first asked for, replaced when it hangs.

    Attributes:
        name: a key of KINDS.
        patience: seconds for `open`, but for a browser that has to be started first.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.patience = STARTS
        self._path = find(name)
        self._run: _Run | None = None
        self._replaced: list[_Run] = []  # the running test may hold pages of theirs

    @property
    def running(self) -> Any:
        """Playwright's own browser; there is one after `open`."""
        assert self._run is not None
        return self._run.browser

    async def open(self, steps: Callable[[Any], Awaitable[Opened]]) -> Opened:
        """Return what `steps` make with playwright's browser: a context, a page, a page that has gone somewhere.

        A browser that takes too long for them, or dies meanwhile, is replaced, and the steps are made again.
        """
        from playwright.async_api import Error, TimeoutError

        async def make() -> Opened:
            try:
                return await steps(self.running)
            except TimeoutError as error:
                raise Hung(str(error)) from error
            except Error as error:
                if DEAD.search(str(error)) is None and self.running.is_connected():
                    raise
                raise Hung(str(error)) from error

        if self._run is None:
            await self._renew()
        return await started_async(f"a page of {self.name}", make, self._renew, self.patience)

    async def close(self, context: Any) -> None:
        """Close a context; a browser that cannot is replaced."""
        from playwright.async_api import Error

        try:
            await bounded(context.close(), CLOSES)
        except (Error, TimeoutError) as error:
            if not any(context in run.browser.contexts for run in self._replaced):
                note(f"{self.name}, which did not close a page", repr(error))
                self._retire()

    async def settle(self) -> None:
        """Kill the browsers that were replaced."""
        while self._replaced:
            await _kill(self._replaced.pop())

    async def stop(self) -> None:
        """End the browser and its driver."""
        await self.settle()
        if self._run is not None:
            with contextlib.suppress(Exception):
                await bounded(self._run.browser.close(), CLOSES)
            self._retire()
            await self.settle()

    async def _renew(self) -> None:
        self._retire()
        self._run = await _launch(self.name, self._path)

    def _retire(self) -> None:
        if self._run is not None:
            self._replaced.append(self._run)
            self._run = None


async def _launch(name: str, path: str) -> _Run:
    """Start a driver, and a browser under it."""
    from playwright.async_api import Error, async_playwright

    before = children()

    async def launch() -> _Run:
        playwright = await async_playwright().start()
        driver = children() - before
        options = KINDS[name].options
        try:
            browser = await getattr(playwright, name).launch(
                executable_path=path, timeout=0, **options
            )
        except Error as error:
            raise Hung(str(error)) from error
        return _Run(browser, playwright, driver)

    async def end() -> None:
        kill(tree(children() - before))

    return await started_async(name, launch, end)


async def _kill(run: _Run) -> None:
    """Kill a driver and its browser."""
    # A driver that answers ends by this alone.
    stopping = asyncio.ensure_future(run.playwright.stop())
    await asyncio.sleep(0)
    kill(tree(run.driver))
    await asyncio.wait([stopping], timeout=CLOSES)
    stopping.cancel()


@asynccontextmanager
async def browsing(name: str) -> AsyncIterator[Browser]:
    """Have a browser; skip, or fail where one is required, when there is none."""
    browser = Browser(name)
    try:
        yield browser
    finally:
        await browser.stop()


def find(name: str) -> str:
    """Find a browser; skip, or fail where one is required, when there is none or no playwright."""
    kind = KINDS[name]
    path = next(filter(None, map(shutil.which, kind.commands)), None)
    install = f"apt-get install {kind.package} && python -m pip install --group browser"
    if path is None:
        absent(f"no {name} here; {install}")
    if importlib.util.find_spec("playwright") is None:
        absent(f"no playwright here; {install}")
    return path


def absent(why: str) -> NoReturn:
    """Skip, or fail where a browser is required."""
    if is_set("FASTSSE_REQUIRE_BROWSER"):
        pytest.fail(f"FASTSSE_REQUIRE_BROWSER is set, and there is {why}")
    pytest.skip(why)


@asynccontextmanager
async def sleepy(browser: Browser, folder: Path, url: str) -> AsyncIterator[Any]:
    """Open a page of a Chromium that is launched as people launch it.

    With playwright's own switches no page is ever hidden, frozen, or kept in the back-forward cache.
    """
    started: list[subprocess.Popen[bytes]] = []

    async def steps(running: Any) -> tuple[Any, Any]:
        profile = tempfile.mkdtemp(dir=folder)
        process = _popen_chromium(profile)
        started.append(process)
        port = await _debugging_port(process, Path(profile))
        connect = running.browser_type.connect_over_cdp
        guest = await connect(f"http://127.0.0.1:{port}", no_defaults=True)
        while not guest.contexts[0].pages:
            await asyncio.sleep(0.01)
        page = guest.contexts[0].pages[0]
        await page.goto(url)
        return guest, page

    try:
        guest, page = await browser.open(steps)
        yield page
        with contextlib.suppress(Exception):
            await bounded(guest.close(), CLOSES)
    finally:
        for process in started:
            kill(tree({process.pid}))
            process.wait()


def _popen_chromium(profile: str) -> subprocess.Popen[bytes]:
    options = KINDS["chromium"].options["args"]
    place = ["--headless=new", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    with open(f"{profile}.log", "wb") as said:  # a full pipe that nobody reads would stop it
        return subprocess.Popen(
            [find("chromium"), *options, *place], stdout=said, stderr=said, start_new_session=True
        )


async def _debugging_port(process: subprocess.Popen[bytes], profile: Path) -> int:
    """Wait until a Chromium has written down the port that it has chosen."""
    written = profile / "DevToolsActivePort"
    while True:
        if process.poll() is not None:
            raise Hung(f"Chromium has ended with {process.returncode}")
        lines = written.read_text().splitlines() if written.exists() else []
        if len(lines) == 2:
            return int(lines[0])
        await asyncio.sleep(0.01)
