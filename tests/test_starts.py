"""A server or a browser that hangs while it starts is ended and started again: `support/starts.py`, `browsers.py`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import browsers, servers
from support.browsers import KINDS, browsing, sleepy
from support.servers import serve_as, wait_for
from support.starts import Hung, children, notes, running, started_async, tree

if not Path("/proc").exists():
    pytest.skip("what a process has started is found in /proc alone", allow_module_level=True)

# Notes the child of each run in the file that it is given; hangs in the first runs, then serves.
HANGING = """
import subprocess, sys, time
from pathlib import Path
runs, hanging = Path(sys.argv[1]), int(sys.argv[2])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
with runs.open("a") as file:
    print(child.pid, file=file)
if len(runs.read_text().split()) > hanging:
    print("fastsse: http://127.0.0.1:8000/", flush=True)
time.sleep(3600)
"""


@pytest.mark.long
def test_a_server_that_hangs_is_killed_with_its_children_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "STARTS", 3.0)
    runs = tmp_path / "runs"

    with serve_as([sys.executable, "-c", HANGING, str(runs), "2"]) as server:
        assert 8000 == server.port
        *ended, alive = [int(pid) for pid in runs.read_text().split()]
        assert 2 == len(ended)
        wait_for(lambda: not any(map(_is_running, ended)))
        assert _is_running(alive)

    wait_for(lambda: not _is_running(alive))
    assert ["fastsse serve: no line within 3 s"] * 2 == notes()


def test_a_server_that_hangs_three_times_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "STARTS", 0.1)
    before = children()

    with pytest.raises(Hung, match=r"no line within 0\.1 s"):
        with serve_as([sys.executable, "-c", HANGING, str(tmp_path / "runs"), "9"]):
            pytest.fail("it serves")

    assert 2 == len(notes())
    wait_for(lambda: children() == before)


async def test_a_start_that_awaits_for_ever_is_cleared_away_and_made_again() -> None:
    tried: list[str] = []

    async def start() -> str:
        tried.append("start")
        if len(tried) == 1:
            await asyncio.Event().wait()
        return "started"

    async def end() -> None:
        tried.append("end")

    assert "started" == await started_async("a thing", start, end, within=0.05)
    assert ["start", "end", "start"] == tried
    assert ["a thing: not ready within 0.05 s"] == notes()


async def test_another_failure_of_a_start_is_no_reason_to_start_again() -> None:
    async def start() -> None:
        raise ValueError("wrong")

    async def end() -> None:
        pytest.fail("nothing hangs")

    with pytest.raises(ValueError, match="wrong"):
        await started_async("a thing", start, end)
    assert [] == notes()


@pytest.mark.long
@pytest.mark.browser
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("what", ["browser", "driver"])
async def test_a_browser_or_driver_that_stands_still_is_replaced(name: str, what: str) -> None:
    before = children()
    async with browsing(name) as browser:
        await browser.open(_shown)
        drivers = children() - before
        still = drivers if what == "driver" else tree(drivers) - drivers
        for pid in still:
            os.kill(pid, signal.SIGSTOP)
        browser.patience = 8.0

        assert "hello" == await browser.open(_shown)

        await browser.settle()
        assert not any(map(_is_running, still))
    assert [f"a page of {name}: not ready within 8 s"] == notes()
    assert children() == before


@pytest.mark.long
@pytest.mark.browser
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP], ids=lambda signum: signum.name)
async def test_a_chromium_of_its_own_that_dies_or_stands_still_is_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, signum: signal.Signals
) -> None:
    popen, started = browsers._popen_chromium, []

    def popen_chromium(profile: str) -> subprocess.Popen[bytes]:
        process = popen(profile)
        if not started:
            process.send_signal(signum)
        started.append(process.pid)
        return process

    monkeypatch.setattr(browsers, "_popen_chromium", popen_chromium)
    before = children()
    async with browsing("chromium") as browser:
        browser.patience = 8.0
        async with sleepy(browser, tmp_path, "data:text/html,hello") as page:
            assert "hello" == await page.text_content("body")

    assert 2 == len(started)
    assert 1 == len(notes())
    assert children() == before


async def _shown(browser: Any) -> str:
    page = await browser.new_page()
    await page.goto("data:text/html,hello")
    return str(await page.text_content("body"))


def _is_running(pid: int) -> bool:
    return pid in running({pid})
